"""What a run's probabilities mean: class, calibrated probability, prediction set, or no answer at all."""

import logging
import math
import re
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.ood import reference_distribution
from data.ood.reference_distribution import Reference
from utils.errors import LeukoBenchError
from utils.io import files
from utils.metrics import calibration
from utils.runs import calibration_file, run_folder, stress_file
from utils.runs.cache import stamp
from utils.runs.seen_families import trained_on
from utils.text import NOTICE
from webapp.runs.catalogue import Entry

_log = logging.getLogger(__name__)

# Of the prediction sets on the page; at 0.90 those of a model that is nearly always right are often empty.
LEVEL = "0.95"
KERAS = "keras"
COLUMNS = ("image", "run", "predicted", "probability", "calibrated", "prediction_set", "refused")


@dataclass(frozen=True)
class Honest:
    """How far a run is to be believed, as its files say; None for what was not measured.

    Attributes:
        split: of the images, as its configuration has it.
        accuracy: on its test images, 0..1.
        images: how many these are.
        stain_swap: accuracy with the stain of another class put on them.
        flip_rate: share of the answers that then became that class.
        taught: whether it trained on such a change.
    """

    split: str
    accuracy: float
    images: int
    stain_swap: float | None
    flip_rate: float | None
    taught: bool


@dataclass(frozen=True)
class Facts:
    """What is needed to word the answers of a run.

    Attributes:
        temperature: by which its probabilities are calibrated; None without calibration.json.
        thresholds: by level ("0.90"), the 1 - p above which a class is left out of the prediction set.
        coverage: by level, the share of its test images whose set holds the true class.
        reference: what its training images look like; None where that was not measured.
    """

    classes: tuple[str, ...]
    temperature: float | None
    thresholds: dict[str, float]
    coverage: dict[str, float]
    reference: Reference | None
    honest: Honest


@dataclass(frozen=True)
class Answer:
    """What one run says of one image.

    Attributes:
        name: of the run, as short as tells it from the others that were asked.
        problem: why there is nothing; "" where there is.
        refused: why the run gives no class; "" where it gives one.
        distance, limit: how far the image lies from the training images, and from where on it is refused; None where
            this was not measured.
        predicted, probability, probabilities: class, its probability and those of all, calibrated where the run has a
            temperature; "", None and {} where there is no answer.
        sets: by level, the classes that are not ruled out.
        runtime: what computed the probabilities: "keras", or the name of the export.
    """

    entry: Entry
    name: str
    facts: Facts | None
    problem: str = ""
    refused: str = ""
    distance: float | None = None
    limit: float | None = None
    predicted: str = ""
    probability: float | None = None
    probabilities: dict[str, float] | None = None
    sets: dict[str, list[str]] | None = None
    runtime: str = KERAS

    @property
    def given(self) -> bool:
        """Whether there is a class."""
        return bool(self.predicted)


def csv_of(image: str, answers: Sequence[Answer]) -> str:
    """Return answers about one image as CSV: COLUMNS, the probability of every class, and the notice."""
    classes = list(dict.fromkeys(name for each in answers if each.facts for name in each.facts.classes))
    image = f"'{image}" if image[:1] in ("=", "+", "-", "@") else image  # which a spreadsheet would take for a formula
    return files.csv_text(
        [*COLUMNS, *(f"p_{name}" for name in classes), "notice"],
        ([image, *_cells(each), *_shares(each, classes), NOTICE] for each in answers),
    )


def _cells(answer: Answer) -> list[str]:
    calibrated = "" if not answer.given else "yes" if answer.facts.temperature is not None else "no"
    members = " or ".join((answer.sets or {}).get(LEVEL, []))
    probability = "" if answer.probability is None else f"{answer.probability:.6f}"
    why = answer.refused or answer.problem
    return [answer.entry.id, answer.predicted, probability, calibrated, members, why]


def _shares(answer: Answer, classes: Sequence[str]) -> list[str]:
    shares = answer.probabilities or {}
    return [f"{shares[name]:.6f}" if name in shares else "" for name in classes]


class Judge:
    """Words the answers of runs; keeps what it read of a run until one of its files changes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._facts: dict[str, tuple[tuple, Facts]] = {}

    def facts(self, entry: Entry) -> Facts:
        """Read what is needed to word the answers of a finished run.

        Raises:
            LeukoBenchError: calibration.json, stress.csv or the reference is damaged.
        """
        run = entry.run
        manifest = run.environment()["manifest"]
        if not re.fullmatch("[0-9a-f]{16}", str(manifest)):  # which becomes part of a path
            raise LeukoBenchError(f"{run.file(run_folder.ENVIRONMENT)} names no manifest; received {manifest!r}.")
        paths = (
            *(run.file(n) for n in (run_folder.METRICS, calibration_file.FILE, stress_file.FILE)),
            reference_distribution.path(run.root, manifest),
        )
        state = tuple(stamp(path) for path in paths)
        with self._lock:
            kept = self._facts.get(entry.id)
            if kept is None or kept[0] != state:
                kept = self._facts[entry.id] = state, _read_facts(entry, manifest)
            return kept[1]

    def answers(
        self, entries: Sequence[Entry], given: "Sequence[np.ndarray | str]", statistics: np.ndarray
    ) -> list[Answer]:
        """Word what runs say of one image; see `answer`."""
        named = names(entries)
        pairs = zip(entries, given, strict=True)
        return [self.answer(entry, named[entry.id], each, statistics) for entry, each in pairs]

    def answer(self, entry: Entry, name: str, given: "np.ndarray | str", statistics: np.ndarray) -> Answer:
        """Word what a run says of an image.

        Args:
            entry: a finished run.
            name: see `names`.
            given: (classes,) probabilities as the model gives them, or why there are none.
            statistics: of the image, see `data.likeness`.
        """
        if isinstance(given, str):
            return Answer(entry, name, None, problem=given)
        try:
            return self._worded(entry, name, given, statistics)
        except Exception as error:  # files of any content lie in run folders
            _log.warning("Run %s cannot be worded: %s", entry.id, error)
            return Answer(entry, name, None, problem="Files of this run are damaged; the server's log says which.")

    def _worded(self, entry: Entry, name: str, given: np.ndarray, statistics: np.ndarray) -> Answer:
        facts = self.facts(entry)
        given = given.astype(np.float64) / given.sum(dtype=np.float64)  # as the sets were made
        measured: dict[str, Any] = {}
        if facts.reference is not None:
            verdict = facts.reference.judge(statistics)
            measured = {"distance": verdict.distance, "limit": verdict.limit}
            if not verdict.near:
                return Answer(entry, name, facts, refused=_words(verdict.distance, verdict.limit), **measured)
        shares = given if facts.temperature is None else calibration.scaled(given[None], facts.temperature)[0]
        best = int(given.argmax())
        return Answer(
            entry, name, facts,
            predicted=facts.classes[best],
            probability=float(shares[best]),
            probabilities=dict(zip(facts.classes, map(float, shares), strict=True)),
            sets={
                level: [name for name, p in zip(facts.classes, given, strict=True) if 1 - p <= threshold]
                for level, threshold in facts.thresholds.items()
            },
            **measured,
        )  # fmt: skip


def _read_facts(entry: Entry, manifest: str) -> Facts:
    """Read what is needed to word the answers of a finished run.

    Raises:
        LeukoBenchError: calibration.json, stress.csv or the reference is damaged.
    """
    run, config = entry.run, entry.run.config()
    temperature, thresholds, coverage = None, {}, {}
    if run.file(calibration_file.FILE).is_file():
        held = files.read_json(run.file(calibration_file.FILE))
        try:
            temperature = float(held["temperature"])
            thresholds = {level: float(each["threshold"]) for level, each in held["conformal"].items()}
            coverage = {level: float(each["coverage"]) for level, each in held["conformal"].items()}
            if not 0 < temperature < math.inf:
                raise ValueError
        except (AttributeError, KeyError, TypeError, ValueError):
            raise LeukoBenchError(f"{run.file(calibration_file.FILE)} is damaged.") from None
    stress = stress_file.read_whole_test(run)
    row = entry.record.row
    honest = Honest(
        str(config.get("split", "")), row["accuracy"], row["images"], stress_file.swap_accuracy(stress),
        stress_file.flip_rate(stress), stress_file.SWAP in trained_on(config),
    )  # fmt: skip
    return Facts(
        tuple(config["classes"]),
        temperature,
        thresholds,
        coverage,
        reference_distribution.read(run.root, manifest),
        honest,
    )


def names(entries: Sequence[Entry]) -> dict[str, str]:
    """Name runs by id as shortly as tells them apart: label, with dataset, split or folder where it must be."""

    def texts(entry: Entry) -> list[str]:
        row = entry.record.row
        more = ("", f", {row['dataset']}", f", {row['split']} split", f", {entry.run.path.name}")
        return [entry.label + text for text in more]

    tally = Counter(text for entry in entries for text in dict.fromkeys(texts(entry)))
    return {entry.id: next((t for t in texts(entry) if tally[t] == 1), entry.id) for entry in entries}


def agreement(answers: list[Answer]) -> str:
    """Say how far the runs that gave a class agree; "" where there are fewer than two runs."""
    if len(answers) < 2:
        return ""
    said: dict[str, list[str]] = {}
    for each in answers:
        if each.given:
            said.setdefault(each.predicted, []).append(each.name)
    count, of = sum(map(len, said.values())), len(answers)
    if not count:
        return "None of the models gives a class."
    if len(said) == 1:
        return (
            f"{f'{count} of {of}' if count < of else f'All {of}' if of > 2 else 'Both'} models say {next(iter(said))}."
        )
    first, *others = sorted(said, key=lambda name: -len(said[name]))
    told = "; ".join(f"{name}: {', '.join(said[name])}" for name in others)
    return f"The models disagree: {len(said[first])} of {of} say {first}; {told}."


def _words(distance: float, limit: float) -> str:
    return (
        "This picture is unlike the smears that this model was trained on "
        f"(distance {distance:.1f}, answers are given up to {limit:.1f})."
    )
