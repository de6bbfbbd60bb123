"""The classification report of one run, laid out as scikit-learn's, with what it leaves out of each class."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.io import files
from utils.metrics import predictions
from utils.tables import writers
from utils.tables.table import Table, interval, number, percent

if TYPE_CHECKING:
    import pandas as pd

STEM = "classification"


@dataclass(frozen=True)
class Classification:
    """Scores of every class and their averages.

    Attributes:
        rows: one dict a class (kind "class"), then accuracy, macro and weighted average (kind "average"): the columns
            of classification.csv. None: not defined, or no part of such a row. All shares in 0..1.
    """

    rows: list[dict[str, Any]]

    @classmethod
    def from_predictions(cls, table: "pd.DataFrame") -> "Classification":
        """Compute the report of a table of predictions.

        Precision, recall, F1 and the averages equal those of sklearn.metrics.classification_report, except that what
        is undefined is None and not 0. Specificity is the share of all other images that are not named so. The bounds
        are the 95 % Wilson interval of the recall.

        Raises:
            LeukoBenchError: no images, a label without a column, or probabilities that are none.
        """
        score = predictions.summary(table)
        matrix, images = score["confusion"], score["images"]
        rows = []
        for k, found in enumerate(score["per_class"]):
            right, support = matrix[k][k], found["support"]
            others, wrong = images - support, sum(row[k] for row in matrix) - right
            low, high = predictions.wilson(right, support) if support else (None, None)
            rows.append(
                _row("class", found["class"], **{key: found[key] for key in ("precision", "recall", "f1", "auc")})
                | {"support": support, "right": right, "recall_low": low, "recall_high": high}
                | {"specificity": (others - wrong) / others if others else None}
            )
        right = sum(matrix[k][k] for k in range(len(matrix)))
        rows.append(
            _row("average", "accuracy", f1=score["accuracy"])  # in the column where scikit-learn has it
            | {"support": images, "right": right}
        )
        for kind in ("macro", "weighted"):
            auc = score["auc_ovr_macro"] if kind == "macro" else None
            rows.append(_row("average", f"{kind} avg", **score[kind], auc=auc) | {"support": images})
        return cls(rows)

    def tables(self) -> list[Table]:
        """Return the report, and recall with its interval and specificity of every class."""
        report = [
            [row["class"], *(number(row[key], 4) for key in ("precision", "recall", "f1")),
             number(row["support"], 0), number(row["auc"], 4)]
            for row in self.rows
        ]  # fmt: skip
        each = [
            [row["class"], f"{row['right']}/{row['support']}", percent(row["recall"]),
             interval(row["recall_low"], row["recall_high"]), percent(row["specificity"])]
            for row in self.rows
            if row["kind"] == "class"
        ]  # fmt: skip
        return [
            Table("Classification report", ("", "Precision", "Recall", "F1-score", "Support", "AUC"), report),
            Table(
                "Each class against all others",
                ("Class", "Right", "Recall\n%", "95 %\nWilson", "Specificity\n%"),
                each,
            ),
        ]

    def write(self, folder: Path, heading: str, subset: str = "test") -> list[Path]:
        """Write the report as .csv, .md, .tex and .html into a folder; return the paths.

        Raises:
            LeukoBenchError: the folder cannot be written.
        """
        stem = folder / (STEM if subset == "test" else f"{STEM}-{subset}")
        files.write_csv(stem.with_name(f"{stem.name}.csv"), self.rows)
        notes = ["Recall is also called sensitivity. Accuracy stands under F1-score, as scikit-learn prints it."]
        return [stem.with_name(f"{stem.name}.csv"), *writers.write_all(stem, heading, notes, self.tables())]


def _row(kind: str, name: str, **values: Any) -> dict[str, Any]:
    keys = ("precision", "recall", "f1", "support", "auc", "specificity", "right", "recall_low", "recall_high")
    return {"kind": kind, "class": name} | {key: values.get(key) for key in keys}
