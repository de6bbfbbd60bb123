"""Content of the page of one run: tiles, tables and sentences from its folder, and commands for missing results."""

from dataclasses import dataclass
from typing import Any

from utils.runs import faithfulness_file, leaderboard, shortcuts_file, stress_file
from utils.runs.seen_families import trained_on
from utils.runs.split_spec import APART, COMPARED, RANDOM
from utils.runs.stress_file import GREY, SWAP
from utils.tables import calibration as calibration_tables
from utils.tables import faithfulness as faithfulness_tables
from utils.tables import quality as quality_tables
from utils.tables import stress as stress_tables
from utils.tables.cost import machine, seconds
from utils.tables.table import Table, difference, interval, number, percent, quantity
from utils.text import MISSING
from webapp.runs import test_predictions
from webapp.runs.catalogue import Entry


@dataclass(frozen=True)
class Tile:
    """One headline number.

    Attributes:
        words: its meaning.
        command: measures it; "" where it is measured.
    """

    title: str
    value: str
    words: str
    command: str = ""


def tiles(entry: Entry) -> list[Tile]:
    """Return the headline numbers of a finished run, with the command for each missing one."""
    row, measured, id = entry.record.row, entry.measured, entry.id
    taught = trained_on(entry.config)
    seen = " It was trained on this perturbation." if SWAP in taught else ""
    best = leaderboard.best_shortcut(entry.record)
    stress, audit = f"stress {id}", f"audit --split {row['split']}"
    made = [
        Tile("Test accuracy", f"{percent(row['accuracy'])} %",
             f"95 % interval {interval(row['accuracy_low'], row['accuracy_high'])}, {row['images']:,} images, "
             + APART.get(entry.record.split.kind, f"{entry.record.split.kind} split")),
        _tile("Under stain swap", measured["stain_swap"], " %", "The same images in the stain of another class."
              + seen, stress),
        _tile("Stain flip rate", measured["flip_rate"], " %", "Answers that changed to the class of the donor "
              "stain; some do by chance.", stress),
        _tile("In grey", measured["grey"], " %", "The same images without colour."
              + (" It was trained on this perturbation." if GREY in taught else ""), stress),
        Tile("Shortcut margin", MISSING, "Above the best baseline without cell shapes.", audit)
        if best is None else
        Tile("Shortcut margin", f"{difference(measured['shortcut_margin'], 1)} points",
             f"Over {best[0]} ({shortcuts_file.SEES.get(best[0], 'a baseline')}), {percent(best[1], 1)} %."),
        Tile("Calibration error", f"{percent(measured['calibration_error_scaled'], 1)} %",
             f"With a temperature; {percent(measured['calibration_error'], 1)} % without."),
        _tile("Heatmap in nuclei", measured["nucleus_mass"], " %",
              f"Nuclei cover {percent(measured['nucleus_area'], 1)} % of the images.", f"faithfulness {id}"),
        Tile("One image", f"{number(row['latency_ms_p50'], 1)} ms", f"{quantity(row['parameters'])} parameters, "
             f"{seconds(row['training_seconds'])} s of training."),
    ]  # fmt: skip
    return made


def siblings(entry: Entry, rows: list[dict[str, Any]]) -> str:
    """Return a sentence on the same recipe on the other kind of split; "" where the leaderboard has no row."""
    row = next((r for r in rows if r["model"] == entry.run.model and entry.run.path.name in r["runs"].split()), None)
    if row is None:
        return ""
    here = entry.record.split.kind
    if here not in COMPARED:
        return ""
    there = next(kind for kind in COMPARED if kind != here)
    if row[f"{there}_accuracy"] is None:
        return (
            "This split has images of one slide in several subsets, and the model was not trained on a grouped split. "
            f"Train it: python run_guide.py train {entry.run.model} --split grouped"
            if here == RANDOM else ""
        )  # fmt: skip
    gap = (
        ""
        if row["leakage_gap"] is None
        else f", a gap of {difference(row['leakage_gap'])} points (random minus grouped{_reach(row)})"
    )
    count = row[f"{there}_runs"]
    runs = f"{count} run{'' if count == 1 else 's'}"
    mean = "its mean accuracy" if count > 1 else "its accuracy"
    words = "each stain group is in one subset" if here == RANDOM else "images of one slide are in several subsets"
    return (
        f"On {there} splits ({runs} of the same recipe), where {words}, {mean} is "
        f"{percent(row[f'{there}_accuracy'])} %{gap}."
    )


def _reach(row: dict[str, Any]) -> str:
    low, high = row["leakage_gap_low"], row["leakage_gap_high"]
    return "" if low is None else f"; 95 % interval over groups {difference(low, 1)} to {difference(high, 1)}"


def per_class(entry: Entry) -> Table:
    """Return precision, recall, F1, AUC and number of images of each class."""
    rows = [
        [each["class"], f"{each['support']:,}", *(percent(each[key]) for key in ("precision", "recall", "f1")),
         number(each["auc"], 4)]
        for each in entry.record.per_class
    ]  # fmt: skip
    words = (
        "Precision: share of the images predicted as the class that belong to it. Recall: share of the images of the "
        "class that were predicted as it. AUC: how well its probability ranks the class above the others."
    )
    columns = ("Class", "Images", "Precision %", "Recall %", "F1 %", "AUC")
    return Table("Scores of every class", columns, rows, words_below=words)


def other_tests(entry: Entry) -> list[Table]:
    """Return the scores on test sets besides the main one; empty where there are none."""
    return quality_tables.other_tests([{"name": entry.label, **each} for each in entry.record.other_tests])


def matrix(counts: list[list[int]], classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return one row for each true class: name, images, and cells with count, share, shade 0..5 and label."""
    rows = []
    for true, row in zip(classes, counts, strict=True):
        total = sum(row)
        cells = [
            {"count": count, "share": percent(count / total, 1) if total else MISSING}
            | {"shade": min(5, -(-5 * count // total)) if total else 0, "right": true == predicted}
            | {"words": f"true {true}, predicted {predicted}: {count:,} image{'' if count == 1 else 's'}"}
            for predicted, count in zip(classes, row, strict=True)
        ]
        rows.append({"name": true, "images": total, "cells": cells})
    return rows


def calibration(entry: Entry) -> list[Table]:
    """Return calibration, selective prediction and conformal sets of a finished run."""
    return calibration_tables.tables(
        [{"name": entry.label} | calibration_tables.columns(test_predictions.calibrated(entry))]
    )


def stress(entry: Entry) -> tuple[list[str], Table] | None:
    """Return sentences and table of the stress test; None where there is none."""
    rows = stress_file.read(entry.run)
    return (stress_tables.sentences(entry.run, rows), stress_tables.table(entry.run, rows)) if rows else None


def faithfulness(entry: Entry) -> tuple[list[str], Table] | None:
    """Return sentences and table on the faithfulness of the heatmaps; None where not measured."""
    if not entry.run.file(faithfulness_file.FILE).is_file():
        return None
    rows = faithfulness_file.read(entry.run)
    said = faithfulness_tables.sentences(rows, entry.config.get("heatmap_method", "gradcam"))
    return said, faithfulness_tables.table(rows, "Heatmap methods, the most faithful first")


def timing(entry: Entry) -> list[tuple[str, str]]:
    """Return the costs of training and prediction of a finished run."""
    row = entry.record.row
    lines = [
        ("Epochs, kept / made", f"{number(row['epochs_best'], 0)} / {row['epochs_ran']}"),
        ("Training, s", seconds(row["training_seconds"])),
        ("Training to the kept epoch, s", seconds(row["training_seconds_to_best"])),
        ("Saved by keeping features, s", seconds(row["feature_reuse_saved_seconds"])),
        ("Memory in training, MB", number(row["training_peak_memory_mb"], 0)),
        ("Load, s", number(row["load_seconds"], 2)),
        ("One image, median, ms", number(row["latency_ms_p50"], 2)),
        ("One image, 95th percentile, ms", number(row["latency_ms_p95"], 2)),
        *((f"Images a second, batch {n}", number(row[f"images_per_second_{n}"], 0)) for n in (1, 8, 32)),
        ("Memory in use, MB", number(row["inference_peak_memory_mb"], 0)),
        ("Parameters", quantity(row["parameters"])),
        ("FLOPs an image", quantity(row["flops"])),
        ("Bytes on disk", quantity(row["bytes_on_disk"])),
        ("Machine", machine(row)),
    ]
    return [(name, value) for name, value in lines if value != MISSING]


def _tile(title: str, value: float | None, unit: str, words: str, command: str) -> Tile:
    return Tile(title, MISSING, "Not measured.", command) if value is None else Tile(
        title, f"{percent(value, 1)}{unit}", words
    )  # fmt: skip
