"""Tables of the cost of compared runs: training, complexity, speed, and the machines that the times depend on."""

from collections.abc import Sequence
from typing import Any

from utils.runs.records import MACHINE
from utils.tables.table import Table, name_lines, number, quantity

Rows = Sequence[dict[str, Any]]


def training(rows: Rows) -> Table:
    """Return epochs, seconds and memory of training."""
    columns = ("Model", "Epochs\nbest/ran", "Seconds\nin all", "Seconds\nto best", "Seconds\nsaved", "Peak\nMB")
    return Table(
        "Training",
        (*columns, "Imports\nMB"),
        [
            [
                *(name_lines(row["name"]), f"{number(row['epochs_best'], 0)}/{row['epochs_ran']}"),
                *(seconds(row[key]) for key in ("training_seconds", "training_seconds_to_best")),
                seconds(row["feature_reuse_saved_seconds"]),
                *(number(row[key], 0) for key in ("training_peak_memory_mb", "import_memory_mb")),
            ]
            for row in rows
        ],
    )


def complexity(rows: Rows) -> Table:
    """Return image size, parameters, FLOPs, bytes on disk and memory of the models."""
    return Table(
        "Complexity",
        ("Model", "Pixels", "Params", "Trainable", "FLOPs an\nimage", "Disk\nMB", "Peak\nMB"),
        [
            [
                *(name_lines(row["name"]), number(row["image_size"], 0)),
                *(quantity(row[key]) for key in ("parameters", "trainable_parameters", "flops")),
                *(number(row["bytes_on_disk"], 1, 1e-6), number(row["inference_peak_memory_mb"], 0)),
            ]
            for row in rows
        ],
    )


def speed(rows: Rows) -> Table:
    """Return seconds to load a model, latency at batch size 1, and images per second at batch sizes 1, 8 and 32."""
    columns = ("Model", "Load\ns", "ms an\nimage", "ms\np95", "Images/s\nbatch 1", "Images/s\nbatch 8")
    return Table(
        "Speed of a prediction",
        (*columns, "Images/s\nbatch 32"),
        [
            [
                *(name_lines(row["name"]), number(row["load_seconds"], 1)),
                *(number(row[f"latency_ms_{key}"], 1) for key in ("p50", "p95")),
                *(number(row[f"images_per_second_{batch}"], 1) for batch in (1, 8, 32)),
            ]
            for row in rows
        ],
    )


def machines(rows: Rows) -> list[Table]:
    """Return a table of the machines if runs were made on different ones, else []."""
    if len(used_machines(rows)) == 1:
        return []
    lines = [[name_lines(row["name"]), machine(row)] for row in rows]
    return [Table("Machines: times of different ones do not compare", ("Model", "Machine"), lines, frozenset({0, 1}))]


def seconds(value: float | None) -> str:
    """Return seconds, with one decimal below 100."""
    return number(value, 0 if value is None or value >= 100 else 1)


def machine(row: dict[str, Any]) -> str:
    """Return the machine of a run in words."""
    device, cpu, threads, precision = (row[key] for key in MACHINE)
    place = cpu if device in (None, "CPU") else f"{device} ({cpu})"
    return f"{place or 'unknown'}, {threads or '?'} threads, {precision or 'unknown precision'}"


def used_machines(rows: Rows) -> list[str]:
    """Return the distinct machines of all runs, sorted."""
    return sorted({machine(row) for row in rows})
