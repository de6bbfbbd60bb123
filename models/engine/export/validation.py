"""Hold an export against the recorded predictions of its run, and refuse it where it is too far from them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.engine.export import store as export_store
from models.engine.export.runtimes import Runtime
from models.engine.run_io import run_loader
from utils.errors import LeukoBenchError
from utils.runs import run_folder
from utils.runs.run_folder import Run

if TYPE_CHECKING:
    from data.loading.tf_loader import Images


@dataclass(frozen=True)
class Bound:
    """What an export must keep on the test images.

    Attributes:
        difference: largest difference of a probability; None where it is not bound.
        agreement: least share of images with the same answer.
        loss: most accuracy that may be lost, as a share of the images.
    """

    difference: float | None
    agreement: float
    loss: float


BOUNDS = {
    # The same arithmetic in another order: what `verify` grants another machine.
    export_store.FLOAT32: Bound(1e-4, 1.0, 0.0),
    # Weights rounded to eleven bits move an unsure probability by some hundredths at most (ResNet18 in OpenVINO: 0.03);
    # what moves further has weights beyond the range of half precision.
    export_store.FLOAT16: Bound(0.05, 0.995, 0.005),
    # Probabilities of unsure images move far in eight bits, so that only answers count: half a point of accuracy is
    # what the project allows for a quarter of the size, and one answer in fifty may change either way.
    export_store.INT8: Bound(None, 0.98, 0.005),
}


@dataclass(frozen=True)
class Check:
    """How an export answers on the test images of its run, beside predictions.csv.

    Attributes:
        images: test images.
        agreement: share of them with the same answer.
        largest_difference: of a probability; None where one is not a finite number, as JSON has none such.
        accuracy, accuracy_of_weights: of the export, and as recorded.
    """

    images: int
    agreement: float
    largest_difference: float | None
    accuracy: float
    accuracy_of_weights: float

    def problems(self, bound: Bound) -> list[str]:
        """Return in words how the export fails its bound; nothing where it keeps it."""
        found = []
        if self.largest_difference is None:
            found.append("a probability is not a finite number")
        elif bound.difference is not None and not self.largest_difference <= bound.difference:
            found.append(f"a probability differs by {self.largest_difference:.2g} (at most {bound.difference:g})")
        if not self.agreement >= bound.agreement:
            found.append(
                f"{100 * self.agreement:.2f} % of the answers are the same (at least {100 * bound.agreement:g} %)"
            )
        lost = self.accuracy_of_weights - self.accuracy
        if lost > bound.loss + 1e-9:
            found.append(f"accuracy falls by {100 * lost:.2f} points (at most {100 * bound.loss:g})")
        return found


def check(run: Run, runtime: Runtime, images: "Images") -> Check:
    """Answer the test images of a run by an export and compare with predictions.csv.

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
    finite = np.isfinite(now).all(axis=1)  # what is not answers nothing, wherever its largest number stands
    same, right = finite & (now.argmax(1) == before.argmax(1)), finite & (now.argmax(1) == labels)
    difference = float(np.abs(before.astype(np.float64) - now).max(initial=0.0))
    return Check(
        len(labels), float(same.mean()), difference if np.isfinite(difference) else None,
        float(right.mean()), float((before.argmax(1) == labels).mean()),
    )  # fmt: skip
