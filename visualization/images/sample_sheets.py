"""Sheets of example images: of the classes of a dataset, or by how a run answered."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from utils.runs.run_folder import Run
from visualization import style
from visualization.displays import confusion_matrix
from visualization.images import thumbnails as pictures

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = 6
MOST = 60  # images of a sheet; the table lists all


def file_name(subset: str, outcome: str, label: str) -> str:
    """Return the name of a sheet's file: "samples-test-wrong-Early.png"."""
    return style.slug("-".join(filter(None, ("samples", subset, outcome, label or "each-class")))) + ".png"


def draw_predicted(run: Run, table: "pd.DataFrame", title: str, path: Path) -> Path | None:
    """Draw images of a run's predictions with their labels, answers and probabilities; return the file.

    Args:
        run: whose dataset holds the images.
        table: rows as `utils.outcomes.ranked` returns them; the first MOST are drawn.
        title: what they are.
        path: PNG to write.

    Returns:
        The path; None where none of the images is at hand.

    Raises:
        LeukoBenchError: the folder cannot be written.
    """
    config = run.config()
    about = f"{config['dataset']}, split {config['split']}{_cut(len(table))}"
    figure = confusion_matrix.draw_images(run, table, title, about, MOST)
    return style.save(figure, path) if figure else None


def draw_samples(dataset: str, images: Mapping[str, Sequence[str]], title: str, path: Path) -> Path | None:
    """Draw images of a dataset by class, "<Class>/<file>" each; otherwise as `draw_predicted`."""
    rows = [(label, image) for label, each in images.items() for image in each]
    columns = min(COLUMNS, max((len(each) for each in images.values()), default=1))
    thumbnails: list[pictures.Thumbnail | None] = []
    last = ""
    for label, image in rows[:MOST]:
        if label != last:  # each class begins a row
            thumbnails += [None] * (-len(thumbnails) % columns)
        last = label
        words = f"{style.short(label, 20)}\n{style.short(PurePosixPath(image).stem, 26)}"
        thumbnails.append(pictures.Thumbnail(pictures.of_dataset(dataset, image), words))
    if all(thumbnail is None or thumbnail.pixels is None for thumbnail in thumbnails):
        return None
    return style.save(pictures.sheet(thumbnails, title, f"{style.NOTICE}{_cut(len(rows))}", columns), path)


def _cut(count: int) -> str:
    return f", the first {MOST} of {count} are shown" if count > MOST else ""
