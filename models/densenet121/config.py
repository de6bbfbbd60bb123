"""Configuration of `densenet121`: DenseNet121 (Huang et al. 2017) on CLAHE images, as a published project trains it."""

from typing import Literal

from data.imaging.variants import Variant
from data.loading.augmentation_config import Augmentation
from models.engine.config.base import BackboneConfig


class Config(BackboneConfig):
    """ImageNet weights, every layer trained with Adam at 1e-4; average pooling and a softmax.

    The published project splits 90/10 by image; `--split 90/10` repeats that. Its weight decay is part of the gradient
    (PyTorch's Adam), ours is decoupled; its amounts of rotation and colour jitter are not published, these are ours.
    """

    image_size: int = 224
    variant: Variant = Variant(name="clahe", clip=2.0, tiles=8)
    freeze: Literal["auto", "always", "never"] = "never"
    learning_rate: float = 1e-4
    fine_tune_learning_rate: float = 1e-4
    weight_decay: float = 1e-5
    rate_drop_every: int = 7
    patience: int = 5
    dropout: float = 0.0  # DenseNet's own classifier has none
    augmentation: Augmentation = Augmentation(flips=True, rotation=15, brightness=0.1, contrast=0.1, colour=0.1)
    heatmap_layer: str = "conv5_block16_concat"  # output of the last dense block
