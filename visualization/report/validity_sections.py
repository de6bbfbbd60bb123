"""What the report asks before it shows any score: the audit of the images, stress, chance, confidence, heatmaps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from data.auditing import audit as audits
from data.auditing import audit_tables
from utils.runs import calibration_file, faithfulness_file, shortcuts_file, stress_file
from utils.runs.comparison import Comparison
from utils.runs.run_folder import Run
from utils.tables import faithfulness as faithfulness_tables
from utils.tables import shortcuts as shortcuts_tables
from utils.tables import stress as stress_tables
from utils.tables.table import Table
from visualization import compared_runs as members
from visualization import style
from visualization.compared_runs import Subject
from visualization.displays import audit, faithfulness, reliability, risk_coverage, stress
from visualization.report.figure_catalogue import Drawing

AUDIT, STRESS, CHANCE = "Audit of the images", "Under stress", "Is the difference more than chance?"
CONFIDENCE, HEATMAPS = "Confidence", "Are the heatmaps worth anything?"
# Views of a comparison that stand in these sections; all others are the report's tables.
OF_CHANCE, OF_CONFIDENCE, OF_STRESS = ("significance", "pairs", "intervals"), ("calibration",), ("stress",)
FIGURES = ("significance", "stress")  # of a comparison, that stand in these sections
LADDER = (
    "Each mark is a baseline that needs no network: how often it names the class from so little. Squares are given no "
    "stained cell; circles are given the whole image, and keep only its colours or a thumbnail of 16 x 16 pixels."
)
GROUPS = "Each bar is a group of images, of one patient or of one stain and light; the colours are its classes."
VIEWS = (*OF_CHANCE, *OF_CONFIDENCE, *OF_STRESS)


@dataclass(frozen=True)
class Topic:
    """One question, with what answers it.

    Attributes:
        title: of its section.
        words: what is asked and how to read the answer, paragraphs.
        tables, drawings: the answer; a topic without any is not shown.
    """

    title: str
    words: list[str]
    tables: list[Table]
    drawings: list[Drawing]


def topics(comparison: Comparison, views: dict[str, list[Table]], drawings: Sequence[Drawing] = ()) -> list[Topic]:
    """Return the topics that files of the runs, or of their root, have something for.

    Args:
        comparison: of runs with the same test images.
        views: its tables by the names of `comparison_tables.VIEWS`.
        drawings: its figures, of which those of FIGURES stand here.

    Raises:
        LeukoBenchError: one of the files is damaged; the line names it.
    """
    found = members.subjects(comparison)
    own = {drawing.name: [drawing] for drawing in drawings if drawing.name in FIGURES}
    made = [
        _audit(comparison),
        _stress(found, _tables(views, OF_STRESS), own.get("stress", [])),
        Topic(CHANCE, [], _tables(views, OF_CHANCE), own.get("significance", [])),
        _confidence(found, _tables(views, OF_CONFIDENCE)),
    ]
    return [topic for topic in (*made, _heatmaps(found)) if topic.tables or topic.drawings]


def _tables(views: dict[str, list[Table]], names: Sequence[str]) -> list[Table]:
    return [table for name in names for table in views.get(name, [])]


def _audit(comparison: Comparison) -> Topic:
    """Return the shortcut baselines of the runs' own splits, and what an audit found of one of these splits."""
    asked = "Can the class be told without the shape of a single cell? Then a network may do the same, and its "
    words, tables, drawings = [], [], []
    splits = sorted({(run.root, *split_of(run)) for run in comparison.runs})
    for root, manifest, split in splits:
        audited = audits.read(root, comparison.dataset)
        if audited and audited.manifest != manifest:  # what it counted of its split is not true of this one
            counted = "Copies, overlapping fields and groups of images were counted on split"
            words.append(f"{counted} {audited.split}, not on this one.")
            audited = None
        rungs = shortcuts_file.read(root, manifest) or (audited.ladder if audited else [])
        if rungs:
            about = f"split {split}" + (f" ({manifest[:8]})" if len(splits) > 1 else "")
            said = shortcuts_tables.verdict(rungs).sentences
            words += said if len(splits) == 1 else [f"{about.capitalize()}. {' '.join(said)}"]
            tables.append(shortcuts_tables.table(rungs, f"Shortcut baselines, {about}"))
            drawn = partial(audit.ladder, rungs, comparison.dataset, split)
            drawings.append(
                Drawing(f"audit-ladder-{manifest}", AUDIT, f"Ladder of the shortcuts, {about}", LADDER, drawn)
            )
        if audited:
            words += audit_tables.sentences(audited)[len(audited.verdict.sentences) :]
            tables += [audit_tables.leaks(audited), audit_tables.groups(audited)]
            drawn = partial(audit.groups, audited)
            drawings.append(Drawing(f"audit-groups-{manifest}", AUDIT, "Groups of images", GROUPS, drawn))
    return Topic(AUDIT, list(dict.fromkeys([f"{asked}accuracy proves nothing.", *words])), tables, drawings)


def split_of(run: Run) -> tuple[str, str]:
    """Return the hash of a run's manifest, and its split in words."""
    return run.environment()["manifest"], run.config().get("split", "")


def _stress(subjects: Sequence[Subject], tables: list[Table], compared: list[Drawing]) -> Topic:
    stressed = [subject for subject in subjects if stress_file.read(subject.run)]
    drawings = [*compared]
    for subject in stressed:
        said = " ".join(stress_tables.sentences(subject.run, stress_file.read(subject.run)))
        drawings.append(
            Drawing(
                f"stress-{style.slug(subject.name)}", STRESS, f"{subject.name} under stress", said,
                partial(stress.figure, subject.run, subject.name),
            )
        )  # fmt: skip
    asked = (
        "The same test images, changed in ways that leave the cells as they are: another stain, no colour, blur. "
        "Whoever reads the cells should answer as before. Cells removed is the control, where a low accuracy is right."
    )
    return Topic(STRESS, [asked], tables, drawings)


def _confidence(subjects: Sequence[Subject], tables: list[Table]) -> Topic:
    drawings = [each for subject in subjects for each in _of_confidence(subject)]
    asked = (
        "When a model says 90 %, is it right nine times of ten? And how often is it right if it answers only when sure?"
    )
    return Topic(CONFIDENCE, [asked], tables, drawings)


def _of_confidence(subject: Subject) -> Iterator[Drawing]:
    """Return the figures of a run that was calibrated: every run would be too many for the page."""
    if not subject.run.file(calibration_file.FILE).is_file():
        return
    found = calibration_file.measure(subject.run)
    yield Drawing(
        f"reliability-{style.slug(subject.name)}", CONFIDENCE, f"{subject.name}: can its confidence be believed?",
        "On the diagonal the model is right as often as it says.",
        partial(reliability.draw, subject.run, found["temperature"]),
    )  # fmt: skip
    yield Drawing(
        f"risk-{style.slug(subject.name)}", CONFIDENCE, f"{subject.name}: answering only where it is sure",
        "To the left it answers few images, the surest; up is the share of these answers that is wrong.",
        partial(risk_coverage.draw, subject.run, found["selective"]),
    )  # fmt: skip


def _heatmaps(subjects: Sequence[Subject]) -> Topic:
    tables, drawings = [], []
    for subject in subjects:
        if subject.run.file(faithfulness_file.FILE).is_file():
            rows = faithfulness_file.read(subject.run)
            configured = subject.run.config().get("heatmap_method", "gradcam")
            said = " ".join(faithfulness_tables.sentences(rows, configured))
            tables.append(faithfulness_tables.table(rows, f"Heatmaps of {subject.name}"))
            drawings.append(
                Drawing(
                    f"faithfulness-{style.slug(subject.name)}", HEATMAPS, f"Faithfulness of {subject.name}'s heatmaps",
                    said, partial(faithfulness.figure, subject.run),
                )
            )  # fmt: skip
    asked = (
        "A heatmap is a claim about what the answer rests on. Here the claim is tried: does the answer go when the "
        "marked places go, and does the map change when the network forgets what it learned?"
    )
    return Topic(HEATMAPS, [asked], tables, drawings)
