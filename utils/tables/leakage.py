"""Leakage through random splits: accuracies over folds and seeds on random and on grouped splits."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from statistics import fmean, stdev
from typing import Any

from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import records as run_records
from utils.runs import run_folder, split_spec
from utils.runs.comparison import Comparison
from utils.runs.leaderboard import alike, gap, gap_interval, identity_columns, make_names_unique
from utils.runs.records import Record, measure
from utils.runs.run_folder import Run
from utils.runs.split_spec import CAPTURE, GIVEN, GROUPED, KINDS, Scheme
from utils.tables.table import Table, name_lines, signed, spread
from utils.text import MISSING

MEASURES = ("accuracy", "balanced_accuracy", "f1_macro")
WORDS = (
    "Mean ± standard deviation over the runs of one configuration, which differ only in fold and seed; folds share "
    "training images, so that the deviation is not a standard error. Random: images are assigned one by one. Grouped: "
    "all images of a group (patient, or an estimated stain group) are in one subset, so that the test images are of "
    "unseen groups. Leakage gap: mean random minus mean grouped accuracy, in points, over the seeds that have both, "
    "with its 95 % interval over groups; an interval that holds 0 shows no leak."
)

WORDS_APART = {
    CAPTURE: "Capture: blocks of file numbers with an embargo.",
    GIVEN: "Given: the split that came with the dataset, which is neither and has no leakage gap.",
}


def summary(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return one dict for each group of `leaderboard.alike`, over all test sets: best grouped accuracy first.

    Columns with the prefixes "random_", "grouped_" and, where there are such runs, "capture_" and "given_" are runs,
    seeds, folds ("5 of 5"; "" without), and mean and sd of MEASURES in 0..1, None without such runs (sd: with less than
    two).
    "leakage_gap": difference of the accuracies, "leakage_gap_low" and "..._high" its 95 % interval over groups.
    """
    together = alike(records)
    kinds = split_spec.kinds(members[0].split for members in together)
    found = [_row(members, kinds) for members in together]
    make_names_unique(found)
    return sorted(found, key=_sort_key)


def tables(rows: Sequence[dict[str, Any]]) -> list[Table]:
    """Return the rows of `summary` as a table, one line per kind of split; [] without rows."""
    lines = [
        [
            *(name_lines(row["name"]), kind, row[f"{kind}_folds"] or MISSING),
            *(str(row[f"{kind}_{key}"]) for key in ("seeds", "runs")),
            *(spread(row[f"{kind}_{key}_mean"], row[f"{kind}_{key}_sd"], 2, 100) for key in MEASURES[:2]),
            signed(*(row[f"leakage_gap{end}"] for end in ("", "_low", "_high"))) if kind == GROUPED else "",
        ]
        for row in rows
        for kind in KINDS
        if row.get(f"{kind}_runs")
    ]
    columns = ("Model", "Split", "Folds", "Seeds", "n", "Accuracy\n%", "Balanced\nacc. %", "Leakage\ngap")
    more = [words for kind, words in WORDS_APART.items() if any(row.get(f"{kind}_runs") for row in rows)]
    made = Table(
        "Over folds and seeds, random and grouped", columns, lines, frozenset({0, 1, 2}), " ".join([WORDS, *more])
    )
    return [made] if lines else []


def records(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the rows of `summary` for the models of a comparison that have grouped runs or folds.

    Folds have test images of their own, so most of these runs are in other comparisons: all finished runs of the same
    folder are read. Damaged ones are skipped; `compare` and `runs` report those.
    """
    shown = {Run(run.root.resolve() / run.path.parent.name / run.path.name) for run in comparison.runs}
    places = sorted({(run.root, run.model) for run in shown})
    kin = [run for place, model in places for run in run_folder.find_runs(place, model, finished=True)]
    if not any(_has_groups_or_folds(_split(run)) for run in kin):
        return []
    measured = [record for run in kin if (record := _measured(run, *_stamps(run)))]
    return summary(
        member
        for members in alike(measured)
        if any(member.run in shown for member in members)
        if any(_has_groups_or_folds(member.split) for member in members)
        for member in members
    )


def _row(members: Sequence[Record], kinds: Sequence[str]) -> dict[str, Any]:
    row = identity_columns(members)
    for kind in kinds:
        found = [member for member in members if member.split.kind == kind]
        row[f"{kind}_runs"] = len(found)
        row[f"{kind}_seeds"] = len({member.row["seed"] for member in found})
        row[f"{kind}_folds"] = _folds(member.split for member in found)
        for key in MEASURES:
            values = [member.row[key] for member in found]
            row[f"{kind}_{key}_mean"] = fmean(values) if values else None
            row[f"{kind}_{key}_sd"] = stdev(values) if len(values) > 1 else None
    row["leakage_gap"], (row["leakage_gap_low"], row["leakage_gap_high"]) = gap(members), gap_interval(members)
    return row


def _folds(splits: Iterable[Scheme]) -> str:
    """Return the number of tested folds: "5 of 5"; "" without folds."""
    done: dict[int, set[int]] = {}
    for split in splits:
        if split.folds:
            done.setdefault(split.folds, set()).add(split.fold)
    return ", ".join(f"{len(tested)} of {folds}" for folds, tested in sorted(done.items()))


def _sort_key(row: dict[str, Any]) -> tuple:
    keys = ("grouped_accuracy_mean", "random_accuracy_mean", "capture_accuracy_mean", "given_accuracy_mean")
    return *((row.get(key) is None, -(row.get(key) or 0)) for key in keys), row["name"]


def _has_groups_or_folds(split: Scheme | None) -> bool:
    return split is not None and (split.grouped or split.folds > 0)


def _split(run: Run) -> Scheme | None:
    """Return the split of a run; None if it cannot be read."""
    try:
        return split_spec.of_run(run_records.about(run))
    except LeukoBenchError:
        return None


def _stamps(run: Run) -> list[files.Stamp]:
    """Return the file stamps that change when a run is evaluated again."""
    return [files.stamp(f"{run.path}/{name}") for name in (run_folder.PREDICTIONS, run_folder.METRICS)]


@lru_cache(maxsize=20_000)  # every comparison of a root reads all of its runs
def _measured(run: Run, *stamps: files.Stamp) -> Record | None:
    try:
        return measure(run)
    except LeukoBenchError:
        return None
