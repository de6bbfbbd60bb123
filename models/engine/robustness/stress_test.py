"""Stress test: predict changed test images with trained models. Definitions: docs/stress.md."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.imaging.variants import Variant
from data.loading.pipeline import loader
from data.manifest import Row
from data.perturbations import registry as perturbations
from data.perturbations.registry import OTHER, SAME, Change
from data.perturbations.stain_donors import Donors, Matched
from data.splitting.splits import SplitFolder
from models.engine.backend import keras_backend
from models.engine.explain.cam import heatmaps
from models.engine.explain.faithfulness import number_cell, sample
from models.engine.explain.sanity_check import similarity
from models.engine.run_io.run_loader import BATCH, OUT_OF_MEMORY_ADVICE, config_of, open_model, split_of
from utils.console import progress, say
from utils.io import files
from utils.metrics import calibration
from utils.runs import seal, stress_controls
from utils.runs.run_folder import Run
from utils.runs.stress_controls import Answers, Key
from utils.runs.stress_file import ANSWERS, ANSWERS_HEADER, FILE, HEADER, NONE, read
from utils.system import environment

if TYPE_CHECKING:
    import keras

MEMORY = 400_000_000  # bytes of decoded images that are kept at most
UNCHANGED = Change(NONE, NONE, 0, lambda image, random, donor: image)
MAPPED = (0, 1, 3, 5)  # severities whose heatmaps are compared: a heatmap costs more than a prediction


def stress(
    runs: Sequence[Run], families: Sequence[str] = (), images: int = 0, heatmaps: int = 32, controls: bool = False
) -> None:
    """Write the files of the stress test of finished runs; the runs of one split share the changed images.

    The files are stress.csv, stress_answers.csv, stress_images.csv and stress_controls.csv.

    Rows of other families that were measured on as many images are kept.

    Args:
        runs: finished; all models are in memory at once.
        families: of changes, see `data.perturbations.registry.NAMES`; empty for all.
        images: number of test images, a stratified choice by hash; 0 for all.
        heatmaps: number of these images whose heatmaps are compared; 0 for none.
        controls: add the controls, see `data.perturbations.registry.CONTROLS`.

    Raises:
        LeukoBenchError: a family is unknown, or weights or data of a run are missing.
    """
    perturbations.chosen(families, ())  # reports a wrong name before anything is loaded
    of_split: dict[str, tuple[SplitFolder, list[Run]]] = {}
    for run in runs:
        split = split_of(run)
        of_split.setdefault(split.manifest.hash, (split, []))[1].append(run)
    keras_backend.start()
    for split, members in of_split.values():
        pictures = Pictures(split, sample(split.manifest, images or len(split.manifest.rows)))
        # Few images may contain none that a change applies to.
        changes = perturbations.chosen(families, split.manifest.classes, controls)
        changes = [each for each in changes if pictures.of(each)]
        subjects = [Subject(run) for run in members]
        say(f"  {len(changes)} changes of {len(pictures.rows):,} test images, {len(members)} models")
        with ThreadPoolExecutor(environment.usable_cores()) as pool, progress() as bar:
            task = bar.add_task("Stress", total=len(changes) + 1)
            for change in (UNCHANGED, *changes):
                bar.update(task, description=f"{change.family} {change.severity or ''}".strip().ljust(18))
                _apply(change, pictures, subjects, pool, heatmaps)
                bar.advance(task)
        for subject in subjects:
            subject.write(len(pictures.rows), pictures.matched)


class Subject:
    """One run under test; record UNCHANGED before any other change."""

    def __init__(self, run: Run) -> None:
        self.run, self.config = run, config_of(run)
        self._rows: list[dict[str, Any]] = []
        self._counts: list[list[Any]] = []
        self._unchanged: dict[str, int] = {}  # predicted class of each unchanged image
        self._labels: dict[str, int] = {}
        self._donors: dict[str, int] = {}  # class of the donor of another class
        self._answers: dict[Key, dict[str, int]] = {}  # by change and image
        self._maps: dict[str, np.ndarray] = {}  # heatmaps of unchanged images

    @cached_property
    def model(self) -> "keras.Model":
        """The run's model, with logits as output."""
        return open_model(self.run, logits=True)

    def predict(self, pixels: np.ndarray) -> np.ndarray:
        """Return probabilities (n, classes) of (n, size, size, 3) uint8."""
        from scipy.special import softmax

        with keras_backend.enough_memory(f"Predicting with {self.model.name}", OUT_OF_MEMORY_ADVICE):
            return softmax(self.model.predict_on_batch(pixels.astype(np.float32)), axis=1)

    def record(
        self, change: Change, rows: Sequence[Row], donors: Sequence[str], probabilities: np.ndarray, shown: np.ndarray
    ) -> None:
        """Record the predictions for one change.

        Args:
            change: applied to the images.
            rows: (n,) images.
            donors: (n,) class of each stain donor, "" where there is none.
            probabilities: (n, classes) predicted for the changed images.
            shown: (k, size, size, 3) uint8, the first k changed images as the model received them, for heatmaps.
        """
        classes = list(self.config.classes)
        labels = np.array([classes.index(row.label) for row in rows])
        answers = probabilities.argmax(axis=1)
        if change is UNCHANGED:
            self._unchanged = {row.image: int(answer) for row, answer in zip(rows, answers, strict=True)}
            self._labels = {row.image: int(label) for row, label in zip(rows, labels, strict=True)}
        if change.donor == OTHER:
            self._donors = {row.image: classes.index(donor) for row, donor in zip(rows, donors, strict=True)}
        self._answers[Key(change.family, change.name, change.severity, change.donor)] = {
            row.image: int(answer) for row, answer in zip(rows, answers, strict=True)
        }
        right = answers == labels
        cells: dict[str, Any] = {
            "family": change.family,
            "change": change.name,
            "severity": change.severity,
            "donor": change.donor,
            "images": len(rows),
            "accuracy": float(right.mean()),
            "balanced_accuracy": float(np.mean([right[labels == k].mean() for k in np.unique(labels)])),
            "ece": calibration.ece(probabilities, labels),
            "flip_rate": None,
            "heatmap_similarity": self._compare(change, rows, shown),
        }
        if change.stain:
            given = np.array([classes.index(donor) for donor in donors])
            before = np.array([self._unchanged[row.image] for row in rows])
            cells["flip_rate"] = float(((before != given) & (answers == given)).mean())
            counts = Counter(zip(given.tolist(), labels.tolist(), answers.tolist(), strict=True))
            self._counts += [
                [change.family, change.name, *(classes[k] for k in which), count]
                for which, count in sorted(counts.items())
            ]
        self._rows.append(cells)

    def write(self, images: int, matched: Mapping[str, Matched]) -> None:
        """Write the files of the run; keep rows of other families that were measured on as many images.

        Args:
            images: number of unchanged images.
            matched: by image, the donors of the same class that were used.
        """
        order = [NONE, *perturbations.NAMES]
        new = {row["family"] for row in self._rows}
        held = read(self.run)
        alike = any(row["family"] == NONE and row["images"] == images for row in held)
        kept = [row for row in held if alike and row["family"] in order and row["family"] not in new]
        measured = stress_controls.read(self.run).values()
        if {each.judging for each in measured} - {"", perturbations.JUDGING_DIGEST}:  # other amounts: not comparable
            kept = [row for row in kept if row["family"] not in perturbations.JUDGING]
        rows = sorted(self._rows + kept, key=lambda row: order.index(row["family"]))
        path, counts = self.run.file(ANSWERS), list(self._counts)
        if kept and path.is_file():
            names = {row["family"] for row in kept}
            counts += [
                [row[key] for key in ANSWERS_HEADER]
                for row in files.read_csv(path, ANSWERS_HEADER)
                if row["family"] in names
            ]
        cells = [[number_cell(row[key]) for key in HEADER] for row in rows]
        answers = self._by_image(matched, {row["family"] for row in kept})
        numbers = stress_controls.measure(self.run, answers, perturbations.JUDGING_DIGEST)
        with seal.together(self.run) as stage:
            files.write_text(stage / stress_controls.IMAGES, stress_controls.answers_text(answers, self.config.classes))
            files.write_text(stage / stress_controls.FILE, stress_controls.text(numbers))
            files.write_text(stage / ANSWERS, files.csv_text(ANSWERS_HEADER, counts))
            files.write_text(stage / FILE, files.csv_text(HEADER, cells))

    def _by_image(self, matched: Mapping[str, Matched], kept: Collection[str]) -> Answers:
        """Return the answers of each image, with those of earlier tests of the families to keep."""
        names = tuple(self._unchanged)
        shifts = [(matched[name].shift, matched[name].found) if name in matched else (np.nan, np.nan) for name in names]
        found = Answers(
            names,
            np.array([self._labels[name] for name in names]),
            np.array([self._donors.get(name, -1) for name in names]),
            np.array(shifts, float).reshape(len(names), 2),
            {key: np.array([each.get(name, -1) for name in names]) for key, each in self._answers.items()},
        )
        return stress_controls.joined(found, stress_controls.read_answers(self.run), [NONE, *perturbations.NAMES], kept)

    def _compare(self, change: Change, rows: Sequence[Row], shown: np.ndarray) -> float | None:
        """Return the mean similarity of heatmaps before and after the change, for the class predicted before."""
        if not len(shown) or change.severity not in MAPPED:
            return None
        names = [row.image for row in rows[: len(shown)]]
        targets = [self._unchanged[name] for name in names]
        with keras_backend.enough_memory(f"Explaining {self.model.name}", OUT_OF_MEMORY_ADVICE):
            found = heatmaps(self.model, shown, targets, self.config.heatmap_method, self.config.heatmap_layer)
        if change is UNCHANGED:
            self._maps = dict(zip(names, found, strict=True))
        return float(similarity(np.stack([self._maps[name] for name in names]), found).mean())


class Pictures:
    """The test images of a split and their changed versions; caches up to MEMORY bytes of decoded images."""

    def __init__(self, split: SplitFolder, names: Sequence[str]) -> None:
        by_name = {row.image: row for row in split.manifest.subset("test")}
        self.rows = [by_name[name] for name in names]
        self.classes = split.manifest.classes
        self.donors = Donors(split)
        size = loader().open(self.donors.path(self.rows[0])).nbytes
        self._opened: Callable[[Path], np.ndarray] = lru_cache(max(1, MEMORY // size))(loader().open)
        self._reference = lru_cache(self.donors.reference)
        self.matched: dict[str, Matched] = {}  # by image, filled by `match`

    def of(self, change: Change) -> list[Row]:
        """Return the images a change applies to.

        The stain of a class is transferred to images of other classes; donors of the same class need training images.
        """
        if change.donor == SAME:
            return [row for row in self.rows if self.donors.has_same(row)]
        return [row for row in self.rows if row.label != change.donor]

    def donor(self, change: Change, row: Row) -> Row | None:
        """Return the image whose stain is transferred to another, if the change needs one."""
        if change.donor in ("", SAME):
            return None
        return self.donors.other(row) if change.donor == OTHER else self._reference(change.donor)

    def changed(self, change: Change, row: Row) -> np.ndarray:
        """Return a changed image at its original size: (h, w, 3) uint8 RGB."""
        if change.donor == SAME:
            other = self.matched[row.image].statistics
            return change.apply(self._opened(self.donors.path(row)), row.sha256, other)
        donor = self.donor(change, row)
        other = None if donor is None else self._opened(self.donors.path(donor))
        return change.apply(self._opened(self.donors.path(row)), row.sha256, other)

    def match(self, rows: Sequence[Row], pool: ThreadPoolExecutor) -> None:
        """Choose the donors of the same class for images."""
        self.donors.measure_colours(loader().open, pool)
        found = pool.map(lambda row: self.donors.matched(row, self._opened), rows)
        self.matched = {row.image: each for row, each in zip(rows, found, strict=True)}


def _apply(
    change: Change, pictures: Pictures, subjects: Sequence[Subject], pool: ThreadPoolExecutor, mapped: int
) -> None:
    """Change the images once, one batch ahead of the models, and predict them with every model."""
    rows = pictures.of(change)
    if change.donor == SAME:
        pictures.match(rows, pool)
    explained = {row.image for row in pictures.rows[:mapped]}
    donors = [donor.label if (donor := pictures.donor(change, row)) else "" for row in rows]
    probabilities: list[list[np.ndarray]] = [[] for _ in subjects]
    shown: list[list[np.ndarray]] = [[] for _ in subjects]
    for batch, changed in _ahead(pool, lambda row: pictures.changed(change, row), rows):
        seen: dict[tuple[int, Variant], np.ndarray] = {}
        for k, subject in enumerate(subjects):
            key = subject.config.image_size, subject.config.variant
            if key not in seen:
                prepared = pool.map(lambda image, key=key: loader().prepare(image, *key), changed)
                seen[key] = np.stack(list(prepared))
            probabilities[k].append(subject.predict(seen[key]))
            shown[k] += [p for row, p in zip(batch, seen[key], strict=True) if row.image in explained]
    for subject, found, pixels in zip(subjects, probabilities, shown, strict=True):
        subject.record(change, rows, donors, np.concatenate(found), np.array(pixels))


def _ahead(
    pool: ThreadPoolExecutor, function: Callable[[Row], np.ndarray], rows: Sequence[Row]
) -> Iterator[tuple[Sequence[Row], list[np.ndarray]]]:
    """Yield batches of rows with the results of a function, while the next batch is computed."""
    batches = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
    following = [pool.submit(function, row) for row in batches[0]]
    for batch, after in zip(batches, [*batches[1:], ()], strict=True):
        current, following = following, [pool.submit(function, row) for row in after]
        yield batch, [each.result() for each in current]
