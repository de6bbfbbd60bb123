"""A split as text: "64/16/20", "90/10", "kfold:5:1"."""

import re
from dataclasses import dataclass
from fractions import Fraction

from utils.errors import LeukoBenchError

DEFAULT = "64/16/20"  # train/val/test in percent
VALIDATION = Fraction(1, 5)  # share of what is not test where a split does not say it


@dataclass(frozen=True)
class Scheme:
    """A split as text, understood.

    Attributes:
        test: share of all images; val: share of the others (0..1).
        folds, fold: number of folds and the one that is the test set, from 1; (0, 0) where there are none.
        slug: text for folder names ("64-16-20", "kfold5-1").
    """

    test: Fraction
    val: Fraction
    folds: int
    fold: int
    slug: str


def parse(text: str) -> Scheme:
    """Read a split: "64/16/20" (train/val/test), "90/10" (a fifth of the 90 becomes val), "kfold:5:1" (fold 1 of 5).

    Raises:
        LeukoBenchError: the text is none of these.
    """
    words = re.sub(r"\s|%", "", text.lower())
    if match := re.fullmatch(r"kfold:(\d{1,4}):(\d{1,4})", words):
        folds, fold = int(match[1]), int(match[2])
        if folds < 2 or not 1 <= fold <= folds:
            raise LeukoBenchError(
                f"Split '{text}' does not work: kfold:K:I needs at least 2 folds K and a fold I from 1 to K."
            )
        return Scheme(Fraction(1, folds), VALIDATION, folds, fold, f"kfold{folds}-{fold}")
    parts = words.split("/")
    if len(parts) not in (2, 3) or not all(re.fullmatch(r"\d{1,3}(\.\d{1,6})?", part) for part in parts):
        raise LeukoBenchError(
            f"Unknown split '{text}'. Give percent of train/val/test such as 64/16/20, of train+val/test "
            "such as 90/10, or kfold:5:1 for fold 1 of 5."
        )
    shares = [Fraction(part) for part in parts]
    if sum(shares) != 100 or min(shares) <= 0:
        raise LeukoBenchError(f"Split '{text}' does not work: the parts must be above 0 and sum to 100.")
    val = VALIDATION if len(shares) == 2 else shares[1] / (shares[0] + shares[1])
    slug = "-".join(_number(share) for share in shares)
    return Scheme(shares[-1] / 100, val, 0, 0, slug)


def _number(share: Fraction) -> str:
    return f"{float(share):g}"
