"""What stands on the page of one run, read from its folder: tiles, tables, sentences, and what is missing."""

from dataclasses import dataclass
from typing import Any

from utils.runs import faithfulness_file, leaderboard, shortcuts_file, stress_file
from utils.runs.seen_families import trained_on
from utils.runs.split_spec import KINDS, RANDOM
from utils.runs.stress_file import GREY, SWAP
from utils.tables import calibration as calibration_tables
from utils.tables import faithfulness as faithfulness_tables
from utils.tables import stress as stress_tables
from utils.tables.cost import machine, seconds
from utils.tables.table import Table, difference, interval, number, percent, quantity
from utils.text import MISSING
from webapp.runs import test_predictions
from webapp.runs.catalogue import Entry


@dataclass(frozen=True)
class Tile:
    """One headline figure.

    Attributes:
        words: what it means, or what makes it where it is missing.
        command: what makes it; "" where it is there.
    """

    title: str
    value: str
    words: str
    command: str = ""


def tiles(entry: Entry) -> list[Tile]:
    """Return the headline figures of a finished run; what was not measured says which command makes it."""
    row, measured, id = entry.record.row, entry.measured, entry.id
    taught = trained_on(entry.config)
    seen = " It trained on such a change." if SWAP in taught else ""
    best = leaderboard.best_shortcut(entry.record)
    stress, audit = f"stress {id}", f"audit --split {row['split']}"
    made = [
        Tile("Test accuracy", f"{percent(row['accuracy'])} %",
             f"95 % interval {interval(row['accuracy_low'], row['accuracy_high'])}, {row['images']:,} images, "
             f"{entry.record.split.kind} split"),
        _tile("Under stain swap", measured["stain_swap"], " %", "The same images in the stain of another class."
              + seen, stress),
        _tile("Stain flip rate", measured["flip_rate"], " %", "Answers that became the class whose stain was "
              "put on; near 0 it does not follow.", stress),
        _tile("In grey", measured["grey"], " %", "The same images without colour."
              + (" It trained on such a change." if GREY in taught else ""), stress),
        Tile("Shortcut margin", MISSING, "Above the best baseline that sees no shape of a cell.", audit)
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
    """Say what the leaderboard knows of the same recipe on the other kind of split; "" where it knows nothing."""
    row = next((r for r in rows if r["model"] == entry.run.model and entry.run.path.name in r["runs"].split()), None)
    if row is None:
        return ""
    here = entry.record.split.kind
    there = next(kind for kind in KINDS if kind != here)
    if row[f"{there}_accuracy"] is None:
        return (
            "On this split images of one slide lie on both sides, and the same model was not trained on a grouped one. "
            f"Do it with: python run_guide.py train {entry.run.model} --split grouped"
            if here == RANDOM else ""
        )  # fmt: skip
    gap = (
        ""
        if row["leakage_gap"] is None
        else f", a gap of {difference(row['leakage_gap'])} points (random minus grouped)"
    )
    count = row[f"{there}_runs"]
    runs = f"{count} run{'' if count == 1 else 's'}"
    mean = "its mean accuracy" if count > 1 else "its accuracy"
    words = "no stain group lies on both sides" if here == RANDOM else "images of one slide lie on both sides"
    return (
        f"On {there} splits ({runs} of the same recipe), where {words}, {mean} is "
        f"{percent(row[f'{there}_accuracy'])} %{gap}."
    )


def per_class(entry: Entry) -> Table:
    """Return precision, recall, F1, AUC and number of images of each class."""
    rows = [
        [each["class"], f"{each['support']:,}", *(percent(each[key]) for key in ("precision", "recall", "f1")),
         number(each["auc"], 4)]
        for each in entry.record.per_class
    ]  # fmt: skip
    words = (
        "Precision: of the images named so, how many are. Recall: of the images that are, how many were named so. AUC: "
        "how well its probability ranks the class above the others."
    )
    columns = ("Class", "Images", "Precision %", "Recall %", "F1 %", "AUC")
    return Table("Scores of every class", columns, rows, words_below=words)


def matrix(counts: list[list[int]], classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return a row a true class: name, images, and cells with count, share of the row, shade 0..5 and words."""
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
    """Return what the run's stress means and its table; None where it was not stressed."""
    rows = stress_file.read(entry.run)
    return (stress_tables.sentences(entry.run, rows), stress_tables.table(entry.run, rows)) if rows else None


def faithfulness(entry: Entry) -> tuple[list[str], Table] | None:
    """Return how far the run's heatmaps can be trusted; None where that was not measured."""
    if not entry.run.file(faithfulness_file.FILE).is_file():
        return None
    rows = faithfulness_file.read(entry.run)
    said = faithfulness_tables.sentences(rows, entry.config.get("heatmap_method", "gradcam"))
    return said, faithfulness_tables.table(rows, "Heatmap methods, the most faithful first")


def timing(entry: Entry) -> list[tuple[str, str]]:
    """Return what training and using a finished run costs."""
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
