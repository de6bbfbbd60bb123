"""Decoding and resizing without TensorFlow, to the same bytes that it gives.

Keras' own `image_dataset_from_directory(format="grain")` decodes with Pillow. TensorFlow uses libjpeg-turbo's fast
transform, which differs by up to some twenty levels of 255: a run would not verify with the other backend.
"""

import io
from pathlib import Path

import numpy as np

from data.imaging.variants import Variant, apply

JPEG = b"\xff\xd8\xff"
# TensorFlow's settings of libjpeg-turbo: the fast transform, and smooth upsampling of the colours.
LIKE_TENSORFLOW = {"fastdct": True, "fastupsample": False}


def open_image(path: Path | str) -> np.ndarray:
    """Decode one image file at its own size to the bytes that TensorFlow gives: (h, w, 3) uint8 RGB."""
    content = Path(path).read_bytes()
    if content.startswith(JPEG):
        import simplejpeg

        return simplejpeg.decode_jpeg(content, "RGB", **LIKE_TENSORFLOW)
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def prepare(image: np.ndarray, size: int, variant: Variant) -> np.ndarray:
    """Apply a variant to (h, w, 3) uint8 RGB at its own size, then resize it to (size, size, 3) uint8."""
    return to_uint8(resize(apply(variant, image) if variant.name != "rgb" else image, size))


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Resize (h, w, c) to (size, size, c) float32, bit by bit as `tf.image.resize` does bilinearly."""
    above, below, down = _neighbours(image.shape[0], size)
    left, right, across = _neighbours(image.shape[1], size)
    image, down, across = image.astype(np.float32), down[:, None, None], across[None, :, None]
    rows = image[above], image[below]
    upper, lower = (row[:, left] + (row[:, right] - row[:, left]) * across for row in rows)
    return upper + (lower - upper) * down


def _neighbours(before: int, after: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each new pixel of an axis the two old ones beside it, and its distance from the first."""
    scale = np.float32(before) / np.float32(after)
    at = (np.arange(after, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    first = np.floor(at)
    return np.maximum(first, 0).astype(int), np.minimum(np.ceil(at), before - 1).astype(int), at - first


def to_uint8(pixels: np.ndarray) -> np.ndarray:
    """Round pixels to (..., 3) uint8."""
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
