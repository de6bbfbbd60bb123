"""Initial weights of keras.applications, of keras-hub, or from a file; a one-line error where they are missing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from models.engine.layers import weight_file
from models.engine.layers.backbone import split_at_head
from utils.errors import LeukoBenchError
from utils.system import optional_packages

if TYPE_CHECKING:
    import keras
    import numpy as np

    from models.engine.config.base import ModelConfig


def load_application(
    application: Callable[..., "keras.Model"],
    inputs: "keras.KerasTensor",
    config: "ModelConfig",
    initial: bool,
) -> "keras.Model":
    """Build a backbone of keras.applications on `inputs` without its classifier.

    Args:
        application: such as `keras.applications.ResNet50`.
        inputs: tensor after the family's preprocessing, or before it where the backbone includes it.
        config: gives `weights`: "imagenet", "none" or a file of the backbone's weights.
        initial: False ignores `weights`.

    Raises:
        LeukoBenchError: the weights cannot be downloaded or do not fit.
    """
    weights = config.weights if initial and config.weights != "none" else None
    if weights not in (None, "imagenet"):
        check_file(weights)
    with _one_line(config, weights):
        if weights in (None, "imagenet"):
            return application(include_top=False, weights=weights, input_tensor=inputs)
        base = application(include_top=False, weights=None, input_tensor=inputs)
        weight_file.load(base, Path(weights))
        return base


def keras_hub_for(model: str) -> ModuleType:
    """Import keras-hub for the model that needs it.

    Raises:
        LeukoBenchError: keras-hub is not installed; the line says how to install it.
    """
    if not optional_packages.installed("keras_hub"):
        raise LeukoBenchError(f"{model} needs the package keras-hub. Run: pip install keras-hub")
    import keras_hub

    return keras_hub


def load_hub(backbone: "keras.Model", preset: str, config: "ModelConfig", initial: bool) -> None:
    """Load the initial weights of a keras-hub backbone, which its constructor made without a download.

    Args:
        backbone: with random weights, kept where `weights` is "none".
        preset: name of the ImageNet preset.
        config: gives `weights`: "imagenet", "none", a folder with a preset, or a file of the backbone's weights.
        initial: False ignores `weights`.

    Raises:
        LeukoBenchError: the weights cannot be downloaded or do not fit.
    """
    if not initial or config.weights == "none":
        return
    if config.weights != "imagenet":
        check_file(config.weights)
    with _one_line(config, config.weights):
        if Path(config.weights).is_file():
            weight_file.load(backbone, Path(config.weights))
            return
        # An absolute path: the name of a preset alone would be downloaded, even where a folder has that name.
        folder = preset if config.weights == "imagenet" else str(Path(config.weights).resolve())
        source = type(backbone).from_preset(folder)
        # Copied: the preset has an image size and precision of its own.
        values = zip(source.weights, backbone.weights, strict=True)
        backbone.set_weights([_resized(old.numpy(), new.shape) for old, new in values])


def load_whole(model: "keras.Model", config: "ModelConfig", base_alone: bool = False) -> "keras.Model":
    """Load `config.weights`, a file of the whole model's weights, into a model without a backbone.

    Args:
        model: with its head.
        config: gives `weights`: "none" or a file.
        base_alone: keep the head, so that the file may be of a model with other classes.

    Returns:
        The model.

    Raises:
        LeukoBenchError: `weights` is "imagenet", or the file is missing or does not fit.
    """
    if config.weights == "none":
        return model
    if config.weights == "imagenet":
        raise LeukoBenchError(f"There are no ImageNet weights for {config.model}. Valid: --set weights=none or a file.")
    check_file(config.weights)
    try:
        weight_file.load(split_at_head(model)[0] if base_alone else model, Path(config.weights), surplus=base_alone)
    except Exception as error:
        raise LeukoBenchError(
            f"{config.weights} does not fit {config.model} ({_reason(error)}). Give the model.weights.h5 of a run of "
            "the same configuration, or use --set weights=none."
        ) from None
    return model


def check_file(weights: str) -> None:
    """Raise LeukoBenchError unless `weights` is a file, or a folder with a preset of keras-hub."""
    if not Path(weights).is_file() and not Path(weights, "config.json").is_file():
        raise LeukoBenchError(
            f"Field 'weights' received '{weights}', which is no file. Valid: imagenet, none, the path of a file "
            "of weights, or the folder of a keras-hub preset."
        )


@contextmanager
def _one_line(config: "ModelConfig", weights: str | None) -> Iterator[None]:
    """Turn errors in loading initial weights into one line; without initial weights, errors pass through."""
    try:
        yield
    except Exception as error:
        if weights is None:
            raise
        if weights == "imagenet":
            raise LeukoBenchError(
                f"The ImageNet weights of {config.model} cannot be downloaded ({_reason(error)}). Three ways on: "
                "connect to the internet and try again; download the file elsewhere and give it with "
                "--set weights=FILE; or train from random weights with --set weights=none."
            ) from None
        raise LeukoBenchError(
            f"{weights} does not fit the backbone of {config.model} ({_reason(error)}). Give a file of that backbone's "
            "weights without its classifier, or use --set weights=imagenet or weights=none."
        ) from None


def _resized(values: "np.ndarray", shape: tuple[int, ...]) -> "np.ndarray":
    """Resize position embeddings (class token, then grid) to another image size (Dosovitskiy et al. 2021)."""
    import numpy as np

    grids = [round((length - 1) ** 0.5) for length in (len(values), shape[0])]
    if values.shape == shape or len(shape) != 2 or [g * g + 1 for g in grids] != [len(values), shape[0]]:
        return values
    import keras

    square = values[1:].reshape(grids[0], grids[0], -1)
    grid = keras.ops.image.resize(square, (grids[1], grids[1]), interpolation="bicubic")
    return np.concatenate([values[:1], np.reshape(keras.ops.convert_to_numpy(grid), (grids[1] ** 2, -1))])


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()).rpartition(" -- ")[2]
    return text if len(text) < 160 else text[:157] + "..."
