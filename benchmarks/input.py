"""Image input: its share of an epoch, decoding compared with libjpeg-turbo, and memory up to 100,000 images."""

import dataclasses
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

import models
from benchmarks.program import Options, alternate, entry
from benchmarks.results import Claim, Column, Plot, Result, Series, Sheet, Spread, spread
from data import catalog
from data.datasets import image_decoder
from data.loading import tf_loader
from data.loading.augmentation_config import Augmentation
from data.loading.image_set import Images, View
from data.loading.pipeline import loader
from data.splitting import splits
from models.engine.backend import keras_backend
from models.engine.config.base import ModelConfig
from models.engine.layers import backbone
from utils.errors import LeukoBenchError
from utils.paths import PROJECT
from utils.system import environment
from utils.system.environment import usable_cores

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

SHARE, NEAREST, MEMORY, FLAT = 5.0, 80.0, 1500.0, 1.2  # targets: %, %, MB, ratio
# Steps of an epoch (a few seconds on two cores) and repetitions.
BATCHES = {"smearnet": (24, 7), "cnn": (6, 9), "resnet50": (4, 3)}
FROZEN = ["freeze=always", "weights=none", "augmentation.flips=true"]
SETTINGS = {"resnet50": FROZEN}
KINDS = {"memory": "in memory", "files": "decoded each epoch"}
SIZES = (3000, 10_000, 30_000, 100_000)
SIDE = 112  # pixels of a resized image
CACHE_MB, BATCH = 400, 32
CHANGES = Augmentation(flips=True, quarter_turns=True)


def measure(options: Options) -> Result:
    """Measure waiting, decoding and memory on the training images of the default split."""
    keras_backend.start(42)
    dataset = catalog.ensure_dataset(options.dataset)
    split = splits.prepare_split(dataset)
    rows = [row for name in options.pick(tuple(BATCHES), ("smearnet",)) for row in _shares(name, split, options)]
    shares = [
        Claim(f"{what}: {row['model']}, {row['size']} px, images {row['images']}", "%", SHARE, row[key], True, why)
        for row in rows
        for key, what, why in (
            ("waiting", "Share of an epoch spent waiting for input", ""),
            (
                "share",
                "Share of an epoch used by input",
                f"input alone takes {row['alone']:.0f} ms a batch, a training step {row['step']:.0f} ms; both use the "
                "processor's cores, so decoding is never free",
            ),
        )
    ]
    with _linked(split, options.pick(9000, 60)) as folder:
        rates = [_rates(folder, split.manifest.classes, size, options.pick(7, 2)) for size in (0, SIDE)]
        memory_mb = {size: _epoch_memory(folder, size) for size in options.pick(SIZES, (60, 120))}
    decoded = [
        Claim(
            f"Images a second decoded, {row['to']}, in % of libjpeg-turbo alone",
            "%",
            NEAREST,
            row["ratio"],
            why="libjpeg-turbo alone neither resizes nor returns a batch",
        )
        for row in rates
    ]
    first, last = min(memory_mb), max(memory_mb)
    most = max(memory_mb.values())
    memory = [
        Claim(f"Peak memory of a training process, {first:,} to {last:,} images", "MB", MEMORY, spread([most]), True),
        Claim(
            f"Peak memory, the highest of {first:,} to {last:,} images / with {first:,}",
            "x",
            FLAT,
            spread([most / memory_mb[first]]),
            True,
            why=f"the highest, {most:.0f} MB, is reached where the images just fit into cache_mb",
        ),
    ]
    return Result(
        "Input",
        f"The training images of {dataset}, split {splits.DEFAULT}, seed 42, random weights. Waiting: the "
        "time until the next batch is available (TensorFlow's profiler calls it input-bound), including the set-up of "
        "the epoch's input. Used by input: the time of an epoch with the real input that is saved when the same number "
        "of steps repeats one batch in memory; both are timed in turn. Decoding: the training loader over links to the "
        f"training images as JPEG, compared with libjpeg-turbo (simplejpeg) in {usable_cores()} threads. Memory: one "
        f"epoch of a one-layer model at {SIDE} px, cache_mb={CACHE_MB}, over links to images, each number of images "
        "in a process of its own; TensorFlow's own memory is included.",
        [*shares, *decoded, *memory],
        [
            Sheet("Input's share of an epoch", SHARE_COLUMNS, [_flat(_flat(row, "share"), "waiting") for row in rows]),
            Sheet("Decoding", RATE_COLUMNS, [_flat(row, "ratio") for row in rates]),
            Sheet(
                "Memory",
                (Column("images", "Images", 0), Column("mb", "Peak memory, MB", 0)),
                [{"images": size, "mb": mb} for size, mb in memory_mb.items()],
            ),
        ],
        [
            Plot(
                "Memory of one epoch",
                "Images",
                "Peak memory (MB)",
                [Series(f"cache_mb={CACHE_MB}", list(memory_mb), list(memory_mb.values()))],
                "x",
                asked=MEMORY,
            )
        ],
    )


SHARE_COLUMNS = (
    Column("model", "Model"),
    Column("size", "px", 0),
    Column("images", "Images"),
    Column("step", "Step, ms", 1),
    Column("alone", "Input alone, ms a batch", 1),
    Column("waiting", "Waiting, %", 1),
    Column("share", "Used by input, %", 1),
)
RATE_COLUMNS = (
    Column("to", "To"),
    Column("ours", "Images a second", 0),
    Column("limit", "libjpeg-turbo alone", 0),
    Column("ratio", "%", 0),
)


def _flat(row: dict[str, object], key: str) -> dict[str, object]:
    return row | {key: row[key].median}


def _shares(name: str, split: splits.SplitFolder, options: Options) -> list[dict[str, object]]:
    """Return the times of steps and input, for images in memory and for images decoded in each epoch."""
    import tensorflow as tf

    config = models.config_for(name, settings=SETTINGS.get(name, []), classes=split.manifest.classes)
    trained = _compiled(config)
    batch, size = config.batch_size, config.image_size
    steps, repetitions = options.pick(BATCHES[name], (2, 1))
    images = loader().read(split.path, "train", config.classes, size, 10**10)
    some = images if len(images) <= batch * steps else _first(images, batch * steps)
    steps = -(-len(some) // batch)
    kinds = {"memory": some, "files": dataclasses.replace(some, pixels=None)}
    ready = next(iter(loader().training_batches(some, batch, View(config.augmentation, 42, 1))))

    def epoch(source: Images) -> "tf.data.Dataset":
        return loader().training_batches(source, batch, View(config.augmentation, 42, 1))

    def fit(batches: "tf.data.Dataset") -> None:
        trained.fit(batches, epochs=1, verbose=0, shuffle=False)

    def steps_alone() -> None:
        fit(tf_loader.without_autotuning(tf.data.Dataset.from_tensors(ready).repeat(steps)))

    whole: dict[str, list[float]] = {kind: [] for kind in kinds}

    def waiting(kind: str) -> float:
        start = perf_counter()
        batches = iter(epoch(kinds[kind]))
        waited = perf_counter() - start  # training cannot start before the input exists
        for _ in range(steps):
            asked = perf_counter()
            batch = next(batches)
            waited += perf_counter() - asked
            trained.train_on_batch(*batch)
        whole[kind].append(perf_counter() - start)
        return waited

    ways = {
        "steps": steps_alone,
        **{kind: lambda source=source: fit(epoch(source)) for kind, source in kinds.items()},
        **{f"{kind} alone": lambda source=source: _drain(epoch(source)) for kind, source in kinds.items()},
        **{f"{kind} waiting": lambda kind=kind: waiting(kind) for kind in kinds},
    }
    for way in ways.values():
        way()  # compiles, and fills the disk cache
    seconds = alternate(ways, repetitions)
    rows = []
    for kind, label in KINDS.items():
        shares = [100 * (1 - step / total) for step, total in zip(seconds["steps"], seconds[kind], strict=True)]
        alone = 1000 * spread(seconds[f"{kind} alone"]).median / steps
        step = 1000 * spread(seconds["steps"]).median / steps
        found = {"model": name, "size": size, "images": label, "share": spread(shares), "alone": alone, "step": step}
        waited = zip(seconds[f"{kind} waiting"], whole[kind][1:], strict=True)  # the first call compiled
        rows.append(found | {"waiting": spread([100 * part / total for part, total in waited])})
    return rows


def _first(images: Images, count: int) -> Images:
    """Return `count` images at equal distances."""
    chosen = np.linspace(0, len(images) - 1, count).astype(int)
    names, paths = [images.names[k] for k in chosen], [images.paths[k] for k in chosen]
    pixels = images.pixels[chosen]
    return dataclasses.replace(images, names=names, paths=paths, labels=images.labels[chosen], pixels=pixels)


def _drain(batches: "tf.data.Dataset") -> None:
    for _ in batches:
        pass


def _compiled(config: ModelConfig) -> "keras.Model":
    """Return the model as the first phase of its training compiles it."""
    import keras

    model = models.build(config)
    phase = config.phases()[0]
    backbone.prepare_phase(model, phase, config.weights != "none")
    trained = backbone.with_frozen_base(model) if phase.base_frozen else model
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=config.label_smoothing)
    trained.compile(keras.optimizers.Adam(phase.learning_rate), loss, metrics=["accuracy"])
    return trained


@contextmanager
def _linked(split: splits.SplitFolder, count: int) -> Iterator[Path]:
    """Yield a folder whose train/<Class>/ holds `count` links to the training images, as JPEG."""
    with tempfile.TemporaryDirectory(prefix=".input-", dir=split.path.parent) as place:
        sources = []
        for row in split.manifest.subset("train"):
            path = split.path / "train" / row.image
            if image_decoder.open_picture(path).format != "JPEG":
                path = Path(place, "jpeg", row.image).with_suffix(".jpg")
                path.parent.mkdir(parents=True, exist_ok=True)
                image_decoder.open_rgb(split.path / "train" / row.image).save(path, quality=90)
            sources.append((row.label, path))
        _link(sources, count, Path(place, "links", "train"))
        yield Path(place, "links")


def _rates(folder: Path, classes: Sequence[str], size: int, repetitions: int) -> dict[str, object]:
    """Return images a second of the loader and of libjpeg-turbo; size 0 keeps the images' own size."""
    import simplejpeg

    paths = [str(path) for path in sorted((folder / "train").glob("*/*"))]
    own = loader().open(Path(paths[0])).shape[0]

    def limit() -> None:
        with ThreadPoolExecutor(usable_cores()) as pool:
            for start in range(0, len(paths), 1000):
                list(pool.map(alone, paths[start : start + 1000]))

    def alone(path: str) -> None:
        with open(path, "rb") as handle:
            simplejpeg.decode_jpeg(handle.read(), "RGB", fastdct=True)  # the transform that TensorFlow uses

    def ours() -> None:
        loader().read(folder, "train", classes, size or own, 10**10)

    ours()
    seconds = alternate({"libjpeg-turbo alone": limit, "training loader": ours}, repetitions)
    fast, slow = seconds["libjpeg-turbo alone"], seconds["training loader"]
    ratio: Spread = spread([100 * one / other for one, other in zip(fast, slow, strict=True)])
    to = f"resized to {size} px" if size else f"{own} px, their own size"
    rates = {"ours": len(paths) / spread(slow).median, "limit": len(paths) / spread(fast).median}
    return {"to": to, "ratio": ratio} | rates


def _link(sources: Sequence[tuple[str, Path]], count: int, folder: Path) -> None:
    """Write <folder>/<Class>/ with `count` hard links to files; `sources` holds (class, file)."""
    for label in {label for label, _ in sources}:
        (folder / label).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        label, source = sources[number % len(sources)]
        os.link(source, folder / label / f"{number:06d}{source.suffix}")


def _epoch_memory(folder: Path, count: int) -> float:
    """Train one epoch over `count` links to the files below <folder>/train in a process of its own.

    Returns:
        Peak resident memory of the process in MB.

    Raises:
        LeukoBenchError: the process failed.
    """
    place = folder.with_name(f"links-{count}")
    found = sorted((folder / "train").glob("*/*"))
    _link([(path.parent.name, path) for path in found], count, place / "train")
    command = [
        sys.executable,
        "-c",
        f"from benchmarks.input import print_epoch_memory; print_epoch_memory({str(place)!r})",
    ]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LeukoBenchError(f"An epoch over {count} images failed: {done.stderr.strip()[-300:]}")
    return float(done.stdout.splitlines()[-1])


def print_epoch_memory(folder: str) -> None:
    """Train one epoch over a folder's train/ and print the peak memory in MB."""
    keras_backend.start(42)
    import keras

    classes = sorted(place.name for place in Path(folder, "train").iterdir())
    images = loader().read(Path(folder), "train", classes, SIDE, CACHE_MB * 1_000_000)
    layers = [keras.Input((SIDE, SIDE, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(len(classes))]
    model = keras.Sequential(layers)
    model.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True))
    model.fit(loader().training_batches(images, BATCH, View(CHANGES, 42, 1)), epochs=1, verbose=0)
    print(environment.peak_memory_mb())


if __name__ == "__main__":
    entry("input", measure)
