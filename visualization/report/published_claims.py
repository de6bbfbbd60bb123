"""Published results of others on these images: context, never in one table with results of this project.

`published.csv` holds one claim per row, as stated by its source: model, dataset, metric, claimed (the value as text),
subset, split, images, preprocessing, source (author, title, publication), link, remark. Claims without a citable
source are not listed.
"""

from collections.abc import Mapping
from pathlib import Path

from data import all_dataset as known
from utils.io import files
from utils.runs.comparison import Comparison
from utils.runs.records import images_by_class
from utils.tables import writers
from utils.tables.table import Table
from utils.text import MISSING

PATH = Path(__file__).parent / "published.csv"
COLUMNS = (
    "model",
    "dataset",
    "metric",
    "claimed",
    "subset",
    "split",
    "images",
    "preprocessing",
    "source",
    "link",
    "remark",
)
NAME = "published"  # stem of the written files
TITLE = "Published by others, not measured here"
NOTE = (
    "Splits, images and preparation differ from each other and from this project's: none of these figures stands in a "
    "ranking with the measured ones. Where a split was made by image, pictures of one patient are on both sides."
)


def claims() -> list[dict[str, str]]:
    """Read every claim as a dict of COLUMNS.

    Raises:
        LeukoBenchError: the file is missing or damaged.
    """
    return files.read_csv(PATH, COLUMNS)


def concerns(comparison: Comparison) -> bool:
    """Return whether a comparison is on the ALL dataset, by its name or by its image counts.

    Raises:
        LeukoBenchError: a run lost its configuration, or its manifest is damaged.
    """
    run = comparison.runs[0]
    if set(run.config()["classes"]) != set(known.PUBLISHED):
        return False
    return comparison.dataset == known.NAME or images_by_class(run) == known.PUBLISHED


def short_table() -> Table:
    """Return claims and protocols in 80 columns; see `sources` for the references."""
    rows = [
        [str(k), *(_wrap(text, width) for text, width in zip(_short(claim), (16, 10, 38), strict=True))]
        for k, claim in enumerate(claims(), 1)
    ]
    return Table(TITLE, ("No.", "Model", "Claimed", "Measured on"), rows, frozenset({1, 2, 3}))


def sources() -> list[str]:
    """Return one numbered line for each claim: source, link and remark."""
    return [
        f"{k}. " + ". ".join(text for text in (claim["source"], claim["link"], claim["remark"]) if text) + "."
        for k, claim in enumerate(claims(), 1)
    ]


def table() -> Table:
    """Return every claim with all its fields; a dash where the source states nothing."""
    heads = tuple(name.capitalize() for name in COLUMNS)
    rows = [[_stated(claim[name]) for name in COLUMNS] for claim in claims()]
    return Table(TITLE, heads, rows, frozenset(range(len(heads))))


def write(folder: Path) -> list[Path]:
    """Write the claims as published.csv, .md, .tex and .html into a folder; return the paths.

    Raises:
        LeukoBenchError: the folder cannot be written.
    """
    return writers.write_all(folder / NAME, TITLE, [NOTE], [table()], claims())


def _short(claim: Mapping[str, str]) -> tuple[str, str, str]:
    parts = (f"{key}: {_stated(claim[key])}" for key in ("subset", "split", "images", "preprocessing"))
    return claim["model"], f"{claim['metric']} {claim['claimed']}", "; ".join((claim["dataset"], *parts))


def _stated(text: str) -> str:
    return MISSING if not text or text.startswith("not stated") else text


def _wrap(text: str, width: int) -> str:
    from textwrap import wrap

    return "\n".join(wrap(text, width, break_on_hyphens=False))
