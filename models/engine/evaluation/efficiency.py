"""Cost of a trained model: latency, throughput, parameters, FLOPs, memory, bytes."""

import contextlib
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.loading.pipeline import loader
from models.engine.backend import jax_backend, keras_backend
from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import run_folder
from utils.runs.history import best_epoch
from utils.runs.run_folder import Run
from utils.system import environment, timing

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from data.loading.image_set import Images

BATCHES = (1, 8, 32)
COUNTERS = {"tensorflow": "tf.profiler", "jax": "jax cost analysis"}


def kept_timing(run: Run) -> dict[str, Any]:
    """Return timing.json, or {} where it is missing, damaged or changed and must be measured again."""
    try:
        run.check(run_folder.TIMING)
        content = files.read_json(run.file(run_folder.TIMING))
    except LeukoBenchError:
        return {}
    return content if isinstance(content, dict) else {}


def training(
    history: Sequence[dict[str, Any]], kept: dict[str, Any], here: bool, extraction: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the training half of timing.json.

    Args:
        history: rows of history.csv, with the seconds of every epoch.
        kept: the previous content, which may hold the peak memory of an earlier process of the same training.
        here: whether this process trained, so that its peak memory counts.
        extraction: {"features", "seconds"} of one pass over the frozen base, where there was one.
    """
    best = int(best_epoch(history)["epoch"])
    spent = [row["feature_seconds"] for row in history]
    phases = {row["phase"] for row in history if row["feature_seconds"]}
    reused = sum(row["phase"] in phases for row in history)
    extraction = extraction or {}
    passed = extraction.get("seconds") or kept.get("feature_pass_seconds") or max(spent) or None
    peak, imports = kept.get("peak_memory_mb"), kept.get("import_memory_mb")
    if here:
        peak, imports = max(peak or 0, environment.peak_memory_mb()), environment.import_memory_mb()
    return {
        "seconds": sum(row["seconds"] for row in history),
        "seconds_to_best": sum(row["seconds"] for row in history[:best]),
        "epochs": len(history),
        "best_epoch": best,
        # Each of these epochs would have run the frozen base over the same images.
        "feature_reuse_saved_seconds": passed * reused - sum(spent) if passed and any(spent) else None,
        "feature_pass_seconds": passed,
        "features": extraction.get("features", kept.get("features")),
        "peak_memory_mb": peak,
        "import_memory_mb": imports,
    }


def inference(model: "keras.Model", images: "Images", weights: Path) -> dict[str, Any]:
    """Time `predict_on_batch` on real images; count parameters, FLOPs and bytes.

    Args:
        model: in float32.
        images: at least one; repeated up to the largest batch.
        weights: file whose size is reported.

    Returns:
        The result of `speed`, and device, peak_memory_mb of this process so far (with the training if it ran here),
        parameters, trainable_parameters, flops of one image (2 per multiply-add), flops_counted_by, bytes_on_disk.
    """
    return speed(model.predict_on_batch, images) | {
        "device": keras_backend.device_name(),
        "peak_memory_mb": environment.peak_memory_mb(),
        "parameters": model.count_params(),
        "trainable_parameters": sum(int(np.prod(w.shape)) for w in model.trainable_weights),
        "flops": flops(model),
        "flops_counted_by": COUNTERS[keras_backend.backend()],
        "bytes_on_disk": weights.stat().st_size,
    }


def speed(predict: Callable[[np.ndarray], object], images: "Images") -> dict[str, Any]:
    """Time a call with (b, size, size, 3) float32 pixels on real images, repeated up to the largest batch.

    Returns:
        latency_ms_p50 / _p95 at batch 1 (milliseconds), throughput by batch (images per second), warmup, iterations.
    """
    batch, _ = next(iter(loader().fixed_batches(images, max(BATCHES))))
    pixels = np.resize(np.asarray(batch), (max(BATCHES), *batch.shape[1:]))
    seconds = {size: timing.repeat(lambda n=size: predict(pixels[:n])) for size in BATCHES}
    return {
        "latency_ms_p50": 1000 * timing.percentile(seconds[1], 0.5),
        "latency_ms_p95": 1000 * timing.percentile(seconds[1], 0.95),
        "throughput": {str(size): size / timing.percentile(times, 0.5) for size, times in seconds.items()},
        "warmup": timing.WARMUP,
        "iterations": timing.ITERATIONS,
    }


def flops(model: "keras.Model") -> int | None:
    """Return the floating-point operations of one image, 2 per multiply-add, by the backend's own count.

    TensorFlow's profiler counts the operations of the graph, JAX' cost analysis those of the program before XLA
    optimises it; both nearly agree. None where JAX has no count.
    """
    if keras_backend.backend() == "jax":
        return jax_backend.flops(model)
    import tensorflow as tf

    call = tf.function(lambda image: model(image, training=False))
    graph = call.get_concrete_function(tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder(
        tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    ).with_empty_output()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        counted = int(tf.compat.v1.profiler.profile(graph, options=options.build()).total_float_ops)
    # The profiler ignores Einsum, which attention uses.
    return counted + sum(_einsum_flops(each) for each in graph.get_operations() if each.type == "Einsum")


def _einsum_flops(operation: "tf.Operation") -> int:
    equation = operation.get_attr("equation").decode()
    sides: dict[str, int] = {}
    for letters, tensor in zip(equation.partition("->")[0].split(","), operation.inputs, strict=True):
        sides.update(zip(letters, tensor.shape, strict=True))
    return 2 * math.prod(sides.values())
