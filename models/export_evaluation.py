"""Evaluate an export: predictions, timing and metrics beside its files, with the run's own left as they are."""

from time import perf_counter

import numpy as np

from data import pipeline
from models import evaluation, export_check, exports, runtime, runtimes
from models.measuring import BATCHES
from utils import artifacts, environment, files, metrics, timing
from utils.artifacts import Run

OWN = (artifacts.PREDICTIONS, artifacts.TIMING, artifacts.METRICS)  # as in the run folder


def evaluate(run: Run, name: str) -> dict[str, dict]:
    """Write predictions.csv, timing.json and metrics.json into the folder of an export.

    Returns:
        {"metrics": as metrics.json, "timing": as timing.json}.

    Raises:
        LeukoBenchError: no such export, or it is stale; its runtime or the data are missing.
    """
    import pandas as pd

    exports.read(run, name)  # said before Keras starts
    runtime.start()
    config = evaluation.config_of(run)
    split = evaluation.split_of(run)
    start = perf_counter()
    opened = runtimes.open_export(run, name)
    load_seconds = perf_counter() - start
    rows, images = [], None
    for subset in ("val", "test"):
        images = evaluation.read(config, split, subset)
        for image, label, values in zip(images.names, images.labels, export_check.answers(opened, images), strict=True):
            # Nine digits bring every float32 back exactly.
            rows.append([image, subset, config.classes[label], *(float(f"{value:.9g}") for value in values)])
    table = pd.DataFrame(rows, columns=["image", "split", "label", *(f"p_{each}" for each in config.classes)])
    found = {subset: metrics.summary(table[table["split"] == subset]) for subset in ("val", "test")}
    batch, _ = next(iter(pipeline.fixed_batches(images, max(BATCHES))))
    pixels = np.resize(np.asarray(batch), (max(BATCHES), *batch.shape[1:]))
    seconds = {size: timing.repeat(lambda n=size: opened.predict(pixels[:n])) for size in BATCHES}
    timed = {
        "load_seconds": load_seconds,
        "latency_ms_p50": 1000 * timing.percentile(seconds[1], 0.5),
        "latency_ms_p95": 1000 * timing.percentile(seconds[1], 0.95),
        "throughput": {str(size): size / timing.percentile(times, 0.5) for size, times in seconds.items()},
        "warmup": timing.WARMUP,
        "iterations": timing.ITERATIONS,
        "device": environment.cpu_name(),
        "peak_memory_mb": environment.peak_memory_mb(),
    }
    place = exports.folder(run, name)
    files.write_text(place / artifacts.PREDICTIONS, files.csv_text(list(table.columns), rows))
    files.write_json(place / artifacts.TIMING, timed)
    files.write_json(place / artifacts.METRICS, found)
    return {"metrics": found, "timing": timed}
