"""Tables of numbers: how they read, and as CSV, Markdown, LaTeX and HTML files whose bytes depend on nothing else."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from utils.io import files

NOTICE = "Research only, not a diagnosis"
MISSING = "–"
SOFT = "\u200b"  # where a word may be broken on screen; written files know nothing of it
HYPHEN = "\u00ad"  # the same, with a hyphen at the break
NARROW = 15  # characters of the longest word of a name on screen

_STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;margin:2rem;color:#222}"
    "table{border-collapse:collapse;margin:.5rem 0}p{max-width:46rem}h2{margin-top:2rem}"
    "th,td{padding:.3rem .7rem;border-bottom:1px solid #ddd;text-align:right;font-variant-numeric:tabular-nums}"
    "th:first-child,td:first-child{text-align:left}thead th{border-bottom:2px solid #888;vertical-align:bottom}"
)


@dataclass(frozen=True)
class Table:
    """A title, column names, rows of texts, and the indices of columns that hold words rather than numbers.

    A line break in a text is for the screen, where tables are narrow; written files have a space there. A SOFT one, a
    HYPHEN, or a hyphen and a line break between letters break a word, which written files hold unbroken: after a hyphen
    that stays put a SOFT one. The words below say how to read the table, in files.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[list[str]]
    words: frozenset[int] = field(default=frozenset({0}))
    words_below: str = ""


def number(value: float | None, digits: int = 2, scale: float = 1) -> str:
    """Return a value times `scale` with so many decimals, thousands apart; "–" for None."""
    return MISSING if value is None else f"{value * scale:,.{digits}f}"


def percent(value: float | None, digits: int = 2) -> str:
    """Return a share in 0..1 as percent without the sign; "–" for None."""
    return number(value, digits, 100)


def interval(low: float | None, high: float | None) -> str:
    """Return two shares in 0..1 as "97.1-99.4" percent; a whole upper end is 100."""
    if low is None or high is None:
        return MISSING
    upper = percent(high, 1)
    return f"{percent(low, 1)}-{'100' if upper == '100.0' else upper}"


def difference(value: float | None, digits: int = 2, scale: float = 100) -> str:
    """Return a difference with its sign, of shares in points; "–" for None."""
    return MISSING if value is None else f"{value * scale:+,.{digits}f}"


def ratio(value: float | None) -> str:
    """Return "x 2.7"; "–" for None."""
    return MISSING if value is None else f"x {value:,.2f}" if value < 10 else f"x {value:,.0f}"


def spread(mean: float | None, deviation: float | None, digits: int = 2, scale: float = 1) -> str:
    """Return "mean ± standard deviation"; "–" without a mean."""
    if mean is None or deviation is None:
        return number(mean, digits, scale)
    return f"{number(mean, digits, scale)} ± {number(deviation, digits, scale)}"


def quantity(value: float | None) -> str:
    """Return a count with a unit of thousands: "4.29 M", "8.40 G"."""
    if value is None:
        return MISSING
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.2f} {unit}"
    return f"{value:g}"


def name_lines(name: str) -> str:
    """Return the name of a run with breaks for the screen: "cnn seed 42 (clahe)" in three lines."""
    from textwrap import wrap

    model, mark, flavours = name.partition(" (")
    word, space, rest = model.partition(" ")
    lines = [_soft(word), *([rest] if space else []), *(wrap(f"({flavours}", NARROW) if mark else [])]
    return "\n".join(lines).replace("-\n", f"-{SOFT}")  # the hyphen of "(stain-swap)" is its own


def on_screen(text: str) -> str:
    """Return a text of a table with every break that it may have."""
    return text.replace(SOFT, "\n").replace(HYPHEN, "-\n")


def joined(text: str) -> str:
    """Return a text of a table on one line, as written files hold it."""
    whole = re.sub(r"(?<=[^\W\d_])-\n(?=[^\W\d_])", "", text)
    return " ".join(whole.replace(SOFT, "").replace(HYPHEN, "").split())


def _soft(word: str) -> str:
    head, colon, tail = word.rpartition(":")  # "keras:InceptionResNetV2"
    cuts = [k for k in range(1, min(NARROW + 1, len(tail))) if tail[k].isupper() and not tail[k - 1].isupper()]
    if len(tail) > NARROW and cuts:
        tail = tail[: cuts[-1]] + SOFT + tail[cuts[-1] :]
    return f"{head}:{SOFT}{tail}" if colon else tail


def write_csv(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write dicts with the same keys as CSV: numbers in full, None as an empty field."""
    columns = list(records[0]) if records else []
    files.write_text(path, files.csv_text(columns, ([_cell(record[key]) for key in columns] for record in records)))


def write_all(stem: Path, heading: str, notes: Sequence[str], tables: Sequence[Table]) -> list[Path]:
    """Write tables under one heading as <stem>.md, <stem>.tex and <stem>.html; return those paths."""
    tables = [_on_one_line(table) for table in tables]
    texts = {".md": _markdown, ".tex": _latex, ".html": _html}
    made = []
    for suffix, render in texts.items():
        path = stem.with_name(stem.name + suffix)
        files.write_text(path, render(heading, [*notes, f"{NOTICE}."], tables))
        made.append(path)
    return made


def _on_one_line(table: Table) -> Table:
    columns, *rows = [[joined(cell) for cell in row] for row in (table.columns, *table.rows)]
    return replace(table, title=joined(table.title), columns=tuple(columns), rows=rows)


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    # Ten digits are past what is measured, and hide the last bits, in which libraries differ between processors.
    return f"{value:.10g}" if isinstance(value, float) else value


def _markdown(heading: str, notes: Sequence[str], tables: Sequence[Table]) -> str:
    parts = [f"# {_markdown_cell(heading)}", *(_markdown_cell(note) for note in notes)]
    for table in tables:
        parts += [f"## {_markdown_cell(table.title)}", markdown_table(table)]
        parts += [_markdown_cell(table.words_below)] if table.words_below else []
    return "\n\n".join(parts) + "\n"


def markdown_table(table: Table) -> str:
    """Return the rows of a table in Markdown, without its title."""
    from tabulate import tabulate

    align = ["left" if index in table.words else "right" for index in range(len(table.columns))]
    cells = [[_markdown_cell(cell) for cell in row] for row in table.rows]
    head = [_markdown_cell(column) for column in table.columns]
    return tabulate(cells, head, tablefmt="pipe", colalign=align, disable_numparse=True)


def _markdown_cell(text: str) -> str:
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

    # A column of duplicates (two classes cut alike) must survive, so the frame is made from rows.
    return pd.DataFrame(table.rows, columns=list(table.columns), dtype=object)
