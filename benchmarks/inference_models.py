"""One model in a process of its own: converted to every runtime and timed beside Keras, for benchmarks/inference.py."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import models
from benchmarks.recording import alternate
from models.engine import launcher
from models.engine.backend import keras_backend
from models.engine.evaluation import efficiency
from models.engine.export import converters, quantization, runtimes
from models.engine.export import store as export_store
from utils import console
from utils.errors import LeukoBenchError

CLASSES = ("a", "b", "c", "d")
PREDICT, ON_BATCH, COMPILED = "model.predict", "predict_on_batch", "tf.function"
EXPORTS = tuple(
    f"{format}-{precision}" for format in ("onnx", "openvino", "litert") for precision in ("float32", "int8")
)
CALIBRATION = 16  # images: the speed of int8 does not hang on its ranges


def measured_apart(name: str, size: int, batches: dict[int, tuple[int, float]]) -> dict[str, Any]:
    """Return what `measured` does, from a process of its own, which gives its memory back.

    Raises:
        LeukoBenchError: the process did not end well.
    """
    code = "import sys, json; from benchmarks import inference_models as m; m.report(*json.loads(sys.argv[1]))"
    with tempfile.TemporaryDirectory() as place:
        target = Path(place) / "measured.json"
        said = json.dumps([name, size, {str(batch): how for batch, how in batches.items()}, str(target)])
        done = subprocess.run([sys.executable, "-c", code, said], env=launcher.environment(), check=False)
        if done.returncode:
            raise LeukoBenchError(f"Measuring {name} ended with {done.returncode}; the reason stands above.")
        return json.loads(target.read_text(encoding="utf-8"))


def report(name: str, size: int, batches: dict[str, list[float]], target: str) -> None:
    """Write what `measured` returns as JSON."""
    how = {int(batch): (int(repetitions), seconds) for batch, (repetitions, seconds) in batches.items()}
    Path(target).write_text(json.dumps(measured(name, size, how)), encoding="utf-8")


def measured(name: str, size: int, batches: dict[int, tuple[int, float]]) -> dict[str, Any]:
    """Build a model with random weights, convert it and time every way to ask it.

    Args:
        name: of the model.
        size: side of its images in pixels; 0 for its own.
        batches: by images at once, repetitions and the seconds that one way may take in each of them.

    Returns:
        "model", "size", "flops", "parameters", "failed" (by export, why), "bytes" (by export), and "seconds": by
        batch, by way, a list for each repetition of the seconds of every call.
    """
    keras_backend.start(42)
    config = models.config_for(name, classes=CLASSES, weights="none", **({"image_size": size} if size else {}))
    with keras_backend.dtype_policy("float32"):
        model = models.build(config, initial_weights=False)
    console.say(f"{name}, {config.image_size} px")
    side = config.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (max(batches), side, side, 3)).astype(np.float32)
    with tempfile.TemporaryDirectory() as place:
        made, failed = _converted(model, pixels[:CALIBRATION], Path(place))
        ways = _keras_ways(model)
        for each in made:
            try:
                ways[each] = runtimes.open_files(Path(place) / each, _format(each)).predict
                for batch in batches:
                    ways[each](pixels[:batch])
            except (LeukoBenchError, RuntimeError, ValueError) as error:
                ways.pop(each, None)
                failed[each] = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        seconds = {batch: _timed(ways, pixels[:batch], *how) for batch, how in batches.items()}
    return {
        "model": name, "size": side, "flops": efficiency.flops(model), "parameters": model.count_params(),
        "failed": failed, "bytes": made, "seconds": seconds,
    }  # fmt: skip


def _keras_ways(model: Any) -> dict[str, Callable[[np.ndarray], Any]]:
    import tensorflow as tf

    compiled = tf.function(
        lambda image: model(image, training=False), input_signature=[tf.TensorSpec((None, *model.input_shape[1:]))]
    )
    return {
        PREDICT: lambda pixels: model.predict(pixels, verbose=0),
        ON_BATCH: model.predict_on_batch,
        COMPILED: lambda pixels: compiled(pixels).numpy(),
    }


def _converted(model: Any, pixels: np.ndarray, place: Path) -> tuple[dict[str, int], dict[str, str]]:
    """Write every export of EXPORTS into folders below `place`; return their bytes, and why others failed."""
    function = converters.frozen(model)

    @cache
    def plain() -> Path:
        file = place / "plain.onnx"
        converters.write_onnx(function, file)
        return file

    @cache
    def small() -> Path:
        file = place / "small.onnx"
        quantization.write_onnx(plain(), file, pixels)
        return file

    steps: dict[str, Callable[[Path], None]] = {
        "onnx-float32": lambda file: file.hardlink_to(plain()),
        "onnx-int8": lambda file: file.hardlink_to(small()),
        "openvino-float32": lambda file: converters.write_openvino(plain(), file),
        "openvino-int8": lambda file: converters.write_openvino(small(), file),
        "litert-float32": lambda file: converters.write_litert(function, file),
        "litert-int8": lambda file: quantization.write_litert(function, file, pixels),
    }
    made, failed = {}, {}
    for name in EXPORTS:
        folder = place / name
        folder.mkdir()
        try:
            steps[name](folder / export_store.FILES[_format(name)])
            made[name] = export_store.size(folder, _format(name))
        except Exception as error:  # a converter that cannot read this graph takes no other's figures with it
            failed[name] = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return made, failed


def _timed(
    ways: dict[str, Callable[[np.ndarray], Any]], pixels: np.ndarray, repetitions: int, budget: float
) -> dict[str, list[list[float]]]:
    """Return the seconds of every call, by way and repetition; ways take turns in blocks of calls.

    Blocks, since runtimes keep their threads busy for a while after an answer, which would slow down the next way's.
    """
    calls: dict[str, list[list[float]]] = {name: [] for name in ways}

    def block(name: str) -> float:
        ask, found, end = ways[name], [], perf_counter() + budget
        ask(pixels)  # whose threads were asleep
        while not found or (perf_counter() < end and len(found) < 200):
            start = perf_counter()
            ask(pixels)
            found.append(perf_counter() - start)
        calls[name].append(found)
        return sorted(found)[len(found) // 2]

    for ask in ways.values():  # compiles, and plans its memory
        ask(pixels)
    alternate({name: (lambda name=name: block(name)) for name in ways}, repetitions)
    return calls


def _format(name: str) -> str:
    return name.rpartition("-")[0]
