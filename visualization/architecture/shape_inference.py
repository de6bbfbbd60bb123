"""Kind, main settings, output shape and parameters of a layer from its configuration, without Keras.

There are rules for the layer types of Keras' own architectures; any other type has no shape and no parameters. The
rules for shapes serve runs whose architecture.json holds no output shapes, and the layers inside a transformer.
"""

import math
from collections.abc import Sequence
from typing import Any

from visualization.architecture import vit_layers

Shape = tuple[int | None, ...]  # the first is the batch, None

KINDS = {
    "Input": ("InputLayer",),
    "Convolution": ("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose", "Conv1D"),
    "Dense": ("Dense",),
    "Normalisation": ("BatchNormalization", "LayerNormalization", "GroupNormalization", "UnitNormalization"),
    "Activation": ("Activation", "ReLU", "LeakyReLU", "ELU", "PReLU", "Softmax", "HardSwish"),
    "Pooling": (
        *("MaxPooling2D", "AveragePooling2D", "GlobalAveragePooling2D", "GlobalMaxPooling2D"),
        *("GlobalAveragePooling1D", "GlobalMaxPooling1D"),
    ),
    "Merge": ("Add", "Concatenate", "Multiply", "Average", "Maximum", "Subtract", "Stack", "Concat"),
    "Dropout": ("Dropout", "SpatialDropout2D", "GaussianDropout", "StochasticDepth", "DropPath"),
    "Shape and scale": (
        *("Flatten", "Reshape", "Permute", "ZeroPadding2D", "Cropping2D", "Cropping1D", "UpSampling2D", "Resizing"),
        *("RepeatVector", "Rescaling", "Normalization", "GetItem", "CenterCrop", "TrueDivide", "Divide", "Negative"),
    ),
    "Attention": ("MultiHeadAttention", "Attention", "ViTEncoder", "TransformerEncoder"),
    "Patches to tokens": ("ViTPatchingAndEmbedding",),
}
OTHER = "Other"
_OF = {name: kind for kind, names in KINDS.items() for name in names}
_SAME = (
    {"Rescaling", "Normalization", "InputLayer", "Multiply", "Average", "Maximum", "Subtract"}
    | {"TrueDivide", "Divide", "Negative"}
    | set(KINDS["Normalisation"])
    | set(KINDS["Activation"])
    | set(KINDS["Dropout"])
)  # output shape equals input shape
_WEIGHTLESS = {"InputLayer"}.union(
    *(KINDS[kind] for kind in ("Merge", "Pooling", "Dropout", "Shape and scale", "Activation"))
) - {"PReLU", "Normalization"}


def kind(type_: str, entering: int = 2) -> str:
    """Return the kind of a layer type: a key of KINDS, or OTHER.

    Args:
        type_: name of the layer's class.
        entering: number of input layers; a merge of one layer is arithmetic with a constant.
    """
    found = _OF.get(type_, OTHER)
    return "Shape and scale" if found == "Merge" and entering < 2 else found


def words(type_: str, config: dict[str, Any]) -> str:
    """Return the main settings of a layer: "3 × 3, stride 2", "relu", "0.5"."""
    if type_ == "ViTPatchingAndEmbedding":
        return f"{_once(_pair(config.get('patch_size', 1)))} px"
    parts = []
    window = config.get("kernel_size") or config.get("pool_size")
    if window:
        parts.append(" × ".join(map(str, _pair(window))))
    strides = _pair(config.get("strides") or 1)
    if "kernel_size" in config and strides != (1, 1):
        parts.append(f"stride {_once(strides)}")
    if _pair(config.get("dilation_rate") or 1) != (1, 1):
        parts.append(f"dilation {_once(_pair(config['dilation_rate']))}")
    if (config.get("groups") or 1) != 1:
        parts.append(f"{config['groups']} groups")
    function = config.get("activation")
    if isinstance(function, str) and function != "linear":
        parts.append(function)
    if type_ == "Dropout" or (type_ in KINDS["Dropout"] and "rate" in config):
        parts.append(f"{config.get('rate', 0):g}")
    for key, text in (("num_layers", "{} blocks"), ("num_heads", "{} heads"), ("hidden_dim", "width {}")):
        if isinstance(config.get(key), int):
            parts.append(text.format(config[key]))
    return ", ".join(parts)


def output_shape(type_: str, config: dict[str, Any], inputs: Sequence[Shape]) -> Shape | None:
    """Return the output shape of a layer; None where no rule applies.

    Args:
        type_: name of the layer's class.
        config: its Keras configuration.
        inputs: input shapes with the batch.
    """
    if type_ == "InputLayer":
        shape = config.get("batch_shape") or config.get("batch_input_shape")
        return tuple(shape) if shape else None
    if not inputs or config.get("data_format") == "channels_first":
        return None
    first = tuple(inputs[0])
    if type_ in _SAME or type_ == "Add":
        return first if all(tuple(shape) == first for shape in inputs) else None  # other shapes are broadcast
    if type_ == "Dense":
        return (*first[:-1], config["units"])
    if type_ == "MultiHeadAttention":
        return first if config.get("output_shape") is None else None
    if type_ == "ViTPatchingAndEmbedding" and "image_shape" in config:
        return (first[0], vit_layers.tokens(config), config["hidden_dim"])
    if type_ == "Flatten":
        return (first[0], None if None in first[1:] else math.prod(first[1:]))
    if type_ == "Reshape" and -1 not in config["target_shape"]:
        return (first[0], *config["target_shape"])
    if type_ == "Concatenate":
        return _concatenated(inputs, config.get("axis", -1))
    if len(first) == 3 and type_.startswith("Global"):
        return (first[0], first[2])
    if len(first) == 3 and type_ == "Cropping1D":
        return (first[0], first[1] and first[1] - sum(config["cropping"]), first[2])
    return _of_images(type_, config, first) if len(first) == 4 else None


def _of_images(type_: str, config: dict[str, Any], shape: Shape) -> Shape | None:
    batch, *sides, channels = shape
    if type_.startswith("Global") and type_ in KINDS["Pooling"]:
        return (batch, 1, 1, channels) if config.get("keepdims") else (batch, channels)
    if type_ in ("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "MaxPooling2D", "AveragePooling2D"):
        window = _pair(config.get("kernel_size") or config.get("pool_size"))
        strides = _pair(config.get("strides") or (1 if "kernel_size" in config else window))
        dilation = _pair(config.get("dilation_rate") or 1)
        steps = zip(sides, window, strides, dilation, strict=True)
        left = [_slid(side, w, s, d, config.get("padding", "valid")) for side, w, s, d in steps]
        if type_ == "DepthwiseConv2D":
            channels = channels and channels * config.get("depth_multiplier", 1)
        return (batch, *left, config["filters"] if type_ in ("Conv2D", "SeparableConv2D") else channels)
    if type_ in ("ZeroPadding2D", "Cropping2D"):
        sign = 1 if type_ == "ZeroPadding2D" else -1
        amounts = [sum(ends) for ends in config["padding" if sign == 1 else "cropping"]]
        return (batch, *(side and side + sign * n for side, n in zip(sides, amounts, strict=True)), channels)
    if type_ == "Resizing":
        return (batch, config["height"], config["width"], channels)
    return None


def parameters(type_: str, config: dict[str, Any], inputs: Sequence[Shape]) -> int | None:
    """Return the number of weights of a layer, moving averages included; None where no rule applies."""
    if type_ in _WEIGHTLESS:
        return 0
    if not inputs or inputs[0][-1] is None or config.get("data_format") == "channels_first":
        return None
    channels, bias = inputs[0][-1], bool(config.get("use_bias", True))
    if type_ == "Dense":
        return (channels + bias) * config["units"]
    if type_ == "Conv2D":
        return (math.prod(config["kernel_size"]) * channels // config.get("groups", 1) + bias) * config["filters"]
    if type_ == "DepthwiseConv2D":
        return (math.prod(config["kernel_size"]) + bias) * channels * config.get("depth_multiplier", 1)
    if type_ == "SeparableConv2D":
        between = channels * config.get("depth_multiplier", 1)
        return math.prod(config["kernel_size"]) * between + (between + bias) * config["filters"]
    if type_ in ("BatchNormalization", "LayerNormalization") and _last_axis(config.get("axis"), len(inputs[0])):
        scales = bool(config.get("center", True)) + bool(config.get("scale", True))
        return channels * (scales + (2 if type_ == "BatchNormalization" else 0))
    if type_ == "MultiHeadAttention" and "num_heads" in config:  # self-attention
        inner = config["num_heads"] * config["key_dim"]
        return 4 * channels * inner + bias * (3 * inner + channels)
    if type_ == "ViTPatchingAndEmbedding" and "image_shape" in config:
        return vit_layers.embedding_parameters(config)
    if type_ == "Normalization":  # no weights where mean and variance are settings
        return 0 if config.get("mean") is not None else None
    return None


def _slid(side: int | None, window: int, stride: int, dilation: int, padding: str) -> int | None:
    """Return the number of window positions along a side."""
    if side is None:
        return None
    if padding == "same":
        return math.ceil(side / stride)
    return (side - dilation * (window - 1) - 1) // stride + 1


def _concatenated(inputs: Sequence[Shape], axis: int) -> Shape | None:
    axis %= len(inputs[0])
    if any(len(shape) != len(inputs[0]) or shape[axis] is None for shape in inputs):
        return None
    return (*inputs[0][:axis], sum(shape[axis] for shape in inputs), *inputs[0][axis + 1 :])


def _last_axis(axis: Any, rank: int) -> bool:
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else -1 if axis is None else axis
    return isinstance(axis, int) and axis % rank == rank - 1


def _pair(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value, value)


def _once(pair: tuple[int, ...]) -> str:
    return str(pair[0]) if len(set(pair)) == 1 else " × ".join(map(str, pair))
