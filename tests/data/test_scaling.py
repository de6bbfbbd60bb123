"""Algorithms for many images: they find what comparing all pairs finds, and assign even splits."""

from itertools import pairwise

import numpy as np
import planted_pairs
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.metrics import adjusted_rand_score

from data.datasets.index import Indexed
from data.grouping import near_duplicates, overlapping_fields, sift_matching, ward_linkage
from data.splitting import group_assignment
from utils.runs import split_spec


def test_every_planted_near_duplicate_is_found():
    marks, planted = planted_pairs.fingerprints(2500)
    assert len(planted) == 125
    assert set(near_duplicates.find(marks)) == planted


def test_of_many_equal_images_each_is_paired_with_some():
    marks = np.random.default_rng(0).random((near_duplicates.ALL + 500, 256)) < 0.5
    marks[::5] = marks[0]
    equal = np.arange(len(marks))[::5].tolist()
    found = near_duplicates.find(marks)
    assert {one for one, _, _ in found} | {other for _, other, _ in found} == set(equal)
    assert len(found) < near_duplicates.BESIDE * len(equal)
    assert {(one, other, 0) for one, other in pairwise(equal)} <= set(found)  # they stay connected


def test_of_few_equal_images_all_pairs_are_returned():
    pairs = list(near_duplicates.equals([[3, 5, 9], [1], [2, 4]], total=10))
    assert pairs == [(3, 5), (3, 9), (5, 9), (2, 4)]


def test_ward_clusters_are_those_of_scipy_and_of_a_sample(monkeypatch):
    rng = np.random.default_rng(1)
    true = rng.integers(30, size=4000)
    points = rng.normal(0, 6, (30, 5))[true] + rng.normal(0, 1, (4000, 5))
    exact = ward_linkage.WardTree(points).cut(30)
    np.testing.assert_array_equal(exact, fcluster(linkage(points, "ward"), 30, "maxclust") - 1)
    monkeypatch.setattr(ward_linkage, "MOST", 1000)
    assert len(ward_linkage.WardTree(points).linkage) == 999
    assert adjusted_rand_score(exact, ward_linkage.WardTree(points).cut(30)) > 0.98
    sizes = np.bincount(ward_linkage.small_clusters(points, 8))
    assert sizes.min() >= 1 and 6 < sizes.mean() < 10 and sizes.sum() == 4000


def test_texture_and_colour_propose_the_same_pairs_of_many_images(monkeypatch):
    pictures, planted = planted_pairs.local_features(150)
    assert planted <= sift_matching.alike(pictures, 12)
    monkeypatch.setattr(sift_matching, "ALL", 0)
    monkeypatch.setattr(sift_matching, "A_WORD", 50)
    assert planted <= sift_matching.alike(pictures, 12)  # with words halved twice
    rng = np.random.default_rng(0)
    points = rng.normal(size=(3000, 6))
    exact = sift_matching.nearest(points, 10)
    near = sift_matching.nearest(points, 10, approximate=True)
    assert len(exact & near) / len(exact) > 0.75  # approximate: within twice the distance
    points[1::2] = points[::2] + rng.normal(0, 1e-3, (1500, 6))
    assert {(k, k + 1) for k in range(0, 3000, 2)} <= sift_matching.nearest(points, 10, approximate=True)
    points[:] = points[0]  # equal rows: none is its own neighbour
    assert all(one != other for one, other in sift_matching.nearest(points, 10, approximate=True))


def test_descriptors_are_concatenated_in_parts_of_equal_size():
    rng = np.random.default_rng(0)
    nothing = np.zeros((0, 4), np.float32), np.zeros((1, 1), np.uint8)
    many = [rng.integers(0, 256, (count, 128), np.uint8) for count in (3, 0, 7, 25, 1, 4)]
    pictures = [sift_matching.Local(1.0, (1, 1), nothing[0], each, nothing[1]) for each in many]
    parts = list(sift_matching._parts(pictures, rows=10))
    assert [len(part) for part in parts] == [10, 10, 10, 10]
    np.testing.assert_array_equal(np.concatenate(parts), np.concatenate(many))


def test_an_image_with_many_overlaps_proposes_no_pairs():
    star = [overlapping_fields.Overlap(0, other, 0, 0, 0, 9, 1, 1, False) for other in range(1, 80)]
    assert overlapping_fields._beside(star, most=64) == set()
    assert len(overlapping_fields._beside(star, most=80)) == 79 * 78 / 2


def test_a_split_by_many_patients_is_even(monkeypatch):
    monkeypatch.setattr(group_assignment, "KINDS", 6)
    rng = np.random.default_rng(0)
    group = rng.integers(60, size=1500)
    labels = np.array(["a", "b"])[((rng.random(1500) < 0.2) ^ (group % 2 == 0)).astype(int)]
    rows = [Indexed(f"{label}/{at}.png", f"{at:064x}", 8, 8, 9) for at, label in enumerate(labels)]
    groups = {row.image: f"p{each}" for row, each in zip(rows, group, strict=True)}
    subset_of = group_assignment.subsets(rows, groups, split_spec.parse("grouped"), 42)
    assert all(len({subset_of[row.image] for row in rows if groups[row.image] == name}) == 1 for name in ("p0", "p7"))
    shares = {subset: sum(each == subset for each in subset_of.values()) / 1500 for subset in ("train", "val", "test")}
    assert shares == pytest.approx({"train": 0.64, "val": 0.16, "test": 0.2}, abs=0.02)
