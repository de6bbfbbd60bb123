"""The network of `cnn`: convolution and pooling blocks, flatten, dense, dropout, softmax."""

from typing import TYPE_CHECKING

from models.engine.layers.head import classifier, image_input
from models.engine.layers.pretrained import load_whole

if TYPE_CHECKING:
    import keras

    from models.cnn.config import Config


def build(config: "Config", initial_weights: bool = True, logits: bool = False) -> "keras.Model":
    """Build the model; see `models.build`."""
    import keras

    inputs = image_input(config)
    # Centred on zero: with bright smears between 0 and 1, training can stay at chance for the first ten epochs.
    x = keras.layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(inputs)
    for number, filters in enumerate(config.filters, start=1):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{number}")(x)
        x = keras.layers.MaxPooling2D(name=f"pool{number}")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    model = keras.Model(inputs, classifier(x, config, logits), name="cnn")
    return load_whole(model, config) if initial_weights else model
