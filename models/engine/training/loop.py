"""The training loop: phases, epochs, checkpoints. What is stored after each epoch makes a resume exact."""

import zlib
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from data.loading import augment
from data.loading.image_set import Images, View
from data.loading.pipeline import loader
from models.engine.backend import keras_backend
from models.engine.backend.distribution import Devices, Shared
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

    from data.loading.image_set import Batches

HISTORY_COLUMNS = (
    "epoch",
    "phase",
    "learning_rate",
    "seconds",
    "feature_seconds",
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
)
KERAS_COLUMNS = HISTORY_COLUMNS[5:]  # measured by Keras


@dataclass
class Session:
    """The state of one training: the model, its data, and the history so far."""

    run: Run
    config: ModelConfig
    model: "keras.Model"
    training: Images
    validation: Images
    tracking: Tracking = field(default_factory=Tracking)
    devices: Devices = field(default_factory=Devices)

    def __post_init__(self) -> None:
        self.history = history_of(self.run)
        self.phases = self.config.phases()
        self.pretrained = self.config.weights != "none"
        self.augmented = self.config.augmentation.active or self.config.intervention.active

    def train(self) -> None:
        """Run the remaining epochs of every phase."""
        stop = progress_bar.StopSignal()
        if self.history:
            say(f"  continuing after epoch {len(self.history)}")
        with progress_bar.training_bar(self.config.model, sum(p.epochs for p in self.phases)) as bar, stop.listening():
            try:
                while phase := self._next_phase():
                    self._train_phase(phase, bar, stop)
                stop.check()
            except progress_bar.Interrupted:
                done = len(self.history)
                kept = f"stopped; {done} finished epochs are kept" if done else "stopped before the first epoch ended"
                say(f"  {kept}. Continue with: python run_guide.py train --resume {self.run.id}")
                raise

    def _next_phase(self) -> Phase | None:
        return schedule.next_phase(self.history, self.phases, self.config.patience)

    def _train_phase(self, phase: Phase, bar: progress_bar.Bar, stop: progress_bar.StopSignal) -> None:
        """Run the remaining epochs of one phase."""
        resumed = bool(self.history) and self.history[-1]["phase"] == phase.name
        source = self._start_phase(phase, stop)
        self._compile(source.model, phase)
        if resumed:
            source.model.optimizer.build(source.model.trainable_variables)
            checkpoint.load(source.model, self.run, self._checkpoint(len(self.history)))
        callback = progress_bar.step_callback(bar, stop, phase.rate_field, keras_backend.look_every())
        validation = self.devices.share_validation(source.validation, len(self.validation))
        # Counted once, and also where another run has computed the features: seconds do not depend on earlier runs.
        feature_seconds = 0.0 if resumed else source.seconds
        while self._next_phase() is phase:
            stop.check()
            row = self._train_epoch(phase, source, validation, bar, callback, feature_seconds)
            feature_seconds = 0.0
            self._finish_epoch(row, source.model, phase)
            bar.end(row)
            self.tracking.epoch(row)

    def _start_phase(self, phase: Phase, stop: progress_bar.StopSignal) -> "PixelSource | FeatureSource":
        """Freeze or unfreeze the base, load the best weights so far and return what this phase trains on."""
        backbone.prepare_phase(self.model, phase, self.pretrained)
        if self.history:  # the previous phase may have run in this process or in an earlier one
            checkpoint.load(self.model, self.run, self.run.file(run_folder.WEIGHTS))
        if phase.base_frozen and (not self.augmented or self.config.feature_views > 0):
            return FeatureSource(self, phase, stop)
        return PixelSource(self, phase.base_frozen)

    def _compile(self, model: "keras.Model", phase: Phase) -> None:
        import keras

        model.compile(
            keras.optimizers.Adam(phase.learning_rate, weight_decay=self.config.weight_decay or None),
            keras.losses.CategoricalCrossentropy(label_smoothing=self.config.label_smoothing),
            metrics=["accuracy"],
        )

    def _train_epoch(
        self,
        phase: Phase,
        source: "PixelSource | FeatureSource",
        validation: Shared,
        bar: progress_bar.Bar,
        callback: "keras.callbacks.Callback",
        feature_seconds: float,
    ) -> dict[str, Any]:
        """Train one epoch; return its row of history.csv."""
        epoch = len(self.history) + 1
        start = perf_counter()
        seed_dropout(self.model, self.config.seed, epoch)
        rate = schedule.rate(self.history, phase, self.config)
        source.model.optimizer.learning_rate.assign(rate)
        batches = source.epoch(epoch)
        bar.begin(epoch, int(batches.cardinality()))
        weights = class_weights(self.training.labels) if phase.class_weights else None
        training = self.devices.share_training(batches, len(self.training), weights)
        fitted = source.model.fit(
            training.batches,
            class_weight=training.class_weights,
            steps_per_epoch=training.steps,
            validation_data=validation.batches,
            validation_steps=validation.steps,
            verbose=0,
            callbacks=[callback],
            shuffle=False,
        )
        return {
            "epoch": epoch,
            "phase": phase.name,
            "learning_rate": rate,
            "seconds": perf_counter() - start + feature_seconds,
            "feature_seconds": feature_seconds,
        } | {name: float(fitted.history[name][0]) for name in KERAS_COLUMNS}

    def _finish_epoch(self, row: dict[str, Any], trained: "keras.Model", phase: Phase) -> None:
        """Store an epoch: best weights, then the checkpoint, then its row. A kill in between repeats the epoch."""
        if not np.isfinite(row["val_loss"]):
            raise LeukoBenchError(
                f"The validation loss became {row['val_loss']} in epoch {row['epoch']}; training stops and the weights "
                f"of the best finished epoch are kept. {progress_bar.advice(phase.rate_field)}"
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


class PixelSource:
    """Batches of images: for the whole model, or for its head on a frozen base that runs each time."""

    seconds = 0.0  # spent on features before the first epoch

    def __init__(self, session: Session, frozen: bool) -> None:
        self._images, self._config = session.training, session.config
        self.model = backbone.with_frozen_base(session.model) if frozen else session.model
        self.validation = loader().fixed_batches(session.validation, session.config.batch_size)
        self._material = loader().material(session.training, session.config.intervention)

    def epoch(self, number: int) -> "Batches":
        """Return the training batches of an epoch."""
        config = self._config
        view = View(config.augmentation, config.seed, number, config.intervention, self._material)
        return loader().training_batches(self._images, config.batch_size, view)


class FeatureSource:
    """Batches of features for the head alone: the frozen base runs once, or once for each view of augmented images."""

    def __init__(self, session: Session, phase: Phase, stop: progress_bar.StopSignal) -> None:
        self._images, self._config = session.training, session.config
        base, self.model = backbone.split_at_head(session.model)
        passes = _passes(session, phase, feature_cache.place(base, session.config.variant))
        shape = base.output_shape[1:]
        cached = all(feature_cache.found(each.path, (len(each.images), *shape)) is not None for each in passes)
        count = sum(len(each.images) for each in passes)
        say(f"  features of {count} images: " + ("cached" if cached else "running the frozen base once"))
        features = [feature_cache.extract(base, each, stop.check) for each in passes]
        self._views, validation = features[:-1], features[-1]
        self.seconds = sum(feature_cache.seconds_of(each.path) for each in passes)
        cost = {"features": int(np.prod(shape)), "seconds": self.seconds}
        files.write_json(session.run.file(run_folder.FEATURES), cost)
        order = np.arange(len(session.validation))
        self.validation = loader().feature_batches(validation, session.validation, self._config.batch_size, order)

    def epoch(self, number: int) -> "Batches":
        """Return the training batches of an epoch."""
        order = augment.shuffled(len(self._images), self._config.seed, number)
        view = self._views[(number - 1) % len(self._views)]  # with a view per epoch, exactly what each epoch draws
        return loader().feature_batches(view, self._images, self._config.batch_size, order)


def _passes(session: Session, phase: Phase, folder: Path) -> list[feature_cache.Pass]:
    """Return the passes over the frozen base: one per view of the training images, then the validation images."""
    config, views = session.config, [None]
    if session.augmented:
        material = loader().material(session.training, config.intervention)
        numbers = range(1, min(config.feature_views, phase.epochs) + 1)
        views = [View(config.augmentation, config.seed, k, config.intervention, material) for k in numbers]
    training = feature_cache.identity(session.training)
    found = [feature_cache.Pass(session.training, view, feature_cache.path(folder, training, view)) for view in views]
    validation = feature_cache.path(folder, feature_cache.identity(session.validation))
    return [*found, feature_cache.Pass(session.validation, None, validation)]


def history_of(run: Run) -> list[dict[str, Any]]:
    """Return the finished epochs of a run, which may be none.

    Raises:
        LeukoBenchError: history.csv is damaged, or has fewer epochs than were trained.
    """
    rows = run.epochs()
    kept = max((int(path.name[6:10]) for path in run.file(run_folder.STATE).glob("epoch-*.weights.h5")), default=0)
    # A kill between a checkpoint and its row leaves the history at most one epoch behind.
    if kept > len(rows) + 1 or (not rows and run.file(run_folder.TIMING).is_file()):
        raise LeukoBenchError(
            f"{run.file(run_folder.HISTORY)} holds {len(rows)} epochs, but more were trained. Restore the file, or "
            f"train again: python run_guide.py train {run.model}"
        )
    return rows


def seed_dropout(model: "keras.Model", seed: int, epoch: int) -> None:
    """Set the random state of every layer with dropout, nested ones too, from (seed, epoch, layer name)."""
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
