"""Configuration of `smearnet`, a compact residual network from scratch."""

from typing import Any, ClassVar, Self

from pydantic import Field, PositiveInt, model_validator

from data.loading.augmentation_config import Augmentation
from models.engine.config.base import ModelConfig


class Config(ModelConfig):
    """Basic residual blocks (He et al. 2016) and global average pooling, 0.6 M parameters, trained from scratch."""

    PROFILES: ClassVar[dict[str, dict[str, Any]]] = {"demo": {"image_size": 64, "epochs": 10, "pool_stem": False}}
    PROFILES |= {"fast": {"image_size": 64, "epochs": 10, "batch_size": 64, "learning_rate": 4e-3}}  # performance.md

    image_size: int = 112  # half of the release's images: a whole number of pixels becomes one
    stem: int = Field(32, ge=1)  # filters of the first convolution, which halves the side
    pool_stem: bool = True  # halve the side once more right after the stem: a quarter of the arithmetic
    filters: tuple[PositiveInt, ...] = Field((32, 64, 128), min_length=1)  # one stage each; all but the first halve it
    blocks: tuple[PositiveInt, ...] = Field((1, 1, 2), min_length=1)  # residual blocks of each stage
    epochs: int = 20
    patience: int = 20  # the cosine ends low: the epochs before it swing
    learning_rate: float = 2e-3
    weight_decay: float = 0.05  # AdamW's usual one for networks from scratch
    warmup_epochs: int = 2
    cosine: bool = True
    label_smoothing: float = 0.1
    dropout: float = 0.2
    augmentation: Augmentation = Augmentation(flips=True, quarter_turns=True)  # a smear has no upside
    heatmap_layer: str = "stage3_out"  # the last one with rows and columns, 7 x 7 at 112 px

    @model_validator(mode="after")
    def _stages_fit(self) -> Self:
        if len(self.filters) != len(self.blocks):
            raise ValueError(f"filters and blocks give {len(self.filters)} and {len(self.blocks)} stages: give as many")
        return self
