"""Heatmaps of a model: the methods and layers that fit it, and the maps as arrays."""

import contextlib
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from models.engine.backend import keras_backend
from models.engine.explain import vit_attention
from utils import heatmap_methods
from utils.errors import LeukoBenchError, nearest
from utils.heatmap_methods import CONVOLUTIONS, TOKENS

if TYPE_CHECKING:
    import keras

# Score-CAM masks the image once for each channel; the strongest channels give nearly the same map in bounded memory.
SCORECAM_CHANNELS = 16
BATCH = 8


def heatmaps(model: "keras.Model", pixels: np.ndarray, targets: Sequence[int], method: str, layer: str) -> np.ndarray:
    """Compute heatmaps for given classes; `utils.heatmap_methods` names the source of each method.

    Args:
        model: outputs logits, in float32.
        pixels: (n, size, size, 3) in 0-255.
        targets: (n,) index of the class to explain.
        method: one of `methods_of(model)`.
        layer: name of the layer or transformer block whose activations are weighted; "" for the last one possible.

    Returns:
        (n, size, size) float32 in 0..1, each map divided by its largest value; all zeros where no evidence for the
        class was found.

    Raises:
        LeukoBenchError: the method or the layer does not fit the model, or Keras runs on another backend.
    """
    keras_backend.need_tensorflow("A heatmap")
    check_method(method, model)
    layer = check_layer(model, layer)
    compute = _of_convolutions if vit_attention.backbone_of(model) is None else _of_tokens
    parts = range(0, len(pixels), BATCH)
    maps = [
        compute(model, pixels[i : i + BATCH].astype(np.float32), targets[i : i + BATCH], method, layer) for i in parts
    ]
    result = np.nan_to_num(np.concatenate(maps).astype(np.float32)).clip(min=0)
    peak = result.max(axis=(1, 2), keepdims=True)
    return np.divide(result, peak, out=np.zeros_like(result), where=peak > 0)


def _of_convolutions(
    model: "keras.Model", pixels: np.ndarray, targets: Sequence[int], method: str, layer: str
) -> np.ndarray:
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.gradcam_plus_plus import GradcamPlusPlus
    from tf_keras_vis.scorecam import Scorecam
    from tf_keras_vis.utils.scores import CategoricalScore

    maker = {"gradcam": Gradcam, "gradcam++": GradcamPlusPlus, "scorecam": Scorecam}[method](model, clone=False)
    options = {"penultimate_layer": layer, "seek_penultimate_conv_layer": False, "normalize_cam": False}
    if method == "scorecam":
        options["max_N"] = min(SCORECAM_CHANNELS, model.get_layer(layer).output.shape[-1])
    score = CategoricalScore([int(target) for target in targets])
    with contextlib.redirect_stdout(io.StringIO()):  # Score-CAM predicts with a progress bar
        return maker(score, pixels, **options)


def _of_tokens(model: "keras.Model", pixels: np.ndarray, targets: Sequence[int], method: str, layer: str) -> np.ndarray:
    import tensorflow as tf

    if method == "rollout":
        grids = vit_attention.rollout(model, pixels)
        grids = grids - grids.min(axis=(1, 2), keepdims=True)  # every token contributes a little to the class token
    else:
        grids = vit_attention.gradcam(model, pixels, [int(target) for target in targets], layer)
    return tf.image.resize(grids[..., None], pixels.shape[1:3], method="bilinear").numpy()[..., 0]


def kind_of(model: "keras.Model") -> str:
    """Return CONVOLUTIONS or TOKENS: whether activations are a grid or image tokens."""
    return CONVOLUTIONS if vit_attention.backbone_of(model) is None else TOKENS


def methods_of(model: "keras.Model") -> list[str]:
    """Return the names of the methods that can explain a model."""
    return heatmap_methods.names(kind_of(model))


def check_method(method: str, model: "keras.Model | None" = None) -> None:
    """Raise LeukoBenchError unless the method exists and, if a model is given, fits it."""
    known = heatmap_methods.names()
    if method not in known:
        raise LeukoBenchError(f"Unknown method '{method}'.{nearest(method, known)} Valid methods: {', '.join(known)}.")
    if model is not None and method not in methods_of(model):
        raise LeukoBenchError(
            f"Method '{method}' does not fit {model.name}, a {kind_of(model)} model. "
            f"Methods that fit: {', '.join(methods_of(model))}."
        )


def check_layer(model: "keras.Model", layer: str) -> str:
    """Return the layer that heatmaps use: the given one, or the last possible one of the model.

    Raises:
        LeukoBenchError: the model has no such layer, or no layer whose output is a grid or image tokens.
    """
    readable = layers_of(model)
    if layer in readable:
        return layer
    if readable and not layer:
        return readable[-1]
    what = "rows and columns" if kind_of(model) == CONVOLUTIONS else "image tokens that reach the output"
    last = f"{nearest(layer, readable)} The last ones: {', '.join(readable[-4:])}." if readable else ""
    raise LeukoBenchError(
        f"Field 'heatmap_layer' received '{layer}': {model.name} has no such layer with {what}.{last}"
    )


def layers_of(model: "keras.Model") -> list[str]:
    """Return the layers that heatmaps can use, first to last: with a grid of activations, or blocks."""
    if kind_of(model) == TOKENS:
        return vit_attention.block_names(model)
    # Layers inside a nested model are not part of the outer graph.
    flat = (layer for layer in model.layers if not hasattr(layer, "layers"))
    return [layer.name for layer in flat if len(getattr(layer.output, "shape", ())) == 4]
