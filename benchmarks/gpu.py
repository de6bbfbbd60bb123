"""Every model on this device: images a second in float32 and half precision, share of the device's peak, input.

Runs with TensorFlow or, where TensorFlow is not installed, with JAX: KERAS_BACKEND=jax python -m benchmarks.gpu. JAX
needs numpy, keras, pydantic, typer, rich, pillow, psutil, pandas, scikit-learn, matplotlib, opencv-python-headless,
simplejpeg and jax; models that need keras-hub are skipped with a note where it is missing. On a large GPU the whole
takes less than eight minutes; models that do not fit into that time are named.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

import models
from benchmarks.program import Options, entry
from benchmarks.results import Claim, Column, Plot, Result, Series, Sheet, Spread, spread
from data import all_dataset, catalog
from data.imaging.variants import Variant
from data.loading import tf_loader
from data.loading.image_set import Images, View
from data.loading.pipeline import loader
from data.splitting import splits
from data.synthetic import generator as synthetic
from models.engine.backend import keras_backend
from models.engine.evaluation import efficiency
from models.engine.training import progress_bar
from utils import console
from utils.errors import LeukoBenchError
from utils.runs.run_folder import APPLICATION

if TYPE_CHECKING:
    import keras

    from models.engine.config.base import ModelConfig

LABELS = tuple(sorted(all_dataset.PUBLISHED))
DRAWN = 16  # synthetic smears, used where no dataset is present
BUDGET = 360  # seconds; no model is started later, so that the whole takes less than eight minutes
ASKED_SECONDS, ASKED_WAITING = 480, 5
BACKWARD = 2  # cost of a backward pass in forward passes, the usual convention
SECONDS = 1.5  # duration of one measurement


@dataclass(frozen=True)
class Scale:
    """Sizes: images per step and epoch, side of the matrices, repetitions, side of the images (0: the model's own)."""

    batch: int
    images: int
    matrix: int
    repetitions: int
    side: int = 0


def measure(options: Options) -> Result:
    """Train and run every model on batches held on the device, then train one epoch with the real input."""
    keras_backend.start(42)
    begun, device = perf_counter(), keras_backend.device_name()
    half = "mixed_bfloat16" if device == "CPU" else keras_backend.resolve_precision("auto")
    train = round(0.64 * sum(all_dataset.PUBLISHED.values()))
    scale = Scale(8, 64, 1024, 3, 64) if device == "CPU" else Scale(128, train, 8192, 3)
    scale = options.pick(scale, Scale(4, 16, 256, 1, 64))
    policies = list(dict.fromkeys(("float32", half)))
    peaks = {policy: _peak(policy, scale.matrix) for policy in policies}
    rows, notes = [], []
    for name in _names(options):
        for policy in policies:
            if perf_counter() - begun > BUDGET:
                notes.append(f"{name} with {policy} was not started: no time was left.")
                break
            try:
                rows.append(_row(name, policy, peaks[policy], scale, options))
            except Exception as problem:
                if not (isinstance(problem, ImportError | LeukoBenchError) or keras_backend.ran_out(problem)):
                    raise
                notes.append(f"{name} with {policy} was skipped: {' '.join(str(problem).split())[:160]}")
                break
            console.say(
                "  {model}, {policy}: {train:.0f} images/s training, {infer:.0f} images/s inference".format(**rows[-1])
            )
    return _result(rows, notes, peaks, perf_counter() - begun, device, options)


def _names(options: Options) -> list[str]:
    """Return the models, small images first; only two of them for a quick run."""
    sizes = {name: models.config_for(name).image_size for name in models.names()}
    ordered = sorted(sizes, key=sizes.get)
    return [*options.pick(ordered, ordered[:2]), f"{APPLICATION}MobileNetV3Small"]


def _row(name: str, policy: str, peak: Spread, scale: Scale, options: Options) -> dict[str, Any]:
    import keras

    settings = {"weights": "none", "classes": LABELS} | ({"image_size": scale.side} if scale.side else {})
    config = models.config_for(name, **settings)
    with keras_backend.dtype_policy(policy):
        model = models.build(config)
    model.compile(keras.optimizers.Adam(1e-4), "categorical_crossentropy", metrics=["accuracy"])
    images = training_images(config, scale.images, scale.batch, options)
    batch = [np.asarray(part) for part in next(iter(loader().fixed_batches(images, scale.batch)))]
    training = _rate(
        lambda steps: model.fit(_repeated(batch, steps), steps_per_epoch=steps, verbose=0, shuffle=False), scale
    )
    inference = _rate(lambda steps: model.predict(_repeated(batch[:1], steps), steps=steps, verbose=0), scale)
    epoch, waiting = _epoch(model, config, images, scale, scale.batch / training.median)
    operations = efficiency.flops(model)
    share = 100 * operations / peak.median if operations else None
    row = {
        "model": name,
        "policy": policy,
        "side": config.image_size,
        "batch": scale.batch,
        "parameters": model.count_params() / 1e6,
        "operations": operations and operations / 1e9,
        "train": training.median,
        "train_low": training.low,
        "train_high": training.high,
        "infer": inference.median,
        "train_share": share and share * (1 + BACKWARD) * training.median,
        "share": share and share * inference.median,
        "epoch": epoch,
        "waiting": waiting,
    }
    keras.utils.clear_session()
    return row


def training_images(config: "ModelConfig", wanted: int, batch: int, options: Options) -> Images:
    """Return whole batches of training images in memory, of the dataset or synthetic ones."""
    count = max(1, wanted // batch) * batch
    name = options.dataset or (all_dataset.NAME if all_dataset.NAME in catalog.datasets() else "")
    if name and not options.quick:
        split = splits.prepare_split(name, config.split, config.split_seed)
        read = loader().read(split.path, "train", split.manifest.classes, config.image_size, 10**12, config.variant)
        names, labels, pixels, kinds = read.names, read.labels, np.asarray(read.pixels), read.classes
    else:
        drawn = [_smear(LABELS[k % len(LABELS)], k, config.image_size) for k in range(DRAWN)]
        names, labels, kinds = [str(k) for k in range(DRAWN)], np.arange(DRAWN) % len(LABELS), len(LABELS)
        pixels = np.stack(drawn)
    index = np.resize(np.arange(len(labels)), count)
    repeated = pixels[index]
    if keras_backend.backend() == "jax":
        import keras

        repeated = keras.ops.convert_to_tensor(repeated)  # on the device, as data/loading/array_loader.py does
    return Images([names[k] for k in index], labels[index], kinds, config.image_size, [""] * count, Variant(), repeated)


def _smear(label: str, number: int, size: int) -> np.ndarray:
    patient = synthetic.patient_of(7, LABELS, label, number % 4, 4, synthetic.STAINS[0])
    return synthetic.draw(np.random.default_rng(number), label, size, patient)[0]


def _repeated(batch: Sequence[np.ndarray], steps: int) -> Any:
    """Return a data set that repeats one batch, held on the device if the backend allows it."""
    import keras

    parts = tuple(keras.ops.convert_to_tensor(part) for part in batch)
    if keras_backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf_loader.without_autotuning(tf.data.Dataset.from_tensors(parts).repeat(steps).prefetch(2))

    def repeat() -> Iterator[tuple[Any, ...]]:
        return (parts for _ in range(steps))

    return repeat()


def _peak(policy: str, side: int) -> Spread:
    """Return the operations a second of a product of two square matrices in the policy's data type."""
    import keras

    kind = "float32" if policy == "float32" else policy.removeprefix("mixed_")
    random = np.random.default_rng(0)
    one, other = (keras.ops.cast(random.standard_normal((side, side), np.float32), kind) for _ in range(2))

    def products(count: int) -> float:
        start = perf_counter()
        for _ in range(count):
            result = keras.ops.matmul(one, other)
        np.asarray(keras.ops.convert_to_numpy(result[0, :1]))  # waits until all products are computed
        return perf_counter() - start

    products(3)
    return spread([10 * 2 * side**3 / products(10) for _ in range(5)])


def _rate(call: Callable[[int], object], scale: Scale) -> Spread:
    """Return images a second of `call(steps)`; a few steps before compile and find how many take SECONDS."""
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
    model: "keras.Model", config: "ModelConfig", images: Images, scale: Scale, ready: float
) -> tuple[float, float]:
    """Return the seconds of one epoch with the real input, and the share of it that waits for input in %.

    `ready` is the seconds of a step whose batch is already on the device.
    """
    steps, stop = len(images) // scale.batch, progress_bar.StopSignal()
    with progress_bar.training_bar(config.model, 2) as bar:
        callback = progress_bar.step_callback(bar, stop, "learning_rate", keras_backend.look_every())
        for epoch in (1, 2):  # the first epoch compiles
            start = perf_counter()
            batches = loader().training_batches(images, scale.batch, View(config.augmentation, config.seed, epoch))
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
            "Share of a training step spent waiting for input, largest of all models",
            "%",
            ASKED_WAITING,
            spread([most["waiting"]]),
            True,
            f"{most['model']}, {most['policy']}",
        ),
        Claim("Duration of this benchmark (target for one large GPU)", "s", ASKED_SECONDS, spread([seconds]), True),
    ]
    columns = [
        Column("model", "Model"),
        Column("policy", "Precision"),
        Column("side", "Pixels", 0),
        Column("batch", "Batch", 0),
        Column("parameters", "Parameters, millions", 2),
        Column("operations", "Operations an image, 10^9", 2),
        Column("train", "Training, images/s", 0),
        Column("train_low", "Lowest", 0),
        Column("train_high", "Highest", 0),
        Column("infer", "Inference, images/s", 0),
        Column("train_share", "Training, % of peak", 1),
        Column("share", "Inference, % of peak", 1),
        Column("epoch", "Epoch, s", 2),
        Column("waiting", "Waits for input, %", 1),
    ]
    peak_text = ", ".join(f"{policy} {peak.median / 1e12:.3g}" for policy, peak in peaks.items())
    counted = efficiency.COUNTERS[keras_backend.backend()]
    lines = [
        Series(
            policy,
            [r["parameters"] for r in rows if r["policy"] == policy],
            [r["train"] for r in rows if r["policy"] == policy],
            line=False,
            names=[r["model"] for r in rows if r["policy"] == policy],
        )
        for policy in peaks
    ]
    about = (
        f"{device}, Keras on {keras_backend.backend()}, random weights, deterministic settings as in every training. "
        f"Rates are those of `fit` and `predict` on a batch held on the device. {counted} counts the operations, a "
        f"backward pass as {BACKWARD} forward ones; the peak is that of one matrix product of this data type in the "
        f"same run ({peak_text}, in 10^12 operations a second). An epoch has as many images as 64 % of the release and "
        "uses the real input and augmentation; its time beyond that of the same number of steps with a batch on the "
        "device counts as waiting."
    )
    plot = Plot("Training speed against size", "Parameters, millions", "Images a second", lines, "xy")
    return Result("Every model on this device", about, claims, [Sheet("Models", columns, rows)], [plot], notes)


if __name__ == "__main__":
    entry("gpu", measure)
