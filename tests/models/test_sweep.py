"""Sweeps: plans, state of jobs, transfer of runs. Real sweeps: tests/extra/test_sweep.py and test_ray.py."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from checks import contents, one_line_error
from fake_runs import fake_run

import models
from guide import menu, sweep
from guide.parameters import parameters
from guide.questions import ask
from guide.steps import STEPS
from models.engine import launcher, settings_file
from models.engine.sweep import local_executor, ray_executor, ray_worker, run_transfer
from models.engine.sweep import plan as sweep_plan
from models.engine.sweep.job_process import JobProcess
from models.engine.sweep.local_executor import Resources
from models.engine.sweep.plan import Plan
from models.engine.training.progress_bar import StopSignal
from utils import console
from utils.errors import LeukoBenchError
from utils.io import files, locks
from utils.paths import PROJECT
from utils.runs import run_folder

TINY = ("image_size=32", "filters=[4,8,8]", "dense=8", "batch_size=8", "epochs=1")


def plan(**changes):
    return Plan(**{"models": ["cnn"], "settings": TINY, "dataset": "tiny"} | changes)


def made(root, job, seed=42, manifest=""):
    """Write a finished run of a job without training."""
    run = fake_run(root, "cnn", dataset="tiny", seed=seed, settings=TINY, epochs=1)
    files.write_json(run.file(run_folder.ENVIRONMENT), run.environment() | {"manifest": manifest or job.spec.manifest})
    return run


def test_a_plan_has_every_combination_and_all_folds(home):
    found = sweep_plan.jobs(plan(recipes=["none", "gray"], splits=["64/16/20", "kfold:2"], seeds=[1, 2]))
    assert len({job.spec.key for job in found}) == len(found) == 12
    labels = [job.spec.label for job in found]
    assert labels[:4] == ["cnn seed 1", "cnn seed 2", "cnn kfold:2:1 seed 1", "cnn kfold:2:2 seed 1"]
    assert found[-1].spec.label == "cnn gray kfold:2:2 seed 2"
    assert len({job.spec.manifest for job in found}) == 3


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"seeds": [1, 1]}, "cnn seed 1 and cnn seed 1 are the same"),
        ({"models": ["cn"]}, "'cn'. Did you mean 'cnn'?"),
        ({"recipes": ["grey"]}, "'grey'. Did you mean 'gray'?"),
        ({"splits": ["kfold:x"]}, "'kfold:x'"),
        ({"settings": [*TINY, "weights=nothere.h5"]}, "'weights' received 'nothere.h5'"),
        ({"dataset": "tyni"}, "'tyni'. Did you mean 'tiny'?"),
    ],
)
def test_errors_are_found_before_anything_is_trained(home, changes, fact):
    with one_line_error(fact):
        sweep_plan.jobs(plan(**changes))


def test_a_plan_file_has_the_options_of_the_command_line(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text("model: [cnn, resnet18]\nrecipe: none\nseed: [1, 2]\nset:\n  epochs: 5\n  cosine: true\n")
    lists = {"model": ["cnn", "resnet18"], "recipe": ["none"], "seed": [1, 2], "set": ["epochs=5", "cosine=true"]}
    assert sweep_plan.read_file(path) == lists


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("modle: cnn", ("'modle'. Did you mean 'model'?", "model, recipe, split, seed, set, profile, dataset")),
        ("seed: one", ("'seed' takes a whole number", "received 'one'")),
        ("model: {a: 1}", ("'model' takes a text", "received {'a': 1}")),
        ("profile: [a, b]", ("'profile' takes one value; received 2",)),
        ("recipe: [null, gray]", ("'recipe' takes a text", "received None")),
        ("set: {weights: null}", ("'set' gives 'weights' no value",)),
        ("model: [cnn\nseed: 1\n", ("is not valid YAML (line 2)", "model: [cnn, resnet18]")),
        ("seed: 2020-13-45", ("is not valid YAML", "model: [cnn, resnet18]")),
        ("seed: 0x_", ("is not valid YAML",)),
    ],
)
def test_errors_in_a_plan_file(tmp_path, text, facts):
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    with one_line_error(path, *facts):
        sweep_plan.read_file(path)


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        (LAUGHS, ("alias or anchor", "'a'", "line 1")),
        ("model: *cnn\n", ("alias or anchor", "'cnn'", "line 1")),
        ("model: &list [cnn, resnet18]\n", ("alias or anchor", "'list'")),
        ("seed: &" + "n" * 5000 + " 1\n", ("alias or anchor",)),
        ("model: cnn\nseed: [" + "1," * 200_000 + "1]", ("MB",)),
        ("model: [[" + "cnn," * 9_000 + "cnn]]", ("'model' takes a text", "...")),
        ("x" * 900 + ": 1", ("unknown key", "...", "Valid: model")),
        ("set: {" + "f" * 900 + ": null}", ("no value", "...")),
        ("seed: !!python/object/apply:os.system ['true']", ("is not valid YAML (line 1)",)),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_plan_files_that_grow_or_are_long_are_one_short_line(tmp_path, text, facts):
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    with one_line_error(path, *facts) as caught:
        sweep_plan.read_file(path)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "plan",
    [
        Plan(["cnn"], seeds=range(20_000)),
        Plan(["cnn", "smearnet"] * 100, recipes=["none"] * 10, seeds=range(100)),
        Plan(["cnn"], splits=["kfold:9999", "grouped-kfold:9999"]),
    ],
)
def test_more_jobs_than_anyone_can_train_are_refused_at_once(plan):
    with one_line_error("jobs", "at most 10,000"):
        sweep_plan.jobs(plan)


def test_plan_files_and_settings_that_are_no_files_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "deep.json").write_text('{"epochs": ' + "[" * 100_000)
    (tmp_path / "long.json").write_text(json.dumps("x" * 500_000))
    (tmp_path / "huge.json").write_text(json.dumps({"epochs": "1" * 2_000_000}))
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "missing"):
        with one_line_error(path):
            sweep_plan.read_file(path)
    for path in (tmp_path / name for name in ("pipe", "deep.json", "long.json", "huge.json")):
        with one_line_error(path) as caught:
            settings_file.read(path)
        assert len(str(caught.value)) < 400
    deep = "variant=" + "[" * 100_000
    with one_line_error("variant") as caught:
        models.config_for("cnn", "", [deep])
    assert len(str(caught.value)) < 400


@pytest.mark.slow
def test_deeply_nested_yaml(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text("a: " + "[" * 2000)
    with pytest.raises(LeukoBenchError, match="is not valid YAML"):
        sweep_plan.read_file(path)


def test_finished_and_unfinished_runs_are_found(home, tmp_path):
    (job,) = sweep_plan.jobs(plan(seeds=[42]))
    run = made(tmp_path, job)
    sweep_plan.look([job], tmp_path)
    assert (job.state, job.run, job.epoch) == (sweep_plan.BEFORE, run, 1)
    assert job.accuracy == run.metrics()["test"]["accuracy"]
    run.file(run_folder.METRICS).unlink()
    (job,) = sweep_plan.jobs(plan(seeds=[42]))
    sweep_plan.look([job], tmp_path)
    assert (job.state, job.run) == (sweep_plan.WAITING, run), "unfinished: to be resumed"


@pytest.mark.parametrize("change", [{"seed": 43}, {"manifest": "0" * 16}], ids=["seed", "manifest"])
def test_another_seed_or_manifest_is_another_job(home, tmp_path, change):
    (job,) = sweep_plan.jobs(plan(seeds=[42]))
    made(tmp_path, job, **change)
    sweep_plan.look([job], tmp_path)
    assert (job.state, job.run) == (sweep_plan.WAITING, None)


def test_a_run_without_newer_fields_is_found(home, tmp_path):
    (job,) = sweep_plan.jobs(plan(seeds=[42]))
    run = made(tmp_path, job)
    said = run.config()
    del said["intervention"], said["offline"]
    files.write_json(run.file(run_folder.CONFIG), said)
    run.path.rename(run.path.with_name(run.path.name[:-8] + "0123abcd"))  # the hash of that time
    sweep_plan.look([job], tmp_path)
    assert job.state == sweep_plan.BEFORE and sweep_plan.run_of(tmp_path, job.spec) == job.run


def test_of_two_unfinished_runs_the_one_with_more_epochs_is_resumed(home, tmp_path):
    (job,) = sweep_plan.jobs(plan(seeds=[42]))
    far, near = made(tmp_path, job), made(tmp_path, job)
    lines = far.file(run_folder.HISTORY).read_text().splitlines()
    far.file(run_folder.HISTORY).write_text("\n".join([*lines, lines[-1]]) + "\n")
    for run in (far, near):
        run.file(run_folder.METRICS).unlink()
    assert sweep_plan.run_of(tmp_path, job.spec) == far


def test_failures_are_listed_even_without_a_table(home, tmp_path, capsys):
    done = sweep_plan.jobs(plan(seeds=[42, 43]))
    for job in done:
        job.run, job.state = made(tmp_path, job, job.spec.split_seed), sweep_plan.BEFORE
    done[0].run.file(run_folder.PREDICTIONS).unlink()
    (failed,) = sweep_plan.jobs(plan(seeds=[44]))
    failed.state, failed.reason = sweep_plan.FAILED, "The disk is full."
    with pytest.raises(LeukoBenchError, match=run_folder.PREDICTIONS):
        sweep._ended([*done, failed], tmp_path)
    assert "cnn seed 44: The disk is full." in capsys.readouterr().err


def test_a_dry_run_makes_no_copies_of_images(home, monkeypatch):
    asked = []
    monkeypatch.setattr(sweep_plan, "_copies", lambda *made: asked.append(made))
    wanted = plan(settings=[*TINY, "offline.copies=1", "offline.augmentation.flips=true"])
    sweep_plan.jobs(wanted, copies=False)
    assert not asked
    sweep_plan.jobs(wanted)
    assert len(asked) == 1


@pytest.mark.parametrize(("worker", "kept"), [(1, 3), (3, 3), (5, 5)])
def test_a_worker_resumes_the_newer_state(home, tmp_path, worker, kept):
    (job,) = sweep_plan.jobs(plan(seeds=[42]))

    def at(root, epochs):
        run = made(root, job)
        heading, row = run.file(run_folder.HISTORY).read_text().splitlines()
        run.file(run_folder.HISTORY).write_text("\n".join([heading, *[row] * epochs]) + "\n")
        run.file(run_folder.METRICS).unlink()
        return run

    own, sent = at(tmp_path / "own", worker), at(tmp_path / "runs", 3)
    content = run_transfer.pack(sent)
    assert run_transfer.progress(content) == (False, 3)
    ray_worker._continue(job.spec, tmp_path / "own", content)
    assert len(own.history()) == kept


def test_no_interruption_loses_a_run(tmp_path, monkeypatch):
    run = fake_run(tmp_path)
    staging, content, rename, calls = tmp_path / sweep_plan.FOLDER, run_transfer.pack(run), Path.rename, []

    def interrupted(path, target):
        calls.append(path)
        if len(calls) > 1:  # the old run is moved, the new one missing, and moving back fails too
            raise OSError(28, "No space left on device") if len(calls) > 2 else KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_transfer.unpack(content, tmp_path, staging)
    assert not run.finished
    monkeypatch.undo()
    run_transfer.restore(tmp_path, staging)
    assert run.finished and not list(staging.iterdir())


def test_reasons_of_failed_jobs(tmp_path, monkeypatch):
    process = object.__new__(JobProcess)
    process.log = tmp_path / "job.log"
    assert "Exit status 1" in process.reason(1)
    process.log.write_text("Traceback\nValueError: x\n\n")
    assert process.reason(1) == "ValueError: x"
    monkeypatch.setenv(console.ERROR_FILE, str(launcher.error_file(process.log)))
    console.error("The disk is full.")
    assert process.reason(1) == "The disk is full."
    assert "SIGKILL" in process.reason(-9)


def test_a_job_stopped_during_its_start_is_stopped(home, tmp_path):
    (job,) = sweep_plan.jobs(plan(seeds=[42]))
    stop = StopSignal()

    def changed(job):
        if job.state == sweep_plan.RUNNING:
            stop.requested = True

    local_executor.run([job], tmp_path, Resources(jobs=1), changed, stop)
    assert (job.state, job.reason) == (sweep_plan.STOPPED, "")
    assert not list((tmp_path / sweep_plan.FOLDER).iterdir())


def test_jobs_do_not_share_a_gpu_by_default(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert local_executor._shares(Resources(), 8)[::2] == (2, ["0", "1"])
    assert local_executor._shares(Resources(jobs=3), 8)[::2] == (3, [])
    assert local_executor._shares(Resources(gpus=0.5), 8)[::2] == (4, ["0", "0", "1", "1"])


def test_the_menu_offers_no_recipe_beside_others(monkeypatch, tmp_path):
    (step,) = (each for each in STEPS if each.command == "sweep")
    (recipe,) = (each for each in parameters(step.function) if each.name == "recipe")
    offered, _ = menu._offered(recipe, {}, tmp_path, step)
    assert next(iter(offered.listed.values())) == "no recipe"
    monkeypatch.setattr("builtins.input", lambda prompt: "none 2")
    assert ask(recipe, offered, lambda value: None) == ["none", "gray"]


def test_tracking_options_are_not_part_of_the_key(home):
    (job,), (tracked,) = (sweep_plan.jobs(plan(other_options=options)) for options in ((), ("--tensorboard",)))
    assert tracked.spec.other_options == ("--tensorboard",) and tracked.spec.key == job.spec.key
    assert sweep_plan.JobSpec.from_dict(json.loads(json.dumps(tracked.spec.as_dict()))) == tracked.spec


def test_errors_in_a_ray_task_are_shortened():
    class Wrapped(Exception):
        cause = LeukoBenchError("Cannot write /x: Permission denied.")

    assert ray_executor.reason(Wrapped("\x1b[36mray::_task()\x1b[39m (pid=1)\n  File ...")) == str(Wrapped.cause)
    assert ray_executor.reason(ValueError("\nOne.\nTwo.")) == "One."
    assert ray_executor.reason(ValueError()) == "ValueError"


def test_a_job_larger_than_every_machine_gives_a_warning():
    nodes = [{"Alive": True, "Resources": {"CPU": 2.0}}, {"Alive": False, "Resources": {"CPU": 64.0}}]
    assert ray_executor.too_large(nodes, 2, 0) == ""
    warning = ray_executor.too_large(nodes, 64, 0)
    assert "64 cores and 0 GPUs" in warning and "2 cores, 0 GPUs" in warning


def test_a_lock_is_released_with_its_process(tmp_path):
    path = tmp_path / "job.train"
    code = "import sys, time; from pathlib import Path; from utils.io import locks; "
    code += "held = locks.take(Path(sys.argv[1])); print(bool(held), flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "True\n"
    assert locks.take(path) is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    held = locks.take(path)
    assert held is not None and locks.take(path) is None
    locks.drop(held)
    assert not path.exists()


def test_pack_and_unpack(tmp_path):
    sent = fake_run(tmp_path / "worker")
    content = run_transfer.pack(sent)
    for _ in range(2):  # the second time replaces the first
        run_transfer.unpack(content, tmp_path / "runs", tmp_path / "runs" / sweep_plan.FOLDER)
        (run,) = run_folder.find_runs(tmp_path / "runs", finished=True)
        assert contents(run.path) == contents(sent.path)
        assert run.manifest_path().is_file()
        assert not any((tmp_path / "runs" / sweep_plan.FOLDER).iterdir())
