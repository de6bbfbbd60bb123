"""What `data.pipeline` reads, without TensorFlow: the same files in the same order, to the very same bytes.

Keras' own `image_dataset_from_directory(format="grain")` decodes with Pillow. TensorFlow takes libjpeg-turbo's fast
transform, which gives JPEGs other values by up to some twenty levels of 255: a run would not verify.
"""

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.datasets.image_decoder import PLAIN_SUFFIXES
from data.imaging.variants import Variant, apply
from data.loading import augment
from data.loading.augmentation_config import Augmentation
from data.loading.tf_loader import Images
from utils.errors import LeukoBenchError
from utils.system.environment import usable_cores

if TYPE_CHECKING:
    import keras

JPEG = b"\xff\xd8\xff"
# TensorFlow's own of libjpeg-turbo: the fast transform, and smooth upsampling of the colours.
CHOICES = {"fastdct": True, "fastupsample": False}


def listed(place: Path, classes: Sequence[str]) -> list[str]:
    """Return the images of a folder in the order of Keras: class by class, names sorted.

    Raises:
        LeukoBenchError: a class has no folder, or the folder holds no images.
    """
    found = []
    for name in classes:
        if not (place / name).is_dir():
            raise LeukoBenchError(f"{place} has no folder {name}. Remove {place.parent} and run it again.")
        for folder, _, files in sorted(os.walk(place / name, followlinks=True)):
            found += [str(Path(folder, file)) for file in sorted(files) if file.lower().endswith(PLAIN_SUFFIXES)]
    if not found:
        raise LeukoBenchError(f"{place} holds no images. Remove {place.parent} and run it again.")
    return found


def held(images: Images) -> "keras.KerasTensor":
    """Decode all images onto the device: (n, size, size, 3) uint8."""
    import keras

    return keras.ops.convert_to_tensor(decoded(images, np.arange(len(images))))


def decoded(images: Images, index: np.ndarray) -> np.ndarray:
    """Decode some of the images, side by side: (len(index), size, size, 3) uint8."""
    with ThreadPoolExecutor(usable_cores()) as pool:
        each = pool.map(lambda k: decode(images.paths[k], images.size, images.variant), index)
        store = np.empty((len(index), images.size, images.size, 3), np.uint8)
        for position, pixels in enumerate(each):
            store[position] = pixels
    return store


def opened(path: Path | str) -> np.ndarray:
    """Decode one image file at its own size to the bytes that TensorFlow gives: (h, w, 3) uint8 RGB."""
    content = Path(path).read_bytes()
    if content.startswith(JPEG):
        import simplejpeg

        return simplejpeg.decode_jpeg(content, "RGB", **CHOICES)
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def jpeg_shape(path: str) -> tuple[int, int] | None:
    """Return height and width of a JPEG; None of what is none, or damaged."""
    import simplejpeg

    try:
        return simplejpeg.decode_jpeg_header(Path(path).read_bytes())[:2]
    except ValueError:
        return None


def decode_in_place(store: np.ndarray, paths: Sequence[str]) -> list[int]:
    """Decode each JPEG that has the size of its place in (n, h, w, 3) uint8 `store` right into that.

    Returns:
        Positions of the other files; what stands in their places means nothing.
    """
    import simplejpeg

    others = []
    for position, path in enumerate(paths):
        content = Path(path).read_bytes()
        try:
            fits = simplejpeg.decode_jpeg_header(content)[:2] == store.shape[1:3]
            if fits:
                simplejpeg.decode_jpeg(content, "RGB", **CHOICES, buffer=store[position])
        except ValueError:  # no JPEG, or damaged: who decodes it otherwise says so
            fits = False
        others += [] if fits else [position]
    return others


def decode(path: Path | str, size: int, variant: Variant) -> np.ndarray:
    """Decode one image file as `pipeline.decode` does: (size, size, 3) uint8 RGB in its variant."""
    return prepared(opened(path), size, variant)


def prepared(image: np.ndarray, size: int, variant: Variant) -> np.ndarray:
    """Bring (h, w, 3) uint8 RGB into its variant at its own size, then resize it to (size, size, 3) uint8."""
    return to_uint8(resized(apply(variant, image) if variant.name != "rgb" else image, size))


def resized(image: np.ndarray, size: int) -> np.ndarray:
    """Resize (h, w, c) to (size, size, c) float32, bit by bit as `tf.image.resize` does bilinearly."""
    above, below, down = _neighbours(image.shape[0], size)
    left, right, across = _neighbours(image.shape[1], size)
    image, down, across = image.astype(np.float32), down[:, None, None], across[None, :, None]
    rows = image[above], image[below]
    upper, lower = (row[:, left] + (row[:, right] - row[:, left]) * across for row in rows)
    return upper + (lower - upper) * down


def _neighbours(before: int, after: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each new pixel of an axis the two old ones beside it, and how far it is from the first."""
    scale = np.float32(before) / np.float32(after)
    at = (np.arange(after, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    first = np.floor(at)
    return np.maximum(first, 0).astype(int), np.minimum(np.ceil(at), before - 1).astype(int), at - first


def to_uint8(pixels: np.ndarray) -> np.ndarray:
    """Round pixels to (..., 3) uint8."""
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def changed(pixels: np.ndarray, draws: np.ndarray, transform: np.ndarray, augmentation: Augmentation) -> np.ndarray:
    """Change one (h, w, 3) uint8 image at its own size, as `pipeline.augmented` says."""
    import keras

    batch = augment.change(pixels[None].astype(np.float32), draws[None], transform, augmentation)
    return to_uint8(keras.ops.convert_to_numpy(batch)[0])
