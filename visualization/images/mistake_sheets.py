"""Sheets of the test images behind a cell of a confusion matrix, and of the mistakes of a model."""

from pathlib import Path
from typing import TYPE_CHECKING

from utils.metrics import predictions
from utils.runs import split_spec
from utils.runs.run_folder import Run
from visualization import style
from visualization.compared_runs import Subject
from visualization.images import thumbnails as thumbnail_images

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SHEET = 24  # images on a sheet of mistakes


def misclassified_sheet(run: Run, true: str, predicted: str, folder: Path, subset: str = "test") -> Path | None:
    """Draw the images of one cell of the confusion matrix, worst first, and return the file.

    Args:
        run: a finished run.
        true: class name, or "" for every other class than `predicted`.
        predicted: class name, or "" for every other class than `true`.
        folder: for the file.
        subset: "test", "val" or a further test set.

    Returns:
        The PNG; None where the cell is empty or none of its images is available.
    """
    cell = predictions.cell(run.predictions(subset), true, predicted)
    what = f"{true or 'Any class'} predicted as {predicted or 'another class'}"
    config = run.config()
    about = f"{config['dataset']}, {split_spec.words(config['split'])}, {style.subset_name(subset)} images"
    shown = f"{min(len(cell), SHEET)} of {len(cell)}" if len(cell) > SHEET else f"{len(cell)}"
    figure = draw_images(run, cell, f"{run.label()}: {what}", f"{about}, {shown} shown")
    name = f"images-{subset}-{true or 'any'}-as-{predicted or 'another'}"
    return style.save(figure, folder / f"{style.slug(name)}.png") if figure else None


def draw_mistakes(subject: Subject, about: str) -> "Figure | None":
    """Draw the mistakes of a model, most confident first; None where there are none or no image is available."""
    cell = predictions.cell(subject.table)
    shown = min(len(cell), SHEET // 2)
    title = f"Mistakes of {subject.name}, most confident first"
    return draw_images(subject.run, cell[:shown], title, f"{about}, {shown} of {len(cell)} mistakes")


def draw_images(run: Run, cell: "pd.DataFrame", title: str, about: str, most: int = SHEET) -> "Figure | None":
    """Draw the first images of a table of `predictions.cell`, in the run's variant; None without any image."""
    config, thumbnails = run.config(), []
    dataset, variant = config["dataset"], thumbnail_images.variant_of(config)
    for row in cell[:most].to_dict("records"):
        label, answer = row["label"], row["predicted"]
        sure = row[predictions.PREFIX + answer]
        words = f"true: {style.short(label, 20)}\npredicted: {style.short(answer, 15)}\np = {sure:.3f}"
        colour = style.RIGHT if label == answer else style.WRONG
        thumbnails.append(
            thumbnail_images.Thumbnail(
                thumbnail_images.of_dataset(dataset, row["image"], variant=variant), words, colour
            )
        )
    if all(thumbnail.pixels is None for thumbnail in thumbnails):
        return None
    return thumbnail_images.sheet(thumbnails, title, f"{about}{thumbnail_images.seen_as(variant)}. {style.NOTICE}")
