"""The report: one HTML page that holds everything, needs nothing else, and says what is missing."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from utils import comparison_tables as views
from utils import files
from utils.compare_models import Comparison
from utils.errors import LeukoBenchError
from utils.tables import Table
from visualization import comparison as figures
from visualization import report_notes as notes
from visualization import style

TEMPLATE = Path(__file__).parent / "templates" / "report.html"


@dataclass(frozen=True)
class Picture:
    """A drawn figure of the page."""

    anchor: str
    title: str
    words: str
    data: str  # base64 of the PNG


@dataclass
class Section:
    """A part of one comparison: tables and pictures under a heading."""

    anchor: str
    title: str
    words: str = ""
    tables: list[tuple[str, Table]] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


@dataclass(frozen=True)
class Part:
    """Everything the page says about one test set."""

    anchor: str
    title: str
    notes: list[str]
    sections: list[Section]
    missing: list[str]
    commands: list[str]
    origin: str


def write_report(comparisons: Sequence[Comparison], path: Path, root: Path) -> Path:
    """Write comparisons as one self-contained HTML page and return its path; the same runs give the same bytes.

    Args:
        comparisons: of all runs; each stands in a part of its own.
        path: HTML file to write.
        root: folder of the runs, for the commands that the page shows.

    Raises:
        LeukoBenchError: a run is damaged, or the file cannot be written.
    """
    from jinja2 import Environment, FileSystemLoader

    parts = [_part(group, f"set{k}", root) for k, group in enumerate(comparisons, 1)]
    environment = Environment(loader=FileSystemLoader(TEMPLATE.parent), autoescape=True, trim_blocks=True)
    environment.filters["joined"] = lambda text: " ".join(str(text).split())
    template = environment.get_template(TEMPLATE.name)
    page = template.render(parts=parts, notice=style.NOTICE, citation=notes.citation(comparisons))
    files.write_text(path, "\n".join(line.rstrip() for line in page.splitlines() if line.strip()) + "\n")
    return path


def _part(comparison: Comparison, anchor: str, root: Path) -> Part:
    sections = [_tables(comparison, anchor)]
    explained, damaged = figures.explained(comparison)
    missing = [*notes.missing(comparison), *damaged]
    by_title: dict[str, Section] = {}
    for drawing in (*figures.drawings(comparison), *figures.heatmap_drawings(explained)):
        try:
            figure = drawing.draw()
        except LeukoBenchError as error:
            missing.append(f"{drawing.title}: {error}")
            continue
        if figure is None:
            continue
        name = f"{anchor}-{style.slug(drawing.section).lower()}"
        section = by_title.setdefault(drawing.section, Section(name, drawing.section))
        data = base64.b64encode(style.png(figure)).decode("ascii")
        section.pictures.append(Picture(f"{anchor}-{drawing.name}", drawing.title, drawing.words, data))
    settings = Section(f"{anchor}-settings", "Settings of each run", "config.json and environment.json of the runs.")
    settings.tables = [("", table) for table in notes.settings(comparison)]
    sections += [*by_title.values(), settings]
    return Part(
        anchor, comparison.title, views.about(comparison), sections, missing, notes.commands(comparison, root),
        notes.origin(comparison.dataset),
    )  # fmt: skip


def _tables(comparison: Comparison, anchor: str) -> Section:
    shown = [
        (views.quality(comparison), "Best accuracy first. Initial weights: where training started; a model that starts "
         "from ImageNet has seen over a million photographs before. Models that start differently are not "
         "compared on equal terms."),
        (views.averages(comparison), "Macro: every class counts alike. Weighted: every image counts alike. Log loss: "
         "how far the probabilities are from the truth, 0 is perfect; confident mistakes cost most."),
        (views.training(comparison), "To best epoch: until the epoch whose weights were kept. Peak: the most memory "
         "that training took, of which importing TensorFlow alone takes the last column. Saved by reuse: seconds "
         "not spent, because the images went through the frozen base only once."),
        (views.cost(comparison), "Median and 95th percentile of the time for a single image; images a second in "
         "batches of 32; FLOPs are the multiplications and additions for one image."),
        (views.per_class(comparison), "Images: how many test images the class has. A dash: not defined, as the class "
         "has no test image."),
    ]  # fmt: skip
    if comparison.seeds:
        words = "Training again with another seed gives another result; differences below the spread mean nothing."
        shown.append((views.seeds(comparison), words))
    shown += [(table, "") for table in views.machines(comparison)]
    shown.append((views.runs(comparison), "Seed: the number that all chance of a training was drawn from."))
    section = Section(f"{anchor}-tables", "Tables")
    section.tables = [(words, table) for table, words in shown]
    return section
