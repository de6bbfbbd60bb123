"""Paired test of two classifiers on images that come in groups: the signs of whole groups are exchangeable.

If two classifiers are equally good on new groups, the sum of the differences of a group is as likely to be positive as
negative. The exact distribution over all 2^G exchanges of signs gives p (Fisher's randomisation test; for groups as
units see Gail et al. 1996). With groups of one image it is McNemar's exact test.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from utils.metrics.significance import mcnemar_exact

if TYPE_CHECKING:
    import numpy as np

METHOD = "sign flips of groups, exact"
LARGEST = 2_000_000  # number of possible sums that are counted exactly; signs are drawn for more
DRAWS = 100_000  # of the signs, where they are not counted exactly


@dataclass(frozen=True)
class PairedTest:
    """The result of a test.

    Attributes:
        difference: mean of the first classifier's values minus that of the second.
        p: two-sided, over groups.
        p_images: two-sided p of McNemar's test, which counts images as independent; NaN where values are no answers of
            one run.
        groups: number of groups in which the classifiers differ: only these decide. p is at least 2 / 2^groups.
        method: in words.
    """

    difference: float
    p: float
    p_images: float
    groups: int
    method: str


def paired_test(one: "np.ndarray", other: "np.ndarray", groups: Sequence[str]) -> PairedTest:
    """Test whether two classifiers differ on new groups.

    Args:
        one, other: (images,) values in 0..1 on the same images: 1 for a right answer, or the share of right answers
            over seeds; images with NaN in either are left out.
        groups: (images,) name of each image's group.
    """
    import numpy as np

    one, other = np.asarray(one, float), np.asarray(other, float)
    known = ~np.isnan(one) & ~np.isnan(other)
    one, other = one[known], other[known]
    if not len(one):
        return PairedTest(float("nan"), 1.0, 1.0, 0, METHOD)
    _, place = np.unique(np.asarray(groups)[known], return_inverse=True)
    values = one - other
    sums = np.bincount(place, values)
    unit = _unit(values)
    whole = np.rint(sums * unit).astype(int) if unit else None
    steps = np.abs(sums[np.abs(sums) > 1e-9])
    if whole is not None and np.abs(whole).sum() <= LARGEST:
        p, method = _exact(np.abs(whole[whole != 0]), abs(int(whole.sum()))), METHOD
    else:
        p, method = _drawn(steps, abs(float(sums.sum()))), f"sign flips of groups, {DRAWS:,} drawn"
    answers = set(np.unique(np.concatenate([one, other]))) <= {0.0, 1.0}
    p_images = mcnemar_exact(int((values > 0).sum()), int((values < 0).sum())) if answers else float("nan")
    return PairedTest(float(values.mean()), p, p_images, len(steps), method)


def _unit(values: "np.ndarray") -> int:
    """Return the least factor that makes all values whole numbers; 0 if it is above 1,000."""
    import numpy as np

    unit = 1
    for value in np.unique(values):
        unit = np.lcm(unit, Fraction(float(value)).limit_denominator(1000).denominator)
        if unit > 1000:
            return 0
    return int(unit) if np.allclose(values * unit, np.rint(values * unit), atol=1e-6) else 0


def _exact(steps: "np.ndarray", total: int) -> float:
    """Return the share of all exchanges of signs whose sum is as far from 0 as `total`; `steps` are above 0."""
    import numpy as np

    if not len(steps):
        return 1.0
    chances = np.ones(1)  # of the sums -n, -n + 2, ..., n, in steps of 2
    for step in steps:
        wider = np.zeros(len(chances) + int(step))
        wider[: len(chances)] += chances / 2
        wider[int(step) :] += chances / 2
        chances = wider
    sums = 2 * np.arange(len(chances)) - int(steps.sum())
    return float(min(1.0, chances[np.abs(sums) >= total].sum()))


def _drawn(steps: "np.ndarray", total: float) -> float:
    """Return p from random exchanges of signs, with the observed one counted (Phipson & Smyth 2010)."""
    import numpy as np

    rng, hits, done = np.random.default_rng(0), 0, 0
    while done < DRAWS:
        count = min(1000, DRAWS - done)
        sums = np.abs(rng.choice((-1.0, 1.0), (count, len(steps))) @ steps)
        hits, done = hits + int((sums >= total - 1e-9).sum()), done + count
    return (hits + 1) / (DRAWS + 1)
