"""The network of `efficientnetv2s`."""

from typing import TYPE_CHECKING

from models.engine.layers.head import classifier, image_input
from models.engine.layers.pretrained import load_application

if TYPE_CHECKING:
    import keras

    from models.efficientnetv2s.config import Config


def build(config: "Config", initial_weights: bool = True, logits: bool = False) -> "keras.Model":
    """Build the model; see `models.build`."""
    import keras

    inputs = image_input(config)
    # This family's graph rescales by itself: 0-255 goes in.
    base = load_application(keras.applications.EfficientNetV2S, inputs, config, initial_weights)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(base.output)
    return keras.Model(inputs, classifier(x, config, logits), name="efficientnetv2s")
