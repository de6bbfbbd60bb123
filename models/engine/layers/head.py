"""The input and the classifier head of every model. Layers of the head are named head_..."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

    from models.engine.config.base import ModelConfig

HEAD = "head_"


def image_input(config: "ModelConfig") -> "keras.KerasTensor":
    """Return the input of every model: (batch, size, size, 3) RGB in 0-255."""
    import keras

    return keras.Input((config.image_size, config.image_size, 3), name="image", dtype="float32")


def classifier(features: "keras.KerasTensor", config: "ModelConfig", logits: bool) -> "keras.KerasTensor":
    """Add the head: an optional dense layer, dropout, and one unit per class, all in float32.

    Args:
        features: (batch, n) tensor.
        config: gives `classes`, `dropout` and `dense`, the units of a ReLU layer before the dropout (0 for none).
        logits: leave out the softmax.

    Returns:
        (batch, classes) probabilities, or logits.
    """
    import keras

    x = features
    if config.dense:
        x = keras.layers.Dense(config.dense, activation="relu", dtype="float32", name=f"{HEAD}dense")(x)
    x = keras.layers.Dropout(config.dropout, dtype="float32", name=f"{HEAD}dropout")(x)
    # Softmax overflows in half precision, so the head is float32 under every policy.
    return keras.layers.Dense(
        len(config.classes), activation=None if logits else "softmax", dtype="float32", name=f"{HEAD}classes"
    )(x)
