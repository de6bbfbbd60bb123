"""Trainings of a tiny cnn on tiny smears: its options, and what a test asks about its run."""

import time

from utils.runs import run_folder

TINY = ("--dataset", "tiny", "--set", "image_size=32", "--set", "filters=[4,8,8]", "--set", "dense=8")
RUN_FILES = {
    *("config.json", "environment.json", "history.csv", "model.weights.h5", "architecture.json"),
    *("predictions.csv", "timing.json", "metrics.json"),
}


def only_run(root):
    (run,) = run_folder.find_runs(root)
    return run


def wait_for_an_epoch(process, root, seconds=120):
    """Wait until a training process has stored its first epoch below a root."""
    end = time.monotonic() + seconds
    while not list(root.glob("cnn/*/history.csv")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"no epoch within {seconds} s"
        time.sleep(0.02)
