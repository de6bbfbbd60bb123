"""How good the compared models are, as tables: scores, classes, seeds, and the runs behind the names."""

from typing import Any

from utils.runs.comparison import Comparison
from utils.tables.table import Table, interval, name_lines, number, percent, spread


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
