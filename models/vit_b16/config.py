"""Configuration of `vit_b16`: ViT-B/16 (Dosovitskiy et al. 2021), fine-tuned from ImageNet; `tiny` is it for CPUs."""

from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from models.engine.config.base import BackboneConfig

TINY = {"size": "tiny", "image_size": 64, "weights": "none", "fine_tune_learning_rate": 5e-4}


class Config(BackboneConfig):
    """The whole network learns from the first epoch on; the class token goes to the head."""

    NEEDS: ClassVar[str] = "keras-hub"
    PROFILES: ClassVar[dict[str, dict[str, Any]]] = {"tiny": TINY, "demo": TINY | {"epochs": 8}}  # CPUs; seconds

    size: Literal["b16", "tiny"] = "b16"
    image_size: int = 224  # the size the ImageNet weights were trained at; any multiple of the patch
    freeze: Literal["auto", "always", "never"] = "never"
    fine_tune_learning_rate: float = 3e-5
    dropout: float = 0.1
    heatmap_method: str = "rollout"  # by deletion AUC, `faithfulness vit_b16`: docs/heatmaps.md has the numbers

    @property
    def flavour(self) -> tuple[str, ...]:
        """The size where it is not the published one, then the rest."""
        return (() if self.size == "b16" else (self.size,)) + super().flavour

    @model_validator(mode="after")
    def _fits(self) -> Self:
        patch = 8 if self.size == "tiny" else 16
        if self.image_size % patch:
            raise ValueError(f"image_size {self.image_size} does not fit {self.size}: use a multiple of {patch}")
        if self.size == "tiny" and self.weights == "imagenet":
            raise ValueError("There are no ImageNet weights for size tiny: use --set weights=none")
        return self
