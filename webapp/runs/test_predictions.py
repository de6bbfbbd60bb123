"""What a run answered about each test image, ready for pages, and where the images lie."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.datasets.image_decoder import BadImage, decode, read_safely
from utils import paths
from utils.errors import LeukoBenchError
from utils.metrics import predictions
from utils.runs import calibration_file
from utils.runs.run_folder import Run
from webapp.http.problem_responses import Problem
from webapp.runs.catalogue import Entry, Signature

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image

GONE = "The files of this run are missing, damaged or were changed in this moment. The page 'Compare' says its state."
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What one run says of one test image.

    Attributes:
        row: place of the image in predictions.csv, from 0.
        probabilities: of every class, in class order.
    """

    row: int
    image: str
    label: str
    predicted: str
    probabilities: tuple[float, ...]

    @property
    def right(self) -> bool:
        """Whether it is the true class."""
        return self.predicted == self.label

    @property
    def confidence(self) -> float:
        """Probability of the class that it says."""
        return max(self.probabilities)

    @property
    def name(self) -> str:
        """Name of the file without its folder, which is that of its class."""
        return self.image.rpartition("/")[2]


@dataclass(frozen=True)
class Answers:
    """What one run says of its test images, which are the keys; `table` holds their rows of predictions.csv."""

    classes: tuple[str, ...]
    of: dict[str, Answer]
    table: "pd.DataFrame"

    def cell(self, true: str, predicted: str) -> list[Answer]:
        """Return the images of a cell of the confusion matrix as `metrics.cell` does, worst first."""
        return [self.of[image] for image in predictions.cell(self.table, true, predicted)["image"]]


@contextmanager
def readable(entry: Entry) -> Iterator[None]:
    """Turn what goes wrong with a run's files while they are read into a page that says so.

    Raises:
        Problem: 404, the files are missing or damaged.
    """
    try:
        yield
    except Problem:
        raise
    except Exception as error:  # a run may be deleted or written anew between any two reads
        known = isinstance(error, LeukoBenchError | OSError)
        _log.warning("Run %s cannot be read: %s", entry.id, error, exc_info=None if known else error)
        raise Problem(404, "This run cannot be read", GONE) from None


def of(entry: Entry) -> Answers:
    """Return the answers of a finished run.

    Raises:
        Problem: 404, the run is not finished or its files cannot be read.
    """
    if not entry.finished:
        raise Problem(404, "No predictions", f"Run {entry.id} is {entry.state}. {entry.problem}")
    with readable(entry):
        return _read(entry.run, entry.signature)


@lru_cache(maxsize=16)  # 0.5 MB each for 650 images
def _read(run: Run, signature: Signature) -> Answers:
    whole = run.predictions()
    table = whole[whole["split"] == "test"]
    names, _, probabilities = predictions.arrays(table)
    best = probabilities.argmax(axis=1)
    held = zip(table.index, table["image"], table["label"], best, probabilities.tolist(), strict=True)
    answers = {
        image: Answer(int(row), image, label, names[said], tuple(shares)) for row, image, label, said, shares in held
    }
    return Answers(tuple(names), answers, table.reset_index(drop=True))


def calibrated(entry: Entry) -> dict[str, Any]:
    """Return what `calibration_file.measure` says of a finished run; fitting its temperature takes a moment."""
    return _calibrated(entry.run, entry.signature)


@lru_cache(maxsize=128)
def _calibrated(run: Run, signature: Signature) -> dict[str, Any]:
    return calibration_file.measure(run)


def by_row(entry: Entry, row: int) -> Answer:
    """Return the answer in a row of predictions.csv.

    Raises:
        Problem: 404, there is no test image in that row.
    """
    found = next((answer for answer in of(entry).of.values() if answer.row == row), None)
    if found is None:
        raise Problem(404, "No such image", f"Row {row} of this run's predictions.csv holds no test image.")
    return found


def at_hand(entry: Entry, answer: Answer) -> bool:
    """Say whether an image of the run lies where its dataset was imported to."""
    try:
        path, root = _place(entry, answer)
        return path.resolve(strict=True).is_relative_to(root.resolve()) and path.is_file()
    except (BadImage, OSError, RuntimeError, ValueError):
        return False


def picture(entry: Entry, answer: Answer) -> "tuple[Path, Image]":
    """Read an image of a run: where it lies, within its dataset, and what it shows as upright RGB.

    Raises:
        Problem: 404, it is not at hand or cannot be used.
    """
    try:
        path, root = _place(entry, answer)
        return path, decode(read_safely(path, root)).image
    except (BadImage, LeukoBenchError, OSError, ValueError) as reason:
        _log.info("Image %s: %s", answer.image, reason)
        raise Problem(404, "Image not at hand", "This image of the dataset is not on this machine.") from None


def _place(entry: Entry, answer: Answer) -> tuple[Path, Path]:
    dataset = str(entry.config.get("dataset", ""))
    if dataset in ("", "..") or Path(dataset).name != dataset or "\0" in dataset + answer.image:
        raise BadImage("no name of a dataset")  # config.json came from somewhere: it shall not choose the folder
    root = paths.raw_dir(dataset)
    return root / answer.image, root
