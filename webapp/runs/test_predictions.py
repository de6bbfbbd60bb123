"""Test predictions of a run for the pages, and the files of the images."""

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
from utils.runs import calibration_file, run_folder
from utils.runs.run_folder import Run
from webapp.http.problem_responses import Problem
from webapp.runs.catalogue import Entry, Signature

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image

GONE = "The files of this run are missing, damaged or just changing. See its state on the page 'Compare'."
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """Prediction of one run for one test image.

    Attributes:
        row: row of the image in predictions.csv, from 0.
        probabilities: of every class, in class order.
    """

    row: int
    image: str
    label: str
    predicted: str
    probabilities: tuple[float, ...]

    @property
    def right(self) -> bool:
        """Whether the predicted class is the true one."""
        return self.predicted == self.label

    @property
    def confidence(self) -> float:
        """Probability of the predicted class."""
        return max(self.probabilities)

    @property
    def name(self) -> str:
        """Name of the file without the folder of its class."""
        return self.image.rpartition("/")[2]


@dataclass(frozen=True)
class Answers:
    """Predictions of a run by test image; `table` holds their rows of predictions.csv."""

    classes: tuple[str, ...]
    of: dict[str, Answer]
    table: "pd.DataFrame"

    def cell(self, true: str, predicted: str) -> list[Answer]:
        """Return the images of a cell of the confusion matrix, worst first."""
        return [self.of[image] for image in predictions.cell(self.table, true, predicted)["image"]]


@contextmanager
def readable(entry: Entry) -> Iterator[None]:
    """Turn errors of a run's files into a problem.

    Raises:
        Problem: 404, the files are missing or damaged.
    """
    try:
        yield
    except Problem:
        raise
    except Exception as error:  # a run may be deleted or rewritten between two reads
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
    table = whole[whole["split"] == run_folder.resolve(run_folder.TEST, whole["split"])]
    names, _, probabilities = predictions.arrays(table)
    best = probabilities.argmax(axis=1)
    held = zip(table.index, table["image"], table["label"], best, probabilities.tolist(), strict=True)
    answers = {
        image: Answer(int(row), image, label, names[said], tuple(shares)) for row, image, label, said, shares in held
    }
    return Answers(tuple(names), answers, table.reset_index(drop=True))


def calibrated(entry: Entry) -> dict[str, Any]:
    """Return the cached result of `calibration_file.measure` for a finished run."""
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
    """Return whether an image of a run exists in its imported dataset."""
    try:
        path, root = _place(entry, answer)
        return path.resolve(strict=True).is_relative_to(root.resolve()) and path.is_file()
    except (BadImage, OSError, RuntimeError, ValueError):
        return False


def picture(entry: Entry, answer: Answer) -> "tuple[Path, Image]":
    """Return the path of an image of a run within its dataset, and the decoded upright RGB image.

    Raises:
        Problem: 404, it is missing or cannot be used.
    """
    try:
        path, root = _place(entry, answer)
        return path, decode(read_safely(path, root)).image
    except (BadImage, LeukoBenchError, OSError, ValueError) as reason:
        _log.info("Image %s: %s", answer.image, reason)
        raise Problem(404, "Image not available", "This image of the dataset is not on this machine.") from None


def _place(entry: Entry, answer: Answer) -> tuple[Path, Path]:
    dataset = str(entry.config.get("dataset", ""))
    if dataset in ("", "..") or Path(dataset).name != dataset or "\0" in dataset + answer.image:
        raise BadImage("no name of a dataset")  # config.json may be foreign: it must not choose a folder
    root = paths.raw_dir(dataset)
    return root / answer.image, root
