"""Calibration, selective prediction and conformal sets of runs: measured from predictions.csv, and as tables."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from utils.metrics import conformal
from utils.metrics.calibration import MEASURES
from utils.runs import calibration_file
from utils.runs.comparison import Comparison
from utils.tables.table import Table, name_lines, number, percent

# On screen, below each table; files say more.
WORDS = {
    "errors": "T: temperature fitted on the validation images; above 1 the model was too sure. ECE: how far confidence "
    "and accuracy lie apart. Brier, log loss: distance of the probabilities from the truth. After: with T. Lower is "
    "better.",
    "answers": "AURC: mean share of wrong answers when the surest images are answered first; lower is better. Least "
    "confidence: chosen on the validation images; less sure answers are withheld, and the rest measured on the test "
    "images.",
    "sets": "Level: share of the images whose set is promised to hold the true class; covered: where it does. Mean "
    "size: classes in a set. Empty: no class was likely enough; single: just one was. Worst class: the lowest "
    "coverage of a class.",
}


@lru_cache(maxsize=4)  # tables and files of a comparison ask in turn
def _measured(comparison: Comparison) -> list[dict[str, Any]]:
    return [calibration_file.measure(run) for run in comparison.runs]


def records(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the columns of calibration.csv, one dict a run."""
    rows = []
    for found, named in zip(_measured(comparison), comparison.rows, strict=True):
        row = {key: named[key] for key in ("name", "model", "run")} | {"temperature": found["temperature"]}
        row |= {f"{key}_{state}": found[state][key] for key in MEASURES for state in ("before", "after")}
        row |= {"aurc": found["selective"]["aurc"]}
        row |= {f"selective_{key}": found["selective"][key] for key in ("wanted", "threshold", "coverage", "error")}
        for level in conformal.LEVELS:
            held = found["conformal"].get(f"{level:.2f}", {})
            mark = f"conformal_{100 * level:.0f}"
            row |= {f"{mark}_{key}": held.get(key) for key in ("threshold", "coverage", "mean_size", "empty", "single")}
            each = [share for share in held.get("per_class", {}).values() if share is not None]
            row[f"{mark}_worst_class"] = min(each, default=None)
        rows.append(row)
    return rows


def tables(comparison: Comparison) -> list[Table]:
    """Return calibration, selective prediction and conformal sets of every run; the view has the words below."""
    made = tables_of([row["name"] for row in comparison.rows], _measured(comparison))
    return [replace(table, words_below="") for table in made]


def tables_of(names: Sequence[str], found: Sequence[dict[str, Any]]) -> list[Table]:
    """Return the three tables of runs, with their words, by the names and what `measure` gave for each."""
    pairs = [(name_lines(name), each) for name, each in zip(names, found, strict=True)]
    errors = [
        [name, number(each["temperature"], 2)]
        + [text(each[state][key]) for key, text in _TEXTS.items() for state in ("before", "after")]
        for name, each in pairs
    ]
    answers = [
        [name, number(each["selective"]["aurc"], 4), number(each["selective"]["threshold"], 4)]
        + [percent(each["selective"][key]) for key in ("coverage", "error")]
        for name, each in pairs
    ]
    sets = [
        [name, percent(float(level), 0), percent(held["coverage"], 1), number(held["mean_size"], 2)]
        + [percent(held[key], 1) for key in ("empty", "single")]
        + [percent(min((s for s in held["per_class"].values() if s is not None), default=None), 1)]
        for name, each in pairs
        for level, held in each["conformal"].items()
    ]
    made = [
        Table(
            "Calibration on the test images, before and after temperature scaling",
            ("Model", "T", "ECE\n%", "after", "Brier", "after", "Log\nloss", "after"),
            errors,
            words_below=WORDS["errors"],
        ),
        Table(
            f"Answering only where sure: {percent(found[0]['selective']['wanted'], 1)} % errors wanted",
            ("Model", "AURC", "Least\nconfidence", "Answered\n%", "Wrong of\nthese, %"),
            answers,
            words_below=WORDS["answers"],
        ),
    ]
    if sets:
        columns = ("Model", "Level\n%", "Covered\n%", "Mean\nsize", "Empty\n%", "Single\n%", "Worst\nclass, %")
        made.append(Table("Conformal prediction sets on the test images", columns, sets, words_below=WORDS["sets"]))
    return made


_TEXTS = {"ece": percent, "brier": lambda value: number(value, 4), "log_loss": lambda value: number(value, 4)}
