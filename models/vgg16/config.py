"""Configuration of `vgg16`: VGG16 (Simonyan and Zisserman 2015), as an extractor and as a whole."""

from models.engine.config.base import BackboneConfig


class Config(BackboneConfig):
    """Average pooling, dense 256, dropout, softmax; frozen base first, then unfrozen at 1e-4.

    `--set freeze=always` is the first regime alone: a deep classifier on frozen features.
    """

    image_size: int = 224  # the size the ImageNet weights were trained at
    head_epochs: int = 8
    dense: int = 256
    heatmap_layer: str = "block5_conv3"  # the last convolution
