"""Configuration of `alexnet`: AlexNet (Krizhevsky et al. 2012), from scratch or from a file of an earlier run."""

from typing import ClassVar

from pydantic import Field

from models.engine.config.base import BackboneConfig


class Config(BackboneConfig):
    """Five convolutions, two dense layers of 4096 with dropout, softmax, all trained at 1e-4.

    With `--set weights=FILE`, the model.weights.h5 of a run, the convolutions start from there and are frozen for
    head_epochs, then unfrozen; `freeze=always` keeps them frozen.
    """

    SMALLEST: ClassVar[int] = 67  # leaves one pixel after the last pooling

    image_size: int = 227  # 224 in the paper's text, but its feature maps of 55 x 55 need 227
    weights: str = "none"  # nobody publishes weights for Keras
    head_epochs: int = 8
    dense: int = Field(4096, ge=1)  # units of each of the two dense layers
    heatmap_layer: str = "conv5"  # the last convolution
