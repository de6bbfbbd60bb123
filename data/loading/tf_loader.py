"""Images and batches with TensorFlow: read by `image_dataset_from_directory`, cached as uint8, augmented in tf.data."""

import weakref
from collections.abc import Iterator, Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.imaging.variants import Variant, apply
from data.loading import augment
from data.loading.image_set import PLAIN, Images, Loader, View, unreadable
from utils.system.environment import usable_cores

if TYPE_CHECKING:
    import tensorflow as tf

    Taken = tuple[tf.Tensor] | tuple[tf.Tensor, tf.Tensor]  # indices of images, with the pixels of decoded ones

READ_AT_ONCE = 32  # images decoded into one array before they are copied into the cache


class TensorFlowLoader(Loader):
    """Reads images with Keras' own loader and makes batches with tf.data."""

    @property
    def decoding_errors(self) -> tuple[type[Exception], ...]:
        """What is raised for a damaged file."""
        import tensorflow as tf

        return (tf.errors.OpError,)

    def open(self, path: Path | str) -> np.ndarray:
        """Decode one image file as training does, at its own size: (h, w, 3) uint8 RGB."""
        return _open(str(path)).numpy()

    def prepare(self, image: np.ndarray, size: int, variant: Variant) -> np.ndarray:
        """Apply a variant to (h, w, 3) uint8 RGB at its own size, then resize it to (size, size, 3) uint8."""
        return _prepare(image, size, variant).numpy()

    def fixed_batches(self, images: Images, batch_size: int) -> "tf.data.Dataset":
        """Return batches (float32 pixels in 0-255, one-hot labels) in the order of `images.names`."""
        import tensorflow as tf

        def gathered(index: "tf.Tensor") -> "tuple[tf.Tensor, tf.Tensor]":
            pixels, labels = _gather(images, index)
            return tf.cast(pixels, tf.float32), labels

        def decoded(pixels: "tf.Tensor", label: "tf.Tensor") -> "tuple[tf.Tensor, tf.Tensor]":
            return tf.cast(pixels, tf.float32), tf.one_hot(label, images.classes)

        if images.pixels is None:
            labels = tf.data.Dataset.from_tensor_slices(images.labels)
            batches = tf.data.Dataset.zip(_pixels(images), labels).batch(batch_size).map(decoded, num_parallel_calls=2)
        else:
            indices = tf.data.Dataset.range(len(images)).batch(batch_size)
            batches = indices.map(gathered, num_parallel_calls=2)
        return without_autotuning(batches.prefetch(2))

    def _view_batches(
        self, images: Images, batch_size: int, order: np.ndarray, draws: np.ndarray, view: View
    ) -> "tf.data.Dataset":
        import tensorflow as tf

        transforms = augment.affine(draws, view.augmentation, images.size)
        remaining, turned = view.augmentation, augment.turns_alone(view.augmentation)
        if turned:
            remaining = remaining.model_copy(update={"flips": False, "quarter_turns": False})

        def augmented(taken: "Taken", drawn: "tf.Tensor", transform: "tf.Tensor") -> "tuple[tf.Tensor, tf.Tensor]":
            pixels, labels = _gather(images, *taken)
            if view.intervention.active:
                pixels = tf.numpy_function(view.intervene, [pixels, taken[0]], tf.uint8, stateful=False)
            if turned:
                pixels = tf.numpy_function(augment.turned, [pixels, transform], tf.uint8, stateful=False)
            pixels.set_shape((None, images.size, images.size, 3))
            return augment.change(tf.cast(pixels, tf.float32), drawn, transform, remaining), labels

        dataset = _in_order(images, order, draws, transforms).batch(batch_size)
        return without_autotuning(dataset.map(augmented, num_parallel_calls=2).prefetch(2))

    def feature_batches(
        self, features: np.ndarray, images: Images, batch_size: int, order: np.ndarray
    ) -> "tf.data.Dataset":
        """Return batches ((b, ...) float32 features, one-hot labels) in the given order of images."""
        import tensorflow as tf

        one_hot = np.eye(images.classes, dtype=np.float32)

        def generate() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for start in range(0, len(order), batch_size):
                index = order[start : start + batch_size]
                yield features[index], one_hot[images.labels[index]]

        shapes = (None, *features.shape[1:]), (None, images.classes)
        signature = tuple(tf.TensorSpec(shape, tf.float32) for shape in shapes)
        dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
        steps = -(-len(order) // batch_size)
        return without_autotuning(dataset.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2))

    def _listed(
        self, folders: Sequence[Path], classes: Sequence[str], size: int
    ) -> "tuple[list[str], tf.data.Dataset]":
        found = [_keras_dataset(folder, classes, size) for folder in folders]
        return [path for each in found for path in each.file_paths], reduce(
            lambda one, other: one.concatenate(other), found
        )

    def _decoded(self, images: Images) -> np.ndarray:
        store = np.empty((len(images), images.size, images.size, 3), np.uint8)
        start = 0
        for batch in without_autotuning(_pixels(images).batch(READ_AT_ONCE).prefetch(2)).as_numpy_iterator():
            store[start : start + len(batch)] = batch
            start += len(batch)
        return store


def without_autotuning(dataset: "tf.data.Dataset") -> "tf.data.Dataset":
    """Return a dataset without tf.data's tuning thread; every degree of parallelism here is given.

    The end of an epoch may miss that thread's wake-up and then waits 10, 20 or 40 seconds for its next round.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def _keras_dataset(folder: Path, classes: Sequence[str], size: int) -> "tf.data.Dataset":
    """Return Keras' dataset of a folder, image by image: (size, size, 3) float32 and the class index."""
    import keras

    try:
        return keras.utils.image_dataset_from_directory(
            folder,
            label_mode="int",
            class_names=list(classes),
            batch_size=None,
            image_size=(size, size),
            interpolation="bilinear",
            shuffle=False,  # the order of the manifest
            verbose=False,
        )
    except (ValueError, OSError) as error:
        raise unreadable(folder, error) from None


def _pixels(images: Images) -> "tf.data.Dataset":
    """Return a dataset of all images, (size, size, 3) uint8, decoded in their order."""
    import tensorflow as tf

    if images.dataset is not None:
        return images.dataset.map(lambda pixels, _: _to_uint8(pixels))
    paths = tf.data.Dataset.from_tensor_slices(images.paths)
    return paths.map(lambda path: _decode(path, images.size, images.variant), num_parallel_calls=usable_cores())


def _in_order(images: Images, order: np.ndarray, *others: np.ndarray) -> "tf.data.Dataset":
    """Return a dataset of (what `_gather` takes of an image, *others), image by image in an order of indices.

    Images that are not in memory are decoded here, several at a time. `image_dataset_from_directory` cannot give them:
    an epoch's order is drawn from the seed, and a resumed run needs the same one, so their paths are used.
    """
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices(((order,), *others))
    if images.pixels is not None:
        return dataset
    paths = tf.constant(images.paths)  # outside the function, whose graph would hold a copy of all of them

    def decoded(taken: "Taken", *rest: "tf.Tensor") -> tuple["Taken | tf.Tensor", ...]:
        return (taken[0], _decode(tf.gather(paths, taken[0]), images.size, images.variant)), *rest

    return dataset.map(decoded, num_parallel_calls=usable_cores())


def _gather(images: Images, index: "tf.Tensor", decoded: "tf.Tensor | None" = None) -> "tuple[tf.Tensor, tf.Tensor]":
    """Return the (b, size, size, 3) uint8 pixels and the one-hot labels of a batch of indices."""
    import tensorflow as tf

    labels = tf.one_hot(tf.gather(tf.constant(images.labels), index), images.classes)
    if decoded is None:
        # With NumPy: every iterator would hold its own copy of a tensor in its graph. TensorFlow keeps the function
        # until the process ends; a weak reference lets it not keep the pixels of every dataset ever read.
        cached = weakref.ref(images.pixels)
        decoded = tf.numpy_function(lambda chosen: cached()[chosen], [index], tf.uint8, stateful=False)
        decoded.set_shape((None, images.size, images.size, 3))
    return decoded, labels


def _open(path: "tf.Tensor | str") -> "tf.Tensor":
    import tensorflow as tf

    return tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)


def _decode(path: "tf.Tensor | str", size: int, variant: Variant) -> "tf.Tensor":
    return _prepare(_open(path), size, variant)


def _prepare(image: "tf.Tensor | np.ndarray", size: int, variant: Variant) -> "tf.Tensor":
    """Apply a variant to (h, w, 3) uint8, then resize it to (size, size, 3) uint8 as Keras' loader does."""
    import tensorflow as tf

    if variant.name != PLAIN.name:
        image = tf.numpy_function(lambda pixels: apply(variant, pixels), [image], tf.uint8, stateful=False)
    image = tf.ensure_shape(image, (None, None, 3))
    resized = tf.cond(
        tf.reduce_all(tf.equal(tf.shape(image)[:2], size)),
        lambda: image,  # resizing would not change it
        lambda: _to_uint8(tf.image.resize(image, (size, size), method="bilinear")),
    )
    return tf.ensure_shape(resized, (size, size, 3))


def _to_uint8(image: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf

    return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)
