"""The seal of a run: every change of a sealed file is named, and such a run is listed but not ranked."""

import json
import os
import shutil
import threading
import zipfile
from pathlib import Path

import pytest
from command_line import run_guide
from fake_runs import fake_run, write_stress

from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import cache as run_cache
from utils.runs import comparison, leaderboard, run_folder, seal, stress_file
from utils.runs import records as run_records
from utils.runs.seal import Changed

MANIFEST = "manifest"
SEALED = (
    *(run_folder.CONFIG, run_folder.ENVIRONMENT, run_folder.HISTORY, run_folder.WEIGHTS, run_folder.ARCHITECTURE),
    *(run_folder.PREDICTIONS, run_folder.TIMING, run_folder.METRICS, stress_file.FILE, MANIFEST),
)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    place = tmp_path_factory.mktemp("built")
    fake_run(place, "cnn", sealed=True, measured=True)
    fake_run(place, "resnet50", sealed=True, split="grouped")
    fake_run(place, "old")
    return place


@pytest.fixture
def root(built, tmp_path, monkeypatch):
    monkeypatch.setattr(run_cache, "YOUNG", 0)  # the time of change of a copied file cannot be set
    yield Path(shutil.copytree(built, tmp_path / "runs"))
    run_cache._open.clear()


@pytest.fixture
def run(root):
    return run_folder.find_runs(root, "cnn")[0]


def path_of(run, name):
    return run.manifest_path() if name == MANIFEST else run.file(name)


def flip(path):
    """Change one bit of a file where the file stays readable; size and modification time stay."""
    before, content = path.stat(), bytearray(path.read_bytes())
    digits = [place for place, byte in enumerate(content) if byte in b"23456789"]
    place = digits[len(digits) // 2] if digits else len(content) // 2
    content[place] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def read_all(root):
    """Read the runs as a new process would, through the cache."""
    run_cache._open.clear()
    records, problems = leaderboard.read(root)
    run_cache.flush()
    return {record.run.model for record in records}, problems


@pytest.mark.parametrize("name", SEALED)
def test_a_changed_file_is_named_by_every_command_and_its_run_is_not_ranked(root, run, name):
    assert read_all(root) == ({"cnn", "resnet50", "old"}, [])
    assert run_guide("verify", "--seal", "--root", root).returncode == 0
    flip(path_of(run, name))
    file = path_of(run, name).name
    done = run_guide("verify", "--seal", "--root", root)
    assert done.returncode == 1 and f"{run.id}: changed: " in done.stdout and file in done.stdout
    assert "1 sealed and unchanged" in done.stdout and "1 unsealed" in done.stdout
    if name == run_folder.ARCHITECTURE:
        return  # no table is made from it
    models, problems = read_all(root)
    assert models == {"resnet50", "old"} and len(problems) == 1
    assert run.id in problems[0] and "changed since it was measured" in problems[0] and file in problems[0]
    if name == stress_file.FILE:
        return
    records, problems = comparison.latest(root)
    assert {record.run.model for record in records} == {"resnet50", "old"} and file in problems[0]
    shown = run_guide("runs", "--root", root, COLUMNS="120").stdout
    row = next(line for line in shown.splitlines() if run.path.name in line)
    assert "changed" in row and f"changed since it was measured: {name.replace(MANIFEST, 'manifests/')}" in shown
    assert "unsealed" in next(line for line in shown.splitlines() if " old " in line)
    with pytest.raises(Changed, match=file):
        run_records.measure(run)


@pytest.mark.parametrize("name", [run_folder.PREDICTIONS, run_folder.METRICS])
def test_an_edit_with_equal_size_and_time_is_noticed_in_a_run_without_seal(root, name):
    """The cache of records sees it by the inode or the time of change."""
    run = run_folder.find_runs(root, "old")[0]
    read_all(root)
    known = []
    flip(run.file(name))
    run_cache._open.clear()
    run_cache.kept(run, "record", run_records.MADE_FROM, lambda: known.append(1) or {}, run_records._code())
    assert known


def _pipe(path):
    path.unlink()
    os.mkfifo(path)


def _link(path):
    kept = path.rename(path.with_name("elsewhere"))
    path.symlink_to(kept)


def _dangling(path):
    path.unlink()
    path.symlink_to("gone")


def _folder(path):
    path.unlink()
    path.mkdir()


def _entries(**changes):
    def spoil(path):
        held = json.loads(path.read_text())
        path.write_text(json.dumps(held | {"files": {**held["files"], **changes}}))

    return spoil


GOOD = {"sha256": "0" * 64, "bytes": 1}
DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-30]),
    "binary": lambda path: path.write_bytes(bytes(range(256))),
    "deep": lambda path: path.write_text("[" * 200_000),
    "deep object": lambda path: path.write_text('{"version": 1, "files": ' + '{"a":' * 100_000 + "1" + "}" * 100_001),
    "huge": lambda path: os.truncate(path, 8 * seal.LARGEST),
    "long number": lambda path: path.write_text('{"version": ' + "9" * 5000 + "}"),
    "list": lambda path: path.write_text("[]"),
    "no files": lambda path: path.write_text('{"version": 1}'),
    "no entries": lambda path: path.write_text('{"version": 1, "files": {}}'),
    "newer": lambda path: path.write_text('{"version": 2, "files": {}}'),
    "short hash": _entries(x={"sha256": "00", "bytes": 1}),
    "text for bytes": _entries(x={"sha256": "0" * 64, "bytes": "1"}),
    "outside": _entries(**{"../other": GOOD}),
    "far outside": _entries(**{"../../manifests/../../../etc/passwd": GOOD}),
    "absolute": _entries(**{"/etc/passwd": GOOD}),
    "backslash": _entries(**{"..\\other": GOOD}),
    "pipe": _pipe,
    "link": _link,
    "dangling link": _dangling,
    "folder": _folder,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_seal_is_one_line_and_the_other_runs_are_listed(root, run, damage):
    DAMAGE[damage](run.file(seal.FILE))
    models, problems = read_all(root)
    assert models == {"resnet50", "old"} and len(problems) == 1 and seal.FILE in problems[0]
    assert "\n" not in problems[0] and len(problems[0]) < 700
    shown = run_guide("runs", "--root", root, COLUMNS="120")
    row = next(line for line in shown.stdout.splitlines() if run.path.name in line)
    assert "damaged" in row and shown.returncode == 0 and "resnet50" in shown.stdout
    done = run_guide("verify", "--seal", "--root", root)
    assert done.returncode == 1 and seal.FILE in done.stdout and "1 sealed and unchanged" in done.stdout


def test_missing_files_are_named_but_a_run_may_lack_its_weights(root, run):
    run.file(run_folder.WEIGHTS).unlink()
    assert run_guide("verify", "--seal", "--root", root).returncode == 0
    assert "without model.weights.h5" in run_guide("runs", "--root", root, COLUMNS="120").stdout
    run.file(run_folder.TIMING).unlink()
    done = run_guide("verify", "--seal", run.id, "--root", root)
    assert done.returncode == 1 and "timing.json" in done.stdout and "missing" in done.stdout


def test_renamed_weights_are_checked_too(root, run):
    renamed = run.weights.rename(run.file("cnn (1).h5"))
    assert seal.examine(run) == seal.Verdict(True) and read_all(root)[1] == []
    flip(renamed)
    assert seal.examine(run).changed == (run_folder.WEIGHTS,)
    with pytest.raises(Changed, match=run_folder.WEIGHTS):
        run.check(run_folder.WEIGHTS)
    run.file(seal.FILE).unlink()
    with seal.together(run, finish=True):
        pass
    assert seal.read(run)[run_folder.WEIGHTS] == seal.entry(renamed) and renamed.name not in seal.read(run)


def test_a_sealed_file_that_became_a_pipe_is_not_read(run):
    _pipe(run.file(run_folder.HISTORY))
    assert seal.examine(run).changed == (run_folder.HISTORY,)


def test_copies_keep_the_seal(root, run, tmp_path):
    with zipfile.ZipFile(tmp_path / "runs.zip", "w") as archive:
        for path in root.rglob("*"):
            archive.write(path, path.relative_to(root))
    with zipfile.ZipFile(tmp_path / "runs.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    found = run_folder.find_runs(tmp_path / "unpacked")
    assert [seal.examine(each) for each in found] == [seal.Verdict(each.model != "old") for each in found]
    assert len(found) == 3


def test_derived_files_logs_and_state_are_exempt(run):
    for name in ("figures/a.png", "heatmaps.npz", "export/README.md", "tracking.json", "tensorboard/x", "state/lock"):
        files.write_text(run.file(name), "made later")
    run.file(seal.FILE).unlink()
    files.write_text(run.file(".123.metrics.json"), "temporary")
    with seal.together(run, finish=True):
        pass
    sealed = seal.read(run)
    assert set(sealed) == {*SEALED[:-1], "faithfulness.csv", f"{seal.UP}manifests/{run.manifest_path().name}"}
    for name in ("figures/a.png", "heatmaps.npz", "tracking.json"):
        run.file(name).unlink()
    assert seal.examine(run) == seal.Verdict(True)


def test_later_files_join_the_seal_and_an_unsealed_run_stays_unsealed(root, run):
    write_stress(run, {"grey": 0.5})
    assert seal.examine(run) == seal.Verdict(True) and stress_file.read(run)
    old = run_folder.find_runs(root, "old")[0]
    write_stress(old, {"grey": 0.5})
    assert seal.read(old) is None and stress_file.read(old)


def test_a_second_evaluation_does_not_seal_what_has_changed(run):
    flip(run.file(run_folder.ARCHITECTURE))
    with seal.together(run, finish=True) as stage:
        files.write_text(stage / run_folder.TIMING, "{}")
    assert seal.examine(run).changed == (run_folder.ARCHITECTURE,)


def test_commands_that_end_at_once_lose_no_entry(run):
    names = [f"measured-{k}.csv" for k in range(8)]

    def write(name):
        with seal.together(run) as stage:
            files.write_text(stage / name, name)

    threads = [threading.Thread(target=write, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(names) <= set(seal.read(run)) and seal.examine(run) == seal.Verdict(True)


def test_many_weights_are_only_read_where_they_are_used(root, run, monkeypatch):
    flip(run.file(run_folder.WEIGHTS))
    monkeypatch.setattr(run_records, "AT_ONCE", 0)
    assert read_all(root)[1] == []  # of equal size, so that only reading would tell
    with pytest.raises(Changed, match=run_folder.WEIGHTS):
        run.check(run_folder.WEIGHTS)
    run.file(run_folder.WEIGHTS).write_bytes(b"another size")
    assert run_folder.WEIGHTS in read_all(root)[1][0]


def test_a_seal_that_cannot_be_read_is_called_that(root, run, monkeypatch):
    def refuse(path, most=0):
        raise LeukoBenchError(f"Cannot read {path}: Permission denied.", path=path)

    monkeypatch.setattr(files, "regular", refuse)
    assert "Permission denied" in seal.examine(run).problem
