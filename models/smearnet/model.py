"""The network of `smearnet`: strided stem, stages of basic residual blocks, average pooling, softmax."""

from typing import TYPE_CHECKING

from models.engine.layers import residual_block
from models.engine.layers.head import classifier, image_input
from models.engine.layers.pretrained import load_whole
from models.smearnet.config import Config

if TYPE_CHECKING:
    import keras


def build(config: Config, initial_weights: bool = True, logits: bool = False) -> "keras.Model":
    """Build the model; see `models.build`."""
    import keras

    inputs = image_input(config)
    x = keras.layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(inputs)
    x = keras.layers.Activation("relu", name="stem_out")(residual_block.convolved(x, config.stem, 3, 2, "stem"))
    if config.pool_stem:
        x = keras.layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)
    for stage, (filters, count) in enumerate(zip(config.filters, config.blocks, strict=True), start=1):
        for block in range(1, count + 1):
            name = f"stage{stage}" if block == count else f"stage{stage}_block{block}"
            x = residual_block.block(x, filters, 2 if stage > 1 and block == 1 else 1, name)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(inputs, classifier(x, config, logits), name="smearnet")
    return load_whole(model, config) if initial_weights else model
