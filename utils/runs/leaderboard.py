"""The leaderboard's numbers: every model and recipe in a row of its own, its seeds, folds and kinds of split joined."""

import json
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import cache as run_cache
from utils.runs import calibration_file, faithfulness_file, run_folder, shortcuts_file, stress_file
from utils.runs import records as run_records
from utils.runs.records import MACHINE, MADE_FROM, MODULES, Record, measure, variant_of
from utils.runs.run_folder import Run
from utils.runs.seen_families import lowest_unseen, trained_on
from utils.runs.stress_file import GREY, SWAP

RANDOM, GROUPED = "random", "grouped"
SIDES = (RANDOM, GROUPED)
USUAL = "64/16/20"  # shares of a split that does not say them
# What `measures` says of one run; each becomes a mean and a standard deviation on each side.
MEASURES = (
    *("accuracy", "grey", "stain_swap", "flip_rate", "shortcut_margin"),
    *("calibration_error", "calibration_error_scaled", "nucleus_mass", "nucleus_area"),
)
SECONDS = ("training_seconds", "latency_ms_p50")
# Fields that change nothing in what is learned, or that differ between the seeds and folds of one row.
APART = frozenset(
    {"seed", "split", "split_seed", "initialisation", "flavour", "cache_mb", "heatmap_layer", "heatmap_method"}
)
# Modules that make what is derived from a run.
DERIVED = (
    *(*MODULES, "utils.runs.leaderboard"),
    *(f"utils.runs.{name}_file" for name in ("stress", "calibration", "faithfulness", "shortcuts")),
    *(f"utils.metrics.{name}" for name in ("calibration", "conformal", "selective_prediction")),
)
OF_REFERENCE = frozenset({"reference", "statistics"})  # a stain's reference comes from the training images of a split


def read(root: Path) -> tuple[list[Record], list[str]]:
    """Measure every finished run of a root.

    Returns:
        The records, oldest first within each model, and one line for each run that had to be left out.

    Raises:
        LeukoBenchError: no finished run is usable.
    """
    records, problems = [], []
    for run in run_folder.find_runs(root, finished=True):
        try:
            record = measure(run)
            measures(record)  # what was derived from the run is read as well: a damaged file leaves out one run
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
    """Put runs that differ in seed, fold and kind of split alone together, oldest first.

    "64/16/20", "grouped" and "kfold:5:1" all train on 64 of 100 images, so that their runs may stand side by side. Of
    two runs that differ in nothing the later counts.
    """
    together: dict[tuple[str, ...], dict[tuple, Record]] = {}
    for record in sorted(records, key=lambda record: record.run.path.name):
        dataset, trained, split_seed = _of_recipe(record.recipe)
        key = dataset, record.run.model, shares(record.row["split"]), trained
        together.setdefault(key, {})[record.row["split"], split_seed, record.row["seed"]] = record
    return [list(members.values()) for members in together.values()]


@lru_cache(maxsize=1000)
def _of_recipe(recipe: str) -> tuple[str, str, Any]:
    """Return dataset, what is trained, and seed of the split; runs of thousands of seeds share a few recipes."""
    config = json.loads(recipe)
    return config["dataset"], learned(config), config.get("split_seed")


def rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return the columns of leaderboard.csv, a row for each of `alike`, in the leaderboard's order.

    Shares are in 0..1, None where no run holds the measure; a standard deviation is over the seeds and folds, None for
    a single run. "_runs" behind a measure: how many of the runs hold it.
    """
    together = alike(records)
    families: dict[str, set[str]] = {}  # of each dataset: those that any of its runs was put to
    for members in together:
        names = families.setdefault(members[0].row["dataset"], set())
        names.update(family for member in members for family in stressed(member))
    found = sorted((_row(members, families[members[0].row["dataset"]]) for members in together), key=_place)
    tell_apart(found)
    return found


def side(split: str) -> str:
    """Return which kind of split a text names: "grouped" keeps groups on one side, "random" looks at images alone."""
    return GROUPED if split.strip().lower().startswith(GROUPED) else RANDOM


def shares(split: str) -> str:
    """Return train/val/test in percent of a split's text, whatever its kind: "grouped-kfold:5:2" is "64/16/20"."""
    words = "".join(split.lower().split()).replace("%", "").removeprefix(GROUPED).strip(":-") or USUAL
    parts = words.split("/")
    if len(parts) == 3:
        return words
    test = 100 / int(words.split(":")[1]) if words.startswith("kfold") else float(parts[-1])
    return "/".join(f"{part:.3g}" for part in (0.8 * (100 - test), 0.2 * (100 - test), test))


def measures(record: Record) -> dict[str, float | None]:
    """Return what one run's folder says under each of MEASURES; None for what was not measured."""
    accuracy, found, shortcut = record.row["accuracy"], _derived(record.run), best_shortcut(record)
    known = {"accuracy": accuracy, "shortcut_margin": accuracy - shortcut[1] if shortcut else None} | found["measures"]
    return {measured: known[measured] for measured in MEASURES}


def stressed(record: Record) -> dict[str, float]:
    """Return the accuracy of a run under each family of change; empty where not all test images were put to it."""
    return _derived(record.run)["stressed"]


def gap(members: Iterable[Record]) -> float | None:
    """Return the leakage gap: mean accuracy on random splits minus that on grouped ones, over the seeds with both.

    Over all runs where no seed has both; None where a kind of split is missing.
    """
    found: dict[str, dict[int, list[float]]] = {which: {} for which in SIDES}
    for member in members:
        found[side(member.row["split"])].setdefault(member.row["seed"], []).append(member.row["accuracy"])
    if not all(found.values()):
        return None
    shared = set(found[RANDOM]) & set(found[GROUPED])
    means = [fmean(v for seed in each if not shared or seed in shared for v in each[seed]) for each in found.values()]
    return means[0] - means[1]


def best_shortcut(record: Record) -> tuple[str, float] | None:
    """Return name and accuracy of the best shortcut baseline on a run's own split; None without a ladder."""
    best = _derived(record.run)["shortcut"]
    return tuple(best) if best else None


def about(members: Sequence[Record]) -> dict[str, Any]:
    """Return what the runs of a row are, under the names of its columns."""
    first = members[0]
    return {
        "name": first.label,
        "model": first.run.model,
        "recipe": first.run.config().get("recipe", ""),
        **{key: first.row[key] for key in ("initialisation", "variant", "image_size")},
        "shares": shares(first.row["split"]),
        "dataset": first.row["dataset"],
        "runs": " ".join(sorted(member.run.path.name for member in members)),
    }


def _row(members: Sequence[Record], families: Collection[str]) -> dict[str, Any]:
    first, row = members[0], about(members)
    taught = trained_on(first.run.config())
    row |= {"trained_on_grey": GREY in taught, "trained_on_swap": SWAP in taught}
    found = {which: [m for m in members if side(m.row["split"]) == which] for which in SIDES}
    for which, records in found.items():
        said = [measures(record) for record in records]
        row[f"{which}_runs"] = len(records)
        row[f"{which}_seeds"] = len({record.row["seed"] for record in records})
        for measured in MEASURES:
            values = [each[measured] for each in said if each[measured] is not None]
            row[f"{which}_{measured}"] = fmean(values) if values else None
            row[f"{which}_{measured}_sd"] = stdev(values) if len(values) > 1 else None
            row[f"{which}_{measured}_runs"] = len(values)
        swapped = [each["accuracy"] for each in said if each["stain_swap"] is not None]
        row[f"{which}_accuracy_of_swapped"] = fmean(swapped) if swapped else None  # of the runs that stain_swap is of
        under = [found for record in records if (found := stressed(record))]
        means = {f: fmean(values) for f in families if (values := [each[f] for each in under if f in each])}
        lowest = lowest_unseen(taught, means, sorted(families))
        row[f"{which}_lowest_unseen_family"], row[f"{which}_lowest_unseen"] = lowest or (None, None)
    row["leakage_gap"] = gap(members)
    supports = [each["support"] for each in first.per_class]
    row["most_frequent_class"] = max(supports) / sum(supports)  # accuracy of always naming it
    # Seconds of different machines are not averaged, as in every table of seconds.
    one_machine = len({tuple(str(member.row[key]) for key in MACHINE) for member in members}) == 1
    for key in SECONDS:
        values = [member.row[key] for member in members]
        row[key] = fmean(values) if one_machine and None not in values else None
    row["parameters"] = members[-1].row["parameters"]
    best = next((best for member in members if (best := best_shortcut(member))), ("", None))
    row["best_shortcut"], row["best_shortcut_accuracy"] = best
    return row


def _place(row: dict[str, Any]) -> tuple:
    """Return what a row is sorted by: grouped accuracy under stain swap, then what comes nearest; missing last."""
    keys = ("grouped_stain_swap", "random_stain_swap", "grouped_accuracy", "random_accuracy")
    return *((row[key] is None, -(row[key] or 0)) for key in keys), row["name"], row["runs"]


def tell_apart(found: Sequence[dict[str, Any]]) -> None:
    """Put behind equal names of a dataset what tells the rows apart: initial weights, size, shares, at last the run."""
    for key in ("initialisation", "image_size", "shares", "runs"):
        namesakes: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in found:
            namesakes.setdefault((row["dataset"], row["name"]), []).append(row)
        for rows_of_name in namesakes.values():
            if len({row[key] for row in rows_of_name}) > 1:
                for row in rows_of_name:
                    row["name"] += f" {_short(key, row[key])}"


def _short(key: str, value: Any) -> str:
    return f"{value} px" if key == "image_size" else value.split()[0].rpartition("-")[2] if key == "runs" else value


def learned(config: dict[str, Any]) -> str:
    """Return what a configuration trains, as text: equal for runs that share a row.

    Settings that are off are left out: runs from before there was such a setting do not name it.
    """
    fields = {key: value for key, value in config.items() if key not in APART}
    variant = fields.pop("variant", None)
    if variant_of(config) != "rgb":
        fields["variant"] = {k: v for k, v in variant.items() if k not in OF_REFERENCE}
    copies = fields.get("offline") or {}
    if not (copies.get("copies") or copies.get("balance")):
        fields.pop("offline", None)
    if not fields.get("rate_drop_every"):
        fields.pop("rate_drop", None)
    return files.compact(_said(fields))


def _said(value: Any) -> Any:
    return {key: said for key, each in value.items() if (said := _said(each))} if isinstance(value, dict) else value


def _derived(run: Run) -> dict[str, Any]:
    """Return what later commands measured of a run and its split: measures, accuracy by family, best shortcut."""
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

    ladder = f"{run_cache.UP}{shortcuts_file.FOLDER}/{manifest}.csv"
    made_from = (*MADE_FROM, stress_file.FILE, faithfulness_file.FILE, ladder)
    return run_cache.kept(run, "derived", made_from, read, run_cache.code_of(*DERIVED))
