"""Train one configuration into a run folder: data, model, devices, lock, the training loop, the final files."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import models
from data import catalog
from data.datasets import image_decoder
from data.imaging import variants
from data.imaging.variants import Variant
from data.loading import offline_copies
from data.loading.pipeline import loader
from data.splitting import given_split, splits
from models.engine.backend import keras_backend
from models.engine.backend.distribution import choose
from models.engine.config.base import ModelConfig
from models.engine.evaluation import efficiency
from models.engine.explain import cam
from models.engine.layers import pretrained
from models.engine.run_io import run_loader
from models.engine.tracking.tracker import Tracking
from models.engine.training import schedule
from models.engine.training.loop import Session, history_of
from utils.console import say
from utils.errors import LeukoBenchError, nearest
from utils.io import files, locks, transaction
from utils.runs import run_folder, seal, split_spec
from utils.runs.run_folder import Run
from utils.system import environment

if TYPE_CHECKING:
    import keras

    from data.loading.image_set import Images
    from data.manifest import Manifest


def prepare(config: ModelConfig, resume: Run | None = None) -> tuple[ModelConfig, splits.SplitFolder]:
    """Fill in what the data decides: dataset, split, classes, reference image. Makes dataset and split if missing.

    A split that came with the dataset is used where the configuration names none, and a line says so.

    Args:
        config: what to train.
        resume: a run to be continued, on the split that it began with.

    Raises:
        LeukoBenchError: the dataset or the split is not available.
    """
    dataset = catalog.ensure_dataset(config.dataset)
    text = config.split or given_split.default(dataset)
    split = run_loader.split_of(resume) if resume else splits.prepare_split(dataset, text, config.split_seed)
    if not config.split and text == split_spec.GIVEN:
        say(f"  {given_split.described(dataset, split.manifest)}")
    config = config.replace(dataset=dataset, split=text, classes=split.manifest.classes)
    return config.replace(variant=with_reference(config.variant, split)), split


def with_reference(variant: Variant, split: splits.SplitFolder) -> Variant:
    """Fill in the reference image of a stain normalisation: the training image it names, or a typical one.

    Raises:
        LeukoBenchError: there is no such training image.
    """
    if not variants.needs_reference(variant):
        return variant
    names = [row.image for row in split.manifest.subset("train")]
    if variant.reference and variant.reference not in names:
        raise LeukoBenchError(
            f"Field 'variant.reference' received '{variant.reference}', which is no training image of this split."
            f"{nearest(variant.reference, names)} Give one as <Class>/<file>, or none."
        )
    folder = split.path / "train"
    name = variant.reference or names[variants.choose_reference([folder / image for image in names])]
    return variants.with_reference(variant, np.asarray(image_decoder.open_rgb(folder / name)), name)


def train(
    config: ModelConfig, root: Path, resume: Run | None = None, tracking: Tracking | None = None, devices: str = ""
) -> Run:
    """Train a model and write its run folder, except for what `evaluator.evaluate` adds.

    Args:
        config: what to train; dataset and classes are filled in.
        root: folder of the runs.
        resume: an unfinished run of this configuration, to be continued after its last finished epoch.
        tracking: trackers that receive every epoch.
        devices: "all", or how many of this machine share each batch; "" for one, or for those that the run began with.

    Raises:
        LeukoBenchError: data or initial weights are not available, the loss is not finite, or the disk is full.
        OutOfMemory: the device cannot hold a batch.
        KeyboardInterrupt: Ctrl-C; finished epochs are kept.
    """
    keras_backend.start(config.seed)
    import keras

    remedy = "Use a smaller --set batch_size or image_size."
    with keras_backend.enough_memory(f"{config.model} with batch_size={config.batch_size}", remedy):
        run = _train(config, root, resume, tracking or Tracking(), devices)
    keras.utils.clear_session()  # models are in reference cycles; the evaluation needs their memory
    return run


def _train(config: ModelConfig, root: Path, resume: Run | None, tracking: Tracking, devices: str) -> Run:
    history = history_of(resume) if resume else []
    if history and schedule.next_phase(history, config.phases(), config.patience) is None:
        tracking.begin(resume)
        return _close(resume, trained_here=False)  # all epochs had ended; only the evaluation is missing
    recorded = resume.environment() if resume else {}
    _check_backend(recorded)
    used = choose(devices or str(len(recorded.get("devices", ["one"]))), config.batch_size)
    if not history:
        _check_initial_weights(config)
    stored_variant = config.variant
    config, split = prepare(config, resume)
    if resume:
        config = config.replace(variant=stored_variant)  # with the reference image chosen when the run began
    # A resumed run keeps its precision, whatever "auto" would choose on this machine.
    precision = recorded.get("precision") or keras_backend.resolve_precision(config.precision)
    with keras_backend.dtype_policy(precision), used.scope():
        model = models.build(config, initial_weights=not history)
    cam.check_layer(model, config.heatmap_layer)
    cam.check_method(config.heatmap_method, model)
    run = resume or _new_run(root, config)
    with _locked(run):
        if resume is None:
            _write_settings(run, config, split, {"precision": precision, "devices": used.names}, model)
        tracking.begin(run)
        training, validation = _read_images(config, split)
        with used.scope():
            Session(run, config, model, training, validation, tracking, used).train()
    return _close(run, trained_here=True)


def _new_run(root: Path, config: ModelConfig) -> Run:
    """Return a new run; say so where it had to be given a later time than now to be the latest one."""
    run, now = run_folder.new_run(root, config.model, config.hash()), datetime.now(UTC)
    begun = run_folder.time_of(run.stamp)
    if begun - now > timedelta(minutes=1):
        say(
            f"Note: runs of {config.model} in {root} are from {begun:%Y-%m-%d %H:%M} UTC, but the clock says "
            f"{now:%Y-%m-%d %H:%M}. It seems to be set back; the new run is named after them, so that it is the latest."
        )
    return run


@contextmanager
def _locked(run: Run) -> Iterator[None]:
    """Hold the run's lock while it trains; remove a new run for which the device has too little memory.

    Raises:
        LeukoBenchError: another process is training the run.
    """
    lock = locks.take(run.file(run_folder.STATE) / "lock")  # released with this process, however it ends
    if lock is None:
        raise LeukoBenchError(f"Run {run.id} is being trained by another process already. Wait until that has ended.")
    try:
        yield
    except Exception as problem:
        if keras_backend.ran_out(problem) and not run.file(run_folder.HISTORY).is_file():
            shutil.rmtree(run.path, ignore_errors=True)  # it has no finished epoch to resume from
        raise
    finally:
        lock.close()


def _check_backend(recorded: dict[str, Any]) -> None:
    """Raise LeukoBenchError where a run would continue with another backend: a run must give the same bytes."""
    begun = recorded.get("backend", "tensorflow")  # not recorded in the first releases
    if recorded and begun != keras_backend.backend():
        raise LeukoBenchError(
            f"This run was started with KERAS_BACKEND={begun}, now it is {keras_backend.backend()}. "
            "Set it back and resume."
        )


def _read_images(config: ModelConfig, split: splits.SplitFolder) -> "tuple[Images, Images]":
    """Read training images, with their offline copies, and validation images; in memory if both fit into the budget."""
    copies, made = None, 0
    if config.offline.active:
        folder = offline_copies.prepare(split, config.offline)
        made = len(offline_copies.files(folder))
        copies = folder / "train" if made else None
        say(f"  {made} copies of training images, made beforehand")
    count = len(split.manifest.subset("train")) + len(split.manifest.subset("val")) + made
    budget = config.cache_mb * 1_000_000
    if count * config.image_size**2 * 3 > budget:
        budget = 0
    classes, size, variant = config.classes, config.image_size, config.variant
    training = loader().read(split.path, "train", classes, size, budget, variant, copies)
    return training, loader().read(split.path, "val", classes, size, budget, variant)


def _check_initial_weights(config: ModelConfig) -> None:
    """Check the initial weights before spending time on the data.

    Raises:
        LeukoBenchError: they are not available.
    """
    import keras

    if config.weights == "none":
        return
    if config.weights != "imagenet":
        pretrained.check_file(config.weights)
        return
    models.build(config.replace(classes=("one", "other")))
    keras.utils.clear_session()
    keras.utils.set_random_seed(config.seed)


def _write_settings(
    run: Run, config: ModelConfig, split: splits.SplitFolder, chosen: dict[str, Any], model: "keras.Model"
) -> None:
    manifest: Manifest = split.manifest
    stored = run.root / "manifests" / f"{manifest.hash}.csv"
    if not stored.is_file():
        manifest.write(stored)
    settings = config.model_dump(mode="json") | {
        "initialisation": config.initialisation,
        "flavour": config.flavour,
    }
    recorded = {
        "manifest": manifest.hash,
        "test_identity": manifest.test_identity,
        "split_folder": split.path.name,
        **chosen,
        "device": keras_backend.device_name(),
        "threads": keras_backend.threads(),
        "deterministic": keras_backend.deterministic(),
        "backend": keras_backend.backend(),
        "started": f"{run_folder.time_of(run.stamp):%Y-%m-%dT%H:%M:%SZ}",
    }
    with transaction.together(run.path) as stage:
        files.write_json(stage / run_folder.CONFIG, settings)
        files.write_json(stage / run_folder.ENVIRONMENT, recorded | environment.describe())
        files.write_text(stage / run_folder.ARCHITECTURE, files.compact(_architecture(model)) + "\n")


def _architecture(model: "keras.Model") -> dict[str, Any]:
    """Return the graph as Keras describes it, with the output shape of every layer, so that no diagram needs Keras."""
    shapes = {layer.name: [list(each.shape) for each in _outputs(layer)] for layer in model.layers}
    return json.loads(model.to_json()) | {"output_shapes": {name: all_[0] for name, all_ in shapes.items() if all_}}


def _outputs(layer: "keras.Layer") -> list["keras.KerasTensor"]:
    import keras

    return keras.tree.flatten(layer.output)


def _close(run: Run, trained_here: bool) -> Run:
    """Write the training half of timing.json and remove the files that only a resume needs."""
    kept = efficiency.kept_timing(run)
    extraction = files.read_json(run.file(run_folder.FEATURES)) if run.file(run_folder.FEATURES).is_file() else None
    costs = efficiency.training(run.history(), kept.get("training") or {}, trained_here, extraction)
    with seal.together(run) as stage:
        files.write_json(stage / run_folder.TIMING, kept | {"training": costs})
    shutil.rmtree(run.file(run_folder.STATE), ignore_errors=True)
    return run
