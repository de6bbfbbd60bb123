"""Parser of split texts: 64/16/20, 90/10, kfold:5:1, grouped, grouped-kfold:5:1, capture:5:37:1, given, and so on."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from math import ceil
from typing import Any

from utils.errors import LeukoBenchError

DEFAULT = "64/16/20"  # train/val/test in percent
DEFAULT_WORDS = f"the dataset's own, else {DEFAULT}"  # which a dataset has is decided in data/splitting/given_split.py
# Kinds of split. "grouped" alone has the default shares; "capture" is by file number, which follows the time of
# capture; "given" is the split that came with the dataset.
RANDOM, GROUPED, CAPTURE, GIVEN = "random", "grouped", "capture", "given"
KINDS = (RANDOM, GROUPED, CAPTURE, GIVEN)
COMPARED = (RANDOM, GROUPED)  # kinds whose difference is the leakage gap
OWN = "the dataset's own split"  # GIVEN in words
APART = {CAPTURE: "blocks of file numbers", GIVEN: OWN}  # kinds with rows and tables of their own, in words
CAPTURE_FOLDS, EMBARGO = 5, 37  # defaults of CAPTURE
VALIDATION = Fraction(1, 5)  # validation share of the non-test images if a split does not give it


@dataclass(frozen=True)
class Scheme:
    """A parsed split.

    Attributes:
        test: share of all images, 0 for GIVEN; val: share of the others (0..1), for GIVEN only where none is given.
        folds, fold: number of folds and the test fold, from 1; (0, 0) without folds.
        slug: text for folder names ("64-16-20", "grouped-kfold5-1").
        kind: one of KINDS.
        embargo: for CAPTURE, the file numbers left out between two subsets.
    """

    test: Fraction
    val: Fraction
    folds: int
    fold: int
    slug: str
    kind: str = RANDOM
    embargo: int = 0

    @property
    def grouped(self) -> bool:
        """Whether all images of a group are in one subset."""
        return self.kind == GROUPED

    @property
    def needed(self) -> int:
        """Least number of images of a class (of groups for GROUPED) with which each subset of each fold has one.

        An embargo needs more, which depends on the file numbers.
        """
        return max(self.folds, 4 if self.folds == 2 else 3)

    @property
    def shares(self) -> str:
        """Percent of train/val/test ("grouped-kfold:5:2" has "64/16/20"); "given" or "capture:5:37" for other kinds."""
        if self.kind == GIVEN:
            return GIVEN
        if self.kind == CAPTURE:
            return f"{CAPTURE}:{self.folds}:{self.embargo}"
        rest = 1 - self.test
        return "/".join(_percent(share) for share in (rest * (1 - self.val), rest * self.val, self.test))


@lru_cache(maxsize=1000)
def parse(text: str) -> Scheme:
    """Parse one split.

    "64/16/20" is train/val/test; of "90/10" a fifth of the 90 becomes val; "kfold:5:1" tests on fold 1 of 5. "grouped",
    "grouped:70/10/20" and "grouped-kfold:5:1" keep groups in one subset. "capture:5:37:1" tests on the first of 5
    blocks of file numbers of each class and leaves out 37 numbers between two subsets; "capture" alone tests on the
    last of 5. "given" is the dataset's own split.

    Raises:
        LeukoBenchError: the text is none of these, or names all folds at once.
    """
    words = re.sub(r"\s|%", "", text.lower())
    if words == GIVEN:
        return Scheme(Fraction(0), VALIDATION, 0, 0, GIVEN, GIVEN)
    if words == CAPTURE or words.startswith(f"{CAPTURE}:"):
        return _capture(text, words)
    grouped = words.startswith(GROUPED)
    kind = GROUPED if grouped else RANDOM
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
        return Scheme(Fraction(1, folds), VALIDATION, folds, fold, f"{prefix}kfold{folds}-{fold}", kind)
    parts = rest.split("/")
    if len(parts) not in (2, 3) or not all(re.fullmatch(r"\d{1,3}(\.\d{1,6})?", part) for part in parts):
        raise LeukoBenchError(
            f"Unknown split '{text}'. Give percent of train/val/test such as 64/16/20, of train+val/test "
            "such as 90/10, kfold:5:1 for fold 1 of 5, grouped, grouped:70/10/20, grouped-kfold:5:1, capture, "
            "capture:5:37:1 for block 1 of 5 with an embargo of 37, or given for the split that came with the dataset."
        )
    shares = [Fraction(part) for part in parts]
    if sum(shares) != 100 or min(shares) <= 0:
        raise LeukoBenchError(f"Split '{text}' does not work: the parts must be above 0 and sum to 100.")
    val = VALIDATION if len(shares) == 2 else shares[1] / (shares[0] + shares[1])
    slug = prefix + "-".join(_number(share) for share in shares)
    return Scheme(shares[-1] / 100, val, 0, 0, slug, kind)


def _capture(text: str, words: str) -> Scheme:
    match = re.fullmatch(rf"{CAPTURE}(?::(\d{{1,4}})(?::(\d{{1,6}})(?::(\d{{1,4}}))?)?)?", words)
    folds = int((match and match[1]) or CAPTURE_FOLDS)
    fold = int((match and match[3]) or folds)
    if not match or folds < 2 or not 1 <= fold <= folds:
        raise LeukoBenchError(
            f"Split '{text}' does not work: capture:K:E:I needs at least 2 folds K, an embargo E in file numbers, and "
            "a fold I from 1 to K, such as capture:5:37:1."
        )
    if match[1] and not match[3]:
        raise LeukoBenchError(
            f"Split '{text}' is {folds} splits, which train takes one after another. Name one fold: {expand(text)[0]}."
        )
    embargo = int(match[2] or EMBARGO)
    slug = f"{CAPTURE}{folds}-{embargo}-{fold}"
    return Scheme(Fraction(1, folds), VALIDATION, folds, fold, slug, CAPTURE, embargo)


def expand(text: str) -> list[str]:
    """Return the splits that a text names: "kfold:5" gives "kfold:5:1" to "kfold:5:5", other splits themselves.

    "capture:5" and "capture:5:37" give "capture:5:37:1" to "capture:5:37:5".

    Raises:
        LeukoBenchError: invalid split.
    """
    words = re.sub(r"\s|%", "", text.lower())
    match = re.fullmatch(rf"(?:{GROUPED}-)?kfold:(\d{{1,4}})", words)
    if match and int(match[1]) > 1:
        return [f"{words}:{fold}" for fold in range(1, int(match[1]) + 1)]
    match = re.fullmatch(rf"{CAPTURE}:(\d{{1,4}})(?::(\d{{1,6}}))?", words)
    if match and int(match[1]) > 1:
        begin = f"{CAPTURE}:{match[1]}:{match[2] or EMBARGO}"
        return [f"{begin}:{fold}" for fold in range(1, int(match[1]) + 1)]
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


def named(text: str) -> str:
    """Return a split's name for tables: its text, or "the dataset's own split"."""
    return OWN if text == GIVEN else text


def words(*texts: str) -> str:
    """Return splits in words: "split 64/16/20", "split grouped and kfold:5:1", "the dataset's own split"."""
    found = sorted(set(map(str, texts)))  # a damaged config.json may hold anything
    return OWN if found == [GIVEN] else f"split {' and '.join(map(named, found))}"


def kinds(schemes: Iterable[Scheme]) -> tuple[str, ...]:
    """Return the kinds that a table of these splits shows: RANDOM, GROUPED, and others where there is one."""
    found = {scheme.kind for scheme in schemes}
    return tuple(kind for kind in KINDS if kind in COMPARED or kind in found)


def _number(share: Fraction) -> str:
    return f"{float(share):g}"


def _percent(share: Fraction) -> str:
    exact = share * 100
    return f"{float(exact):g}" if (exact * 10**6).denominator == 1 else f"{float(exact):.3g}"
