"""Helpers for tests of real sweeps: the command on tiny jobs, and its results."""

import subprocess
import sys
import time

from utils.paths import PROJECT
from utils.runs import run_folder

TINY = ("image_size=32", "filters=[4,8,8]", "dense=8", "batch_size=8")


def command(root, *words, epochs=1, seeds=(1, 2), env=None):
    """Start `sweep` on the smallest network and images."""
    settings = [part for each in (*TINY, f"epochs={epochs}", f"patience={epochs}") for part in ("--set", each)]
    settings += [part for seed in seeds for part in ("--seed", str(seed))]
    line = [sys.executable, "run_guide.py", "sweep", "--model", "cnn", "--dataset", "tiny", *settings]
    return subprocess.Popen(
        [*line, "--root", str(root), *words],
        cwd=PROJECT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def said(process, timeout=240):
    """Return exit code and output of a command once it has ended."""
    text, _ = process.communicate(timeout=timeout)
    return process.returncode, text


def wait_for(what, seconds=240):
    """Wait until a function returns something true, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s")


def seeds_of(root):
    """Return the seeds of the finished runs below a root, and how many folders of runs there are."""
    runs = run_folder.find_runs(root)
    return sorted(run.config()["seed"] for run in runs if run.finished), len(runs)


def epochs_done(root):
    """Return the run folders in which an epoch has ended, with their numbers."""
    found = {}
    for run in run_folder.find_runs(root):
        if run.file(run_folder.HISTORY).is_file():
            found[run] = len(run.history())
    return found
