"""Tables of the scores of compared runs: overall, by class, over seeds, and the run folders behind the names."""

from collections.abc import Sequence
from typing import Any

from utils.tables.table import Table, interval, name_lines, number, percent, spread

Rows = Sequence[dict[str, Any]]


def quality(rows: Rows) -> Table:
    """Return accuracy with its interval, macro F1 and AUC, in percent except the AUC."""
    return Table(
        "Quality on the test images",
        ("Model", "Initial\nweights", "Variant", "Acc.\n%", "95 %\nWilson", "Macro\nF1 %", "AUC\nOvR"),
        [
            [
                *_model(row),
                percent(row["accuracy"]),
                interval(row["accuracy_low"], row["accuracy_high"]),
                percent(row["f1_macro"]),
                number(row["auc_ovr_macro"], 4),
            ]
            for row in rows
        ],
        frozenset({0, 1, 2}),
    )


def averages(rows: Rows) -> Table:
    """Return balanced accuracy, macro and weighted averages of precision and F1, and the log loss."""
    keys = ("balanced_accuracy", "precision_macro", "f1_macro", "precision_weighted", "f1_weighted")
    return Table(
        "Averages over the classes, % (balanced accuracy is the mean recall)",
        ("Model", "Bal.\nacc.", "Macro\nprec.", "Macro\nF1", "Wgtd.\nprec.", "Wgtd.\nF1", "Log\nloss"),
        [[name_lines(row["name"]), *(percent(row[key]) for key in keys), number(row["log_loss"], 3)] for row in rows],
    )


def per_class(rows: Rows) -> Table:
    """Return precision, recall, F1, AUC and support of every class."""
    lines = [
        [
            *(name_lines(row["name"]), row["class"]),
            *(percent(row[key]) for key in ("precision", "recall", "f1")),
            *(number(row["auc"], 4), number(row["support"], 0)),
        ]
        for row in rows
    ]
    columns = ("Model", "Class", "Prec.\n%", "Recall\n%", "F1\n%", "AUC", "Images")
    return Table("Per class", columns, lines, frozenset({0, 1}))


def other_tests(rows: Rows) -> list[Table]:
    """Return the scores on further test sets; test sets of one name with different images are told apart."""
    identities: dict[str, set[str]] = {}
    for row in rows:
        identities.setdefault(row["test_set"], set()).add(row["test_identity"])
    lines = [
        [
            name_lines(row["name"]),
            row["test_set"] + (f" ({row['test_identity'][:8]})" if len(identities[row["test_set"]]) > 1 else ""),
            number(row["images"], 0),
            percent(row["accuracy"]),
            interval(row["accuracy_low"], row["accuracy_high"]),
            percent(row["f1_macro"]),
        ]
        for row in sorted(rows, key=lambda row: (row["test_set"], row["test_identity"], -row["accuracy"]))
    ]
    columns = ("Model", "Test set", "Images", "Acc.\n%", "95 %\nWilson", "Macro\nF1 %")
    return [Table("Other test sets", columns, lines, frozenset({0, 1}))] if lines else []


def runs(rows: Rows) -> Table:
    """Return the run folder of each name, with variant, split and seed."""
    lines = [
        [name_lines(row["name"]), row["run"].partition("/")[2], row["variant"], row["split"], str(row["seed"])]
        for row in rows
    ]
    return Table("Runs", ("Model", "Run folder", "Variant", "Split", "Seed"), lines, frozenset({0, 1, 2, 3}))


def seeds(rows: Rows) -> list[Table]:
    """Return mean and standard deviation over the seeds of each model; [] without rows."""
    lines = [
        [
            *(*_model(row), str(row["runs"])),
            *(_two_lines(spread(row[f"{key}_mean"], row[f"{key}_sd"], 2, 100)) for key in ("accuracy", "f1_macro")),
            _two_lines(spread(row["training_seconds_to_best_mean"], row["training_seconds_to_best_sd"], 0)),
        ]
        for row in rows
    ]
    columns = ("Model", "Initial\nweights", "Variant", "n", "Accuracy\n%", "Macro\nF1 %", "Seconds to\nbest epoch")
    return [Table("Mean ± standard deviation over seeds", columns, lines, frozenset({0, 1, 2}))] if lines else []


def _model(row: dict[str, Any]) -> list[str]:
    return [name_lines(row["name"]), row["initialisation"].replace(" ", "\n"), row["variant"]]


def _two_lines(text: str) -> str:
    return text.replace(" ±", "\n±")
