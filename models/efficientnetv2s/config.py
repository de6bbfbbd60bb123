"""Configuration of `efficientnetv2s`: EfficientNetV2-S (Tan and Le 2021), head first, then the whole network."""

from typing import Any, ClassVar

from pydantic import Field

from models.engine.config.base import BackboneConfig


class Config(BackboneConfig):
    """Average pooling, dense 128, dropout, softmax; frozen base first, then unfrozen at 1e-4 with class weights."""

    PROFILES: ClassVar[dict[str, dict[str, Any]]] = {
        # one phase and random features: the first step of the whole network alone takes over a minute on two cores
        "demo": {"image_size": 64, "epochs": 20, "weights": "none", "freeze": "always", "head_epochs": 0},
    }

    image_size: int = 224  # as the published runs on this dataset
    head_epochs: int = 8  # phase one, of up to 20 epochs in all
    fine_tune_class_weights: bool = True  # phase two weighs the classes
    dense: int = Field(128, ge=1)  # units of the hidden layer
    heatmap_layer: str = "top_activation"  # output of the last convolutional block
