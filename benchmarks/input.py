"""Whether input holds training back: its share of an epoch, decoding beside libjpeg-turbo alone, memory to 100,000."""

import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

import models
from benchmarks import input_memory
from benchmarks.recording import Claim, Column, Options, Plot, Result, Series, Sheet, Spread, alternate, entry, spread
from data import catalog
from data.datasets import image_decoder
from data.loading import tf_loader
from data.loading.tf_loader import Images
from data.splitting import splits
from models.engine.backend import keras_backend
from models.engine.config.base import ModelConfig
from models.engine.layers import backbone
from utils.system.environment import usable_cores

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

SHARE, NEAREST, MEMORY, FLAT = 5.0, 80.0, 1500.0, 1.2  # what was asked: %, %, MB, times
# Steps of an epoch, for some seconds on two cores, and repetitions.
BATCHES = {"smearnet": (24, 7), "cnn": (6, 9), "resnet50": (4, 3)}
FROZEN = ["freeze=always", "weights=none", "augmentation.flips=true"]
SETTINGS = {"resnet50": FROZEN}
KINDS = {"memory": "in memory", "files": "decoded each epoch"}
SIZES = (3000, 10_000, 30_000, 100_000)
SIDE = 112  # pixels of a decoded image, where it is resized


def measure(options: Options) -> Result:
    """Measure shares, decoding and memory, on the training images of the usual split."""
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
                "share", "Share of an epoch that goes into input",
                f"a batch is ready in {row['alone']:.0f} ms where nothing else runs, a step takes {row['step']:.0f} "
                "ms; both share the processor's cores, so that no decoding is free there",
            ),
        )
    ]  # fmt: skip
    with _linked(split, options.pick(9000, 60)) as folder:
        rates = [_rates(folder, split.manifest.classes, size, options.pick(7, 2)) for size in (0, SIDE)]
        held = {size: input_memory.run(folder, size) for size in options.pick(SIZES, (60, 120))}
    decoded = [
        Claim(
            f"Images a second decoded, {row['to']}, in % of libjpeg-turbo alone", "%", NEAREST, row["ratio"],
            why="libjpeg-turbo alone neither resizes nor hands its pixels on",
        )
        for row in rates
    ]  # fmt: skip
    first, last = min(held), max(held)
    most = max(held.values())
    memory = [
        Claim(f"Peak memory of a training process, {first:,} to {last:,} images", "MB", MEMORY, spread([most]), True),
        Claim(
            f"Peak memory, the highest of {first:,} to {last:,} images / with {first:,}",
            "x",
            FLAT,
            spread([most / held[first]]),
            True,
            why=f"the highest, {most:.0f} MB, is where the images just fit into cache_mb",
        ),
    ]
    return Result(
        "Input",
        f"The training images of {dataset}, split {splits.DEFAULT}, seed 42, random weights. Waiting: the "
        "time until the next batch is there, which TensorFlow's profiler calls input-bound, that in which the epoch's "
        "input is made included. What goes into input: an "
        "epoch over the real input, beside as many steps over one batch that lies in memory, alternating; what the "
        "second saves. Decoding: `data.pipeline.read` over links to the training images as JPEG, beside "
        f"libjpeg-turbo (simplejpeg) decoding the same files in {usable_cores()} threads, nothing else. Memory: one "
        f"epoch of a model of one layer at {SIDE} px, cache_mb={input_memory.CACHE_MB}, over links, each size in a "
        "process of its own; it includes TensorFlow.",
        [*shares, *decoded, *memory],
        [
            Sheet("Input's share of an epoch", SHARE_COLUMNS, [_flat(_flat(row, "share"), "waiting") for row in rows]),
            Sheet("Decoding", RATE_COLUMNS, [_flat(row, "ratio") for row in rates]),
            Sheet(
                "Memory", (Column("images", "Images", 0), Column("mb", "Peak memory, MB", 0)),
                [{"images": size, "mb": mb} for size, mb in held.items()],
            ),
        ],
        [Plot("Memory of one epoch", "Images", "Peak memory (MB)",
              [Series(f"cache_mb={input_memory.CACHE_MB}", list(held), list(held.values()))], "x", asked=MEMORY)],
    )  # fmt: skip


SHARE_COLUMNS = (
    Column("model", "Model"), Column("size", "px", 0), Column("images", "Images"), Column("step", "Step, ms", 1),
    Column("alone", "Input alone, ms a batch", 1), Column("waiting", "Waiting, %", 1),
    Column("share", "Into input, %", 1),
)  # fmt: skip
RATE_COLUMNS = (
    Column("to", "To"), Column("ours", "Images a second", 0), Column("limit", "libjpeg-turbo alone", 0),
    Column("ratio", "%", 0),
)  # fmt: skip


def _flat(row: dict[str, object], key: str) -> dict[str, object]:
    return row | {key: row[key].median}


def _shares(name: str, split: splits.SplitFolder, options: Options) -> list[dict[str, object]]:
    """Return how long steps and input take of an epoch, for images in memory and for images decoded each time."""
    import tensorflow as tf

    config = models.config_for(name, settings=SETTINGS.get(name, []), classes=split.manifest.classes)
    trained = _compiled(config)
    batch, size = config.batch_size, config.image_size
    steps, repetitions = options.pick(BATCHES[name], (2, 1))
    held = tf_loader.read(split.path, "train", config.classes, size, 10**10)
    some = held if len(held) <= batch * steps else _first(held, batch * steps)
    steps = -(-len(some) // batch)
    kinds = {"memory": some, "files": dataclasses.replace(some, pixels=None)}
    ready = next(iter(tf_loader.training_batches(some, batch, config.augmentation, 42, 1)))

    def epoch(source: Images) -> "tf.data.Dataset":
        return tf_loader.training_batches(source, batch, config.augmentation, 42, 1)

    def fit(batches: "tf.data.Dataset") -> None:
        trained.fit(batches, epochs=1, verbose=0, shuffle=False)

    def steps_alone() -> None:
        fit(tf_loader.untuned(tf.data.Dataset.from_tensors(ready).repeat(steps)))

    whole: dict[str, list[float]] = {kind: [] for kind in kinds}

    def waiting(kind: str) -> float:
        start = perf_counter()
        batches = iter(epoch(kinds[kind]))
        waited = perf_counter() - start  # nothing trains before it is made
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
        way()  # compiles, and brings the files into the system's cache
    seconds = alternate(ways, repetitions)
    rows = []
    for kind, words in KINDS.items():
        shares = [100 * (1 - step / all_of_it) for step, all_of_it in zip(seconds["steps"], seconds[kind], strict=True)]
        alone = 1000 * spread(seconds[f"{kind} alone"]).median / steps
        step = 1000 * spread(seconds["steps"]).median / steps
        found = {"model": name, "size": size, "images": words, "share": spread(shares), "alone": alone, "step": step}
        waited = zip(seconds[f"{kind} waiting"], whole[kind][1:], strict=True)  # the first one compiled
        rows.append(found | {"waiting": spread([100 * part / all_of_it for part, all_of_it in waited])})
    return rows


def _first(held: Images, count: int) -> Images:
    """Return every k-th image, `count` in all."""
    chosen = np.linspace(0, len(held) - 1, count).astype(int)
    names, paths = [held.names[k] for k in chosen], [held.paths[k] for k in chosen]
    pixels = held.pixels[chosen]
    return dataclasses.replace(held, names=names, paths=paths, labels=held.labels[chosen], pixels=pixels)


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
        input_memory.link(sources, count, Path(place, "links", "train"))
        yield Path(place, "links")


def _rates(folder: Path, classes: Sequence[str], size: int, repetitions: int) -> dict[str, object]:
    """Return images a second of the pipeline and of libjpeg-turbo; at their own size for a size of 0."""
    import simplejpeg

    paths = [str(path) for path in sorted((folder / "train").glob("*/*"))]
    own = tf_loader.opened(Path(paths[0])).shape[0]

    def limit() -> None:
        with ThreadPoolExecutor(usable_cores()) as pool:
            for start in range(0, len(paths), 1000):
                list(pool.map(alone, paths[start : start + 1000]))

    def alone(path: str) -> None:
        with open(path, "rb") as handle:
            simplejpeg.decode_jpeg(handle.read(), "RGB", fastdct=True)  # the transform that TensorFlow takes

    def ours() -> None:
        tf_loader.read(folder, "train", classes, size or own, 10**10)

    ours()
    seconds = alternate({"libjpeg-turbo alone": limit, "data.pipeline.read": ours}, repetitions)
    fast, slow = seconds["libjpeg-turbo alone"], seconds["data.pipeline.read"]
    ratio: Spread = spread([100 * one / other for one, other in zip(fast, slow, strict=True)])
    to = f"resized to {size} px" if size else f"{own} px, their own size"
    rates = {"ours": len(paths) / spread(slow).median, "limit": len(paths) / spread(fast).median}
    return {"to": to, "ratio": ratio} | rates


if __name__ == "__main__":
    entry("input", measure)
