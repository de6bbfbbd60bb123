"""What baselines that know no shape of a cell score on a split: their rungs, the verdict on a dataset, the table.

The accuracies are measured by `data.shortcuts`; everything here is read from its file, without scikit-learn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.errors import LeukoBenchError
from utils.io import files
from utils.tables.table import HYPHEN, Table, interval, percent

FOLDER = "shortcuts"
COLUMNS = ("baseline", "images", "correct", "accuracy", "low", "high", "features", "seconds")
MAJORITY = "majority class"
# Every rung, by how much of the image it is given.
SEES = {
    MAJORITY: "nothing: answers with the most frequent class",
    "file facts": "bytes, width, height, EXIF and JPEG tables, no pixel",
    "scale-bar corner": "the bottom right corner, where the scale bar is burnt in, without stained cells",
    "border strip": "colours along the edge, without stained cells",
    "background patches": "squares of 20 px that touch no stained cell, each with a vote",
    "background": "colours of all but stained cells and the scale-bar corner",
    "mean colour": "mean red, green and blue of the image",
    "colour histogram": "48 numbers: 16 steps of red, green and blue",
    "grey thumbnail": "16 x 16 pixels in grey",
    "thumbnail": "16 x 16 pixels in colour",
}
# A class may be told by nuclei that are larger, or more: what is given the cells says nothing of a shortcut.
WITHOUT_CELLS = ("file facts", "scale-bar corner", "border strip", "background patches", "background")
# Of the way from chance to 1: below that lie leftovers of cells that the masks miss, and the light of single slides.
CLEARLY = 0.25
CONFOUNDED, CLEARED = "confounded", "cleared"
CLEAR, WEAK, NO = "clearly", "weakly", "no"


@dataclass(frozen=True)
class Shortcut:
    """One rung of the ladder on the test images of a split.

    Attributes:
        baseline: name, a key of SEES.
        images: number of test images; correct: of them.
        accuracy: share in 0..1; low, high: its 95 % Wilson interval.
        features: numbers that it sees of an image (of a patch, where patches vote).
        seconds: of learning and answering, without the reading of the images.
    """

    baseline: str
    images: int
    correct: int
    accuracy: float
    low: float
    high: float
    features: int
    seconds: float


@dataclass(frozen=True)
class Verdict:
    """What a ladder says of a dataset.

    Attributes:
        word: CONFOUNDED or CLEARED.
        chance: accuracy of the most frequent class, 0..1.
        told_by: baselines without cells that are clearly above chance, best first.
        sentences: the same in words.
    """

    word: str
    chance: float
    told_by: tuple[str, ...]
    sentences: tuple[str, ...]


def path(root: Path, manifest: str) -> Path:
    """Return the file of a split's ladder: <root>/shortcuts/<manifest hash>.csv."""
    return root / FOLDER / f"{manifest}.csv"


def read(root: Path, manifest: str) -> list[Shortcut]:
    """Read the ladder of a split, [] where none was measured.

    Raises:
        LeukoBenchError: the file is damaged.
    """
    place = path(root, manifest)
    if not place.exists():
        return []
    try:
        return [
            Shortcut(
                row["baseline"], int(row["images"]), int(row["correct"]), float(row["accuracy"]), float(row["low"]),
                float(row["high"]), int(row["features"]), float(row["seconds"]),
            )
            for row in files.read_csv(place, COLUMNS)
        ]  # fmt: skip
    except (TypeError, ValueError):
        raise LeukoBenchError(f"{place} is damaged. Make it again: python run_guide.py audit") from None


def best(root: Path, manifest: str) -> tuple[str, float] | None:
    """Return name and accuracy of the best baseline of a split, the first of equal ones; None without a ladder."""
    rungs = read(root, manifest)
    top = max(rungs, key=lambda rung: rung.correct, default=None)
    return (top.baseline, top.accuracy) if top else None


def verdict(rungs: Sequence[Shortcut]) -> Verdict:
    """Judge a dataset: confounded where a baseline without cells is clearly above chance.

    Clearly: the lower end of its 95 % Wilson interval lies more than CLEARLY of the way from chance, the accuracy of
    the most frequent class, to 1. Baselines that are given the cells as well are shown, and do not count.
    """
    chance = next(rung.accuracy for rung in rungs if rung.baseline == MAJORITY)
    blind = [rung for rung in rungs if rung.baseline in WITHOUT_CELLS]
    above = sorted((rung for rung in blind if above_chance(rung, chance) == CLEAR), key=lambda rung: -rung.accuracy)
    if not above:
        top = max(blind, key=lambda rung: rung.accuracy)
        words = (
            f"Cleared: no baseline without cells is clearly above chance ({percent(chance, 1)} %); the best, "
            f"{top.baseline}, has {percent(top.accuracy, 1)} % ({interval(top.low, top.high)}). "
            "That is no proof: a shortcut that none of them looks at may be there.",
        )
        return Verdict(CLEARED, chance, (), words)
    top = above[0]
    words = (
        f"Confounded: {top.baseline} alone, without a single stained cell, names the class of "
        f"{percent(top.accuracy, 1)} % of the test images; always the same answer would reach {percent(chance, 1)} %.",
        "So a high accuracy on this split does not show that a model reads cells.",
    )
    return Verdict(CONFOUNDED, chance, tuple(rung.baseline for rung in above), words)


def above_chance(rung: Shortcut, chance: float) -> str:
    """Return CLEAR, WEAK or NO: how far the interval of a rung lies above chance, see `verdict`."""
    if rung.low > chance + CLEARLY * (1 - chance):
        return CLEAR
    return WEAK if rung.low > chance else NO


def table(rungs: Sequence[Shortcut], title: str) -> Table:
    """Return the ladder as a table that is narrow enough for 80 columns."""
    chance = next(rung.accuracy for rung in rungs if rung.baseline == MAJORITY)
    rows = [
        [
            rung.baseline,
            "no" if rung.baseline in (MAJORITY, *WITHOUT_CELLS) else "yes",
            str(rung.features),
            percent(rung.accuracy),
            interval(rung.low, rung.high),
            above_chance(rung, chance),
            f"{rung.seconds:.1f}",
        ]
        for rung in rungs
    ]
    columns = ("Baseline", "Given\ncells", f"Fea{HYPHEN}tures", "Test\n%", "95 % interval", "Above\nchance", "Sec.")
    below = " ".join(f"{rung.baseline.capitalize()}: {SEES[rung.baseline]}." for rung in rungs)
    return Table(title, columns, rows, frozenset({0, 1, 5}), below)
