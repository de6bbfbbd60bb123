"""What training and using the compared models costs, as tables: time, memory, sizes, and the machine they depend on."""

from typing import Any

from utils.runs.comparison import Comparison
from utils.runs.records import MACHINE
from utils.tables.table import Table, name_lines, number, quantity


def training(comparison: Comparison) -> Table:
    """Return epochs, seconds and memory of training."""
    return Table(
        "Training",
        (
            "Model",
            "Epochs\nbest/ran",
            "Seconds\nin all",
            "Seconds\nto best",
            "Seconds\nsaved",
            "Peak\nMB",
            "Imports\nMB",
        ),
        [
            [
                *(name_lines(row["name"]), f"{number(row['epochs_best'], 0)}/{row['epochs_ran']}"),
                *(seconds(row[f"training_seconds{key}"]) for key in ("", "_to_best")),
                seconds(row["feature_reuse_saved_seconds"]),
                *(number(row[key], 0) for key in ("training_peak_memory_mb", "import_memory_mb")),
            ]
            for row in comparison.rows
        ],
    )


def complexity(comparison: Comparison) -> Table:
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
            for row in comparison.rows
        ],
    )


def speed(comparison: Comparison) -> Table:
    """Return seconds to load a model, its latency at batch 1, and images a second in batches of 1, 8 and 32."""
    return Table(
        "Speed of a prediction",
        (
            *("Model", "Load\ns", "ms an\nimage", "ms\np95"),
            *("Images/s\nbatch 1", "Images/s\nbatch 8", "Images/s\nbatch 32"),
        ),
        [
            [
                *(name_lines(row["name"]), number(row["load_seconds"], 1)),
                *(number(row[f"latency_ms_{key}"], 1) for key in ("p50", "p95")),
                *(number(row[f"images_per_second_{batch}"], 1) for batch in (1, 8, 32)),
            ]
            for row in comparison.rows
        ],
    )


def machines(comparison: Comparison) -> list[Table]:
    """Return a table of the machines where runs were made on different ones, else none."""
    if len(used_machines(comparison)) == 1:
        return []
    rows = [[name_lines(row["name"]), machine(row)] for row in comparison.rows]
    return [Table("Machines: times of different ones do not compare", ("Model", "Machine"), rows, frozenset({0, 1}))]


def seconds(value: float | None) -> str:
    """Return seconds, with a decimal below 100."""
    return number(value, 0 if value is None or value >= 100 else 1)


def machine(row: dict[str, Any]) -> str:
    """Return the machine of a run in words."""
    device, cpu, threads, precision = (row[key] for key in MACHINE)
    place = cpu if device in (None, "CPU") else f"{device} ({cpu})"
    return f"{place or 'unknown'}, {threads or '?'} threads, {precision or 'unknown precision'}"


def used_machines(comparison: Comparison) -> list[str]:
    """Return the machines of all runs, each once."""
    return sorted({machine(row) for row in comparison.rows})
