"""Real sweeps on this machine: parallel jobs, Ctrl-C, SIGKILL, and two sweeps at once."""

import os
import re
import signal

from fake_runs import fake_run
from sweep_helpers import TINY, command, epochs_done, said, seeds_of, wait_for

from models.engine.sweep import plan as sweep_plan
from models.engine.sweep.plan import Plan
from utils.io import files
from utils.runs import run_folder


def test_two_parallel_jobs_are_trained_once(home, tmp_path):
    code, text = said(command(tmp_path, "--jobs", "2", "--tensorboard"))
    assert code == 0, text
    assert all(list(run.path.rglob("events.out.tfevents.*")) for run in run_folder.find_runs(tmp_path))
    assert seeds_of(tmp_path) == ([1, 2], 2)
    threads = {run.environment()["threads"] for run in run_folder.find_runs(tmp_path)}
    assert threads == {max(1, len(os.sched_getaffinity(0)) // 2)}
    assert re.search(r"^cnn seed 1: finished, epoch 1/1, [\d.]+ %$", text, re.MULTILINE)
    assert not list((tmp_path / sweep_plan.FOLDER).iterdir())
    code, text = said(command(tmp_path, "--jobs", "2"))
    assert code == 0 and "2 jobs: 2 already finished, 0 to train" in text
    assert seeds_of(tmp_path) == ([1, 2], 2)


def test_resume_after_ctrl_c_and_sigkill(home, tmp_path):
    epochs = 60
    first = command(tmp_path, "--jobs", "1", epochs=epochs)
    wait_for(lambda: epochs_done(tmp_path))
    first.send_signal(signal.SIGINT)
    code, text = said(first)
    assert code == 130 and "Finished epochs are kept." in text
    ((run, before),) = epochs_done(tmp_path).items()
    assert 0 < before < epochs and not run.finished

    second = command(tmp_path, "--jobs", "1", epochs=epochs)
    wait_for(lambda: epochs_done(tmp_path).get(run, 0) > before)
    second.send_signal(signal.SIGKILL)  # its job ends too and releases its locks
    second.wait()
    kept = epochs_done(tmp_path)[run]

    both = [command(tmp_path, "--jobs", "1", epochs=epochs) for _ in range(2)]  # each job belongs to one sweep
    for code, text in map(said, both):
        assert code == 0, text
    assert seeds_of(tmp_path) == ([1, 2], 2)
    assert run.finished and len(run.history()) == epochs > kept


def test_a_failed_job_reports_its_error_and_others_continue(home, tmp_path):
    code, text = said(command(tmp_path, "--dry-run", seeds=(1,)))
    assert code == 0 and "1 to train" in text
    (job,) = sweep_plan.jobs(Plan(["cnn"], seeds=[1], settings=[*TINY, "epochs=1", "patience=1"], dataset="tiny"))
    run = fake_run(tmp_path, "cnn", dataset="tiny", seed=1, settings=[*TINY, "epochs=1", "patience=1"], finished=False)
    files.write_json(run.file(run_folder.ENVIRONMENT), run.environment() | {"manifest": job.spec.manifest})
    run.file(run_folder.HISTORY).write_text("epoch,phase\n")
    code, text = said(command(tmp_path))
    assert code == 1
    reason = f"{run.file(run_folder.HISTORY)} has columns epoch, phase; it needs"
    assert f"\nError: cnn seed 1: {reason}" in text
    assert "1 failed, 1 finished." in text
    assert seeds_of(tmp_path) == ([2], 2)
    assert [path.suffix for path in (tmp_path / sweep_plan.FOLDER).iterdir()] == [".log"]
