"""GET /compare: the leaderboard, every run with its state, and the form to compare two runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from utils.runs import split_spec
from utils.runs.leaderboard import board
from utils.runs.split_spec import APART, RANDOM
from utils.tables import leaderboard as leaderboard_tables
from utils.tables.cost import seconds
from utils.tables.recipes import SEEN
from utils.tables.table import difference, interval, number, percent, quantity
from webapp.http.templates import render
from webapp.runs import confusion_cell_pages, detail_pages, pairwise
from webapp.runs.catalogue import Entry

router = APIRouter(include_in_schema=False)
for pages in (detail_pages, confusion_cell_pages, pairwise):
    router.include_router(pages.router)

Row = dict[str, Any]
UP, DOWN = "asc", "desc"
ORDERS = {UP: "ascending", DOWN: "descending"}  # in the URL, and as aria-sort
TAUGHT = {"grey": "trained_on_grey", "stain_swap": "trained_on_swap"}


@dataclass(frozen=True)
class Cell:
    """One cell of the table.

    Attributes:
        text: the value.
        mark: SEEN where the models were trained on this perturbation.
        below: small text: standard deviation, number of runs with a value, interval over groups.
    """

    text: str
    mark: str = ""
    below: str = ""


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: in the URL and in `leaderboard.rows`.
        title: heading.
        unit: after the title.
        words: explanation.
        cell: returns the cell of a row.
        first: order of the first click, best values first.
        word: whether it holds text.
    """

    key: str
    title: str
    unit: str
    words: str
    cell: Callable[[Row], Cell]
    first: str = DOWN
    word: bool = False

    def value(self, row: Row) -> Any:
        """Return the sort value of a row; None for an unknown value, which comes last."""
        if self.key == "runs":
            return sum(row.get(f"{kind}_runs", 0) for kind in split_spec.KINDS)
        found = row[self.key]
        return found.lower() if isinstance(found, str) else found


def _measure(key: str, show: Callable[[Any], str], scale: float = 100, digits: int = 2) -> Callable[[Row], Cell]:
    side, _, name = key.partition("_")

    def cell(row: Row) -> Cell:
        value, deviation = row[key], row[f"{key}_sd"]
        runs, of = row[f"{key}_runs"], row[f"{side}_runs"]
        below = [f"±{number(deviation, digits, scale)}"] if deviation is not None and value is not None else []
        below += [f"({runs}/{of})"] if 0 < runs < of else []
        below += [interval(row[f"{key}_low"], row[f"{key}_high"])] if row.get(f"{key}_low") is not None else []
        mark = SEEN if value is not None and row.get(TAUGHT.get(name, "")) else ""
        return Cell(show(value), mark, " ".join(below))

    return cell


def _unseen(kind: str) -> Callable[[Row], Cell]:
    key = f"{kind}_lowest_unseen"
    return lambda row: Cell(percent(row[key], 1), "", row[f"{key}_family"] or "")


def _gap(row: Row) -> Cell:
    low, high = row["leakage_gap_low"], row["leakage_gap_high"]
    below = "" if low is None else f"{difference(low, 1)} to {difference(high, 1)}"
    return Cell(difference(row["leakage_gap"]), "", below)


def _nuclei(kind: str) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        area = row[f"{kind}_nucleus_area"]
        below = f"({percent(area, 1)})" if area is not None else ""
        return Cell(percent(row[f"{kind}_nucleus_mass"], 1), "", below)

    return cell


def _measures(kind: str, split: str) -> tuple[Column, ...]:
    """Return the columns of what is measured on one kind of split; `split` names it in a sentence."""
    return (
        Column(f"{kind}_grey", "Grey", "%", f"Accuracy on the test images of {split} without colour.",
               _measure(f"{kind}_grey", percent)),
        Column(f"{kind}_stain_swap", "Swap", "%", f"Accuracy on the test images of {split} with the stain of "
               "another class.", _measure(f"{kind}_stain_swap", percent)),
        Column(f"{kind}_flip_rate", "Flips", "%", "Share of the images whose answer was not the donor's class before "
               "the stain swap and is that class after it; near 0, answers do not follow the stain.",
               _measure(f"{kind}_flip_rate", lambda value: percent(value, 1), digits=1), UP),
        Column(f"{kind}_lowest_unseen", "Unseen", "%", "Lowest accuracy over the perturbation families that the model "
               "was not trained on, and the family.", _unseen(kind)),
        Column(f"{kind}_shortcut_margin", "Margin", "points", "Accuracy minus that of the best shortcut baseline "
               "(colours, background, a corner, a thumbnail) trained and tested on the same images; near 0, the "
               "accuracy is not evidence.",
               _measure(f"{kind}_shortcut_margin", lambda value: difference(value, 1), digits=1)),
        Column(f"{kind}_calibration_error_scaled", "ECE", "%", "Calibration error after temperature scaling, fitted on "
               "the validation images.",
               _measure(f"{kind}_calibration_error_scaled", lambda value: percent(value, 1), digits=1), UP),
        Column(f"{kind}_nucleus_mass", "Nuclei", "%", "Share of the heatmap inside nuclei; below it the share of the "
               "image covered by nuclei, the value of a uniform map.", _nuclei(kind)),
    )  # fmt: skip


MODEL = Column("name", "Model", "", "Model, and in brackets the recipe or variant that its runs share.",
               lambda row: Cell(row["name"]), UP, True)  # fmt: skip
COST = (
    Column("parameters", "Params", "", "Parameters of the model.", lambda row: Cell(quantity(row["parameters"])),
           UP),
    Column("training_seconds", "Train", "s", "Seconds of training, the mean over the runs; a dash where they differ in "
           "their machine.", lambda row: Cell(seconds(row["training_seconds"])), UP),
    Column("latency_ms_p50", "Image", "ms", "Milliseconds for one image, the median, the mean over the runs.",
           lambda row: Cell(number(row["latency_ms_p50"], 1)), UP),
    Column("runs", "Runs", "", "Runs over seeds and folds, on the random + on the grouped split.",
           lambda row: Cell(leaderboard_tables.runs(row))),
)  # fmt: skip
COLUMNS = (
    MODEL,
    Column("grouped_stain_swap", "Grouped swap", "%", "Accuracy on the test images of the grouped split, each with the "
           "colour statistics of an image of another class put on. Default order of the leaderboard.",
           _measure("grouped_stain_swap", percent)),
    Column("random_accuracy", "Random", "%", "Accuracy on the split by image, with images of one slide in several "
           "subsets. Below: 95 % interval over groups of test images.", _measure("random_accuracy", percent)),
    Column("grouped_accuracy", "Grouped", "%", "Accuracy where each stain group (estimated, not a patient) and each "
           "overlapping field is in one subset.", _measure("grouped_accuracy", percent)),
    Column("leakage_gap", "Gap", "points", "Random minus grouped, over seeds with both: the effect of images of "
           "the same slides. Below: 95 % interval over groups; if it holds 0, no leak is shown.", _gap, UP),
    *_measures(RANDOM, "the random split"),
    *COST,
)  # fmt: skip
COLUMNS_APART = {
    kind: (
        MODEL,
        Column(f"{kind}_accuracy", "Accuracy", "%", f"Accuracy on the test images of {split}.",
               _measure(f"{kind}_accuracy", percent)),
        *_measures(kind, split),
        *COST,
    )
    for kind, split in APART.items()
}  # fmt: skip
BY_KEY = {column.key: column for columns in (COLUMNS, *COLUMNS_APART.values()) for column in columns}
DEFAULT = "grouped_stain_swap"


def sorted_by(rows: Sequence[Row], key: str, order: str) -> list[Row]:
    """Sort rows by a column, rows without a value last; equal rows keep the leaderboard's order."""
    if key == DEFAULT and order == DOWN:
        return list(rows)
    column = BY_KEY[key]
    if rows and key != "runs" and key not in rows[0]:  # a column of another board
        return list(rows)
    known = [row for row in rows if column.value(row) is not None]
    unknown = [row for row in rows if column.value(row) is None]
    return sorted(known, key=column.value, reverse=order == DOWN) + unknown


def heads(columns: Sequence[Column], key: str, order: str) -> list[dict[str, Any]]:
    """Return for each column of a board its `aria-sort` ("" if not sorted by it) and the order of the next click."""
    return [
        {"column": column, "sorted": ORDERS[order] if column.key == key else ""}
        | {"next": (UP if order == DOWN else DOWN) if column.key == key else column.first}
        for column in columns
    ]


def shown(columns: Sequence[Column], rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the cells of each row and the ids of its runs, oldest first."""
    return [
        {"cells": [column.cell(row) for column in columns], "name": row["name"]}
        | {"runs": [f"{row['model']}/{folder}" for folder in row["runs"].split()]}
        for row in rows
    ]


@router.get("/compare")
def compare(request: Request, sort: str = "", order: str = "") -> HTMLResponse:
    """Show the leaderboard in any order, and every run."""
    catalogue = request.app.state.services.catalogue
    entries, rows = catalogue.entries(), catalogue.leaderboard()
    if sort not in BY_KEY:  # ignore an unknown column in the URL
        sort, order = DEFAULT, DOWN
    elif order not in ORDERS:
        order = BY_KEY[sort].first
    boards = _boards(rows, sort, order)
    words = {head["column"].title: head for board in boards for head in board["heads"]}
    groups = pairwise.grouped(entries)
    known = [entry.id for _, members in groups[:1] for entry in members]
    return render(
        request, "compare.html", boards=boards, words=words.values(),
        sentences=leaderboard_tables.sentences(rows), unmeasured=leaderboard_tables.missing(rows), entries=entries,
        troubled=sum(not entry.finished for entry in entries), splits={e.id: _short(e) for e in entries if e.finished},
        groups=groups, first=known[0] if known else "", second=known[1] if len(known) > 1 else "",
    )  # fmt: skip


def _boards(rows: Sequence[Row], sort: str, order: str) -> list[dict[str, Any]]:
    """Return a leaderboard for each dataset, and one for each of APART: other test images are not comparable."""
    parts: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        parts.setdefault((row["dataset"], board(row)), []).append(row)
    boards = []
    for (dataset, kind), part in parts.items():
        columns = COLUMNS_APART.get(kind, COLUMNS)
        title = f"{dataset}, {APART[kind]}" if kind in APART else dataset
        rows_shown = shown(columns, sorted_by(part, sort, order))
        boards.append({"title": title, "heads": heads(columns, sort, order), "rows": rows_shown})
    return boards


def _short(entry: Entry) -> str:
    split = entry.record.row["split"]
    return f"{split_spec.named(split) if split else 'split unknown'}, seed {entry.record.row['seed']}"
