"""Train one configuration into a run folder: phases, best weights, resume, feature reuse for frozen bases."""

import shutil
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

import models
from data import pipeline, splitting
from models import backbones, features, progress, runtime, schedule
from models.base_config import BackboneConfig, ModelConfig, Phase
from utils import artifacts, environment, files
from utils.artifacts import Run
from utils.console import say
from utils.errors import LeukoBenchError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from data.manifest import Manifest
    from data.pipeline import Images

HISTORY_COLUMNS = (
    "epoch", "phase", "learning_rate", "seconds", "feature_seconds", "loss", "accuracy", "val_loss", "val_accuracy",
)  # fmt: skip


class OutOfMemory(LeukoBenchError):
    """The device has too little memory for a batch."""


def prepare(config: ModelConfig) -> tuple[ModelConfig, splitting.SplitFolder]:
    """Fill in what the data decides (dataset, classes), making the dataset and the split where they are missing.

    Raises:
        LeukoBenchError: the dataset or the split cannot be had.
    """
    dataset = splitting.ensure_dataset(config.dataset)
    split = splitting.prepare_split(dataset, config.split, config.split_seed)
    return config.replace(dataset=dataset, classes=split.manifest.classes), split


def train(config: ModelConfig, root: Path, resume: Run | None = None) -> Run:
    """Train a model and write its run folder, all but what `models.evaluation.evaluate` adds.

    Args:
        config: what to train; dataset and classes are filled in.
        root: folder of the runs.
        resume: a run of this configuration that was cut off; goes on after its last finished epoch.

    Raises:
        LeukoBenchError: data or initial weights cannot be had, the loss is not finite, or the disk is full.
        OutOfMemory: the device cannot hold a batch.
        KeyboardInterrupt: Ctrl-C; what finished epochs learned is kept.
    """
    runtime.start(config.seed)
    import tensorflow as tf

    try:
        return _train(config, root, resume)
    except tf.errors.ResourceExhaustedError:
        raise OutOfMemory(
            f"{config.model} ran out of memory on {runtime.device_name()} with batch_size={config.batch_size}. "
            "Use a smaller --set batch_size or image_size."
        ) from None


def _train(config: ModelConfig, root: Path, resume: Run | None) -> Run:
    config, split = prepare(config)
    manifest = split.manifest
    precision = runtime.resolve_precision(config.precision)
    with runtime.dtype_policy(precision):
        model = models.build(config)
    run = resume or artifacts.new_run(root, config.model, config.hash())
    if resume is None:
        _open(run, config, split, precision, model)
    elif run.environment()["manifest"] != manifest.hash:
        raise LeukoBenchError(
            f"Run {run.id} was trained on manifest {run.environment()['manifest']}, the data is now {manifest.hash}. "
            "Train a new run, or bring the dataset of before back."
        )
    budget = config.cache_mb * 1_000_000
    sizes = {name: len(manifest.subset(name)) * config.image_size**2 * 3 for name in ("train", "val")}
    if sum(sizes.values()) > budget:
        budget = 0
    images = {name: pipeline.read(split.path, name, config.classes, config.image_size, budget) for name in sizes}
    session = _Session(run, config, model, images["train"], images["val"])
    session.train()
    _record(run)
    shutil.rmtree(run.file(artifacts.STATE), ignore_errors=True)
    return run


def _open(run: Run, config: ModelConfig, split: "splitting.SplitFolder", precision: str, model: "keras.Model") -> None:
    manifest: Manifest = split.manifest
    kept = run.root / "manifests" / f"{manifest.hash}.csv"
    if not kept.is_file():
        manifest.write(kept)
    files.write_json(
        run.file(artifacts.CONFIG), config.model_dump(mode="json") | {"initialisation": config.initialisation}
    )
    files.write_json(
        run.file(artifacts.ENVIRONMENT),
        {
            "manifest": manifest.hash,
            "test_identity": manifest.test_identity,
            "split_folder": split.path.name,
            "precision": precision,
            "device": runtime.device_name(),
            "threads": runtime.threads(),
            "deterministic": True,
            "started": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        }
        | environment.describe(),
    )
    files.write_text(run.file(artifacts.ARCHITECTURE), model.to_json())


@dataclass
class _Session:
    """The state of one training: the model, its data, and the history so far."""

    run: Run
    config: ModelConfig
    model: "keras.Model"
    training: "Images"
    validation: "Images"

    def __post_init__(self) -> None:
        self.history = self.run.history() if self.run.file(artifacts.HISTORY).is_file() else []
        self.phases = self.config.phases()
        self.pretrained = self.config.weights != "none"

    def train(self) -> None:
        """Train what is left of every phase."""
        stop = progress.StopSignal()
        done = len(self.history)
        if done:
            say(f"  going on after epoch {done}")
        with progress.training_bar(self.config.model, sum(p.epochs for p in self.phases)) as bar, stop.listening():
            while phase := schedule.next_phase(self.history, self.phases, self.config.patience):
                self._train_phase(phase, bar, stop)

    def _train_phase(self, phase: Phase, bar: progress.Bar, stop: progress.StopSignal) -> None:
        import keras

        backbones.prepare_phase(self.model, phase, self.pretrained)
        reuse = phase.base_frozen and not self.config.augmentation.active and isinstance(self.config, BackboneConfig)
        resumed = bool(self.history) and self.history[-1]["phase"] == phase.name
        if self.history and not resumed:
            # A phase begins from the best weights so far, whether the one before ran now or in an earlier process.
            self.model.load_weights(self.run.file(artifacts.WEIGHTS))
        start = perf_counter()
        source = _Features(self, stop) if reuse else _Pixels(self)
        feature_seconds = perf_counter() - start if reuse else 0.0
        trained = source.model
        trained.compile(
            keras.optimizers.Adam(phase.learning_rate), keras.losses.CategoricalCrossentropy(), metrics=["accuracy"]
        )
        if resumed:
            trained.optimizer.build(trained.trainable_variables)
            trained.load_weights(self._checkpoint(len(self.history)))
        weights = class_weights(self.training.labels) if phase.class_weights else None
        callback = progress.step_callback(bar, stop)
        while schedule.next_phase(self.history, self.phases, self.config.patience) is phase:
            epoch = len(self.history) + 1
            start = perf_counter()
            seed_dropout(trained, self.config.seed, epoch)
            batches = source.epoch(epoch)
            bar.begin(epoch, int(batches.cardinality()))
            try:
                fitted = trained.fit(
                    batches, epochs=1, verbose=0, callbacks=[callback], class_weight=weights,
                    validation_data=source.validation,
                )  # fmt: skip
            except progress.Interrupted:
                self._keep_first_steps()
                raise
            row = {
                "epoch": epoch,
                "phase": phase.name,
                "learning_rate": phase.learning_rate,
                "seconds": perf_counter() - start + feature_seconds,
                "feature_seconds": feature_seconds,
            } | {name: float(fitted.history[name][0]) for name in HISTORY_COLUMNS[5:]}
            feature_seconds = 0.0
            self._finish_epoch(row, trained)
            bar.end(row)

    def _finish_epoch(self, row: dict[str, Any], trained: "keras.Model") -> None:
        """Keep an epoch: best weights, then the checkpoint, then its row. A kill in between repeats the epoch."""
        if not np.isfinite(row["val_loss"]):
            raise LeukoBenchError(
                f"The validation loss became {row['val_loss']} in epoch {row['epoch']}; training stops and the weights "
                "of the best finished epoch are kept. Try a lower --set learning_rate, or --set precision=float32."
            )
        history = [*self.history, row]
        if schedule.best_epoch(history) is row:
            save_weights(self.model, self.run.file(artifacts.WEIGHTS))
        with files.atomic(self._checkpoint(row["epoch"])) as temporary:
            trained.save_weights(temporary)
        rows = ([r[name] for name in HISTORY_COLUMNS] for r in history)
        files.write_text(self.run.file(artifacts.HISTORY), files.csv_text(HISTORY_COLUMNS, rows))
        self.history = history
        self._checkpoint(row["epoch"] - 1).unlink(missing_ok=True)

    def _keep_first_steps(self) -> None:
        if not self.history:
            save_weights(self.model, self.run.file(artifacts.WEIGHTS))
        say(
            f"  stopped in epoch {len(self.history) + 1}; {len(self.history)} finished epochs are kept. "
            f"Go on with: python run_guide.py train --resume {self.run.id}"
        )

    def _checkpoint(self, epoch: int) -> Path:
        return self.run.file(artifacts.STATE) / f"epoch-{epoch:04d}.weights.h5"


class _Pixels:
    """Train the whole model on images."""

    def __init__(self, session: _Session) -> None:
        self._session = session
        self.model = session.model
        self.validation = pipeline.fixed_batches(session.validation, session.config.batch_size)

    def epoch(self, number: int) -> "tf.data.Dataset":
        config = self._session.config
        return pipeline.training_batches(
            self._session.training, config.batch_size, config.augmentation, config.seed, number
        )


class _Features:
    """Train the head alone, on what the frozen base gives once."""

    def __init__(self, session: _Session, stop: progress.StopSignal) -> None:
        self._session = session
        base, self.model = backbones.split_at_head(session.model)
        state, size = session.run.file(artifacts.STATE), session.config.batch_size
        say(f"  running the frozen base once over {len(session.training) + len(session.validation)} images")
        self._training = features.extract(base, session.training, size, state / "features-train.npy", stop.check)
        held_out = features.extract(base, session.validation, size, state / "features-val.npy", stop.check)
        self.validation = features.batches(held_out, session.validation, size, np.arange(len(session.validation)))

    def epoch(self, number: int) -> "tf.data.Dataset":
        images, config = self._session.training, self._session.config
        order = pipeline.shuffled(len(images), config.seed, number)
        return features.batches(self._training, images, config.batch_size, order)


def save_weights(model: "keras.Model", path: Path) -> None:
    """Write the weights of a model, without any optimizer's state, atomically."""
    import keras

    with files.atomic(path) as temporary:
        # A compiled model would save its optimizer's moments too, three times the size.
        keras.Model(model.inputs, model.outputs).save_weights(temporary)


def seed_dropout(model: "keras.Model", seed: int, epoch: int) -> None:
    """Set the random state of every layer that has one from (seed, epoch, layer name)."""
    for layer in model.layers:
        generator = getattr(layer, "seed_generator", None)
        if generator is not None:
            generator.state.assign([zlib.crc32(f"{seed}/{layer.name}".encode()) & 0x7FFFFFFF, epoch])


def class_weights(labels: np.ndarray) -> dict[int, float]:
    """Return n / (classes * count) for each class that occurs, which is scikit-learn's "balanced"."""
    values, counts = np.unique(labels, return_counts=True)
    return {int(v): float(len(labels) / (len(values) * c)) for v, c in zip(values, counts, strict=True)}


def _record(run: Run) -> None:
    """Write the training half of timing.json from history.csv and this process's memory."""
    history = run.history()
    best = int(schedule.best_epoch(history)["epoch"])
    once = sum(row["feature_seconds"] for row in history)
    reused = sum(1 for row in history if row["phase"] == "head")
    training = {
        "seconds": sum(row["seconds"] for row in history),
        "seconds_to_best": sum(row["seconds"] for row in history[:best]),
        "epochs": len(history),
        "best_epoch": best,
        # Every epoch but the first would have run the frozen base over the same images again.
        "feature_reuse_saved_seconds": once * (reused - 1) if once else None,
        "peak_memory_mb": environment.peak_memory_mb(),
        "import_memory_mb": environment.import_memory_mb(),
    }
    path = run.file(artifacts.TIMING)
    before = files.read_json(path) if path.is_file() else {}
    files.write_json(path, before | {"training": training})
