"""Images of a table of predictions by how they came out: surest right, surest wrong, least sure."""

from typing import TYPE_CHECKING

from utils.errors import LeukoBenchError, nearest
from utils.metrics import predictions

if TYPE_CHECKING:
    import pandas as pd

OUTCOMES = ("right", "wrong", "unsure", "all")


def ranked(table: "pd.DataFrame", outcome: str = "all", label: str = "") -> "pd.DataFrame":
    """Return the images of an outcome, the most telling first.

    Args:
        table: predictions, as for `metrics.summary`.
        outcome: "right" and "wrong", surest first; "unsure": every image, the smallest margin between the two highest
            probabilities first; "all": every image, in the order of their names.
        label: only images of this class; "" for all.

    Returns:
        Columns image, split, label, predicted, p_<Class>, probability (of the predicted class) and margin; equal ones
        in image order.

    Raises:
        LeukoBenchError: there is no such outcome, or the table is none of predictions.
    """
    import numpy as np

    if outcome not in OUTCOMES:
        raise LeukoBenchError(
            f"There is no outcome '{outcome}'.{nearest(outcome, OUTCOMES)} Valid: {', '.join(OUTCOMES)}."
        )
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
