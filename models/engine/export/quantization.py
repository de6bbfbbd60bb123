"""Eight bits: weights by channel, activations by what training images make of them; the softmax stays float32."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.loading import tf_loader
from data.manifest import Row
from data.splitting.splits import SplitFolder
from models.engine.config.base import ModelConfig
from models.engine.export.converters import INPUT, litert_converter, quiet

CALIBRATION = 256  # training images: the ranges of activations settle after some hundred
STEP = 16  # of them at once
# What has an integer kernel in ONNX Runtime and OpenVINO. Softmax, and what makes attention, keeps its float32.
OPERATIONS = ("Conv", "MatMul", "Gemm", "Add", "Mul", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat", "Pad")


def calibration_rows(rows: Sequence[Row], count: int = CALIBRATION) -> list[Row]:
    """Choose training images evenly over the classes, by hash: the same ones for every model and format."""
    by_class: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.sha256):
        by_class.setdefault(row.label, []).append(row)
    turns = max(map(len, by_class.values()), default=0)
    found = [group[k] for k in range(turns) for _, group in sorted(by_class.items()) if k < len(group)]
    return found[:count]


def calibration_pixels(split: SplitFolder, config: ModelConfig) -> np.ndarray:
    """Return (n, size, size, 3) float32 RGB in 0-255 of the chosen training images, as the model sees them."""
    rows = calibration_rows(split.manifest.subset("train"))
    paths = [str(split.path / "train" / row.image) for row in rows]
    pixels = [np.asarray(tf_loader.decode(path, config.image_size, config.variant)) for path in paths]
    return np.stack(pixels).astype(np.float32)


def write_onnx(float_file: Path, file: Path, pixels: np.ndarray) -> None:
    """Write an ONNX file in float32 as one in int8, in the form that ONNX Runtime and OpenVINO read (QDQ).

    Args:
        float_file: to read.
        file: to write.
        pixels: (n, size, size, 3) float32 RGB in 0-255 to calibrate with.
    """
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self._steps: Iterator[int] = iter(range(0, len(pixels), STEP))

        def get_next(self) -> dict[str, np.ndarray] | None:
            start = next(self._steps, None)
            return None if start is None else {INPUT: pixels[start : start + STEP]}

    with quiet():
        quantization.quantize_static(
            str(float_file), str(file), Reader(), quant_format=quantization.QuantFormat.QDQ, per_channel=True,
            activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
            op_types_to_quantize=list(OPERATIONS),
        )  # fmt: skip


def write_litert(function: Any, file: Path, pixels: np.ndarray) -> None:
    """Write a frozen graph as LiteRT in int8 with float32 at both ends and in the softmax; see `write_onnx`."""
    import tensorflow as tf

    def images() -> Iterator[list[np.ndarray]]:
        for start in range(len(pixels)):
            yield [pixels[start : start + 1]]

    # In int8 a softmax gives multiples of 1/256. The debugger is what can leave an operation out.
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=["SOFTMAX"])
    with quiet():
        converter = litert_converter(function)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = images
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_dataset=images, debug_options=options
        )
        content = debugger.get_nondebug_quantized_model()
    file.write_bytes(content)
