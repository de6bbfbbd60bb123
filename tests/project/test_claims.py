"""The claims of the documents: the file and the column that each one rests on exist.

A reference is "(file: [words](path), column: NAME)" in a sentence, or a row of a table with the columns "File" and
"Column". Several columns are separated by commas. ", row: NAME = VALUE" after the columns names rows of a long table.
Columns of a JSON file are its keys, with dots between levels.
"""

import json
import re

import pytest

from utils.io import files
from utils.paths import PROJECT

REFERENCE = re.compile(
    r"\(file:\s+\[[^\]]*\]\(([^)]+)\),\s+columns?:\s+([^;()]+?)(?:,\s+rows?:\s+([^;()=]+?)\s*=\s*([^;()]+?))?\)"
)
PAGES = [PROJECT / "README.md", PROJECT / "docs" / "results" / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
CLAIMS = PROJECT / "docs" / "honest-benchmarking.md"
SECTION = "## Results"  # of CLAIMS: each of its points needs a reference


def references(text):
    """Return (path, columns, name of the row's column or "", its value) of each reference of a page."""
    found = [
        (path, names(columns), *(" ".join((part or "").replace("`", "").split()) for part in row))
        for path, columns, *row in REFERENCE.findall(text)
    ]
    assert len(found) == len(re.findall(r"\(file:", text)), "a reference that cannot be read"
    header = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if not cells or not header:
            header = cells if {"File", "Column"} <= {*cells} else []
        elif set(line) - set("|-: "):
            row = dict(zip(header, cells, strict=True))
            (path,) = re.findall(r"\]\(([^)]+)\)", row["File"])
            found.append((path, names(row["Column"]), "", ""))
    return found


def names(cell):
    return [" ".join(part.replace("`", "").split()) for part in cell.split(",")]


def broken(page):
    """Return what is gone of the references of a page, in words."""
    gone = []
    for path, columns, key, value in references(page.read_text(encoding="utf-8")):
        file = page.parent / path
        if not file.is_file():
            gone.append(f"{path}: no such file")
            continue
        rows = [flat(json.loads(file.read_text()))] if file.suffix == ".json" else files.read_csv(file, ())
        meant = [row for row in rows if not key or row.get(key) == value]
        lacking = [name for name in columns if name not in rows[0]]
        gone += [f"{path}: no column {name}" for name in lacking]
        if not meant:
            gone.append(f"{path}: no row {key} = {value}")
        elif not lacking and all(row[name] in ("", None) for row in meant for name in columns):
            gone.append(f"{path}: no value in {', '.join(columns)}")
    return gone


def flat(value, before=""):
    """Return the values of nested dicts by their keys with dots between levels."""
    if not isinstance(value, dict):
        return {before: value}
    levels = [{before: value} if before else {}]
    levels += [flat(below, f"{before}.{name}" if before else name) for name, below in value.items()]
    return {name: each for level in levels for name, each in level.items()}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_the_file_and_column_of_each_claim_exist(page):
    assert broken(page) == []


def test_each_point_of_the_results_names_its_file_and_column():
    text = CLAIMS.read_text(encoding="utf-8").split(f"\n{SECTION}\n")[1].split("\n## ")[0]
    points = re.split(r"\n(?=- )", text)[1:]
    assert len(points) >= 8
    assert [point[:60] for point in points if not references(point)] == []


LINE = "It is high (file: [a table](t.csv), column: `high`)."
TABLE = "| Measure | File | Column |\n|---|---|---|\n| a | [t](t.csv) | `low`, `high` |\n\n| other | table |\n"


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        (LINE, []),
        (TABLE, []),
        ("(file: [j](j.json),\n  columns: a.b, a)", []),
        ("(file: [t](t.csv), column: high, row: `kind` = far off)", []),
        (LINE.replace("t.csv", "u.csv"), ["u.csv: no such file"]),
        (LINE.replace("`high`", "width"), ["t.csv: no column width"]),
        (TABLE.replace("`low`", "`lowest`"), ["t.csv: no column lowest"]),
        ("(file: [j](j.json), column: a.c)", ["j.json: no column a.c"]),
        ("(file: [t](t.csv), column: high, row: kind = near)", ["t.csv: no row kind = near"]),
        ("(file: [t](t.csv), column: empty)", ["t.csv: no value in empty"]),
    ],
)
def test_what_is_gone_is_found(tmp_path, text, gone):
    (tmp_path / "t.csv").write_text("kind,low,high,empty\nfar off,1,2,\n")
    (tmp_path / "j.json").write_text('{"a": {"b": 1}}')
    (tmp_path / "page.md").write_text(text)
    assert broken(tmp_path / "page.md") == gone


def test_a_reference_that_cannot_be_read_is_an_error():
    with pytest.raises(AssertionError, match="cannot be read"):
        references("(file: t.csv, column: high)")
