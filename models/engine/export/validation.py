"""Validate an export against the predictions of its run, and evaluate it."""

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from models.engine.backend import keras_backend
from models.engine.evaluation import efficiency, evaluator
from models.engine.export import runtimes
from models.engine.export import store as export_store
from models.engine.export.runtimes import Runtime
from models.engine.run_io import run_loader
from utils.errors import LeukoBenchError
from utils.io import files, transaction
from utils.runs import run_folder
from utils.runs.run_folder import Run
from utils.system import environment

if TYPE_CHECKING:
    from data.loading.image_set import Images


@dataclass(frozen=True)
class Bound:
    """Limits for an export on the test images.

    Attributes:
        difference: maximum difference of a probability; None for no limit.
        agreement: minimum share of images with the same predicted class.
        loss: maximum loss of accuracy, 0..1.
    """

    difference: float | None
    agreement: float
    loss: float


BOUNDS = {
    # The same arithmetic in another order: the tolerance of `verify` for another machine.
    export_store.FLOAT32: Bound(1e-4, 1.0, 0.0),
    # Weights rounded to 11 bits change an uncertain probability by a few hundredths (ResNet18 in OpenVINO: 0.03);
    # larger differences mean weights beyond the range of half precision.
    export_store.FLOAT16: Bound(0.05, 0.995, 0.005),
    # Int8 changes probabilities of uncertain images strongly, so only predicted classes count: the project accepts a
    # loss of half a point of accuracy for a quarter of the size, and 2 % of changed predictions.
    export_store.INT8: Bound(None, 0.98, 0.005),
}


@dataclass(frozen=True)
class Check:
    """Predictions of an export compared with predictions.csv on the test images.

    Attributes:
        images: number of test images.
        agreement: share of images with the same predicted class.
        largest_difference: of a probability; None where one is not finite, which JSON cannot store.
        accuracy, accuracy_of_weights: of the export, and of predictions.csv.
    """

    images: int
    agreement: float
    largest_difference: float | None
    accuracy: float
    accuracy_of_weights: float

    def problems(self, bound: Bound) -> list[str]:
        """Return a description of every limit that is exceeded."""
        found = []
        if self.largest_difference is None:
            found.append("a probability is not a finite number")
        elif bound.difference is not None and not self.largest_difference <= bound.difference:
            found.append(f"a probability differs by {self.largest_difference:.2g} (at most {bound.difference:g})")
        if not self.agreement >= bound.agreement:
            found.append(
                f"{100 * self.agreement:.2f} % of the predictions agree (at least {100 * bound.agreement:g} %)"
            )
        lost = self.accuracy_of_weights - self.accuracy
        if lost > bound.loss + 1e-9:
            found.append(f"accuracy falls by {100 * lost:.2f} points (at most {100 * bound.loss:g})")
        return found


def check(run: Run, runtime: Runtime, images: "Images") -> Check:
    """Predict the test images of a run with an export and compare with predictions.csv.

    Raises:
        LeukoBenchError: predictions.csv is missing or lists other images.
    """
    recorded = run.predictions("test")
    if sorted(recorded["image"]) != sorted(images.names):
        raise LeukoBenchError(
            f"{run.file(run_folder.PREDICTIONS)} does not list the test images of the split. Evaluate the run again: "
            f"python run_guide.py evaluate {run.id}"
        )
    recorded = recorded.set_index("image").loc[images.names]
    before = recorded.filter(regex="^p_").to_numpy().astype(np.float32)
    return compare(before, run_loader.outputs(runtime.predict, images), images.labels)


def compare(before: np.ndarray, now: np.ndarray, labels: np.ndarray) -> Check:
    """Compare (n, classes) probabilities of the weights and of an export on n images with class indices `labels`."""
    finite = np.isfinite(now).all(axis=1)  # other rows count as wrong
    same, right = finite & (now.argmax(1) == before.argmax(1)), finite & (now.argmax(1) == labels)
    difference = float(np.abs(before.astype(np.float64) - now).max(initial=0.0))
    return Check(
        images=len(labels),
        agreement=float(same.mean()),
        largest_difference=difference if np.isfinite(difference) else None,
        accuracy=float(right.mean()),
        accuracy_of_weights=float((before.argmax(1) == labels).mean()),
    )


def evaluate(run: Run, name: str) -> dict[str, dict]:
    """Write predictions.csv, timing.json and metrics.json into the folder of an export; the run's files do not change.

    Returns:
        {"metrics": as metrics.json, "timing": as timing.json}.

    Raises:
        LeukoBenchError: the export is missing, stale or damaged, or its runtime or the data are missing.
    """
    import pandas as pd

    export_store.read(run, name)  # reports a missing export before Keras starts
    keras_backend.start()
    config = run_loader.config_of(run)
    split = run_loader.split_of(run)
    start = perf_counter()
    opened = runtimes.open_export(run, name)
    load_seconds = perf_counter() - start
    header, rows, images = evaluator.prediction_rows(
        config, split, lambda each: run_loader.outputs(opened.predict, each)
    )
    table = pd.DataFrame(rows, columns=header).astype(dict.fromkeys(header[3:], float))
    found = evaluator.summaries(table)
    timed = {"load_seconds": load_seconds} | efficiency.speed(opened.predict, images)
    timed |= {"device": environment.cpu_name(), "peak_memory_mb": environment.peak_memory_mb()}
    place = export_store.folder(run, name)
    with transaction.together(run.path) as stage:
        place = stage / place.relative_to(run.path)
        files.write_text(place / run_folder.PREDICTIONS, files.csv_text(header, rows))
        files.write_json(place / run_folder.TIMING, timed)
        files.write_json(place / run_folder.METRICS, found)
    return {"metrics": found, "timing": timed}
