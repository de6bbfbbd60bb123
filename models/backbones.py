"""Models on a keras.applications backbone: one flat graph, initial weights, freezing."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from models.layers import HEAD
from utils.errors import LeukoBenchError

if TYPE_CHECKING:
    import keras

    from models.base_config import ModelConfig, Phase


def load_application(
    application: Callable[..., "keras.Model"],
    inputs: "keras.KerasTensor",
    config: "ModelConfig",
    initial: bool,
) -> "keras.Model":
    """Build a backbone of keras.applications on `inputs` without its classifier.

    Args:
        application: such as `keras.applications.ResNet50`.
        inputs: tensor that the family's own preprocessing expects or has been applied to.
        config: gives `weights`: "imagenet", "none" or a file of the backbone's weights.
        initial: False ignores `weights`.

    Raises:
        LeukoBenchError: the weights cannot be downloaded or do not fit.
    """
    weights = config.weights if initial and config.weights != "none" else None
    if weights not in (None, "imagenet"):
        check_weights_file(weights)
    try:
        return application(include_top=False, weights=weights, input_tensor=inputs)
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


def load_whole(model: "keras.Model", config: "ModelConfig") -> "keras.Model":
    """Load `config.weights`, a file of the whole model's weights, into a model that has no backbone of its own.

    Raises:
        LeukoBenchError: ImageNet was asked for, or the file is missing or does not fit.
    """
    if config.weights == "none":
        return model
    if config.weights == "imagenet":
        raise LeukoBenchError(f"There are no ImageNet weights for {config.model}. Valid: --set weights=none or a file.")
    check_weights_file(config.weights)
    try:
        model.load_weights(config.weights)
    except Exception as error:
        raise LeukoBenchError(
            f"{config.weights} does not fit {config.model} ({_reason(error)}). Give the model.weights.h5 of a run of "
            "the same configuration, or use --set weights=none."
        ) from None
    return model


def check_weights_file(weights: str) -> None:
    """Raise LeukoBenchError unless `weights` is a file."""
    if not Path(weights).is_file():
        raise LeukoBenchError(
            f"Field 'weights' received '{weights}', which is no file. Valid: imagenet, none, or the path of a .h5 file."
        )


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()).rpartition(" -- ")[2]
    return text if len(text) < 160 else text[:157] + "..."


def prepare_phase(model: "keras.Model", phase: "Phase", pretrained: bool) -> None:
    """Freeze or unfreeze the base of a flat model for a phase.

    BatchNormalization of a pre-trained base stays in inference mode when the base is unfrozen: its statistics come from
    far more images than a batch of smears. With random weights they must be learned.
    """
    import keras

    for layer in model.layers:
        if layer.name.startswith(HEAD):
            continue
        keep = pretrained and isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = not (phase.base_frozen or keep)


def with_frozen_base(model: "keras.Model") -> "keras.Model":
    """Return a model of the same layers whose base stays in inference mode while the head trains.

    Freezing weights alone leaves the dropout inside a backbone at work (EfficientNetV2 drops whole blocks).
    """
    import keras

    base, head = split_at_head(model)

    class FrozenBase(keras.layers.Layer):
        def call(self, images: "keras.KerasTensor") -> "keras.KerasTensor":
            return base(images, training=False)

    return keras.Model(model.input, head(FrozenBase(name="frozen_base")(model.input)))


def split_at_head(model: "keras.Model") -> tuple["keras.Model", "keras.Model"]:
    """Return the base (image to features) and the head (features to output), both sharing the model's layers.

    The head must be a chain of layers named head_..., as `models.layers.classifier` makes it.
    """
    import keras

    chain = [layer for layer in model.layers if layer.name.startswith(HEAD)]
    features = chain[0].input
    inputs = outputs = keras.Input(features.shape[1:], dtype="float32")
    for layer in chain:
        outputs = layer(outputs)
    return keras.Model(model.input, features), keras.Model(inputs, outputs)
