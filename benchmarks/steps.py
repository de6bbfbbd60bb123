"""One training step from scratch: what XLA, bfloat16, larger batches and several steps a call give."""

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

import models
from benchmarks.recording import Column, Options, Plot, Result, Series, Sheet, entry, spread
from data import pipeline
from models import runtime

if TYPE_CHECKING:
    import tensorflow as tf

MODEL = "smearnet"
STEPS = 8  # a call of fit
WAYS = {
    "float32": "float32",
    "xla": "float32, XLA",
    "bfloat16": "bfloat16",
    "together": f"float32, {STEPS} steps a call",
}


def measure(options: Options) -> Result:
    """Time `fit` over batches that are ready in memory, every way in turn."""
    runtime.start(42)
    size, repetitions = options.pick(64, 32), options.pick(12, 2)
    rows = []
    for batch in options.pick((16, 32, 64, 128, 256), (16,)):
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
    return Result(
        "One training step",
        f"{MODEL} at {size} px on random pixels, `fit` with Adam over {STEPS} batches that lie in memory, medians of "
        f"{repetitions} repetitions, the ways in turn. The runs of this project use float32 without XLA on processors.",
        [],
        [Sheet("Milliseconds an image", columns, rows)],
        [Plot("Training step against batch", "Images a step (logarithmic)", "Milliseconds an image", lines, "x")],
    )


def _call(way: str, batch: int, size: int) -> Callable[[], object]:
    import keras

    config = models.config_for(MODEL, "fast", [f"image_size={size}"], classes=("a", "b", "c", "d"))
    with runtime.dtype_policy("mixed_bfloat16" if way == "bfloat16" else "float32"):
        model = models.build(config)
    together = STEPS if way == "together" else 1
    loss = "categorical_crossentropy"
    model.compile(keras.optimizers.Adam(1e-3), loss, jit_compile=way == "xla", steps_per_execution=together)
    data = _dataset(batch, size)
    model.fit(data, epochs=1, verbose=0)  # which compiles
    return lambda: model.fit(data, epochs=1, verbose=0)


def _dataset(batch: int, size: int) -> "tf.data.Dataset":
    import tensorflow as tf

    pixels = np.random.default_rng(0).integers(0, 256, (STEPS * batch, size, size, 3)).astype(np.float32)
    labels = np.eye(4, dtype=np.float32)[np.arange(STEPS * batch) % 4]
    return pipeline.untuned(tf.data.Dataset.from_tensor_slices((pixels, labels)).batch(batch).cache().prefetch(2))


if __name__ == "__main__":
    entry("steps", measure)
