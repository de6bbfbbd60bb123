"""From a split folder to batches: decoded once, cached as uint8 below a budget, augmented by (seed, epoch, image).

Here with TensorFlow; where Keras runs on another backend, `data.arrays` and `data.array_batches` give the same, and
TensorFlow need not be installed.
"""

import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data import interventions
from data.augmentation import Intervention
from data.interventions import Material
from data.preprocessing import Variant, apply
from utils.environment import usable_cores
from utils.errors import LeukoBenchError

if TYPE_CHECKING:
    import jax
    import keras
    import tensorflow as tf

    from data.augmentation import Augmentation

    Taken = tuple[tf.Tensor] | tuple[tf.Tensor, tf.Tensor]  # indices of images, with the pixels of decoded ones

AT_ONCE = 64  # decoded images that are copied into the memory at once
ALIGNMENT = 64  # bytes
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
        variant: what is done to every image before it is resized.
        pixels: (n, size, size, 3) uint8 tensor, or None where the memory budget says to decode each epoch.
    """

    names: list[str]
    labels: np.ndarray
    classes: int
    size: int
    paths: list[str]
    variant: Variant
    pixels: "tf.Tensor | jax.Array | None"

    def __len__(self) -> int:
        return len(self.names)

    def each(self) -> Iterator[np.ndarray]:
        """Yield the images one after another, (size, size, 3) uint8, decoding them where they are not in memory."""
        for position, path in enumerate(self.paths):
            yield np.asarray(decode(path, self.size, self.variant) if self.pixels is None else self.pixels[position])


def read(
    folder: Path,
    subset: str,
    classes: Sequence[str],
    size: int,
    budget: int,
    variant: Variant = Variant(),  # noqa: B008  # frozen
    copies: Path | None = None,
) -> Images:
    """Read one subset with `image_dataset_from_directory`, each image in its variant, resized to (size, size).

    Args:
        folder: split folder that holds train/, val/ and test/.
        subset: "train", "val" or "test".
        classes: class names in probability order.
        size: side in pixels.
        budget: bytes that the decoded images may take; above it they are decoded again each time.
        variant: see `data.preprocessing`.
        copies: another folder with a folder for each class, whose images come after those of the subset.

    Raises:
        LeukoBenchError: the subset holds no images.
    """
    from data import arrays

    if without_tensorflow():
        return arrays.read(folder, subset, classes, size, budget, variant, copies)
    import tensorflow as tf

    found = [_listed(place, classes, size) for place in (folder / subset, *([copies] if copies else []))]
    paths = [path for dataset in found for path in dataset.file_paths]
    names = ["/".join(path.rsplit(os.sep, 2)[1:]) for path in paths]
    index = {name: position for position, name in enumerate(classes)}
    labels = np.array([index[name.partition("/")[0]] for name in names])
    images = Images(names, labels, len(classes), size, paths, variant, None)
    if len(paths) * size * size * 3 > budget:
        return images
    store = _aligned((len(paths), size, size, 3))
    if variant.name == "rgb":
        left = arrays.decode_in_place(store, paths)
        for (places, batch), *_ in untuned(_indexed(images, left).batch(AT_ONCE).prefetch(1)) if len(left) else ():
            store[places] = memoryview(batch)
    else:
        with ThreadPoolExecutor(usable_cores()) as pool:
            for position, image in enumerate(pool.map(lambda path: decode(path, size, variant).numpy(), paths)):
                store[position] = image
    # The same memory: tf.constant would hold it twice for as long as the images live, and three times meanwhile.
    return replace(images, pixels=tf.experimental.dlpack.from_dlpack(store.__dlpack__()))


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Return an empty uint8 array that TensorFlow takes as it lies, which it does from multiples of 64 bytes."""
    size = math.prod(shape)
    whole = np.empty(size + ALIGNMENT, np.uint8)
    start = -whole.ctypes.data % ALIGNMENT
    return whole[start : start + size].reshape(shape)


def without_tensorflow() -> bool:
    """Say whether Keras runs on another backend, so that TensorFlow may be missing."""
    return os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow"


def decoding_errors() -> tuple[type[Exception], ...]:
    """Return what decoders raise for a file that is damaged."""
    if without_tensorflow():
        return OSError, ValueError, SyntaxError
    import tensorflow as tf

    return (tf.errors.OpError,)


def _listed(place: Path, classes: Sequence[str], size: int) -> "tf.data.Dataset":
    import keras

    try:
        return keras.utils.image_dataset_from_directory(
            place, label_mode="int", class_names=list(classes), image_size=(size, size),
            batch_size=None, shuffle=False, verbose=False,
        )  # fmt: skip
    except (ValueError, OSError) as error:
        raise LeukoBenchError(f"{place} cannot be read ({error}). Remove {place.parent} and run it again.") from None


def decode(path: "tf.Tensor | str", size: int, variant: Variant = Variant()) -> "tf.Tensor":  # noqa: B008
    """Decode one image file as `read` does: (size, size, 3) uint8 RGB in its variant, resized bilinearly."""
    if without_tensorflow():
        from data import arrays

        return arrays.decode(path, size, variant)
    import tensorflow as tf

    image = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
    return prepared(image, size, variant)


def prepared(image: "tf.Tensor | np.ndarray", size: int, variant: Variant) -> "tf.Tensor":
    """Bring (h, w, 3) uint8 RGB into its variant at its own size, then resize it to (size, size, 3) uint8."""
    if without_tensorflow():
        from data import arrays

        return arrays.prepared(image, size, variant)
    import tensorflow as tf

    if variant.name != "rgb":
        image = tf.numpy_function(lambda pixels: apply(variant, pixels), [image], tf.uint8, stateful=False)
    image = tf.ensure_shape(image, (None, None, 3))
    resized = tf.cond(
        tf.reduce_all(tf.equal(tf.shape(image)[:2], size)),
        lambda: image,  # as resizing would leave it
        lambda: _to_uint8(tf.image.resize(image, (size, size), method="bilinear")),
    )
    return tf.ensure_shape(resized, (size, size, 3))


def _to_uint8(image: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf

    return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)


def fixed_batches(images: Images, batch_size: int) -> "tf.data.Dataset | keras.utils.PyDataset":
    """Return batches (float32 pixels in 0-255, one-hot labels) in the order of `images.names`."""
    if without_tensorflow():
        from data import array_batches

        return array_batches.fixed_batches(images, batch_size)
    import tensorflow as tf

    def batch(taken: "Taken") -> tuple["tf.Tensor", "tf.Tensor"]:
        pixels, labels = _gather(images, *taken)
        return tf.cast(pixels, tf.float32), labels

    dataset = _indexed(images, np.arange(len(images))).batch(batch_size)
    return untuned(dataset.map(batch, num_parallel_calls=2).prefetch(2))


def untuned(dataset: "tf.data.Dataset") -> "tf.data.Dataset":
    """Return a dataset without the thread that tunes it, which has nothing to tune here: all numbers are given.

    The end of an epoch may miss that thread's wake-up and then waits for its next round, 10, 20 or 40 seconds long.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def training_batches(
    images: Images,
    batch_size: int,
    augmentation: "Augmentation",
    seed: int,
    epoch: int,
    intervention: Intervention = Intervention(),  # noqa: B008  # frozen
    material: Material | None = None,
    shuffle: bool = True,
) -> "tf.data.Dataset | keras.utils.PyDataset":
    """Return one epoch of shuffled, augmented batches, a pure function of (seed, epoch, image index).

    Args:
        images: the training images.
        batch_size: images a batch; the last one may have fewer.
        augmentation: what is changed in place, size and light.
        seed, epoch: of order and changes.
        intervention: what is changed before that, in stain and background.
        material: what it takes from the training images, from `Material.of`; None where it is not active.
        shuffle: False for the same changes in the order of `images.names`.

    Returns:
        Batches of (float32 pixels in 0-255 of shape (b, size, size, 3), one-hot labels of shape (b, classes)).
    """
    if without_tensorflow():
        from data import array_batches

        changes = augmentation, seed, epoch, intervention, material
        return array_batches.training_batches(images, batch_size, *changes, shuffle)
    import tensorflow as tf

    order = shuffled(len(images), seed, epoch) if shuffle else np.arange(len(images))
    draws = epoch_draws(len(images), seed, epoch)[order]
    transforms = affine(draws, augmentation, images.size)
    dataset = _indexed(images, order, draws, transforms).batch(batch_size)

    def intervened(pixels: np.ndarray, index: np.ndarray) -> np.ndarray:
        pairs = zip(pixels, index, strict=True)
        return np.stack([interventions.intervene(*pair, material, intervention, seed, epoch) for pair in pairs])

    def augmented(taken: "Taken", drawn: "tf.Tensor", transform: "tf.Tensor") -> tuple["tf.Tensor", "tf.Tensor"]:
        pixels, labels = _gather(images, *taken)
        if intervention.active:
            pixels = tf.numpy_function(intervened, [pixels, taken[0]], tf.uint8, stateful=False)
            pixels.set_shape((None, images.size, images.size, 3))
        return change(tf.cast(pixels, tf.float32), drawn, transform, augmentation), labels

    return untuned(dataset.map(augmented, num_parallel_calls=2).prefetch(2))


def shuffled(count: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order of `count` images in an epoch."""
    return np.random.Generator(np.random.Philox(key=[seed, 2 * epoch])).permutation(count)


def epoch_draws(count: int, seed: int, epoch: int) -> np.ndarray:
    """Return the float32 numbers in 0..1 (count, len(DRAWS)) that change each image in an epoch."""
    generator = np.random.Generator(np.random.Philox(key=[seed, 2 * epoch + 1]))
    return generator.random((count, len(DRAWS)), np.float32)


def _indexed(images: Images, order: np.ndarray, *others: np.ndarray) -> "tf.data.Dataset":
    """Return a dataset of (what `_gather` takes of an image, *others), image by image in an order of indices.

    Where the images are not in memory, that is the index and the decoded pixels; several are decoded at a time.
    """
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices(((order,), *others))
    if images.pixels is not None:
        return dataset
    paths = tf.constant(images.paths)  # outside of the function: its graph would hold all of them again

    def decoded(taken: "Taken", *rest: "tf.Tensor") -> tuple["Taken | tf.Tensor", ...]:
        return (taken[0], decode(tf.gather(paths, taken[0]), images.size, images.variant)), *rest

    return dataset.map(decoded, num_parallel_calls=usable_cores())


def _gather(images: Images, index: "tf.Tensor", decoded: "tf.Tensor | None" = None) -> tuple["tf.Tensor", "tf.Tensor"]:
    """Return the (b, size, size, 3) uint8 pixels and the one-hot labels of a batch of indices."""
    import tensorflow as tf

    labels = tf.one_hot(tf.gather(tf.constant(images.labels), index), images.classes)
    return tf.gather(images.pixels, index) if decoded is None else decoded, labels


def affine(draws: np.ndarray, augmentation: "Augmentation", width: int, height: int = 0) -> np.ndarray:
    """Return (n, 8) projective transforms, output to input pixel, for drawn numbers in 0..1 (n, len(DRAWS)).

    Images are `width` x `height` pixels, square without a height.
    """
    height = height or width
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
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    shift_x = augmentation.shift * width * (2 * drawn["shift_x"] - 1)
    shift_y = augmentation.shift * height * (2 * drawn["shift_y"] - 1)
    x = centre_x - a * centre_x - b * centre_y + shift_x
    y = centre_y - c * centre_x - d * centre_y + shift_y
    zero = np.zeros_like(a)
    return np.stack([a, b, x, c, d, y, zero, zero], axis=1).astype(np.float32)


def opened(path: Path) -> np.ndarray:
    """Decode one image file as training does, at its own size: (h, w, 3) uint8 RGB."""
    if without_tensorflow():
        from data import arrays

        return arrays.opened(path)
    import tensorflow as tf

    return tf.io.decode_image(tf.io.read_file(str(path)), channels=3, expand_animations=False).numpy()


def augmented(pixels: np.ndarray, draws: np.ndarray, augmentation: "Augmentation") -> np.ndarray:
    """Change one image as `training_batches` does, at its own size.

    Args:
        pixels: (h, w, 3) uint8 RGB.
        draws: (len(DRAWS),) float32 numbers in 0..1.
        augmentation: what is changed.

    Returns:
        (h, w, 3) uint8 RGB; (w, h, 3) after a quarter turn, so that none of the image is lost.
    """
    if augmentation.quarter_turns:
        turns = int(4 * draws[DRAWS.index("turn")])
        pixels, draws = np.rot90(pixels, turns), draws.copy()
        x, y = DRAWS.index("shift_x"), DRAWS.index("shift_y")
        for _ in range(turns):  # the shift is along the axes of the image as it was
            draws[x], draws[y] = draws[y], 1 - draws[x]
        augmentation = augmentation.model_copy(update={"quarter_turns": False})
    height, width = pixels.shape[:2]
    transform = affine(draws[None], augmentation, width, height)
    if without_tensorflow():
        from data import arrays

        return arrays.changed(pixels, draws, transform, augmentation)
    import tensorflow as tf

    with tf.device("CPU:0"):  # the same bytes with and without a GPU
        changed = change(tf.cast(pixels[None], tf.float32), tf.constant(draws[None]), transform, augmentation)
        return _to_uint8(changed[0]).numpy()


def change(
    pixels: "keras.KerasTensor",
    drawn: "keras.KerasTensor",
    transform: "keras.KerasTensor",
    augmentation: "Augmentation",
) -> "keras.KerasTensor":
    """Change a batch in place, size and light, with the operations of whatever backend Keras runs on.

    Args:
        pixels: (b, h, w, 3) float32 RGB in 0-255.
        drawn: (b, len(DRAWS)) float32 numbers in 0..1.
        transform: (b, 8), from `affine`.
        augmentation: what is changed.

    Returns:
        (b, h, w, 3) float32 in 0-255.
    """
    import keras

    moved = augmentation.rotation or augmentation.zoom or augmentation.shift
    if moved or augmentation.flips or augmentation.quarter_turns:
        # Flips and quarter turns alone move whole pixels: nearest keeps their values exactly.
        way = "bilinear" if moved else "nearest"
        pixels = keras.ops.image.affine_transform(pixels, transform, interpolation=way, fill_mode="reflect")

    def around_one(first: str, strength: float, count: int = 1) -> "keras.KerasTensor":
        start = DRAWS.index(first)
        return (1 + strength * (2 * drawn[:, start : start + count] - 1))[:, None, None, :]

    if augmentation.colour:
        grey = keras.ops.mean(pixels, axis=-1, keepdims=True)
        pixels = grey + (pixels - grey) * around_one("saturation", augmentation.colour)
        pixels = pixels * around_one("r", augmentation.colour, 3)
    if augmentation.contrast:
        mean = keras.ops.mean(pixels, axis=(1, 2, 3), keepdims=True)
        pixels = mean + (pixels - mean) * around_one("contrast", augmentation.contrast)
    if augmentation.brightness:
        pixels = pixels + 255 * (around_one("bright", augmentation.brightness) - 1)
    return keras.ops.clip(pixels, 0, 255)
