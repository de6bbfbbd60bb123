"""Ways for many images, on whole datasets: they find what comparing all with all finds, in little memory."""

import numpy as np
import pytest
from planted_signal import plant
from sklearn.metrics import adjusted_rand_score

from benchmarks import growth_stages, input_memory
from data.datasets import integrity_check
from data.grouping import (
    image_descriptors,
    near_duplicates,
    overlapping_fields,
    sift_matching,
    stain_groups,
    ward_linkage,
)
from data.synthetic import generator as synthetic
from utils.paths import raw_dir


@pytest.fixture
def many(monkeypatch):
    """Take every dataset for a large one."""
    for module in (sift_matching, near_duplicates, overlapping_fields, ward_linkage):
        monkeypatch.setattr(module, "ALL", 20)
    for function, limit in (
        (near_duplicates.find, 1),
        (sift_matching.alike, 1),
        (ward_linkage.tree, 0),
        (ward_linkage.small, 0),
    ):
        defaults = list(function.__defaults__)
        defaults[limit] = 20
        monkeypatch.setattr(function, "__defaults__", tuple(defaults))
    monkeypatch.setattr(ward_linkage, "CELL", 60)


def test_planted_pairs_are_found_the_other_way_as_well(tmp_path, monkeypatch, many):
    monkeypatch.setenv("LEUKOBENCH_DATA", str(tmp_path))
    made = plant(tmp_path / "raw" / "planted")
    found = stain_groups.find("planted")
    kinds = {
        kind: {(p.first, p.second) for p in found.pairs if p.kind == kind} for kind in ("exact", "near", "overlap")
    }
    assert kinds["exact"] == made.exact
    assert kinds["near"] == made.near
    assert len(kinds["overlap"] & set(made.overlaps)) / len(made.overlaps) >= 0.9
    assert len(kinds["overlap"] & set(made.overlaps)) / len(kinds["overlap"]) >= 0.95


def test_groups_are_the_patients_the_other_way_as_well(tmp_path, monkeypatch, many):
    monkeypatch.setenv("LEUKOBENCH_DATA", str(tmp_path))
    synthetic.make("smears", 40, 64, 4, "independent", seed=11)
    rows = sorted(integrity_check.current_index("smears"))
    found = stain_groups.relate(rows, image_descriptors.read("smears", rows))
    true = {line.split(",")[0]: line.split(",")[1] for line in (raw_dir("smears") / "groups.csv").read_text().split()}
    score = adjusted_rand_score([true[row.image] for row in rows], [found.groups[row.image] for row in rows])
    assert score >= 0.8


def test_memory_and_recall_at_thirty_thousand(tmp_path):
    near = growth_stages.run("near", 30_000, tmp_path)
    assert float(near["found"]) == 1.0
    assert near["mb"] - near["before_mb"] < 100  # the distances of all to all would take 3,600
    group = growth_stages.run("group", 30_000, tmp_path)
    assert group["mb"] - group["before_mb"] < 400
    assert int(group["found"]) >= 2


def test_an_epoch_over_images_that_do_not_fit_needs_no_more_memory(tmp_path, monkeypatch):
    monkeypatch.setenv("LEUKOBENCH_DATA", str(tmp_path))
    place = synthetic.make("few", images_per_class=5, size=224, patients=2)
    sources = [(path.parent.name, path) for path in sorted(place.glob("*/*.png"))]
    input_memory.link(sources, 60, tmp_path / "links" / "train")
    few, more = (input_memory.run(tmp_path / "links", count) for count in (600, 11_500))
    assert more - few < 150  # 11,500 images of 112 px are 433 MB, more than the 400 of the cache
    assert np.isfinite(few)
