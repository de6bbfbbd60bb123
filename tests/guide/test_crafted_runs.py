"""Run folders from strangers and damaged ones: nothing is written outside, each is one line, all others are listed."""

import shutil
import signal

import crafted_runs
import pytest
from checks import contents
from command_line import run_guide
from fake_runs import fake_run

from utils.errors import LeukoBenchError
from utils.runs import lookup, records, run_folder

READERS = (("runs",), ("compare", "--no-figures"), ("leaderboard",))


@pytest.fixture(autouse=True)
def in_time():
    """End a test that waits for a pipe."""
    signal.alarm(300)
    yield
    signal.alarm(0)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A data folder with two datasets, a folder outside the root with a run of somebody else, and a root with a run."""
    monkeypatch.setenv("LEUKOBENCH_DATA", str(tmp_path / "data"))
    good = fake_run(tmp_path / "runs", images=8, pictures=True, classes=("a", "b"), dataset="cells")
    fake_run(tmp_path / "elsewhere", images=8, pictures=True, classes=("a", "b"), dataset="other")
    shutil.copytree(good.path, tmp_path / "outside" / "other")
    for name in ("figures", "export", "state"):
        (tmp_path / "outside" / "other" / name).mkdir()
        (tmp_path / "outside" / "other" / name / "kept.txt").write_text("kept")
    return tmp_path, good


def outside(folder):
    """Everything but the root and what is derived from datasets."""
    kept = {name: held for name, held in contents(folder).items() if not name.startswith(("runs/", "data/splits/"))}
    return kept, sorted(path.name for path in folder.iterdir())


def of_run(run):
    """Content of a run's files, links and pipes by name."""
    found = {}
    for path in sorted(run.path.rglob("*")):
        name = path.relative_to(run.path).as_posix()
        if not name.startswith("figures"):
            found[name] = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else "special"
    return found


def told(done, run):
    """The lines of an output about a run, on the two streams."""
    return [line for line in (done.stdout + done.stderr).splitlines() if run.path.name in line and ": " in line]


def read(folder, good, made, commands=READERS):
    """Run readers: they end well, list the good run, say at most one line of each other run and change nothing."""
    before, kept = outside(folder), {run: of_run(run) for run in made.values()}
    found = {}
    for command in commands:
        found[command[0]] = done = run_guide(*command, "--root", folder / "runs", COLUMNS="400")
        assert done.returncode == 0, (command, done.stderr[-2000:])
        for name, run in made.items():
            assert len(told(done, run)) <= 1, (command, name, told(done, run))
    if "runs" in found:
        listed = found["runs"].stdout
        assert next(line for line in listed.splitlines() if good.path.name in line).count("finished")
        assert not [name for name, run in made.items() if run.path.name not in listed]
    assert outside(folder) == before
    assert {run: of_run(run) for run in made.values()} == kept
    return found


def test_crafted_runs_are_one_line_each_and_nothing_outside_is_changed(place):
    folder, good = place
    made = crafted_runs.copies(good, crafted_runs.crafted(), folder / "outside")
    assert len(made) >= 100
    read(folder, good, made)


@pytest.mark.slow
def test_a_report_leaves_runs_out_that_cannot_be_used(place):
    folder, good = place
    made = crafted_runs.copies(good, crafted_runs.crafted(1, 60), folder / "outside")
    for name, run in list(made.items()):
        try:
            records.measure(run)
        except LeukoBenchError:
            continue
        shutil.rmtree(made.pop(name).path)
    assert len(made) > 30
    read(folder, good, made, commands=(("runs",), ("report",)))


def test_each_kind_of_damage_is_one_line_and_every_other_run_is_listed(place):
    folder, good = place
    assert len(crafted_runs.DAMAGES) == 12
    crafts = {
        (damage, name): make(name) for damage, make in crafted_runs.DAMAGES.items() for name in crafted_runs.FILES
    }
    made = crafted_runs.copies(good, crafts, folder / "outside")
    found = read(folder, good, made)
    for (damage, name), run in made.items():
        row = next(line for line in found["runs"].stdout.splitlines() if run.path.name in line)
        if name != run_folder.PREDICTIONS:  # which `runs` does not read
            assert "damaged" in row, (damage, name, row)
            assert len(told(found["runs"], run)) == 1, (damage, name)
        if name != run_folder.METRICS:  # `compare` computes scores from the predictions
            assert len(told(found["compare"], run)) == 1, (damage, name, found["compare"].stderr)


@pytest.mark.slow
def test_commands_that_write_change_nothing_outside_a_crafted_run(run, home):
    """The run is a trained one, whose dataset is there; a craft may be harmless, but an error is one line."""
    from models.engine.evaluation import evaluator

    beside = run.root.parent / "outside"
    shutil.copytree(run.path, beside / "other")
    for name in ("figures", "export", "state"):
        (beside / "other" / name).mkdir(exist_ok=True)
    image = next((home / "data" / "raw" / "tiny").glob("*/*.png"))
    crafts = crafted_runs.crafted(seed=3, fields=12)
    crafts |= {f"root {name}": crafted_runs.link(f"../../{name}", "other") for name in ("reference", "manifests")}
    made = crafted_runs.copies(run, crafts, beside)
    before = contents(beside), contents(home / "data" / "raw"), sorted(path.name for path in run.root.parent.iterdir())
    done = {}
    for name, each in made.items():
        for command in (("explain", each.id), ("predict", each.id, image), ("calibrate", each.id)):
            done[name, command[0]] = answer = run_guide(*command, "--root", run.root, COLUMNS="400")
            assert answer.returncode in (0, 1), (name, command, answer.stderr)
            errors = [line for line in answer.stderr.splitlines() if line.startswith("Error: ")]
            assert len(errors) == answer.returncode, (name, command, answer.stderr)
        try:
            evaluator.evaluate(lookup.open_run(each.id, run.root))
        except LeukoBenchError as problem:
            assert "\n" not in str(problem), name
            done[name, "evaluate"] = problem
    for name in made:
        if name.startswith(("row", "link", "root")):
            assert (name, "evaluate") in done, f"{name} was evaluated"
    after = contents(beside), contents(home / "data" / "raw"), sorted(path.name for path in run.root.parent.iterdir())
    assert after == before
