"""Confidence intervals and tests of areas under the ROC curve: DeLong's variance, over classes and groups of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from utils.metrics.significance import LEVEL

if TYPE_CHECKING:
    import numpy as np

ROUNDING = 1e-12  # a standard error or difference below it counts as 0


@dataclass(frozen=True)
class Area:
    """A macro AUC in 0..1: the mean of each class against the rest.

    Attributes:
        shares: (images, classes) contribution of each image to the error of the area, for each class against the rest.
        labels: (images,) indices of the true classes.
    """

    value: float
    shares: "np.ndarray"
    labels: "np.ndarray"


def macro(probabilities: "np.ndarray", labels: "np.ndarray") -> Area | None:
    """Return the macro AUC with DeLong's structural components (DeLong, DeLong & Clarke-Pearson 1988).

    Args:
        probabilities: (images, classes).
        labels: (images,) indices of the true classes.

    Returns:
        None if a class has fewer than two images, or fewer than two others: there is no variance then.
    """
    import numpy as np
    from scipy.stats import rankdata

    values, shares = [], np.empty(probabilities.shape)
    classes = probabilities.shape[1]
    for k in range(classes):
        here = labels == k
        inside, outside = int(here.sum()), int((~here).sum())
        if min(inside, outside) < 2:
            return None
        score = probabilities[:, k]
        ranks, own = rankdata(score), np.empty(len(score))
        own[here], own[~here] = rankdata(score[here]), rankdata(score[~here])
        # For each image: share of the other side that is ranked correctly against it; a tie counts a half.
        placed = np.where(here, (ranks - own) / outside, 1 - (ranks - own) / inside)
        value = float(placed[here].mean())
        shares[:, k] = (placed - value) / np.where(here, inside, outside) / classes
        values.append(value)
    return Area(sum(values) / classes, shares, labels)


def difference(
    first: Area, second: Area, groups: Sequence[str]
) -> tuple[float, float | None, float | None, float | None]:
    """Return the difference of two AUCs on the same images, its 95 % interval, and the two-sided p of no difference.

    Variance over groups of images after Obuchowski (1997), with Student's t and groups - 1 degrees of freedom. One
    group per image gives DeLong's variance.

    Returns:
        Interval and p are None if a class, or the rest, is in fewer than two groups, and if the areas differ without
        any spread. p is 1 without spread and without difference.
    """
    from scipy.stats import t

    gain, error = first.value - second.value, _error(first.shares - second.shares, first.labels, groups)
    if error is None or error < ROUNDING <= abs(gain):
        return gain, None, None, None
    if error < ROUNDING:
        return gain, gain, gain, 1.0
    freedom = len(set(groups)) - 1
    reach = float(t.ppf((1 + LEVEL) / 2, freedom)) * error
    return gain, gain - reach, gain + reach, float(2 * t.sf(abs(gain) / error, freedom))


def interval(area: Area, groups: Sequence[str]) -> tuple[float, float] | tuple[None, None]:
    """Return the 95 % interval of an AUC, clipped to 0..1; groups and None as in `difference`.

    A perfect ranking, or one of ties only, has no spread and no interval.
    """
    from scipy.stats import t

    error = _error(area.shares, area.labels, groups)
    if error is None or error < ROUNDING:
        return None, None
    reach = float(t.ppf((1 + LEVEL) / 2, len(set(groups)) - 1)) * error
    return max(0.0, area.value - reach), min(1.0, area.value + reach)


def _error(shares: "np.ndarray", labels: "np.ndarray", groups: Sequence[str]) -> float | None:
    """Return the standard error: contributions are summed within a group before they are squared.

    Obuchowski's factor I / (I - 1) is applied to each class and its rest, with the I groups that have images of it.
    """
    import numpy as np

    _, place = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.zeros(place.max() + 1)
    for k in range(shares.shape[1]):
        for side in (labels == k, labels != k):
            held = len(np.unique(place[side]))
            if held < 2:
                return None
            sums += np.bincount(place[side], shares[side, k], len(sums)) * (held / (held - 1)) ** 0.5
    return float((sums**2).sum() ** 0.5)
