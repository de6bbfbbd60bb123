"""Every recipe against every family of change, those that it trained on marked: what holds where it was not taught."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from utils.io import files
from utils.runs import leaderboard, stress_file
from utils.runs.records import Record
from utils.runs.seen_families import lowest_unseen, trained_on
from utils.tables import writers
from utils.tables.table import Table, percent
from utils.text import MISSING

STEM = "recipes"
TITLE = "Recipes against families of change"
PLAIN = "plain"  # a model without a recipe
SEEN = "*"
WORDS = (
    "Accuracy in percent on changed test images, mean over the severities and over the runs that were stressed on all "
    f"of their test images. {SEEN}: the recipe trained on such a change or takes it back, so that a high number there "
    "is no surprise. What counts is the lowest of the unseen; a dash: not all of them were measured. Cells removed is "
    "a control and left out of it: with no cell in the image, a model that reads cells can only guess, and an accuracy "
    "above that comes from something else."
)


def rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return the columns of recipes.csv: a row for each model, recipe, kind of split and family; empty without stress.

    Accuracies are shares in 0..1; the standard deviation is over seeds and folds, None for a single run.
    """
    together = leaderboard.alike(records)
    abouts = [leaderboard.about(members) for members in together]
    leaderboard.tell_apart(abouts)
    found = []
    for members, about in zip(together, abouts, strict=True):
        for side in leaderboard.SIDES:
            of_side = [m for m in members if leaderboard.side(m.row["split"]) == side]
            stressed = [each for m in of_side if (each := leaderboard.stressed(m))]
            found += _rows(members[0], about | {"split": side}, stressed) if stressed else []
    return sorted(found, key=lambda row: (*_table_of(row), row["recipe"] != "", row["name"]))


def shown(found: Sequence[dict[str, Any]]) -> list[Table]:
    """Return a table for each model, size, initialisation and kind of split: a row a family, a column a recipe."""
    several = len({row["dataset"] for row in found}) > 1
    made = []
    for key in dict.fromkeys(map(_table_of, found)):
        dataset, model, initialisation, size, shares, _, side = key
        title = f"{model}, {initialisation} weights, {size} px, {side} split {shares}"
        of_table = [row for row in found if _table_of(row) == key]
        known = {row["family"] for row in found if row["dataset"] == dataset}
        made.append(_table(f"{title}, {dataset}" if several else title, of_table, known))
    return made


def write(folder: Path, found: Sequence[dict[str, Any]]) -> list[Path]:
    """Write recipes.csv, .md, .tex and .html into a folder and return the paths; nothing where no run is stressed.

    Raises:
        LeukoBenchError: the folder cannot be written.
    """
    if not found:
        return []
    files.write_csv(folder / f"{STEM}.csv", found)
    return [folder / f"{STEM}.csv", *writers.write_all(folder / STEM, TITLE, [WORDS], shown(found))]


def _rows(record: Record, about: dict[str, Any], stressed: Sequence[dict[str, float]]) -> list[dict[str, Any]]:
    taught, found = trained_on(record.run.config()), []
    for family in dict.fromkeys(family for each in stressed for family in each):
        values = [each[family] for each in stressed if family in each]
        found.append(
            {
                **{key: value for key, value in about.items() if key != "runs"},
                "family": family,
                "trained_on": family in taught,
                "runs": len(values),
                "accuracy": fmean(values),
                "accuracy_sd": stdev(values) if len(values) > 1 else None,
                "epochs": record.run.config()["epochs"],
            }
        )
    return found


def _table_of(row: dict[str, Any]) -> tuple:
    keys = ("dataset", "model", "initialisation", "image_size", "shares")
    return *(row[key] for key in keys), leaderboard.SIDES.index(row["split"]), row["split"]


def _table(title: str, of_table: Sequence[dict[str, Any]], known: Collection[str]) -> Table:
    """Return a table of rows; `known`: every family that any run of the dataset was put to."""
    names = list(dict.fromkeys(row["name"] for row in of_table))
    cells = {(row["name"], row["family"]): row for row in of_table}
    families = list(dict.fromkeys(row["family"] for row in of_table))
    lines = [
        [family if family != stress_file.NONE else "unchanged", *(_cell(cells.get((name, family))) for name in names)]
        for family in families
    ]
    lines.append(["lowest of the unseen", *(percent(_lowest(of_table, name, known)) for name in names)])
    epochs = {row["name"]: str(row["epochs"]) for row in of_table}
    lines.append(["epochs at most", *(epochs[name] for name in names)])
    flavours = [_flavour(name, of_table[0]["model"]) for name in names]
    return Table(title, ("Family", *flavours), lines, words_below=WORDS)


def _cell(row: dict[str, Any] | None) -> str:
    return MISSING if row is None else percent(row["accuracy"]) + SEEN * row["trained_on"]


def _lowest(of_table: Sequence[dict[str, Any]], name: str, known: Collection[str]) -> float | None:
    """Return the lowest accuracy of a column over the families that its recipe did not train on."""
    column = {row["family"]: row for row in of_table if row["name"] == name}
    taught = [family for family, row in column.items() if row["trained_on"]]
    found = lowest_unseen(taught, {family: row["accuracy"] for family, row in column.items()}, sorted(known))
    return found[1] if found else None


def _flavour(name: str, model: str) -> str:
    return name.removeprefix(model).strip(" ()").replace(", ", ",\n") or PLAIN
