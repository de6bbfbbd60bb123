"""The sweep: what it plans and what it takes for done. Real ones: test_extra_sweep.py, test_extra_ray.py."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import fake_run

from models import run_archives, sweep_files, sweeping
from models.sweeping import Plan
from utils import artifacts, files, lock
from utils.errors import LeukoBenchError

PROJECT = Path(__file__).resolve().parent.parent
TINY = ("image_size=32", "filters=[4,8,8]", "dense=8", "batch_size=8", "epochs=1")


def plan(**changes):
    return Plan(**{"models": ["cnn"], "settings": TINY, "dataset": "tiny"} | changes)


def made(root, job, seed=42, manifest=""):
    """Write a finished run of a job, as if it had been trained."""
    run = fake_run(root, "cnn", dataset="tiny", seed=seed, settings=TINY, epochs=1)
    files.write_json(run.file(artifacts.ENVIRONMENT), run.environment() | {"manifest": manifest or job.ticket.manifest})
    return run


def test_a_plan_is_every_combination_and_all_folds(home):
    found = sweeping.jobs(plan(recipes=["none", "gray"], splits=["64/16/20", "kfold:2"], seeds=[1, 2]))
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
        ({"dataset": "tyni"}, "There is no dataset 'tyni'. Did you mean 'tiny'?"),
    ],
)  # fmt: skip
def test_a_mistake_is_found_before_anything_is_trained(home, changes, line):
    with pytest.raises(LeukoBenchError, match=re.escape(line)):
        sweeping.jobs(plan(**changes))


def test_a_file_says_the_same_in_the_words_of_the_command_line(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text("model: [cnn, resnet18]\nrecipe: none\nseed: [1, 2]\nset:\n  epochs: 5\n  cosine: true\n")
    assert sweep_files.read(path) == {
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
    ],
)  # fmt: skip
def test_a_mistake_in_a_file_is_one_line(tmp_path, text, line):
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    with pytest.raises(LeukoBenchError) as caught:
        sweep_files.read(path)
    assert str(caught.value) == f"{path}: {line}"


def test_what_is_no_yaml_says_so(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text("model: [cnn\nseed: 1\n")
    with pytest.raises(LeukoBenchError) as caught:
        sweep_files.read(path)
    assert str(caught.value) == f"{path} is no readable YAML (line 2). Write lines such as: model: [cnn, resnet18]"


def test_done_is_what_has_the_configuration_and_the_manifest(home, tmp_path):
    (job,) = sweeping.jobs(plan(seeds=[42]))
    run = made(tmp_path, job)
    sweeping.look([job], tmp_path)
    assert (job.state, job.run, job.epoch) == (sweeping.BEFORE, run, 1)
    assert job.accuracy == run.metrics()["test"]["accuracy"]
    run.file(artifacts.METRICS).unlink()
    (job,) = sweeping.jobs(plan(seeds=[42]))
    sweeping.look([job], tmp_path)
    assert (job.state, job.run) == (sweeping.WAITING, run), "half-finished: gone on with"


@pytest.mark.parametrize("change", [{"seed": 43}, {"manifest": "0" * 16}], ids=["seed", "manifest"])
def test_another_seed_or_manifest_is_another_job(home, tmp_path, change):
    (job,) = sweeping.jobs(plan(seeds=[42]))
    made(tmp_path, job, **change)
    sweeping.look([job], tmp_path)
    assert (job.state, job.run) == (sweeping.WAITING, None)


def test_a_lock_goes_with_its_process(tmp_path):
    path = tmp_path / "job.train"
    code = "import sys, time; from pathlib import Path; from utils import lock; held = lock.take(Path(sys.argv[1]))"
    code += "; print(bool(held), flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "True\n"
    assert lock.take(path) is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    held = lock.take(path)
    assert held is not None and lock.take(path) is None
    lock.drop(held)
    assert not path.exists()


def test_a_run_comes_back_whole_from_an_archive(tmp_path):
    sent = fake_run(tmp_path / "worker")
    content = run_archives.pack(sent)
    for _ in range(2):  # the second time in the place of the first
        run_archives.unpack(content, tmp_path / "runs", tmp_path / "runs" / sweeping.FOLDER)
        (run,) = artifacts.find_runs(tmp_path / "runs", finished=True)
        assert {p.name: p.read_bytes() for p in run.path.iterdir() if p.is_file()} == {
            p.name: p.read_bytes() for p in sent.path.iterdir() if p.is_file()
        }
        assert run.manifest_path().is_file()
        assert not any((tmp_path / "runs" / sweeping.FOLDER).iterdir())
