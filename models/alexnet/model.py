"""The network of `alexnet`, with the paper's filters; two things differ, as said below."""

from typing import TYPE_CHECKING

from models.engine.layers.head import HEAD, classifier, image_input
from models.engine.layers.pretrained import load_whole

if TYPE_CHECKING:
    import keras

    from models.alexnet.config import Config


def build(config: "Config", initial_weights: bool = True, logits: bool = False) -> "keras.Model":
    """Build the model; see `models.build`.

    Local response normalisation is replaced by batch normalisation, and no convolution is split in two groups, which
    the paper did to fit two graphics cards.
    """
    from keras import Model, layers

    inputs = image_input(config)
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(inputs)
    x = layers.Conv2D(96, 11, strides=4, activation="relu", name="conv1")(x)
    x = layers.BatchNormalization(name="norm1")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(x)
    x = layers.Conv2D(256, 5, padding="same", activation="relu", name="conv2")(x)
    x = layers.BatchNormalization(name="norm2")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool2")(x)
    for number, filters in ((3, 384), (4, 384), (5, 256)):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{number}")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool5")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(config.dense, activation="relu", dtype="float32", name=f"{HEAD}fc6")(x)
    x = layers.Dropout(config.dropout, dtype="float32", name=f"{HEAD}fc6_dropout")(x)
    model = Model(inputs, classifier(x, config, logits), name="alexnet")
    return load_whole(model, config, base_alone=True) if initial_weights else model
