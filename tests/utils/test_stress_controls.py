"""Numbers of the controls of the stress test: the null of the flips, matched donors, intervals, and the files."""

import fake_runs
import numpy as np
import pytest

from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import stress_controls
from utils.runs.stress_controls import EFFECT, FOLLOWING, UNCHANGED, Answers, Key
from utils.tables import stress as stress_tables

CLASSES = ("alpha", "beta", "delta", "gamma")
SWAPPED, SAME = Key("stain swap", "reinhard", 0, "other"), Key("same-class swap", "reinhard", 0, "same")


def drawn(images=400, seed=0):
    """Return labels and donors of another class at random."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, images)
    return labels, (labels + random.integers(1, 4, images)) % 4, random


def answers_of(labels, donors, by_key):
    names = tuple(f"{CLASSES[label]}/{k}.png" for k, label in enumerate(labels))
    return Answers(names, labels, donors, np.full((len(labels), 2), (20.0, 20.5)), {UNCHANGED: labels, **by_key})


def test_answers_that_ignore_the_donor_do_not_follow_it():
    labels, donors, random = drawn(4000)
    answers = random.integers(0, 4, 4000)  # about a quarter falls on the donor's class
    observed = (answers == donors).mean()
    expected = stress_controls.expected_on_donor(labels, donors, answers, 4).mean()
    assert observed > 0.2 and expected == pytest.approx(observed, abs=0.02)
    assert stress_controls.expected_on_donor(labels, donors, donors, 4).mean() == pytest.approx(1 / 3, abs=0.02)


def test_the_expectation_is_the_mean_over_permuted_donors():
    labels, donors, random = drawn(200, seed=3)
    answers = np.where(random.random(200) < 0.4, donors, labels)
    expected = stress_controls.expected_on_donor(labels, donors, answers, 4)
    shuffled = []
    for _ in range(2000):
        moved = donors.copy()
        for label in range(4):
            of = np.flatnonzero(labels == label)
            moved[of] = random.permutation(donors[of])
        shuffled.append((answers == moved).mean())
    assert expected.mean() == pytest.approx(np.mean(shuffled), abs=0.003)


def test_the_effect_compares_the_same_images(tmp_path):
    run = fake_runs.fake_run(tmp_path, "cnn", classes=CLASSES)
    labels, donors, _ = drawn(60)
    same = labels.copy()
    same[:20] = -1  # no training image of the class
    held = answers_of(labels, donors, {SWAPPED: donors, SAME: same})
    numbers = {each.measure: each for each in stress_controls.measure(run, held, "0" * 16)}
    assert numbers[EFFECT].estimate == 1 and numbers[EFFECT].images == 40
    assert numbers["other_class_accuracy"].images == 40 and numbers["on_donor_observed"].images == 60
    assert numbers["stretched_donors"].estimate == 0
    assert numbers[EFFECT].low < 1 == numbers[EFFECT].high  # never without width


def test_intervals_are_over_groups(tmp_path, monkeypatch):
    run = fake_runs.fake_run(tmp_path, "cnn", classes=CLASSES)
    labels, donors, _ = drawn(100)
    held = answers_of(labels, donors, {SWAPPED: np.where(np.arange(100) < 50, donors, labels), SAME: labels})
    found = []
    for groups in (list(held.images), [f"slide {k // 25}" for k in range(100)]):
        monkeypatch.setattr(stress_controls.image_groups, "of_images", lambda *_, groups=groups: (groups, "made up"))
        effect = next(each for each in stress_controls.measure(run, held, "") if each.measure == EFFECT)
        assert effect.estimate == pytest.approx(0.5) and effect.groups == len(set(groups))
        found.append(effect.high - effect.low)
    assert found[1] > 2 * found[0]


def test_answers_are_read_as_written(tmp_path):
    run = fake_runs.fake_run(tmp_path, "cnn", classes=CLASSES)
    labels, donors, _ = drawn(12)
    donors[3] = -1
    held = answers_of(labels, donors, {SWAPPED: np.where(np.arange(12) % 2, donors, labels)})
    assert stress_controls.read_answers(run) is None and stress_controls.read(run) == {}
    files.write_text(run.file(stress_controls.IMAGES), stress_controls.answers_text(held, CLASSES))
    found = stress_controls.read_answers(run)
    assert found.images == held.images and list(found.answers) == [UNCHANGED, SWAPPED]
    for key, each in held.answers.items():
        assert np.array_equal(found.answers[key], each)
    assert np.array_equal(found.donors, donors) and np.allclose(found.shifts, held.shifts)
    numbers = stress_controls.measure(run, held, "ab" * 8)
    files.write_text(run.file(stress_controls.FILE), stress_controls.text(numbers))
    assert stress_controls.read(run)[FOLLOWING].estimate == pytest.approx(numbers[0].estimate, abs=1e-6)
    assert stress_tables.controls({}) is None
    table = stress_tables.controls(stress_controls.read(run))
    assert len(table.rows) == len(numbers)
    text = run.file(stress_controls.IMAGES).read_text().replace("alpha,", "omega,")
    files.write_text(run.file(stress_controls.IMAGES), text)
    with pytest.raises(LeukoBenchError, match=r"stress_images.csv is damaged .*--controls"):
        stress_controls.read_answers(run)
