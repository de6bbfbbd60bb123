"""Intervals and tests over groups, against other libraries, enumeration and simulation."""

from itertools import pairwise, product

import numpy as np
import pytest
from scipy.stats import beta, binomtest

from utils.metrics.group_intervals import between, difference_interval, mean_interval
from utils.metrics.grouped_tests import paired_test

GROUPS = np.repeat([f"g{number}" for number in range(18)], 36)


def drawn(rng, share, correlation, groups=18, size=36):
    """Return right answers with a correlation within groups (beta-binomial)."""
    factor = (1 - correlation) / correlation
    chances = rng.beta(share * factor, (1 - share) * factor, groups)
    return (rng.random((groups, size)) < chances[:, None]).ravel().astype(float)


@pytest.mark.parametrize(("right", "images"), [(50, 50), (0, 20), (37, 50)])
def test_images_alone_give_the_interval_of_clopper_and_pearson(right, images):
    found = mean_interval(np.arange(images) < right, [str(k) for k in range(images)])
    exact = binomtest(right, images).proportion_ci(0.95, "exact")
    assert found.design_effect == 1 and found.effective_size == images
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-8)


def test_the_interval_of_all_right_is_like_that_of_nearly_all_right():
    lows = []
    for wrong in (0, 1, 2, 3):
        values = np.ones(648)
        values[np.arange(wrong) * 37] = 0
        found = mean_interval(values, GROUPS)
        lows.append(found.low)
        assert found.low < found.estimate <= found.high and found.effective_size < 648
    assert all(0 <= one - other < 0.01 for one, other in pairwise(lows))
    same = difference_interval(np.ones(648), np.ones(648), GROUPS)
    assert same.low < 0 < same.high and same.estimate == 0


def test_whole_groups_that_are_wrong_widen_the_interval():
    scattered, clustered = np.ones(648), np.ones(648)
    scattered[np.arange(36) * 18] = 0
    clustered[:36] = 0
    one, other = mean_interval(scattered, GROUPS), mean_interval(clustered, GROUPS)
    assert one.estimate == other.estimate and other.design_effect > 5 * one.design_effect
    assert other.high - other.low > 2 * (one.high - one.low)


@pytest.mark.parametrize(
    ("share", "correlation", "least"), [(0.98, 0.1, 0.92), (0.9, 0.1, 0.92), (0.97, 0.05, 0.92), (0.95, 0.3, 0.8)]
)
def test_coverage_and_false_alarms_over_groups(share, correlation, least):
    rng, covered, alarms, rounds = np.random.default_rng(0), 0, 0, 200
    for _ in range(rounds):
        one, other = drawn(rng, share, correlation), drawn(rng, share, correlation)
        found = mean_interval(one, GROUPS)
        covered += found.low <= share <= found.high
        alarms += paired_test(one, other, GROUPS).p <= 0.05
    assert covered >= least * rounds and alarms <= 0.09 * rounds


def test_the_exact_test_counts_all_exchanges_of_signs():
    rng = np.random.default_rng(0)
    one, other = (rng.integers(0, 2, 60).astype(float) for _ in range(2))
    groups = rng.integers(0, 8, 60).astype(str)
    sums = [float((one - other)[groups == name].sum()) for name in np.unique(groups)]
    totals = [abs(np.dot(signs, sums)) for signs in product((-1, 1), repeat=len(sums))]
    expected = np.mean(np.array(totals) >= abs(sum(sums)) - 1e-9)
    found = paired_test(one, other, groups)
    assert found.p == pytest.approx(expected, abs=1e-8) and found.groups == np.count_nonzero(sums)
    third = (one + other + rng.integers(0, 2, 60)) / 3  # a mean over three seeds
    sums = [float((third - other)[groups == name].sum()) for name in np.unique(groups)]
    totals = [abs(np.dot(signs, sums)) for signs in product((-1, 1), repeat=len(sums))]
    expected = np.mean(np.array(totals) >= abs(sum(sums)) - 1e-9)
    assert paired_test(third, other, groups).p == pytest.approx(expected, abs=1e-8)


def test_groups_of_one_image_are_the_exact_test_of_mcnemar():
    one, other = np.array([1.0] * 9 + [0.0] * 2 + [1.0] * 20), np.array([0.0] * 9 + [1.0] * 2 + [1.0] * 20)
    found = paired_test(one, other, [str(k) for k in range(31)])
    assert found.p == pytest.approx(binomtest(2, 11).pvalue, abs=1e-8) == pytest.approx(found.p_images, abs=1e-8)


def test_images_of_one_slide_do_not_show_a_difference():
    """Fifty images that differ, all in one group of twenty, are one observation."""
    one, other = np.ones(1000), np.ones(1000)
    other[:50] = 0
    found = paired_test(one, other, np.repeat([str(k) for k in range(20)], 50))
    assert found.p_images < 1e-9 and found.p == 1 and found.groups == 1
    assert difference_interval(one, other, np.repeat([str(k) for k in range(20)], 50)).low < 0


def test_missing_values_one_group_and_no_images():
    values = np.array([1.0, np.nan, 0.0, 1.0])
    assert mean_interval(values, list("aabb")).images == 3
    alone = mean_interval(np.ones(40), ["a"] * 40)
    assert alone.low < 0.1 and alone.groups == 1
    assert np.isnan(mean_interval(np.array([]), []).estimate)
    assert paired_test(np.array([np.nan]), np.array([1.0]), ["a"]).p == 1


def test_the_difference_of_means_on_different_images():
    one, other = mean_interval(np.ones(648), GROUPS), mean_interval(drawn(np.random.default_rng(1), 0.9, 0.1), GROUPS)
    low, high = between(one, other)
    assert low < one.estimate - other.estimate < high and low > one.low - other.high - 1e-9
    assert beta.ppf(0.025, 1, 1) < high < 1


def test_values_without_a_common_unit_use_drawn_signs():
    rng = np.random.default_rng(3)
    one, groups = rng.random(200), np.repeat([str(k) for k in range(20)], 10)
    found = paired_test(one, one - 0.2 * rng.random(200), groups)
    assert "drawn" in found.method and found.p < 0.001 and np.isnan(found.p_images)
    assert paired_test(one, rng.random(200), groups).p > 0.01
