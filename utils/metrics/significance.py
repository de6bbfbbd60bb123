"""Statistical significance: confidence intervals of shares, paired tests, and groups of models that do not differ.

Formulas and sources: docs/statistics.md.
"""

from collections.abc import Collection, Sequence
from string import ascii_letters

LEVEL = 0.95  # of every interval
SIGNIFICANT = 1 - LEVEL  # highest p, after Holm's correction, of a significant difference


def wilson(right: int, images: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a share (Wilson 1927; Newcombe 1998, method 3), both ends in 0..1."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(right, images, alpha=1 - LEVEL, method="wilson")
    return float(low), float(high) if right < images else 1.0  # its upper end of 100 % misses 1 by rounding


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


def _largest(sets: Sequence[set[int]]) -> list[set[int]]:
    kept: list[set[int]] = []
    for part in sorted(sets, key=len, reverse=True):
        if not any(part <= other for other in kept):
            kept.append(part)
    return kept
