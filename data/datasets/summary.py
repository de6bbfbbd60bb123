"""What a dataset is made of: sizes, bytes, formats and mean colours of its images, and the same by class."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, pstdev
from typing import Any

from data.datasets import integrity_check
from data.manifest import Manifest
from utils.errors import LeukoBenchError
from utils.paths import raw_dir
from utils.runs import run_folder

Progress = Callable[[int, int], None]
SIDE = 32  # pixels to which an image is reduced before its colours are averaged, which changes no mean
CHANNELS = ("red", "green", "blue", "brightness")
# Of red, green and blue in the luma of ITU-R BT.601, which is what makes a picture grey.
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Measured:
    """One image of a dataset: its file and its mean red, green, blue and brightness, each in 0-255."""

    image: str
    format: str
    width: int
    height: int
    bytes: int
    red: float
    green: float
    blue: float
    brightness: float

    @property
    def label(self) -> str:
        """Class of the image, which is its folder."""
        return self.image.partition("/")[0]


def measure(dataset: str, progress: Progress = lambda done, total: None) -> list[Measured]:
    """Read every image of a dataset at reduced size and return what it is like, in image order.

    Raises:
        LeukoBenchError: images were changed since the dataset was indexed, or one cannot be read.
    """
    rows = sorted(integrity_check.current_index(dataset))
    found = []
    for done, row in enumerate(rows, 1):
        kind, colour = _colour(dataset, row.image)
        luma = sum(share * value for share, value in zip(LUMA, colour, strict=True))
        found.append(Measured(row.image, kind, row.width, row.height, row.bytes, *colour, luma))
        progress(done, len(rows))
    return found


def summary(measured: Sequence[Measured], manifest: Manifest | None = None) -> list[dict[str, Any]]:
    """Return a row a class and one over all ("all"), ready for a CSV file.

    Args:
        measured: as `measure` returns it.
        manifest: of a split, for the images in each subset.

    Returns:
        Columns class, train, val, test, images, share (0..1), width_min ... height_max, bytes_min, bytes_median,
        bytes_max, formats, and mean and sd of CHANNELS (0-255; over the images, each of which is one mean).
    """
    subsets = {row.image: row.split for row in manifest.rows} if manifest else {}
    labels = sorted({image.label for image in measured})
    parts = [(label, [image for image in measured if image.label == label]) for label in labels]
    return [_row(name, part, len(measured), subsets) for name, part in [*parts, ("all", list(measured))]]


def _row(name: str, part: Sequence[Measured], total: int, subsets: Mapping[str, str]) -> dict[str, Any]:
    held = [subsets.get(image.image) for image in part]
    row: dict[str, Any] = {"class": name}
    row |= {subset: held.count(subset) if subsets else None for subset in run_folder.SUBSETS}
    row |= {"images": len(part), "share": len(part) / total}
    for key in ("width", "height"):
        values = [getattr(image, key) for image in part]
        row |= {f"{key}_min": min(values), f"{key}_max": max(values)}
    weights = [image.bytes for image in part]
    row |= {"bytes_min": min(weights), "bytes_median": median(weights), "bytes_max": max(weights)}
    row["formats"] = " ".join(sorted({image.format for image in part}))
    for key in CHANNELS:
        values = [getattr(image, key) for image in part]
        row |= {f"{key}_mean": fmean(values), f"{key}_sd": pstdev(values)}
    return row


def _colour(dataset: str, image: str) -> tuple[str, tuple[float, float, float]]:
    import numpy as np
    from PIL import Image

    path = raw_dir(dataset) / image
    try:
        with Image.open(path) as picture:
            kind = picture.format or ""
            picture.draft("RGB", (SIDE, SIDE))  # a JPEG is decoded at a fraction of its size, which is much faster
            small = picture.convert("RGB")
            small = small.resize((SIDE, SIDE), Image.Resampling.BOX)
    except (OSError, ValueError) as error:
        raise LeukoBenchError(
            f"Cannot read {path}: {error}. Look into it with: python run_guide.py data check {dataset}"
        ) from None
    red, green, blue = np.asarray(small, np.float64).mean(axis=(0, 1)).tolist()
    return kind, (red, green, blue)
