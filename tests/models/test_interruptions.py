"""Evaluations, exports and trainings that fail, are killed or lose their parent: the old files or the new ones."""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from checks import assert_facts, contents
from command_line import as_nobody
from killing import kill_each_commit, visible
from small_training import TINY, only_run, wait_for_an_epoch

import models
from models.engine.evaluation import efficiency, evaluator
from models.engine.run_io import checkpoint, run_loader
from models.engine.training import trainer
from utils.errors import LeukoBenchError
from utils.io import files, transaction
from utils.paths import PROJECT
from utils.runs import lookup, run_folder, seal


@contextlib.contextmanager
def full_disk():
    """Let no file grow beyond 200 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def change_weights(run, factor):
    """Multiply the weights of the last layer, so that a new evaluation predicts other numbers."""
    model = run_loader.open_model(run)
    model.layers[-1].set_weights([factor * each for each in model.layers[-1].get_weights()])
    checkpoint.save(model, run.file(run_folder.WEIGHTS))


def stop(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "broken", ["not finite", "disk full", "Ctrl-C", "another image", "no dataset", "other weights"]
)
def test_an_evaluation_that_fails_keeps_the_old_files(run, monkeypatch, broken):
    around, expected, facts = contextlib.nullcontext(), LeukoBenchError, ()
    if broken == "not finite":
        change_weights(run, np.nan)
        facts = (run.id, "13 of 13 val", "nan", "train again")
    elif broken == "disk full":
        around, facts = full_disk(), (run.path, "predictions.csv")
    elif broken == "Ctrl-C":
        monkeypatch.setattr(efficiency, "inference", stop)
        expected = KeyboardInterrupt
    elif broken == "another image":
        real = run_loader.read
        monkeypatch.setattr(run_loader, "read", lambda config, split, subset: real(config, split, "train"))
        facts = (run.id, "its manifest", "val")
    elif broken == "no dataset":
        files.write_json(run.file(run_folder.CONFIG), run.config() | {"dataset": "gone"})
        facts = ("gone",)
    else:
        run.file(run_folder.WEIGHTS).write_bytes(b"no weights")
        facts = (run_folder.WEIGHTS,)
    before = contents(run.path)
    with pytest.raises(expected) as caught, around:
        evaluator.evaluate(run)
    assert contents(run.path) == before
    if facts:
        assert_facts(str(caught.value), *facts)
        assert "commit" not in str(caught.value)


def test_a_kill_at_any_step_of_an_evaluation_leaves_the_old_or_the_new(run, monkeypatch):
    change_weights(run, 2)
    old, states = visible(run.path), []
    monkeypatch.setattr(transaction, "together", kill_each_commit(states))
    evaluator.evaluate(run)
    new = visible(run.path)
    changed = {name for name in new if new[name] != old.get(name)}
    assert {run_folder.PREDICTIONS, run_folder.TIMING, run_folder.METRICS} <= changed
    assert all(state in (old, new) for state in states) and old in states and new in states
    assert len(states) >= 6


def test_the_next_command_finishes_and_sweeps_what_a_kill_left(run):
    stage = run.path / transaction.COMMIT
    stage.mkdir()
    old = visible(run.path)
    (stage / run_folder.METRICS).write_bytes(old[run_folder.METRICS] + b"\n")
    for name in (f".99999999@{os.uname().nodename}.0.model.weights.h5", ".99999999.metrics.json", ".onnx-int8.lock"):
        (run.path / "export").mkdir(exist_ok=True)
        (run.path / "export" / name).write_text("x")
    assert lookup.open_run(run.id, run.root) == run
    assert visible(run.path) == old | {run_folder.METRICS: old[run_folder.METRICS] + b"\n"}
    assert visible(run.path) == contents(run.path)


PROGRAM = (
    "import models, sys; from models.engine import launcher\n"
    "models.command = lambda *_: ['-c', sys.argv[1]]\n"
    "launcher.train_each(['cnn'], [], {})"
)
CHILD = "import os, time; from models.engine import launcher; {}; print(os.getpid(), flush=True); time.sleep(60)"


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_ends_with_the_one_that_started_it(signal_):
    command = [sys.executable, "-c", PROGRAM, CHILD.format("launcher.end_with_parent()")]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal_)
        assert child.wait(10) in (None, 128 + signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.parametrize("own", [False, True], ids=["launcher", "nohup"])
def test_a_training_ends_with_its_parent(home, tmp_path, own):
    """A training that a person starts in the background by itself goes on."""
    script = ["-m", "models.cnn.train"] if own else ["run_guide.py", "train", "cnn"]
    options = [*TINY, "--root", str(tmp_path), "--set", "epochs=200", "--set", "patience=200"]
    shell = f"nohup {sys.executable} {' '.join([*script, *options])} >/dev/null & echo $!; wait"
    command = ["sh", "-c", shell] if own else [sys.executable, *script, *options]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=PROJECT, **pipes, text=True) as parent:
        wait_for_an_epoch(parent, tmp_path)
        (training,) = [each for each in psutil.Process(parent.pid).children() if "models.cnn.train" in each.cmdline()]
        parent.kill()
        if own:
            with pytest.raises(psutil.TimeoutExpired):
                training.wait(3)
            training.kill()
        training.wait(10)
    run = only_run(tmp_path)
    done = len(run.history())
    assert 0 < done < 200 and not run.finished
    assert lookup.open_run("cnn", tmp_path) == run and not list(run.path.glob(".*"))


EVALUATE = (
    "import sys; from pathlib import Path; from models.engine.evaluation import evaluator\n"
    "from utils.runs.run_folder import Run\n"
    "run = Run(Path(sys.argv[1])); print('loaded', flush=True); evaluator.evaluate(run)"
)


@pytest.mark.slow
def test_kills_at_random_moments_of_an_evaluation(run, tmp_path):
    """Kills spread over the whole evaluation, and more of them over its end."""
    change_weights(run, 2)
    kept = tmp_path / "kept"
    shutil.copytree(run.path, kept)
    old = visible(run.path)

    def evaluate(after):
        process = subprocess.Popen([sys.executable, "-c", EVALUATE, str(run.path)], cwd=PROJECT, stdout=subprocess.PIPE)
        process.stdout.readline()
        start = time.monotonic()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after)
        process.kill()
        process.wait()
        lookup.open_run(run.id, run.root)
        assert contents(run.path) == visible(run.path)
        found = visible(run.path)
        assert found == old or not seal.examine(run).changed
        shutil.rmtree(run.path)
        shutil.copytree(kept, run.path)
        return found, time.monotonic() - start

    def without_times(files_):
        return {name: value for name, value in files_.items() if name not in (run_folder.TIMING, seal.FILE)}

    new, seconds = evaluate(300)
    assert new[run_folder.PREDICTIONS] != old[run_folder.PREDICTIONS]
    for share in np.random.default_rng(0).uniform(0, 1.1, 5):
        found, _ = evaluate(share * seconds)
        assert found == old or without_times(found) == without_times(new)


def test_a_clock_set_back_is_said_once_and_plainly(tmp_path, capsys):
    config = models.config_for("cnn")
    trainer._new_run(tmp_path, config)
    assert capsys.readouterr().out == ""
    (tmp_path / "cnn" / "20991231T235959Z-0123abcd").mkdir(parents=True)
    assert trainer._new_run(tmp_path, config).stamp > "20991231T235959"
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("Note: ") and "cnn" in said and "2099-12-31 23:59" in said and "set back" in said


@pytest.mark.parametrize(("outer", "field"), [("", "momentum"), ("augmentation.", "mixup"), ("variant.", "gamma")])
def test_a_field_of_a_newer_version_is_called_that(run, outer, field):
    config = run.config()
    (config[outer[:-1]] if outer else config)[field] = 0.5
    files.write_json(run.file(run_folder.CONFIG), config)
    with pytest.raises(LeukoBenchError) as caught:
        run_loader.config_of(run)
    assert_facts(str(caught.value), run.file(run_folder.CONFIG), f"'{outer}{field}'", "newer version", "Update")
    files.write_json(run.file(run_folder.ENVIRONMENT), run.environment() | {"accelerator": {"name": "new"}})
    assert run.label() == "cnn" and run.predictions("test") is not None  # what does not need the field goes on


@pytest.mark.parametrize("closed", ["the file", "the folder"])
def test_weights_that_may_not_be_read_are_called_that(small_run, shared_folder, closed):
    shutil.copytree(small_run.root, shared_folder / "lab")
    run = run_folder.Run(shared_folder / "lab" / small_run.path.relative_to(small_run.root))
    (shared_folder / "lab").chmod(0o755)
    run.path.parent.chmod(0o755)
    place = run.file(run_folder.WEIGHTS) if closed == "the file" else run.path
    place.chmod(0)

    def load():
        try:
            return str(checkpoint.load(None, run, run.file(run_folder.WEIGHTS)))
        except LeukoBenchError as error:
            return str(error)

    assert_facts(as_nobody(load), run.file(run_folder.WEIGHTS), "permission denied", "Make it readable")
