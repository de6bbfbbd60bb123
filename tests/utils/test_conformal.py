"""Conformal prediction sets: their promise on exchangeable images, and how it breaks on others."""

import numpy as np
import pytest
from simulated_logits import simulated

from utils.metrics import conformal

CLASSES = ["a", "b", "c", "d"]


@pytest.mark.parametrize("temperature", [0.4, 1.0, 4.0])
def test_coverage_holds_for_miscalibrated_probabilities(temperature):
    covered = {level: [] for level in conformal.LEVELS}
    for seed in range(60):
        chances, labels = simulated(900, temperature, seed)
        for held in conformal.sets(chances[:400], labels[:400], chances[400:]):
            covered[held.level].append(held.measured(labels[400:], CLASSES)["coverage"])
    for level, shares in covered.items():
        # Of 400 + 500 images a coverage has this deviation (a beta, then a binomial); 60 repetitions shrink it.
        deviation = (level * (1 - level) * (1 / 400 + 1 / 500) / 60) ** 0.5
        assert level - 3 * deviation <= np.mean(shares) <= level + 1 / 401 + 3 * deviation


def test_sets_equal_the_definition():
    chances, labels = simulated(700, seed=3)
    validation, truth, others = chances[:199], labels[:199], chances[199:]
    scores = np.sort(1 - validation[np.arange(199), truth])
    for held in conformal.sets(validation, truth, others):
        limit = scores[int(np.ceil(200 * held.level)) - 1]
        assert held.threshold == pytest.approx(limit)
        clear = abs(1 - others - limit) > 1e-6
        assert (held.members == (1 - others <= limit))[clear].all()


def test_measures_worked_by_hand():
    members = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]], bool)
    found = conformal.Sets(0.9, members, 0.5).measured(np.array([0, 1, 1, 0]), ["a", "b", "c"])
    assert found.pop("per_class") == {"a": 0.5, "b": 0.5, "c": None}
    assert found == {"threshold": 0.5, "coverage": 0.5, "mean_size": 1.0, "empty": 0.25, "single": 0.5}


def test_surer_levels_have_larger_sets_and_classes_may_be_missing():
    chances, labels = simulated(600, seed=5)
    low, high = conformal.sets(chances, labels, chances)
    assert (low.level, high.level) == (0.9, 0.95) and (low.members <= high.members).all()
    kept = labels != 2
    assert len(conformal.sets(chances[kept], labels[kept], chances)) == 2


def test_too_few_validation_images_give_no_sets():
    chances, labels = simulated(40, seed=6)
    assert conformal.sets(chances[:19], labels[:19], chances) == []
    (low, high) = conformal.sets(chances[:20], labels[:20], chances)
    assert low.threshold <= high.threshold == pytest.approx(1 - chances[np.arange(20), labels[:20]].min())
