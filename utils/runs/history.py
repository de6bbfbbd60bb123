"""Training history: which epoch was best."""

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]  # one epoch of history.csv


def best_epoch(history: Sequence[Row]) -> Row:
    """Return the row with the highest validation accuracy; ties go to the lowest loss, then to the earliest epoch."""
    return max(history, key=lambda row: (row["val_accuracy"], -row["val_loss"], -row["epoch"]))
