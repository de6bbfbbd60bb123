"""What a trained model costs: latency, throughput, parameters, FLOPs, memory, bytes."""

import contextlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data import pipeline
from models import runtime
from utils import environment, timing

if TYPE_CHECKING:
    import keras

    from data.pipeline import Images

BATCHES = (1, 8, 32)


def inference(model: "keras.Model", images: "Images", weights: Path) -> dict[str, Any]:
    """Time `predict_on_batch` on real images and count what the model holds.

    Args:
        model: in float32.
        images: at least one; repeated up to the largest batch.
        weights: file whose size is reported.

    Returns:
        latency_ms_p50 / _p95 at batch 1 (milliseconds), throughput by batch (images a second), peak_memory_mb of this
        process so far (training included when one process did both), parameters, trainable_parameters, flops of one
        image (2 per multiply-add), bytes_on_disk, device, warmup, iterations.
    """
    batch, _ = next(iter(pipeline.fixed_batches(images, max(BATCHES))))
    pixels = np.resize(batch.numpy(), (max(BATCHES), *batch.shape[1:]))
    seconds = {size: timing.repeat(lambda n=size: model.predict_on_batch(pixels[:n])) for size in BATCHES}
    return {
        "latency_ms_p50": 1000 * timing.percentile(seconds[1], 0.5),
        "latency_ms_p95": 1000 * timing.percentile(seconds[1], 0.95),
        "throughput": {str(size): size / timing.percentile(times, 0.5) for size, times in seconds.items()},
        "warmup": timing.WARMUP,
        "iterations": timing.ITERATIONS,
        "device": runtime.device_name(),
        "peak_memory_mb": environment.peak_memory_mb(),
        "parameters": model.count_params(),
        "trainable_parameters": sum(int(np.prod(w.shape)) for w in model.trainable_weights),
        "flops": flops(model),
        "bytes_on_disk": weights.stat().st_size,
    }


def flops(model: "keras.Model") -> int:
    """Return the floating-point operations of one image by TensorFlow's own profiler, 2 per multiply-add."""
    import tensorflow as tf

    call = tf.function(lambda image: model(image, training=False))
    graph = call.get_concrete_function(tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder(
        tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    ).with_empty_output()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return int(tf.compat.v1.profiler.profile(graph, options=options.build()).total_float_ops)
