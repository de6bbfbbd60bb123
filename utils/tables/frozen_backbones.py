"""Table of backbones as feature extractors: frozen base against the same network trained whole."""

from collections.abc import Sequence
from typing import Any

from utils.runs.comparison import Comparison
from utils.runs.run_folder import Run
from utils.tables.cost import seconds
from utils.tables.table import HYPHEN, Table, difference, name_lines, number, percent


def records(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the columns of extractors.csv, one dict for each run that trained with a frozen base.

    The test accuracy of a frozen base is known if the kept weights come from an epoch with the frozen base; for a run
    that was fine-tuned afterwards only the validation accuracy is. It is compared with the run of the same model,
    initial weights, variant and image size whose kept weights come from training the whole network: the run itself if
    it was fine-tuned, else one of the same seed, else the first by name. None: not known.
    """
    pairs = list(zip(comparison.runs, comparison.rows, strict=True))
    whole = [(run, row) for run, row in pairs if not _kept_frozen(run, row)]
    found = []
    for run, row in pairs:
        frozen = [epoch for epoch in run.history() if epoch["phase"] == "head"]
        if not frozen:
            continue
        costs = run.timing()["training"]
        once = [epoch.get("feature_seconds", 0.0) for epoch in frozen]
        kin = sorted(
            (other for other in whole if _alike(other, (run, row))),
            key=lambda other: (other[0] != run, other[1]["seed"] != row["seed"], other[1]["name"]),
        )
        best = kin[0][1] if kin else None
        accuracy = row["accuracy"] if _kept_frozen(run, row) else None
        found.append(
            {"name": row["name"], "model": row["model"], "run": row["run"]}
            | {key: row[key] for key in ("initialisation", "variant", "image_size", "seed")}
            | {
                "features": costs.get("features"),
                "pass_seconds": costs.get("feature_pass_seconds") or max(once) or None,
                "head_epochs": len(frozen),
                "head_seconds": sum(epoch["seconds"] for epoch in frozen) - sum(once),
                "frozen_val_accuracy": max(epoch["val_accuracy"] for epoch in frozen),
                "frozen_accuracy": accuracy,
                "whole_run": best and best["run"],
                "whole_accuracy": best and best["accuracy"],
                "difference": best["accuracy"] - accuracy if best and accuracy is not None else None,
            }
        )
    return found


def tables(rows: Sequence[dict[str, Any]]) -> list[Table]:
    """Return the table of `records`; [] without rows."""
    lines = [
        [
            *(name_lines(row["name"]), number(row["features"], 0)),
            *(seconds(row["pass_seconds"]), seconds(row["head_seconds"])),
            *(percent(row[key]) for key in ("frozen_val_accuracy", "frozen_accuracy", "whole_accuracy")),
            difference(row["difference"]),
        ]
        for row in rows
    ]
    columns = (
        *("Model", f"Fea{HYPHEN}tures", "Pass\ns", "Head\ns"),
        *("Frozen\nval. %", "Frozen\ntest %", "Whole\ntest %", "Points"),
    )
    return [Table("Backbones as extractors, and the same trained whole", columns, lines)] if lines else []


def _kept_frozen(run: Run, row: dict[str, Any]) -> bool:
    """Return whether the kept weights come from an epoch with a frozen base."""
    return any(epoch["epoch"] == row["epochs_best"] and epoch["phase"] == "head" for epoch in run.history())


def _alike(one: tuple[Run, dict[str, Any]], other: tuple[Run, dict[str, Any]]) -> bool:
    same = all(one[1][key] == other[1][key] for key in ("model", "variant", "image_size"))
    return same and one[0].config()["weights"] == other[0].config()["weights"]
