"""Train one configuration into a run folder: phases, best weights, resume, feature reuse for frozen bases."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import models
from data import pipeline, splitting
from models import runtime, schedule
from models.base_config import ModelConfig
from models.session import Session
from utils import artifacts, environment, files
from utils.artifacts import Run
from utils.errors import LeukoBenchError

if TYPE_CHECKING:
    import keras

    from data.manifest import Manifest


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
    import keras
    import tensorflow as tf

    try:
        run = _train(config, root, resume)
        keras.utils.clear_session()  # models hold themselves in circles: evaluation shall not stand on their memory
        return run
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
    Session(run, config, model, images["train"], images["val"]).train()
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
