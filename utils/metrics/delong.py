"""How sure an area under the ROC curve is: DeLong's variance, for the mean over classes and for groups of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from utils.metrics.significance import LEVEL

if TYPE_CHECKING:
    import numpy as np

ROUNDING = 1e-12  # a standard error or a difference below it is none


@dataclass(frozen=True)
class Area:
    """A macro AUC in 0..1, the mean of each class against the rest.

    Attributes:
        shares: (images, classes) what each image adds to the area's error through each class against the rest.
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
        None where a class has fewer than two images, or fewer than two others: no variance can be had from one.
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
        # Of each image: the share of the other side that lies on the right side of it, a tie counting a half.
        placed = np.where(here, (ranks - own) / outside, 1 - (ranks - own) / inside)
        value = float(placed[here].mean())
        shares[:, k] = (placed - value) / np.where(here, inside, outside) / classes
        values.append(value)
    return Area(sum(values) / classes, shares, labels)


def difference(
    first: Area, second: Area, groups: Sequence[str]
) -> tuple[float, float | None, float | None, float | None]:
    """Return the difference of two AUCs on the same images, its 95 % interval, and p of no difference (two-sided).

    Variance over groups of images after Obuchowski (1997), with Student's t of one degree of freedom less than groups.
    One group for each image gives DeLong's variance.

    Returns:
        Interval and p are None where a class, or the rest, lies in fewer than two groups, and where two areas differ
        but the images show no spread. Without spread and without difference p is 1.
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
    """Return the 95 % interval of an AUC, kept within 0..1; groups and None as in `difference`.

    A perfect ranking, and one where all are tied, shows no spread and has no interval.
    """
    from scipy.stats import t

    error = _error(area.shares, area.labels, groups)
    if error is None or error < ROUNDING:
        return None, None
    reach = float(t.ppf((1 + LEVEL) / 2, len(set(groups)) - 1)) * error
    return max(0.0, area.value - reach), min(1.0, area.value + reach)


def _error(shares: "np.ndarray", labels: "np.ndarray", groups: Sequence[str]) -> float | None:
    """Return the standard error: images of one group add up before they are squared.

    Obuchowski's factor I / (I - 1) is taken for each class and for its rest, with the I groups that hold images of it.
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
