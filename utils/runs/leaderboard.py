"""Rows of the leaderboard: one per model and recipe, joined over seeds, folds and kinds of split."""

import json
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import cache as run_cache
from utils.runs import (
    calibration_file,
    faithfulness_file,
    group_accuracy,
    run_folder,
    seal,
    shortcuts_file,
    split_spec,
    stress_file,
)
from utils.runs import records as run_records
from utils.runs.records import MACHINE, MADE_FROM, MODULES, Record, measure, variant_of
from utils.runs.run_folder import Run
from utils.runs.seen_families import lowest_unseen, trained_on
from utils.runs.split_spec import COMPARED, RANDOM
from utils.runs.stress_file import GREY, SWAP

# Keys of `measures`; each becomes a mean and a standard deviation per kind of split.
MEASURES = (
    *("accuracy", "grey", "stain_swap", "flip_rate", "shortcut_margin"),
    *("calibration_error", "calibration_error_scaled", "nucleus_mass", "nucleus_area"),
)
SECONDS = ("training_seconds", "latency_ms_p50")
# Fields of a configuration that do not change what is learned, or that differ between seeds and folds of one row.
IGNORED_FIELDS = frozenset(
    {"seed", "split", "split_seed", "initialisation", "flavour", "cache_mb", "heatmap_layer", "heatmap_method"}
)
# Modules whose code decides the derived values of a run.
DERIVED = (
    *(*MODULES, "utils.runs.leaderboard"),
    *(f"utils.runs.{name}_file" for name in ("stress", "calibration", "faithfulness", "shortcuts")),
    *(f"utils.metrics.{name}" for name in ("calibration", "conformal", "selective_prediction")),
)
OF_REFERENCE = frozenset({"reference", "statistics"})  # taken from the training images, so they differ between splits


def read(root: Path) -> tuple[list[Record], list[str]]:
    """Measure every finished run of a root.

    Returns:
        The records, oldest first within each model, and one line for each run that was skipped.

    Raises:
        LeukoBenchError: no finished run is usable.
    """
    records, problems = [], []
    for run in run_folder.find_runs(root, finished=True):
        try:
            record = measure(run)
            measures(record)  # reads the derived values too, so that a damaged file skips only its own run
            records.append(record)
        except LeukoBenchError as error:
            problems.append(f"left out: {error}")
    if not records:
        raise LeukoBenchError(
            f"{root} holds no finished runs for a leaderboard. "
            f"{problems[0][0].upper() + problems[0][1:] if problems else 'Train one: python run_guide.py train cnn'}"
        )
    return records, problems


def alike(records: Iterable[Record]) -> list[list[Record]]:
    """Group runs that differ only in seed, fold and kind of split, oldest first.

    "64/16/20", "grouped" and "kfold:5:1" have equal shares of training images and may share a row; a split that came
    with the dataset, and blocks of file numbers, have rows of their own. Of two runs that do not differ at all, the
    later one is kept.
    """
    together: dict[tuple[str, ...], dict[tuple, Record]] = {}
    for record in sorted(records, key=lambda record: record.run.path.name):
        dataset, trained, split_seed = _of_recipe(record.recipe)
        key = dataset, record.run.model, record.split.shares, trained
        together.setdefault(key, {})[record.row["split"], split_seed, record.row["seed"]] = record
    return [list(members.values()) for members in together.values()]


@lru_cache(maxsize=1000)
def _of_recipe(recipe: str) -> tuple[str, str, Any]:
    """Return dataset, `learned` and split seed of a recipe; many seeds share a recipe."""
    config = json.loads(recipe)
    return config["dataset"], learned(config), config.get("split_seed")


def rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return the columns of leaderboard.csv, one row for each group of `alike`, best first.

    Shares are in 0..1, None if no run has the measure; a standard deviation is over seeds and folds, None for a single
    run. "<measure>_runs" is the number of runs that have the measure. "..._low" and "..._high" are ends of 95 %
    intervals over groups of test images, "..._effective_size" the number of independent images that say as much.
    Columns "capture_..." and "given_..." are there only where a run used such a split.
    """
    together = alike(records)
    kinds = split_spec.kinds(members[0].split for members in together)
    families: dict[str, set[str]] = {}  # by dataset: all families that any of its runs was tested on
    for members in together:
        names = families.setdefault(members[0].row["dataset"], set())
        names.update(family for member in members for family in stressed(member))
    found = [_row(members, families[members[0].row["dataset"]], kinds) for members in together]
    found.sort(key=_sort_key)
    make_names_unique(found)
    return found


def measures(record: Record) -> dict[str, float | None]:
    """Return the values of one run for MEASURES; None for values that were not measured."""
    accuracy, found, shortcut = record.row["accuracy"], _derived(record.run), best_shortcut(record)
    known = {"accuracy": accuracy, "shortcut_margin": accuracy - shortcut[1] if shortcut else None} | found["measures"]
    return {measured: known[measured] for measured in MEASURES}


def stressed(record: Record) -> dict[str, float]:
    """Return the accuracy of a run on each family of change; {} unless all test images were stress-tested."""
    return _derived(record.run)["stressed"]


def gap(members: Iterable[Record]) -> float | None:
    """Return the leakage gap: mean accuracy on random splits minus that on grouped ones, over the seeds with both.

    It is over all runs if no seed has both; None if a kind of split is missing.
    """
    random, grouped = _of_gap(members)
    if not random or not grouped:
        return None
    return fmean(each.row["accuracy"] for each in random) - fmean(each.row["accuracy"] for each in grouped)


def gap_interval(members: Iterable[Record]) -> tuple[float, float] | tuple[None, None]:
    """Return the interval of `gap` over groups; None where it is not known."""
    return group_accuracy.gap(*_of_gap(members))


def _of_gap(members: Iterable[Record]) -> tuple[list[Record], list[Record]]:
    """Return the runs on random and on grouped splits of the seeds that have both; all, if no seed has."""
    known = list(members)
    found = [[member for member in known if member.split.kind == kind] for kind in COMPARED]
    random, grouped = found
    shared = {each.row["seed"] for each in random} & {each.row["seed"] for each in grouped}
    if shared:
        random, grouped = ([each for each in part if each.row["seed"] in shared] for part in found)
    return random, grouped


def best_shortcut(record: Record) -> tuple[str, float] | None:
    """Return name and accuracy of the best shortcut baseline on a run's own split; None if not measured."""
    best = _derived(record.run)["shortcut"]
    return tuple(best) if best else None


def identity_columns(members: Sequence[Record]) -> dict[str, Any]:
    """Return the columns that identify a row: name, model, recipe, data and run folders."""
    first = members[0]
    return {
        "name": first.label,
        "model": first.run.model,
        "recipe": first.run.config().get("recipe", ""),
        **{key: first.row[key] for key in ("initialisation", "variant", "image_size")},
        "shares": first.split.shares,
        "dataset": first.row["dataset"],
        "runs": " ".join(sorted(member.run.path.name for member in members)),
    }


def board(row: dict[str, Any]) -> str:
    """Return the kind of split by which a row is shown: RANDOM (with GROUPED), or one of `split_spec.APART`."""
    return next((kind for kind in split_spec.APART if row.get(f"{kind}_runs")), RANDOM)


def _row(members: Sequence[Record], families: Collection[str], kinds: Sequence[str]) -> dict[str, Any]:
    first, row = members[0], identity_columns(members)
    trained = trained_on(first.run.config())
    row |= {"trained_on_grey": GREY in trained, "trained_on_swap": SWAP in trained}
    for kind in kinds:
        records = [member for member in members if member.split.kind == kind]
        measured = [measures(record) for record in records]
        row[f"{kind}_runs"] = len(records)
        row[f"{kind}_seeds"] = len({record.row["seed"] for record in records})
        for key in MEASURES:
            values = [each[key] for each in measured if each[key] is not None]
            row[f"{kind}_{key}"] = fmean(values) if values else None
            row[f"{kind}_{key}_sd"] = stdev(values) if len(values) > 1 else None
            row[f"{kind}_{key}_runs"] = len(values)
        row |= _over_groups(kind, records)
        swapped = [each["accuracy"] for each in measured if each["stain_swap"] is not None]
        row[f"{kind}_accuracy_of_swapped"] = fmean(swapped) if swapped else None  # of the same runs as stain_swap
        tested = [accuracies for record in records if (accuracies := stressed(record))]
        means = {f: fmean(values) for f in families if (values := [each[f] for each in tested if f in each])}
        lowest = lowest_unseen(trained, means, sorted(families))
        row[f"{kind}_lowest_unseen_family"], row[f"{kind}_lowest_unseen"] = lowest or (None, None)
    row["leakage_gap"], (row["leakage_gap_low"], row["leakage_gap_high"]) = gap(members), gap_interval(members)
    supports = [each["support"] for each in first.per_class]
    row["most_frequent_class"] = max(supports) / sum(supports)  # accuracy of always answering it
    # Seconds of different machines are not averaged.
    one_machine = len({tuple(str(member.row[key]) for key in MACHINE) for member in members}) == 1
    for key in SECONDS:
        values = [member.row[key] for member in members]
        row[key] = fmean(values) if one_machine and None not in values else None
    row["parameters"] = members[-1].row["parameters"]
    best = next((best for member in members if (best := best_shortcut(member))), ("", None))
    row["best_shortcut"], row["best_shortcut_accuracy"] = best
    return row


def _over_groups(kind: str, records: Sequence[Record]) -> dict[str, Any]:
    """Return the columns of the accuracy's interval over groups; None with fewer than two groups."""
    found = group_accuracy.accuracy(records)
    values = (found.low, found.high, found.groups, found.effective_size, found.design_effect) if found else [None] * 5
    names = ("accuracy_low", "accuracy_high", "groups", "effective_size", "design_effect")
    return {f"{kind}_{name}": value for name, value in zip(names, values, strict=True)}


def _sort_key(row: dict[str, Any]) -> tuple:
    """Sort by grouped accuracy under stain swap, then by the next best measures; missing values last."""
    keys = ("grouped_stain_swap", "random_stain_swap", "grouped_accuracy", "random_accuracy")
    keys += tuple(f"{kind}_{name}" for kind in split_spec.APART for name in ("stain_swap", "accuracy"))
    return *((row.get(key) is None, -(row.get(key) or 0)) for key in keys), row["name"], row["runs"]


def make_names_unique(found: Sequence[dict[str, Any]]) -> None:
    """Append to equal names of a dataset what differs: initial weights, image size, shares, or the run."""
    for key in ("initialisation", "image_size", "shares", "runs"):
        namesakes: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in found:
            namesakes.setdefault((row["dataset"], row["name"]), []).append(row)
        for rows_of_name in namesakes.values():
            if len({row[key] for row in rows_of_name}) > 1:
                for row in rows_of_name:
                    row["name"] += f" {_short(key, row[key])}"


def _short(key: str, value: Any) -> str:
    if key == "image_size":
        return f"{value} px"
    return value.split()[0].rpartition("-")[2] if key == "runs" else value


def learned(config: dict[str, Any]) -> str:
    """Return the settings that decide what a configuration learns, as text: equal for runs that share a row.

    Settings that are off are left out, since runs of older versions lack them.
    """
    fields = {key: value for key, value in config.items() if key not in IGNORED_FIELDS}
    variant = fields.pop("variant", None)
    if variant_of(config) != "rgb":
        fields["variant"] = {k: v for k, v in variant.items() if k not in OF_REFERENCE}
    copies = fields.get("offline") or {}
    if not (copies.get("copies") or copies.get("balance")):
        fields.pop("offline", None)
    if not fields.get("rate_drop_every"):
        fields.pop("rate_drop", None)
    return files.compact(_without_empty(fields))


def _without_empty(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: kept for key, each in value.items() if (kept := _without_empty(each))}


def _derived(run: Run) -> dict[str, Any]:
    """Return measures, accuracy by family and best shortcut of a run, read from the files of other commands."""
    manifest = run_records.about(run)["manifest"]

    def read() -> dict[str, Any]:
        stress, calibrated = stress_file.read_whole_test(run), calibration_file.measure(run)
        heatmap = faithfulness_file.of_method(run, run.config().get("heatmap_method", "gradcam"))
        return {
            "measures": {
                "grey": stress_file.grey_accuracy(stress),
                "stain_swap": stress_file.swap_accuracy(stress),
                "flip_rate": stress_file.flip_rate(stress),
                "calibration_error": calibrated["before"]["ece"],
                "calibration_error_scaled": calibrated["after"]["ece"],
                "nucleus_mass": heatmap.get("nucleus_mass"),
                "nucleus_area": heatmap.get("nucleus_area"),
            },
            "stressed": stress_file.families_by_method(stress),
            "shortcut": shortcuts_file.best(run.root, manifest),
        }

    shortcuts = f"{seal.UP}{shortcuts_file.FOLDER}/{manifest}.csv"
    made_from = (*MADE_FROM, stress_file.FILE, faithfulness_file.FILE, shortcuts)
    return run_cache.kept(run, "derived", made_from, read, run_cache.code_of(*DERIVED))
