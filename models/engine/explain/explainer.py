"""Heatmaps of a run: for its own examples, for the panel of images shared by all runs, and for any image files."""

import contextlib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.datasets import image_decoder as image_files
from data.imaging.variants import Variant
from data.loading.pipeline import loader
from data.manifest import Manifest
from models.engine.backend import keras_backend
from models.engine.explain.cam import BATCH, check_layer, check_method, heatmaps
from models.engine.run_io.run_loader import OUT_OF_MEMORY_ADVICE, config_of, open_model, split_of
from utils.io import files
from utils.metrics.prediction_ranking import ranked
from utils.runs import run_folder
from utils.runs.run_folder import Run

if TYPE_CHECKING:
    import keras

PANEL_PER_CLASS = 2
PANEL, EXAMPLE, UNSURE = "panel", "example", "unsure"  # purposes, the column of heatmaps.npz


def panel(manifest: Manifest) -> list[str]:
    """Return the test images on which every run of a split is explained: the first few of each class by hash."""
    return [row.image for rows in manifest.by_class("test").values() for row in rows[:PANEL_PER_CLASS]]


def examples(run: Run) -> list[tuple[str, str]]:
    """Choose test images that characterise a run.

    Returns:
        (image, purpose): for each class the correct and the wrong prediction of the highest probability as "example",
        and the image of the smallest margin between its two highest probabilities as "unsure".
    """
    table = run.predictions("test")
    purposes = {"right": EXAMPLE, "wrong": EXAMPLE, "unsure": UNSURE}
    return [
        (image, purpose)
        for name in run.config()["classes"]
        for outcome, purpose in purposes.items()
        for image in ranked(table, outcome, name)["image"][:1]
    ]


def explain(run: Run, method: str = "") -> Run:
    """Write heatmaps.npz of a run: the shared panel and the run's examples, for the predicted class.

    Rows of other methods are kept.

    Args:
        run: has weights and predictions.
        method: see `utils.heatmap_methods`; "" for that of the run's configuration.

    Raises:
        LeukoBenchError: the method does not fit the model, or weights, predictions or data are missing.
    """
    config = config_of(run)
    method = method or config.heatmap_method
    check_method(method)
    chosen = examples(run)
    split = split_of(run)
    chosen += [(name, PANEL) for name in panel(split.manifest)]
    model = _model(run, method)
    names = list(dict.fromkeys(name for name, _ in chosen))
    pixels = read_test(run, names)
    maps, outputs = explain_pixels(model, pixels, method, config.heatmap_layer)
    index = [names.index(name) for name, _ in chosen]
    rows = {
        "image": np.array([name for name, _ in chosen]),
        "method": np.array([method] * len(chosen)),
        "layer": np.array([check_layer(model, config.heatmap_layer)] * len(chosen)),
        "predicted": np.array(config.classes)[outputs.argmax(1)][index],
        "purpose": np.array([purpose for _, purpose in chosen]),
        "map": maps.astype(np.float16)[index],
    }
    path = run.file(run_folder.HEATMAPS)
    # A damaged file is replaced: heatmaps can be computed again.
    damaged = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
    with contextlib.suppress(*damaged), np.load(path, allow_pickle=False) as kept:
        others = kept["method"] != method
        rows = {name: np.concatenate([kept[name][others], value]) for name, value in rows.items()}
    with files.atomic(path) as temporary:
        np.savez_compressed(temporary, **rows)
    return run


def read_test(run: Run, names: Sequence[str]) -> np.ndarray:
    """Return test images of a run as the model receives them: (n, size, size, 3) uint8.

    Raises:
        LeukoBenchError: the dataset has changed since the run was trained.
    """
    config, folder = config_of(run), split_of(run).subset(run_folder.TEST)
    keras_backend.start()
    return np.stack([loader().decode(str(folder / n), config.image_size, config.variant) for n in names])


def explain_images(run: Run, paths: Sequence[Path], method: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Explain any image files, by the method of the run's configuration or another.

    Returns:
        (n, size, size) maps in 0..1 for the predicted class, and (n, classes) probabilities.

    Raises:
        LeukoBenchError: a file is not a usable image, the method does not fit the model, or weights are missing.
    """
    from scipy.special import softmax

    config = config_of(run)
    method = method or config.heatmap_method
    check_method(method)
    pixels = np.stack([load_image(path, config.image_size, config.variant) for path in paths])
    maps, logits = explain_pixels(_model(run, method), pixels, method, config.heatmap_layer)
    return maps, softmax(logits, axis=1)


def _model(run: Run, method: str) -> "keras.Model":
    keras_backend.need_tensorflow("A heatmap")
    model = open_model(run, logits=True)
    check_method(method, model)  # before any image is read
    return model


def explain_pixels(model: "keras.Model", pixels: np.ndarray, method: str, layer: str) -> tuple[np.ndarray, np.ndarray]:
    """Explain images for the predicted class: (n, size, size) maps in 0..1, and (n, classes) logits.

    The arguments are those of `cam.heatmaps`.
    """
    logits = np.concatenate(
        [model.predict_on_batch(pixels[i : i + BATCH].astype(np.float32)) for i in range(0, len(pixels), BATCH)]
    )
    with keras_backend.enough_memory(f"Explaining {model.name}", OUT_OF_MEMORY_ADVICE):
        return heatmaps(model, pixels, logits.argmax(1), method, layer), logits


def load_image(path: Path, size: int, variant: Variant = Variant()) -> np.ndarray:  # noqa: B008  # frozen
    """Read any image file as training does: (size, size, 3) uint8 RGB.

    Raises:
        LeukoBenchError: the file is not a usable image.
    """
    keras_backend.start()
    picture = image_files.open_picture(path)
    if not picture.changes:  # the same decoder as in training: JPEG decoders differ in the last bit
        return loader().decode(str(path), size, variant)
    return loader().prepare(np.asarray(picture.image), size, variant)
