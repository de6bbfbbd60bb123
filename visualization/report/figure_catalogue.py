"""Every figure of a comparison in the order of the report, with title and caption."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from data import manifest as manifests
from utils import heatmap_methods
from utils.errors import LeukoBenchError
from utils.metrics import predictions
from utils.runs import split_spec, stress_file
from utils.runs.comparison import Comparison
from utils.runs.run_folder import HEATMAPS
from utils.tables import significance as significance_tables
from visualization import compared_runs as members
from visualization import style
from visualization.architecture import diagram
from visualization.compared_runs import Subject
from visualization.displays import (
    accuracy_vs_cost,
    class_distribution,
    confusion_matrix,
    per_class_f1,
    roc_pr_curves,
    scores,
    significance,
    stress,
    training_curves,
)
from visualization.images import heatmap_overlay, heatmap_sheets, mistake_sheets, sample_sheets

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OF_IMAGES = ("samples", "mistakes-", "gradcam-panel")  # file name prefixes of figures that show images of the dataset
# Captions by figure name.
WORDS = {
    "accuracy": (
        "Share of test images that were predicted correctly. The bar is the 95 % confidence interval. Where the "
        "intervals of two models overlap widely, their order may be chance. The scale is enlarged."
    ),
    "metrics": (
        "Balanced accuracy and the macro scores weight every class equally, whatever its number of images. Precision: "
        "share of the images predicted as a class that belong to it. Recall: share of the images of a class that were "
        "predicted as it. F1 is high only where both are. AUC: how well the probabilities rank the true class."
    ),
    "radar": "Each axis is one score, outer is better. The centre is not zero; the title gives its value.",
    "class-f1": "Dark cells are difficult classes. A dash: the class has no test image and was never predicted.",
    "tradeoff": "Up is better, left is faster. The time axes are logarithmic. Times depend on the machine.",
    "significance": "Models with a dot on one bar do not differ significantly on these test images.",
    "stress": "The same test images, perturbed. The further left a marker, the larger the loss of accuracy.",
    "confusion": (
        "Rows are true classes, columns predicted ones, in percent of the row. The diagonal is correct; a dark cell "
        "off the diagonal is a frequent confusion."
    ),
    "training": (
        "An epoch is one pass over the training images. The star is the epoch whose weights were kept, chosen on the "
        "validation images only. Training that improves while validation does not is overfitting."
    ),
    "roc": (
        "Each class against the others: true positive rate (up) against false positive rate (right). Closer to the "
        "upper left corner is better; the dotted line is random guessing."
    ),
    "precision-recall": (
        "Precision (up) against recall (right) of each class. For rare classes this is stricter than ROC. AP is the "
        "area under the curve."
    ),
    "distribution": (
        "Models are trained on the training images, the kept epoch is chosen on the validation images, and every score "
        "is computed on the test images."
    ),
    "samples": "Training images, chosen by hash.",
}
ONE_MATRIX = "The left or upper matrix shows counts, the other one percent of each true class."
MISTAKES = "Wrong predictions, most confident first. Look for what they have in common."
ARCHITECTURE = (
    "Each box is a block of layers with its content, its output shape (height, width, channels) and its parameters. "
    "Every layer: python run_guide.py diagram {}"
)
EXAMPLES = "For each class the most confident correct image and the most confident wrong one{}, each with its heatmap."
PANEL = (
    "Yellow marks evidence for the predicted class, given under each image; in an attention rollout, the influence on "
    "the class token. A model that uses the cells highlights the nuclei; one that highlights the background, the edge "
    "or a corner uses something else, whatever its accuracy."
)


@dataclass(frozen=True)
class Drawing:
    """One figure that can be drawn.

    Attributes:
        name: stem of its file.
        section: of the report.
        title: above the figure.
        words: caption.
        draw: draws the figure; returns None where the images or the manifest are not available.
    """

    name: str
    section: str
    title: str
    words: str
    draw: "Callable[[], Figure | None]"


def draw_all(comparison: Comparison, folder: Path) -> tuple[list[Path], list[str]]:
    """Draw every figure of a comparison and the shared heatmaps, and remove from the folder what was not drawn.

    Files that cannot be drawn again are kept: without the manifest or the images, all figures that show images, also
    those of runs outside the comparison.

    Returns:
        The files, and one line for each figure that was left out or kept.

    Raises:
        LeukoBenchError: the folder cannot be written.
    """
    runs, damaged = explained(comparison)
    notes = [f"left out of the heatmaps: {problem}" for problem in damaged]
    unexplained = [s for s in members.subjects(comparison) if not s.run.file(HEATMAPS).is_file()]
    if runs and unexplained:
        how = ", ".join(f"{s.name} (python run_guide.py explain {s.run.id})" for s in unexplained)
        notes.append(f"not in the heatmap panel, not explained yet: {how}")
    made, lost = [], set()
    for drawing in (*drawings(comparison), *_panel(runs)):
        figure = drawing.draw()
        if figure is None:
            lost.add(f"{drawing.name}.png")
        else:
            made.append(style.save(figure, folder / f"{drawing.name}.png"))
    kept = []
    for path in sorted(set(folder.glob("*.png")) - set(made)):
        if path.name in lost or (lost and path.name.startswith(OF_IMAGES)):
            kept.append(path.name)
        else:
            path.unlink(missing_ok=True)
    if kept:
        notes.append(f"kept in {folder}, as their images or manifest are not available: {', '.join(kept)}")
    return made, notes


def explained(comparison: Comparison) -> tuple[list[Subject], list[str]]:
    """Return the runs with readable heatmaps, and one sentence for each run with damaged ones."""
    found, problems = [], []
    for subject in members.subjects(comparison):
        if subject.run.file(HEATMAPS).is_file():
            try:
                heatmap_overlay.read(subject.run)
            except LeukoBenchError as error:
                problems.append(str(error))
            else:
                found.append(subject)
    return found, problems


def drawings(comparison: Comparison) -> Iterator[Drawing]:
    """Return the figures of a comparison without the heatmaps, not drawn yet."""
    subjects, about = members.subjects(comparison), members.about(comparison)
    yield from _score_drawings(subjects, about)
    yield from _validity_drawings(comparison, subjects, about)
    yield from _matrix_drawings(subjects, about)
    yield from _curve_drawings(subjects, about)
    yield from _architecture_drawings(subjects)
    yield from _data_drawings(comparison)


def heatmap_drawings(runs: Sequence[Subject]) -> Iterator[Drawing]:
    """Return the shared panel and the examples of explained runs, not drawn yet."""
    yield from _panel(runs)
    for subject in runs:
        heatmaps = heatmap_overlay.read(subject.run)
        for method in dict.fromkeys(h.method for h in heatmaps if h.purpose == "example"):
            of_method = [h for h in heatmaps if h.method == method]
            unsure = any(h.purpose == "unsure" for h in of_method)  # older heatmaps have none
            kinds = "correct, wrong and unsure" if unsure else "correct and wrong"
            words = EXAMPLES.format(", and the least confident one" if unsure else "") + _caution(
                [(subject, of_method)]
            )
            name = f"examples-{style.slug(subject.name)}-{style.slug(method)}"
            title = f"{subject.name}: {kinds} examples, {heatmap_methods.title(method)}"
            yield Drawing(name, "Heatmaps", title, words, partial(_examples, subject, method))


def _examples(subject: Subject, method: str) -> "Figure | None":
    return dict(heatmap_sheets.examples(subject.run, subject.name)).get(method)


def _panel(runs: Sequence[Subject]) -> Iterator[Drawing]:
    shown = [(subject, found) for subject in runs if (found := heatmap_overlay.read(subject.run, "panel"))]
    if shown:
        draw = partial(heatmap_sheets.panel, runs)
        yield Drawing("gradcam-panel", "Heatmaps", "Heatmaps on the same images", PANEL + _caution(shown), draw)


def _caution(shown: Sequence[tuple[Subject, Sequence[heatmap_overlay.Heatmap]]]) -> str:
    """Return a warning where heatmaps come from a coarse grid; otherwise ""."""
    layers = {(subject.run.id, h.layer): subject.run for subject, found in shown for h in found}
    grids = {heatmap_overlay.grid_of(run, layer) for (_, layer), run in layers.items()}
    coarse = sorted(grid for grid in grids if heatmap_overlay.coarse(grid))
    if not coarse:
        return ""
    return f" {heatmap_overlay.grid_words(coarse[0])}: a grid this coarse cannot separate a cell from its background."


def _score_drawings(subjects: list[Subject], about: str) -> Iterator[Drawing]:
    for name, title, draw in (
        ("accuracy", "Accuracy with its interval", scores.draw_accuracy),
        ("metrics", "Several scores", scores.draw_bars),
        ("radar", "The same scores as a radar chart", scores.draw_radar),
        ("class-f1", "F1 of every class", per_class_f1.draw),
        ("tradeoff", "Accuracy against time", accuracy_vs_cost.draw),
    ):
        yield Drawing(name, "Scores", title, WORDS[name], partial(draw, subjects, about))


def _validity_drawings(comparison: Comparison, subjects: list[Subject], about: str) -> Iterator[Drawing]:
    standings = significance_tables.standings(comparison)
    if len(standings) > 1:
        draw = partial(significance.draw, standings, about)
        title = "Models without a significant difference"
        yield Drawing("significance", "Scores", title, WORDS["significance"], draw)
    if any(stress_file.read(subject.run) for subject in subjects):
        draw = partial(stress.comparison, subjects, about)
        yield Drawing("stress", "Scores", "All models under stress", WORDS["stress"], draw)


def _matrix_drawings(subjects: list[Subject], about: str) -> Iterator[Drawing]:
    section = "Confusion matrices"
    if len(subjects) > 1:
        draw = partial(confusion_matrix.draw_together, subjects, about)
        yield Drawing("confusion", section, "All models side by side", WORDS["confusion"], draw)
    for subject in subjects:
        name = f"confusion-{style.slug(subject.name)}"
        yield Drawing(name, section, subject.name, ONE_MATRIX, partial(_matrix, subject, about))
    for subject in subjects:
        if not predictions.cell(subject.table).empty:
            name, title = f"mistakes-{style.slug(subject.name)}", f"Mistakes of {subject.name}"
            yield Drawing(name, "Mistakes", title, MISTAKES, partial(mistake_sheets.draw_mistakes, subject, about))


def _matrix(subject: Subject, about: str) -> "Figure":
    display = confusion_matrix.ConfusionDisplay.from_predictions(subject.table, subject.name)
    return confusion_matrix.draw(display, about)


def _curve_drawings(subjects: list[Subject], about: str) -> Iterator[Drawing]:
    def training() -> "Figure":
        return training_curves.draw(subjects, members.about_training(subjects))

    yield Drawing("training", "Curves", "Accuracy and loss over the epochs", WORDS["training"], training)
    for name, title, kind in (
        ("roc", "ROC curves", "roc"),
        ("precision-recall", "Precision-recall curves", "pr"),
    ):
        yield Drawing(name, "Curves", title, WORDS[name], partial(roc_pr_curves.draw, subjects, about, kind))


def _architecture_drawings(subjects: list[Subject]) -> Iterator[Drawing]:
    for model, subject in {subject.run.model: subject for subject in reversed(subjects)}.items():
        words = ARCHITECTURE.format(subject.run.id)
        name, draw = f"architecture-{style.slug(model)}", partial(diagram.overview, subject.run)
        yield Drawing(name, "Architectures", f"Architecture of {model}", words, draw)


def _data_drawings(comparison: Comparison) -> Iterator[Drawing]:
    path = members.manifest_of(comparison)
    manifest = manifests.read(path) if path else None
    splits = split_spec.words(*(row["split"] for row in comparison.rows))

    def distribution() -> "Figure | None":
        if manifest is None:
            return None
        about = f"{splits}, {len(manifest.rows):,} images, {len(manifest.classes)} classes"
        display = class_distribution.DistributionDisplay.from_manifest(manifest, comparison.dataset)
        return class_distribution.distribution(display, about)

    def samples() -> "Figure | None":
        if manifest is None:
            return None
        about = sample_sheets.about_samples(manifest, splits)
        return sample_sheets.sample_sheet(comparison.dataset, sample_sheets.samples_of(manifest), about)

    yield Drawing("distribution", "Data", "Images by class and subset", WORDS["distribution"], distribution)
    yield Drawing("samples", "Data", "Samples of every class", WORDS["samples"], samples)
