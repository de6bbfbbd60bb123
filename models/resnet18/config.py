"""Configuration of `resnet18`: ResNet18 (He et al. 2016) of keras-hub, as an extractor and as a whole."""

from typing import ClassVar

from models.engine.config.base import BackboneConfig


class Config(BackboneConfig):
    """Average pooling, dense 256, dropout, softmax; frozen base first, then unfrozen at 1e-4.

    `--set freeze=always` is the first regime alone: a deep classifier on frozen features. `weights` may also be the
    folder of a downloaded keras-hub preset.
    """

    NEEDS: ClassVar[str] = "keras-hub"

    image_size: int = 224  # the size the ImageNet weights were trained at
    head_epochs: int = 8
    dense: int = 256
    heatmap_layer: str = "stack3_block1_out"  # output of the last residual block
