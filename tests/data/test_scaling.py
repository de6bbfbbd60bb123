"""Ways for many images: they miss nothing that they promise to find, and compare no longer all with all."""

from itertools import pairwise

import numpy as np
import planted_pairs
import pytest
from scipy.cluster.hierarchy import linkage
from sklearn.metrics import adjusted_rand_score

from data.datasets.index import Indexed
from data.grouping import near_duplicates, overlapping_fields, sift_matching, ward_linkage
from data.splitting import group_assignment
from utils.runs import split_spec


def test_no_near_duplicate_is_missed_where_only_pieces_are_compared():
    marks, planted = planted_pairs.fingerprints(2500)
    found = near_duplicates.find(marks, compared=0)
    assert len(planted) == 125
    assert set(found) == planted
    assert found == near_duplicates.find(marks)  # all with all


def test_every_place_of_the_differing_bits_is_found():
    """The worst that a guarantee has to bear: the bits differ in as many pieces as they can."""
    rng = np.random.default_rng(3)
    base = rng.random(256) < 0.5
    pieces = np.array_split(np.random.default_rng(0).permutation(256), near_duplicates.PIECES)
    marks = [base]
    for spared in ((0, 1), (20, 21), (3, 17)):
        mark = base.copy()
        mark[[rng.choice(piece) for at, piece in enumerate(pieces) if at not in spared]] ^= True
        marks.append(mark)
    found = near_duplicates.find(np.array(marks), compared=0)
    assert {(0, at, near_duplicates.NEAR) for at in (1, 2, 3)} <= set(found)


def test_of_very_many_equal_pictures_each_is_paired_with_some():
    marks = np.random.default_rng(0).random((near_duplicates.ALL + 500, 256)) < 0.5
    marks[::5] = marks[0]
    equal = np.arange(len(marks))[::5].tolist()
    found = near_duplicates.find(marks)
    assert {one for one, _, _ in found} | {other for _, other, _ in found} == set(equal)
    assert len(found) < near_duplicates.BESIDE * len(equal)
    assert {(one, other, 0) for one, other in pairwise(equal)} <= set(found)  # all hang together


def test_few_equal_pictures_are_paired_all_with_all():
    pairs = list(near_duplicates.equals([[3, 5, 9], [1], [2, 4]], total=10))
    assert pairs == [(3, 5), (3, 9), (5, 9), (2, 4)]


def test_weighted_clusters_join_as_their_members_would():
    rng = np.random.default_rng(0)
    means, weights = rng.normal(size=(120, 4)), rng.integers(1, 6, 120)
    alone = ward_linkage._joined(means, np.ones(120, int))
    np.testing.assert_allclose(alone, linkage(means, "ward"))
    together = linkage(np.repeat(means, weights, axis=0), "ward")[-119:]  # the joins before are of equals
    np.testing.assert_allclose(ward_linkage._joined(means, weights)[:, 2], together[:, 2])


def test_a_tree_of_many_points_finds_what_that_of_all_distances_finds():
    rng = np.random.default_rng(1)
    true = rng.integers(30, size=4000)
    points = rng.normal(0, 6, (30, 5))[true] + rng.normal(0, 1, (4000, 5))
    exact, many = ward_linkage.tree(points).cut(30), ward_linkage.tree(points, exact=500).cut(30)
    assert adjusted_rand_score(exact, many) > 0.98
    assert adjusted_rand_score(true, many) > 0.95  # as the exact one
    sizes = np.bincount(ward_linkage.small(points, 8, exact=500))
    assert sizes.min() >= 1 and 6 < sizes.mean() < 10


def test_no_more_distances_are_held_than_those_of_a_part(monkeypatch):
    largest = []
    monkeypatch.setattr("scipy.cluster.hierarchy.linkage", lambda p, way: largest.append(len(p)) or linkage(p, way))
    points = np.random.default_rng(0).normal(size=(3000, 3))
    assert len(np.unique(ward_linkage.tree(points, exact=2999).cut(40))) == 40
    assert max(largest) <= ward_linkage.CELL


def test_texture_and_colour_propose_the_same_pairs_where_there_are_many():
    pictures, planted = planted_pairs.local_features(300)
    assert planted <= sift_matching.alike(pictures, 12)
    assert planted <= sift_matching.alike(pictures, 12, compared=0)
    rng = np.random.default_rng(0)
    points = rng.normal(size=(3000, 6))
    exact = sift_matching.nearest(points, 10)
    near = sift_matching.nearby(points, 10)
    assert len(exact & near) / len(exact) > 0.75  # approximate: within twice the distance
    points[1::2] = points[::2] + rng.normal(0, 1e-3, (1500, 6))
    assert {(k, k + 1) for k in range(0, 3000, 2)} <= sift_matching.nearby(points, 10)
    points[:] = points[0]  # of equals, none is its own neighbour
    assert all(one != other for one, other in sift_matching.nearby(points, 10))


def test_descriptors_come_in_parts_as_if_they_lay_side_by_side():
    rng = np.random.default_rng(0)
    nothing = np.zeros((0, 4), np.float32), np.zeros((1, 1), np.uint8)
    many = [rng.integers(0, 256, (count, 128), np.uint8) for count in (3, 0, 7, 25, 1, 4)]
    pictures = [sift_matching.Local(1.0, (1, 1), nothing[0], each, nothing[1]) for each in many]
    parts = list(sift_matching._parts(pictures, rows=10))
    assert [len(part) for part in parts] == [10, 10, 10, 10]
    np.testing.assert_array_equal(np.concatenate(parts), np.concatenate(many))


def test_what_overlaps_with_very_many_proposes_no_more_pairs():
    star = [overlapping_fields.Overlap(0, other, 0, 0, 0, 9, 1, 1, False) for other in range(1, 80)]
    assert overlapping_fields._beside(star, most=64) == set()
    assert len(overlapping_fields._beside(star, most=80)) == 79 * 78 / 2


def test_a_split_by_very_many_patients_is_even(monkeypatch):
    monkeypatch.setattr(group_assignment, "KINDS", 6)
    rng = np.random.default_rng(0)
    group = rng.integers(60, size=1500)
    labels = np.array(["a", "b"])[((rng.random(1500) < 0.2) ^ (group % 2 == 0)).astype(int)]
    rows = [Indexed(f"{label}/{at}.png", f"{at:064x}", 8, 8, 9) for at, label in enumerate(labels)]
    groups = {row.image: f"p{each}" for row, each in zip(rows, group, strict=True)}
    homes = group_assignment.subsets(rows, groups, split_spec.parse("grouped"), 42)
    assert all(len({homes[row.image] for row in rows if groups[row.image] == name}) == 1 for name in ("p0", "p7"))
    shares = {subset: sum(home == subset for home in homes.values()) / 1500 for subset in ("train", "val", "test")}
    assert shares == {
        "train": pytest.approx(0.64, abs=0.02),
        "val": pytest.approx(0.16, abs=0.02),
        "test": pytest.approx(0.2, abs=0.02),
    }
