"""Evaluate an export: predictions, timing and metrics beside its files, with the run's own left as they are."""

from time import perf_counter

from models import evaluation, exports, measuring, runtime, runtimes
from utils import artifacts, environment, files, metrics
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
    header, rows, images = evaluation.predicted(config, split, lambda asked: evaluation.outputs(opened.predict, asked))
    table = pd.DataFrame(rows, columns=header).astype(dict.fromkeys(header[3:], float))
    found = {subset: metrics.summary(table[table["split"] == subset]) for subset in ("val", "test")}
    timed = {"load_seconds": load_seconds} | measuring.speed(opened.predict, images)
    timed |= {"device": environment.cpu_name(), "peak_memory_mb": environment.peak_memory_mb()}
    place = exports.folder(run, name)
    files.write_text(place / artifacts.PREDICTIONS, files.csv_text(header, rows))
    files.write_json(place / artifacts.TIMING, timed)
    files.write_json(place / artifacts.METRICS, found)
    return {"metrics": found, "timing": timed}
