"""The network of `densenet121`."""

from typing import TYPE_CHECKING

from models.engine.layers.head import classifier, image_input
from models.engine.layers.pretrained import load_application

if TYPE_CHECKING:
    import keras

    from models.densenet121.config import Config


def build(config: "Config", initial_weights: bool = True, logits: bool = False) -> "keras.Model":
    """Build the model; see `models.build`."""
    import keras

    inputs = image_input(config)
    # The family's rule: 0 to 1, then ImageNet's mean and standard deviation by channel, as operations of the graph.
    x = keras.applications.densenet.preprocess_input(inputs)
    base = load_application(keras.applications.DenseNet121, x, config, initial_weights)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(base.output)
    return keras.Model(inputs, classifier(x, config, logits), name="densenet121")
