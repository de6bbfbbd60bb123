"""Generate docs/performance.md from the JSON files of the benchmarks: python -m benchmarks.page."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import results
from benchmarks.results import Claim, Plot, Result, Sheet
from utils import console
from utils.io import files
from utils.paths import PROJECT
from utils.tables.table import Table, number
from utils.tables.writers import markdown_table
from utils.text import MISSING
from visualization import label_placement, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAGE = PROJECT / "docs" / "performance.md"
UNITS = {"x": "x {}", "%": "{} %", "points": "{} points"}
INTRODUCTION = (
    "Time and memory of the suite, compared with a straightforward baseline for the same task. This page is generated "
    "by `python run_guide.py bench --page` from the files in [results/benchmarks](results/benchmarks); the command of "
    "each section measures again. Numbers are medians of repetitions with their lowest and highest values (no range "
    "for a single measurement). They hold for the machine and the commit named in each section."
)


def write(folder: Path = results.FOLDER, page: Path = PAGE) -> Path:
    """Write the page and its plots from all stored results; return the page's path.

    Raises:
        LeukoBenchError: a stored result is damaged.
    """
    measured = _measured(folder)
    for name, (_, result) in measured.items():
        for index, plot in enumerate(result.plots, start=1):
            style.save(_draw(plot, result.title), page.parent / _picture(name, index))
    files.write_text(page, text(folder))
    return page


def text(folder: Path = results.FOLDER) -> str:
    """Return the page as Markdown."""
    measured = _measured(folder)
    parts = ["# Performance", INTRODUCTION, "## Targets and results", _overview(measured)]
    for name, (made, result) in measured.items():
        parts += [f"## {result.title}", result.about, f"`{made['command']}`, {_machine(made)}."]
        if result.claims:
            parts += [markdown_table(_claims(result)), _reasons(result)]
        parts += [part for sheet in result.sheets for part in _with_title(_table(sheet))]
        for index, plot in enumerate(result.plots, start=1):
            parts.append(f"![{plot.title}]({_picture(name, index)})")
        parts += [f"- {note}" for note in result.notes]
    return "\n\n".join(part for part in parts if part) + "\n"


def tables(result: Result) -> list[Table]:
    """Return the claims and sheets of a benchmark as tables."""
    return ([_claims(result)] if result.claims else []) + [_table(sheet) for sheet in result.sheets]


def _claims(result: Result) -> Table:
    rows = [[claim.text, _asked(claim), *_found(claim)] for claim in result.claims]
    return Table("Claims", ("Measurement", "Target", "Median", "Range", "Reached"), rows, frozenset({0, 4}))


def _measured(folder: Path) -> dict[str, tuple[dict[str, Any], Result]]:
    return {path.stem: results.read(path) for path in sorted(folder.glob("*.json"))}


def _overview(measured: dict[str, tuple[dict[str, Any], Result]]) -> str:
    lines = []
    for made, result in measured.values():
        place = re.sub(r"[^a-z0-9 -]", "", result.title.lower()).replace(" ", "-")
        reached = sum(claim.reached for claim in result.claims)
        counted = f": {reached} of {len(result.claims)} targets reached" if result.claims else ""
        lines.append(f"- [{result.title}](#{place}){counted} (`{made['command']}`)")
    return "\n".join(lines)


def _reasons(result: Result) -> str:
    return "\n".join(
        f"- Not reached: {claim.text}: {claim.why}." for claim in result.claims if claim.why and not claim.reached
    )


def _asked(claim: Claim) -> str:
    return f"{'at most' if claim.at_most else 'at least'} {_figure(claim.asked, claim.unit)}"


def _found(claim: Claim) -> list[str]:
    measured = claim.measured
    span = f"{_bare(measured.low)}-{_bare(measured.high)}" if measured.count > 1 else MISSING
    return [_figure(measured.median, claim.unit), span, "yes" if claim.reached else "no"]


def _figure(value: float, unit: str) -> str:
    return UNITS.get(unit, "{} " + unit).format(_bare(value))


def _bare(value: float) -> str:
    """Return a number with about three significant digits."""
    if value and abs(value) < 0.01:
        return f"{value:.1e}"
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2
    return f"{value:,.{digits}f}"


def _table(sheet: Sheet) -> Table:
    rows = [[_cell(row.get(column.key), column.digits) for column in sheet.columns] for row in sheet.rows]
    text_columns = frozenset(index for index, column in enumerate(sheet.columns) if column.digits is None)
    return Table(sheet.title, tuple(column.heading for column in sheet.columns), rows, text_columns, sheet.words_below)


def _cell(value: Any, digits: int | None) -> str:
    if value is None:
        return MISSING
    return str(value) if digits is None or isinstance(value, str) else number(value, digits)


def _with_title(table: Table) -> Sequence[str]:
    below = [table.words_below] if table.words_below else []
    return [f"**{table.title}**", markdown_table(table), *below]


def _machine(made: dict[str, Any]) -> str:
    machine = made["machine"]
    versions = ", ".join(
        f"{name} {machine['packages'][name]}" for name in ("tensorflow", "keras") if machine["packages"].get(name)
    )
    commit = (made["commit"] or "no commit")[:9] + (" with local changes" if made["changed"] else "")
    units = f" ({machine['vector_units']})" if machine.get("vector_units") else ""  # missing in older files
    return f"{made['made']}, {machine['cpu']}{units}, {machine['cores']} cores, {versions}, {commit}"


def _picture(name: str, index: int) -> str:
    return f"performance/{name}-{index}.png"


def _draw(plot: Plot, about: str) -> "Figure":
    """Draw the series of a plot, with the range of the repetitions as error bars."""
    figure = style.new_figure(7.2, 4.6)
    with style.applied():
        ax = figure.subplots()
        for number, series in enumerate(plot.series):
            bars = None
            if series.low:
                bars = [
                    [y - low for y, low in zip(series.y, series.low, strict=True)],
                    [high - y for y, high in zip(series.y, series.high, strict=True)],
                ]
            ax.errorbar(
                series.x,
                series.y,
                bars,
                color=style.colour(number),
                marker=style.marker(number),
                markersize=6,
                linestyle=style.LINES[number % len(style.LINES)] if series.line else "none",
                elinewidth=0.9,
                capsize=2,
                label=series.label,
            )
        if plot.asked is not None:
            ax.axhline(plot.asked, color=style.GREY, linestyle="--", linewidth=1, label=f"target: {plot.asked:g}")
        _scale(ax, plot.log)
        ax.set_title(plot.title)
        ax.set_xlabel(plot.x)
        ax.set_ylabel(plot.y)
        ax.grid(True)
        ax.margins(x=0.08, y=0.1)
        if len(plot.series) > 1 or plot.asked is not None:
            if len(plot.series) > 4:  # inside the axes it would cover the lines
                figure.legend(loc="outside lower center", ncols=2)
            else:
                ax.legend(loc="best")
    style.set_heading(figure, about, "")
    for series in plot.series:
        if series.names:
            points = list(zip(series.x, series.y, strict=True))
            spans = list(zip(series.low or series.y, series.high or series.y, strict=True))
            label_placement.label_points(ax, points, list(series.names), spans)
    return figure


def _scale(ax: "Axes", log: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for name, axis in (("x", ax.xaxis), ("y", ax.yaxis)):
        if name in log:
            (ax.set_xscale if name == "x" else ax.set_yscale)("log")
            low, high = axis.get_view_interval()
            if high < 100 * low:  # too few powers of ten for tick labels
                axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(style.plain_number))
            axis.set_minor_formatter(NullFormatter())


if __name__ == "__main__":
    sys.exit(console.run_safely(lambda: console.say(f"Written: {write()}")))
