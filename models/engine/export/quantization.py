"""Int8 quantization: weights per channel, activations calibrated on training images; the softmax stays float32."""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from data.loading.pipeline import loader
from data.manifest import Manifest, Row
from data.splitting.splits import SplitFolder
from models.engine.config.base import ModelConfig
from models.engine.export.converters import INPUT, litert_converter, quiet

CALIBRATION = 256  # training images; the ranges of activations change little after some hundred
STEP = 16  # images per calibration batch
# Operations with an integer kernel in ONNX Runtime and OpenVINO. Softmax and attention stay in float32.
OPERATIONS = ("Conv", "MatMul", "Gemm", "Add", "Mul", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat", "Pad")


def calibration_rows(manifest: Manifest, count: int = CALIBRATION) -> list[Row]:
    """Choose training images in turn from every class, by hash: the same images for every model and format."""
    turns = zip_longest(*manifest.by_class("train").values())
    return [row for turn in turns for row in turn if row is not None][:count]


def calibration_pixels(split: SplitFolder, config: ModelConfig) -> np.ndarray:
    """Return (n, size, size, 3) float32 RGB in 0-255 of the calibration images, as the model receives them."""
    paths = [str(split.path / "train" / row.image) for row in calibration_rows(split.manifest)]
    pixels = [loader().decode(path, config.image_size, config.variant) for path in paths]
    return np.stack(pixels).astype(np.float32)


def write_onnx(float_file: Path, file: Path, pixels: np.ndarray) -> None:
    """Quantize an ONNX file to int8 in the QDQ format, which ONNX Runtime and OpenVINO read.

    Args:
        float_file: input file, in float32.
        file: output file.
        pixels: (n, size, size, 3) float32 RGB in 0-255 for the calibration.
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
            str(float_file),
            str(file),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            op_types_to_quantize=list(OPERATIONS),
        )


def write_litert(function: Any, file: Path, pixels: np.ndarray) -> None:
    """Write a frozen graph as LiteRT in int8, with float32 input, output and softmax; see `write_onnx`."""
    import tensorflow as tf

    def images() -> Iterator[list[np.ndarray]]:
        for start in range(len(pixels)):
            yield [pixels[start : start + 1]]

    # An int8 softmax returns multiples of 1/256. Only the debugger can exclude an operation.
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
