"""From a split folder to batches: decoded once, cached as uint8 below a budget, augmented by (seed, epoch, image).

Here with TensorFlow; where Keras runs on another backend, `data.arrays` and `data.array_batches` give the same, and
TensorFlow need not be installed.
"""

import os
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.imaging.variants import Variant, apply
from data.loading import augment, domain_randomization
from data.loading.augmentation_config import Intervention
from data.loading.domain_randomization import Material
from utils.errors import LeukoBenchError
from utils.system.environment import usable_cores

if TYPE_CHECKING:
    import jax
    import keras
    import tensorflow as tf

    from data.loading.augmentation_config import Augmentation

    Taken = tuple[tf.Tensor] | tuple[tf.Tensor, tf.Tensor]  # indices of images, with the pixels of decoded ones

TOGETHER = 10_000_000  # bytes, before or after resizing, of the images that one core decodes and resizes together


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
        pixels: (n, size, size, 3) uint8, with JAX on the device, or None where the memory budget says to decode each
            epoch.
    """

    names: list[str]
    labels: np.ndarray
    classes: int
    size: int
    paths: list[str]
    variant: Variant
    pixels: "np.ndarray | jax.Array | None"

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
    from data.loading import numpy_decoder

    listed = numpy_decoder.listed if without_tensorflow() else _listed
    paths = [path for place in (folder / subset, *([copies] if copies else [])) for path in listed(place, classes)]
    names = ["/".join(path.rsplit(os.sep, 2)[1:]) for path in paths]
    index = {name: position for position, name in enumerate(classes)}
    labels = np.array([index[name.partition("/")[0]] for name in names])
    images = Images(names, labels, len(classes), size, paths, variant, None)
    if len(paths) * size * size * 3 > budget:
        return images
    return replace(images, pixels=numpy_decoder.held(images) if without_tensorflow() else _held(images))


def _held(images: Images) -> np.ndarray:
    """Decode all images: (n, size, size, 3) uint8."""
    store = np.empty((len(images), images.size, images.size, 3), np.uint8)
    with ThreadPoolExecutor(usable_cores()) as pool:
        left = range(len(images)) if images.variant.name != "rgb" else _decode_alike(store, images.paths, pool)
        each = pool.map(lambda k: decode(images.paths[k], images.size, images.variant).numpy(), left)
        for position, image in zip(left, each, strict=True):
            store[position] = image
    return store


def _decode_alike(store: np.ndarray, paths: Sequence[str], pool: ThreadPoolExecutor) -> list[int]:
    """Decode the JPEGs of one size, the first one's, as `decode` would; return the positions of all other files."""
    import tensorflow as tf

    from data.loading import numpy_decoder

    shape = numpy_decoder.jpeg_shape(paths[0])
    if shape is None:
        return list(range(len(paths)))

    # Of each: the original, then as float32 what it is resized to.
    count = max(1, TOGETHER // max(3 * shape[0] * shape[1], 12 * store.shape[1] * store.shape[2]))

    def some(start: int) -> list[int]:
        places = store[start : start + count]
        originals = places if shape == places.shape[1:3] else np.empty((len(places), *shape, 3), np.uint8)
        others = numpy_decoder.decode_in_place(originals, paths[start : start + count])
        if originals is not places:
            places[:] = np.rint(tf.image.resize(originals, places.shape[1:3], method="bilinear"))
        return [start + other for other in others]

    return list(chain.from_iterable(pool.map(some, range(0, len(paths), count))))


def without_tensorflow() -> bool:
    """Say whether Keras runs on another backend, so that TensorFlow may be missing."""
    return os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow"


def decoding_errors() -> tuple[type[Exception], ...]:
    """Return what decoders raise for a file that is damaged."""
    if without_tensorflow():
        return OSError, ValueError, SyntaxError
    import tensorflow as tf

    return (tf.errors.OpError,)


def _listed(place: Path, classes: Sequence[str]) -> list[str]:
    import keras

    try:
        return keras.utils.image_dataset_from_directory(
            place, label_mode="int", class_names=list(classes), batch_size=None, shuffle=False, verbose=False
        ).file_paths
    except (ValueError, OSError) as error:
        raise LeukoBenchError(f"{place} cannot be read ({error}). Remove {place.parent} and run it again.") from None


def decode(path: "tf.Tensor | str", size: int, variant: Variant = Variant()) -> "tf.Tensor":  # noqa: B008
    """Decode one image file as `read` does: (size, size, 3) uint8 RGB in its variant, resized bilinearly."""
    if without_tensorflow():
        from data.loading import numpy_decoder

        return numpy_decoder.decode(path, size, variant)
    import tensorflow as tf

    image = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
    return prepared(image, size, variant)


def prepared(image: "tf.Tensor | np.ndarray", size: int, variant: Variant) -> "tf.Tensor":
    """Bring (h, w, 3) uint8 RGB into its variant at its own size, then resize it to (size, size, 3) uint8."""
    if without_tensorflow():
        from data.loading import numpy_decoder

        return numpy_decoder.prepared(image, size, variant)
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
        from data.loading import array_loader

        return array_loader.fixed_batches(images, batch_size)
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
        from data.loading import array_loader

        changes = augmentation, seed, epoch, intervention, material
        return array_loader.training_batches(images, batch_size, *changes, shuffle)
    import tensorflow as tf

    order = augment.shuffled(len(images), seed, epoch) if shuffle else np.arange(len(images))
    draws = augment.epoch_draws(len(images), seed, epoch)[order]
    transforms = augment.affine(draws, augmentation, images.size)
    dataset = _indexed(images, order, draws, transforms).batch(batch_size)

    def intervened(pixels: np.ndarray, index: np.ndarray) -> np.ndarray:
        pairs = zip(pixels, index, strict=True)
        return np.stack([domain_randomization.intervene(*pair, material, intervention, seed, epoch) for pair in pairs])

    turned = augment.turns_alone(augmentation)
    rest = augmentation.model_copy(update={"flips": False, "quarter_turns": False}) if turned else augmentation

    def augmented(taken: "Taken", drawn: "tf.Tensor", transform: "tf.Tensor") -> tuple["tf.Tensor", "tf.Tensor"]:
        pixels, labels = _gather(images, *taken)
        if intervention.active:
            pixels = tf.numpy_function(intervened, [pixels, taken[0]], tf.uint8, stateful=False)
        if turned:
            pixels = tf.numpy_function(augment.turned, [pixels, transform], tf.uint8, stateful=False)
        pixels.set_shape((None, images.size, images.size, 3))
        return augment.change(tf.cast(pixels, tf.float32), drawn, transform, rest), labels

    return untuned(dataset.map(augmented, num_parallel_calls=2).prefetch(2))


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
    if decoded is None:
        # By NumPy: of a tensor in its graph, every iterator would hold a copy of its own. TensorFlow keeps the function
        # for as long as it runs, and through a plain reference would keep the pixels of everything ever read as well.
        held = weakref.ref(images.pixels)
        decoded = tf.numpy_function(lambda chosen: held()[chosen], [index], tf.uint8, stateful=False)
        decoded.set_shape((None, images.size, images.size, 3))
    return decoded, labels


def opened(path: Path) -> np.ndarray:
    """Decode one image file as training does, at its own size: (h, w, 3) uint8 RGB."""
    if without_tensorflow():
        from data.loading import numpy_decoder

        return numpy_decoder.opened(path)
    import tensorflow as tf

    return tf.io.decode_image(tf.io.read_file(str(path)), channels=3, expand_animations=False).numpy()


def augmented(pixels: np.ndarray, draws: np.ndarray, augmentation: "Augmentation") -> np.ndarray:
    """Change one image as `training_batches` does, at its own size.

    Args:
        pixels: (h, w, 3) uint8 RGB.
        draws: (len(augmenting.DRAWS),) float32 numbers in 0..1.
        augmentation: what is changed.

    Returns:
        (h, w, 3) uint8 RGB; (w, h, 3) after a quarter turn, so that none of the image is lost.
    """
    if augmentation.quarter_turns:
        turns = int(4 * draws[augment.DRAWS.index("turn")])
        pixels, draws = np.rot90(pixels, turns), draws.copy()
        x, y = (augment.DRAWS.index(name) for name in ("shift_x", "shift_y"))
        for _ in range(turns):  # the shift is along the axes of the image as it was
            draws[x], draws[y] = draws[y], 1 - draws[x]
        augmentation = augmentation.model_copy(update={"quarter_turns": False})
    height, width = pixels.shape[:2]
    transform = augment.affine(draws[None], augmentation, width, height)
    if without_tensorflow():
        from data.loading import numpy_decoder

        return numpy_decoder.changed(pixels, draws, transform, augmentation)
    import tensorflow as tf

    with tf.device("CPU:0"):  # the same bytes with and without a GPU
        changed = augment.change(tf.cast(pixels[None], tf.float32), tf.constant(draws[None]), transform, augmentation)
        return _to_uint8(changed[0]).numpy()
