"""From a split folder to batches: decoded once, cached as uint8 below a budget, augmented by (seed, epoch, image)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from utils.errors import LeukoBenchError

if TYPE_CHECKING:
    import tensorflow as tf

    from data.augmentation import Augmentation

# Numbers drawn for an image in an epoch; the order is part of what makes a run repeatable.
DRAWS = (
    "flip_x",
    "flip_y",
    "turn",
    "angle",
    "zoom",
    "shift_x",
    "shift_y",
    "bright",
    "contrast",
    "saturation",
    "r",
    "g",
    "b",
)


@dataclass(frozen=True)
class Images:
    """One subset of a split, in fixed order.

    Attributes:
        names: manifest names, "<Class>/<file>".
        labels: (n,) class indices.
        classes: number of classes.
        size: side in pixels after resizing.
        paths: (n,) files.
        pixels: (n, size, size, 3) uint8 tensor, or None where the memory budget says to decode each epoch.
    """

    names: list[str]
    labels: np.ndarray
    classes: int
    size: int
    paths: list[str]
    pixels: "tf.Tensor | None"

    def __len__(self) -> int:
        return len(self.names)


def read(folder: Path, subset: str, classes: Sequence[str], size: int, budget: int) -> Images:
    """Read one subset with `image_dataset_from_directory`, resized to (size, size).

    Args:
        folder: split folder that holds train/, val/ and test/.
        subset: "train", "val" or "test".
        classes: class names in probability order.
        size: side in pixels.
        budget: bytes that the decoded images may take; above it they are decoded again each time.

    Raises:
        LeukoBenchError: the subset holds no images.
    """
    import keras
    import tensorflow as tf

    try:
        dataset = keras.utils.image_dataset_from_directory(
            folder / subset, label_mode="int", class_names=list(classes), image_size=(size, size),
            batch_size=None, shuffle=False, verbose=False,
        )  # fmt: skip
    except (ValueError, OSError) as error:
        raise LeukoBenchError(
            f"{folder / subset} cannot be read ({error}). Remove {folder} and run it again."
        ) from None
    paths = list(dataset.file_paths)
    names = [f"{Path(path).parent.name}/{Path(path).name}" for path in paths]
    index = {name: position for position, name in enumerate(classes)}
    labels = np.array([index[Path(path).parent.name] for path in paths])
    pixels = None
    if len(paths) * size * size * 3 <= budget:
        store = np.empty((len(paths), size, size, 3), np.uint8)
        start = 0
        for batch in dataset.map(lambda image, _: _to_uint8(image), num_parallel_calls=2).batch(64).prefetch(1):
            store[start : start + len(batch)] = batch
            start += len(batch)
        with tf.device("CPU:0"):
            pixels = tf.constant(store)
    return Images(names, labels, len(classes), size, paths, pixels)


def decode(path: "tf.Tensor | str", size: int) -> "tf.Tensor":
    """Decode one image file as `read` does: (size, size, 3) uint8 RGB, resized bilinearly."""
    import tensorflow as tf

    image = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
    image.set_shape((None, None, 3))
    return resize(image, size)


def resize(image: "tf.Tensor | np.ndarray", size: int) -> "tf.Tensor":
    """Resize (h, w, 3) uint8 RGB bilinearly to (size, size, 3) uint8."""
    import tensorflow as tf

    return _to_uint8(tf.image.resize(image, (size, size), method="bilinear"))


def _to_uint8(image: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf

    return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)


def fixed_batches(images: Images, batch_size: int) -> "tf.data.Dataset":
    """Return batches (float32 pixels in 0-255, one-hot labels) in the order of `images.names`."""
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices(np.arange(len(images))).batch(batch_size)
    return dataset.map(lambda index: _gather(images, index), num_parallel_calls=2).prefetch(2)


def training_batches(
    images: Images, batch_size: int, augmentation: "Augmentation", seed: int, epoch: int
) -> "tf.data.Dataset":
    """Return one epoch of shuffled, augmented batches, a pure function of (seed, epoch, image index).

    Returns:
        Batches of (float32 pixels in 0-255 of shape (b, size, size, 3), one-hot labels of shape (b, classes)).
    """
    import tensorflow as tf

    order = shuffled(len(images), seed, epoch)
    if not augmentation.active:
        dataset = tf.data.Dataset.from_tensor_slices(order).batch(batch_size)
        return dataset.map(lambda index: _gather(images, index), num_parallel_calls=2).prefetch(2)
    generator = np.random.Generator(np.random.Philox(key=[seed, 2 * epoch + 1]))
    draws = generator.random((len(images), len(DRAWS)), np.float32)[order]
    transforms = affine(draws, augmentation, images.size)
    dataset = tf.data.Dataset.from_tensor_slices((order, draws, transforms)).batch(batch_size)

    def augmented(index: "tf.Tensor", drawn: "tf.Tensor", transform: "tf.Tensor") -> tuple["tf.Tensor", "tf.Tensor"]:
        pixels, labels = _gather(images, index)
        return _augment(pixels, drawn, transform, augmentation), labels

    return dataset.map(augmented, num_parallel_calls=2).prefetch(2)


def shuffled(count: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order of `count` images in an epoch."""
    return np.random.Generator(np.random.Philox(key=[seed, 2 * epoch])).permutation(count)


def _gather(images: Images, index: "tf.Tensor") -> tuple["tf.Tensor", "tf.Tensor"]:
    import tensorflow as tf

    labels = tf.one_hot(tf.gather(tf.constant(images.labels), index), images.classes)
    if images.pixels is not None:
        pixels = tf.gather(images.pixels, index)
    else:
        paths = tf.gather(tf.constant(images.paths), index)
        pixels = tf.map_fn(lambda path: decode(path, images.size), paths, fn_output_signature=tf.uint8)
        pixels.set_shape((None, images.size, images.size, 3))
    return tf.cast(pixels, tf.float32), labels


def affine(draws: np.ndarray, augmentation: "Augmentation", size: int) -> np.ndarray:
    """Return (n, 8) projective transforms, output to input pixel, for drawn numbers in 0..1 (n, len(DRAWS))."""
    drawn = dict(zip(DRAWS, draws.T.astype(np.float64), strict=True))
    angle = np.radians(augmentation.rotation) * (2 * drawn["angle"] - 1)
    if augmentation.quarter_turns:
        angle = angle + np.floor(4 * drawn["turn"]) * np.pi / 2
    scale = 1 + augmentation.zoom * (2 * drawn["zoom"] - 1)
    mirror_x = np.where((drawn["flip_x"] < 0.5) & augmentation.flips, -1.0, 1.0)
    mirror_y = np.where((drawn["flip_y"] < 0.5) & augmentation.flips, -1.0, 1.0)
    cos, sin = np.cos(angle), np.sin(angle)
    a, b = cos * mirror_x / scale, -sin * mirror_y / scale
    c, d = sin * mirror_x / scale, cos * mirror_y / scale
    centre = (size - 1) / 2
    shift_x = augmentation.shift * size * (2 * drawn["shift_x"] - 1)
    shift_y = augmentation.shift * size * (2 * drawn["shift_y"] - 1)
    x = centre - a * centre - b * centre + shift_x
    y = centre - c * centre - d * centre + shift_y
    zero = np.zeros_like(a)
    return np.stack([a, b, x, c, d, y, zero, zero], axis=1).astype(np.float32)


def _augment(
    pixels: "tf.Tensor", drawn: "tf.Tensor", transform: "tf.Tensor", augmentation: "Augmentation"
) -> "tf.Tensor":
    import keras
    import tensorflow as tf

    moved = augmentation.rotation or augmentation.zoom or augmentation.shift
    if moved or augmentation.flips or augmentation.quarter_turns:
        # Flips and quarter turns alone move whole pixels: nearest keeps their values exactly.
        way = "bilinear" if moved else "nearest"
        pixels = keras.ops.image.affine_transform(pixels, transform, interpolation=way, fill_mode="reflect")

    def around_one(first: str, strength: float, count: int = 1) -> "tf.Tensor":
        start = DRAWS.index(first)
        return (1 + strength * (2 * drawn[:, start : start + count] - 1))[:, None, None, :]

    if augmentation.colour:
        grey = tf.reduce_mean(pixels, axis=-1, keepdims=True)
        pixels = grey + (pixels - grey) * around_one("saturation", augmentation.colour)
        pixels = pixels * around_one("r", augmentation.colour, 3)
    if augmentation.contrast:
        mean = tf.reduce_mean(pixels, axis=(1, 2, 3), keepdims=True)
        pixels = mean + (pixels - mean) * around_one("contrast", augmentation.contrast)
    if augmentation.brightness:
        pixels = pixels + 255 * (around_one("bright", augmentation.brightness) - 1)
    return tf.clip_by_value(pixels, 0, 255)
