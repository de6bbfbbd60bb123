"""Features of the shortcut baselines: numbers of an image that hold little or nothing of a cell's shape."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.datasets import image_decoder
from data.datasets.parallel import map_threads
from data.imaging.nucleus_segmentation import CYTOPLASM, cell_mask, nuclear_stain
from utils.errors import LeukoBenchError
from utils.system.progress import Progress, no_progress

BINS = 16  # of each channel: 48 in all
RIM = 0.02  # margin around cells, as a share of the image's side: masks are slightly too small
STRIP = 0.05  # width of the strip along the edge, as a share of the image's side
CORNER = 1 / 6  # side of the bottom right corner: the widest scale bar of the ALL dataset takes 0.14
SIDE = 16  # pixels per side of a thumbnail, of the image or of the corner
PATCH = 20  # pixels per side of a patch, at the image's own size
PATCHES = 12  # per image, at most
TABLES, ENTRIES = 2, 64  # quantisation tables of a JPEG (brightness, colour), and their entries
PATCH_VOTES = "background patches"


def measure(paths: Sequence[Path], progress: Progress = no_progress) -> dict[str, np.ndarray]:
    """Measure the features of every baseline on n image files, each read once.

    Returns:
        By baseline, (n, features) float32. "background patches" is (n, PATCHES, features), with rows of NaN where an
        image has fewer patches.

    Raises:
        LeukoBenchError: an image is missing or cannot be used.
    """
    rows = map_threads(of_file, paths, progress)
    return {name: np.stack([row[name] for row in rows]) for name in (rows[0] if rows else ())}


def of_file(path: Path) -> dict[str, np.ndarray]:
    """Measure the features of every baseline on one image file.

    Raises:
        LeukoBenchError: the file is missing or cannot be used.
    """
    picture = np.asarray(image_decoder.open_rgb(path))
    try:
        return {"file facts": file_facts(path.read_bytes()), **of_picture(picture)}
    except OSError as error:
        raise LeukoBenchError(f"Cannot read the image {path}: {error.strerror or error}.") from None


def of_picture(picture: np.ndarray) -> dict[str, np.ndarray]:
    """Measure the features of every baseline that uses pixels on (h, w, 3) uint8 RGB.

    Baselines without cells leave out `stained_mask`. Red cells stay.
    """
    import cv2

    height, width = picture.shape[:2]
    cells = stained_mask(picture)
    corner = np.s_[height - max(1, round(CORNER * height)) :, width - max(1, round(CORNER * width)) :]
    left_out = cells.copy()
    left_out[corner] = True
    edge = max(1, round(STRIP * min(height, width)))
    strip = ~left_out
    strip[edge:-edge, edge:-edge] = False
    small = _thumbnail(picture)
    return {
        "scale-bar corner": _numbers(_thumbnail(_filled(picture[corner], cells[corner]))),
        "border strip": histogram(picture[strip]),
        PATCH_VOTES: patches(picture, left_out),
        "background": histogram(picture[~left_out]),
        "mean colour": _numbers(picture.mean(axis=(0, 1))),
        "colour histogram": histogram(picture.reshape(-1, 3)),
        "grey thumbnail": _numbers(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)),
        "thumbnail": _numbers(small),
    }


def stained_mask(picture: np.ndarray) -> np.ndarray:
    """Find nucleated cells, everything else with nuclear stain, and a margin around them in (h, w, 3) uint8 RGB.

    Burst cells and platelets are included: their number may depend on the disease, which would be no shortcut.

    Returns:
        (h, w) bool, containing `nucleus_segmentation.cell_mask`; all False where that finds nothing.
    """
    import cv2
    from skimage.filters import threshold_otsu

    cells = cell_mask(picture)
    if not cells.any():
        return cells
    stain = nuclear_stain(picture)
    cells |= stain > CYTOPLASM * threshold_otsu(stain)
    width = 2 * round(RIM * min(cells.shape)) + 1
    return cv2.dilate(cells.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))) > 0


def histogram(pixels: np.ndarray) -> np.ndarray:
    """Return the normalised histogram of (n, 3) uint8 pixels, BINS per channel, (3 * BINS,); zeros without pixels."""
    counts = [np.bincount(pixels[:, k] // (256 // BINS), minlength=BINS) for k in range(3)]
    return _numbers(np.concatenate(counts) / max(1, len(pixels)))


def patches(picture: np.ndarray, left_out: np.ndarray) -> np.ndarray:
    """Return mean and standard deviation of red, green and blue of squares outside a mask.

    The squares lie on a grid from the top left corner; of more than PATCHES an evenly spaced selection is taken.

    Returns:
        (PATCHES, 6) float32, 0-255; rows after the last patch are NaN.
    """
    height, width = left_out.shape
    corners = [(y, x) for y in range(0, height - PATCH + 1, PATCH) for x in range(0, width - PATCH + 1, PATCH)]
    free = [(y, x) for y, x in corners if not left_out[y : y + PATCH, x : x + PATCH].any()]
    chosen = [free[k] for k in sorted(set(np.linspace(0, len(free) - 1, PATCHES).round().astype(int)))] if free else []
    found = np.full((PATCHES, 6), np.nan, np.float32)
    for row, (y, x) in zip(found, chosen, strict=False):
        square = picture[y : y + PATCH, x : x + PATCH].reshape(-1, 3)
        row[:] = np.concatenate([square.mean(axis=0), square.std(axis=0)])
    return found


def file_facts(content: bytes) -> np.ndarray:
    """Return metadata of an image file, (6 + TABLES * ENTRIES,) float32.

    Bytes, width, height, bytes per pixel, number of EXIF tags, number of other metadata entries, and the quantisation
    tables of a JPEG (0 for other formats), which identify the program and quality that wrote it.
    """
    from PIL import Image

    tables = np.zeros((TABLES, ENTRIES))
    with Image.open(io.BytesIO(content), formats=image_decoder.FORMATS) as picture:
        for place, (_, table) in zip(tables, sorted(getattr(picture, "quantization", {}).items()), strict=False):
            place[:] = table
        width, height = picture.size
        facts = (len(content), width, height, len(content) / (width * height), len(picture.getexif()))
        return _numbers(np.concatenate([[*facts, len(picture.info)], tables.ravel()]))


def _thumbnail(picture: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def _filled(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return an image whose masked pixels have the mean colour of the others."""
    if mask.all() or not mask.any():
        return picture
    return np.where(mask[:, :, None], picture[~mask].mean(axis=0).astype(np.uint8), picture)


def _numbers(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float32).reshape(-1)
