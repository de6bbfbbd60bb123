"""Answering only where the model is sure: risk against coverage, and the confidence from which to answer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

WANTED = 0.01  # share of the given answers that may be wrong, unless another one is asked for


@dataclass(frozen=True)
class Curve:
    """Risk against coverage, the surest answers first.

    Attributes:
        thresholds: (steps,) confidences, falling; every image at or above one is answered.
        coverage: (steps,) share of the images answered, rising to 1.
        risk: (steps,) share of those answers that is wrong.
        aurc: area under the curve, 0..1, lower is better: the mean risk over all numbers of answered images.
    """

    thresholds: "np.ndarray"
    coverage: "np.ndarray"
    risk: "np.ndarray"
    aurc: float


def curve(probabilities: "np.ndarray", labels: "np.ndarray") -> Curve:
    """Return the risk-coverage curve of a model by its highest probability (Geifman & El-Yaniv 2017).

    Images of equal confidence are answered together: nothing tells which of them to answer first.

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
    """Return the lowest confidence from which at most the wanted share of answers is wrong; None where there is none.

    Choose it on validation images: on those that it was chosen by, it looks better than it is.
    """
    import numpy as np

    good = np.flatnonzero(found.risk <= wanted)
    return float(found.thresholds[good[-1]]) if len(good) else None


def realised(probabilities: "np.ndarray", labels: "np.ndarray", least: float | None) -> tuple[float, float | None]:
    """Return coverage, and the share of wrong answers at or above a confidence; None where no answer is given."""
    import numpy as np

    answered = np.zeros(len(labels), bool) if least is None else probabilities.max(axis=1) >= least
    wrong = (probabilities.argmax(axis=1) != labels)[answered]
    return float(answered.mean()), float(wrong.mean()) if len(wrong) else None
