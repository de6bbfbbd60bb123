"""Configuration of `cnn`, the three-block network that studies of this dataset use as a baseline."""

from typing import Any, ClassVar, Self

from pydantic import Field, PositiveInt, model_validator

from data.loading.augmentation_config import Augmentation
from models.engine.config.base import ModelConfig


class Config(ModelConfig):
    """Three 3x3 convolution blocks and a dense layer, trained from scratch."""

    PROFILES: ClassVar[dict[str, dict[str, Any]]] = {
        # a minute on two cores with a few hundred synthetic smears
        "demo": {"image_size": 64, "epochs": 12, "augmentation": Augmentation(flips=True, quarter_turns=True)},
    }

    image_size: int = 128  # the baseline's size
    filters: tuple[PositiveInt, ...] = Field((32, 64, 128), min_length=1)  # one block each, which halves the side
    dense: int = Field(128, ge=1)  # units of the hidden layer
    heatmap_layer: str = "conv3"  # the last convolution

    @model_validator(mode="after")
    def _blocks_fit(self) -> Self:
        if self.image_size >> len(self.filters) < 1:
            raise ValueError(f"{len(self.filters)} blocks leave nothing of images of {self.image_size} px")
        return self
