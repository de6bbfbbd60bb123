"""How a comparison reads: the same tables, narrow enough for 80 columns, on screen and in the written files."""

from pathlib import Path
from typing import Any

from utils import baseline, cost_tables, extractors, hyperparameters, tables
from utils.compare_models import Comparison
from utils.tables import Table, interval, name_lines, number, percent, spread

MAIN = ("quality", "per_class", "training", "complexity", "speed", "machines", "seeds", "runs")  # on screen at once
FORMATS = (".csv", ".md", ".tex", ".html")


def views(comparison: Comparison, against: str = baseline.DEFAULT) -> dict[str, list[Table]]:
    """Return every view of a comparison by its name, in reading order; one that has nothing to show is left out.

    Args:
        comparison: of runs with the same test images.
        against: name of the baseline, which the best run is held against.
    """
    found = {
        "quality": [quality(comparison)],
        "averages": [averages(comparison)],
        "per_class": [per_class(comparison)],
        "baseline": baseline.tables(comparison, against),
        "training": [cost_tables.training(comparison)],
        "complexity": [cost_tables.complexity(comparison)],
        "speed": [cost_tables.speed(comparison)],
        "machines": cost_tables.machines(comparison),
        "seeds": [seeds(comparison)] if comparison.seeds else [],
        "extractors": extractors.tables(comparison),
        "hyperparameters": hyperparameters.tables(comparison),
        "runs": [runs(comparison)],
    }
    return {name: shown for name, shown in found.items() if shown}


def write(comparison: Comparison, folder: Path, against: str = baseline.DEFAULT) -> list[Path]:
    """Write the tables of a comparison as .csv, .md, .tex and .html into a folder; return the paths.

    The same runs give the same bytes. Files of an earlier comparison go where there is nothing for them now.

    Raises:
        LeukoBenchError: the folder cannot be written.
    """
    shown, notes = views(comparison, against), about(comparison)
    whole = ("quality", "averages", "training", "complexity", "speed", "runs", "machines")
    records = {
        "table": comparison.rows,
        "per_class": comparison.per_class,
        "seeds": comparison.seeds,
        "baseline": baseline.records(comparison, against),
        "extractors": extractors.records(comparison),
        "hyperparameters": hyperparameters.records(comparison),
    }
    made = []
    for name, held in records.items():
        if held:
            parts = [table for part in (whole if name == "table" else (name,)) for table in shown.get(part, [])]
            tables.write_csv(folder / f"{name}.csv", held)
            made += [folder / f"{name}.csv", *tables.write_all(folder / name, comparison.title, notes, parts)]
        else:
            remove(folder, name)
    return made


def remove(folder: Path, name: str) -> None:
    """Remove the files of a table."""
    for suffix in FORMATS:
        (folder / f"{name}{suffix}").unlink(missing_ok=True)


def about(comparison: Comparison) -> list[str]:
    """Return lines that hold for every row: the test set, and the machine where all ran on one."""
    lines = [f"Test set {comparison.test_identity}; runs on other test sets stand in tables of their own."]
    used = cost_tables.used_machines(comparison)
    if len(used) == 1:
        lines.append(f"All runs on: {used[0]}.")
    return lines


def quality(comparison: Comparison) -> Table:
    """Return accuracy with its interval, macro F1 and AUC, in percent except the AUC."""
    return Table(
        "Quality on the test images",
        ("Model", "Initial\nweights", "Variant", "Acc.\n%", "95 %\nWilson", "Macro\nF1 %", "AUC\nOvR"),
        [
            [
                *_who(row),
                percent(row["accuracy"]),
                interval(row["accuracy_low"], row["accuracy_high"]),
                percent(row["f1_macro"]),
                number(row["auc_ovr_macro"], 4),
            ]
            for row in comparison.rows
        ],
        frozenset({0, 1, 2}),
    )


def averages(comparison: Comparison) -> Table:
    """Return balanced accuracy, precision and F1 averaged over the classes both ways, and the log loss."""
    keys = ("balanced_accuracy", "precision_macro", "f1_macro", "precision_weighted", "f1_weighted")
    return Table(
        "Averages over the classes, % (balanced accuracy is the mean recall)",
        ("Model", "Bal.\nacc.", "Macro\nprec.", "Macro\nF1", "Wgtd.\nprec.", "Wgtd.\nF1", "Log\nloss"),
        [
            [name_lines(row["name"]), *(percent(row[key]) for key in keys), number(row["log_loss"], 3)]
            for row in comparison.rows
        ],
    )


def per_class(comparison: Comparison) -> Table:
    """Return precision, recall, F1, AUC and support of every class."""
    rows = [
        [
            *(name_lines(row["name"]), row["class"]),
            *(percent(row[key]) for key in ("precision", "recall", "f1")),
            *(number(row["auc"], 4), number(row["support"], 0)),
        ]
        for row in comparison.per_class
    ]
    columns = ("Model", "Class", "Prec.\n%", "Recall\n%", "F1\n%", "AUC", "Images")
    return Table("Per class", columns, rows, frozenset({0, 1}))


def runs(comparison: Comparison) -> Table:
    """Return which run folder stands behind each name, with variant, split and seed."""
    rows = [
        [name_lines(row["name"]), row["run"].partition("/")[2], row["variant"], row["split"], str(row["seed"])]
        for row in comparison.rows
    ]
    return Table("Runs", ("Model", "Run folder", "Variant", "Split", "Seed"), rows, frozenset({0, 1, 2, 3}))


def seeds(comparison: Comparison) -> Table:
    """Return mean and standard deviation over the seeds of each model."""
    rows = [
        [
            *(*_who(row), str(row["runs"])),
            *(_two_lines(spread(row[f"{key}_mean"], row[f"{key}_sd"], 2, 100)) for key in ("accuracy", "f1_macro")),
            _two_lines(spread(row["training_seconds_to_best_mean"], row["training_seconds_to_best_sd"], 0)),
        ]
        for row in comparison.seeds
    ]
    columns = ("Model", "Initial\nweights", "Variant", "n", "Accuracy\n%", "Macro\nF1 %", "Seconds to\nbest epoch")
    return Table("Mean ± standard deviation over seeds", columns, rows, frozenset({0, 1, 2}))


def _who(row: dict[str, Any]) -> list[str]:
    return [name_lines(row["name"]), row["initialisation"].replace(" ", "\n"), row["variant"]]


def _two_lines(text: str) -> str:
    return text.replace(" ±", "\n±")
