"""How sure an area under the ROC curve is: DeLong's variance, for the mean over classes and for groups of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from utils.statistics import LEVEL

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Area:
    """A macro AUC in 0..1, the mean of each class against the rest.

    Attributes:
        shares: (images,) what each image adds to the area's error; the variance is the sum of their squares, and of two
            models' areas that of the squared differences.
    """

    value: float
    shares: "np.ndarray"


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

    values, shares = [], np.zeros(len(labels))
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
        scale = np.where(here, (inside * (inside - 1)) ** 0.5, (outside * (outside - 1)) ** 0.5)
        shares += (placed - value) / scale / classes
        values.append(value)
    return Area(sum(values) / classes, shares)


def difference(first: Area, second: Area, groups: Sequence[str]) -> tuple[float, float, float, float]:
    """Return the difference of two AUCs on the same images, its 95 % interval, and p of no difference (two-sided).

    The variance is summed over groups of images, not over images (Obuchowski 1997); one group for each image gives
    DeLong's. p is 1 where the images say nothing, because both models order them alike.
    """
    from scipy.stats import norm

    gain, error = first.value - second.value, _error(first.shares - second.shares, groups)
    reach = float(norm.ppf((1 + LEVEL) / 2)) * error
    return gain, gain - reach, gain + reach, float(2 * norm.sf(abs(gain) / error)) if error > 0 else 1.0


def interval(area: Area, groups: Sequence[str]) -> tuple[float, float]:
    """Return the 95 % interval of an AUC, kept within 0..1; groups as in `difference`."""
    from scipy.stats import norm

    reach = float(norm.ppf((1 + LEVEL) / 2)) * _error(area.shares, groups)
    return max(0.0, area.value - reach), min(1.0, area.value + reach)


def _error(shares: "np.ndarray", groups: Sequence[str]) -> float:
    """Return the standard error: images of one group add up before they are squared."""
    import numpy as np

    _, place = np.unique(np.asarray(groups), return_inverse=True)
    return float((np.bincount(place, shares) ** 2).sum() ** 0.5)
