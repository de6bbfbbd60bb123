"""One run under stress: its answers to every change, what they were before, and the two files that say so."""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from data.manifest import Row
from data.perturbations import registry as perturbations
from data.perturbations.registry import Change
from models.engine.backend import keras_backend
from models.engine.explain.cam import heatmaps
from models.engine.explain.explainer import softmax
from models.engine.explain.sanity_check import similarity
from models.engine.run_io.run_loader import ELSEWHERE, config_of, open_model
from utils.io import files
from utils.metrics import calibration
from utils.runs.run_folder import Run
from utils.runs.stress_file import ANSWERS, ANSWERS_HEADER, FILE, HEADER, NONE, read

if TYPE_CHECKING:
    import keras

    from models.engine.config.base import ModelConfig

UNCHANGED = Change(NONE, NONE, 0, lambda image, random, donor: image)
MAPPED = (0, 1, 3, 5)  # severities whose heatmaps are compared: a heatmap costs more than a prediction


class Subject:
    """One run; UNCHANGED is to be recorded first."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._rows: list[dict[str, Any]] = []
        self._counts: list[list[Any]] = []
        self._plain: dict[str, int] = {}  # image -> answer to the unchanged one
        self._maps: dict[str, np.ndarray] = {}

    @cached_property
    def config(self) -> "ModelConfig":
        """The run's configuration."""
        return config_of(self.run)

    @cached_property
    def model(self) -> "keras.Model":
        """The run's model, with logits as output."""
        return open_model(self.run, logits=True)

    def predict(self, pixels: np.ndarray) -> np.ndarray:
        """Return probabilities (n, classes) of (n, size, size, 3) uint8."""
        with keras_backend.enough_memory(f"Predicting with {self.model.name}", ELSEWHERE):
            return softmax(self.model.predict_on_batch(pixels.astype(np.float32)))

    def record(
        self, change: Change, rows: Sequence[Row], donors: Sequence[str], probabilities: np.ndarray, shown: np.ndarray
    ) -> None:
        """Keep what came of a change.

        Args:
            change: that was made.
            rows: (n,) images that were changed.
            donors: (n,) class of the donor of each, "" where there was none.
            probabilities: (n, classes) answers of the model.
            shown: (k, size, size, 3) uint8, the first k changed images as the model saw them, for the heatmaps.
        """
        classes = list(self.config.classes)
        labels = np.array([classes.index(row.label) for row in rows])
        answers = probabilities.argmax(axis=1)
        if change is UNCHANGED:
            self._plain = {row.image: int(answer) for row, answer in zip(rows, answers, strict=True)}
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
            before = np.array([self._plain[row.image] for row in rows])
            cells["flip_rate"] = float(((before != given) & (answers == given)).mean())
            counts = Counter(zip(given.tolist(), labels.tolist(), answers.tolist(), strict=True))
            self._counts += [
                [change.family, change.name, *(classes[k] for k in which), count]
                for which, count in sorted(counts.items())
            ]
        self._rows.append(cells)

    def write(self, images: int) -> None:
        """Write both files of the run; other families that were measured on as many images as now stay in them."""
        order = [NONE, *perturbations.NAMES]
        new = {row["family"] for row in self._rows}
        held = read(self.run)
        alike = any(row["family"] == NONE and row["images"] == images for row in held)
        kept = [row for row in held if alike and row["family"] in order and row["family"] not in new]
        rows = sorted(self._rows + kept, key=lambda row: order.index(row["family"]))
        path, counts = self.run.file(ANSWERS), list(self._counts)
        if kept and path.is_file():
            names = {row["family"] for row in kept}
            counts += [
                [row[key] for key in ANSWERS_HEADER]
                for row in files.read_csv(path, ANSWERS_HEADER)
                if row["family"] in names
            ]
        files.write_text(path, files.csv_text(ANSWERS_HEADER, counts))
        files.write_text(
            self.run.file(FILE), files.csv_text(HEADER, [[_cell(row[key]) for key in HEADER] for row in rows])
        )

    def _compare(self, change: Change, rows: Sequence[Row], shown: np.ndarray) -> float | None:
        """Return the mean similarity of the heatmaps of changed images to those before, for the answer of before."""
        if not len(shown) or change.severity not in MAPPED:
            return None
        names = [row.image for row in rows[: len(shown)]]
        targets = [self._plain[name] for name in names]
        with keras_backend.enough_memory(f"Explaining {self.model.name}", ELSEWHERE):
            found = heatmaps(self.model, shown, targets, self.config.heatmap_method, self.config.heatmap_layer)
        if change is UNCHANGED:
            self._maps = dict(zip(names, found, strict=True))
        return float(similarity(np.stack([self._maps[name] for name in names]), found).mean())


def _cell(value: Any) -> Any:
    return "" if value is None else f"{value:.6f}" if isinstance(value, float) else value
