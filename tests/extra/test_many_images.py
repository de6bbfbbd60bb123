"""Methods for many images on whole datasets: they find what the exact comparison finds, in little memory."""

import json

import numpy as np
import pytest
from command_line import run_code
from planted_signal import plant
from sklearn.metrics import adjusted_rand_score

from benchmarks.input import _epoch_memory, _link
from data.datasets import integrity_check
from data.grouping import near_duplicates, overlapping_fields, sift_matching, stain_groups, ward_linkage
from data.synthetic import generator as synthetic
from utils.paths import PROJECT, raw_dir

PEAK = """
import json, sys
sys.path += [{project!r}, {support!r}]
import planted_pairs
from data.grouping import near_duplicates, stain_clustering
from utils.system.environment import peak_memory_mb
{prepare}
before = peak_memory_mb()
result = {call}
print(json.dumps([result, peak_memory_mb() - before]))
"""


@pytest.fixture
def many(monkeypatch):
    """Use the methods for many images on every dataset."""
    for module in (sift_matching, near_duplicates, overlapping_fields):
        monkeypatch.setattr(module, "ALL", 20)
    monkeypatch.setattr(ward_linkage, "MOST", 60)


def test_method_for_many_images_finds_planted_pairs(tmp_path, monkeypatch, many):
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


def test_method_for_many_images_groups_by_patient(tmp_path, monkeypatch, many):
    monkeypatch.setenv("LEUKOBENCH_DATA", str(tmp_path))
    synthetic.make("smears", 40, 64, 4, "independent", seed=11)
    rows = sorted(integrity_check.current_index("smears"))
    found = stain_groups.relate(rows, stain_groups.describe("smears", rows))
    true = {line.split(",")[0]: line.split(",")[1] for line in (raw_dir("smears") / "groups.csv").read_text().split()}
    score = adjusted_rand_score([true[row.image] for row in rows], [found.groups[row.image] for row in rows])
    assert score >= 0.8


def measured(prepare, call):
    """Return the value of an expression and the memory in MB that it added, in a process of its own."""
    code = PEAK.format(project=str(PROJECT), support=str(PROJECT / "tests" / "support"), prepare=prepare, call=call)
    return json.loads(run_code(code).splitlines()[-1])


def test_memory_and_recall_for_30000_images():
    found, mb = measured(
        "marks, pairs = planted_pairs.fingerprints(30_000)",
        "len(pairs.intersection(near_duplicates.find(marks, near_duplicates.NEAR))) / len(pairs)",
    )
    assert found == 1.0
    assert mb < 100  # the distances of all pairs would take 3,600
    groups, mb = measured(
        "drawn = planted_pairs.stain_statistics(30_000)",
        "int(stain_clustering.cluster(stain_clustering.separating(drawn)).labels.max() + 1)",
    )
    assert mb < 400
    assert groups >= 2


def test_memory_of_an_epoch_does_not_grow_beyond_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LEUKOBENCH_DATA", str(tmp_path))
    place = synthetic.make("few", images_per_class=5, size=224, patients=2)
    sources = [(path.parent.name, path) for path in sorted(place.glob("*/*.png"))]
    _link(sources, 60, tmp_path / "links" / "train")
    few, more = (_epoch_memory(tmp_path / "links", count) for count in (600, 11_500))
    assert more - few < 150  # 11,500 images of 112 px are 433 MB, more than the 400 of the cache
    assert np.isfinite(few)
