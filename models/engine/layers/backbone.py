"""Models on a backbone: copy it into one flat graph, freeze it, split it from its head."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from models.engine.layers.head import HEAD

if TYPE_CHECKING:
    import keras

    from models.engine.config.base import Phase


def copy_graph(
    model: "keras.Model",
    inputs: "keras.KerasTensor",
    tensor: "keras.KerasTensor",
    after: Callable[["keras.Layer", "keras.KerasTensor"], "keras.KerasTensor"] | None = None,
) -> "keras.Model":
    """Copy a functional model with its weights into the flat graph that begins at other inputs.

    A called model becomes one nested layer, for which Grad-CAM raises "Graph disconnected". Calling its layers again
    does not help, as their `output` stays that of the first graph. Therefore the layers are new.

    Args:
        model: of one input and one output.
        inputs: made with `keras.Input`.
        tensor: computed from `inputs`, or the same; replaces the model's input.
        after: called with each new layer and its output; what it returns replaces that output.

    Returns:
        The model from `inputs` to the copy of the model's output.
    """
    import keras

    def call(layer: "keras.Layer", *args: Any, **kwargs: Any) -> "keras.KerasTensor":
        x = layer(*(tensor if value is inputs else value for value in args), **kwargs)
        return after(layer, x) if after else x

    place = [inputs] if isinstance(model.input, list) else inputs
    copy = keras.models.clone_model(model, input_tensors=place, call_function=call)
    copy.set_weights(model.get_weights())
    for layer in copy.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # its computation uses a copy of its weights
    return copy


def prepare_phase(model: "keras.Model", phase: "Phase", pretrained: bool) -> None:
    """Freeze or unfreeze the base of a model for a phase.

    BatchNormalization of a pre-trained base stays in inference mode when the base is unfrozen: its statistics come from
    far more images than a batch of smears. With random weights the statistics must be learned.
    """
    import keras

    for layer in model.layers:
        if layer.name.startswith(HEAD):
            continue
        layer.trainable = not phase.base_frozen  # a nested backbone with all its layers
        for each in (layer, *getattr(layer, "layers", ())):
            if pretrained and isinstance(each, keras.layers.BatchNormalization):
                each.trainable = False


def with_frozen_base(model: "keras.Model") -> "keras.Model":
    """Return a model of the same layers whose base stays in inference mode while the head trains.

    Frozen weights alone would leave dropout inside a backbone active (EfficientNetV2 drops whole blocks).
    """
    import keras

    base, head = split_at_head(model)

    class FrozenBase(keras.layers.Layer):
        def call(self, images: "keras.KerasTensor") -> "keras.KerasTensor":
            return base(images, training=False)

    return keras.Model(model.input, head(FrozenBase(name="frozen_base")(model.input)))


def split_at_head(model: "keras.Model") -> tuple["keras.Model", "keras.Model"]:
    """Return the base (image to features) and the head (features to output), both sharing the model's layers.

    The head must be a chain of layers named head_..., as `engine.layers.head.classifier` makes it.
    """
    import keras

    chain = [layer for layer in model.layers if layer.name.startswith(HEAD)]
    features = chain[0].input
    inputs = outputs = keras.Input(features.shape[1:], dtype="float32")
    for layer in chain:
        outputs = layer(outputs)
    return keras.Model(model.input, features), keras.Model(inputs, outputs)
