"""Cache of run values: follows every change of files and code, and may be deleted at any time."""

import os
import shutil
import sqlite3
import subprocess
import sys
from unittest import mock

import pytest
from fake_runs import fake_run

from utils.errors import LeukoBenchError, NoPermission
from utils.io import files
from utils.paths import PROJECT
from utils.runs import cache as run_cache
from utils.runs import comparison, leaderboard, lookup, run_folder
from utils.runs import records as run_records
from utils.system import environment


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    place = tmp_path_factory.mktemp("built")
    for seed in (1, 2, 3):
        fake_run(place, "cnn", seed=seed, measured=seed == 1)
    fake_run(place, "resnet50", split="grouped")
    return place


@pytest.fixture
def root(built, tmp_path, monkeypatch):
    monkeypatch.setattr(run_cache, "YOUNG", 0)  # the time of change of a copied file cannot be set
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    yield tmp_path
    run_cache._open.clear()


def read(root):
    """Read all cached values as a new process would."""
    run_cache._open.clear()
    runs = run_folder.find_runs(root)
    records = [run_records.measure(run) for run in runs]
    said = [repr(records), repr([run_records.about(run) for run in runs])]
    said += [repr(leaderboard.rows(records)), repr(comparison.latest(root))]
    run_cache.flush()
    return said


def held(root):
    with sqlite3.connect(root / run_cache.FILE) as base:
        return base.execute("SELECT kind, run FROM kept ORDER BY kind, run").fetchall()


def test_second_read_uses_the_cache(root, monkeypatch):
    first = read(root)
    assert {kind for kind, _ in held(root)} == {"about", "derived", "record", "right"} and len(held(root)) == 16
    monkeypatch.setattr(run_folder.Run, "predictions", lambda *_: pytest.fail("read again"))
    assert read(root) == first


def test_changed_file_is_read_again(root):
    before = read(root)
    run = run_folder.find_runs(root)[0]
    timing = run.timing()
    timing["training"]["seconds"] += 1
    files.write_json(run.file(run_folder.TIMING), timing)
    after = read(root)
    assert after[0] != before[0] and after[1] == before[1]
    run.file(run_folder.METRICS).unlink()
    with pytest.raises(LeukoBenchError, match="is not finished"):
        run_records.measure(run)


@pytest.mark.parametrize("linked", [False, True], ids=["folder", "symbolic link to the model's folder"])
def test_manifest_is_checked_again_after_each_change(root, tmp_path_factory, linked):
    if linked:
        real = tmp_path_factory.mktemp("disk") / "deep" / "cnn"
        (root / "cnn").rename(real.parent.mkdir() or real)
        (root / "cnn").symlink_to(real)
    read(root)
    run = run_folder.find_runs(root)[0]
    path = run.manifest_path()
    text = path.read_text()
    path.unlink()
    assert run_records.measure(run).unchecked == path
    path.write_text(text)
    assert run_records.measure(run).unchecked is None
    path.write_text("\n".join(text.splitlines()[:-50]) + "\n")
    os.utime(path, (1_750_000_000, 1_750_000_000))
    with pytest.raises(LeukoBenchError, match="does not hold the test images of its manifest"):
        run_records.measure(run)
    assert run_records.images_by_class(run) != run_records.images_by_class(run_folder.find_runs(root)[-1])


def test_a_run_is_found_by_its_label_without_a_whole_environment(tmp_path):
    run = fake_run(tmp_path, settings=["variant=clahe"])
    about = run.environment()
    del about["test_identity"]
    files.write_json(run.file(run_folder.ENVIRONMENT), about)
    assert lookup.label_of(run) == "cnn (clahe)"
    run.file(run_folder.CONFIG).unlink()
    assert lookup.label_of(run) == "cnn"


def test_changed_code_invalidates_the_cache(root, monkeypatch):
    first = read(root)
    monkeypatch.setattr(run_cache, "_code", lambda modules: "another program")
    measured = mock.Mock(side_effect=run_records._measured)
    monkeypatch.setattr(run_records, "_measured", measured)
    assert read(root)[0] == first[0] and measured.call_count == 4


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_damaged_cache_is_replaced(root, content):
    first = read(root)
    (root / run_cache.FILE).write_bytes(content)
    assert read(root) == first
    assert read(root) == first
    assert len(held(root)) == 16


def test_new_files_are_not_cached(tmp_path):
    fake_run(tmp_path, "cnn")
    read(tmp_path)
    assert not (tmp_path / run_cache.FILE).exists()


def test_read_only_root_is_not_cached(root, monkeypatch):
    monkeypatch.setattr(run_cache.os, "access", lambda path, mode: mode != os.W_OK)
    assert read(root) == read(root)
    assert not (root / run_cache.FILE).exists()


@pytest.mark.slow
def test_concurrent_processes_write_a_valid_cache(root):
    code = "import sys; from pathlib import Path; from utils.runs import cache, records, run_folder\n"
    code += "for _ in range(20):\n    cache._open.clear()\n"
    code += "    [records.measure(run) for run in run_folder.find_runs(Path(sys.argv[1]))]\n    cache.flush()"
    many = [subprocess.Popen([sys.executable, "-c", code, str(root)], cwd=PROJECT) for _ in range(3)]
    assert [process.wait(timeout=120) for process in many] == [0, 0, 0]
    assert len(held(root)) == 8


def test_cache_of_a_moved_root_stays_valid(root, tmp_path_factory):
    first = read(root)
    copy = shutil.copytree(root, tmp_path_factory.mktemp("moved") / "runs")
    assert [text.replace(str(copy), str(root)) for text in read(copy)] == first


def test_what_a_run_holds_is_named_whatever_is_wrong(tmp_path):
    run = fake_run(tmp_path, "cnn")
    with pytest.raises(LeukoBenchError, match=f"{run.id} is damaged: .*TypeError"), run.named_in_errors():
        raise TypeError("numbers and texts")
    run.file(run_folder.ENVIRONMENT).unlink()
    assert run.started() and run_folder._files(tmp_path / "none") == []
    assert "permission denied" in str(NoPermission(tmp_path))
    assert environment._git("no-such-command") is None and environment._version("no-such-package") is None
