"""Scores from arrays in plain NumPy: scikit-learn's definitions to the bit, without its 30 ms of checks a run.

A root of ten thousand runs is measured run by run; `tests/utils/test_metrics.py` compares every score with
scikit-learn's.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def confusion(truth: "np.ndarray", predicted: "np.ndarray", classes: int) -> "np.ndarray":
    """Return the confusion matrix (classes, classes) of counts, rows true, columns predicted, of (images,) indices."""
    import numpy as np

    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def precision_recall_f1(matrix: "np.ndarray") -> "tuple[np.ndarray, np.ndarray, np.ndarray]":
    """Return precision, recall and F1 of each class, (classes,) in 0..1, of a confusion matrix; 0 where not defined."""
    right, support, chosen = matrix.diagonal().astype(float), matrix.sum(axis=1), matrix.sum(axis=0)
    return _share(right, chosen), _share(right, support), _share(2 * right, support + chosen)


def averaged(values: "np.ndarray", weights: "np.ndarray | None" = None) -> float:
    """Return the mean of (classes,) values, weighted by `weights` where they are given."""
    import numpy as np

    return float(np.average(values, weights=weights))


def area_under_roc(positive: "np.ndarray", scores: "np.ndarray") -> float:
    """Return the area under the ROC curve in 0..1 (Fawcett 2006); equal scores share one threshold.

    Args:
        positive: (images,) bool, some true and some false.
        scores: (images,) higher for what is thought positive.
    """
    import numpy as np

    order = np.argsort(-scores, kind="stable")
    hits = positive[order].astype(float)
    ends = np.r_[np.flatnonzero(np.diff(scores[order])), len(scores) - 1]  # last image at each threshold
    right = np.cumsum(hits)[ends]
    wrong = 1 + ends - right
    if len(right) > 2:  # points on a straight line say nothing
        kept = np.flatnonzero(np.r_[True, (np.diff(wrong, 2) != 0) | (np.diff(right, 2) != 0), True])
        right, wrong = right[kept], wrong[kept]
    return float(np.trapezoid(np.r_[0.0, right] / right[-1], np.r_[0.0, wrong] / wrong[-1]))


def log_loss(truth: "np.ndarray", shares: "np.ndarray") -> float:
    """Return the mean negative log-probability of the true class in nats, probabilities kept from 0 and 1 by 2e-16.

    Args:
        truth: (images,) class indices.
        shares: (images, classes) float64 that sum to 1 in each row.
    """
    import numpy as np

    smallest = np.finfo(shares.dtype).eps
    return float(np.mean(-np.log(np.clip(shares[np.arange(len(truth)), truth], smallest, 1 - smallest))))


def _share(part: "np.ndarray", whole: "np.ndarray") -> "np.ndarray":
    import numpy as np

    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
