"""Configuration of `cnn`, the three-block network that studies of this dataset use as a baseline."""

from typing import Any, ClassVar

from models.base_config import Augmentation, ModelConfig


class Config(ModelConfig):
    """Three 3x3 convolution blocks and a dense layer, trained from scratch."""

    PROFILES: ClassVar[dict[str, dict[str, Any]]] = {
        # a minute on two cores with a few hundred synthetic smears
        "demo": {"image_size": 64, "epochs": 12, "augmentation": Augmentation(flips=True, quarter_turns=True)},
    }

    image_size: int = 128  # the baseline's size
    filters: tuple[int, ...] = (32, 64, 128)  # one block each
    dense: int = 128  # units of the hidden layer
    heatmap_layer: str = "conv3"  # the last convolution
