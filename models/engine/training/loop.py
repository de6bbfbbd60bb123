"""One training under way: phases, epochs, checkpoints. What is kept after each epoch makes a resume exact."""

import zlib
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from data.loading import augment as augmentation
from data.loading.pipeline import loader
from models.engine.backend import keras_backend
from models.engine.backend.distribution import Devices
from models.engine.config.base import ModelConfig, Phase
from models.engine.layers import backbone
from models.engine.run_io import checkpoint
from models.engine.tracking.tracker import Tracking
from models.engine.training import feature_cache, progress_bar, schedule
from utils.console import say
from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import run_folder
from utils.runs.history import best_epoch
from utils.runs.run_folder import Run

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from data.loading.image_set import Images

HISTORY_COLUMNS = (
    "epoch", "phase", "learning_rate", "seconds", "feature_seconds", "loss", "accuracy", "val_loss", "val_accuracy",
)  # fmt: skip


@dataclass
class Session:
    """The state of one training: the model, its data, and the history so far."""

    run: Run
    config: ModelConfig
    model: "keras.Model"
    training: "Images"
    validation: "Images"
    tracking: Tracking = field(default_factory=Tracking)
    devices: Devices = field(default_factory=Devices)

    def __post_init__(self) -> None:
        self.history = history_of(self.run)
        self.phases = self.config.phases()
        self.pretrained = self.config.weights != "none"
        self.varied = self.config.augmentation.active or self.config.intervention.active

    def train(self) -> None:
        """Train what is left of every phase."""
        stop = progress_bar.StopSignal()
        done = len(self.history)
        if done:
            say(f"  going on after epoch {done}")
        with progress_bar.training_bar(self.config.model, sum(p.epochs for p in self.phases)) as bar, stop.listening():
            try:
                while phase := schedule.next_phase(self.history, self.phases, self.config.patience):
                    self._train_phase(phase, bar, stop)
                stop.check()
            except progress_bar.Interrupted:
                done = len(self.history)
                kept = f"stopped; {done} finished epochs are kept" if done else "stopped before the first epoch ended"
                say(f"  {kept}. Go on with: python run_guide.py train --resume {self.run.id}")
                raise

    def _train_phase(self, phase: Phase, bar: progress_bar.Bar, stop: progress_bar.StopSignal) -> None:
        import keras

        backbone.prepare_phase(self.model, phase, self.pretrained)
        reuse = phase.base_frozen and (not self.varied or self.config.feature_views > 0)
        resumed = bool(self.history) and self.history[-1]["phase"] == phase.name
        if self.history:
            # A phase begins from the best weights so far, whether the one before ran now or in an earlier process.
            checkpoint.load(self.model, self.run, self.run.file(run_folder.WEIGHTS))
        source = _Features(self, phase, stop) if reuse else _Pixels(self, phase.base_frozen)
        # The pass counts once, also where another run has made it: seconds must not depend on what was trained before.
        feature_seconds = 0.0 if resumed else source.seconds
        trained = source.model
        decay = self.config.weight_decay or None
        trained.compile(
            keras.optimizers.Adam(phase.learning_rate, weight_decay=decay),
            keras.losses.CategoricalCrossentropy(label_smoothing=self.config.label_smoothing),
            metrics=["accuracy"],
        )
        if resumed:
            trained.optimizer.build(trained.trainable_variables)
            checkpoint.load(trained, self.run, self._checkpoint(len(self.history)))
        weighed = class_weights(self.training.labels) if phase.class_weights else None
        callback = progress_bar.step_callback(bar, stop, phase.rate_field, keras_backend.look_every())
        validation = self.devices.validation(source.validation, len(self.validation))
        while schedule.next_phase(self.history, self.phases, self.config.patience) is phase:
            stop.check()
            epoch = len(self.history) + 1
            start = perf_counter()
            seed_dropout(self.model, self.config.seed, epoch)
            rate = schedule.rate(self.history, phase, self.config)
            trained.optimizer.learning_rate.assign(rate)
            batches = source.epoch(epoch)
            bar.begin(epoch, int(batches.cardinality()))
            fitted = trained.fit(
                **self.devices.training(batches, len(self.training), weighed), **validation,
                epochs=1, verbose=0, callbacks=[callback], shuffle=False,
            )  # fmt: skip
            row = {
                "epoch": epoch,
                "phase": phase.name,
                "learning_rate": rate,
                "seconds": perf_counter() - start + feature_seconds,
                "feature_seconds": feature_seconds,
            } | {name: float(fitted.history[name][0]) for name in HISTORY_COLUMNS[5:]}
            feature_seconds = 0.0
            self._finish_epoch(row, trained, phase)
            bar.end(row)
            self.tracking.epoch(row)

    def _finish_epoch(self, row: dict[str, Any], trained: "keras.Model", phase: Phase) -> None:
        """Keep an epoch: best weights, then the checkpoint, then its row. A kill in between repeats the epoch."""
        if not np.isfinite(row["val_loss"]):
            raise LeukoBenchError(
                f"The validation loss became {row['val_loss']} in epoch {row['epoch']}; training stops and the weights "
                f"of the best finished epoch are kept. {progress_bar.steadier(phase.rate_field)}"
            )
        history = [*self.history, row]
        if best_epoch(history) is row:
            checkpoint.save(self.model, self.run.file(run_folder.WEIGHTS))
        checkpoint.save_state(trained, self._checkpoint(row["epoch"]))
        rows = ([r[name] for name in HISTORY_COLUMNS] for r in history)
        files.write_text(self.run.file(run_folder.HISTORY), files.csv_text(HISTORY_COLUMNS, rows))
        self.history = history
        self._checkpoint(row["epoch"] - 1).unlink(missing_ok=True)

    def _checkpoint(self, epoch: int) -> Path:
        return self.run.file(run_folder.STATE) / f"epoch-{epoch:04d}.weights.h5"


class _Pixels:
    """Train on images: the whole model, or its head on a base that is run each time."""

    seconds = 0.0  # that go into features before the first epoch

    def __init__(self, session: Session, frozen: bool) -> None:
        self._session = session
        self.model = backbone.with_frozen_base(session.model) if frozen else session.model
        self.validation = loader().fixed_batches(session.validation, session.config.batch_size)
        self._material = loader().material(session.training, session.config.intervention)

    def epoch(self, number: int) -> "tf.data.Dataset | keras.utils.PyDataset":
        config = self._session.config
        changes = config.augmentation, config.seed, number, config.intervention, self._material
        return loader().training_batches(self._session.training, config.batch_size, *changes)


class _Features:
    """Train the head alone, on what the frozen base gives once, or once for each view of the changed images."""

    def __init__(self, session: Session, phase: Phase, stop: progress_bar.StopSignal) -> None:
        self._session, config = session, session.config
        base, self.model = backbone.split_at_head(session.model)
        place = feature_cache.place(base, config.variant)
        changes: list[feature_cache.Changes | None] = [None]
        if session.varied:
            material = loader().material(session.training, config.intervention)
            views = range(1, min(config.feature_views, phase.epochs) + 1)
            changes = [(config.augmentation, config.seed, view, config.intervention, material) for view in views]
        known_as = {id(images): feature_cache.identity(images) for images in (session.training, session.validation)}
        wanted = [(session.training, change) for change in changes] + [(session.validation, None)]
        kept = [(images, change, feature_cache.path(place, known_as[id(images)], change)) for images, change in wanted]
        shape = base.output_shape[1:]
        known = all(feature_cache.found(path, (len(images), *shape)) is not None for images, _, path in kept)
        count = sum(len(images) for images, _ in wanted)
        say(f"  features of {count} images: " + ("kept from before" if known else "running the frozen base once"))
        *self._views, validation = [
            feature_cache.extract(base, images, path, stop.check, change) for images, change, path in kept
        ]
        self.seconds = sum(feature_cache.seconds_of(path) for *_, path in kept)
        cost = {"features": int(np.prod(shape)), "seconds": self.seconds}
        files.write_json(session.run.file(run_folder.FEATURES), cost)
        order = np.arange(len(session.validation))
        self.validation = loader().feature_batches(validation, session.validation, config.batch_size, order)

    def epoch(self, number: int) -> "tf.data.Dataset | keras.utils.PyDataset":
        images, config = self._session.training, self._session.config
        order = augmentation.shuffled(len(images), config.seed, number)
        view = self._views[(number - 1) % len(self._views)]  # with as many views as epochs, just what each epoch draws
        return loader().feature_batches(view, images, config.batch_size, order)


def history_of(run: Run) -> list[dict[str, Any]]:
    """Return the finished epochs of a run that may have none yet.

    Raises:
        LeukoBenchError: history.csv is damaged, or missing or cut although other files say what was trained.
    """
    rows = run.epochs()
    kept = max((int(path.name[6:10]) for path in run.file(run_folder.STATE).glob("epoch-*.weights.h5")), default=0)
    # A kill between a checkpoint and its row leaves the history one epoch behind, never more.
    if kept > len(rows) + 1 or (not rows and run.file(run_folder.TIMING).is_file()):
        raise LeukoBenchError(
            f"{run.file(run_folder.HISTORY)} holds {len(rows)} epochs, but more were trained. Restore the file, or "
            f"train again: python run_guide.py train {run.model}"
        )
    return rows


def seed_dropout(model: "keras.Model", seed: int, epoch: int) -> None:
    """Set the random state of every layer that has one, nested ones too, from (seed, epoch, layer name)."""
    outer = {id(layer) for layer in model.layers}
    for position, layer in enumerate(model._flatten_layers(include_self=False)):
        generator = getattr(layer, "seed_generator", None)
        if generator is not None:
            name = layer.name if id(layer) in outer else f"{layer.name}/{position}"  # names inside a backbone repeat
            generator.state.assign([zlib.crc32(f"{seed}/{name}".encode()) & 0x7FFFFFFF, epoch])


def class_weights(labels: np.ndarray) -> dict[int, float]:
    """Return n / (classes * count) for each class that occurs, which is scikit-learn's "balanced"."""
    values, counts = np.unique(labels, return_counts=True)
    return {int(v): float(len(labels) / (len(values) * c)) for v, c in zip(values, counts, strict=True)}
