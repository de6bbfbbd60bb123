"""The published results: their tables are equal to those that the commands make from the published run folders."""

import csv
import shutil

import pytest

import models
from utils.paths import PROJECT
from utils.runs import cache as run_cache
from utils.runs import run_folder

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
    return {p.relative_to(folder): p for p in (folder / "comparison").rglob("*") if p.suffix in TABLES}


def assert_same(made, published):
    """Compare a table with the published one: equal bytes, numbers of a CSV to eight digits.

    The last digits depend on the processor: NumPy computes other logarithms with AVX-512 than with AVX2.
    """
    if made.suffix != ".csv":
        assert made.read_bytes() == published.read_bytes(), made
        return
    (words, numbers), (kept_words, kept) = cells(made), cells(published)
    assert words == kept_words, made
    assert numbers == pytest.approx(kept, rel=1e-8, nan_ok=True), made


def cells(path):
    """Return the cells of a CSV as rows of texts, "#" for each number, and the numbers."""
    rows, numbers = [], []
    with path.open(newline="") as file:
        for row in csv.reader(file):
            rows.append([])
            for text in row:
                try:
                    numbers.append(float(text))
                    rows[-1].append("#")
                except ValueError:
                    rows[-1].append(text)
    return rows, numbers


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES)
def test_tables_regenerate_identically(study, guide, tmp_path):
    source, copy = RESULTS / study, tmp_path / (study or "results")
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("comparison", "*.h5", *(set(STUDIES) - {study, ""})))
    done = guide(*STUDIES[study].split(), "--root", str(copy))
    assert done.returncode == 0, done.stderr
    published = tables(source)
    made = tables(copy)
    assert len(published) >= 4 and made.keys() == published.keys()
    for name, path in published.items():
        assert_same(made[name], path)


@pytest.mark.slow
def test_leaderboard_regenerates_identically(guide, tmp_path):
    copy = tmp_path / "results"
    shutil.copytree(
        RESULTS, copy, ignore=shutil.ignore_patterns("comparison", "figures", "*.h5", "leaderboard.*", "recipes.*")
    )
    done = guide("leaderboard", "--root", str(copy))
    assert done.returncode == 0, done.stderr
    for path in BOARDS:
        assert_same(copy / path.name, path)


def test_published_table_has_every_model_on_one_test_set():
    rows = run_folder.files.read_csv(RESULTS / "comparison" / "table.csv", ("model", "initialisation", "test_identity"))
    assert {row["model"] for row in rows} >= {*models.names(), "keras:MobileNetV3Small"}
    assert len({row["test_identity"] for row in rows}) == 1
    assert all(row["initialisation"] in ("random", run_folder.RANDOM_FEATURES) for row in rows)


def test_published_runs_are_complete_without_weights_and_images():
    for study in STUDIES:
        runs = run_folder.find_runs(RESULTS / study)
        assert len(runs) >= 7
        for run in runs:
            assert run.finished and run.manifest_path().is_file()
            assert run.environment()["git_commit"] and not run.environment()["git_dirty"]
    made = {"comparison", "audit", "benchmarks", "figures", "purge"}
    others = {path for path in RESULTS.rglob("*") if path.is_file() and not made & {*path.parts}} - {*BOARDS}
    others = {path for path in others if path.name != run_cache.FILE}  # ignored by git
    assert {path.suffix for path in others} <= {".json", ".csv", ".md", ".npz"}
