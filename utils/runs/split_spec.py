"""Parser of split texts: "64/16/20", "90/10", "grouped", "grouped:70/10/20", "kfold:5:1", "grouped-kfold:5:1"."""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from math import ceil
from typing import Any

from utils.errors import LeukoBenchError

DEFAULT = "64/16/20"  # train/val/test in percent
RANDOM, GROUPED = "random", "grouped"  # kinds of split; "grouped" alone has the default shares
KINDS = (RANDOM, GROUPED)
VALIDATION = Fraction(1, 5)  # validation share of the non-test images if a split does not give it


@dataclass(frozen=True)
class Scheme:
    """A parsed split.

    Attributes:
        test: share of all images; val: share of the others (0..1).
        folds, fold: number of folds and the test fold, from 1; (0, 0) without folds.
        slug: text for folder names ("64-16-20", "grouped-kfold5-1").
        grouped: whether all images of a group are in one subset.
    """

    test: Fraction
    val: Fraction
    folds: int
    fold: int
    slug: str
    grouped: bool = False

    @property
    def kind(self) -> str:
        """GROUPED if groups stay in one subset, else RANDOM."""
        return GROUPED if self.grouped else RANDOM

    @property
    def shares(self) -> str:
        """Percent of train/val/test, whatever the kind of split: "grouped-kfold:5:2" has "64/16/20"."""
        rest = 1 - self.test
        return "/".join(_percent(share) for share in (rest * (1 - self.val), rest * self.val, self.test))


@lru_cache(maxsize=1000)
def parse(text: str) -> Scheme:
    """Parse one split.

    "64/16/20" is train/val/test; of "90/10" a fifth of the 90 becomes val; "kfold:5:1" tests on fold 1 of 5. "grouped",
    "grouped:70/10/20" and "grouped-kfold:5:1" keep groups in one subset.

    Raises:
        LeukoBenchError: the text is none of these, or names all folds at once.
    """
    words = re.sub(r"\s|%", "", text.lower())
    grouped = words.startswith(GROUPED)
    rest = DEFAULT if words == GROUPED else re.sub(rf"^{GROUPED}(:|-(?=kfold))", "", words)
    prefix = f"{GROUPED}-" if grouped else ""
    if match := re.fullmatch(r"kfold:(\d{1,4})(?::(\d{1,4}))?", rest):
        folds, fold = int(match[1]), int(match[2] or 1)
        if folds < 2 or not 1 <= fold <= folds:
            raise LeukoBenchError(
                f"Split '{text}' does not work: kfold:K:I needs at least 2 folds K and a fold I from 1 to K."
            )
        if match[2] is None:
            raise LeukoBenchError(
                f"Split '{text}' is {folds} splits, which train takes one after another. Name one fold: {words}:1."
            )
        return Scheme(Fraction(1, folds), VALIDATION, folds, fold, f"{prefix}kfold{folds}-{fold}", grouped)
    parts = rest.split("/")
    if len(parts) not in (2, 3) or not all(re.fullmatch(r"\d{1,3}(\.\d{1,6})?", part) for part in parts):
        raise LeukoBenchError(
            f"Unknown split '{text}'. Give percent of train/val/test such as 64/16/20, of train+val/test "
            "such as 90/10, kfold:5:1 for fold 1 of 5, or grouped, grouped:70/10/20, grouped-kfold:5:1."
        )
    shares = [Fraction(part) for part in parts]
    if sum(shares) != 100 or min(shares) <= 0:
        raise LeukoBenchError(f"Split '{text}' does not work: the parts must be above 0 and sum to 100.")
    val = VALIDATION if len(shares) == 2 else shares[1] / (shares[0] + shares[1])
    slug = prefix + "-".join(_number(share) for share in shares)
    return Scheme(shares[-1] / 100, val, 0, 0, slug, grouped)


def expand(text: str) -> list[str]:
    """Return the splits that a text names: "kfold:5" gives "kfold:5:1" to "kfold:5:5", other splits themselves.

    Raises:
        LeukoBenchError: invalid split.
    """
    words = re.sub(r"\s|%", "", text.lower())
    match = re.fullmatch(rf"(?:{GROUPED}-)?kfold:(\d{{1,4}})", words)
    if match and int(match[1]) > 1:
        return [f"{words}:{fold}" for fold in range(1, int(match[1]) + 1)]
    parse(text)
    return [words if words[0].isalpha() else text]


def apportion(totals: dict[str, int], share: Fraction) -> dict[str, int]:
    """Return a share of each class by largest remainders; their sum is the share of all images, rounded up."""
    wanted = ceil(share * sum(totals.values()))
    counts = {label: int(share * total) for label, total in totals.items()}
    by_remainder = sorted(totals, key=lambda label: (counts[label] - share * totals[label], label))
    for label in by_remainder[: wanted - sum(counts.values())]:
        counts[label] += 1
    return counts


def fold_sizes(total: int, folds: int) -> list[int]:
    """Return the number of images of each fold; they differ by at most one."""
    edges = [total * k // folds for k in range(folds + 1)]
    return [high - low for low, high in pairwise(edges)]


def of_run(config: dict[str, Any]) -> Scheme:
    """Return the split of a run's config.json; runs of old versions have no such field and used the default.

    Raises:
        LeukoBenchError: invalid split.
    """
    return parse(str(config.get("split") or DEFAULT))


def _number(share: Fraction) -> str:
    return f"{float(share):g}"


def _percent(share: Fraction) -> str:
    exact = share * 100
    return f"{float(exact):g}" if (exact * 10**6).denominator == 1 else f"{float(exact):.3g}"
