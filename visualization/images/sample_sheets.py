"""Sheets of example images: by class of a dataset, or by outcome of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from utils.runs import split_spec
from utils.runs.run_folder import Run
from visualization import style
from visualization.images import mistake_sheets
from visualization.images import thumbnails as thumbnail_images

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from data.manifest import Manifest

COLUMNS = 6
MOST = 60  # images of a sheet; the table lists all
PER_CLASS = 6  # images of a class on the sheet of a dataset
TRIES = 4  # files to try for each image shown, where some cannot be read


def file_name(subset: str, outcome: str, label: str) -> str:
    """Return the name of a sheet's file: "samples-test-wrong-Early.png"."""
    return style.slug("-".join(filter(None, ("samples", subset, outcome, label or "each-class")))) + ".png"


def draw_predicted(run: Run, table: "pd.DataFrame", title: str, path: Path) -> Path | None:
    """Draw predicted images with label, prediction and probability; return the file.

    Args:
        run: of the predictions.
        table: rows of `utils.metrics.prediction_ranking.ranked`; the first MOST are drawn.
        title: of the sheet.
        path: PNG to write.

    Returns:
        The path; None where none of the images is available.

    Raises:
        LeukoBenchError: the folder cannot be written.
    """
    config = run.config()
    about = f"{config['dataset']}, {split_spec.words(config['split'])}{_cut(len(table))}"
    figure = mistake_sheets.draw_images(run, table, title, about, MOST)
    return style.save(figure, path) if figure else None


def draw_samples(dataset: str, images: Mapping[str, Sequence[str]], title: str, path: Path) -> Path | None:
    """Draw images of a dataset by class, "<Class>/<file>" each; otherwise as `draw_predicted`."""
    rows = [(label, image) for label, each in images.items() for image in each]
    columns = min(COLUMNS, max((len(each) for each in images.values()), default=1))
    thumbnails: list[thumbnail_images.Thumbnail | None] = []
    last = ""
    for label, image in rows[:MOST]:
        if label != last:  # each class starts a row
            thumbnails += [None] * (-len(thumbnails) % columns)
        last = label
        words = f"{style.short(label, 20)}\n{style.short(PurePosixPath(image).stem, 26)}"
        thumbnails.append(thumbnail_images.Thumbnail(thumbnail_images.of_dataset(dataset, image), words))
    if all(thumbnail is None or thumbnail.pixels is None for thumbnail in thumbnails):
        return None
    return style.save(thumbnail_images.sheet(thumbnails, title, f"{style.NOTICE}{_cut(len(rows))}", columns), path)


def sample_sheet(dataset: str, images: dict[str, Sequence[str]], about: str) -> "Figure | None":
    """Draw one row of images for each class.

    Args:
        dataset: folder below data/raw.
        images: candidates by class, "<Class>/<file>"; the first readable ones are shown.
        about: subtitle.

    Returns:
        The figure; None where no image is available.
    """
    rows = {name: _readable(dataset, candidates) for name, candidates in images.items()}
    if not any(rows.values()):
        return None
    columns = max(len(row) for row in rows.values())
    figure = style.new_figure(max(5, 1.45 * columns + 0.6), 1.5 * len(rows) + 0.8)
    with style.applied():
        for axes_row, (name, thumbnails) in zip(
            figure.subplots(len(rows), columns, squeeze=False), rows.items(), strict=True
        ):
            for k, axes in enumerate(axes_row):
                if k < len(thumbnails) or k == 0:
                    thumbnail_images.show(axes, thumbnails[k] if thumbnails else None)
                else:
                    axes.set_axis_off()
            axes_row[0].set_ylabel(style.wrap(name, 14), fontsize=10)
    style.set_heading(figure, f"Samples of {dataset}", about)
    return figure


def _readable(dataset: str, candidates: Sequence[str]) -> list:
    found = []
    for image in candidates[: PER_CLASS * TRIES]:
        pixels = thumbnail_images.of_dataset(dataset, image)
        if pixels is not None:
            found.append(pixels)
            if len(found) == PER_CLASS:
                break
    return found


def samples_of(manifest: "Manifest", subset: str | None = "train") -> dict[str, list[str]]:
    """Return the images of a subset (None: of all) by class, sorted by their hashes (an arbitrary but fixed order)."""
    rows = sorted(manifest.rows if subset is None else manifest.subset(subset), key=lambda row: row.sha256)
    return {name: [row.image for row in rows if row.label == name] for name in manifest.classes}


def about_samples(manifest: "Manifest", split: str) -> str:
    """Return the subtitle of a sheet of training images: their number and the split."""
    return f"{len(manifest.subset('train')):,} training images, {split}, {len(manifest.classes)} classes"


def _cut(count: int) -> str:
    return f", the first {MOST} of {count} are shown" if count > MOST else ""
