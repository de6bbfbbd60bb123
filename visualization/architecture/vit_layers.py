"""Layers inside a Vision Transformer, which the JSON of Keras describes as one layer.

Source: Dosovitskiy et al. 2021, as built by keras_hub.models.ViTBackbone; with dropout if the rate is above 0.
"""

from collections.abc import Iterator
from typing import Any

TYPE = "ViTBackbone"
Inside = tuple[str, str, dict[str, Any], tuple[str, ...]]  # name, type, settings, names of its inputs ("": the model's)


def layers(config: dict[str, Any]) -> Iterator[Inside]:
    """Yield the layers of a ViTBackbone with that configuration, in order; names are those of keras-hub."""
    width, rate = config["hidden_dim"], config.get("dropout_rate", 0)
    yield "patching_and_embedding", "ViTPatchingAndEmbedding", config, ("",)
    last = "patching_and_embedding"
    if rate:
        yield "dropout", "Dropout", {"rate": rate}, (last,)
        last = "dropout"
    for block in range(1, config["num_layers"] + 1):
        before, inner = f"block{block}_", last

        def step(
            name: str, type_: str, settings: dict[str, Any], *more: str, dropped: bool = False, before: str = before
        ) -> Iterator[Inside]:
            nonlocal inner
            yield before + name, type_, settings, (inner, *more)
            inner = before + name
            if dropped and rate:
                yield f"{inner}_dropout", "Dropout", {"rate": rate}, (inner,)
                inner = f"{inner}_dropout"

        attention = {"num_heads": config["num_heads"], "key_dim": width // config["num_heads"]}
        attention["use_bias"] = config.get("use_mha_bias", True)
        dense = {"use_bias": config.get("use_mlp_bias", True)}
        yield from step("layer_norm_1", "LayerNormalization", {})
        yield from step("attention", "MultiHeadAttention", attention, dropped=True)
        yield from step("add_1", "Add", {}, last)
        last = inner
        yield from step("layer_norm_2", "LayerNormalization", {})
        yield from step("dense_1", "Dense", dense | {"units": config["mlp_dim"], "activation": "gelu"}, dropped=True)
        yield from step("dense_2", "Dense", dense | {"units": width}, dropped=True)
        yield from step("add_2", "Add", {}, last)
        last = inner
    yield "layer_norm", "LayerNormalization", {}, (last,)


def tokens(config: dict[str, Any]) -> int:
    """Return the number of tokens of an image: its patches, and the class token if used."""
    sides = zip(config["image_shape"][:2], _pair(config["patch_size"]), strict=True)
    rows, columns = (side // patch for side, patch in sides)
    return rows * columns + bool(config.get("use_class_token", True))


def embedding_parameters(config: dict[str, Any]) -> int:
    """Return the number of weights of the embedding: convolution, class token, and position of each token."""
    height, width = _pair(config["patch_size"])
    hidden, channels = config["hidden_dim"], config["image_shape"][2]
    kernel = height * width * channels * hidden + bool(config.get("use_patch_bias", True)) * hidden
    return kernel + bool(config.get("use_class_token", True)) * hidden + tokens(config) * hidden


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
