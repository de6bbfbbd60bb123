"""Finding run folders by name, atomic writes, and timing."""

import resource
import signal
from datetime import UTC, datetime, timedelta

import pytest
from command_line import run_python
from fake_runs import fake_run

from guide.compare import compare
from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import cache as run_cache
from utils.runs import lookup, run_folder
from utils.runs.comparison import latest
from utils.system import timing


@pytest.fixture
def root(tmp_path):
    fake_run(tmp_path, "cnn", seed=1)
    fake_run(tmp_path, "cnn", seed=2)
    fake_run(tmp_path, "cnn", seed=3, finished=False)
    fake_run(tmp_path, "resnet50")
    (tmp_path / "cnn" / "notes").mkdir()
    return tmp_path


def test_find_runs_in_order_without_other_folders(root):
    runs = run_folder.find_runs(root)
    assert [run.model for run in runs] == ["cnn", "cnn", "cnn", "resnet50"]
    assert [run.finished for run in runs] == [True, True, False, True]
    assert run_folder.find_runs(root, "cnn", finished=False) == [runs[2]]
    usable, left_out = latest(root, lambda run: run)
    assert usable == [runs[1], runs[3]]
    assert len(left_out) == 1 and runs[2].id in left_out[0], "the newest run of cnn is not finished"
    assert run_folder.find_runs(root / "nowhere") == []


def test_open_run_by_folder_id_prefix_or_model(root):
    first, second, unfinished, _ = run_folder.find_runs(root)
    assert lookup.open_run(str(first.path), root).path == first.path
    assert lookup.open_run(second.id, root) == second
    assert lookup.open_run(unfinished.path.name, root) == unfinished
    assert lookup.open_run("cnn", root) == second, "a model's name is its latest finished run"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("resnt50", r"^There is no run 'resnt50' in \S+\. Did you mean 'resnet50'\? Runs there: cnn/\S+, "),
        ("cnn/20", r"^'cnn/20' fits 3 runs: cnn/\S+, cnn/\S+, cnn/\S+\. "),
    ],
)
def test_unknown_or_ambiguous_run_is_a_one_line_error(root, name, line):
    with pytest.raises(LeukoBenchError, match=line):
        lookup.open_run(name, root)


def test_empty_root_names_the_train_command(tmp_path):
    with pytest.raises(LeukoBenchError, match=r"^There is no run 'cnn': \S+ holds no runs\. Train one: "):
        lookup.open_run("cnn", tmp_path)
    with pytest.raises(LeukoBenchError, match=r"holds no finished runs that can be compared\. Train one: "):
        latest(tmp_path)


def begin(root, name, started=""):
    """A fake finished run with a given folder name and recorded time."""
    made = fake_run(root)
    run = run_folder.Run(made.path.rename(made.path.with_name(name)))
    files.write_json(run.file("environment.json"), {**run.environment(), "started": started})
    return run


def test_runs_of_one_second_get_folders_in_their_order(tmp_path):
    runs = []
    for _ in range(5):
        runs.append(run_folder.new_run(tmp_path, "cnn", "fedcba9876543210"[len(runs) :]))
        runs[-1].path.mkdir(parents=True)
    assert len({run.path for run in runs}) == 5
    assert run_folder.find_runs(tmp_path) == runs
    times = [run_folder.time_of(run.stamp) for run in runs]
    assert times == sorted(set(times)) and abs(times[0] - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize("last", ["20991231T235959Z", "20991231T235959999Z", "20991231T235958001Z"])
def test_a_new_run_is_the_latest_although_the_clock_was_set_back(tmp_path, last):
    before = begin(tmp_path, f"{last}-ffffffff")
    new = run_folder.new_run(tmp_path, "cnn", "0" * 16)
    fake = begin(tmp_path, new.path.name)
    assert fake.path == new.path
    assert timedelta() < run_folder.time_of(new.stamp) - run_folder.time_of(before.stamp) <= timedelta(seconds=1)
    assert run_folder.find_runs(tmp_path) == [before, new] and lookup.open_run("cnn", tmp_path) == new
    assert latest(tmp_path, lambda run: run)[0] == [new]


@pytest.mark.parametrize("last", ["20261399T999999Z", "99991231T235959999Z"])
def test_a_time_that_does_not_exist_does_not_hinder_a_new_run(tmp_path, last):
    begin(tmp_path, f"{last}-ffffffff")
    run = run_folder.new_run(tmp_path, "cnn", "0" * 16)
    assert abs(run_folder.time_of(run.stamp) - datetime.now(UTC)) < timedelta(minutes=1)


def test_the_latest_run_goes_by_the_recorded_time(tmp_path):
    """Folders that were renamed or copied do not tell when a run began."""
    old = begin(tmp_path, "20270101T000000Z-00000001", "2026-01-05T08:00:00Z")
    new = begin(tmp_path, "20260101T000000Z-00000002", "2026-03-05T08:00:00Z")
    begin(tmp_path, "20260601T000000Z-00000003", "2026-02-05T08:00:00Z")
    unknown = begin(tmp_path, "20260201T000000Z-00000004")
    assert run_folder.find_runs(tmp_path)[-1] == old and unknown in run_folder.find_runs(tmp_path)
    for _ in range(2):  # the second time from the index
        assert lookup.open_run("cnn", tmp_path) == new
        assert latest(tmp_path, lambda run: run)[0] == [new]
        run_cache.flush()


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("image,split\n", "should have numbers under image, split, label, p_Benign"),
        ("image,split,label,p_Benign,p_Early,p_Pre,p_Pro\nPre/a,test,Pre,x,0,0,0\n", "is damaged .*'x'"),
        ("", "is damaged"),
    ],
)
def test_damaged_predictions_are_a_one_line_error(root, content, line):
    run = run_folder.find_runs(root)[0]
    run.file("predictions.csv").write_text(content)
    with pytest.raises(LeukoBenchError, match=line):
        run.predictions()


def test_failed_write_keeps_the_old_file(tmp_path):
    files.write_text(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError), files.atomic(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_full_disk_is_a_one_line_error_and_keeps_the_old_file(tmp_path):
    """RLIMIT_FSIZE stands for the full disk: root may fill any other."""
    (tmp_path / "a.csv").write_text("old")
    code = "from pathlib import Path; from utils.io import files; files.write_text(Path('%s'), 'x' * 100_000)"

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    done = run_python("-c", code % (tmp_path / "a.csv"), limit=limit, PYTHONDONTWRITEBYTECODE="1")
    assert f"LeukoBenchError: Cannot write {tmp_path / 'a.csv'}: File too large. Free space" in done.stderr
    assert (tmp_path / "a.csv").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_percentiles_are_nearest_rank():
    ordered = [float(n) for n in range(1, 41)]
    assert timing.percentile(ordered, 0.5) == 20
    assert timing.percentile(ordered, 0.95) == 38
    assert timing.percentile(ordered[:10], 0.5) == 5
    assert timing.percentile([3.0], 0.95) == 3


def test_warm_up_calls_are_not_counted():
    calls = []
    assert len(timing.repeat(lambda: calls.append(1), warmup=3, iterations=5)) == 5
    assert len(calls) == 8


FORMULAS = ("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "=", "-", "--1", "+-1e5x")
NO_FORMULAS = ("-1.5", "+0.2", "-1e-30", "-inf", "Pre-B", "a=1", "", "1-2", "\u2013")


def test_a_table_for_people_holds_no_formula_and_numbers_stay(tmp_path):
    rows = [{"name": text, "value": -0.25, "count": -3, "none": None, "=x": 1} for text in (*FORMULAS, *NO_FORMULAS)]
    files.write_csv(tmp_path / "table.csv", rows)
    found = files.read_csv(tmp_path / "table.csv", ())
    assert [row["name"] for row in found] == [*(f"'{text}".replace("\r", " ") for text in FORMULAS), *NO_FORMULAS]
    assert {(row["value"], row["count"], row["none"], row["'=x"]) for row in found} == {("-0.25", "-3", "", "1")}


def test_compared_names_are_no_formulas_but_the_images_of_a_run_keep_their_names(tmp_path):
    run = fake_run(tmp_path, "=cmd", classes=("=1+1", "@x", "-y"), dataset="+d")
    compare(figures=False, root=tmp_path)
    table = files.read_csv(tmp_path / "comparison" / "per_class.csv", ("class",))
    assert {row["class"] for row in table} == {"'=1+1", "'@x", "'-y"}
    assert {row["model"] for row in table} == {"'=cmd"}
    assert set(run.predictions()["label"]) == {"=1+1", "@x", "-y"}
