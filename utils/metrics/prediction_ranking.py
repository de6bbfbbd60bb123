"""Ranking of predicted images: most confident right, most confident wrong, least confident."""

from typing import TYPE_CHECKING

from utils.errors import LeukoBenchError, nearest
from utils.metrics import predictions

if TYPE_CHECKING:
    import pandas as pd

OUTCOMES = ("right", "wrong", "unsure", "all")


def ranked(table: "pd.DataFrame", outcome: str = "all", label: str = "") -> "pd.DataFrame":
    """Return the images of an outcome in order.

    Args:
        table: predictions, as for `predictions.summary`.
        outcome: "right" and "wrong": most confident first; "unsure": every image, smallest margin between the two
            highest probabilities first; "all": every image, by name.
        label: only images of this class; "" for all.

    Returns:
        Columns image, split, label, predicted, p_<Class>, probability (of the predicted class) and margin; ties in
        image order.

    Raises:
        LeukoBenchError: unknown outcome, or invalid predictions.
    """
    import numpy as np

    if outcome not in OUTCOMES:
        raise LeukoBenchError(f"Unknown outcome '{outcome}'.{nearest(outcome, OUTCOMES)} Valid: {', '.join(OUTCOMES)}.")
    names, _, probabilities = predictions.arrays(table)
    ordered = np.sort(probabilities, axis=1)
    found = table.assign(
        predicted=np.array(names, dtype=object)[probabilities.argmax(axis=1)],
        probability=ordered[:, -1],
        margin=ordered[:, -1] - (ordered[:, -2] if len(names) > 1 else 0),
    )
    if label:
        found = found[found["label"] == label]
    if outcome in ("right", "wrong"):
        found = found[(found["predicted"] == found["label"]) == (outcome == "right")]
        found = found.sort_values(["probability", "image"], ascending=[False, True])
    else:
        found = found.sort_values(["margin", "image"] if outcome == "unsure" else ["image"])
    return found.reset_index(drop=True)
