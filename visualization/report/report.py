"""The report: one self-contained HTML page with all results, and a list of what is missing."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data import manifest as manifests
from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import leaderboard as leaderboards
from utils.runs.comparison import Comparison
from utils.tables import comparison_views as views
from utils.tables import leaderboard as leaderboard_tables
from utils.tables import recipes as recipes_tables
from utils.tables.baseline_vs_best import DEFAULT
from utils.tables.table import Table, joined
from visualization import compared_runs as members
from visualization import style
from visualization.displays import leaderboard
from visualization.displays.class_distribution import DistributionDisplay
from visualization.report import figure_catalogue as figures
from visualization.report import provenance as notes
from visualization.report import published_claims, validity_sections

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FRONT = "Leaderboard"
QUALITY = 85  # of photographs, 0-100
TEMPLATE = Path(__file__).with_name("report.html")
IN_SETTINGS = ("hyperparameters",)  # views shown in the section of settings


@dataclass(frozen=True)
class Picture:
    """A drawn figure of the page."""

    anchor: str
    title: str
    words: str
    data: str  # base64 of the WebP


@dataclass
class Section:
    """Paragraphs, tables and pictures under a heading."""

    anchor: str
    title: str
    words: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


@dataclass(frozen=True)
class Part:
    """All results on one test set."""

    anchor: str
    title: str
    notes: list[str]
    sections: list[Section]
    missing: list[str]
    commands: list[str]
    origin: str


@dataclass(frozen=True)
class _Ranked:
    """Rows of the leaderboard, its tables with those of the recipes, and a line for each run that was left out."""

    rows: list[dict[str, Any]]
    tables: list[Table]
    left_out: list[str]


def write_report(comparisons: Sequence[Comparison], path: Path, root: Path, baseline: str = DEFAULT) -> Path:
    """Write comparisons as one self-contained HTML page and return its path; the same runs give the same bytes.

    Args:
        comparisons: one for each test set; each has its own part.
        path: HTML file to write.
        root: folder of the runs, for the commands in the report.
        baseline: name of the run that the best one is compared with.

    Raises:
        LeukoBenchError: a run is damaged, or the file cannot be written.
    """
    from jinja2 import Environment, FileSystemLoader

    parts = [_part(group, f"set{k}", root, baseline) for k, group in enumerate(comparisons, 1)]
    # Published claims come once, after all measured results, and only with results on the same images.
    claims = (
        (published_claims.TITLE, published_claims.NOTE, published_claims.table())
        if any(map(published_claims.concerns, comparisons))
        else None
    )
    environment = Environment(loader=FileSystemLoader(TEMPLATE.parent), autoescape=True, trim_blocks=True)
    environment.filters["joined"] = lambda text: joined(str(text))
    template = environment.get_template(TEMPLATE.name)
    ranked = _ranked(comparisons)
    page = template.render(
        front=_front(ranked),
        meaning=leaderboard_tables.sentences(ranked.rows),
        unmeasured=[*leaderboard_tables.missing(ranked.rows), *ranked.left_out],
        parts=parts,
        notice=style.NOTICE,
        citation=notes.citation(comparisons),
        published=claims,
    )
    files.write_text(path, "\n".join(line.rstrip() for line in page.splitlines() if line.strip()) + "\n")
    return path


def _front(ranked: _Ranked) -> Section:
    """Return the leaderboard as the first section, with a figure for each dataset."""
    section = Section("leaderboard", FRONT, tables=ranked.tables)
    for k, dataset in enumerate(dict.fromkeys(row["dataset"] for row in ranked.rows), 1):
        figure = leaderboard.figure([row for row in ranked.rows if row["dataset"] == dataset])
        section.pictures.append(
            _picture(f"leaderboard-{k}", f"{leaderboard.TITLE}: {dataset}", leaderboard.WORDS, figure)
        )
    return section


def _picture(anchor: str, title: str, words: str, figure: "Figure") -> Picture:
    return Picture(anchor, title, words, base64.b64encode(_webp(figure)).decode("ascii"))


def _webp(figure: "Figure") -> bytes:
    """Return a figure as WebP bytes: lossy for photographs, lossless for other figures."""
    from PIL import Image

    drawn, packed = Image.open(io.BytesIO(style.png(figure))), io.BytesIO()
    photographs = any(axes.images for axes in figure.axes)
    drawn.save(packed, "WEBP", quality=QUALITY if photographs else 50, lossless=not photographs, method=4)
    return packed.getvalue()


def _add(section: Section, drawing: figures.Drawing, anchor: str, missing: list[str]) -> None:
    """Draw a figure into a section; note the reason where it cannot be drawn."""
    try:
        figure = drawing.draw()
    except LeukoBenchError as error:
        missing.append(f"{drawing.title}: {error}")
        return
    if figure is not None:
        section.pictures.append(_picture(f"{anchor}-{drawing.name}", drawing.title, drawing.words, figure))


def _part(comparison: Comparison, anchor: str, root: Path, baseline: str) -> Part:
    shown, missing = views.views(comparison, baseline), notes.missing(comparison, root)
    explained, damaged = figures.explained(comparison)
    missing += damaged
    sections = []
    drawings = [*figures.drawings(comparison)]
    for topic in validity_sections.topics(comparison, shown, drawings):
        sections.append(Section(f"{anchor}-{style.slug(topic.title).lower()}", topic.title, topic.words, topic.tables))
        for drawing in topic.drawings:
            _add(sections[-1], drawing, anchor, missing)
    sections.append(Section(f"{anchor}-tables", "Tables", tables=_measured(shown)))
    by_title: dict[str, Section] = {}
    drawings = [drawing for drawing in drawings if drawing.name not in validity_sections.FIGURES]
    for drawing in (*drawings, *figures.heatmap_drawings(explained)):
        name = f"{anchor}-{style.slug(drawing.section).lower()}"
        _add(by_title.setdefault(drawing.section, Section(name, drawing.section)), drawing, anchor, missing)
    by_title = {title: section for title, section in by_title.items() if section.pictures}
    if images := _images(comparison):
        by_title.setdefault("Data", Section(f"{anchor}-data", "Data")).tables += images
    settings = Section(
        f"{anchor}-settings", "Settings of each run", ["From config.json and environment.json of the runs."]
    )
    settings.tables = notes.settings(comparison)
    sections += [*by_title.values(), settings]
    return Part(
        anchor,
        comparison.title,
        views.about(comparison),
        sections,
        missing,
        notes.commands(comparison, root),
        notes.origin(comparison.dataset),
    )


def _ranked(comparisons: Sequence[Comparison]) -> _Ranked:
    """Return the leaderboard of the comparisons' datasets, over every finished run of their roots.

    Raises:
        LeukoBenchError: a result file of a run is damaged.
    """
    roots = sorted({run.root for comparison in comparisons for run in comparison.runs})
    datasets = {comparison.dataset for comparison in comparisons}
    found = [leaderboards.read(root) for root in roots]
    records = [record for each, _ in found for record in each if record.row["dataset"] in datasets]
    rows = leaderboards.rows(records)
    tables = [*leaderboard_tables.shown(rows), *recipes_tables.shown(recipes_tables.rows(records))]
    return _Ranked(rows, tables, [problem for _, problems in found for problem in problems])


def _measured(views: dict[str, list[Table]]) -> list[Table]:
    """Return the tables of a comparison's views that no other section shows."""
    elsewhere = (*IN_SETTINGS, *validity_sections.VIEWS)
    return [table for name, tables in views.items() if name not in elsewhere for table in tables]


def _images(comparison: Comparison) -> list[Table]:
    """Return images by class and subset from the manifest; [] where it is missing."""
    path = members.manifest_of(comparison)
    if path is None:
        return []
    display = DistributionDisplay.from_manifest(manifests.read(path), comparison.dataset)
    names = [style.subset_name(subset) for subset in display.counts]
    total = sum(display.totals.values())
    rows = [
        [label, *(f"{counts[label]:,}" for counts in display.counts.values()), f"{n:,}", f"{100 * n / total:.1f}"]
        for label, n in display.totals.items()
    ]
    shares = list(display.shares.values())
    rows.append(["All", *(f"{n:,}" for n in shares), f"{total:,}", "100.0"])
    rows.append(["% of all", *(f"{100 * n / total:.1f}" for n in shares), "100.0", ""])
    return [Table("Number of images by class and subset", ("Class", *names, "All", "% of all"), rows)]
