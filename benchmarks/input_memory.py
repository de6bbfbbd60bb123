"""The memory of one training process over a number of images, which are links to a few thousand files."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from data.loading import tf_loader
from data.loading.augmentation_config import Augmentation
from models.engine.backend import keras_backend
from utils.errors import LeukoBenchError
from utils.paths import PROJECT
from utils.system import environment

CACHE_MB = 400  # as configurations have it
SIDE, BATCH = 112, 32
CHANGES = Augmentation(flips=True, quarter_turns=True)


def link(sources: Sequence[tuple[str, Path]], count: int, folder: Path) -> None:
    """Write <folder>/<Class>/ with `count` hard links to files, given with their classes."""
    for label in {label for label, _ in sources}:
        (folder / label).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        label, source = sources[number % len(sources)]
        os.link(source, folder / label / f"{number:06d}{source.suffix}")


def run(folder: Path, count: int) -> float:
    """Train one epoch over `count` links to the files below <folder>/train in a process of its own.

    Returns:
        Its peak of resident memory in MB.

    Raises:
        LeukoBenchError: it failed.
    """
    place = folder.with_name(f"links-{count}")
    found = sorted((folder / "train").glob("*/*"))
    link([(path.parent.name, path) for path in found], count, place / "train")
    command = [sys.executable, "-c", f"from benchmarks import input_memory; input_memory.main({str(place)!r})"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LeukoBenchError(f"An epoch over {count} images failed: {done.stderr.strip()[-300:]}")
    return float(done.stdout.splitlines()[-1])


def main(folder: str) -> None:
    """Train one epoch over a folder's train/ and print the peak memory in MB."""
    keras_backend.start(42)
    import keras

    classes = sorted(place.name for place in Path(folder, "train").iterdir())
    images = tf_loader.read(Path(folder), "train", classes, SIDE, CACHE_MB * 1_000_000)
    layers = [keras.Input((SIDE, SIDE, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(len(classes))]
    model = keras.Sequential(layers)
    model.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True))
    model.fit(tf_loader.training_batches(images, BATCH, CHANGES, 42, 1), epochs=1, verbose=0)
    print(environment.peak_memory_mb())
