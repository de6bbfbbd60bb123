"""Writers of tables: Markdown, LaTeX and HTML files whose bytes depend on the tables alone."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from utils.io import files, transaction
from utils.tables.table import Table, joined
from utils.text import NOTICE

FORMATS = (".csv", ".md", ".tex", ".html")
_STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;margin:2rem;color:#222}"
    "table{border-collapse:collapse;margin:.5rem 0}p{max-width:46rem}h2{margin-top:2rem}"
    "th,td{padding:.3rem .7rem;border-bottom:1px solid #ddd;text-align:right;font-variant-numeric:tabular-nums}"
    "th:first-child,td:first-child{text-align:left}thead th{border-bottom:2px solid #888;vertical-align:bottom}"
)


def write_all(
    stem: Path,
    heading: str,
    notes: Sequence[str],
    tables: Sequence[Table],
    rows: Sequence[dict[str, Any]] | None = None,
) -> list[Path]:
    """Write tables under one heading as <stem>.md, <stem>.tex and <stem>.html, and rows as <stem>.csv.

    Returns:
        The paths, the CSV first.

    Raises:
        LeukoBenchError: the folder cannot be written.
    """
    tables, notes = [_on_one_line(table) for table in tables], [*notes, f"{NOTICE}."]
    names = [stem.name + suffix for suffix in (FORMATS[1:] if rows is None else FORMATS)]
    with transaction.together(stem.parent) as stage:
        if rows is not None:
            files.write_csv(stage / names[0], rows)
        for name, render in zip(names[-3:], (_markdown, _latex, _html), strict=True):
            files.write_text(stage / name, render(heading, notes, tables))
    return [stem.with_name(name) for name in names]


def _on_one_line(table: Table) -> Table:
    columns, *rows = [[joined(cell) for cell in row] for row in (table.columns, *table.rows)]
    return replace(table, title=joined(table.title), columns=tuple(columns), rows=rows)


def _markdown(heading: str, notes: Sequence[str], tables: Sequence[Table]) -> str:
    parts = [f"# {markdown_text(heading)}", *(markdown_text(note) for note in notes)]
    for table in tables:
        parts += [f"## {markdown_text(table.title)}", markdown_table(table)]
        parts += [markdown_text(table.words_below)] if table.words_below else []
    return "\n\n".join(parts) + "\n"


def markdown_table(table: Table) -> str:
    """Return the rows of a table in Markdown, without its title."""
    from tabulate import tabulate

    align = ["left" if index in table.words else "right" for index in range(len(table.columns))]
    head, *cells = [[markdown_text(joined(cell)) for cell in row] for row in (table.columns, *table.rows)]
    return tabulate(cells, head, tablefmt="pipe", colalign=align, disable_numparse=True)


def markdown_text(text: str) -> str:
    """Return a text as Markdown that shows it unchanged."""
    return re.sub(r"([\\|<*_`\[\]])", r"\\\1", text)


def _latex(heading: str, notes: Sequence[str], tables: Sequence[Table]) -> str:
    parts = [f"% {' '.join(text.split())}" for text in (heading, *notes, "Needs \\usepackage{booktabs}.")]
    for table in tables:
        frame = _frame(table).map(_latex_cell)
        frame.columns = [_latex_cell(column) for column in table.columns]
        align = "".join("l" if index in table.words else "r" for index in range(len(table.columns)))
        caption = _latex_cell(f"{table.title}. {NOTICE}.")
        style = frame.style.hide(axis="index")
        parts.append(style.to_latex(column_format=align, hrules=True, caption=caption, position="htbp").rstrip())
    return "\n".join(parts) + "\n"


def _latex_cell(text: str) -> str:
    special = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "[": "{[}",
        "±": r"$\pm$",
    }
    return "".join(special.get(c, "\\" + c if c in "&%$#_{}" else c) for c in text)


def _html(heading: str, notes: Sequence[str], tables: Sequence[Table]) -> str:
    from html import escape

    parts = [
        "<!DOCTYPE html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(heading)}</title><style>{_STYLE}</style></head>',
        f"<body><h1>{escape(heading)}</h1>",
        *(f"<p>{escape(note)}</p>" for note in notes),
    ]
    for table in tables:
        parts += [f"<h2>{escape(table.title)}</h2>", _frame(table).to_html(index=False, border=0, justify="unset")]
        parts += [f"<p>{escape(table.words_below)}</p>"] if table.words_below else []
    return "\n".join([*parts, "</body></html>"]) + "\n"


def _frame(table: Table) -> Any:
    import pandas as pd

    # Column names may be equal, so the frame is made from rows.
    return pd.DataFrame(table.rows, columns=list(table.columns), dtype=object)
