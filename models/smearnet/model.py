"""The network of `smearnet`: strided stem, stages of basic residual blocks, average pooling, softmax."""

from typing import TYPE_CHECKING

from models.initial_weights import load_whole
from models.layers import classifier, image_input

if TYPE_CHECKING:
    import keras

    from models.smearnet.config import Config

# Of the running statistics: with 66 steps an epoch, Keras' 0.99 would lag behind the rate for whole epochs.
MOMENTUM = 0.9


def build(config: "Config", initial_weights: bool = True, logits: bool = False) -> "keras.Model":
    """Build the model; see `models.build`."""
    import keras

    inputs = image_input(config)
    x = keras.layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(inputs)
    x = _convolved(x, config.stem, 3, 2, "stem")
    x = keras.layers.Activation("relu", name="stem_out")(x)
    if config.pool_stem:
        x = keras.layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)
    for stage, (filters, count) in enumerate(zip(config.filters, config.blocks, strict=True), start=1):
        for block in range(1, count + 1):
            last = block == count
            name = f"stage{stage}" if last else f"stage{stage}_block{block}"
            x = _block(x, filters, 2 if stage > 1 and block == 1 else 1, name)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(inputs, classifier(x, config, logits), name="smearnet")
    return load_whole(model, config) if initial_weights else model


def _block(x: "keras.KerasTensor", filters: int, stride: int, name: str) -> "keras.KerasTensor":
    """Add two convolutions and the way around them, which is a 1 x 1 convolution where the shapes differ."""
    import keras

    y = _convolved(x, filters, 3, stride, f"{name}_1")
    y = keras.layers.Activation("relu", name=f"{name}_1_relu")(y)
    y = _convolved(y, filters, 3, 1, f"{name}_2")
    if stride > 1 or x.shape[-1] != filters:
        x = _convolved(x, filters, 1, stride, f"{name}_around")
    return keras.layers.Activation("relu", name=f"{name}_out")(keras.layers.Add(name=f"{name}_add")([x, y]))


def _convolved(x: "keras.KerasTensor", filters: int, width: int, stride: int, name: str) -> "keras.KerasTensor":
    import keras

    x = keras.layers.Conv2D(
        filters, width, strides=stride, padding="same", use_bias=False, kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)  # fmt: skip
    return keras.layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_norm")(x)
