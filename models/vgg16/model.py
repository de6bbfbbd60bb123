"""The network of `vgg16`."""

from typing import TYPE_CHECKING

from models.engine.layers.head import classifier, image_input
from models.engine.layers.pretrained import load_application

if TYPE_CHECKING:
    import keras

    from models.vgg16.config import Config


def build(config: "Config", initial_weights: bool = True, logits: bool = False) -> "keras.Model":
    """Build the model; see `models.build`."""
    import keras

    inputs = image_input(config)
    # The family's rule: BGR minus the ImageNet means, as operations of the graph.
    x = keras.applications.vgg16.preprocess_input(inputs)
    base = load_application(keras.applications.VGG16, x, config, initial_weights)
    # 512 features at any image size, as from ResNet18: flattened they would be 25,088, nearly all the weights.
    x = keras.layers.GlobalAveragePooling2D(name="pool")(base.output)
    return keras.Model(inputs, classifier(x, config, logits), name="vgg16")
