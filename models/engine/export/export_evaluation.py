"""Evaluate an export: predictions, timing and metrics beside its files, with the run's own left as they are."""

from time import perf_counter

from models.engine.backend import keras_backend
from models.engine.evaluation import efficiency
from models.engine.export import runtimes
from models.engine.export import store as export_store
from models.engine.run_io import run_loader
from utils.io import files
from utils.metrics import predictions
from utils.runs import run_folder
from utils.runs.run_folder import Run
from utils.system import environment

OWN = (run_folder.PREDICTIONS, run_folder.TIMING, run_folder.METRICS)  # as in the run folder


def evaluate(run: Run, name: str) -> dict[str, dict]:
    """Write predictions.csv, timing.json and metrics.json into the folder of an export.

    Returns:
        {"metrics": as metrics.json, "timing": as timing.json}.

    Raises:
        LeukoBenchError: no such export, or it is stale; its runtime or the data are missing.
    """
    import pandas as pd

    export_store.read(run, name)  # said before Keras starts
    keras_backend.start()
    config = run_loader.config_of(run)
    split = run_loader.split_of(run)
    start = perf_counter()
    opened = runtimes.open_export(run, name)
    load_seconds = perf_counter() - start
    header, rows, images = run_loader.predicted(config, split, lambda asked: run_loader.outputs(opened.predict, asked))
    table = pd.DataFrame(rows, columns=header).astype(dict.fromkeys(header[3:], float))
    found = {subset: predictions.summary(table[table["split"] == subset]) for subset in ("val", "test")}
    timed = {"load_seconds": load_seconds} | efficiency.speed(opened.predict, images)
    timed |= {"device": environment.cpu_name(), "peak_memory_mb": environment.peak_memory_mb()}
    place = export_store.folder(run, name)
    files.write_text(place / run_folder.PREDICTIONS, files.csv_text(header, rows))
    files.write_json(place / run_folder.TIMING, timed)
    files.write_json(place / run_folder.METRICS, found)
    return {"metrics": found, "timing": timed}
