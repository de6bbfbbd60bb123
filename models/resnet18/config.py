"""Configuration of `resnet18`: ResNet18 (He et al. 2016) of keras-hub, as an extractor and as a whole."""

from pydantic import Field

from models.base_config import BackboneConfig


class Config(BackboneConfig):
    """Average pooling, dense 256, dropout, softmax; frozen base first, then unfrozen at 1e-4.

    `--set freeze=always` is the first regime alone: a deep classifier on frozen features. `weights` may also be the
    folder of a downloaded keras-hub preset.
    """

    image_size: int = Field(224, ge=16, le=1024)  # the size the ImageNet weights were trained at
    head_epochs: int = Field(8, ge=0)
    dense: int = Field(256, ge=0)
    heatmap_layer: str = "stack3_block1_out"  # output of the last residual block
