"""The network of `resnet18`."""

from typing import TYPE_CHECKING

from models.engine.layers.backbone import copy_graph
from models.engine.layers.head import classifier, image_input
from models.engine.layers.pretrained import keras_hub_for, load_hub

if TYPE_CHECKING:
    import keras

    from models.resnet18.config import Config


def build(config: "Config", initial_weights: bool = True, logits: bool = False) -> "keras.Model":
    """Build the model; see `models.build`."""
    import keras

    hub = keras_hub_for(config.model).models.ResNetBackbone(
        [64], [7], [64, 128, 256, 512], [2, 2, 2, 2], [1, 2, 2, 2], block_type="basic_block"
    )
    load_hub(hub, "resnet_18_imagenet", config, initial_weights)
    inputs = image_input(config)
    # The preset's weights are timm's resnet18.a1_in1k, whose rule is that of PyTorch: 0 to 1, then ImageNet's mean and
    # standard deviation by channel.
    x = keras.applications.imagenet_utils.preprocess_input(inputs, mode="torch")
    base = copy_graph(hub, inputs, x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(base.output)
    return keras.Model(inputs, classifier(x, config, logits), name="resnet18")
