"""What leaks through a random split: accuracy over folds and seeds where groups are kept together and where not."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from statistics import fmean, stdev
from typing import Any

from utils.errors import LeukoBenchError
from utils.runs import cache as run_cache
from utils.runs import records as run_records
from utils.runs import run_folder
from utils.runs.comparison import Comparison
from utils.runs.leaderboard import GROUPED, SIDES, about, alike, gap, side, tell_apart
from utils.runs.records import Record, measure
from utils.runs.run_folder import Run
from utils.tables.table import Table, difference, name_lines, percent, spread
from utils.text import MISSING

MEASURES = ("accuracy", "balanced_accuracy", "f1_macro")
WORDS = (
    "Mean ± standard deviation over the runs of one configuration, which differ in fold and seed alone; folds overlap "
    "in their training images, so that the deviation is no error of the mean. Random: images are dealt one by one. "
    "Grouped: a group (patient, or a guess of the stain, which is no patient) lies in one subset alone, so that its "
    "test images are others. Leakage gap: mean random minus mean grouped accuracy, in points, over the seeds that have "
    "both."
)


def summary(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return one dict for each configuration, whatever test images its runs had: best grouped accuracy first.

    Runs are of one configuration as `utils.leaderboard.alike` says: they differ in seed, fold and kind of split.
    "random_" and "grouped_" stand before runs, seeds, folds ("5 of 5"; "" without) and mean and sd of MEASURES, in
    0..1, None where there is no such run, or for the sd less than two. "leakage_gap": difference of the accuracies.
    """
    found = [_row(members) for members in alike(records)]
    tell_apart(found)
    return sorted(found, key=_place)


def tables(rows: Sequence[dict[str, Any]]) -> list[Table]:
    """Return the rows of `summary` as a table, a line for each kind of split; none without rows."""
    lines = []
    for row in rows:
        for which in SIDES:
            if row[f"{which}_runs"]:
                values = [(row[f"{which}_{key}_mean"], row[f"{which}_{key}_sd"]) for key in MEASURES[:2]]
                lines.append(
                    [
                        *(name_lines(row["name"]), which, row[f"{which}_folds"] or MISSING),
                        *(str(row[f"{which}_{key}"]) for key in ("seeds", "runs")),
                        *(spread(mean, deviation, 2, 100) if deviation is not None else percent(mean)
                          for mean, deviation in values),
                        difference(row["leakage_gap"]) if which == GROUPED else "",
                    ]
                )  # fmt: skip
    columns = ("Model", "Split", "Folds", "Seeds", "n", "Accuracy\n%", "Balanced\nacc. %", "Leakage\ngap")
    made = Table("Over folds and seeds, random and grouped", columns, lines, frozenset({0, 1, 2}), WORDS)
    return [made] if lines else []


@lru_cache(maxsize=4)  # tables and files of a comparison ask in turn
def records(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the rows of `summary` for the models of a comparison that have grouped runs or folds.

    Folds have test images of their own, so most of these runs stand in other comparisons: all finished runs of the same
    folder count. One that is damaged does not; `compare` and `runs` tell of those.
    """
    shown = {Run(run.root.resolve() / run.path.parent.name / run.path.name) for run in comparison.runs}
    places = sorted({(run.root, run.model) for run in shown})
    kin = [run for place, model in places for run in run_folder.find_runs(place, model, finished=True)]
    if not any(_special(_split(run)) for run in kin):
        return []
    measured = [record for run in kin if (record := _measured(run, *_stamps(run)))]
    return summary(
        member
        for members in alike(measured)
        if any(member.run in shown for member in members) and any(_special(member.row["split"]) for member in members)
        for member in members
    )


def _row(members: Sequence[Record]) -> dict[str, Any]:
    row = about(members)
    for which in SIDES:
        found = [member.row for member in members if side(member.row["split"]) == which]
        row[f"{which}_runs"] = len(found)
        row[f"{which}_seeds"] = len({each["seed"] for each in found})
        row[f"{which}_folds"] = _folds({each["split"] for each in found})
        for key in MEASURES:
            values = [each[key] for each in found]
            row[f"{which}_{key}_mean"] = fmean(values) if values else None
            row[f"{which}_{key}_sd"] = stdev(values) if len(values) > 1 else None
    row["leakage_gap"] = gap(members)
    return row


def _folds(splits: Iterable[str]) -> str:
    """Return how many folds were tested of how many: "5 of 5"; "" where there are none."""
    done: dict[str, set[str]] = {}
    for split in splits:
        if match := re.search(r"kfold:(\d+):(\d+)", split.lower()):
            done.setdefault(match[1], set()).add(match[2])
    return ", ".join(f"{len(tested)} of {folds}" for folds, tested in sorted(done.items()))


def _place(row: dict[str, Any]) -> tuple:
    keys = ("grouped_accuracy_mean", "random_accuracy_mean")
    return *((row[key] is None, -(row[key] or 0)) for key in keys), row["name"]


def _special(split: str) -> bool:
    """Say whether a split has folds, or groups that are kept together."""
    return bool(re.search(rf"{GROUPED}|kfold", split.lower()))


def _split(run: Run) -> str:
    """Return the split of a run; "" where that cannot be read."""
    try:
        return str(run_records.about(run)["split"])
    except LeukoBenchError:
        return ""


def _stamps(run: Run) -> list[tuple[int, int] | None]:
    """Return what changes when a run is evaluated again."""
    return [run_cache.stamp(f"{run.path}/{name}") for name in (run_folder.PREDICTIONS, run_folder.METRICS)]


@lru_cache(maxsize=20_000)  # every comparison of a root looks at all of its runs
def _measured(run: Run, *stamps: tuple[int, int] | None) -> Record | None:
    try:
        return measure(run)
    except LeukoBenchError:
        return None
