"""Comparison of runs on the same test images, computed from their folders without Keras or images."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, TypeVar

from utils.errors import LeukoBenchError, NoPermission
from utils.runs import lookup, run_folder
from utils.runs.records import MACHINE, Record, about, digest, measure
from utils.runs.run_folder import Run
from utils.runs.split_spec import GIVEN, OWN

Found = TypeVar("Found")

TIMES = ("training_seconds", "training_seconds_to_best", "latency_ms_p50", "latency_ms_p95")
MEANS = (
    *("accuracy", "balanced_accuracy", "precision_macro", "recall_macro", "f1_macro"),
    *("precision_weighted", "recall_weighted", "f1_weighted", "auc_ovr_macro", "log_loss"),
    *TIMES,
)  # columns that are averaged over seeds


@dataclass(frozen=True, eq=False)  # compared by identity, so that it can be a key of caches
class Comparison:
    """Runs with the same test images, best accuracy first.

    Attributes:
        rows: columns of table.csv, one dict per run.
        per_class: columns of per_class.csv, one dict per run and class.
        seeds: mean and standard deviation over runs that differ only in their seed; [] without such runs.
        other_tests: one dict per run and further test set, see `records.OtherTest`.
    """

    test_identity: str
    dataset: str
    title: str
    runs: list[Run]
    rows: list[dict[str, Any]]
    per_class: list[dict[str, Any]]
    seeds: list[dict[str, Any]]
    other_tests: list[dict[str, Any]] = field(default_factory=list)

    @property
    def short(self) -> str:
        """Folder name of this test set, used if there are several."""
        return f"{self.dataset}-{self.test_identity[:8]}"


def compare(runs: Sequence[Run]) -> list[Comparison]:
    """Return one Comparison for each set of test images, the one with most models first.

    Raises:
        LeukoBenchError: a run is not finished or damaged.
    """
    return group([measure(run) for run in runs])


def latest(root: Path, read: Callable[[Run], Found] = measure) -> tuple[list[Found], list[str]]:
    """Read the latest usable run of every label ("cnn", "cnn (clahe)"), initialisation and test set.

    Args:
        root: folder of the runs.
        read: reads a run; a run for which it fails is not usable.

    Returns:
        The results of `read`, in the order of the runs, and one line for each run that was skipped.

    Raises:
        LeukoBenchError: no run is usable.
    """
    chosen: dict[tuple[str, ...], tuple[Run, Found]] = {}
    cut: set[str] = set()
    problems = [f"left out: {NoPermission(folder)}" for folder in run_folder.unreadable(root)]
    for run, said in _newest_first(run_folder.find_runs(root)):
        try:
            if run.finished:
                if isinstance(said, LeukoBenchError):
                    raise said
                key = said["label"], said["initialisation"], said["identity"]
                if key not in chosen:
                    chosen[key] = run, read(run)
                continue
            label = lookup.label_of(run)
            if label not in cut and all(label != other for other, *_ in chosen):
                cut.add(label)  # only the newest is reported, and none that is older than a usable run
                measure(run)
        except LeukoBenchError as error:
            problems.append(f"left out: {error}")
    if not chosen:
        first = f"{problems[0][0].upper()}{problems[0][1:]}" if problems else "Train one: python run_guide.py train cnn"
        raise LeukoBenchError(f"{root} holds no finished runs that can be compared. {first}")
    return [found for _, found in sorted(chosen.values(), key=lambda pair: pair[0])], problems[::-1]


def add_seeds(records: Sequence[Record], root: Path) -> tuple[list[Record], list[str]]:
    """Add the other runs of a root that differ from a record only in their seed, the latest of each seed.

    Returns:
        All records, and one line for each run that was skipped.
    """
    kept, problems = list(records), []
    families: dict[tuple[str, str], set[int]] = {}
    for record in records:
        families.setdefault((digest(record.recipe), _identity(record)), set()).add(record.row["seed"])
    others = [run for model in sorted({r.run.model for r in records}) for run in _finished(root, model)]
    for run, said in _newest_first(others):
        try:
            if isinstance(said, LeukoBenchError):
                raise said
            seeds = families.get((said["recipe"], said["identity"]))
            if seeds is not None and said["seed"] not in seeds:
                kept.append(measure(run))
                seeds.add(said["seed"])
        except LeukoBenchError as error:
            problems.append(f"left out: {error}")
    return sorted(kept, key=lambda record: record.run), problems[::-1]


def group(records: Sequence[Record]) -> list[Comparison]:
    """Return one Comparison for each set of test images of the records, the one with most models first."""
    if not records:
        raise LeukoBenchError("There are no runs to compare. Train one: python run_guide.py train cnn")
    sets: dict[str, list[Record]] = {}
    for record in records:
        sets.setdefault(_identity(record), []).append(record)

    def size(members: list[Record]) -> tuple:
        return (
            len({m.run.model for m in members}),
            len(members),
            max(m.run.path.name for m in members),
            _identity(members[0]),
        )

    return [_comparison(members) for members in sorted(sets.values(), key=size, reverse=True)]


def labels(records: Sequence[Record]) -> dict[Run, str]:
    """Return a short unique name of each run: its label, if needed with initialisation, seed, config hash or folder."""
    texts = {record.run: _names(record) for record in records}
    tally = Counter(text for names in texts.values() for text in dict.fromkeys(names))
    return {run: next((text for text in names if tally[text] == 1), run.id) for run, names in texts.items()}


def _comparison(members: list[Record]) -> Comparison:
    # Ties are ordered by log loss, then by name, so that the order of the arguments does not matter.
    ordered = sorted(members, key=lambda m: (-m.row["accuracy"], m.row["log_loss"], m.run.id))
    named = labels(ordered)
    rows = [{"name": named[m.run], **m.row} for m in ordered]
    first = rows[0]
    return Comparison(
        test_identity=first["test_identity"],
        dataset=first["dataset"],
        title=f"{first['dataset']}: {first['images']:,} test images{_of_split(rows)}",
        runs=[m.run for m in ordered],
        rows=rows,
        per_class=[
            {"name": named[m.run], "model": m.run.model, "run": m.run.id}
            | {key: m.row[key] for key in ("initialisation", "variant")}
            | c
            for m in ordered
            for c in m.per_class
        ],
        seeds=_over_seeds(ordered),
        other_tests=[
            {"name": named[m.run], "model": m.run.model, "run": m.run.id, **each}
            for m in ordered
            for each in m.other_tests
        ],
    )


def _of_split(rows: Sequence[dict[str, Any]]) -> str:
    """Return the splits of rows for a title: ", grouped split", ", split 64/16/20"; "" if no run has one."""
    splits = sorted({str(row["split"]) for row in rows} - {""})
    if splits == [GIVEN]:
        return f", {OWN}"
    if len(splits) == 1 and splits[0].isalpha():
        return f", {splits[0]} split"
    return f", split{'s' if len(splits) > 1 else ''} {' and '.join(splits)}" if splits else ""


def _names(record: Record) -> list[str]:
    run, model = record.run, record.run.model
    flavours = record.label.removeprefix(model)
    row, stamp = record.row, run.path.name
    more = ("", f" {row['initialisation']}", f" seed {row['seed']}", f" {stamp.rpartition('-')[2]}", f" {stamp}")
    return [f"{model}{text}{flavours}" for text in more]


def _over_seeds(ordered: Sequence[Record]) -> list[dict[str, Any]]:
    families: dict[str, dict[int, Record]] = {}
    for record in sorted(ordered, key=lambda m: m.run.path.name):  # of two runs with the same seed the later is used
        families.setdefault(record.recipe, {})[record.row["seed"]] = record
    rows = []
    for family in families.values():
        if len(family) < 2:
            continue
        members = [family[seed].row for seed in sorted(family)]
        label = family[min(family)].label
        alike = len({tuple(str(m[key]) for key in MACHINE) for m in members}) == 1
        shared = ("model", "initialisation", "variant", "split", "image_size", "dataset")
        row = {"name": label} | {key: members[0][key] for key in shared}
        row |= {"runs": len(members), "seeds": " ".join(str(seed) for seed in sorted(family))}
        for key in MEANS:
            values = [m[key] for m in members]
            known = None not in values and (alike or key not in TIMES)
            row[f"{key}_mean"] = fmean(values) if known else None
            row[f"{key}_sd"] = stdev(values) if known else None
        rows.append(row)
    return sorted(rows, key=lambda row: (-row["accuracy_mean"], row["name"], row["seeds"]))


def _identity(record: Record) -> str:
    return record.row["test_identity"]


def _newest_first(runs: Sequence[Run]) -> list[tuple[Run, dict[str, Any] | LeukoBenchError]]:
    """Return runs with what `about` says of them, or its error: of each model the one that was begun last first."""
    found = []
    for run in runs:
        try:
            said = about(run)
            found.append((run.path.parent, said["started"], run, said))
        except LeukoBenchError as error:
            found.append((run.path.parent, run.started({}), run, error))
    return [(run, said) for *_, run, said in sorted(found, key=lambda each: each[:2], reverse=True)]


def _finished(root: Path, model: str) -> list[Run]:
    return run_folder.find_runs(root, model, finished=True)
