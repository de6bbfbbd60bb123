"""How a comparison reads: the same tables, narrow enough for 80 columns, on screen and in the written files."""

from pathlib import Path
from typing import Any

from utils import tables
from utils.artifacts import RANDOM_FEATURES
from utils.compare_models import Comparison
from utils.run_records import MACHINE
from utils.tables import Table, interval, number, percent, quantity, spread


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Write table, per_class and seeds as .csv, .md, .tex and .html into a folder; return the paths.

    The same runs give the same bytes. Files of seeds from an earlier comparison go when there are none now.

    Raises:
        LeukoBenchError: the folder cannot be written.
    """
    notes = about(comparison)
    parts = {
        "table": ([quality(comparison), averages(comparison), training(comparison), cost(comparison)], comparison.rows),
        "per_class": ([per_class(comparison)], comparison.per_class),
        "seeds": ([seeds(comparison)], comparison.seeds),
    }
    parts["table"][0].extend([runs(comparison), *machines(comparison)])
    made = []
    for name, (shown, records) in parts.items():
        if records:
            tables.write_csv(folder / f"{name}.csv", records)
            made += [folder / f"{name}.csv", *tables.write_all(folder / name, comparison.title, notes, shown)]
        else:
            for suffix in (".csv", ".md", ".tex", ".html"):
                (folder / f"{name}{suffix}").unlink(missing_ok=True)
    return made


def about(comparison: Comparison) -> list[str]:
    """Return lines that hold for every row: the test set, and the machine where all ran on one."""
    lines = [f"Test set {comparison.test_identity}; runs on other test sets stand in tables of their own."]
    used = _machines(comparison)
    if len(used) == 1:
        lines.append(f"All runs on: {used[0]}.")
    return lines


def quality(comparison: Comparison) -> Table:
    """Return accuracy with its interval, balanced accuracy, macro F1 and AUC, in percent except the AUC."""
    return Table(
        "Quality on the test images",
        ("Model", "Initial\nweights", "Acc.\n%", "95 %\nWilson", "Bal.\nacc. %", "Macro\nF1 %", "AUC\nOvR"),
        [
            [
                *_who(row),
                percent(row["accuracy"]),
                interval(row["accuracy_low"], row["accuracy_high"]),
                percent(row["balanced_accuracy"]),
                percent(row["f1_macro"]),
                number(row["auc_ovr_macro"], 4),
            ]
            for row in comparison.rows
        ],
        frozenset({0, 1}),
    )


def averages(comparison: Comparison) -> Table:
    """Return precision, recall and F1 averaged over the classes both ways, and the log loss."""
    keys = ("precision_macro", "recall_macro", "f1_macro", "precision_weighted", "f1_weighted")
    return Table(
        "Averages over the classes, % (weighted recall is the accuracy)",
        ("Model", "Macro\nprec.", "Macro\nrecall", "Macro\nF1", "Wgtd.\nprec.", "Wgtd.\nF1", "Log\nloss"),
        [[_name(row), *(percent(row[key]) for key in keys), number(row["log_loss"], 3)] for row in comparison.rows],
    )


def per_class(comparison: Comparison) -> Table:
    """Return precision, recall, F1, AUC and support of every class."""
    rows = [
        [
            *(_name(row), row["class"], percent(row["precision"]), percent(row["recall"]), percent(row["f1"])),
            *(number(row["auc"], 4), number(row["support"], 0)),
        ]
        for row in comparison.per_class
    ]
    columns = ("Model", "Class", "Prec.\n%", "Recall\n%", "F1\n%", "AUC", "Images")
    return Table("Per class", columns, rows, frozenset({0, 1}))


def training(comparison: Comparison) -> Table:
    """Return epochs, seconds and memory of training."""
    return Table(
        "Training",
        ("Model", "Epochs\nbest/ran", "Seconds", "to best\nepoch", "Saved by\nreuse", "Peak\nMB", "of it\nimports"),
        [
            [
                *(_name(row), f"{number(row['epochs_best'], 0)}/{row['epochs_ran']}"),
                *(_time(row[f"training_seconds{key}"]) for key in ("", "_to_best")),
                _time(row["feature_reuse_saved_seconds"]),
                *(number(row[key], 0) for key in ("training_peak_memory_mb", "import_memory_mb")),
            ]
            for row in comparison.rows
        ],
    )


def cost(comparison: Comparison) -> Table:
    """Return latency at batch 1, throughput at batch 32 and sizes of the models."""
    return Table(
        "Cost of a prediction",
        ("Model", "ms an\nimage", "ms\np95", "Images/s\nbatch 32", "Params", "FLOPs", "Size\nMB"),
        [
            [
                *(_name(row), number(row["latency_ms_p50"], 1), number(row["latency_ms_p95"], 1)),
                number(row["images_per_second_32"], 1),
                *(quantity(row["parameters"]), quantity(row["flops"]), number(row["bytes_on_disk"], 1, 1e-6)),
            ]
            for row in comparison.rows
        ],
    )


def runs(comparison: Comparison) -> Table:
    """Return which run folder stands behind each name, with seed and size."""
    rows = [
        [_name(row), row["run"].partition("/")[2], row["split"], number(row["image_size"], 0), str(row["seed"])]
        for row in comparison.rows
    ]
    return Table("Runs", ("Model", "Run folder", "Split", "Pixels", "Seed"), rows, frozenset({0, 1, 2}))


def machines(comparison: Comparison) -> list[Table]:
    """Return a table of the machines where runs were made on different ones, else none."""
    if len(_machines(comparison)) == 1:
        return []
    rows = [[_name(row), _machine(row)] for row in comparison.rows]
    return [Table("Machines: times of different ones do not compare", ("Model", "Machine"), rows, frozenset({0, 1}))]


def seeds(comparison: Comparison) -> Table:
    """Return mean and standard deviation over the seeds of each model."""
    return Table(
        "Mean ± standard deviation over seeds",
        ("Model", "Initial\nweights", "n", "Accuracy %", "Macro F1 %", "Seconds to\nbest epoch"),
        [
            [
                *(row["model"], row["initialisation"].replace(" ", "\n"), str(row["runs"])),
                *(spread(row[f"{key}_mean"], row[f"{key}_sd"], 2, 100) for key in ("accuracy", "f1_macro")),
                spread(row["training_seconds_to_best_mean"], row["training_seconds_to_best_sd"], 0),
            ]
            for row in comparison.seeds
        ],
        frozenset({0, 1}),
    )


def _who(row: dict[str, Any]) -> list[str]:
    # The column beside it says "random features" already.
    plain = row | {"name": row["name"].removesuffix(f" ({RANDOM_FEATURES})")}
    return [_name(plain), row["initialisation"].replace(" ", "\n")]


def _name(row: dict[str, Any]) -> str:
    # On screen in several lines; the written files join them again.
    frozen = f" ({RANDOM_FEATURES})"
    name, mark, _ = row["name"].partition(frozen)
    return name.replace(" ", "\n", 1) + mark.replace(" ", "\n")


def _time(seconds: float | None) -> str:
    return number(seconds, 0 if seconds is None or seconds >= 100 else 1)


def _machine(row: dict[str, Any]) -> str:
    device, cpu, threads, precision = (row[key] for key in MACHINE)
    place = cpu if device in (None, "CPU") else f"{device} ({cpu})"
    return f"{place or 'unknown'}, {threads or '?'} threads, {precision or 'unknown precision'}"


def _machines(comparison: Comparison) -> list[str]:
    return sorted({_machine(row) for row in comparison.rows})
