"""The committed results: their tables are what the commands make of the committed run folders."""

import shutil

import pytest
from conftest import PROJECT

import models
from utils import artifacts, run_index

RESULTS = PROJECT / "docs" / "results"
ABLATION = "ablation cnn --dataset ALL_dataset --copies 1 --set image_size=64 --set epochs=10 --table-only"
STUDIES = {
    "": "compare --all-seeds --no-figures",
    "variants": "compare --no-figures",
    "ablation": ABLATION,
}
TABLES = {".csv", ".md", ".tex", ".html"}
BOARDS = [RESULTS / f"{stem}{suffix}" for stem in ("leaderboard", "recipes") for suffix in sorted(TABLES)]


def tables(folder):
    return {p.relative_to(folder): p.read_bytes() for p in (folder / "comparison").rglob("*") if p.suffix in TABLES}


@pytest.mark.parametrize("study", STUDIES)
def test_tables_regenerate_identically(study, guide, tmp_path):
    source, copy = RESULTS / study, tmp_path / (study or "results")
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("comparison", "*.h5", *(set(STUDIES) - {study, ""})))
    done = guide(*STUDIES[study].split(), "--root", str(copy))
    assert done.returncode == 0, done.stderr
    published = tables(source)
    assert len(published) >= 4 and tables(copy) == published


def test_the_leaderboard_regenerates_identically(guide, tmp_path):
    copy = tmp_path / "results"
    shutil.copytree(
        RESULTS, copy, ignore=shutil.ignore_patterns("comparison", "figures", "*.h5", "leaderboard.*", "recipes.*")
    )
    done = guide("leaderboard", "--root", str(copy))
    assert done.returncode == 0, done.stderr
    for path in BOARDS:
        assert (copy / path.name).read_bytes() == path.read_bytes()


def test_every_model_stands_in_one_table_on_one_test_set():
    rows = artifacts.files.read_csv(RESULTS / "comparison" / "table.csv", ("model", "initialisation", "test_identity"))
    assert {row["model"] for row in rows} >= {*models.names(), "keras:MobileNetV3Small"}
    assert len({row["test_identity"] for row in rows}) == 1
    assert all(row["initialisation"] in ("random", artifacts.RANDOM_FEATURES) for row in rows)


def test_runs_are_whole_and_hold_no_weights_and_no_images():
    for study in STUDIES:
        runs = artifacts.find_runs(RESULTS / study)
        assert len(runs) >= 7
        for run in runs:
            assert run.finished and run.manifest_path().is_file()
            assert run.environment()["git_commit"] and not run.environment()["git_dirty"]
    made = {"comparison", "audit", "benchmarks", "figures"}
    others = {path for path in RESULTS.rglob("*") if path.is_file() and not made & {*path.parts}} - {*BOARDS}
    others = {path for path in others if path.name != run_index.FILE}  # which git does not see
    assert {path.suffix for path in others} <= {".json", ".csv", ".md", ".npz"}
