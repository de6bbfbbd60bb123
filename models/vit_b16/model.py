"""The network of `vit_b16`."""

from typing import TYPE_CHECKING

from models.engine.layers.head import classifier, image_input
from models.engine.layers.pretrained import keras_hub_for, load_hub

if TYPE_CHECKING:
    import keras

    from models.vit_b16.config import Config

SIZES = {
    "b16": {"patch_size": 16, "num_layers": 12, "num_heads": 12, "hidden_dim": 768, "mlp_dim": 3072},
    "tiny": {"patch_size": 8, "num_layers": 4, "num_heads": 3, "hidden_dim": 96, "mlp_dim": 192, "dropout_rate": 0.1},
}


def build(config: "Config", initial_weights: bool = True, logits: bool = False) -> "keras.Model":
    """Build the model; see `models.build`. The backbone stays nested: unrolled, it could not be read back."""
    import keras

    x = keras.layers.Rescaling(1 / 127.5, -1, name="scale")(inputs := image_input(config))  # the family's -1 to 1
    backbone = keras_hub_for(config.model).models.ViTBackbone(
        (config.image_size, config.image_size, 3), **SIZES[config.size], name="backbone"
    )
    load_hub(backbone, "vit_base_patch16_224_imagenet", config, initial_weights)
    others = backbone.output.shape[1] - 1  # the class token comes first
    x = keras.layers.Cropping1D((0, others), name="class_token")(backbone(x))
    x = keras.layers.Flatten(name="features")(x)
    return keras.Model(inputs, classifier(x, config, logits), name="vit_b16")
