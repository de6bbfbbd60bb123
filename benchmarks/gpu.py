"""Every model on this device: images a second, float32 beside half precision, share of the device's peak, input.

Runs with TensorFlow or, where TensorFlow is not installed, with KERAS_BACKEND=jax. Needs of requirements.txt: numpy,
keras, pydantic, typer, rich, pillow, psutil, pandas, scikit-learn, matplotlib, opencv-python-headless, and jax, beside
keras-hub for the models that are made of it (left out with a note where it is missing), and simplejpeg for JPEGs.
On a GPU it ends within eight minutes: what does not fit into that is said. KERAS_BACKEND=jax python -m benchmarks.gpu
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

import models
from benchmarks import device_load
from benchmarks.recording import Claim, Column, Options, Plot, Result, Series, Sheet, Spread, entry, spread
from data import all_dataset
from data.loading import tf_loader
from models.engine.backend import keras_backend
from models.engine.evaluation import efficiency
from models.engine.training import progress_bar
from utils import console
from utils.errors import LeukoBenchError
from utils.runs.run_folder import APPLICATION

if TYPE_CHECKING:
    import keras

    from data.loading.tf_loader import Images
    from models.engine.config.base import ModelConfig

BUDGET = 360  # seconds after which nothing further is begun; the slowest takes less than is left of eight minutes
ASKED_SECONDS, ASKED_WAITING = 480, 5
BACKWARD = 2  # forward passes that a backward pass costs, as is usual to count
SECONDS = 1.5  # that a measurement shall take


@dataclass(frozen=True)
class Scale:
    """How large all is: images a step and an epoch, side of matrices, repetitions, side of images (0: their own)."""

    batch: int
    images: int
    matrix: int
    repetitions: int
    side: int = 0


def measure(options: Options) -> Result:
    """Train and run every model on batches that lie on the device, then one epoch through the program's own input."""
    keras_backend.start(42)
    begun, device = perf_counter(), keras_backend.device_name()
    half = "mixed_bfloat16" if device == "CPU" else keras_backend.resolve_precision("auto")
    train = round(0.64 * sum(all_dataset.PUBLISHED.values()))
    scale = Scale(8, 64, 1024, 3, 64) if device == "CPU" else Scale(128, train, 8192, 3)
    scale = options.pick(scale, Scale(4, 16, 256, 1, 64))
    policies = list(dict.fromkeys(("float32", half)))
    peaks = {policy: device_load.peak(policy, scale.matrix) for policy in policies}
    rows, notes = [], []
    for name in _names(options):
        for policy in policies:
            if perf_counter() - begun > BUDGET:
                notes.append(f"{name} with {policy} was not begun: the others had taken the time.")
                break
            try:
                rows.append(_row(name, policy, peaks[policy], scale, options))
            except Exception as problem:
                if not (isinstance(problem, ImportError | LeukoBenchError) or keras_backend.ran_out(problem)):
                    raise
                notes.append(f"{name} with {policy} was left out: {' '.join(str(problem).split())[:160]}")
                break
            console.say("  {model}, {policy}: {train:.0f} images/s learning, {infer:.0f} images/s".format(**rows[-1]))
    return _result(rows, notes, peaks, perf_counter() - begun, device, options)


def _names(options: Options) -> list[str]:
    """Return the models, those of small images first; only two of them where it shall be quick."""
    sizes = {name: models.config_for(name).image_size for name in models.names()}
    ordered = sorted(sizes, key=sizes.get)
    return [*options.pick(ordered, ordered[:2]), f"{APPLICATION}MobileNetV3Small"]


def _row(name: str, policy: str, peak: Spread, scale: Scale, options: Options) -> dict[str, Any]:
    import keras

    settings = {"weights": "none", "classes": device_load.LABELS} | ({"image_size": scale.side} if scale.side else {})
    config = models.config_for(name, **settings)
    with keras_backend.dtype_policy(policy):
        model = models.build(config)
    model.compile(keras.optimizers.Adam(1e-4), "categorical_crossentropy", metrics=["accuracy"])
    images = device_load.images(config, scale.images, scale.batch, options)
    batch = [np.asarray(part) for part in next(iter(tf_loader.fixed_batches(images, scale.batch)))]
    learning = _rate(
        lambda steps: model.fit(device_load.same(batch, steps), steps_per_epoch=steps, verbose=0, shuffle=False), scale
    )
    running = _rate(lambda steps: model.predict(device_load.same(batch[:1], steps), steps=steps, verbose=0), scale)
    epoch, waiting = _epoch(model, config, images, scale, scale.batch / learning.median)
    operations = efficiency.flops(model)
    share = 100 * operations / peak.median if operations else None
    row = {
        "model": name, "policy": policy, "side": config.image_size, "batch": scale.batch,
        "parameters": model.count_params() / 1e6, "operations": operations and operations / 1e9,
        "train": learning.median, "train_low": learning.low, "train_high": learning.high, "infer": running.median,
        "train_share": share and share * (1 + BACKWARD) * learning.median, "share": share and share * running.median,
        "epoch": epoch, "waiting": waiting,
    }  # fmt: skip
    keras.utils.clear_session()
    return row


def _rate(call: Callable[[int], object], scale: Scale) -> Spread:
    """Return images a second: `call` runs so many steps, first a few to compile and to learn how many make SECONDS."""
    call(2)
    start = perf_counter()
    call(3)
    steps = max(3, min(300, round(3 * SECONDS / (perf_counter() - start)))) if scale.repetitions > 1 else 3
    rates = []
    for _ in range(scale.repetitions):
        start = perf_counter()
        call(steps)
        rates.append(steps * scale.batch / (perf_counter() - start))
    return spread(rates)


def _epoch(
    model: "keras.Model", config: "ModelConfig", images: "Images", scale: Scale, ready: float
) -> tuple[float, float]:
    """Return the seconds of one epoch through the program's own input, and the share of a step that waits for it in %.

    `ready` is the seconds of a step whose batch lies on the device already.
    """
    steps, stop = len(images) // scale.batch, progress_bar.StopSignal()
    with progress_bar.training_bar(config.model, 2) as bar:
        callback = progress_bar.step_callback(bar, stop, "learning_rate", keras_backend.look_every())
        for epoch in (1, 2):  # the first one compiles
            start = perf_counter()
            batches = tf_loader.training_batches(images, scale.batch, config.augmentation, config.seed, epoch)
            bar.begin(epoch, steps)
            model.fit(batches, verbose=0, shuffle=False, callbacks=[callback])
            seconds = perf_counter() - start
    return seconds, 100 * max(0.0, 1 - ready * steps / seconds)


def _result(
    rows: list[dict[str, Any]],
    notes: list[str],
    peaks: dict[str, Spread],
    seconds: float,
    device: str,
    options: Options,
) -> Result:
    if not rows:
        raise LeukoBenchError(f"No model could be measured. {' '.join(notes)}")
    most = max(rows, key=lambda row: row["waiting"])
    claims = [
        Claim(
            "Share of a training step that waits for input, the largest of the models", "%", ASKED_WAITING,
            spread([most["waiting"]]), True,
            f"{most['model']}, {most['policy']}",
        ),
        Claim("The whole comparison, bound for one large GPU", "s", ASKED_SECONDS, spread([seconds]), True),
    ]  # fmt: skip
    columns = [
        Column("model", "Model"), Column("policy", "Precision"), Column("side", "Pixels", 0),
        Column("batch", "Batch", 0), Column("parameters", "Parameters, millions", 2),
        Column("operations", "Operations an image, 10^9", 2), Column("train", "Training, images/s", 0),
        Column("train_low", "Lowest", 0), Column("train_high", "Highest", 0), Column("infer", "Inference, images/s", 0),
        Column("train_share", "Training, % of peak", 1), Column("share", "Inference, % of peak", 1),
        Column("epoch", "Epoch, s", 2), Column("waiting", "Waits for input, %", 1),
    ]  # fmt: skip
    said = ", ".join(f"{policy} {peak.median / 1e12:.3g}" for policy, peak in peaks.items())
    counted = efficiency.COUNTERS[keras_backend.backend()]
    lines = [
        Series(policy, [r["parameters"] for r in rows if r["policy"] == policy],
               [r["train"] for r in rows if r["policy"] == policy], line=False,
               names=[r["model"] for r in rows if r["policy"] == policy])
        for policy in peaks
    ]  # fmt: skip
    about = (
        f"{device}, Keras on {keras_backend.backend()}, random weights, deterministic settings as every training here. "
        f"Rates are those of `fit` and `predict` on a batch that lies ready. Operations are counted by {counted}, a "
        f"backward pass as {BACKWARD} forward ones; the peak is that of one matrix product in the same type in the "
        f"same run ({said}, in 10^12 operations a second). An epoch has as many images as 64 % of the release, through "
        "the program's own input and augmentation; what it takes beyond as many steps whose batch lies on the device "
        "already is waiting."
    )
    plot = Plot("Training speed against size", "Parameters, millions", "Images a second", lines, "xy")
    return Result("Every model on this device", about, claims, [Sheet("Models", columns, rows)], [plot], notes)


if __name__ == "__main__":
    entry("gpu", measure)
