"""Statistical significance: confidence intervals of shares, paired tests, and groups of models that do not differ.

Formulas and sources: docs/statistics.md.
"""

from collections.abc import Collection, Sequence
from functools import lru_cache
from string import ascii_letters
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

LEVEL = 0.95  # of every interval
SIGNIFICANT = 1 - LEVEL  # highest p, after Holm's correction, of a significant difference
ROUNDS = 2000  # resamplings of a bootstrap
SEED = 0
FEW = 20  # groups; with fewer the interval of a cluster bootstrap is too narrow


def wilson(right: int, images: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a share (Wilson 1927; Newcombe 1998, method 3), both ends in 0..1."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(right, images, alpha=1 - LEVEL, method="wilson")
    return float(low), float(high) if right < images else 1.0  # its upper end of 100 % misses 1 by rounding


def cluster_bootstrap(
    values: "np.ndarray", groups: Sequence[str], rounds: int = ROUNDS, seed: int = SEED
) -> "np.ndarray | None":
    """Return 95 % percentile intervals of means, by a bootstrap that draws whole groups of images with replacement.

    Images of a group are not independent (Field & Welsh 2007). With few groups, below about 20 (FEW), the interval is
    too narrow. The weights of the groups in each round are multiplied with their sums; `scipy.stats.bootstrap` gives
    the same ends, but needs 0.4 s instead of 0.02 for 300 columns, and gigabytes for thousands.

    Args:
        values: (images,) or (images, columns): hits, or differences of hits. All columns use the same resamplings.
        groups: (images,) name of each image's group; a name of its own for each image is the ordinary bootstrap.
        rounds: number of resamplings.
        seed: of the resamplings.

    Returns:
        (2,) or (2, columns): lower and upper ends. None with fewer than two groups.
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

    If all answers are right, or all wrong, resampling has no spread. The interval is then Wilson's with each group
    counted as one image, which is the most careful assumption.

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

    Args:
        only_first: number of images that only the first model classifies correctly.
        only_second: number of images that only the second model classifies correctly.
    """
    from statsmodels.stats.contingency_tables import mcnemar

    return float(mcnemar([[0, only_first], [only_second, 0]], exact=True).pvalue) if only_first + only_second else 1.0


def holm(p: Sequence[float]) -> list[float]:
    """Return p values with the correction of Holm (1979), which bounds the family-wise error rate."""
    from statsmodels.stats.multitest import multipletests

    return [float(value) for value in multipletests(p, method="holm")[1]] if len(p) else []


def homogeneous_sets(different: Sequence[tuple[int, int]], count: int) -> list[list[int]]:
    """Return the largest sets of models without a significant difference (compact letter display, Piepho 2004).

    Args:
        different: pairs (i, j) of models that differ significantly.
        count: number of models.

    Returns:
        Sets as ascending lists, in the order of their first members. Every model is in at least one; two models share
        a set exactly when they do not differ significantly.
    """
    sets: list[set[int]] = [set(range(count))]
    for i, j in different:
        split = [part - {k} for part in sets for k in ((i, j) if {i, j} <= part else ())]
        sets = _largest([part for part in sets if not {i, j} <= part] + split)
    return sorted(sorted(part) for part in sets)


def letters(sets: Sequence[Collection[int]], count: int) -> list[str]:
    """Return the letters of the sets of each model: "a", "ab", ..., "Z", "(53)", ..."""
    names = [*ascii_letters, *(f"({k})" for k in range(len(ascii_letters) + 1, len(sets) + 1))][: len(sets)]
    return ["".join(name for name, part in zip(names, sets, strict=True) if k in part) for k in range(count)]


@lru_cache(maxsize=4)
def _times(groups: int, rounds: int, seed: int) -> "np.ndarray":
    """Return how often each group is drawn in each round, (rounds, groups)."""
    import numpy as np

    drawn = np.random.default_rng(seed).integers(0, groups, (rounds, groups)) + groups * np.arange(rounds)[:, None]
    return np.bincount(drawn.ravel(), minlength=rounds * groups).reshape(rounds, groups).astype(np.float64)


def _largest(sets: Sequence[set[int]]) -> list[set[int]]:
    kept: list[set[int]] = []
    for part in sorted(sets, key=len, reverse=True):
        if not any(part <= other for other in kept):
            kept.append(part)
    return kept
