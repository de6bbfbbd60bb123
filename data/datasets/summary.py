"""Statistics of a dataset and its classes: image sizes, bytes, formats and mean colours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, pstdev
from typing import Any

from data.datasets import integrity_check
from data.manifest import Manifest
from utils.errors import LeukoBenchError
from utils.paths import raw_dir
from utils.system.progress import Progress, no_progress

SIDE = 32  # pixels to which an image is reduced before averaging, which keeps the mean
CHANNELS = ("red", "green", "blue", "brightness")
# Weights of red, green and blue in the luma of ITU-R BT.601.
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Measured:
    """Statistics of one image: its file, and its mean red, green, blue and brightness in 0-255."""

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


def measure(dataset: str, progress: Progress = no_progress) -> list[Measured]:
    """Measure every image of a dataset at reduced size, in image order.

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
    """Summarise the images of each class and of all ("all"), one row each, for a CSV file.

    Args:
        measured: see `measure`.
        manifest: of a split, for the counts of its subsets.

    Returns:
        Columns class, train, val, test (or the test sets of the manifest), images, share (0..1), width_min ...
        height_max, bytes_min, bytes_median, bytes_max, formats, and mean and sd of CHANNELS (0-255, over the images'
        means).
    """
    subsets = {row.image: row.split for row in manifest.rows} if manifest else {}
    labels = sorted({image.label for image in measured})
    names = manifest.subsets if manifest else ("train", "val", "test")
    parts = [(label, [image for image in measured if image.label == label]) for label in labels]
    return [_row(name, part, len(measured), subsets, names) for name, part in [*parts, ("all", list(measured))]]


def _row(
    name: str, part: Sequence[Measured], total: int, subsets: Mapping[str, str], names: Sequence[str]
) -> dict[str, Any]:
    held = [subsets.get(image.image) for image in part]
    row: dict[str, Any] = {"class": name}
    row |= {subset: held.count(subset) if subsets else None for subset in names}
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
            picture.draft("RGB", (SIDE, SIDE))  # decodes a JPEG at a fraction of its size, much faster
            small = picture.convert("RGB")
            small = small.resize((SIDE, SIDE), Image.Resampling.BOX)
    except (OSError, ValueError) as error:
        raise LeukoBenchError(f"Cannot read {path}: {error}. Run: python run_guide.py data check {dataset}") from None
    red, green, blue = np.asarray(small, np.float64).mean(axis=(0, 1)).tolist()
    return kind, (red, green, blue)
