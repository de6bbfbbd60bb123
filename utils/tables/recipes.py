"""Accuracies of every recipe on every family of change, with the families that it trained on marked."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from utils.runs import leaderboard, stress_file
from utils.runs.records import Record
from utils.runs.seen_families import lowest_unseen, trained_on
from utils.runs.split_spec import APART, KINDS
from utils.tables import writers
from utils.tables.table import Table, percent
from utils.text import MISSING

STEM = "recipes"
TITLE = "Recipes against families of change"
PLAIN = "plain"  # column of a model without a recipe
SEEN = "*"
WORDS = (
    "Accuracy in percent on changed test images, mean over severities and over the runs that were stress-tested on all "
    f"test images. {SEEN}: the recipe trained on such a change or removes it, so that a high number there "
    "is expected. Compare the lowest of the unseen; a dash: not all of them were measured. Cells removed is a control "
    "and not included: without cells in the image, an accuracy above chance comes from something else."
)


def rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return the columns of recipes.csv: one row per model, recipe, kind of split and family; [] without stress tests.

    Accuracies are shares in 0..1; the standard deviation is over seeds and folds, None for a single run.
    """
    together = leaderboard.alike(records)
    identities = [leaderboard.identity_columns(members) for members in together]
    leaderboard.make_names_unique(identities)
    found = []
    for members, identity in zip(together, identities, strict=True):
        for kind in KINDS:
            stressed = [each for m in members if m.split.kind == kind and (each := leaderboard.stressed(m))]
            found += _rows(members[0], identity | {"split": kind}, stressed) if stressed else []
    return sorted(found, key=lambda row: (*_table_of(row), row["recipe"] != "", row["name"]))


def shown(found: Sequence[dict[str, Any]]) -> list[Table]:
    """Return one table per model, size, initialisation and kind of split: a row per family, a column per recipe."""
    several = len({row["dataset"] for row in found}) > 1
    made = []
    for key in dict.fromkeys(map(_table_of, found)):
        dataset, model, initialisation, size, shares, _, kind = key
        split = APART.get(kind, f"{kind} split {shares}")
        title = f"{model}, {initialisation} weights, {size} px, {split}"
        of_table = [row for row in found if _table_of(row) == key]
        known = {row["family"] for row in found if row["dataset"] == dataset}
        made.append(_table(f"{title}, {dataset}" if several else title, of_table, known))
    return made


def write(folder: Path, found: Sequence[dict[str, Any]]) -> list[Path]:
    """Write recipes.csv, .md, .tex and .html into a folder; return the paths, [] without rows.

    Raises:
        LeukoBenchError: the folder cannot be written.
    """
    return writers.write_all(folder / STEM, TITLE, [WORDS], shown(found), found) if found else []


def _rows(record: Record, identity: dict[str, Any], stressed: Sequence[dict[str, float]]) -> list[dict[str, Any]]:
    trained, found = trained_on(record.run.config()), []
    for family in dict.fromkeys(family for each in stressed for family in each):
        values = [each[family] for each in stressed if family in each]
        found.append(
            {
                **{key: value for key, value in identity.items() if key != "runs"},
                "family": family,
                "trained_on": family in trained,
                "runs": len(values),
                "accuracy": fmean(values),
                "accuracy_sd": stdev(values) if len(values) > 1 else None,
                "epochs": record.run.config()["epochs"],
            }
        )
    return found


def _table_of(row: dict[str, Any]) -> tuple:
    keys = ("dataset", "model", "initialisation", "image_size", "shares")
    return *(row[key] for key in keys), KINDS.index(row["split"]), row["split"]


def _table(title: str, of_table: Sequence[dict[str, Any]], known: Collection[str]) -> Table:
    """Return a table of rows; `known`: all families that any run of the dataset was tested on."""
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
    return MISSING if row is None else percent(row["accuracy"]) + (SEEN if row["trained_on"] else "")


def _lowest(of_table: Sequence[dict[str, Any]], name: str, known: Collection[str]) -> float | None:
    """Return the lowest accuracy of a column over the families that its recipe did not train on."""
    column = {row["family"]: row for row in of_table if row["name"] == name}
    trained = [family for family, row in column.items() if row["trained_on"]]
    found = lowest_unseen(trained, {family: row["accuracy"] for family, row in column.items()}, sorted(known))
    return found[1] if found else None


def _flavour(name: str, model: str) -> str:
    return name.removeprefix(model).strip(" ()").replace(", ", ",\n") or PLAIN
