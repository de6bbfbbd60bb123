"""One training step: what XLA, bfloat16, larger batches and several steps a call give, and how image size counts."""

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

import models
from benchmarks.recording import Column, Options, Plot, Result, Series, Sheet, entry, spread
from data.loading import tf_loader
from models.engine.backend import keras_backend
from utils.system import timing

if TYPE_CHECKING:
    import tensorflow as tf

MODEL, SIZED = "smearnet", ("smearnet", "cnn", "resnet18")
SIZES, BATCH = (48, 64, 96, 128, 160, 224), 32
STEPS = 8  # a call of fit
WAYS = {
    "float32": "float32",
    "xla": "float32, XLA",
    "bfloat16": "bfloat16",
    "together": f"float32, {STEPS} steps a call",
}


def measure(options: Options) -> Result:
    """Time `fit` over batches that are ready in memory, every way in turn."""
    with (
        keras_backend.stderr_of_libraries_closed()
    ):  # not `runtime.start`: Keras has no XLA where results shall be repeatable
        import tensorflow as tf

        tf.config.list_physical_devices()
    size, repetitions = options.pick(64, 32), options.pick(6, 2)
    rows = []
    for batch in options.pick((16, 32, 64, 128), (16,)):
        calls = {name: _call(name, batch, size) for name in WAYS}
        seconds: dict[str, list[float]] = {name: [] for name in WAYS}
        for _ in range(repetitions):
            for name, call in calls.items():
                start = perf_counter()
                call()
                seconds[name].append(1000 * (perf_counter() - start) / (STEPS * batch))
        rows.append({"batch": batch} | {name: spread(values).median for name, values in seconds.items()})
    columns = [Column("batch", "Batch", 0), *(Column(name, heading, 3) for name, heading in WAYS.items())]
    batches = [row["batch"] for row in rows]
    lines = [Series(heading, batches, [row[name] for row in rows]) for name, heading in WAYS.items()]
    sizes = options.pick(SIZES, SIZES[:2])
    sized = [_sized(name, side, repetitions) for name in options.pick(SIZED, SIZED[:1]) for side in sizes]
    return Result(
        "One training step",
        f"{MODEL} at {size} px on random pixels, `fit` with Adam over {STEPS} batches that lie in memory, medians of "
        f"{repetitions} repetitions, the ways in turn. Runs of this project are repeatable, which rules XLA out; "
        f"this is not. By image size: batch {BATCH}, float32, training by `fit` and answers by `predict_on_batch`.",
        [],
        [
            Sheet("Milliseconds an image", columns, rows),
            Sheet("Milliseconds an image, by image size", SIZE_COLUMNS, sized),
        ],
        [
            Plot("Training step against batch", "Images a step (logarithmic)", "Milliseconds an image", lines, "x"),
            *(
                Plot(title, "Side of an image, pixels", "Milliseconds an image (logarithmic)", _lines(sized, key), "y")
                for key, title in (("train", "Training against image size"), ("answer", "Answers against image size"))
            ),
        ],
    )


SIZE_COLUMNS = (
    Column("model", "Model"), Column("side", "Pixels", 0),
    Column("train", "Training", 3), Column("answer", "Answer", 3),
)  # fmt: skip


def _lines(rows: list[dict[str, Any]], key: str) -> list[Series]:
    names = dict.fromkeys(row["model"] for row in rows)
    held = {name: [row for row in rows if row["model"] == name] for name in names}
    return [Series(name, [row["side"] for row in own], [row[key] for row in own]) for name, own in held.items()]


def _sized(name: str, side: int, repetitions: int) -> dict[str, Any]:
    import keras

    settings = {"weights": "none", "classes": ("a", "b", "c", "d"), "image_size": side}
    model = models.build(models.config_for(name, **settings))
    model.compile(keras.optimizers.Adam(1e-3), "categorical_crossentropy")
    data = _dataset(BATCH, side).take(2)
    pixels = next(iter(data))[0].numpy()
    calls = {
        "train": (lambda: model.fit(data, epochs=1, verbose=0, shuffle=False), 2 * BATCH),
        "answer": (lambda: model.predict_on_batch(pixels), BATCH),
    }
    found: dict[str, Any] = {"model": name, "side": side}
    for key, (call, images) in calls.items():
        call()
        found[key] = 1000 * timing.percentile(timing.repeat(call, 1, max(2, repetitions // 2)), 0.5) / images
    keras.utils.clear_session()
    return found


def _call(way: str, batch: int, size: int) -> Callable[[], object]:
    import keras

    config = models.config_for(MODEL, "fast", [f"image_size={size}"], classes=("a", "b", "c", "d"))
    with keras_backend.dtype_policy("mixed_bfloat16" if way == "bfloat16" else "float32"):
        model = models.build(config)
    together = STEPS if way == "together" else 1
    loss = "categorical_crossentropy"
    model.compile(keras.optimizers.Adam(1e-3), loss, jit_compile=way == "xla", steps_per_execution=together)
    data = _dataset(batch, size)
    model.fit(data, epochs=1, verbose=0, shuffle=False)  # which compiles
    return lambda: model.fit(data, epochs=1, verbose=0, shuffle=False)


def _dataset(batch: int, size: int) -> "tf.data.Dataset":
    import tensorflow as tf

    pixels = np.random.default_rng(0).integers(0, 256, (STEPS * batch, size, size, 3)).astype(np.float32)
    labels = np.eye(4, dtype=np.float32)[np.arange(STEPS * batch) % 4]
    return tf_loader.untuned(tf.data.Dataset.from_tensor_slices((pixels, labels)).batch(batch).cache().prefetch(2))


if __name__ == "__main__":
    entry("steps", measure)
