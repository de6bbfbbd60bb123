"""Basic residual blocks (He et al. 2016) with batch normalisation."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

# Of the running statistics: at some sixty steps per epoch, Keras' 0.99 would lag whole epochs behind the weights.
MOMENTUM = 0.9


def block(x: "keras.KerasTensor", filters: int, stride: int, name: str) -> "keras.KerasTensor":
    """Add two 3 x 3 convolutions and a shortcut, which is a 1 x 1 convolution where the shapes differ.

    The last layer is called `<name>_out`.
    """
    import keras

    y = convolved(x, filters, 3, stride, f"{name}_1")
    y = keras.layers.Activation("relu", name=f"{name}_1_relu")(y)
    y = convolved(y, filters, 3, 1, f"{name}_2")
    if stride > 1 or x.shape[-1] != filters:
        x = convolved(x, filters, 1, stride, f"{name}_around")
    return keras.layers.Activation("relu", name=f"{name}_out")(keras.layers.Add(name=f"{name}_add")([x, y]))


def convolved(x: "keras.KerasTensor", filters: int, width: int, stride: int, name: str) -> "keras.KerasTensor":
    """Add a convolution without bias, and batch normalisation."""
    import keras

    x = keras.layers.Conv2D(
        filters,
        width,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return keras.layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_norm")(x)
