"""Deletion AUC: right by hand, lower for a map that knows, and told apart only by what the images say."""

import numpy as np
import pytest

from data.manifest import Row, from_rows
from models import faithfulness
from models.faithfulness import Score

SIDE = 12


def corner(batch):
    """A model whose class 1 is as likely as the first pixel is bright."""
    bright = batch[:, 0, 0, 0] / 255
    return np.stack([1 - bright, bright], axis=1)


def square(batch):
    """A model whose class 1 is as likely as the upper left quarter differs from grey."""
    strength = np.abs(batch[:, : SIDE // 2, : SIDE // 2] - 128).mean(axis=(1, 2, 3)) / 128
    return np.stack([1 - strength, strength], axis=1)


@pytest.mark.parametrize(
    ("values", "area"),
    [
        (
            [[4, 3], [2, 1]],
            (125 * 0.25 + 50 * 0.75) / 255,
        ),  # first: 200 50 50 50 50, of which trapezoids a quarter wide
        ([[1, 2], [3, 4]], (200 * 0.75 + 125 * 0.25) / 255),  # last:  200 200 200 200 50
    ],
)
def test_it_is_the_area_that_a_hand_calculates(values, area):
    image = np.zeros((2, 2, 3), np.float32)
    image[0, 0] = 200  # the mean colour, which removed pixels get, is 50
    found = faithfulness.deletion_auc(corner, image, np.array(values), target=1, steps=4)
    assert found == pytest.approx(area)


def test_a_map_that_knows_is_lower_than_one_that_does_not():
    rng = np.random.default_rng(1)
    images = np.full((8, SIDE, SIDE, 3), 128.0, np.float32)
    images[:, : SIDE // 2, : SIDE // 2] = rng.choice([0.0, 255.0], (8, SIDE // 2, SIDE // 2, 1))
    perfect = np.zeros((SIDE, SIDE))
    perfect[: SIDE // 2, : SIDE // 2] = 1
    blind = faithfulness.random_maps(len(images), SIDE, seed=3)
    assert blind.shape == (8, SIDE, SIDE)
    known = [faithfulness.deletion_auc(square, image, perfect, 1) for image in images]
    random = [faithfulness.deletion_auc(square, image, spots, 1) for image, spots in zip(images, blind, strict=True)]
    inverse = [faithfulness.deletion_auc(square, image, -perfect, 1) for image in images]
    assert max(known) < min(random) and max(random) < min(inverse)


def test_images_are_chosen_by_hash_so_many_of_each_class_as_there_are():
    rows = [
        Row(f"{label}/{i}.png", label, "test", "", f"{hash_of:064x}")
        for label, count in (("A", 40), ("B", 20), ("C", 4))
        for i in range(count)
        for hash_of in [(i * 7919 + len(label) + count) % 1009 * 16**50]
    ]
    manifest = from_rows(rows)
    chosen = faithfulness.sample(manifest, 16)
    assert [sum(name.startswith(label) for name in chosen) for label in "ABC"] == [10, 5, 1]
    assert chosen == faithfulness.sample(from_rows(rows[::-1]), 16)
    assert len(faithfulness.sample(manifest, 1000)) == 64


def test_the_verdict_says_whether_the_images_tell_the_methods_apart():
    rng = np.random.default_rng(2)
    values = rng.uniform(0.3, 0.6, 50)
    random = Score("random", values + 0.2)
    clear = faithfulness.verdict([Score("rollout", values), Score("gradcam", values - 0.1), random])
    assert clear.startswith("Most faithful: gradcam. Its deletion AUC lies 0.1000 below that of rollout, more than ")
    noise = rng.normal(0, 0.2, 50)
    close = faithfulness.verdict([Score("a", values), Score("b", values + noise - noise.mean() + 0.001), random])
    assert "Most faithful: a." in close and ", no more than the standard error" in close
    assert " below that of random, " in faithfulness.verdict([Score("a", values), random])


def test_the_interval_is_that_of_student():
    low, high = Score("a", np.array([0.1, 0.2, 0.3, 0.4])).interval()
    assert (low + high) / 2 == pytest.approx(0.25)
    assert high - low == pytest.approx(2 * 3.182446 * 0.1290994 / 2, rel=1e-5)
