"""Tables of calibration, selective prediction and conformal sets, from the content of calibration.json."""

from collections.abc import Sequence
from typing import Any

from utils.metrics import conformal
from utils.metrics.calibration import MEASURES
from utils.runs import calibration_file
from utils.runs.comparison import Comparison
from utils.tables.table import Table, name_lines, number, percent

# Shown below each table on screen; the written files say more.
WORDS = {
    "errors": "T: temperature fitted on the validation images; above 1 the model was overconfident. ECE: mean "
    "difference of confidence and accuracy. Brier, log loss: error of the probabilities. After: with T. Lower is "
    "better.",
    "answers": "AURC: mean share of wrong answers if the most confident images are answered first; lower is better. "
    "Least confidence: chosen on the validation images; less confident answers are withheld, the others are measured "
    "on the test images.",
    "sets": "Level: wanted share of images whose set holds the true class; covered: the measured share. Mean size: "
    "classes in a set. Empty: sets without a class; single: sets of one class. Worst class: the lowest coverage of a "
    "class.",
}
_TEXTS = {"ece": percent, "brier": lambda value: number(value, 4), "log_loss": lambda value: number(value, 4)}


def records(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the columns of calibration.csv, one dict per run."""
    return [
        {key: named[key] for key in ("name", "model", "run")} | columns(calibration_file.measure(run))
        for run, named in zip(comparison.runs, comparison.rows, strict=True)
    ]


def columns(measured: dict[str, Any]) -> dict[str, Any]:
    """Return the content of calibration.json as the columns of calibration.csv behind name, model and run."""
    row = {"temperature": measured["temperature"]}
    row |= {f"{key}_{state}": measured[state][key] for key in MEASURES for state in ("before", "after")}
    selective = measured["selective"]
    row |= {"aurc": selective["aurc"]}
    row |= {f"selective_{key}": selective[key] for key in ("wanted", "threshold", "coverage", "error")}
    for level in conformal.LEVELS:
        sets = measured["conformal"].get(f"{level:.2f}", {})
        prefix = _prefix(level)
        row |= {f"{prefix}_{key}": sets.get(key) for key in ("threshold", "coverage", "mean_size", "empty", "single")}
        of_classes = [share for share in sets.get("per_class", {}).values() if share is not None]
        row[f"{prefix}_worst_class"] = min(of_classes, default=None)
    return row


def tables(rows: Sequence[dict[str, Any]]) -> list[Table]:
    """Return the three tables of rows with name and `columns`; two if no run has conformal sets."""
    named = [(name_lines(row["name"]), row) for row in rows]
    errors = [
        [name, number(row["temperature"], 2)]
        + [text(row[f"{key}_{state}"]) for key, text in _TEXTS.items() for state in ("before", "after")]
        for name, row in named
    ]
    answers = [
        [name, number(row["aurc"], 4), number(row["selective_threshold"], 4)]
        + [percent(row[f"selective_{key}"]) for key in ("coverage", "error")]
        for name, row in named
    ]
    sets = [
        [name, percent(level, 0), percent(row[f"{prefix}_coverage"], 1), number(row[f"{prefix}_mean_size"], 2)]
        + [percent(row[f"{prefix}_{key}"], 1) for key in ("empty", "single", "worst_class")]
        for name, row in named
        for level, prefix in ((level, _prefix(level)) for level in conformal.LEVELS)
        if row[f"{prefix}_threshold"] is not None
    ]
    made = [
        Table(
            "Calibration on the test images, before and after temperature scaling",
            ("Model", "T", "ECE\n%", "after", "Brier", "after", "Log\nloss", "after"),
            errors,
            words_below=WORDS["errors"],
        ),
        Table(
            f"Answering only where sure: {percent(rows[0]['selective_wanted'], 1)} % errors wanted",
            ("Model", "AURC", "Least\nconfidence", "Answered\n%", "Wrong of\nthese, %"),
            answers,
            words_below=WORDS["answers"],
        ),
    ]
    if sets:
        heads = ("Model", "Level\n%", "Covered\n%", "Mean\nsize", "Empty\n%", "Single\n%", "Worst\nclass, %")
        made.append(Table("Conformal prediction sets on the test images", heads, sets, words_below=WORDS["sets"]))
    return made


def _prefix(level: float) -> str:
    return f"conformal_{100 * level:.0f}"
