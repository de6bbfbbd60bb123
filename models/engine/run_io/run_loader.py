"""Open a trained run: its configuration, split, model and outputs. Every command that uses a model opens it here."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

import models
from data import catalog, manifest
from data.loading.pipeline import loader
from data.splitting import splits
from models.engine.backend import keras_backend
from models.engine.config.base import ModelConfig
from models.engine.config.overrides import UnknownField
from models.engine.run_io import checkpoint
from utils.errors import LeukoBenchError
from utils.runs import run_folder, split_spec
from utils.runs.run_folder import Run

if TYPE_CHECKING:
    import keras

    from data.loading.image_set import Images

OUT_OF_MEMORY_ADVICE = (
    "Close other programs that use the GPU, or use the CPU: set CUDA_VISIBLE_DEVICES=-1 and run it again."
)
BATCH = 32  # images per step while predicting; fixed, so that predictions do not depend on the training batch
DERIVED = ("initialisation", "flavour")  # in config.json for readers without Keras; the other fields decide them


def config_of(run: Run) -> ModelConfig:
    """Return the configuration of a run.

    Raises:
        LeukoBenchError: config.json is missing, damaged or of a newer version, or the model is not in this checkout.
    """
    # Runs of old versions have no field for the split; they used this one.
    fields = {"split": split_spec.DEFAULT} | {k: value for k, value in run.config().items() if k not in DERIVED}
    try:
        return models.config_for(fields.pop("model"), **fields)
    except UnknownField as error:
        path = run.file(run_folder.CONFIG)
        raise LeukoBenchError(
            f"{path} has the field '{error.field}', which this version of LeukoBench does not know: a newer version "
            "made the run. Update LeukoBench (git pull).",
            path=path,
        ) from None


def open_model(run: Run, logits: bool = False) -> "keras.Model":
    """Rebuild a run's model in float32, whatever precision it was trained in, with its best weights.

    Args:
        run: with config.json and model.weights.h5.
        logits: leave out the softmax, for heatmaps.

    Raises:
        LeukoBenchError: the weights are missing, do not fit, or have changed since the run was measured.
    """
    keras_backend.start()
    config = config_of(run)
    with keras_backend.dtype_policy("float32"):
        model = models.build(config, initial_weights=False, logits=logits)
    checkpoint.load(model, run, run.weights)
    run.check(run_folder.WEIGHTS)
    return model


def split_of(run: Run) -> splits.SplitFolder:
    """Return the split folder that a run was trained on, from its stored manifest where there is one.

    Raises:
        LeukoBenchError: the dataset is missing or has changed since the run's manifest was written.
    """
    config, expected = run.config(), run.environment()["manifest"]
    dataset, spec, seed = catalog.ensure_dataset(config["dataset"]), config["split"], config["split_seed"]
    if run.manifest_path().is_file():
        stored = manifest.read(run.manifest_path())
        if stored.hash == expected:
            return splits.restore_split(dataset, stored, spec, seed)
    split = splits.prepare_split(dataset, spec, seed)
    if split.manifest.hash != expected:
        raise LeukoBenchError(
            f"Run {run.id} was made on manifest {expected}, the dataset '{config['dataset']}' now gives "
            f"{split.manifest.hash}. Import the images of that run again, or train a new run."
        )
    return split


def read(config: ModelConfig, split: splits.SplitFolder, subset: str) -> "Images":
    """Read a subset of a run's split at the size and in the variant of its configuration; "test": the main test set."""
    budget = config.cache_mb * 1_000_000
    return loader().read(
        split.path, split.manifest.resolve(subset), config.classes, config.image_size, budget, config.variant
    )


def predict(model: "keras.Model", images: "Images") -> np.ndarray:
    """Return (n, classes) float32 outputs in the order of `images.names`."""
    with keras_backend.enough_memory(f"Predicting with {model.name}", OUT_OF_MEMORY_ADVICE):
        return outputs(model.predict_on_batch, images)


def outputs(call: Callable[[Any], np.ndarray], images: "Images") -> np.ndarray:
    """Return (n, classes) float32 of a call that takes one batch of pixels, in the order of `images.names`."""
    found = [call(pixels) for pixels, _ in loader().fixed_batches(images, BATCH)]
    return np.concatenate(found) if found else np.empty((0, images.classes), np.float32)
