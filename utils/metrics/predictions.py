"""Metrics of a table of predictions, recomputed from the table alone with scikit-learn."""

from typing import TYPE_CHECKING, Any

from utils.errors import LeukoBenchError
from utils.metrics.significance import wilson

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

PREFIX = "p_"
TOLERANCE = 1e-3  # allowed distance of a row sum from 1; a float32 softmax read back from text stays far below it


def class_names(table: "pd.DataFrame") -> list[str]:
    """Return the class names of a table of predictions, in the order of its probability columns."""
    return [str(name).removeprefix(PREFIX) for name in table.columns if str(name).startswith(PREFIX)]


def arrays(table: "pd.DataFrame") -> tuple[list[str], "np.ndarray", "np.ndarray"]:
    """Return class names, true class indices (images,) and probabilities (images, classes) of a table of predictions.

    Probabilities are returned as stored, in float64; dividing rows by their sums would break ties between images.

    Raises:
        LeukoBenchError: no images, a label without a column, or invalid probabilities.
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
    broken = invalid(probabilities)
    if broken.any():
        row = int(np.flatnonzero(broken)[0])
        received = ", ".join(f"{value:.6g}" for value in probabilities[row])
        raise LeukoBenchError(
            f"Probabilities should lie in 0..1 and sum to 1; '{table['image'].iloc[row]}' has {received}. "
            "Evaluate the run again."
        )
    return names, truth.to_numpy(dtype=np.int64), probabilities


def invalid(probabilities: "np.ndarray") -> "np.ndarray":
    """Say for each row of probabilities (images, classes) whether it is not finite, negative or does not sum to 1."""
    import numpy as np

    sums = probabilities.sum(axis=1, dtype=np.float64)
    finite = np.isfinite(probabilities).all(axis=1)
    return ~finite | (probabilities < 0).any(axis=1) | ~(abs(sums - 1) <= TOLERANCE)


def confusion(table: "pd.DataFrame") -> "np.ndarray":
    """Return the confusion matrix (classes, classes) of counts, rows true, columns predicted.

    The predicted class is the one of highest probability; of equal ones the first in class order.
    """
    from sklearn.metrics import confusion_matrix

    names, truth, probabilities = arrays(table)
    return confusion_matrix(truth, probabilities.argmax(axis=1), labels=range(len(names)))


def summary(table: "pd.DataFrame") -> dict[str, Any]:
    """Compute every metric of a table of predictions, as values that JSON can hold.

    Undefined values are None: recall and F1 of a class without images, the AUC of a class without images or without
    others. Averages over classes follow scikit-learn: balanced accuracy over the classes that have images, macro and
    weighted over those that have images or predictions, the macro AUC only if every class has one. Precision of a
    class that is never predicted counts as 0.

    Args:
        table: columns label and p_<Class>, one row per image.

    Returns:
        images, accuracy, accuracy_low, accuracy_high (95 % Wilson), balanced_accuracy, macro and weighted {precision,
        recall, f1}, auc_ovr_macro, log_loss (nats), per_class [{class, precision, recall, f1, support, auc}],
        confusion (rows true). All shares in 0..1.

    Raises:
        LeukoBenchError: no images, a label without a column, or invalid probabilities.
    """
    import numpy as np
    import sklearn
    from sklearn import metrics

    names, truth, probabilities = arrays(table)
    predicted, labels = probabilities.argmax(axis=1), range(len(names))
    shares = probabilities / probabilities.sum(axis=1, keepdims=True)  # sums of float32 rows differ from 1 by rounding
    # `arrays` has checked the input; without scikit-learn's own checks a run takes 11 ms instead of 100.
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        matrix = metrics.confusion_matrix(truth, predicted, labels=labels)
        precision, recall, f1, support = metrics.precision_recall_fscore_support(
            truth, predicted, labels=labels, zero_division=0
        )
        auc = [
            float(metrics.roc_auc_score(truth == k, probabilities[:, k])) if 0 < support[k] < len(truth) else None
            for k in labels
        ]
        log_loss = float(metrics.log_loss(truth, shares, labels=labels)) if len(names) > 1 else 0.0
    chosen = matrix.sum(axis=0)
    seen = (support > 0) | (chosen > 0)
    scores = {"precision": precision, "recall": recall, "f1": f1}
    right = int(matrix.trace())
    low, high = wilson(right, len(truth))

    def averages(weights: "np.ndarray | None") -> dict[str, float]:
        return {key: float(np.average(values[seen], weights=weights)) for key, values in scores.items()}

    return {
        "images": len(truth),
        "accuracy": right / len(truth),
        "accuracy_low": low,
        "accuracy_high": high,
        "balanced_accuracy": float(recall[support > 0].mean()),
        "macro": averages(None),
        "weighted": averages(support[seen]),
        "auc_ovr_macro": None if None in auc else sum(auc) / len(auc),
        "log_loss": log_loss,
        "per_class": [
            {
                "class": name,
                "precision": float(precision[k]) if seen[k] else None,
                "recall": float(recall[k]) if support[k] else None,
                "f1": float(f1[k]) if seen[k] else None,
                "support": int(support[k]),
                "auc": auc[k],
            }
            for k, name in enumerate(names)
        ],
        "confusion": matrix.tolist(),
    }


def cell(table: "pd.DataFrame", true: str = "", predicted: str = "") -> "pd.DataFrame":
    """Return the images of one cell of the confusion matrix, or the mistakes of a row or column, worst first.

    Args:
        table: predictions, as for `summary`.
        true: class name, or "" for all classes but `predicted`.
        predicted: class name, or "" for all classes but `true`.

    Returns:
        Columns image, label, predicted and p_<Class>, highest probability of a wrong class first; if both names are
        the same, lowest probability of the right class first. Ties in image order.
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
