"""Configuration of `densenet121`: DenseNet121 (Huang et al. 2017) on CLAHE images, as a published project trains it."""

from typing import Literal

from pydantic import Field

from data.augmentation import Augmentation
from data.preprocessing import Variant
from models.base_config import BackboneConfig


class Config(BackboneConfig):
    """ImageNet weights, every layer trained with Adam at 1e-4; average pooling and a softmax.

    The published project splits 90/10 by image; `--split 90/10` repeats that. Its weight decay is part of the gradient
    (PyTorch's Adam), ours is decoupled; its amounts of rotation and colour jitter are not published, these are ours.
    """

    image_size: int = Field(224, ge=16, le=1024)
    variant: Variant = Variant(name="clahe", clip=2.0, tiles=8)
    freeze: Literal["auto", "always", "never"] = "never"
    learning_rate: float = Field(1e-4, gt=0, le=10)
    fine_tune_learning_rate: float = Field(1e-4, gt=0, le=10)
    weight_decay: float = Field(1e-5, ge=0, lt=1)
    rate_drop_every: int = Field(7, ge=0)
    patience: int = Field(5, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)  # DenseNet's own classifier has none
    augmentation: Augmentation = Augmentation(flips=True, rotation=15, brightness=0.1, contrast=0.1, colour=0.1)
    heatmap_layer: str = "conv5_block16_concat"  # output of the last dense block
