"""Configuration of `resnet50`: ResNet50 (He et al. 2016) as a frozen feature extractor with a softmax on top."""

from typing import Any, ClassVar

from models.engine.config.base import BackboneConfig


class Config(BackboneConfig):
    """Frozen ImageNet base, flatten, dropout, softmax."""

    PROFILES: ClassVar[dict[str, dict[str, Any]]] = {
        # seconds on two cores: random features, computed once
        "demo": {"image_size": 64, "epochs": 20, "weights": "none", "freeze": "always"},
    }

    image_size: int = 224  # the size the ImageNet weights were trained at
    heatmap_layer: str = "conv5_block3_out"  # output of the last residual block
