"""Thumbnails of images, and sheets of them; a missing image is no error."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils import paths
from utils.errors import LeukoBenchError
from visualization import style

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

    from data.imaging.variants import Variant

SIDE = 112  # pixels of a thumbnail's longer side


@dataclass(frozen=True)
class Thumbnail:
    """One image of a sheet with its caption; `pixels` is None where the image is not available."""

    pixels: "np.ndarray | None"
    caption: str
    colour: str = "black"


def load(path: Path, side: int = SIDE, variant: "Variant | None" = None) -> "np.ndarray | None":
    """Read an image as (h, w, 3) uint8 RGB whose longer side is `side` pixels; None where it cannot be read.

    Args:
        path: image file.
        side: pixels of the longer side.
        variant: dataset variant to apply, as the model does; None for none.
    """
    import numpy as np
    from PIL.Image import fromarray

    from data.datasets.image_decoder import open_rgb

    try:
        picture = open_rgb(path)
    except (LeukoBenchError, OSError):
        return None
    if variant is not None and variant.name != "rgb":
        from data.imaging.variants import apply

        picture = fromarray(apply(variant, np.asarray(picture)))
    return np.asarray(fit(picture, side))


def fit(picture: "Image", side: int, enlarged: int | None = None) -> "Image":
    """Resize a Pillow image so that its longer side has `side` pixels.

    Args:
        picture: any size.
        side: pixels of the longer side.
        enlarged: Pillow's resampling for smaller images; the default, nearest neighbour, shows no detail that the
            model never saw.
    """
    from PIL.Image import Resampling

    factor = side / max(picture.size)
    size = tuple(max(1, round(length * factor)) for length in picture.size)
    return picture.resize(size, Resampling.LANCZOS if factor < 1 else enlarged or Resampling.NEAREST)


def of_dataset(dataset: str, image: str, side: int = SIDE, variant: "Variant | None" = None) -> "np.ndarray | None":
    """Read an image of a dataset as `load` does."""
    return load(paths.raw_dir(dataset) / image, side, variant)


def of_datasets(
    datasets: Sequence[str], image: str, side: int = SIDE, variant: "Variant | None" = None
) -> "np.ndarray | None":
    """Read an image from the first of several datasets that has it, as `load` does."""
    return next((p for dataset in datasets if (p := of_dataset(dataset, image, side, variant)) is not None), None)


def variant_of(config: dict[str, Any]) -> "Variant | None":
    """Return the dataset variant in the configuration of a run; None for plain RGB and in older runs.

    Raises:
        LeukoBenchError: there is no such variant.
    """
    from pydantic import ValidationError

    from data.imaging.variants import NAMES, Variant

    value = config.get("variant")
    if not value:
        return None
    try:
        variant = Variant.model_validate(value)
    except ValidationError:
        raise LeukoBenchError(f"Field 'variant' received {value!r}; valid names: {', '.join(NAMES)}.") from None
    return None if variant.name == "rgb" else variant


def seen_as(variant: "Variant | None") -> str:
    """Return the part of a subtitle that names the variant of the images; "" for plain RGB."""
    return f", seen as {variant.label}" if variant else ""


def show(axes: "Axes", pixels: "np.ndarray | None", missing: str = "image not\navailable") -> None:
    """Draw an image without ticks, or a text where it is not available."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if pixels is not None:
        axes.imshow(pixels, interpolation="antialiased")
        return
    axes.set_aspect("equal")
    axes.set_facecolor("#f2f2f2")
    axes.text(0.5, 0.5, missing, ha="center", va="center", fontsize=8, color=style.GREY, transform=axes.transAxes)


def sheet(thumbnails: Sequence[Thumbnail | None], title: str, about: str, columns: int = 6) -> "Figure":
    """Draw thumbnails with their captions, row by row; None leaves a cell empty."""
    rows, columns = style.grid(len(thumbnails), columns)
    lines = max((t.caption.count("\n") + 1 for t in thumbnails if t), default=1)
    figure = style.new_figure(max(6, 1.75 * columns), 0.9 + rows * (1.65 + 0.17 * lines))
    with style.applied():
        cells = figure.subplots(rows, columns, squeeze=False).flat
        for axes, thumbnail in zip_longest(cells, thumbnails):
            if thumbnail is None:
                axes.set_axis_off()
                continue
            show(axes, thumbnail.pixels)
            axes.set_title(thumbnail.caption, fontsize=8, color=thumbnail.colour, fontweight="normal")
    style.set_heading(figure, title, about)
    return figure
