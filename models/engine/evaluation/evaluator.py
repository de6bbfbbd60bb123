"""Evaluate a trained run: predictions, timing and metrics into its folder."""

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from data.ood import reference_distribution
from data.splitting.splits import SplitFolder
from models.engine.backend import keras_backend
from models.engine.config.base import ModelConfig
from models.engine.evaluation import efficiency
from models.engine.layers import backbone
from models.engine.run_io import run_loader
from utils.errors import LeukoBenchError
from utils.io import files
from utils.metrics import predictions
from utils.runs import run_folder, seal
from utils.runs.run_folder import Run

if TYPE_CHECKING:
    import pandas as pd

    from data.loading.image_set import Images


def evaluate(run: Run) -> Run:
    """Write predictions.csv, the inference half of timing.json, metrics.json and seal.json together.

    Also the reference of the split, where it is missing. A run that was sealed keeps the seal of its other files.

    Raises:
        LeukoBenchError: weights or data are missing or do not fit the run, the weights give no probabilities, or the
            disk is full; or weights, settings or history have changed since an earlier evaluation, since a changed run
            must not pass as a measured one. The files of an earlier evaluation are kept.
    """
    keras_backend.start()
    config, history = run_loader.config_of(run), run.history()
    split = run_loader.split_of(run)
    start = perf_counter()
    model = run_loader.open_model(run)
    load_seconds = perf_counter() - start
    with run.named_in_errors():
        header, rows, images = prediction_rows(config, split, lambda images: run_loader.predict(model, images))
    # Count as trainable what the last phase of training trained.
    backbone.prepare_phase(model, config.phases()[-1], config.weights != "none")
    with keras_backend.enough_memory(f"Timing {model.name}", run_loader.OUT_OF_MEMORY_ADVICE):
        measured = efficiency.inference(model, images, run.weights)
    inference = {"load_seconds": load_seconds} | measured
    costs = efficiency.kept_timing(run).get("training") or efficiency.training(history, {}, here=False)
    reference_distribution.ensure(run.root, split)  # the web page rejects out-of-distribution images with it
    with seal.together(run, finish=True) as stage:
        files.write_text(stage / run_folder.PREDICTIONS, files.csv_text(header, rows))
        files.write_json(stage / run_folder.TIMING, {"training": costs, "inference": inference})
        table = run.predictions(path=stage / run_folder.PREDICTIONS)
        files.write_json(stage / run_folder.METRICS, summaries(table))
    return run


def summaries(table: "pd.DataFrame") -> dict[str, dict[str, Any]]:
    """Return the content of metrics.json: "val", "test" for the main test set, and an entry for each further one.

    Args:
        table: predictions of all subsets.

    Raises:
        LeukoBenchError: invalid predictions.
    """
    main, *further = run_folder.test_sets(table["split"])
    named = {"val": "val", run_folder.TEST: main, **dict(zip(further, further, strict=True))}
    return {name: predictions.summary(table[table["split"] == subset]) for name, subset in named.items()}


def prediction_rows(
    config: ModelConfig, split: SplitFolder, predict: Callable[["Images"], np.ndarray]
) -> "tuple[list[str], list[list[str]], Images]":
    """Return header and rows of predictions.csv, and the images of the main test set.

    Args:
        config: of the run.
        split: whose validation images and test sets are predicted.
        predict: images of a subset to (n, classes) probabilities.

    Raises:
        LeukoBenchError: the images are not those of the manifest, or the outputs are no probabilities.
    """
    rows, tested = [], None
    for subset in ("val", *split.manifest.test_sets):
        images = run_loader.read(config, split, subset)
        tested = images if subset == split.manifest.resolve(run_folder.TEST) else tested
        expected = sorted(row.image for row in split.manifest.subset(subset))
        if sorted(images.names) != expected:
            raise LeukoBenchError(
                f"{split.path / subset} holds {len(images.names):,} images, its manifest {len(expected):,} others. "
                f"Remove {split.path}, which is made again."
            )
        outputs = predict(images)
        if len(broken := np.flatnonzero(predictions.invalid(outputs))):
            first = ", ".join(f"{value:.6g}" for value in outputs[broken[0]])
            raise LeukoBenchError(
                f"{len(broken):,} of {len(outputs):,} {subset} images get no probabilities in 0..1 with the sum 1 "
                f"(first: '{images.names[broken[0]]}' gets {first}). The weights are damaged: restore them or train "
                "again. Nothing was written."
            )
        for name, label, values in zip(images.names, images.labels, outputs, strict=True):
            # Nine digits represent every float32 exactly.
            rows.append([name, subset, config.classes[label], *(f"{value:.9g}" for value in values)])
    return ["image", "split", "label", *(f"p_{name}" for name in config.classes)], rows, tested
