"""Every figure of a comparison, in the order in which the report shows them, with the words that go with them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data import manifest as manifests
from utils import heatmap_methods
from utils.errors import LeukoBenchError
from utils.metrics import predictions
from utils.runs import stress_file
from utils.runs.comparison import Comparison
from utils.runs.run_folder import HEATMAPS
from utils.tables import significance as significance_tables
from visualization import compared_runs as members
from visualization import style
from visualization.architecture import diagram
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

OF_IMAGES = ("samples", "mistakes-", "gradcam-panel")  # beginnings of the files that show images of the dataset


@dataclass(frozen=True)
class Drawing:
    """One figure that can be drawn.

    Attributes:
        name: stem of its file.
        section: part of the report it belongs to.
        title: what it shows.
        words: how to read it.
        draw: makes the figure; None where the images or the manifest that it needs are not at hand.
    """

    name: str
    section: str
    title: str
    words: str
    draw: "Callable[[], Figure | None]"


def draw_all(comparison: Comparison, folder: Path) -> tuple[list[Path], list[str]]:
    """Draw every figure of a comparison and the shared heatmaps, and remove from the folder what was not drawn.

    What cannot be made again here is kept: without the manifest or the images all figures that show images, also those
    of runs that are not compared now.

    Returns:
        The files, and one line for each thing that was left out or kept.

    Raises:
        LeukoBenchError: the folder cannot be written.
    """
    runs, damaged = explained(comparison)
    notes = [f"left out of the heatmaps: {problem}" for problem in damaged]
    bare = [s for s in members.subjects(comparison) if not s.run.file(HEATMAPS).is_file()]
    if runs and bare:
        how = ", ".join(f"{s.name} (python run_guide.py explain {s.run.id})" for s in bare)
        notes.append(f"not among the heatmaps, as they are not explained: {how}")
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
        notes.append(
            f"kept in {folder}, as the images or the manifest that they need are not at hand: {', '.join(kept)}"
        )
    return made, notes


def explained(comparison: Comparison) -> tuple[list[members.Subject], list[str]]:
    """Return the runs whose heatmaps can be read, and one sentence for each run whose heatmaps are damaged."""
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
    """Return the figures of a comparison without the heatmaps, undrawn."""
    all_of_them, about = members.subjects(comparison), members.about(comparison)
    yield from _of_scores(all_of_them, about)
    yield from _of_honesty(comparison, all_of_them, about)
    yield from _of_matrices(all_of_them, about)
    yield from _of_curves(all_of_them, about)
    yield from _of_architectures(all_of_them)
    yield from _of_data(comparison)


def heatmap_drawings(runs: Sequence[members.Subject]) -> Iterator[Drawing]:
    """Return the shared panel and the examples of runs that have been explained, undrawn."""
    yield from _panel(runs)
    for subject in runs:
        held = heatmap_overlay.read(subject.run)
        for method in dict.fromkeys(h.method for h in held if h.purpose == "example"):
            of_method = [h for h in held if h.method == method]
            unsure = any(h.purpose == "unsure" for h in of_method)  # older heatmaps have none
            kinds, least = "right and wrong", ""
            if unsure:
                kinds, least = "right, wrong and unsure", ", the one whose two likeliest classes were nearest"
            yield Drawing(
                f"examples-{style.slug(subject.name)}-{style.slug(method)}", "Where the models looked",
                f"{subject.name}: {kinds} examples, {heatmap_methods.title(method)}",
                "For each class the image that the model was surest about and got right, the one that it was surest "
                f"about and got wrong{least}; each beside its heatmap.{_caution([(subject, of_method)])}",
                lambda subject=subject, method=method: dict(heatmap_sheets.examples(subject.run, subject.name)).get(
                    method
                ),
            )  # fmt: skip


def _panel(runs: Sequence[members.Subject]) -> Iterator[Drawing]:
    shown = [(subject, found) for subject in runs if (found := heatmap_overlay.read(subject.run, "panel"))]
    if shown:
        yield Drawing(
            "gradcam-panel", "Where the models looked", "Where the models looked, on the same images",
            "Yellow marks what spoke for the predicted class, under each picture; in an attention rollout, what "
            "reached the class token. A model that reads the cells lights up the nucleus; one that lights up the "
            f"background, the edge or a corner reads something else, however accurate it is.{_caution(shown)}",
            lambda: heatmap_sheets.panel(runs),
        )  # fmt: skip


def _caution(shown: Sequence[tuple[members.Subject, Sequence[heatmap_overlay.Heatmap]]]) -> str:
    """Return what a reader must know where heatmaps come from a coarse grid; otherwise ""."""
    layers = {(subject.run.id, h.layer): subject.run for subject, found in shown for h in found}
    grids = {heatmap_overlay.grid_of(run, layer) for (_, layer), run in layers.items()}
    coarse = sorted(grid for grid in grids if heatmap_overlay.coarse(grid))
    if not coarse:
        return ""
    return f" {heatmap_overlay.grid_words(coarse[0])}: a grid this coarse cannot tell a cell from its background."


def _of_scores(subjects: list[members.Subject], about: str) -> Iterator[Drawing]:
    section = "Scores"
    yield Drawing(
        "accuracy", section, "Accuracy with its interval",
        "The share of test images that were named rightly. Another test set of the same size would give somewhat "
        "other numbers; the bar is the range in which the true accuracy lies with 95 % confidence. Where two bars "
        "overlap widely, the order of the two models may be luck. The scale is enlarged.",
        lambda: scores.draw_accuracy(subjects, about),
    )  # fmt: skip
    yield Drawing(
        "metrics", section, "Several scores at once",
        "Balanced accuracy and the macro scores count every class alike, however few images it has. Precision: of the "
        "images named so, how many are. Recall: of the images that are, how many were named so. F1 is high only where "
        "both are. AUC: how well the probabilities rank the right class above the others.",
        lambda: scores.draw_bars(subjects, about),
    )  # fmt: skip
    yield Drawing(
        "radar", section, "The same as a radar",
        "Each spoke is one score, outer is better. A dent shows what a model is weak at. The centre is not zero: the "
        "title says where it starts.",
        lambda: scores.draw_radar(subjects, about),
    )  # fmt: skip
    yield Drawing(
        "class-f1", section, "F1 of every class",
        "Dark cells are the classes that a model finds hard. A dash: the class has no test image and was never named.",
        lambda: per_class_f1.draw(subjects, about),
    )  # fmt: skip
    yield Drawing(
        "tradeoff", section, "Accuracy against time",
        "Up is better, left is cheaper. The time axes are logarithmic: each step right multiplies the time. Times "
        "depend on the machine, which the tables name.",
        lambda: accuracy_vs_cost.draw(subjects, about),
    )  # fmt: skip


def _of_honesty(comparison: Comparison, subjects: list[members.Subject], about: str) -> Iterator[Drawing]:
    standings = significance_tables.standings(comparison)
    if len(standings) > 1:
        yield Drawing(
            "significance", "Scores", "Models that cannot be told apart",
            "Models with a dot on one bar cannot be told apart by these test images: their order may be luck.",
            lambda: significance.draw(standings, about),
        )  # fmt: skip
    if any(stress_file.read(subject.run) for subject in subjects):
        yield Drawing(
            "stress", "Scores", "All models under stress",
            "The same test images, changed. The further a mark lies to the left, the more the change costs.",
            lambda: stress.comparison(subjects, about),
        )  # fmt: skip


def _of_matrices(subjects: list[members.Subject], about: str) -> Iterator[Drawing]:
    section = "Confusion matrices"
    if len(subjects) > 1:
        yield Drawing(
            "confusion", section, "All models side by side",
            "Rows are what the images are, columns what the model said, in percent of the row. The diagonal is right; "
            "every coloured cell beside it is a habit of confusing two classes.",
            lambda: confusion_matrix.draw_together(subjects, about),
        )  # fmt: skip
    for subject in subjects:
        yield Drawing(
            f"confusion-{style.slug(subject.name)}", section, subject.name,
            "The left or upper matrix counts images; the other one shows percent of each true class.",
            lambda subject=subject: confusion_matrix.draw(
                confusion_matrix.ConfusionDisplay.from_predictions(subject.table, subject.name), about
            ),
        )  # fmt: skip
    for subject in subjects:
        if predictions.cell(subject.table).empty:
            continue
        yield Drawing(
            f"mistakes-{style.slug(subject.name)}", "Mistakes", f"Mistakes of {subject.name}",
            "The wrong answers that the model was surest of come first: what they have in common says more than "
            "their number.",
            lambda subject=subject: mistake_sheets.draw_mistakes(subject, about),
        )  # fmt: skip


def _of_curves(subjects: list[members.Subject], about: str) -> Iterator[Drawing]:
    section = "Curves"
    yield Drawing(
        "training", section, "Accuracy and loss over the epochs",
        "An epoch is one pass over the training images. The star is the epoch whose weights were kept, chosen on the "
        "validation images alone. Training that goes on improving while validation does not is overfitting.",
        lambda: training_curves.draw(subjects, members.about_training(subjects)),
    )  # fmt: skip
    yield Drawing(
        "roc", section, "ROC curves",
        "Each class against all others: how many of its images are found (up) when so many others are wrongly taken "
        "for it (right). The nearer to the upper left corner the better; the dotted line is guessing.",
        lambda: roc_pr_curves.draw(subjects, about, "roc"),
    )  # fmt: skip
    yield Drawing(
        "precision-recall", section, "Precision-recall curves",
        "How pure the found images stay (up) while more of the class is found (right). For rare classes this is "
        "stricter than ROC. AP is the area under the curve.",
        lambda: roc_pr_curves.draw(subjects, about, "pr"),
    )  # fmt: skip


def _of_architectures(subjects: list[members.Subject]) -> Iterator[Drawing]:
    for subject in {subject.run.model: subject for subject in reversed(subjects)}.values():
        yield Drawing(
            f"architecture-{style.slug(subject.run.model)}", "Architectures", f"How {subject.run.model} is built",
            "Each box is a block of layers, with what it holds, the shape that leaves it (height, width, channels) and "
            f"its parameters. Every layer: python run_guide.py diagram {subject.run.id}",
            lambda subject=subject: diagram.overview(subject.run),
        )  # fmt: skip


def _of_data(comparison: Comparison) -> Iterator[Drawing]:
    path = members.manifest_of(comparison)
    manifest = manifests.read(path) if path else None
    splits = " and ".join(sorted({str(row["split"]) for row in comparison.rows}))
    about = f"split {splits}, {len(manifest.rows):,} images, {len(manifest.classes)} classes" if manifest else ""
    yield Drawing(
        "distribution", "Data", "Images by class and subset",
        "Models learn from the training images, the kept epoch is chosen on the validation images, and every score "
        "here comes from the test images, which no model saw before.",
        lambda: manifest
        and class_distribution.distribution(
            class_distribution.DistributionDisplay.from_manifest(manifest, comparison.dataset), about
        ),
    )  # fmt: skip
    yield Drawing(
        "samples", "Data", "Samples of every class",
        "Training images, picked without looking at them.",
        lambda: manifest
        and sample_sheets.sample_sheet(
            comparison.dataset, sample_sheets.samples_of(manifest),
            sample_sheets.about_samples(manifest, f"split {splits}"),
        ),
    )  # fmt: skip
