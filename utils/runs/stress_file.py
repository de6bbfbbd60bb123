"""stress.csv of a run: file format, reader, and the headline figures computed from its rows (see docs/stress.md)."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from utils.errors import LeukoBenchError
from utils.io import files
from utils.metrics import predictions
from utils.runs import shortcuts_file
from utils.runs.run_folder import Run

FILE = "stress.csv"
ANSWERS = "stress_answers.csv"  # for the stain changes: counts of images by label and answer
HEADER = (
    *("family", "change", "severity", "donor", "images", "accuracy", "balanced_accuracy", "ece", "flip_rate"),
    "heatmap_similarity",
)
ANSWERS_HEADER = ("family", "change", "donor", "label", "answer", "images")
NUMBERS = HEADER[5:]
NONE = "none"  # family of the unchanged test images
SWAP, GREY, CONTROL = "stain swap", "grey", "cells removed"
# Families of --controls: as in data/perturbations/registry.py. Only some runs were measured with them.
CONTROLS = ("same-class swap", "tinted grey", "other corner", "other camera", "other background")
NO_TEST = (NONE, CONTROL, *CONTROLS)  # families that are not compared as robustness
REFERENCE = "stain reference"  # made by two methods; a run may have trained with one of them
REFERENCE_REINHARD, REFERENCE_MACENKO = f"{REFERENCE}, reinhard", f"{REFERENCE}, macenko"

Rows = Sequence[dict[str, Any]]


def read(run: Run) -> list[dict[str, Any]]:
    """Read stress.csv: numbers as numbers, None for values not measured; [] if the run has no stress test.

    Raises:
        LeukoBenchError: the file is damaged.
    """
    path = run.file(FILE)
    if not path.is_file():
        return []
    try:
        rows = [
            {
                **{key: row[key] for key in ("family", "change", "donor")},
                **{key: int(row[key]) for key in ("severity", "images")},
                **{key: float(row[key]) if row[key] else None for key in NUMBERS},
            }
            for row in files.read_csv(path, HEADER)
        ]
    except (TypeError, ValueError) as error:
        raise LeukoBenchError(
            f"{path} is damaged ({error}). Make it again: python run_guide.py stress {run.id}", path=path
        ) from None
    run.check(FILE)
    return rows


def read_whole_test(run: Run) -> list[dict[str, Any]]:
    """Return `read`, but [] if only a sample of the test images was changed."""
    rows = read(run)
    images = next((row["images"] for row in rows if row["family"] == NONE), 0)
    return rows if rows and images == len(run.predictions("test")) else []


def means(rows: Rows, key: str) -> dict[str, float]:
    """Return the mean of a column for each family that has values in it."""
    known: dict[str, list[float]] = {}
    for row in rows:
        if row[key] is not None:
            known.setdefault(row["family"], []).append(row[key])
    return {family: fmean(values) for family, values in known.items()}


def families(rows: Rows) -> dict[str, float]:
    """Return the accuracy of each family: the mean over its rows (severities, directions, donors)."""
    return means(rows, "accuracy")


def families_by_method(rows: Rows) -> dict[str, float]:
    """Return `families`, with the two methods of the stain reference as families of their own."""
    return families(
        [row | {"family": f"{REFERENCE}, {row['change']}"} if row["family"] == REFERENCE else row for row in rows]
    )


def swap_accuracy(rows: Rows) -> float | None:
    """Return the accuracy with the stain of a random image of another class; None if not measured."""
    return families(rows).get(SWAP)


def grey_accuracy(rows: Rows) -> float | None:
    """Return the accuracy on the test images in grey; None if not measured."""
    return families(rows).get(GREY)


def flip_rate(rows: Rows) -> float | None:
    """Return the stain flip rate, 0..1; None if not measured.

    It is the share of all test images whose answer was not the donor's class before the stain swap and is that class
    after it.
    """
    return means(rows, "flip_rate").get(SWAP)


def accuracy(run: Run) -> float:
    """Return the accuracy on the unchanged test images, recomputed from predictions.csv."""
    return predictions.summary(run.predictions("test"))["accuracy"]


def margin(run: Run) -> float | None:
    """Return the shortcut margin: test accuracy minus that of the split's best shortcut baseline; None if unknown."""
    best = shortcuts_file.best(run.root, run.environment()["manifest"])
    return accuracy(run) - best[1] if best else None
