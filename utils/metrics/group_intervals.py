"""Confidence intervals of means over images that come in groups, such as patients, also near 0 and 100 %.

Images of a group are not independent. The design effect 1 + (m - 1) r says how many times fewer images the same number
of independent ones would be (Kish 1965), where m is the mean size of an image's group and r the correlation within
groups (analysis of variance, Donner & Koval 1980). The interval is that of Clopper and Pearson (1934) at the effective
number of images (Korn & Graubard 1998). Few wrong answers do not show how they cluster, and none shows nothing: the
correlation is therefore drawn towards PRIOR, with the weight of WEIGHT wrong answers, so that an accuracy of 100 % has
an interval like that of 99.9 %. docs/statistics.md has the coverage of these intervals in simulations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from utils.metrics.significance import LEVEL

if TYPE_CHECKING:
    import numpy as np

FEW = 20  # groups; with fewer the interval may be too narrow where groups differ much
PRIOR, WEIGHT = 0.1, 10.0  # correlation within groups before any answer, and its weight in wrong answers


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval.

    Attributes:
        estimate: the mean over images; NaN without images.
        low, high: ends of the interval, which contains the estimate.
        groups: number of groups.
        images: number of images.
        design_effect: variance divided by that of as many independent images, at least 1.
        effective_size: number of independent images with the same variance.
    """

    estimate: float
    low: float
    high: float
    groups: int
    images: int
    design_effect: float
    effective_size: float


def mean_interval(values: "np.ndarray", groups: Sequence[str], level: float = LEVEL) -> Interval:
    """Return the interval of the mean of shares over images, for new images of new groups.

    Args:
        values: (images,) numbers in 0..1, such as 1 for a right answer; images with NaN are left out.
        groups: (images,) name of each image's group.
        level: confidence.
    """
    from scipy.stats import beta

    values, place = _present(values, groups)
    if not len(values):
        return Interval(float("nan"), 0.0, 1.0, 0, 0, 1.0, 0.0)
    mean, images, count = float(values.mean()), len(values), int(place.max()) + 1
    effect = _design_effect(values, place, images * min(mean, 1 - mean))
    size = images / effect
    shrunk = size * _few(images, count, level)
    right, tail = mean * shrunk, (1 - level) / 2
    low = float(beta.ppf(tail, right, shrunk - right + 1)) if mean > 0 else 0.0
    high = float(beta.ppf(1 - tail, right + 1, shrunk - right)) if mean < 1 else 1.0
    return Interval(mean, low, high, count, images, effect, size)


def difference_interval(
    one: "np.ndarray", other: "np.ndarray", groups: Sequence[str], level: float = LEVEL
) -> Interval:
    """Return the interval of the mean of `one` - `other`, measured on the same images.

    One image that only `one` has right and one that only `other` has right are added for the variance (as Agresti & Min
    2005 add a half to each cell), so that equal answers have an interval, too.

    Args:
        one, other: (images,) numbers in 0..1; images with NaN in either are left out.
        groups: (images,) name of each image's group.
        level: confidence.
    """
    import numpy as np
    from scipy.stats import t

    values, place = _present(np.asarray(one, float) - np.asarray(other, float), groups)
    if not len(values):
        return Interval(float("nan"), -1.0, 1.0, 0, 0, 1.0, 0.0)
    mean, images, count = float(values.mean()), len(values), int(place.max()) + 1
    effect = _design_effect(values, place, float(np.abs(values).sum()))
    spread = (float((values**2).sum()) + 2 - values.sum() ** 2 / (images + 2)) / (images + 2)
    free = count - 1 if count > 1 else 1
    reach = float(t.ppf((1 + level) / 2, free)) * (spread * effect / (images + 2)) ** 0.5
    low, high = max(-1.0, float(mean - reach)), min(1.0, float(mean + reach))
    return Interval(mean, low, high, count, images, effect, images / effect)


def between(one: Interval, other: Interval) -> tuple[float, float]:
    """Return the interval of the difference of two means on different images (Newcombe 1998, method 10; MOVER).

    Where both have images of the same groups, it is too wide rather than too narrow.
    """
    low = one.estimate - other.estimate - ((one.estimate - one.low) ** 2 + (other.high - other.estimate) ** 2) ** 0.5
    high = one.estimate - other.estimate + ((one.high - one.estimate) ** 2 + (other.estimate - other.low) ** 2) ** 0.5
    return max(-1.0, low), min(1.0, high)


def _present(values: "np.ndarray", groups: Sequence[str]) -> "tuple[np.ndarray, np.ndarray]":
    """Return the values that are not NaN, and the number of the group of each."""
    import numpy as np

    values = np.asarray(values, float)
    known = ~np.isnan(values)
    _, place = np.unique(np.asarray(groups)[known], return_inverse=True)
    return values[known], place


def _design_effect(values: "np.ndarray", place: "np.ndarray", wrong: float) -> float:
    """Return the design effect; `wrong` is the number of answers that say how values cluster."""
    import numpy as np

    sizes = np.bincount(place)
    weighted = float((sizes**2).sum() / sizes.sum())  # mean size of an image's group
    if weighted <= 1:
        return 1.0
    found = _correlation(values, place, sizes) if len(sizes) > 1 else 1.0
    correlation = (WEIGHT * PRIOR + wrong * found) / (WEIGHT + wrong) if len(sizes) > 1 else 1.0
    return 1 + (weighted - 1) * correlation


def _correlation(values: "np.ndarray", place: "np.ndarray", sizes: "np.ndarray") -> float:
    """Return the correlation within groups from the mean squares of an analysis of variance, in 0..1."""
    import numpy as np

    images, count = len(values), len(sizes)
    means = np.bincount(place, values) / sizes
    between_groups = float((sizes * (means - values.mean()) ** 2).sum() / (count - 1))
    inside = float(((values - means[place]) ** 2).sum() / max(1, images - count))
    typical = (images - float((sizes**2).sum()) / images) / (count - 1)
    total = between_groups + (typical - 1) * inside
    return min(1.0, max(0.0, (between_groups - inside) / total)) if total > 0 else 0.0


def _few(images: int, groups: int, level: float) -> float:
    """Return the share of the effective size that is left where few groups estimate the variance."""
    from scipy.stats import t

    if groups < 2:
        return 1.0
    tail = (1 + level) / 2
    return float((t.ppf(tail, max(images - 1, 1)) / t.ppf(tail, groups - 1)) ** 2)
