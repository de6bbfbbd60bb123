"""The committed results: their tables are what `compare` makes of the committed run folders."""

import shutil

import pytest
from conftest import PROJECT

from utils import artifacts

RESULTS = PROJECT / "docs" / "results"


@pytest.fixture(scope="module")
def again(guide, tmp_path_factory):
    root = tmp_path_factory.mktemp("results") / "results"
    shutil.copytree(RESULTS, root, ignore=shutil.ignore_patterns("comparison"))
    done = guide("compare", "--all-seeds", "--no-figures", "--root", str(root))
    assert done.returncode == 0, done.stderr
    return root / "comparison"


@pytest.mark.parametrize("name", ["table", "per_class", "seeds"])
@pytest.mark.parametrize("suffix", ["csv", "md", "tex", "html"])
def test_tables_regenerate_identically(again, name, suffix):
    assert (again / f"{name}.{suffix}").read_bytes() == (RESULTS / "comparison" / f"{name}.{suffix}").read_bytes()


def test_runs_are_whole_and_hold_no_weights_and_no_images():
    runs = artifacts.find_runs(RESULTS)
    assert {run.model for run in runs} >= {"cnn", "resnet50", "efficientnetv2s"}
    assert sorted(run.config()["seed"] for run in runs if run.model == "cnn") == [42, 43, 44]
    for run in runs:
        assert run.finished and run.manifest_path().is_file()
        assert run.environment()["git_commit"] and not run.environment()["git_dirty"]
    suffixes = {path.suffix for path in RESULTS.rglob("*") if path.is_file() and "comparison" not in path.parts}
    assert suffixes <= {".json", ".csv", ".md", ".npz"}
