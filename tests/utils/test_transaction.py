"""Files that are replaced together: old or new after a kill at any step, and what strangers write into the folder."""

import json
import os
import platform
import shutil
import subprocess
import sys
import time

import pytest
from checks import assert_facts, contents
from command_line import run_as_nobody, run_python
from killing import killed_at_each_step, visible

from utils.errors import LeukoBenchError
from utils.io import atomic_folder, files, locks, temporary, transaction
from utils.runs import run_folder


@pytest.fixture(autouse=True)
def no_sync(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a kill loses nothing that was not synced; it saves seconds


def fill(folder, version):
    """Write a folder as each test replaces it: files, a folder that is merged, a folder that is replaced."""
    for name in (
        "a.csv",
        "metrics.json",
        f"only-{version}.txt",
        "merged/b.txt",
        f"merged/{version}",
        "whole/model.bin",
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path, f"{version} {name}")
    files.write_text(folder / "whole" / f"{version}.part", version)
    files.write_text(folder / "kept.txt", "of neither")


def replace(folder):
    with transaction.together(folder) as stage:
        fill(stage, "new")
        transaction.remove(stage, "whole", "only-old.txt")


def test_a_kill_at_any_step_leaves_all_old_or_all_new(tmp_path):
    folder, before = tmp_path / "cnn", tmp_path / "before"
    fill(before, "old")
    shutil.copytree(before, folder)
    replace(folder)
    old, new = visible(before), visible(folder)
    assert "merged/old" in new and "whole/old.part" not in new and "only-old.txt" not in new
    states = []
    shutil.rmtree(folder)
    shutil.copytree(before, folder)
    for step in killed_at_each_step(lambda: replace(folder)):
        transaction.tidy(folder)
        assert visible(folder) in (old, new), f"step {step}"
        assert not list(folder.glob(".*")), f"step {step}"
        states.append(visible(folder) == new)
        shutil.rmtree(folder)
        shutil.copytree(before, folder)
    assert states == sorted(states) and {True, False} <= set(states)  # one moment from which on the new counts
    assert len(states) > 20


@pytest.mark.slow
def test_a_kill_of_the_recovery_itself_leaves_the_new(tmp_path):
    folder = tmp_path / "cnn"
    fill(folder, "old")
    replaced = tmp_path / "replaced"
    shutil.copytree(folder, replaced)
    replace(replaced)
    new = visible(replaced)
    half = tmp_path / "half"
    for _ in killed_at_each_step(lambda: replace(folder)):
        if (folder / transaction.COMMIT / transaction.REMOVED).exists():
            shutil.copytree(folder, half)
            break
    for step in killed_at_each_step(lambda: transaction.recover(half)):
        again = tmp_path / f"again-{step}"
        shutil.copytree(half, again)
        transaction.recover(again)
        assert visible(again) == new, f"step {step}"
    assert visible(half) == new


def test_readers_of_a_read_only_folder_see_the_new_files(shared_folder):
    folder = shared_folder / "runs" / "cnn" / "20260101T000000Z-0123abcd"
    fill(folder, "old")
    fill(folder / transaction.COMMIT, "new")  # as a kill leaves it
    transaction.remove(folder / transaction.COMMIT, "whole", "only-old.txt")
    before = contents(folder)
    program = """import sys
from pathlib import Path
from utils.runs import run_folder
(run,) = run_folder.find_runs(Path(sys.argv[1]))
print(*(run.file(name).read_text() for name in ("a.csv", "metrics.json", "whole/model.bin", "merged/old")))"""
    said = run_as_nobody(program, shared_folder / "runs")
    assert said.strip() == "new a.csv new metrics.json new whole/model.bin old merged/old"
    assert contents(folder) == before
    (run,) = run_folder.find_runs(shared_folder / "runs")  # one that may write finishes it
    assert not (folder / transaction.COMMIT).exists() and run.file("a.csv").read_text() == "new a.csv"


def test_an_error_in_the_block_changes_nothing(tmp_path):
    fill(tmp_path, "old")
    before = contents(tmp_path)
    for error in (LeukoBenchError("no"), KeyboardInterrupt(), ValueError("no")):
        with pytest.raises(type(error)), transaction.together(tmp_path) as stage:
            fill(stage, "new")
            transaction.remove(stage, "whole")
            raise error
        assert contents(tmp_path) == before
    with pytest.raises(LeukoBenchError) as caught, transaction.together(tmp_path) as stage:
        files.write_text(stage / "a.csv", "new")
        raise OSError(28, "No space left on device")
    assert_facts(str(caught.value), tmp_path, "No space left on device")
    assert contents(tmp_path) == before


def test_what_became_current_in_the_meantime_is_kept(tmp_path):
    for name in ("one", "two"):
        with atomic_folder.replaced(tmp_path / "split", lambda: (tmp_path / "split" / "one").exists()) as partial:
            atomic_folder.write(partial / name, name)
    assert contents(tmp_path) == {"split/one": b"one"}
    with atomic_folder.replaced(tmp_path / "split", lambda: False) as partial:
        atomic_folder.write(partial / "two", "two")
    assert contents(tmp_path) == {"split/two": b"two"}


def test_a_living_process_finishes_by_itself(tmp_path):
    (tmp_path / transaction.COMMIT).mkdir()
    (tmp_path / transaction.COMMIT / "a.csv").write_text("new")
    held = locks.take(tmp_path / transaction.LOCK)
    program = (
        "import sys; from pathlib import Path; from utils.io import transaction; transaction.recover(Path(sys.argv[1]))"
    )
    assert run_python("-c", program, tmp_path).returncode == 0
    assert not (tmp_path / "a.csv").exists()
    locks.drop(held)
    assert run_python("-c", program, tmp_path).returncode == 0
    assert contents(tmp_path) == {"a.csv": b"new"}


@pytest.mark.parametrize(
    "removed",
    [
        ["../outside.txt"],
        ["{outside}"],
        ["a/../../outside.txt"],
        ["away/outside.txt"],
        [7],
        {"a": 1},
        "no JSON",
        [""],
        ["."],
    ],
    ids=str,
)
def test_a_list_from_a_stranger_removes_nothing_outside(tmp_path, removed):
    outside, folder = tmp_path / "outside.txt", tmp_path / "run"
    outside.write_text("mine")
    commit = folder / transaction.COMMIT
    commit.mkdir(parents=True)
    (folder / "away").symlink_to(tmp_path)
    text = removed if isinstance(removed, str) else json.dumps(removed).replace("{outside}", str(outside))
    (commit / transaction.REMOVED).write_text(text)
    transaction.recover(folder)
    assert outside.read_text() == "mine" and sorted(p.name for p in tmp_path.iterdir()) == ["outside.txt", "run"]


def test_links_of_a_stranger_are_not_followed(tmp_path):
    target, folder = tmp_path / "target", tmp_path / "run"
    target.mkdir()
    (target / "b.txt").write_text("mine")
    (folder / transaction.COMMIT / "merged").mkdir(parents=True)
    (folder / transaction.COMMIT / "merged" / "b.txt").write_text("theirs")
    (folder / "merged").symlink_to(target)
    transaction.recover(folder)
    assert contents(target) == {"b.txt": b"mine"}
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / transaction.LOCK).symlink_to(target / "b.txt")
    (folder / transaction.COMMIT).symlink_to(target)
    with pytest.raises(LeukoBenchError), transaction.together(folder) as stage:
        files.write_text(stage / "c.txt", "x")
    transaction.recover(folder)
    assert contents(target) == {"b.txt": b"mine"} and {path.name for path in folder.iterdir()} == {
        transaction.COMMIT,
        transaction.LOCK,
    }


def test_temporary_files_of_the_dead_are_swept_and_those_of_the_living_kept(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as living:
        here = temporary._machine()
        dead = [
            ".99999999.metrics.json",  # as older versions named them
            f".99999999@{here}.0.model.weights.h5",
            f".{os.getpid()}@{here}.7.of-a-process-with-this-pid",
            f"state/.99999999@{here}.1.latest.weights.h5",
            f".99999999@{here}.2..commit/predictions.csv",
            ".99999999@another-machine.0.of-last-week.csv",
        ]
        kept = [
            f".{living.pid}@{here}.0.metrics.json",
            f".{living.pid}@{here}.1..commit/predictions.csv",
            ".99999999@another-machine.0.metrics.json",
            "metrics.json",
            "state/.hidden",
        ]
        for name in dead + kept:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("x")
        os.utime(tmp_path / dead[-1], (time.time() - 2 * temporary.ABANDONED,) * 2)
        with temporary.beside(tmp_path / "mine.csv") as mine:
            mine.write_text("x")
            transaction.tidy(tmp_path, deep=True)
            assert sorted(contents(tmp_path)) == sorted([*kept, mine.name])
        assert not mine.exists()
        living.communicate(b"\n")
    transaction.tidy(tmp_path, deep=True)
    assert sorted(contents(tmp_path)) == sorted(kept[2:])


@pytest.mark.parametrize("name", ["x" * 255, "ä" * 127, "y" * 240 + ".weights.h5"])
def test_a_name_of_255_bytes_is_written(tmp_path, name):
    files.write_text(tmp_path / name, "x")
    with files.atomic(tmp_path / name) as new:
        assert new.name.endswith(name[-11:]) and len(os.fsencode(new.name)) <= 255
        new.write_text("y")
    assert contents(tmp_path) == {name: b"y"}


def test_the_machine_is_in_the_name(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "node", lambda: "node.of a_cluster" + "x" * 50)
    with temporary.beside(tmp_path / "a") as place:
        assert place.name.startswith(f".{os.getpid()}@node-of-a-cluster") and temporary._NAME.match(place.name)
