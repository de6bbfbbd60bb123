"""Metrics of a table of predictions, recomputed from the table alone."""

from typing import TYPE_CHECKING, Any

from utils.errors import LeukoBenchError
from utils.metrics import scores as scoring
from utils.metrics.significance import wilson

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

PREFIX = "p_"
TOLERANCE = 1e-3  # float32 softmax, written as text and read again, stays far below it


def class_names(table: "pd.DataFrame") -> list[str]:
    """Return the class names of a table of predictions, in the order of its probability columns."""
    return [str(name).removeprefix(PREFIX) for name in table.columns if str(name).startswith(PREFIX)]


def arrays(table: "pd.DataFrame") -> tuple[list[str], "np.ndarray", "np.ndarray"]:
    """Return class names, true class indices (images,) and probabilities (images, classes) of a table of predictions.

    Probabilities come back as they stand, in float64: dividing rows by their sums would break ties between images.

    Raises:
        LeukoBenchError: no images, a label without a column, or probabilities that are none.
    """
    import numpy as np

    names = class_names(table)
    if not len(table) or not names:
        raise LeukoBenchError("There are no predictions to measure. Evaluate the run again.")
    position = {name: index for index, name in enumerate(names)}
    truth = table["label"].map(position)
    if truth.isna().any():
        label = table["label"][truth.isna()].iloc[0]
        raise LeukoBenchError(f"The label '{label}' has no probability column; columns exist for {', '.join(names)}.")
    probabilities = table[[PREFIX + name for name in names]].to_numpy(dtype=np.float64)
    sums = probabilities.sum(axis=1)
    broken = ~np.isfinite(probabilities).all(axis=1) | (probabilities < 0).any(axis=1) | ~(abs(sums - 1) <= TOLERANCE)
    if broken.any():
        row = int(np.flatnonzero(broken)[0])
        received = ", ".join(f"{value:.6g}" for value in probabilities[row])
        raise LeukoBenchError(
            f"Probabilities should lie in 0..1 and sum to 1; '{table['image'].iloc[row]}' has {received}. "
            "Evaluate the run again."
        )
    return names, truth.to_numpy(dtype=np.int64), probabilities


def confusion(table: "pd.DataFrame") -> "np.ndarray":
    """Return the confusion matrix (classes, classes) of counts, rows true, columns predicted.

    Predicted is the class of the highest probability; of equal ones the first in class order.
    """
    names, truth, probabilities = arrays(table)
    return scoring.confusion(truth, probabilities.argmax(axis=1), len(names))


def summary(table: "pd.DataFrame") -> dict[str, Any]:
    """Compute every metric of a table of predictions, as values that JSON can hold.

    What is undefined is None: recall and F1 of a class without images, the AUC of a class without images or without
    others. Averages over classes follow scikit-learn: balanced accuracy over the classes that have images, macro and
    weighted over those that have images or predictions, the macro AUC only where every class has one. Precision of a
    class that is never predicted counts as 0.

    Args:
        table: columns image, label and p_<Class> for every class; every row counts.

    Returns:
        images, accuracy, accuracy_low, accuracy_high, balanced_accuracy, macro and weighted {precision, recall, f1},
        auc_ovr_macro, log_loss (nats), per_class [{class, precision, recall, f1, support, auc}],
        confusion (rows true). All shares in 0..1.

    Raises:
        LeukoBenchError: no images, a label without a column, or probabilities that are none.
    """
    names, truth, probabilities = arrays(table)
    everything = range(len(names))
    matrix = scoring.confusion(truth, probabilities.argmax(axis=1), len(names))
    support, chosen = matrix.sum(axis=1), matrix.sum(axis=0)
    right = int(matrix.trace())
    low, high = wilson(right, len(truth))
    shares = probabilities / probabilities.sum(axis=1, keepdims=True)  # float32 rows miss 1 by rounding

    scores = precision, recall, f1 = scoring.precision_recall_f1(matrix)
    seen = (support > 0) | (chosen > 0)
    weights = {"macro": None, "weighted": support[seen]}
    averages = {kind: [scoring.averaged(score[seen], by) for score in scores] for kind, by in weights.items()}
    auc = [
        scoring.area_under_roc(truth == index, probabilities[:, index]) if 0 < support[index] < len(truth) else None
        for index in everything
    ]
    return {
        "images": len(truth),
        "accuracy": right / len(truth),
        "accuracy_low": low,
        "accuracy_high": high,
        "balanced_accuracy": float(recall[support > 0].mean()),
        **{kind: dict(zip(("precision", "recall", "f1"), v, strict=True)) for kind, v in averages.items()},
        "auc_ovr_macro": sum(auc) / len(auc) if None not in auc else None,
        "log_loss": scoring.log_loss(truth, shares) if len(names) > 1 else 0.0,
        "per_class": [
            {
                "class": name,
                "precision": float(precision[k]) if support[k] or chosen[k] else None,
                "recall": float(recall[k]) if support[k] else None,
                "f1": float(f1[k]) if support[k] or chosen[k] else None,
                "support": int(support[k]),
                "auc": auc[k],
            }
            for k, name in enumerate(names)
        ],
        "confusion": matrix.tolist(),
    }


def cell(table: "pd.DataFrame", true: str = "", predicted: str = "") -> "pd.DataFrame":
    """Return the images of one cell of the confusion matrix, of a row's or of a column's mistakes, worst first.

    Args:
        table: predictions, as for `summary`.
        true: class name, or "" for all others than `predicted`.
        predicted: class name, or "" for all others than `true`.

    Returns:
        Columns image, label, predicted and p_<Class>: the highest probability of a wrong class first; where both
        names are the same, the lowest probability of the right class first. Equal ones in image order.
    """
    import numpy as np

    names, truth, probabilities = arrays(table)
    answer = probabilities.argmax(axis=1)
    chosen = np.ones(len(truth), bool)
    if true:
        chosen &= truth == names.index(true)
    if predicted:
        chosen &= answer == names.index(predicted)
    right = bool(true) and true == predicted
    if not right:
        chosen &= truth != answer
    found = table.loc[chosen, ["image", "label"]].copy()
    found["predicted"] = np.array(names, dtype=object)[answer[chosen]]
    found[[PREFIX + name for name in names]] = probabilities[chosen]
    certainty = probabilities.max(axis=1)[chosen]
    order = np.lexsort((found["image"].to_numpy(dtype=str), certainty if right else -certainty))
    return found.iloc[order].reset_index(drop=True)
