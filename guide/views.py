"""Print tables of a comparison on the terminal."""

from collections.abc import Mapping, Sequence
from itertools import groupby, zip_longest
from textwrap import fill
from typing import TYPE_CHECKING

from utils import console
from utils.errors import LeukoBenchError, nearest
from utils.tables.table import on_screen

if TYPE_CHECKING:
    from utils.runs.comparison import Comparison
    from utils.tables.table import Table

PUBLISHED = "published"
LEGEND = "Wilson: 95 % interval. Macro: mean over the classes. OvR: class against rest."
MAIN, ALL = "main", "all"


def chosen_views(text: str) -> tuple[str, ...]:
    """Return the requested views: "main", "all", or names separated by commas.

    Raises:
        LeukoBenchError: there is no such view; the message names the nearest one and all views.
    """
    from utils.tables.comparison_views import VIEWS

    known = (*(view.name for view in VIEWS), PUBLISHED)
    if text in (MAIN, ALL):
        return known if text == ALL else tuple(view.name for view in VIEWS if view.main)
    names = [name.strip().replace("-", "_") for name in text.split(",")]
    for name in names:
        if name not in known:
            raise LeukoBenchError(
                f"Unknown table '{name}'.{nearest(name, known)} Valid: {MAIN}, {ALL}, or names from {', '.join(known)}."
            )
    return tuple(name for name in known if name in names)


def show_comparison(
    comparison: "Comparison", found: Mapping[str, "list[Table]"], wanted: tuple[str, ...], several: bool
) -> None:
    """Print the requested tables of a comparison; published results of others come last."""
    from utils.tables import comparison_views
    from visualization.report import published_claims

    console.say()
    console.say(comparison.title + (f" (test set {comparison.test_identity[:8]})" if several else ""), style="bold")
    for line in comparison_views.about(comparison):
        console.say(line)
    for position, table in enumerate(table for name, shown in found.items() if name in wanted for table in shown):
        console.say()
        show_table(table, words=False)  # the explanations are long and are in the files
        if not position:
            console.say(LEGEND, style="dim")
    known = [*found, *([PUBLISHED] if published_claims.concerns(comparison) else [])]
    if PUBLISHED in known and PUBLISHED in wanted:
        _show_published()
    others = [name for name in known if name not in wanted]
    if others:
        console.say()
        console.say(f"More tables in the files (--tables {ALL} prints them): {', '.join(others)}.")


def show_table(table: "Table", words: bool = True) -> None:
    """Print a table and its explanation; a name shared by several rows is printed once."""
    rows = []
    for name, group in groupby(table.rows, key=lambda row: row[0]):
        members = [[on_screen(cell) for cell in row] for row in group]
        lines = on_screen(name).split("\n", len(members) - 1) if len(members) > 1 else [on_screen(name)]
        rows += [[line, *row[1:]] for line, row in zip_longest(lines, members, fillvalue="")]
    console.table(table.title, [on_screen(column) for column in table.columns], rows)
    if words:
        show_words(table.words_below)


def show_tables(tables: Sequence["Table"]) -> None:
    """Print tables with their explanations; a shared explanation is printed below the last of them."""
    last = {table.words_below: position for position, table in enumerate(tables)}
    for position, table in enumerate(tables):
        console.say()
        show_table(table, words=position == last[table.words_below])


def show_words(text: str) -> None:
    """Print the explanation of a table, if there is one."""
    if text:
        console.say(fill(text, console.WIDTH, break_on_hyphens=False), style="dim")


def _show_published() -> None:
    from visualization.report import published_claims

    console.say()
    console.say(published_claims.TITLE, style="bold")
    console.say(published_claims.NOTE)
    table = published_claims.short_table()
    console.table("", table.columns, table.rows)
    for line in published_claims.sources():
        console.say(line)
