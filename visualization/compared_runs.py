"""Runs of a comparison as the figures need them: name, colour and numbers of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.metrics import predictions
from utils.runs import split_spec
from utils.runs.comparison import Comparison
from utils.runs.records import recipe
from utils.runs.run_folder import Run

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True)
class Subject:
    """One run of a comparison.

    Attributes:
        name: as in the tables; unique in the comparison.
        index: position in the comparison; sets colour, line and marker in every figure.
        row: its columns of table.csv.
        per_class: its rows of per_class.csv, in class order.
    """

    run: Run
    name: str
    index: int
    row: dict[str, Any]
    per_class: list[dict[str, Any]]

    @cached_property
    def table(self) -> "pd.DataFrame":
        """The predictions of its test images."""
        return self.run.predictions("test")

    @cached_property
    def arrays(self) -> "tuple[list[str], np.ndarray, np.ndarray]":
        """Class names, true class indices (images,) and probabilities (images, classes)."""
        return predictions.arrays(self.table)


def subjects(comparison: Comparison) -> list[Subject]:
    """Return the runs of a comparison, best first."""
    return [
        Subject(run, row["name"], index, row, [c for c in comparison.per_class if c["run"] == run.id])
        for index, (run, row) in enumerate(zip(comparison.runs, comparison.rows, strict=True))
    ]


def about(comparison: Comparison) -> str:
    """Return the subtitle of a comparison's figures: dataset, split and number of test images."""
    splits = split_spec.words(*(row["split"] for row in comparison.rows))
    return f"{comparison.dataset}, {splits}, {comparison.rows[0]['images']:,} test images"


def about_run(run: Run, images: int) -> str:
    """Return the subtitle of one run's figures: dataset, split, seed and number of test images."""
    config = run.config()
    return f"{config['dataset']}, {split_spec.words(config['split'])}, seed {config['seed']}, {images:,} test images"


def one_seed_each(all_subjects: Sequence[Subject]) -> list[Subject]:
    """Keep, of runs that differ only in their seed, the one with the lowest seed."""
    chosen: dict[str, Subject] = {}
    for subject in sorted(all_subjects, key=lambda s: s.run.config()["seed"]):
        chosen.setdefault(recipe(subject.run.config()), subject)
    return sorted(chosen.values(), key=lambda s: s.index)


def about_training(all_subjects: Sequence[Subject]) -> str:
    """Return the subtitle of training curves: dataset, split and, where equal in all runs, the validation images."""
    splits = split_spec.words(*(s.row["split"] for s in all_subjects))
    counts = {len(s.run.predictions("val")) for s in all_subjects}
    held = f", {counts.pop():,} validation images" if len(counts) == 1 else ""
    return f"{all_subjects[0].run.config()['dataset']}, {splits}{held}"


def manifest_of(comparison: Comparison) -> Path | None:
    """Return the first manifest of the runs that is there."""
    return next((path for run in comparison.runs if (path := run.manifest_path()).is_file()), None)
