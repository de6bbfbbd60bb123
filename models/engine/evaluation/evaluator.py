"""Evaluate a trained run: predictions, timing and metrics into its folder."""

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from data.ood import reference_distribution
from data.splitting.splits import SplitFolder
from models.engine.backend import keras_backend
from models.engine.config.base import ModelConfig
from models.engine.evaluation import efficiency
from models.engine.layers import backbone
from models.engine.run_io import run_loader
from utils.io import files
from utils.metrics import predictions
from utils.runs import run_folder
from utils.runs.run_folder import Run

if TYPE_CHECKING:
    from data.loading.image_set import Images

SUBSETS = ("val", "test")


def evaluate(run: Run) -> Run:
    """Write predictions.csv, the inference half of timing.json, the split's reference, and metrics.json last.

    Raises:
        LeukoBenchError: weights or data are missing or do not fit the run.
    """
    keras_backend.start()
    config, history = run_loader.config_of(run), run.history()
    split = run_loader.split_of(run)
    start = perf_counter()
    model = run_loader.open_model(run)
    load_seconds = perf_counter() - start
    header, rows, images = prediction_rows(config, split, lambda images: run_loader.predict(model, images))
    files.write_text(run.file(run_folder.PREDICTIONS), files.csv_text(header, rows))
    # Count as trainable what the last phase of training trained.
    backbone.prepare_phase(model, config.phases()[-1], config.weights != "none")
    with keras_backend.enough_memory(f"Timing {model.name}", run_loader.OUT_OF_MEMORY_ADVICE):
        measured = efficiency.inference(model, images, run.file(run_folder.WEIGHTS))
    inference = {"load_seconds": load_seconds} | measured
    costs = efficiency.kept_timing(run).get("training") or efficiency.training(history, {}, here=False)
    files.write_json(run.file(run_folder.TIMING), {"training": costs, "inference": inference})
    reference_distribution.ensure(run.root, split)  # the web page rejects out-of-distribution images with it
    table = run.predictions()
    summary = {subset: predictions.summary(table[table["split"] == subset]) for subset in SUBSETS}
    files.write_json(run.file(run_folder.METRICS), summary)
    return run


def prediction_rows(
    config: ModelConfig, split: SplitFolder, predict: Callable[["Images"], np.ndarray]
) -> "tuple[list[str], list[list[str]], Images]":
    """Return header and rows of predictions.csv, and the test images.

    Args:
        config: of the run.
        split: whose validation and test images are predicted.
        predict: images of a subset to (n, classes) probabilities.
    """
    rows, images = [], None
    for subset in SUBSETS:
        images = run_loader.read(config, split, subset)
        for name, label, values in zip(images.names, images.labels, predict(images), strict=True):
            # Nine digits represent every float32 exactly.
            rows.append([name, subset, config.classes[label], *(f"{value:.9g}" for value in values)])
    return ["image", "split", "label", *(f"p_{name}" for name in config.classes)], rows, images
