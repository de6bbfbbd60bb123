"""Trainings of a tiny cnn on tiny smears: options, run folder, waiting; batches as text for another process."""

import json
import time

import numpy as np

from data.loading.augmentation_config import Augmentation, Intervention
from data.loading.image_set import View
from data.loading.pipeline import loader
from utils.runs import run_folder

TINY = ("--dataset", "tiny", "--set", "image_size=32", "--set", "filters=[4,8,8]", "--set", "dense=8")


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


def epoch_as_json(images):
    """Two epochs of strongly changed batches, as text between processes."""
    light = {"brightness": 0.2, "contrast": 0.3, "colour": 0.3}
    strong = Augmentation(flips=True, quarter_turns=True, rotation=20, zoom=0.2, shift=0.1, **light)
    turned = Augmentation(flips=True, quarter_turns=True)
    swap = Intervention(stain_swap=0.5, erasing=0.5)
    material = loader().material(images, swap)
    said = {"names": images.names, "labels": [int(k) for k in images.labels]}
    for name, changes in {
        "strong": (strong, 3, 2),
        "turned": (turned, 3, 1),
        "swap": (turned, 3, 1, swap, material),
    }.items():
        batches = list(loader().training_batches(images, 5, View(*changes)))
        said[name] = np.concatenate([np.asarray(x) for x, _ in batches]).round(3).tolist()
        said[f"{name} labels"] = np.concatenate([np.asarray(y) for _, y in batches]).tolist()
        said[f"{name} sizes"] = [len(x) for x, _ in batches]
    said["fixed"] = np.concatenate([np.asarray(x) for x, _ in loader().fixed_batches(images, 4)]).tolist()
    return json.dumps(said)
