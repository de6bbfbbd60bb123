"""How the tables of a comparison are shown on the terminal, and which of them."""

from itertools import groupby, zip_longest
from typing import TYPE_CHECKING

from utils import console
from utils.errors import LeukoBenchError, nearest
from utils.tables import MISSING, on_screen

if TYPE_CHECKING:
    from utils.compare_models import Comparison
    from utils.tables import Table

PUBLISHED = "published"
VIEWS = (
    *("quality", "averages", "per_class", "baseline", "training", "complexity", "speed", "machines", "seeds"),
    *("extractors", "hyperparameters", "runs", PUBLISHED),
)  # in the order in which utils.comparison_tables.views gives them
MAIN, ALL = "main", "all"


def chosen_views(text: str) -> tuple[str, ...]:
    """Return the names of the views that a person asks for: "main", "all", or names with commas between.

    Raises:
        LeukoBenchError: there is no such view; the line names the nearest one and all.
    """
    from utils import comparison_tables

    if text in (MAIN, ALL):
        return VIEWS if text == ALL else comparison_tables.MAIN
    names = [name.strip().replace("-", "_") for name in text.split(",")]
    for name in names:
        if name not in VIEWS:
            raise LeukoBenchError(
                f"Unknown table '{name}'.{nearest(name, VIEWS)} Valid: {MAIN}, {ALL}, or some of {', '.join(VIEWS)}."
            )
    return tuple(name for name in VIEWS if name in names)


def show_comparison(comparison: "Comparison", wanted: tuple[str, ...], against: str, several: bool) -> None:
    """Print the wanted tables of a comparison; what is published elsewhere comes last, under its own heading."""
    from data import published
    from utils import comparison_tables

    console.say()
    console.say(comparison.title + (f" (test set {comparison.test_identity[:8]})" if several else ""), style="bold")
    for line in comparison_tables.about(comparison):
        console.say(line)
    found = comparison_tables.views(comparison, against)
    for table in (table for name, shown in found.items() if name in wanted for table in shown):
        console.say()
        show_table(table)
    known = [*found, *([PUBLISHED] if published.concerns(comparison) else [])]
    if PUBLISHED in known and PUBLISHED in wanted:
        _show_published()
    held = [name for name in known if name not in wanted]
    if held:
        console.say()
        console.say(f"In the files, and on screen with --tables {ALL}: {', '.join(held)}.")


def show_table(table: "Table") -> None:
    """Print a table; a name that stands for several rows is written once, its lines beside those rows."""
    rows = []
    for name, group in groupby(table.rows, key=lambda row: row[0]):
        # A number that is missing stands to the right, where numbers stand.
        members = [[None if cell == MISSING else on_screen(cell) for cell in row] for row in group]
        lines = on_screen(name).split("\n", len(members) - 1) if len(members) > 1 else [on_screen(name)]
        rows += [[line, *row[1:]] for line, row in zip_longest(lines, members, fillvalue="")]
    console.table(table.title, [on_screen(column) for column in table.columns], rows)


def _show_published() -> None:
    from data import published

    console.say()
    console.say(published.TITLE, style="bold")
    console.say(published.NOTE)
    table = published.short_table()
    console.table("", table.columns, table.rows)
    for line in published.sources():
        console.say(line)
