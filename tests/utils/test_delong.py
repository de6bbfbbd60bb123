"""AUC of models: against DeLong's and Obuchowski's formulas, and on simulated scores."""

import numpy as np
import pytest
from scipy.stats import t as student

from utils.metrics import delong


def test_delong_equals_its_formulas_and_scikit_learn():
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(4)
    labels = np.repeat([0, 1, 2], 30)
    chances = random.dirichlet(np.ones(3), 90).round(2) + np.eye(3)[labels] * 0.3
    chances /= chances.sum(axis=1, keepdims=True)
    area = delong.macro(chances, labels)
    assert area.value == pytest.approx(roc_auc_score(labels, chances, multi_class="ovr"))
    # Two classes: V10 and V01 of DeLong, DeLong & Clarke-Pearson (1988), written out pair by pair.
    labels, score = labels[:60], chances[:60, 1].round(2)
    inside, outside = score[labels == 1], score[labels == 0]
    kernel = (inside[:, None] > outside) + 0.5 * (inside[:, None] == outside)
    variance = kernel.mean(axis=1).var(ddof=1) / 30 + kernel.mean(axis=0).var(ddof=1) / 30
    area = delong.macro(np.stack([1 - score, score], axis=1), labels)
    alone = [str(k) for k in range(60)]
    reach = student.ppf(0.975, 59) * variance**0.5
    assert delong.interval(area, alone) == pytest.approx((kernel.mean() - reach, kernel.mean() + reach))


def test_auc_difference_has_the_nominal_false_positive_rate():
    """Equally good models differ in one simulation of twenty, a better one is told from them."""
    random = np.random.default_rng(5)
    labels = np.repeat([0, 1], 60)
    found = []
    for _ in range(200):
        shared = labels + random.normal(0, 1, 120)
        one, two = (shared + random.normal(0, 0.7, 120) for _ in range(2))
        areas = [delong.macro(np.stack([-x, x], axis=1), labels) for x in (one, two)]
        found.append(delong.difference(*areas, range(120))[3])
    assert 0.01 < np.mean(np.array(found) < 0.05) < 0.1
    best = labels + random.normal(0, 0.3, 120)
    gain, low, high, p = delong.difference(delong.macro(np.stack([-best, best], axis=1), labels), areas[0], range(120))
    assert 0 < low < gain < high and p < 0.001
    assert delong.difference(areas[0], areas[0], range(120)) == (0, 0, 0, 1)


@pytest.mark.parametrize(("groups", "classes", "mixed"), [(3, 2, True), (10, 2, True), (8, 4, False)])
def test_auc_difference_raises_no_false_alarms_with_few_groups(groups, classes, mixed):
    """Two equally good models, whose scores move with the group; a group holds all classes, or a single one."""
    random, size = np.random.default_rng(11), 12
    names = np.repeat(np.arange(groups), size)
    labels = np.arange(groups * size) % classes if mixed else names % classes
    alarms = []
    for _ in range(400):
        scores = np.eye(classes)[labels] * 1.5 + random.normal(0, 1, (2, len(labels), classes))
        scores += random.normal(0, 1, (2, groups, classes))[:, names]
        first, second = (delong.macro(each, labels) for each in scores)
        p = delong.difference(first, second, names)[3]
        alarms.append(p is not None and p < 0.05)
    assert 0.02 < np.mean(alarms) < 0.083  # 5 % with three standard errors of 400 simulations


def test_auc_over_groups_equals_its_formula():
    """Obuchowski (1997), pair by pair, with both factors in the products of both sides."""
    random = np.random.default_rng(12)
    labels, groups = np.tile([0, 0, 1], 20), np.repeat(list("abcde"), 12)
    groups[labels == 1] = np.array(list("abbc"))[np.arange(20) % 4]  # three groups hold the class, five the rest
    score = labels + random.normal(0, 1, 60)
    kernel = (score[labels == 1][:, None] > score[labels == 0]).astype(float)
    sums = [0.0] * 5
    for side, values, held in ((1, kernel.mean(axis=1), 3), (0, kernel.mean(axis=0), 5)):
        for k, name in enumerate("abcde"):
            parts = (values - kernel.mean())[groups[labels == side] == name]
            sums[k] += (held / (held - 1)) ** 0.5 * parts.sum() / len(values)
    low, high = delong.interval(delong.macro(np.stack([-score, score], axis=1), labels), groups)
    reach = student.ppf(0.975, 4) * np.square(sums).sum() ** 0.5
    assert (low, high) == pytest.approx((kernel.mean() - reach, min(1, kernel.mean() + reach)))


def test_without_spread_there_is_no_interval_of_an_auc():
    labels, groups = np.repeat([0, 1], 20), [str(k % 8) for k in range(40)]
    perfect, tied = (delong.macro(np.stack([-x, x], axis=1), labels) for x in (labels * 1.0, labels * 0.0))
    assert (perfect.value, tied.value) == (1, 0.5)
    assert delong.interval(perfect, groups) == delong.interval(tied, groups) == (None, None)
    assert delong.difference(perfect, tied, groups) == (0.5, None, None, None)
    assert delong.difference(perfect, perfect, groups) == (0, 0, 0, 1)


def test_auc_over_groups_is_less_sure_and_needs_two_of_each():
    labels = np.tile([0, 0, 0, 1, 1, 1], 20)
    groups = np.repeat([f"g{k}" for k in range(20)], 6)
    shift = np.repeat(np.random.default_rng(6).normal(0, 1, 20), 6)  # a stain of the slide that moves all its scores
    score = labels * shift + np.random.default_rng(7).normal(0, 0.2, 120)
    area = delong.macro(np.stack([-score, score], axis=1), labels)
    alone, together = (delong.interval(area, names) for names in (list(map(str, range(120))), groups))
    assert together[1] - together[0] > 1.3 * (alone[1] - alone[0])
    assert delong.macro(np.eye(2)[[0, 0, 1]], np.array([0, 0, 1])) is None
