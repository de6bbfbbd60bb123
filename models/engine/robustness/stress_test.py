"""Show a trained model its test images changed, without training again. docs/stress.md has the definitions."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np

from data.imaging.variants import Variant
from data.loading import tf_loader
from data.manifest import Row
from data.perturbations import registry as perturbations
from data.perturbations.registry import OTHER, Change
from data.perturbations.stain_donors import Donors
from data.splitting.splits import SplitFolder
from models.engine.backend import keras_backend
from models.engine.explain.faithfulness import sample
from models.engine.robustness.stress_subject import UNCHANGED, Subject
from models.engine.run_io.run_loader import BATCH, split_of
from utils.console import progress, say
from utils.runs.run_folder import Run
from utils.system import environment

MEMORY = 400_000_000  # bytes of decoded test and training images that are kept at most


def stress(runs: Sequence[Run], families: Sequence[str] = (), images: int = 0, heatmaps: int = 32) -> None:
    """Write stress.csv and stress_answers.csv of finished runs; the runs of one split share every changed image.

    Rows of other families, measured on as many images, stay.

    Args:
        runs: finished; their models are all in memory at once.
        families: of changes, see `data.perturbations.NAMES`; none for all.
        images: test images to change, a stratified choice by hash; 0 for all.
        heatmaps: the first so many of them have their heatmaps compared; 0 for none.

    Raises:
        LeukoBenchError: a family is unknown, or weights or data of a run are missing.
    """
    perturbations.chosen(families, ())  # a mistake is said before anything is loaded
    of_split: dict[str, tuple[SplitFolder, list[Run]]] = {}
    for run in runs:
        split = split_of(run)
        of_split.setdefault(split.manifest.hash, (split, []))[1].append(run)
    keras_backend.start()
    for split, members in of_split.values():
        pictures = Pictures(split, sample(split.manifest, images or len(split.manifest.rows)))
        # A choice of few images may hold none that a change is meant for.
        changes = [each for each in perturbations.chosen(families, split.manifest.classes) if pictures.of(each)]
        subjects = [Subject(run) for run in members]
        say(f"  {len(changes)} changes of {len(pictures.rows):,} test images, {len(members)} models")
        with ThreadPoolExecutor(environment.usable_cores()) as pool, progress() as bar:
            task = bar.add_task("Stress", total=len(changes) + 1)
            for change in (UNCHANGED, *changes):
                bar.update(task, description=f"{change.family} {change.severity or ''}".strip().ljust(18))
                _apply(change, pictures, subjects, pool, heatmaps)
                bar.advance(task)
        for subject in subjects:
            subject.write(len(pictures.rows))


class Pictures:
    """The test images of a split, and how each is changed; what is decoded is kept up to MEMORY bytes."""

    def __init__(self, split: SplitFolder, names: Sequence[str]) -> None:
        by_name = {row.image: row for row in split.manifest.subset("test")}
        self.rows = [by_name[name] for name in names]
        self.classes = split.manifest.classes
        self.donors = Donors(split)
        size = tf_loader.opened(self.donors.path(self.rows[0])).nbytes
        self._opened: Callable[[Path], np.ndarray] = lru_cache(max(1, MEMORY // size))(tf_loader.opened)
        self._reference = lru_cache(self.donors.reference)

    def of(self, change: Change) -> list[Row]:
        """Return the images that a change is meant for: the stain of a class is put on those of other classes."""
        return [row for row in self.rows if row.label != change.donor]

    def donor(self, change: Change, row: Row) -> Row | None:
        """Return the image that takes part in the change of another."""
        if not change.donor:
            return None
        return self.donors.other(row) if change.donor == OTHER else self._reference(change.donor)

    def changed(self, change: Change, row: Row) -> np.ndarray:
        """Return an image changed at its own size: (h, w, 3) uint8 RGB."""
        donor = self.donor(change, row)
        other = None if donor is None else self._opened(self.donors.path(donor))
        return change.apply(self._opened(self.donors.path(row)), row.sha256, other)


def _apply(
    change: Change, pictures: Pictures, subjects: Sequence[Subject], pool: ThreadPoolExecutor, heatmaps: int
) -> None:
    """Change the images once, a batch ahead of the models, and let every model predict them."""
    rows = pictures.of(change)
    explained = {row.image for row in pictures.rows[:heatmaps]}
    donors = [donor.label if (donor := pictures.donor(change, row)) else "" for row in rows]
    probabilities: list[list[np.ndarray]] = [[] for _ in subjects]
    shown: list[list[np.ndarray]] = [[] for _ in subjects]
    for batch, changed in _ahead(pool, lambda row: pictures.changed(change, row), rows):
        seen: dict[tuple[int, Variant], np.ndarray] = {}
        for k, subject in enumerate(subjects):
            key = subject.config.image_size, subject.config.variant
            if key not in seen:
                prepared = pool.map(lambda image, key=key: np.asarray(tf_loader.prepared(image, *key)), changed)
                seen[key] = np.stack(list(prepared))
            probabilities[k].append(subject.predict(seen[key]))
            shown[k] += [p for row, p in zip(batch, seen[key], strict=True) if row.image in explained]
    for subject, found, pixels in zip(subjects, probabilities, shown, strict=True):
        subject.record(change, rows, donors, np.concatenate(found), np.array(pixels))


def _ahead(
    pool: ThreadPoolExecutor, function: Callable[[Row], np.ndarray], rows: Sequence[Row]
) -> Iterator[tuple[Sequence[Row], list[np.ndarray]]]:
    """Yield rows and what a function gives for them, BATCH at a time, the next batch already under way."""
    batches = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
    waiting = [pool.submit(function, row) for row in batches[0]]
    for batch, following in zip(batches, [*batches[1:], ()], strict=True):
        ready = waiting
        waiting = [pool.submit(function, row) for row in following]
        yield batch, [each.result() for each in ready]
