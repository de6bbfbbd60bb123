"""Dataset variants next to the original images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from data.imaging.variants import Variant, apply
from visualization import style
from visualization.images import thumbnails

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

SIDE = 168  # pixels of an image's longer side: large enough to see the edge of a nucleus


@dataclass(frozen=True)
class Example:
    """One row of a sheet: (h, w, 3) uint8 RGB pixels, and a caption: the first line beside it, the rest below."""

    pixels: "np.ndarray"
    caption: str


def variant_sheet(examples: Sequence[Example], variants: Sequence[Variant], title: str, about: str) -> "Figure":
    """Draw one row for each image: the original, then each variant, computed at full size and shown smaller.

    Raises:
        LeukoBenchError: a stain normalisation has no reference.
    """
    figure = style.new_figure(max(5, 1.5 * (len(variants) + 1) + 0.4), 1.62 * len(examples) + 1.0)
    with style.applied():
        for k, (axes_row, example) in enumerate(
            zip(figure.subplots(len(examples), len(variants) + 1, squeeze=False), examples, strict=True)
        ):
            for axes, variant in zip(axes_row, (Variant(), *variants), strict=True):
                thumbnails.show(axes, _small(apply(variant, example.pixels)))
                if not k:
                    axes.set_title(_column(variant), fontsize=9.5)
            first, _, rest = example.caption.partition("\n")
            axes_row[0].set_ylabel(style.wrap(first, 14), fontsize=10)
            axes_row[0].set_xlabel(rest, fontsize=7, labelpad=2)
    style.set_heading(figure, title, about)
    return figure


def _column(variant: Variant) -> str:
    if variant.name == "rgb":
        return "Original"
    return variant.label.replace("clahe", "CLAHE") if variant.name == "clahe" else variant.label.capitalize()


def _small(pixels: "np.ndarray") -> "np.ndarray":
    import numpy as np
    from PIL import Image

    side = min(SIDE, max(pixels.shape[:2]))
    return np.asarray(thumbnails.fit(Image.fromarray(pixels), side))
