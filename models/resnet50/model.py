"""The network of `resnet50`."""

from typing import TYPE_CHECKING

from models.engine.layers.head import classifier, image_input
from models.engine.layers.pretrained import load_application

if TYPE_CHECKING:
    import keras

    from models.resnet50.config import Config


def build(config: "Config", initial_weights: bool = True, logits: bool = False) -> "keras.Model":
    """Build the model; see `models.build`."""
    import keras

    inputs = image_input(config)
    # The family's rule: BGR minus the ImageNet means, as operations of the graph.
    x = keras.applications.resnet50.preprocess_input(inputs)
    base = load_application(keras.applications.ResNet50, x, config, initial_weights)
    x = keras.layers.Flatten(name="flatten")(base.output)
    return keras.Model(inputs, classifier(x, config, logits), name="resnet50")
