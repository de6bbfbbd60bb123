"""Classification report of one run as scikit-learn's, with intervals and specificity of each class."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
        rows: columns of classification.csv, one dict per class (kind "class"), then accuracy, macro and weighted
            average (kind "average"). None: undefined, or not part of the row. All shares in 0..1.
    """

    rows: list[dict[str, Any]]

    @classmethod
    def from_predictions(cls, table: "pd.DataFrame") -> "Classification":
        """Compute the report of a table of predictions.

        Precision, recall, F1 and the averages equal those of sklearn.metrics.classification_report, except that
        undefined values are None, not 0. Specificity is the share of images of other classes that are not predicted
        as the class. The bounds are the 95 % Wilson interval of the recall.

        Raises:
            LeukoBenchError: no images, a label without a column, or invalid probabilities.
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
            _row("average", "accuracy", f1=score["accuracy"])  # in the column that scikit-learn uses
            | {"support": images, "right": right}
        )
        for kind in ("macro", "weighted"):
            auc = score["auc_ovr_macro"] if kind == "macro" else None
            rows.append(_row("average", f"{kind} avg", **score[kind], auc=auc) | {"support": images})
        return cls(rows)

    def tables(self) -> list[Table]:
        """Return two tables: the report, and recall with interval and specificity of every class."""
        report = [
            [
                *(row["class"], *(number(row[key], 4) for key in ("precision", "recall", "f1"))),
                *(number(row["support"], 0), number(row["auc"], 4)),
            ]
            for row in self.rows
        ]
        each = [
            [
                *(row["class"], f"{row['right']}/{row['support']}", percent(row["recall"])),
                *(interval(row["recall_low"], row["recall_high"]), percent(row["specificity"])),
            ]
            for row in self.rows
            if row["kind"] == "class"
        ]
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
        notes = ["Recall is also called sensitivity. Accuracy is in the column of the F1-score, as in scikit-learn."]
        return writers.write_all(stem, heading, notes, self.tables(), self.rows)


def _row(kind: str, name: str, **values: Any) -> dict[str, Any]:
    keys = ("precision", "recall", "f1", "support", "auc", "specificity", "right", "recall_low", "recall_high")
    return {"kind": kind, "class": name} | {key: values.get(key) for key in keys}
