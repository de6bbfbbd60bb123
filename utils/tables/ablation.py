"""Table, files and sentences of an ablation of augmentation, compared with a published claim."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from utils.errors import LeukoBenchError
from utils.runs.records import Record
from utils.tables import writers
from utils.tables.table import Table, interval, number, percent, spread
from utils.text import MISSING

CLAIM = "Published claim: augmentation raises the test accuracy of a small CNN from 93 % to 97 %."
CAUTION = (
    "Test accuracy does not show whether a model recognises the cells: it rises as well if stain or background "
    "predict the class."
)
STEM = "ablation"


@dataclass(frozen=True)
class Measured:
    """The finished runs of one setting, one per seed.

    Attributes:
        setting: name of the augmentation ("none", "flips", ...).
        copies: of each training image, made before training; 0: augmented in every epoch.
        records: of the runs, ordered by seed.
    """

    setting: str
    copies: int
    records: tuple[Record, ...]


def rows(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """Return the columns of ablation.csv for every setting with runs, in the given order.

    The change against "none" is over common seeds. The Wilson interval is of a single run, None over several seeds.

    Raises:
        LeukoBenchError: the runs were not tested on the same images.
    """
    tests = {record.row["test_identity"]: record.run.id for each in measured for record in each.records}
    if len(tests) > 1:
        raise LeukoBenchError(
            f"The runs were tested on different images ({', '.join(list(tests.values())[:2])}), so that "
            "they do not compare. Remove the runs of the older dataset."
        )
    plain = next((_accuracies(each) for each in measured if each.setting == "none"), {})
    return [_row(each, plain) for each in measured if each.records]


def table(found: Sequence[dict[str, Any]], title: str) -> Table:
    """Return the rows as a table that fits 80 columns; without column n if every setting has one run."""
    columns = ["Setting", "Made", "n", "Val.\n%", "Test accuracy %", "Change\npoints", "Best/\nran", "Sec."]
    lines = [
        [
            *(row["setting"], how(row), str(row["runs"]), percent(row["val_accuracy"]), _accuracy(row)),
            MISSING if row["change_points"] is None else f"{row['change_points']:+.2f}",
            f"{number(row['epochs_best'], 0)}/{number(row['epochs_ran'], 0)}",
            number(row["training_seconds"], 0),
        ]
        for row in found
    ]
    if all(row["runs"] == 1 for row in found):
        for line in (columns, *lines):
            del line[2]
    return Table(title, tuple(columns), lines, frozenset({0, 1}))


def how(row: dict[str, Any]) -> str:
    """Return the time of augmentation of a row in words."""
    if row["setting"] == "none":
        return MISSING
    count = row["copies"]
    return "on the fly" if not count else f"{count} copies" if count > 1 else "1 copy"


def sentences(found: Sequence[dict[str, Any]]) -> list[str]:
    """Return the claim, the measured difference, and how to read the table."""
    said = [CLAIM]
    plain = next((row for row in found if row["setting"] == "none"), None)
    others = [row for row in found if row["setting"] != "none"]
    if plain and others:
        best = max(others, key=lambda row: row["val_accuracy"])
        moved = "" if best["change_points"] is None else f", {best['change_points']:+.2f} points"
        said.append(
            f"Measured here: without {_accuracy(plain)} %; with {best['setting']} ({how(best)}), the best on the "
            f"validation images, {_accuracy(best)} %{moved}.{_overlap(plain, best)}"
        )
    said.append("Brackets: 95 % Wilson interval of one run. ±: standard deviation over n seeds. Best/ran: epochs.")
    if any(row["copies"] for row in found):
        said.append("With k copies an epoch has k + 1 times as many images and takes k + 1 times as long.")
    return [*said, CAUTION]


def write(folder: Path, found: Sequence[dict[str, Any]], title: str) -> list[Path]:
    """Write ablation.csv, .md, .tex and .html into a folder; return the paths.

    Raises:
        LeukoBenchError: the folder cannot be written.
    """
    shown = table(found, "Augmentation, on the fly and beforehand")
    return writers.write_all(folder / STEM, title, sentences(found), [shown], found)


def _row(each: Measured, plain: dict[int, float]) -> dict[str, Any]:
    members = [record.row for record in each.records]
    accuracies = _accuracies(each)
    one = members[0] if len(members) == 1 else {}
    shared = [seed for seed in accuracies if seed in plain and each.setting != "none"]
    seconds = [row["training_seconds"] for row in members]
    best = [row["epochs_best"] for row in members]
    return {
        "setting": each.setting,
        "copies": each.copies,
        "runs": len(members),
        "seeds": " ".join(map(str, accuracies)),
        "val_accuracy": fmean(_val_accuracy(record) for record in each.records),
        "accuracy": fmean(accuracies.values()),
        "accuracy_sd": stdev(accuracies.values()) if len(members) > 1 else None,
        "accuracy_low": one.get("accuracy_low"),
        "accuracy_high": one.get("accuracy_high"),
        "accuracies": " ".join(f"{value:.6f}" for value in accuracies.values()),
        "change_points": 100 * fmean(accuracies[s] - plain[s] for s in shared) if shared else None,
        "epochs_best": None if None in best else fmean(best),
        "epochs_ran": fmean(row["epochs_ran"] for row in members),
        "training_seconds": None if None in seconds else fmean(seconds),
        "images": members[0]["images"],
        "model": members[0]["model"],
        "image_size": members[0]["image_size"],
        "initialisation": members[0]["initialisation"],
        "dataset": members[0]["dataset"],
        "test_identity": members[0]["test_identity"],
        "run_folders": " ".join(record.run.path.name for record in each.records),
    }


def _accuracies(each: Measured) -> dict[int, float]:
    return {record.row["seed"]: record.row["accuracy"] for record in each.records}


def _val_accuracy(record: Record) -> float:
    return max(row["val_accuracy"] for row in record.run.history())


def _accuracy(row: dict[str, Any]) -> str:
    if row["runs"] > 1:
        return spread(row["accuracy"], row["accuracy_sd"], 2, 100)
    return f"{percent(row['accuracy'])} ({interval(row['accuracy_low'], row['accuracy_high'])})"


def _overlap(plain: dict[str, Any], best: dict[str, Any]) -> str:
    if plain["runs"] > 1 or best["runs"] > 1:
        return ""
    if best["accuracy_low"] > plain["accuracy_high"] or best["accuracy_high"] < plain["accuracy_low"]:
        return " The intervals do not overlap."
    return " The intervals overlap: the difference may be chance."
