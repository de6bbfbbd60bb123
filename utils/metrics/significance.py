"""What chance alone may do: intervals of shares and areas, paired tests, and models that cannot be told apart.

Formulas and sources: docs/statistics.md.
"""

from collections.abc import Collection, Sequence
from functools import lru_cache
from math import sqrt
from string import ascii_letters
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

LEVEL = 0.95  # of every interval
_Z = 1.959963984540054  # standard deviations of a normal distribution that hold so much of it, as SciPy has it
SIGNIFICANT = 1 - LEVEL  # a p below it, after Holm's correction
ROUNDS = 2000  # resamplings of a bootstrap
SEED = 0
FEW = 20  # groups; with fewer a cluster bootstrap is too narrow


def wilson(right: int, images: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a share (Wilson 1927; Newcombe 1998, method 3), both ends in 0..1."""
    share, whole = right / images, 2 * (images + _Z**2)
    middle = (2 * images * share + _Z**2) / whole
    reach = _Z / whole * sqrt(4 * images * share * (1 - share) + _Z**2)
    return (middle - reach if right else 0.0), (middle + reach if right < images else 1.0)


def cluster_bootstrap(
    values: "np.ndarray", groups: Sequence[str], rounds: int = ROUNDS, seed: int = SEED
) -> "np.ndarray | None":
    """Return 95 % percentile intervals of means when whole groups of images are drawn with replacement.

    Field & Welsh (2007): images of a group are not independent, so a group comes whole or not at all. With few groups,
    below about 20 (FEW), such an interval is too narrow.

    Args:
        values: (images,) or (images, columns): hits, or differences of hits. All columns share their resamplings.
        groups: (images,) name of each image's group; one name for each image is the ordinary bootstrap.
        rounds: resamplings.
        seed: of the resamplings; the same one gives the same interval.

    Returns:
        (2,) or (2, columns): lower and upper ends. None with fewer than two groups, which show no spread.
    """
    import numpy as np

    values = np.asarray(values, dtype=np.float64)
    _, place = np.unique(np.asarray(groups), return_inverse=True)
    if place.max() < 1:
        return None
    columns = values.reshape(len(values), -1).T
    sums = np.stack([np.bincount(place, column) for column in columns], axis=1)
    times = _times(len(sums), rounds, seed)
    means = (times @ sums) / (times @ np.bincount(place))[:, None]
    tail = (1 - LEVEL) / 2
    return np.quantile(means, [tail, 1 - tail], axis=0).reshape(2, *values.shape[1:])


def accuracy_interval(hits: "np.ndarray", groups: Sequence[str]) -> tuple[float, float] | tuple[None, None]:
    """Return the 95 % cluster-bootstrap interval of an accuracy; None with fewer than two groups.

    Where all answers are right, or all wrong, resampling them says nothing: the interval is then Wilson's with each
    group counted as one image, the most careful reading.

    Args:
        hits: (images,) bool.
        groups: (images,) names.
    """
    count = len(set(groups))
    if count > 1 and (hits.all() or not hits.any()):
        return wilson(count if hits.all() else 0, count)
    ends = cluster_bootstrap(hits, groups)
    return (None, None) if ends is None else (float(ends[0]), float(ends[1]))


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Return the two-sided p of McNemar's exact test (McNemar 1947).

    Its arguments are the images that only one of two models gets right: were both equally good, a coin's throws.
    """
    from statsmodels.stats.contingency_tables import mcnemar

    return float(mcnemar([[0, only_first], [only_second, 0]], exact=True).pvalue) if only_first + only_second else 1.0


def holm(p: Sequence[float]) -> list[float]:
    """Return p values corrected for their number by Holm (1979), which keeps false alarms in a family to 5 %."""
    from statsmodels.stats.multitest import multipletests

    return [float(value) for value in multipletests(p, method="holm")[1]] if len(p) else []


def tellable(better: Sequence[tuple[int, int]], count: int) -> list[list[int]]:
    """Return the largest sets of models of which no two can be told apart, as the letters of Piepho (2004).

    Args:
        better: pairs (i, j) of models that differ significantly.
        count: of models.

    Returns:
        Sets as ascending lists, in the order of their first members. Every model is in at least one; two models share
        one exactly when they cannot be told apart.
    """
    sets: list[set[int]] = [set(range(count))]
    for i, j in better:
        split = [part - {k} for part in sets for k in ((i, j) if {i, j} <= part else ())]
        sets = _largest([part for part in sets if not {i, j} <= part] + split)
    return sorted(sorted(part) for part in sets)


def letters(sets: Sequence[Collection[int]], count: int) -> list[str]:
    """Return for each model the letters of the sets that it belongs to: "a", "ab", ..., "Z", "(53)", ..."""
    names = [*ascii_letters, *(f"({k})" for k in range(len(ascii_letters) + 1, len(sets) + 1))][: len(sets)]
    return ["".join(name for name, part in zip(names, sets, strict=True) if k in part) for k in range(count)]


@lru_cache(maxsize=4)
def _times(groups: int, rounds: int, seed: int) -> "np.ndarray":
    """Return how often each group is drawn in each round, (rounds, groups): the same for every model."""
    import numpy as np

    drawn = np.random.default_rng(seed).integers(0, groups, (rounds, groups)) + groups * np.arange(rounds)[:, None]
    return np.bincount(drawn.ravel(), minlength=rounds * groups).reshape(rounds, groups).astype(np.float64)


def _largest(sets: Sequence[set[int]]) -> list[set[int]]:
    kept: list[set[int]] = []
    for part in sorted(sets, key=len, reverse=True):
        if not any(part <= other for other in kept):
            kept.append(part)
    return kept
