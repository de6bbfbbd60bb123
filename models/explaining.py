"""Heatmaps of a run with tf-keras-vis, as arrays: where the model looked. Drawing is visualization/gradcam.py."""

import contextlib
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data import images as image_files
from data import pipeline
from data.manifest import Manifest
from models import runtime
from models.evaluation import ELSEWHERE, config_of, open_model, split_of
from utils import artifacts, files
from utils.artifacts import Run
from utils.errors import LeukoBenchError, nearest

if TYPE_CHECKING:
    import keras

METHODS = ("gradcam", "gradcam++", "scorecam")
PANEL_PER_CLASS = 2
# Scorecam masks the image once a channel; the strongest few say nearly the same for a bounded memory.
SCORECAM_CHANNELS = 16
BATCH = 8


def heatmaps(model: "keras.Model", pixels: np.ndarray, targets: Sequence[int], method: str, layer: str) -> np.ndarray:
    """Compute where the model looked.

    Sources: Grad-CAM, Selvaraju et al. 2017; Grad-CAM++, Chattopadhay et al. 2018; Score-CAM, Wang et al. 2020.

    Args:
        model: with logits as output, in float32.
        pixels: (n, size, size, 3) in 0-255.
        targets: (n,) index of the class to explain.
        method: one of METHODS.
        layer: name of the layer whose activations are weighed.

    Returns:
        (n, size, size) float32 in 0..1, each map divided by its largest value; all zeros where nothing speaks for the
        class.

    Raises:
        LeukoBenchError: unknown method or layer.
    """
    check_method(method)
    check_layer(model, layer)
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.gradcam_plus_plus import GradcamPlusPlus
    from tf_keras_vis.scorecam import Scorecam
    from tf_keras_vis.utils.scores import CategoricalScore

    maker = {"gradcam": Gradcam, "gradcam++": GradcamPlusPlus, "scorecam": Scorecam}[method](model, clone=False)
    options = {"penultimate_layer": layer, "seek_penultimate_conv_layer": False, "normalize_cam": False}
    if method == "scorecam":
        options["max_N"] = min(SCORECAM_CHANNELS, model.get_layer(layer).output.shape[-1])
    maps = []
    for start in range(0, len(pixels), BATCH):
        part = np.asarray(pixels[start : start + BATCH], np.float32)
        score = CategoricalScore([int(target) for target in targets[start : start + BATCH]])
        with contextlib.redirect_stdout(io.StringIO()):  # Score-CAM predicts with a progress bar
            maps.append(maker(score, part, **options))
    result = np.nan_to_num(np.concatenate(maps).astype(np.float32)).clip(min=0)
    peak = result.max(axis=(1, 2), keepdims=True)
    return np.divide(result, peak, out=np.zeros_like(result), where=peak > 0)


def check_method(method: str) -> None:
    """Raise LeukoBenchError unless `method` is one of METHODS."""
    if method not in METHODS:
        raise LeukoBenchError(
            f"Unknown method '{method}'.{nearest(method, METHODS)} Valid methods: {', '.join(METHODS)}."
        )


def check_layer(model: "keras.Model", layer: str) -> None:
    """Raise LeukoBenchError unless the model has a layer of that name whose output has rows and columns."""
    spatial = [each.name for each in model.layers if len(getattr(each.output, "shape", ())) == 4]
    if layer not in spatial:
        raise LeukoBenchError(
            f"Field 'heatmap_layer' received '{layer}': {model.name} has no such layer with rows and columns."
            f"{nearest(layer, spatial)} The last ones: {', '.join(spatial[-4:])}."
        )


def panel(manifest: Manifest) -> list[str]:
    """Return the test images that every run of a split is explained on: the first few of each class by hash."""
    chosen = []
    for name in manifest.classes:
        rows = sorted((row for row in manifest.subset("test") if row.label == name), key=lambda row: row.sha256)
        chosen += [row.image for row in rows[:PANEL_PER_CLASS]]
    return chosen


def examples(run: Run) -> list[str]:
    """Return per class the test image most surely right and the one most surely wrong, where there is one."""
    table = run.predictions("test")
    columns = [name for name in table.columns if name.startswith("p_")]
    values = table[columns].to_numpy()
    table = table.assign(predicted=[columns[i][2:] for i in values.argmax(1)], sure=values.max(1))
    chosen = []
    for name in run.config()["classes"]:
        of_class = table[table["label"] == name].sort_values(["sure", "image"], ascending=[False, True])
        right = of_class["predicted"] == name
        chosen += [*of_class[right]["image"][:1], *of_class[~right]["image"][:1]]
    return chosen


def explain(run: Run, method: str = "gradcam") -> Run:
    """Write heatmaps.npz of a run: the shared panel and the run's own examples, for the class it predicted.

    Rows of other methods that are there already stay.

    Raises:
        LeukoBenchError: unknown method, or weights, predictions or data are missing.
    """
    check_method(method)
    chosen = [(name, "example") for name in examples(run)]
    split = split_of(run)
    chosen += [(name, "panel") for name in panel(split.manifest)]
    config = config_of(run)
    runtime.start()
    folder = split.path / "test"
    pixels = np.stack([pipeline.decode(str(folder / name), config.image_size).numpy() for name, _ in chosen])
    maps, outputs = _explain(run, pixels, method)
    predicted = np.array(config.classes)[outputs.argmax(1)]
    rows = {
        "image": np.array([name for name, _ in chosen]),
        "method": np.array([method] * len(chosen)),
        "layer": np.array([config.heatmap_layer] * len(chosen)),
        "target": predicted,
        "predicted": predicted,
        "purpose": np.array([purpose for _, purpose in chosen]),
        "map": maps.astype(np.float16),
    }
    path = run.file(artifacts.HEATMAPS)
    # A damaged file is made anew: heatmaps are derived.
    damaged = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
    with contextlib.suppress(*damaged), np.load(path, allow_pickle=False) as kept:
        others = kept["method"] != method
        rows = {name: np.concatenate([kept[name][others], value]) for name, value in rows.items()}
    with files.atomic(path) as temporary:
        np.savez_compressed(temporary, **rows)
    return run


def explain_images(run: Run, paths: Sequence[Path], method: str = "gradcam") -> tuple[np.ndarray, np.ndarray]:
    """Explain any image files.

    Returns:
        (n, size, size) maps in 0..1 for the predicted class, and (n, classes) probabilities.

    Raises:
        LeukoBenchError: a file is no image that can be used; unknown method; weights are missing.
    """
    size = config_of(run).image_size
    pixels = np.stack([load_image(path, size) for path in paths])
    maps, logits = _explain(run, pixels, method)
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return maps, exponents / exponents.sum(axis=1, keepdims=True)


def _explain(run: Run, pixels: np.ndarray, method: str) -> tuple[np.ndarray, np.ndarray]:
    model = open_model(run, logits=True)
    logits = np.concatenate(
        [model.predict_on_batch(pixels[i : i + BATCH].astype(np.float32)) for i in range(0, len(pixels), BATCH)]
    )
    with runtime.enough_memory(f"Explaining {model.name}", ELSEWHERE):
        return heatmaps(model, pixels, logits.argmax(1), method, config_of(run).heatmap_layer), logits


def load_image(path: Path, size: int) -> np.ndarray:
    """Read any image file as training would see it: (size, size, 3) uint8 RGB.

    Raises:
        LeukoBenchError: the file is no image that can be used.
    """
    runtime.start()
    picture = image_files.open_picture(path)
    if not picture.changes:  # the same decoder as in training: JPEG decoders differ in the last bit
        return pipeline.decode(str(path), size).numpy()
    return pipeline.resize(np.asarray(picture.image), size).numpy()
