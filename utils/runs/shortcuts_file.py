"""<root>/shortcuts/<manifest hash>.csv: accuracies of the shortcut baselines of a split, written by `audit`.

A shortcut baseline is a simple classifier that sees only a part of the image, such as its mean colour.
"""

from dataclasses import dataclass
from pathlib import Path

from utils.errors import LeukoBenchError
from utils.io import files

FOLDER = "shortcuts"
COLUMNS = ("baseline", "images", "correct", "accuracy", "low", "high", "features", "seconds")
MAJORITY = "majority class"
# What each baseline sees, from nothing to a thumbnail.
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
# Only these count as evidence of a shortcut: the others see the cells too, and nuclei may differ in size or number.
WITHOUT_CELLS = ("file facts", "scale-bar corner", "border strip", "background patches", "background")


@dataclass(frozen=True)
class Shortcut:
    """Result of one shortcut baseline on the test images of a split.

    Attributes:
        baseline: name, a key of SEES.
        images: number of test images; correct: correctly classified images.
        accuracy: share in 0..1; low, high: its 95 % Wilson interval.
        features: number of features of an image (of a patch, for the baseline that votes over patches).
        seconds: for fitting and predicting, without reading the images.
    """

    baseline: str
    images: int
    correct: int
    accuracy: float
    low: float
    high: float
    features: int
    seconds: float


def path(root: Path, manifest: str) -> Path:
    """Return the file of a split: <root>/shortcuts/<manifest hash>.csv."""
    return root / FOLDER / f"{manifest}.csv"


def read(root: Path, manifest: str) -> list[Shortcut]:
    """Read the baselines of a split; [] if they were not measured.

    Raises:
        LeukoBenchError: the file is damaged.
    """
    place = path(root, manifest)
    if not place.exists():
        return []
    try:
        return [
            Shortcut(
                baseline=row["baseline"],
                **{key: int(row[key]) for key in ("images", "correct", "features")},
                **{key: float(row[key]) for key in ("accuracy", "low", "high", "seconds")},
            )
            for row in files.read_csv(place, COLUMNS)
        ]
    except (TypeError, ValueError):
        raise LeukoBenchError(f"{place} is damaged. Make it again: python run_guide.py audit", path=place) from None


def best(root: Path, manifest: str) -> tuple[str, float] | None:
    """Return name and accuracy of the best baseline of a split (the first of equal ones); None if not measured."""
    top = max(read(root, manifest), key=lambda each: each.correct, default=None)
    return (top.baseline, top.accuracy) if top else None
