"""Validity sections of the report: audit of the images, stress test, significance, confidence, heatmaps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from data.auditing import audit as audits
from data.auditing import audit_tables
from utils.runs import calibration_file, faithfulness_file, shortcuts_file, split_spec, stress_file
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

AUDIT, STRESS, CHANCE = "Audit of the images", "Stress test", "Significance of the differences"
CONFIDENCE, HEATMAPS = "Confidence", "Faithfulness of the heatmaps"
# Views of a comparison shown in these sections; all others are in the section of tables.
OF_CHANCE, OF_CONFIDENCE, OF_STRESS = ("significance", "pairs", "intervals"), ("calibration",), ("stress",)
FIGURES = ("significance", "stress")  # figures of a comparison shown in these sections
BASELINES = (
    "Each marker is a baseline without a network. Squares see no stained cell; circles see the whole image, but only "
    "its colours or a thumbnail of 16 x 16 pixels."
)
GROUPS = "Each bar is a group of images of one patient, or of similar stain and light; colours are classes."
VIEWS = (*OF_CHANCE, *OF_CONFIDENCE, *OF_STRESS)


@dataclass(frozen=True)
class Topic:
    """One section: a question with its answer.

    Attributes:
        title: of the section.
        words: paragraphs with the question and how to read the answer.
        tables, drawings: the answer; a topic without both is not shown.
    """

    title: str
    words: list[str]
    tables: list[Table]
    drawings: list[Drawing]


def topics(comparison: Comparison, views: dict[str, list[Table]], drawings: Sequence[Drawing] = ()) -> list[Topic]:
    """Return the topics for which the runs or their root hold files.

    Args:
        comparison: of runs with the same test images.
        views: its tables by the names of `comparison_views.VIEWS`.
        drawings: its figures; those of FIGURES are shown here.

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
    """Return the shortcut baselines of the runs' splits, and the audit of one of these splits."""
    question = "If the class can be predicted without the shape of any cell, a network may do the same, and its "
    words, tables, drawings = [], [], []
    splits = sorted({(run.root, *split_of(run)) for run in comparison.runs})
    for root, manifest, split in splits:
        audited = audits.read(root, comparison.dataset)
        if audited and audited.manifest != manifest:  # its counts are of another split
            counted = "Copies, overlapping fields and image groups were counted on"
            words.append(f"{counted} {split_spec.words(audited.split)}, not on this one.")
            audited = None
        baselines = shortcuts_file.read(root, manifest) or (audited.ladder if audited else [])
        if baselines:
            about = split_spec.words(split) + (f" ({manifest[:8]})" if len(splits) > 1 else "")
            sentences = shortcuts_tables.verdict(baselines).sentences
            words += sentences if len(splits) == 1 else [f"{about.capitalize()}. {' '.join(sentences)}"]
            tables.append(shortcuts_tables.table(baselines, f"Shortcut baselines, {about}"))
            drawn = partial(audit.shortcuts_figure, baselines, comparison.dataset, split)
            drawings.append(
                Drawing(
                    f"audit-ladder-{manifest}", AUDIT, f"Accuracy of the shortcut baselines, {about}", BASELINES, drawn
                )
            )
        if audited:
            words += audit_tables.sentences(audited)[len(audited.verdict.sentences) :]
            tables += [audit_tables.leaks(audited), audit_tables.groups(audited)]
            drawn = partial(audit.groups_figure, audited)
            drawings.append(Drawing(f"audit-groups-{manifest}", AUDIT, "Image groups", GROUPS, drawn))
    return Topic(AUDIT, list(dict.fromkeys([f"{question}accuracy proves nothing.", *words])), tables, drawings)


def split_of(run: Run) -> tuple[str, str]:
    """Return the hash of a run's manifest, and its split in words."""
    return run.environment()["manifest"], run.config().get("split", "")


def _stress(subjects: Sequence[Subject], tables: list[Table], compared: list[Drawing]) -> Topic:
    stressed = [subject for subject in subjects if stress_file.read(subject.run)]
    drawings = [*compared]
    for subject in stressed:
        sentences = " ".join(stress_tables.sentences(subject.run, stress_file.read(subject.run)))
        drawings.append(
            Drawing(
                f"stress-{style.slug(subject.name)}",
                STRESS,
                f"Stress test of {subject.name}",
                sentences,
                partial(stress.figure, subject.run, subject.name),
            )
        )
    question = (
        "The same test images, perturbed without changing the cells: another stain, no colour, blur. A model that uses "
        "the cells should keep its answers. Cells removed is the control, where the accuracy should be low."
    )
    return Topic(STRESS, [question], tables, drawings)


def _confidence(subjects: Sequence[Subject], tables: list[Table]) -> Topic:
    drawings = [each for subject in subjects for each in _of_confidence(subject)]
    question = (
        "Calibration: is a model that gives 90 % correct nine times in ten? Selective prediction: how often is it "
        "correct if it answers only when confident?"
    )
    return Topic(CONFIDENCE, [question], tables, drawings)


def _of_confidence(subject: Subject) -> Iterator[Drawing]:
    """Return the figures of a run with calibration.json; figures of every run would be too many."""
    if not subject.run.file(calibration_file.FILE).is_file():
        return
    found = calibration_file.measure(subject.run)
    yield Drawing(
        f"reliability-{style.slug(subject.name)}",
        CONFIDENCE,
        f"{subject.name}: reliability",
        "On the diagonal the accuracy equals the confidence.",
        partial(reliability.draw, subject.run, found["temperature"]),
    )
    yield Drawing(
        f"risk-{style.slug(subject.name)}",
        CONFIDENCE,
        f"{subject.name}: selective prediction",
        "Left: few images are answered, the most confident ones. Up: the share of wrong answers among them.",
        partial(risk_coverage.draw, subject.run, found["selective"]),
    )


def _heatmaps(subjects: Sequence[Subject]) -> Topic:
    tables, drawings = [], []
    for subject in subjects:
        if subject.run.file(faithfulness_file.FILE).is_file():
            rows = faithfulness_file.read(subject.run)
            configured = subject.run.config().get("heatmap_method", "gradcam")
            sentences = " ".join(faithfulness_tables.sentences(rows, configured))
            tables.append(faithfulness_tables.table(rows, f"Heatmaps of {subject.name}"))
            drawings.append(
                Drawing(
                    f"faithfulness-{style.slug(subject.name)}",
                    HEATMAPS,
                    f"Faithfulness of {subject.name}'s heatmaps",
                    sentences,
                    partial(faithfulness.figure, subject.run),
                )
            )
    question = (
        "Tests of the heatmaps: does the probability fall when the highlighted pixels are removed, and does the map "
        "change when the weights are randomised?"
    )
    return Topic(HEATMAPS, [question], tables, drawings)
