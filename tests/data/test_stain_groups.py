"""Stain groups equal the patients of synthetic smears, their number follows from the data, and they are stored."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from data.datasets.index import GROUPS
from data.grouping import stain_clustering, stain_groups
from data.synthetic import generator as synthetic
from utils.errors import LeukoBenchError
from utils.io.files import read_csv, read_json, write_json


@pytest.mark.slow
@pytest.mark.parametrize("stain", synthetic.STAINS[:2])
def test_groups_are_the_patients(data_folder, stain):
    smears = synthetic.make("smears", images_per_class=40, size=64, patients=4, stain=stain, seed=11)
    found = stain_groups.find("smears")
    true = {row["image"]: row["group"] for row in read_csv(smears / GROUPS, ("image", "group"))}
    assert found.groups.keys() == true.keys()
    score = adjusted_rand_score([true[image] for image in found.groups], list(found.groups.values()))
    assert score >= 0.8
    stability = dict(found.stability)
    assert stability[found.number] >= max(stability.values()) - stain_clustering.TOLERANCE
    assert found.pairs == ()
    assert sorted(set(found.groups.values())) == [f"g{k:03d}" for k in range(len(set(found.groups.values())))]


def test_a_damaged_or_outdated_result_is_computed_again(data_folder, monkeypatch):
    place = synthetic.make("few", images_per_class=2, size=32, patients=2)
    first = stain_groups.find("few")
    assert set(first.groups.values()) == {"g000"}  # too few images for clusters
    computed = []
    monkeypatch.setattr(stain_groups, "describe", lambda *_: None)
    monkeypatch.setattr(stain_groups, "relate", lambda *_: computed.append(1) or first)
    stored = stain_groups.folder("few")
    about = read_json(stored / "groups.json")
    for damage in (
        lambda: None,
        lambda: write_json(stored / "groups.json", about | {"key": "of other images"}),
        lambda: (stored / "groups.csv").unlink(),
        lambda: (stored / "pairs.csv").write_text("first,second\n"),
        lambda: (stored / "groups.json").write_text("{"),
    ):
        damage()
        assert stain_groups.find("few") == first
        assert read_json(stored / "groups.json") == about
    assert len(computed) == 4
    (place / "Pre" / "pre-0000.png").unlink()
    with pytest.raises(LeukoBenchError, match="1 missing"):
        stain_groups.find("few")


def test_linked_images_get_the_most_frequent_group_among_them():
    labels = np.array([0, 0, 1, 1, 2, 2, 3])
    assert stain_groups._joined(labels, [(0, 1), (1, 2), (4, 6)]) == [0, 0, 0, 1, 2, 2, 2]
    assert stain_groups._joined(labels, []) == labels.tolist()


def clustered(statistics, same=()):
    return stain_clustering.cluster(stain_clustering.separating(statistics, same)).labels


@pytest.mark.parametrize("number", [1, 6, 12])
def test_the_number_of_clusters_comes_from_the_data(number):
    rng = np.random.default_rng(2)
    centres = rng.normal(0, 8, (number, 4))
    true = np.arange(240) % number
    points = rng.normal(centres[true], 1)
    points = np.column_stack([points * (1, 50, 1, 0.01), rng.normal(0, 100, (len(points), 6))])
    labels = clustered(points)
    assert adjusted_rand_score(true, labels) > 0.8


def test_pairs_of_one_place_estimate_the_noise():
    rng = np.random.default_rng(4)
    slide = np.arange(300) % 6
    light = rng.integers(5, size=300)  # varies between fields and forms clusters of its own
    values = np.column_stack([rng.normal(8 * slide, 1), rng.normal(400 * light, 10), rng.normal(0, 1, (300, 2))])
    same = [(one, other) for one in range(0, 300) for other in range(one + 6, 300, 48)]
    same = [same[k] for k in rng.choice(len(same), 150, replace=False)]
    assert all(slide[one] == slide[other] for one, other in same)
    informed = clustered(values, same)
    assert adjusted_rand_score(slide, informed) > 0.8
    blind = clustered(values)
    assert adjusted_rand_score(slide, blind) < 0.8


def test_a_known_number_of_patients_is_used():
    points = np.random.default_rng(1).normal(0, 1, (200, 3))
    clustering = stain_clustering.cluster(points, 17)
    assert len(np.unique(clustering.labels)) == 17
    assert dict(clustering.stability)[17] < 0.8  # reported though it is low


def test_missing_statistics_are_filled():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (120, 5)) + np.repeat([0, 30], 60)[:, None]
    values[::7, 2] = np.nan
    values[:, 4] = np.nan
    assert np.isfinite(stain_clustering.separating(values)).all()
    assert len(np.unique(clustered(values))) >= 2
    assert stain_clustering.separating(values[:1]).shape[0] == 1
