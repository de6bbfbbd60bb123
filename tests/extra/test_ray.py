"""Sweeps on a real Ray cluster of several nodes, with and without shared storage, with a killed worker."""

import os
import shutil
import signal
import time

import psutil
import pytest
from sweep_helpers import command, epochs_done, said, seeds_of, wait_for

from models.engine.sweep import plan as sweep_plan
from utils.runs import run_folder

SEEDS = (1, 2, 3)
EPOCHS = 30
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


@pytest.fixture
def cluster():
    """Yield a function that starts a cluster with nodes of one core and other environments; return its address."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    started = []

    def start(*environments):
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        started.append(made)
        for variables in environments:
            made.add_node(num_cpus=1, env_vars=variables)
        return made.address

    yield start
    for made in started:
        made.shutdown()


def task_processes():
    """Return the processes of workers that have a job."""
    return [
        process for process in psutil.process_iter(["cmdline"]) if "ray::_task" in (process.info["cmdline"] or [""])[0]
    ]


def sweep(root, address, **more):
    return command(root, "--engine", "ray", "--address", address, "--cpus", "1", epochs=EPOCHS, seeds=SEEDS, **more)


def whole(root):
    """Check that every run was finished, once, with all its epochs."""
    assert seeds_of(root) == (list(SEEDS), len(SEEDS))
    for run in run_folder.find_runs(root):
        assert [row["epoch"] for row in run.history()] == list(range(1, EPOCHS + 1))
        assert not run.file(run_folder.STATE).exists() and run.manifest_path().is_file()
        assert run.environment()["threads"] == 1 and run.environment()["git_commit"]


def test_a_killed_worker_loses_nothing_on_shared_storage(home, tmp_path, cluster):
    process = sweep(tmp_path, cluster({}, {}))
    wait_for(lambda: len(epochs_done(tmp_path)) == 2)
    before = epochs_done(tmp_path)
    task_processes()[0].send_signal(signal.SIGKILL)
    code, text = said(process)
    assert code == 0, text
    whole(tmp_path)
    assert all(run.finished for run in before), "unfinished runs were resumed"
    assert text.count(": waiting") == 1 and text.splitlines().count("3 finished.") == 1
    assert not list((tmp_path / sweep_plan.FOLDER).iterdir())


def test_a_killed_worker_loses_little_where_storage_is_not_shared(home, tmp_path, cluster):
    places = []
    for name in ("one", "two"):
        place = tmp_path / name
        shutil.copytree(home / "data" / "raw", place / "data" / "raw")
        places.append({"LEUKOBENCH_DATA": str(place / "data"), "LEUKOBENCH_RUNS": str(place / "runs")})
    root = tmp_path / "runs"
    process = sweep(root, cluster(*places))
    wait_for(lambda: epochs_done(root))  # a state has come back
    brought = list(epochs_done(root))
    task_processes()[0].send_signal(signal.SIGKILL)
    code, text = said(process)
    assert code == 0, text
    whole(root)
    assert all(run.finished for run in brought)
    assert {path.name for path in root.iterdir()} - {".index.sqlite"} == {".sweep", "cnn", "manifests", "reference"}
    for place in places:
        assert all(root not in run.path.parents for run in run_folder.find_runs(place["LEUKOBENCH_RUNS"]))


def test_a_worker_without_the_dataset_reports_it(home, tmp_path, cluster):
    elsewhere = {"LEUKOBENCH_DATA": str(tmp_path / "data"), "LEUKOBENCH_RUNS": str(tmp_path / "own")}
    code, text = said(sweep(tmp_path / "runs", cluster(elsewhere)))
    assert code == 1
    reason = f"has no dataset 'tiny' in {tmp_path / 'data'}. Import it there, or share that folder."
    assert sum(line.startswith("Error: cnn seed ") and reason in line for line in text.splitlines()) == len(SEEDS)


def test_a_missing_cluster_is_reported(home, tmp_path):
    code, text = said(sweep(tmp_path, "127.0.0.1:1"))
    assert code == 1
    last = text.splitlines()[-1]
    assert "'127.0.0.1:1'" in last and "Connection refused" in last and "ray start --head" in last


def test_ctrl_c_ends_a_sweep_that_fits_no_machine(home, tmp_path, cluster):
    process = command(tmp_path, "--engine", "ray", "--address", cluster({}), "--cpus", "64")
    for line in process.stdout:
        if ": queued" in line:
            break
    time.sleep(2)  # its tasks have been handed over
    process.send_signal(signal.SIGINT)
    code, text = said(process, timeout=60)
    assert code == 130 and "Finished epochs are kept." in text
    assert "cnn seed 1: stopped\n" in text and "2 stopped." in text
