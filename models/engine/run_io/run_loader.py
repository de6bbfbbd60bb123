"""Evaluate a trained run: predictions, timing, metrics. Also the one way to open its model."""

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

import models
from data import catalog, manifest
from data.loading.pipeline import loader
from data.ood import reference_distribution
from data.splitting import splits
from models.engine.backend import keras_backend
from models.engine.config.base import ModelConfig
from models.engine.evaluation import efficiency
from models.engine.layers import backbone
from models.engine.run_io import checkpoint
from utils.errors import LeukoBenchError
from utils.io import files
from utils.metrics import predictions
from utils.runs import run_folder
from utils.runs.run_folder import Run

if TYPE_CHECKING:
    import keras

    from data.loading.image_set import Images

ELSEWHERE = "Close what else uses the GPU, or use the CPU: set CUDA_VISIBLE_DEVICES=-1 and run it again."
BATCH = 32  # images a step while predicting; fixed, so that predictions do not depend on the training batch


def config_of(run: Run) -> ModelConfig:
    """Return the configuration of a run.

    Raises:
        LeukoBenchError: config.json is missing or damaged, or the model is not in this checkout.
    """
    fields = run.config()
    for said in ("initialisation", "flavour"):  # which the fields decide
        fields.pop(said, None)
    return models.config_for(fields.pop("model"), **fields)


def open_model(run: Run, logits: bool = False) -> "keras.Model":
    """Rebuild a run's model in float32, whatever precision it was trained in, with its best weights.

    Args:
        run: with config.json and model.weights.h5.
        logits: leave the softmax away, for heatmaps.

    Raises:
        LeukoBenchError: the weights are missing or do not fit.
    """
    keras_backend.start()
    config = config_of(run)
    with keras_backend.dtype_policy("float32"):
        model = models.build(config, initial_weights=False, logits=logits)
    checkpoint.load(model, run, run.file(run_folder.WEIGHTS))
    return model


def split_of(run: Run) -> splits.SplitFolder:
    """Return the split folder that a run was trained on, from the manifest beside the runs where it was kept.

    Raises:
        LeukoBenchError: the dataset is missing, or is not the one of the run's manifest any more.
    """
    config, expected = run.config(), run.environment()["manifest"]
    made = catalog.ensure_dataset(config["dataset"]), config["split"], config["split_seed"]
    if run.manifest_path().is_file():
        kept = manifest.read(run.manifest_path())
        if kept.hash == expected:
            return splits.restore_split(made[0], kept, *made[1:])
    split = splits.prepare_split(*made)
    if split.manifest.hash != expected:
        raise LeukoBenchError(
            f"Run {run.id} was made on manifest {expected}, the dataset '{config['dataset']}' now gives "
            f"{split.manifest.hash}. Import the images of that run again, or train a new run."
        )
    return split


def evaluate(run: Run) -> Run:
    """Write predictions.csv, the inference half of timing.json, the split's reference, and metrics.json last.

    Raises:
        LeukoBenchError: weights or data are missing or do not fit the run.
    """
    keras_backend.start()
    config, history = config_of(run), run.history()
    split = split_of(run)
    start = perf_counter()
    model = open_model(run)
    load_seconds = perf_counter() - start
    header, rows, images = predicted(config, split, lambda images: predict(model, images))
    files.write_text(run.file(run_folder.PREDICTIONS), files.csv_text(header, rows))
    # What is trainable is what the last phase of training learned.
    backbone.prepare_phase(model, config.phases()[-1], config.weights != "none")
    with keras_backend.enough_memory(f"Timing {model.name}", ELSEWHERE):
        measured = efficiency.inference(model, images, run.file(run_folder.WEIGHTS))
    inference = {"load_seconds": load_seconds} | measured
    costs = efficiency.kept_timing(run).get("training") or efficiency.training(history, {}, here=False)
    files.write_json(run.file(run_folder.TIMING), {"training": costs, "inference": inference})
    reference_distribution.ensure(run.root, split)  # for the web page, which refuses what is no smear
    table = run.predictions()
    summary = {subset: predictions.summary(table[table["split"] == subset]) for subset in ("val", "test")}
    files.write_json(run.file(run_folder.METRICS), summary)
    return run


def read(config: ModelConfig, split: splits.SplitFolder, subset: str) -> "Images":
    """Read a subset of a run's split as its configuration says."""
    budget = config.cache_mb * 1_000_000
    return loader().read(split.path, subset, config.classes, config.image_size, budget, config.variant)


def predicted(
    config: ModelConfig, split: splits.SplitFolder, answer: Callable[["Images"], np.ndarray]
) -> "tuple[list[str], list[list[str]], Images]":
    """Return columns and rows of predictions.csv for what answers a subset with (n, classes), and the test images."""
    rows, images = [], None
    for subset in ("val", "test"):
        images = read(config, split, subset)
        for name, label, values in zip(images.names, images.labels, answer(images), strict=True):
            # Nine digits bring every float32 back exactly.
            rows.append([name, subset, config.classes[label], *(f"{value:.9g}" for value in values)])
    return ["image", "split", "label", *(f"p_{name}" for name in config.classes)], rows, images


def predict(model: "keras.Model", images: "Images") -> np.ndarray:
    """Return (n, classes) float32 outputs in the order of `images.names`."""
    with keras_backend.enough_memory(f"Predicting with {model.name}", ELSEWHERE):
        return outputs(model.predict_on_batch, images)


def outputs(call: Callable[[Any], np.ndarray], images: "Images") -> np.ndarray:
    """Return (n, classes) float32 of a call that answers a batch, in the order of `images.names`."""
    found = [call(pixels) for pixels, _ in loader().fixed_batches(images, BATCH)]
    return np.concatenate(found) if found else np.empty((0, images.classes), np.float32)
