"""The sweep: what it plans and what it takes for done. Real ones: test_extra_sweep.py, test_extra_ray.py."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fake_runs import fake_run

from guide import menu, sweep
from guide.parameters import parameters
from guide.questions import ask
from guide.steps import STEPS
from models.engine.sweep import local_executor, plan_file, ray_cluster, ray_worker, run_transfer
from models.engine.sweep import plan as sweep_plan
from models.engine.sweep.local_executor import Room
from models.engine.sweep.plan import Plan
from models.engine.training.progress_bar import StopSignal
from utils.errors import LeukoBenchError
from utils.io import files, locks
from utils.paths import PROJECT
from utils.runs import run_folder

TINY = ("image_size=32", "filters=[4,8,8]", "dense=8", "batch_size=8", "epochs=1")


def plan(**changes):
    return Plan(**{"models": ["cnn"], "settings": TINY, "dataset": "tiny"} | changes)


def made(root, job, seed=42, manifest=""):
    """Write a finished run of a job, as if it had been trained."""
    run = fake_run(root, "cnn", dataset="tiny", seed=seed, settings=TINY, epochs=1)
    files.write_json(
        run.file(run_folder.ENVIRONMENT), run.environment() | {"manifest": manifest or job.ticket.manifest}
    )
    return run


def test_a_plan_is_every_combination_and_all_folds(home):
    found = sweep_plan.jobs(plan(recipes=["none", "gray"], splits=["64/16/20", "kfold:2"], seeds=[1, 2]))
    assert len({job.ticket.key for job in found}) == len(found) == 12
    assert [job.ticket.label for job in found][:4] == [
        "cnn seed 1", "cnn seed 2", "cnn kfold:2:1 seed 1", "cnn kfold:2:2 seed 1",
    ]  # fmt: skip
    assert found[-1].ticket.label == "cnn gray kfold:2:2 seed 2"
    assert len({job.ticket.manifest for job in found}) == 3


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"seeds": [1, 1]},
            "cnn seed 1 and cnn seed 1 are the same training. Name each model, recipe, split and seed once.",
        ),
        ({"models": ["cn"]}, "Unknown model 'cn'. Did you mean 'cnn'?"),
        ({"recipes": ["grey"]}, "Unknown recipe 'grey'. Did you mean 'gray'?"),
        ({"splits": ["kfold:x"]}, "Unknown split 'kfold:x'."),
        ({"settings": [*TINY, "weights=nothere.h5"]}, "Field 'weights' received 'nothere.h5', which is no file."),
        ({"dataset": "tyni"}, "There is no dataset 'tyni'. Did you mean 'tiny'?"),
    ],
)  # fmt: skip
def test_a_mistake_is_found_before_anything_is_trained(home, changes, line):
    with pytest.raises(LeukoBenchError, match=re.escape(line)):
        sweep_plan.jobs(plan(**changes))


def test_a_file_says_the_same_in_the_words_of_the_command_line(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text("model: [cnn, resnet18]\nrecipe: none\nseed: [1, 2]\nset:\n  epochs: 5\n  cosine: true\n")
    assert plan_file.read(path) == {
        "model": ["cnn", "resnet18"], "recipe": ["none"], "seed": [1, 2], "set": ["epochs=5", "cosine=true"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "modle: cnn",
            "unknown word 'modle'. Did you mean 'model'? Valid: model, recipe, split, seed, set, profile, dataset.",
        ),
        ("seed: one", "'seed' takes a whole number, or several in a list; received 'one'."),
        ("model: {a: 1}", "'model' takes a text, or several in a list; received {'a': 1}."),
        ("profile: [a, b]", "'profile' takes one value; received 2."),
        ("recipe: [null, gray]", "'recipe' takes a text, or several in a list; received None."),
        ("set: {weights: null}", "'set' gives 'weights' no value. Write one, or leave the line out."),
    ],
)  # fmt: skip
def test_a_mistake_in_a_file_is_one_line(tmp_path, text, line):
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    with pytest.raises(LeukoBenchError) as caught:
        plan_file.read(path)
    assert str(caught.value) == f"{path}: {line}"


@pytest.mark.parametrize("text", ["seed: 2020-13-45", "seed: 0x_", "a: " + "[" * 2000])
def test_what_the_reader_of_yaml_trips_over_is_one_line(tmp_path, text):
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    with pytest.raises(LeukoBenchError, match=r"is no readable YAML\. Write lines such as: model: \[cnn, resnet18\]$"):
        plan_file.read(path)


def test_what_is_no_yaml_says_so(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text("model: [cnn\nseed: 1\n")
    with pytest.raises(LeukoBenchError) as caught:
        plan_file.read(path)
    assert str(caught.value) == f"{path} is no readable YAML (line 2). Write lines such as: model: [cnn, resnet18]"


def test_done_is_what_has_the_configuration_and_the_manifest(home, tmp_path):
    (job,) = sweep_plan.jobs(plan(seeds=[42]))
    run = made(tmp_path, job)
    sweep_plan.look([job], tmp_path)
    assert (job.state, job.run, job.epoch) == (sweep_plan.BEFORE, run, 1)
    assert job.accuracy == run.metrics()["test"]["accuracy"]
    run.file(run_folder.METRICS).unlink()
    (job,) = sweep_plan.jobs(plan(seeds=[42]))
    sweep_plan.look([job], tmp_path)
    assert (job.state, job.run) == (sweep_plan.WAITING, run), "half-finished: gone on with"


@pytest.mark.parametrize("change", [{"seed": 43}, {"manifest": "0" * 16}], ids=["seed", "manifest"])
def test_another_seed_or_manifest_is_another_job(home, tmp_path, change):
    (job,) = sweep_plan.jobs(plan(seeds=[42]))
    made(tmp_path, job, **change)
    sweep_plan.look([job], tmp_path)
    assert (job.state, job.run) == (sweep_plan.WAITING, None)


def test_a_run_from_before_a_field_was_known_is_done(home, tmp_path):
    (job,) = sweep_plan.jobs(plan(seeds=[42]))
    run = made(tmp_path, job)
    said = run.config()
    del said["intervention"], said["offline"]
    files.write_json(run.file(run_folder.CONFIG), said)
    run.path.rename(run.path.with_name(run.path.name[:-8] + "0123abcd"))  # as its configuration was named then
    sweep_plan.look([job], tmp_path)
    assert job.state == sweep_plan.BEFORE and sweep_plan.run_of(tmp_path, job.ticket) == job.run


def test_of_two_unfinished_runs_the_farther_one_is_gone_on_with(home, tmp_path):
    (job,) = sweep_plan.jobs(plan(seeds=[42]))
    far, near = made(tmp_path, job), made(tmp_path, job)
    lines = far.file(run_folder.HISTORY).read_text().splitlines()
    far.file(run_folder.HISTORY).write_text("\n".join([*lines, lines[-1]]) + "\n")
    for run in (far, near):
        run.file(run_folder.METRICS).unlink()
    assert sweep_plan.run_of(tmp_path, job.ticket) == far


def test_failures_are_listed_also_where_the_table_cannot_be_made(home, tmp_path, capsys):
    done = sweep_plan.jobs(plan(seeds=[42, 43]))
    for job in done:
        job.run, job.state = made(tmp_path, job, job.ticket.split_seed), sweep_plan.BEFORE
    done[0].run.file(run_folder.PREDICTIONS).unlink()
    (failed,) = sweep_plan.jobs(plan(seeds=[44]))
    failed.state, failed.reason = sweep_plan.FAILED, "The disk is full."
    with pytest.raises(LeukoBenchError, match=run_folder.PREDICTIONS):
        sweep._ended([*done, failed], tmp_path)
    assert capsys.readouterr().err == "Error: cnn seed 44: The disk is full.\n"


def test_a_dry_run_makes_no_copies_of_images(home, monkeypatch):
    asked = []
    monkeypatch.setattr(sweep_plan, "_copies", lambda *made: asked.append(made))  # which takes seconds
    wanted = plan(settings=[*TINY, "offline.copies=1", "offline.augmentation.flips=true"])
    sweep_plan.jobs(wanted, copies=False)
    assert not asked
    sweep_plan.jobs(wanted)
    assert len(asked) == 1


@pytest.mark.parametrize(("worker", "kept"), [(1, 3), (3, 3), (5, 5)])
def test_a_worker_goes_on_from_the_newer_state(home, tmp_path, worker, kept):
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
    ray_worker._continue(job.ticket, tmp_path / "own", content)
    assert len(own.history()) == kept


def test_no_interruption_loses_a_run(tmp_path, monkeypatch):
    run = fake_run(tmp_path)
    staging, content, rename, calls = tmp_path / sweep_plan.FOLDER, run_transfer.pack(run), Path.rename, []

    def interrupted(path, target):
        calls.append(path)
        if len(calls) > 1:  # the old run is aside, the new one not yet there, and it cannot be put back either
            raise OSError(28, "No space left on device") if len(calls) > 2 else KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_transfer.unpack(content, tmp_path, staging)
    assert not run.finished
    monkeypatch.undo()
    run_transfer.restore(tmp_path, staging)
    assert run.finished and not list(staging.iterdir())


def test_a_job_stopped_before_it_listened_is_stopped(home, tmp_path):
    (job,) = sweep_plan.jobs(plan(seeds=[42]))
    stop = StopSignal()

    def changed(job):
        if job.state == sweep_plan.RUNNING:
            stop.requested = True

    local_executor.run([job], tmp_path, Room(jobs=1), changed, stop)
    assert (job.state, job.reason) == (sweep_plan.STOPPED, "")
    assert not list((tmp_path / sweep_plan.FOLDER).iterdir())


def test_jobs_do_not_share_a_card_unless_told(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert local_executor._shares(Room(), 8)[::2] == (2, ["0", "1"])
    assert local_executor._shares(Room(jobs=3), 8)[::2] == (3, [])
    assert local_executor._shares(Room(gpus=0.5), 8)[::2] == (4, ["0", "0", "1", "1"])


def test_the_menu_sweeps_without_a_recipe_beside_others(monkeypatch, tmp_path):
    (step,) = (each for each in STEPS if each.command == "sweep")
    (recipe,) = (each for each in parameters(step.function) if each.name == "recipe")
    offered, _ = menu._offered(recipe, {}, tmp_path, step)
    assert offered.notes[0] == "changes nothing"
    monkeypatch.setattr("builtins.input", lambda prompt: "none 2")
    assert ask(recipe, offered, lambda value: None) == ["none", "gray"]


def test_trackers_are_handed_to_every_training_and_are_no_part_of_its_key(home):
    (job,), (told,) = (sweep_plan.jobs(plan(told=words)) for words in ((), ("--tensorboard",)))
    assert told.ticket.told == ("--tensorboard",) and told.ticket.key == job.ticket.key
    assert sweep_plan.Ticket.of(json.loads(json.dumps(told.ticket.plain()))) == told.ticket


def test_what_went_wrong_in_a_task_of_ray_is_its_own_line():
    class Wrapped(Exception):
        cause = LeukoBenchError("Cannot write /x: Permission denied.")

    assert ray_cluster.reason(Wrapped("\x1b[36mray::_task()\x1b[39m (pid=1)\n  File ...")) == str(Wrapped.cause)
    assert ray_cluster.reason(ValueError("\nOne.\nTwo.")) == "One."
    assert ray_cluster.reason(ValueError()) == "ValueError"


def test_a_job_that_fits_no_machine_is_said():
    nodes = [{"Alive": True, "Resources": {"CPU": 2.0}}, {"Alive": False, "Resources": {"CPU": 64.0}}]
    assert ray_cluster.too_large(nodes, 2, 0) == ""
    assert ray_cluster.too_large(nodes, 64, 0) == (
        "A job takes 64 cores and 0 GPUs, and no machine of the cluster has both (the most: 2 cores, 0 GPUs). The jobs "
        "wait for one that has; Ctrl-C ends the sweep."
    )


def test_a_lock_goes_with_its_process(tmp_path):
    path = tmp_path / "job.train"
    code = (
        "import sys, time; from pathlib import Path; from utils.io import locks; held = locks.take(Path(sys.argv[1]))"
    )
    code += "; print(bool(held), flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "True\n"
    assert locks.take(path) is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    held = locks.take(path)
    assert held is not None and locks.take(path) is None
    locks.drop(held)
    assert not path.exists()


def test_a_run_comes_back_whole_from_an_archive(tmp_path):
    sent = fake_run(tmp_path / "worker")
    content = run_transfer.pack(sent)
    for _ in range(2):  # the second time in the place of the first
        run_transfer.unpack(content, tmp_path / "runs", tmp_path / "runs" / sweep_plan.FOLDER)
        (run,) = run_folder.find_runs(tmp_path / "runs", finished=True)
        assert {p.name: p.read_bytes() for p in run.path.iterdir() if p.is_file()} == {
            p.name: p.read_bytes() for p in sent.path.iterdir() if p.is_file()
        }
        assert run.manifest_path().is_file()
        assert not any((tmp_path / "runs" / sweep_plan.FOLDER).iterdir())
