"""Selective prediction: risk against coverage, and the confidence threshold for a wanted error rate."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

WANTED = 0.01  # default of the highest share of wrong answers among the given ones


@dataclass(frozen=True)
class Curve:
    """Risk-coverage curve, highest confidence first.

    Attributes:
        thresholds: (steps,) confidences, falling; images at or above a threshold are answered.
        coverage: (steps,) share of answered images, rising to 1.
        risk: (steps,) share of wrong answers among them.
        aurc: area under the curve, 0..1, lower is better.
    """

    thresholds: "np.ndarray"
    coverage: "np.ndarray"
    risk: "np.ndarray"
    aurc: float


def curve(probabilities: "np.ndarray", labels: "np.ndarray") -> Curve:
    """Return the risk-coverage curve of a model; confidence is the highest probability (Geifman & El-Yaniv 2017).

    Images of equal confidence are answered together.

    Args:
        probabilities: (images, classes).
        labels: (images,) indices of the true classes.
    """
    import numpy as np

    thresholds, place = np.unique(-probabilities.max(axis=1), return_inverse=True)
    answered = np.bincount(place)
    wrong = np.bincount(place, probabilities.argmax(axis=1) != labels)
    risk = wrong.cumsum() / answered.cumsum()
    return Curve(-thresholds, answered.cumsum() / len(labels), risk, float((risk * answered).sum() / len(labels)))


def threshold(found: Curve, wanted: float = WANTED) -> float | None:
    """Return the lowest threshold with at most the wanted share of wrong answers; None if there is none.

    Choose it on validation images and measure it on others: on the same images the result is optimistic.
    """
    import numpy as np

    good = np.flatnonzero(found.risk <= wanted)
    return float(found.thresholds[good[-1]]) if len(good) else None


def realised(probabilities: "np.ndarray", labels: "np.ndarray", least: float | None) -> tuple[float, float | None]:
    """Return coverage and share of wrong answers at a threshold; the share is None if no image is answered."""
    import numpy as np

    answered = np.zeros(len(labels), bool) if least is None else probabilities.max(axis=1) >= least
    wrong = (probabilities.argmax(axis=1) != labels)[answered]
    return float(answered.mean()), float(wrong.mean()) if len(wrong) else None
