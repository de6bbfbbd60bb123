"""faithfulness.csv and faithfulness_curves.csv of a run: file formats and readers (measures: docs/heatmaps.md)."""

from typing import Any

from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs.run_folder import Run

FILE = "faithfulness.csv"
CURVES = "faithfulness_curves.csv"
HEADER = (
    *("method", "images", "deletion_auc_mean", "deletion_auc_sd", "low", "high", "insertion_auc", "road"),
    *("nucleus_mass", "nucleus_area", "pointing_game", "randomisation", "seed"),
)
CURVES_HEADER = ("method", "curve", "share", "value")
REQUIRED = ("method", "images", "deletion_auc_mean")  # columns that files of older versions have too

CENTRE, RANDOM = "centre", "random"
BASELINES = (CENTRE, RANDOM)  # maps that do not depend on the model


def read(run: Run) -> list[dict[str, Any]]:
    """Read faithfulness.csv: one dict per method with the keys of HEADER, numbers as numbers, None if not measured.

    Raises:
        LeukoBenchError: the file is missing or damaged.
    """
    path = run.file(FILE)
    again = f"Make it with: python run_guide.py faithfulness {run.id}"
    if not path.is_file():
        raise LeukoBenchError(f"Run {run.id} has no {FILE}. {again}", run=run.id)
    try:
        rows = [
            {key: row[key] if key == "method" else _number(row.get(key)) for key in HEADER}
            for row in files.read_csv(path, REQUIRED)
        ]
    except ValueError as error:
        raise LeukoBenchError(f"{path} is damaged ({error}). {again}", path=path) from None
    run.check(FILE)
    return rows


def read_curves(run: Run) -> dict[tuple[str, str], tuple[list[float], list[float]]]:
    """Read faithfulness_curves.csv as {(method, curve): (shares, values)}; {} without the file.

    Raises:
        LeukoBenchError: the file is damaged.
    """
    path = run.file(CURVES)
    curves: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
    try:
        for row in files.read_csv(path, CURVES_HEADER) if path.is_file() else ():
            shares, values = curves.setdefault((row["method"], row["curve"]), ([], []))
            shares.append(float(row["share"]))
            values.append(float(row["value"]))
    except (TypeError, ValueError) as error:
        raise LeukoBenchError(
            f"{path} is damaged ({error}). Make it with: python run_guide.py faithfulness {run.id}", path=path
        ) from None
    run.check(CURVES)
    return curves


def of_method(run: Run, method: str) -> dict[str, Any]:
    """Return the row of one method; {} without the file or the method."""
    if not run.file(FILE).is_file():
        return {}
    return next((row for row in read(run) if row["method"] == method), {})


def _number(text: str | None) -> float | None:
    return float(text) if text else None
