"""Dataset variants: preprocessing of an image's pixels, identical in training, evaluation, export and serving."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from utils.errors import LeukoBenchError

if TYPE_CHECKING:
    import numpy as np

Name = Literal["rgb", "clahe", "gray", "masked", "nuclei", "reinhard", "macenko", "no_bar"]
NAMES: tuple[str, ...] = get_args(Name)
DESCRIPTIONS = {
    "rgb": "the unchanged image",
    "clahe": "local contrast of lightness equalised, colours kept",
    "gray": "luminance only, no colour",
    "masked": "nucleated cells only, on white, contrast enhanced",
    "nuclei": "nuclei only, on white",
    "reinhard": "mean and spread of the colours matched to a reference image",
    "macenko": "the two stains replaced by those of a reference image",
    "no_bar": "the corner of the scale bar painted over",
}
STATISTICS = {"reinhard": 6, "macenko": 11}  # numbers that describe a reference
CONTRAST = ("clahe", "masked")  # variants that use CLAHE
SMALL = 64  # longer side in pixels at which mean colours are measured


class Variant(BaseModel):
    """The preprocessing of every image of a run; a string stands for the name with default settings.

    Attributes:
        name: one of NAMES.
        clip: contrast limit of CLAHE, for `clahe` and `masked`.
        tiles: CLAHE equalises tiles x tiles parts of the image.
        reference: target image of the dataset, "<Class>/<file>", for `reinhard` and `macenko`.
        statistics: of the reference's stain, so that the image is not needed again: 6 numbers of `reinhard_statistics`
            or 11 of `macenko_statistics`, see `stain_normalization`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name = "rgb"
    clip: float = Field(2.0, gt=0, le=100)  # 2 and 8 x 8 are usual, also in the published DenseNet-121
    tiles: int = Field(8, ge=1, le=64)
    reference: str = ""
    statistics: tuple[float, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_statistics(self) -> Self:
        wanted = STATISTICS.get(self.name, 0)
        if len(self.statistics) not in (0, wanted) or not all(map(math.isfinite, self.statistics)):
            raise ValueError(f"statistics of '{self.name}' are {wanted} finite numbers, not {list(self.statistics)}")
        return self

    @property
    def label(self) -> str:
        """Name of the variant in tables, with CLAHE settings that are not the defaults."""
        plain = Variant(name=self.name)
        if self.name not in CONTRAST or (self.clip, self.tiles) == (plain.clip, plain.tiles):
            return self.name
        return f"{self.name} {self.clip:g}, {self.tiles} x {self.tiles}"


def apply(variant: Variant, image: "np.ndarray") -> "np.ndarray":
    """Apply a variant to an image, as a pure function.

    Args:
        variant: see `Variant`.
        image: (h, w, 3) uint8 RGB of any size from one pixel; it is not modified.

    Returns:
        (h, w, 3) uint8 RGB.

    Raises:
        LeukoBenchError: the image has another shape or type, or a stain normalisation lacks its reference.
    """
    import numpy as np

    from data.imaging import nucleus_segmentation, scene_ops, stain_normalization

    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise LeukoBenchError(
            f"Variant '{variant.name}' got an array of shape {image.shape} and type {image.dtype}: "
            "give RGB pixels of shape (height, width, 3) and type uint8."
        )
    if needs_reference(variant) and not variant.statistics:
        raise LeukoBenchError(
            f"Variant '{variant.name}' has no reference image: set one of the dataset, as training does."
        )
    if variant.name == "rgb":
        return image
    image = np.ascontiguousarray(image)
    if variant.name == "clahe":
        return enhance(image, variant.clip, variant.tiles)
    if variant.name == "gray":
        return gray(image)
    if variant.name == "nuclei":
        return nucleus_segmentation.cut_out(image, nucleus_segmentation.nucleus_mask(image))
    if variant.name == "masked":
        return nucleus_segmentation.cut_out(
            enhance(image, variant.clip, variant.tiles), nucleus_segmentation.cell_mask(image)
        )
    if variant.name == "no_bar":
        return scene_ops.paint_over_bar(image)
    if variant.name == "reinhard":
        return stain_normalization.reinhard(image, variant.statistics)
    return stain_normalization.macenko(image, variant.statistics)


def needs_reference(variant: Variant) -> bool:
    """Say whether a variant needs a reference image."""
    return variant.name in STATISTICS


def with_reference(variant: Variant, image: "np.ndarray", name: str) -> Variant:
    """Return the variant with the statistics of a reference image, (h, w, 3) uint8 RGB, and its name.

    A variant that needs no reference is returned unchanged.

    Raises:
        LeukoBenchError: two stains cannot be separated in the image.
    """
    if not needs_reference(variant):
        return variant
    import numpy as np

    from data.imaging import stain_normalization

    image = np.ascontiguousarray(image)
    if variant.name == "reinhard":
        statistics = stain_normalization.reinhard_statistics(image)
    else:
        statistics = stain_normalization.macenko_statistics(image)
    if statistics is None:
        raise LeukoBenchError(
            f"{name} cannot be the reference of '{variant.name}': two stains cannot be separated in it. Choose another."
        )
    return variant.model_copy(update={"reference": name, "statistics": statistics})


def choose_reference(paths: Sequence[Path | str]) -> int:
    """Return the index of the image whose mean colour in LAB is nearest the median of all images.

    The first of equals is taken. A typical image makes the reference a function of the training set alone.

    Raises:
        LeukoBenchError: there are no images, or one cannot be read.
    """
    import numpy as np

    if not paths:
        raise LeukoBenchError("There are no images to choose a reference from: give at least one.")
    means = np.array([_mean_colour(Path(path)) for path in paths])
    distances = ((means - np.median(means, axis=0)) ** 2).sum(axis=1)
    return int(distances.argmin())


def _mean_colour(path: Path) -> "np.ndarray":
    import numpy as np

    from data.datasets.image_decoder import open_rgb
    from data.imaging import stain_normalization

    image = open_rgb(path)
    image.thumbnail((SMALL, SMALL))
    return stain_normalization.to_lab(np.array(image)).reshape(-1, 3).mean(axis=0, dtype=np.float64)


def enhance(image: "np.ndarray", clip: float = 2.0, tiles: int = 8) -> "np.ndarray":
    """Equalise the lightness of (h, w, 3) uint8 RGB locally in LAB, keeping a and b (CLAHE, Zuiderveld 1994).

    A side with fewer pixels than tiles has as many tiles as pixels.
    """
    import cv2

    lightness, a, b = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2LAB))
    height, width = image.shape[:2]
    grid = (min(tiles, width), min(tiles, height))
    lightness = cv2.createCLAHE(clipLimit=clip, tileGridSize=grid).apply(lightness)
    return cv2.cvtColor(cv2.merge([lightness, a, b]), cv2.COLOR_LAB2RGB)


def gray(image: "np.ndarray") -> "np.ndarray":
    """Return the luminance (ITU-R BT.601) of (h, w, 3) uint8 RGB on three equal channels."""
    import cv2

    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
