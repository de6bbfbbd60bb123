"""Calibration metrics and temperature scaling."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from utils.errors import LeukoBenchError
from utils.metrics import conformal, predictions, selective_prediction

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

BINS = 15  # as Guo et al. (2017)
SMALLEST = 1e-12  # replaces a probability of 0 in logarithms; below the resolution of a float32 softmax
HOTTEST = 100.0  # temperatures are searched in 1/HOTTEST..HOTTEST
ALIKE = 6  # decimals of float32; confidences equal in these share a bin, so that rounding does not order images


@dataclass(frozen=True)
class Bin:
    """One bin of a reliability diagram: number of images, mean confidence and accuracy, both in 0..1."""

    images: int
    confidence: float
    accuracy: float


def reliability(probabilities: "np.ndarray", labels: "np.ndarray", bins: int = BINS) -> list[Bin]:
    """Group images by confidence (highest probability) into equal-mass bins, lowest confidence first.

    Equal confidences always share a bin, so that the order of the images does not matter; empty bins are dropped
    (Nguyen & O'Connor 2015; Nixon et al. 2019).

    Args:
        probabilities: (images, classes), rows that sum to 1.
        labels: (images,) indices of the true classes.
        bins: highest number of bins.

    Raises:
        LeukoBenchError: no images.
    """
    import numpy as np

    if not len(labels):
        raise LeukoBenchError("There are no predictions to calibrate. Evaluate the run again.")
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    rounded = confidence.round(ALIKE)
    starts = np.sort(rounded)[np.arange(1, bins) * len(labels) // bins]
    place = np.searchsorted(starts, rounded, side="right")
    groups = [place == k for k in range(bins)]
    return [
        Bin(int(group.sum()), float(confidence[group].mean()), float(right[group].mean()))
        for group in groups
        if group.any()
    ]


def ece(probabilities: "np.ndarray", labels: "np.ndarray", bins: int = BINS) -> float:
    """Return the expected calibration error with equal-mass bins, in 0..1: mean |accuracy - confidence| over images.

    Naeini et al. (2015) and Guo et al. (2017) use bins of equal width, most of which are empty for a confident model;
    equal-mass bins follow Nguyen & O'Connor (2015). Arguments and errors as `reliability`.
    """
    found = reliability(probabilities, labels, bins)
    return sum(each.images * abs(each.accuracy - each.confidence) for each in found) / len(labels)


def brier(probabilities: "np.ndarray", labels: "np.ndarray") -> float:
    """Return the Brier score, 0..2: mean over images of the squared distance to the one-hot label, summed over classes.

    Brier (1950). scikit-learn's `brier_score_loss` takes several classes only from version 1.7 on.
    """
    import numpy as np

    return float(((probabilities - np.eye(probabilities.shape[1])[labels]) ** 2).sum(axis=1).mean())


def log_loss(probabilities: "np.ndarray", labels: "np.ndarray") -> float:
    """Return the mean negative log-probability of the true class in nats, probabilities clipped to 1e-12 and above."""
    return float(-_logarithms(probabilities)[range(len(labels)), labels].mean())


def scaled(probabilities: "np.ndarray", temperature: float) -> "np.ndarray":
    """Return softmax(log p / T): probabilities (images, classes) at another temperature, float64.

    log p equals the logits up to a constant per row, which the softmax cancels.
    """
    from scipy.special import softmax

    return softmax(_logarithms(probabilities) / temperature, axis=1)


def fit_temperature(probabilities: "np.ndarray", labels: "np.ndarray") -> float:
    """Return the temperature T of least log loss on these images (Guo et al. 2017), within 0.01..100.

    T above 1: the model is overconfident; below 1: underconfident. Fit it on validation images, never on test images.
    If every image is classified correctly, the loss has no minimum and T ends near 0.01.

    Raises:
        LeukoBenchError: no images.
    """
    import numpy as np
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    if not len(labels):
        raise LeukoBenchError("There are no validation predictions to fit a temperature on. Evaluate the run again.")
    logits, rows = _logarithms(probabilities), np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return -log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels].mean()

    edge = float(np.log(HOTTEST))
    return float(np.exp(minimize_scalar(loss, bounds=(-edge, edge), method="bounded", options={"xatol": 1e-6}).x))


def measure(
    validation: "pd.DataFrame", test: "pd.DataFrame", wanted: float = selective_prediction.WANTED
) -> dict[str, Any]:
    """Return calibration, selective prediction and conformal sets of a model.

    Temperature, threshold and sets are fitted on the validation images and measured on the test images.

    Args:
        validation, test: tables of predictions, as for `predictions.summary`.
        wanted: highest share of wrong answers among the given ones, 0..1.

    Returns:
        temperature, bins, before and after {ece, brier, log_loss}, selective {wanted, threshold, coverage, error,
        aurc}, conformal {"0.90": ..., "0.95": ...} as `conformal.Sets.measured`. threshold None: no threshold reaches
        `wanted`; error None: no answer is given; conformal {}: too few validation images.

    Raises:
        LeukoBenchError: there are no validation or test predictions, or they are damaged.
    """
    classes, fit_labels, fit_probabilities = predictions.arrays(validation)
    _, labels, probabilities = predictions.arrays(test)
    temperature = fit_temperature(fit_probabilities, fit_labels)
    states = {"before": probabilities, "after": scaled(probabilities, temperature)}
    least = selective_prediction.threshold(selective_prediction.curve(fit_probabilities, fit_labels), wanted)
    coverage, error = selective_prediction.realised(probabilities, labels, least)
    return {
        "temperature": temperature,
        "bins": BINS,
        **{name: {key: score(state, labels) for key, score in MEASURES.items()} for name, state in states.items()},
        "selective": {"wanted": wanted, "threshold": least, "coverage": coverage, "error": error}
        | {"aurc": selective_prediction.curve(probabilities, labels).aurc},
        "conformal": {
            f"{held.level:.2f}": held.measured(labels, classes)
            for held in conformal.sets(fit_probabilities, fit_labels, probabilities)
        },
    }


MEASURES = {"ece": ece, "brier": brier, "log_loss": log_loss}


def _logarithms(probabilities: "np.ndarray") -> "np.ndarray":
    import numpy as np

    kept = np.maximum(np.asarray(probabilities, dtype=np.float64), SMALLEST)
    return np.log(kept / kept.sum(axis=1, keepdims=True))
