"""Interpretation of a run's probabilities: class, calibrated probability, prediction set, or refusal."""

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
from utils.runs import calibration_file, run_folder, split_spec, stress_file
from utils.runs.cache import stamp
from utils.runs.seen_families import trained_on
from utils.text import NOTICE
from webapp.runs.catalogue import Entry

_log = logging.getLogger(__name__)

# Of the prediction sets on the page; at 0.90 the sets of a very accurate model are often empty.
LEVEL = "0.95"
KERAS = "keras"
COLUMNS = ("image", "run", "predicted", "probability", "calibrated", "prediction_set", "refused")


@dataclass(frozen=True)
class Honest:
    """Reliability of a run from its files; None for values that were not measured.

    Attributes:
        split: from its configuration.
        accuracy: on its test images, 0..1.
        images: number of test images.
        stain_swap: accuracy with the stain of another class.
        flip_rate: share of answers that changed to that class.
        taught: whether it was trained on the stain swap.
    """

    split: str
    accuracy: float
    images: int
    stain_swap: float | None
    flip_rate: float | None
    taught: bool


@dataclass(frozen=True)
class Facts:
    """Data of a run for the interpretation of its probabilities.

    Attributes:
        temperature: for calibration; None without calibration.json.
        thresholds: by level ("0.90"), the 1 - p above which a class is not in the prediction set.
        coverage: by level, the share of test images whose set contains the true class.
        reference: distribution of its training images; None where not measured.
    """

    classes: tuple[str, ...]
    temperature: float | None
    thresholds: dict[str, float]
    coverage: dict[str, float]
    reference: Reference | None
    honest: Honest


@dataclass(frozen=True)
class Answer:
    """Interpreted answer of one run for one image.

    Attributes:
        name: shortest name of the run that is unique in the request.
        problem: why there is no answer; "" where there is one.
        refused: why there is no class; "" where there is one.
        distance, limit: distance from the training images, and the limit above which an image is refused; None where
            not measured.
        predicted, probability, probabilities: class, its probability and those of all classes, calibrated if the run
            has a temperature; "", None and {} where there is no answer.
        sets: prediction sets by level.
        runtime: "keras", or the name of the export that computed the probabilities.
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
    """Return the answers for one image as CSV: COLUMNS, the probability of every class, and the notice."""
    classes = list(dict.fromkeys(name for each in answers if each.facts for name in each.facts.classes))
    return files.csv_text(
        [*COLUMNS, *(f"p_{name}" for name in classes), "notice"],
        ([*map(files.csv_cell, (image, *_cells(each))), *_shares(each, classes), NOTICE] for each in answers),
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
    """Interpret the answers of runs; caches the data of a run until one of its files changes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._facts: dict[str, tuple[tuple, Facts]] = {}

    def facts(self, entry: Entry) -> Facts:
        """Read the data for the interpretation of a finished run.

        Raises:
            LeukoBenchError: calibration.json, stress.csv or the reference is damaged.
        """
        run = entry.run
        manifest = run.environment()["manifest"]
        if not re.fullmatch("[0-9a-f]{16}", str(manifest)):  # it becomes part of a path
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
        """Interpret the probabilities of several runs for one image; see `answer`."""
        named = names(entries)
        pairs = zip(entries, given, strict=True)
        return [self.answer(entry, named[entry.id], each, statistics) for entry, each in pairs]

    def answer(self, entry: Entry, name: str, given: "np.ndarray | str", statistics: np.ndarray) -> Answer:
        """Interpret the probabilities of a run for one image.

        Args:
            entry: a finished run.
            name: see `names`.
            given: (classes,) probabilities of the model, or the reason why there are none.
            statistics: of the image, see `data.ood.image_statistics`.
        """
        if isinstance(given, str):
            return Answer(entry, name, None, problem=given)
        try:
            return self._interpreted(entry, name, given, statistics)
        except Exception as error:  # run folders may hold files with any content
            _log.warning("The answer of run %s cannot be interpreted: %s", entry.id, error)
            return Answer(entry, name, None, problem="Files of this run are damaged; see the server's log.")

    def _interpreted(self, entry: Entry, name: str, given: np.ndarray, statistics: np.ndarray) -> Answer:
        facts = self.facts(entry)
        given = given.astype(np.float64) / given.sum(dtype=np.float64)  # normalised as for the prediction sets
        measured: dict[str, Any] = {}
        if facts.reference is not None:
            verdict = facts.reference.judge(statistics)
            measured = {"distance": verdict.distance, "limit": verdict.limit}
            if not verdict.near:
                return Answer(entry, name, facts, refused=_words(verdict.distance, verdict.limit), **measured)
        shares = given if facts.temperature is None else calibration.scaled(given[None], facts.temperature)[0]
        best = int(given.argmax())
        return Answer(
            entry,
            name,
            facts,
            predicted=facts.classes[best],
            probability=float(shares[best]),
            probabilities=dict(zip(facts.classes, map(float, shares), strict=True)),
            sets={
                level: [name for name, p in zip(facts.classes, given, strict=True) if 1 - p <= threshold]
                for level, threshold in facts.thresholds.items()
            },
            **measured,
        )


def _read_facts(entry: Entry, manifest: str) -> Facts:
    """Read the data for the interpretation of a finished run.

    Raises:
        LeukoBenchError: calibration.json, stress.csv or the reference is damaged.
    """
    run, config = entry.run, entry.run.config()
    temperature, thresholds, coverage = None, {}, {}
    if run.file(calibration_file.FILE).is_file():
        run.check(calibration_file.FILE)
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
        str(config.get("split", "")),
        row["accuracy"],
        row["images"],
        stress_file.swap_accuracy(stress),
        stress_file.flip_rate(stress),
        stress_file.SWAP in trained_on(config),
    )
    return Facts(
        tuple(config["classes"]),
        temperature,
        thresholds,
        coverage,
        reference_distribution.read(run.root, manifest),
        honest,
    )


def names(entries: Sequence[Entry]) -> dict[str, str]:
    """Return a short unique name for each run id: label, with dataset, split or folder where needed."""

    def texts(entry: Entry) -> list[str]:
        row = entry.record.row
        more = ("", f", {row['dataset']}", f", {split_spec.words(row['split'])}", f", {entry.run.path.name}")
        return [entry.label + text for text in more]

    tally = Counter(text for entry in entries for text in dict.fromkeys(texts(entry)))
    return {entry.id: next((t for t in texts(entry) if tally[t] == 1), entry.id) for entry in entries}


def agreement(answers: list[Answer]) -> str:
    """Return a sentence on the agreement of the runs with a class; "" for fewer than two runs."""
    if len(answers) < 2:
        return ""
    names_by_class: dict[str, list[str]] = {}
    for each in answers:
        if each.given:
            names_by_class.setdefault(each.predicted, []).append(each.name)
    count, of = sum(map(len, names_by_class.values())), len(answers)
    if not count:
        return "No model gives a class."
    if len(names_by_class) == 1:
        models = f"{count} of {of}" if count < of else f"All {of}" if of > 2 else "Both"
        return f"{models} models say {next(iter(names_by_class))}."
    first, *others = sorted(names_by_class, key=lambda name: -len(names_by_class[name]))
    others_text = "; ".join(f"{name}: {', '.join(names_by_class[name])}" for name in others)
    return f"The models disagree: {len(names_by_class[first])} of {of} say {first}; {others_text}."


def _words(distance: float, limit: float) -> str:
    return f"This image differs from the training images of the model (distance {distance:.1f}, limit {limit:.1f})."
