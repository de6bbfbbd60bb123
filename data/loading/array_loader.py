"""The batches of `data.pipeline` without TensorFlow: same order, same draws, changes computed where Keras computes.

An augmented pixel may differ in its last digits. With JAX, images that fit into the memory budget lie on the device,
and a batch of them is taken and changed there by one compiled function: nothing but indices and draws travels.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from data.loading import augment, domain_randomization, numpy_decoder
from data.loading.augmentation_config import Augmentation, Intervention
from data.loading.domain_randomization import Material
from data.loading.tf_loader import Images

if TYPE_CHECKING:
    import jax
    import keras

NOTHING = Augmentation()


class Place:
    """Where arrays go: on one device, Keras moves them itself."""

    def __call__(self, values: Any) -> Any:
        """Return an array of a batch where it is used."""
        return values

    def whole(self, values: Any) -> Any:
        """Return an array that all batches share, where it is used."""
        return values


def fixed_batches(images: Images, batch_size: int) -> "keras.utils.PyDataset":
    """Return batches (float32 pixels in 0-255, one-hot labels) in the order of `images.names`."""
    order = np.arange(len(images))
    nothing = np.zeros((len(order), len(augment.DRAWS)), np.float32)
    return _batches(images, batch_size, order, nothing, NOTHING)


def training_batches(
    images: Images,
    batch_size: int,
    augmentation: Augmentation,
    seed: int,
    epoch: int,
    intervention: Intervention,
    material: Material | None,
    shuffle: bool,
) -> "keras.utils.PyDataset":
    """Return one epoch of shuffled, augmented batches; see `pipeline.training_batches`."""
    order = augment.shuffled(len(images), seed, epoch) if shuffle else np.arange(len(images))
    draws = augment.epoch_draws(len(images), seed, epoch)[order]
    if not intervention.active:
        return _batches(images, batch_size, order, draws, augmentation)
    held = None if images.pixels is None else np.asarray(images.pixels)

    def intervened(index: np.ndarray) -> np.ndarray:
        pairs = zip(numpy_decoder.decoded(images, index) if held is None else held[index], index, strict=True)
        return np.stack([domain_randomization.intervene(*pair, material, intervention, seed, epoch) for pair in pairs])

    return _batches(images, batch_size, order, draws, augmentation, intervened)


def feature_batches(
    features: np.ndarray, images: Images, batch_size: int, order: np.ndarray
) -> "keras.utils.PyDataset":
    """Return batches (features, one-hot labels) in the given order of images."""
    eye = np.eye(images.classes, dtype=np.float32)

    def batch(part: slice, place: Place) -> tuple[Any, Any]:
        index = order[part]
        return place(features[index]), place(eye[images.labels[index]])

    return _batches_class()(len(order), batch_size, batch)


def _batches(
    images: Images,
    batch_size: int,
    order: np.ndarray,
    draws: np.ndarray,
    augmentation: Augmentation,
    pixels_of: Callable[[np.ndarray], np.ndarray] | None = None,
) -> "keras.utils.PyDataset":
    """Return batches of images, taken where they lie and changed there.

    Args:
        images: of the subset.
        batch_size: images a batch.
        order: (n,) index of each image.
        draws: (n, len(DRAWS)), in that order.
        augmentation: what is changed.
        pixels_of: index to (b, size, size, 3) uint8, where they do not come from the images as they are.
    """
    transforms = augment.affine(draws, augmentation, images.size)
    eye = np.eye(images.classes, dtype=np.float32)
    step = _step(augmentation)

    def batch(part: slice, place: Place) -> tuple[Any, Any]:
        index = order[part]
        numbers = place(draws[part]), place(transforms[part])
        if pixels_of is None and images.pixels is not None:
            pixels = step(place.whole(images.pixels), place(index), *numbers)
        else:
            taken = (pixels_of or (lambda wanted: numpy_decoder.decoded(images, wanted)))(index)
            pixels = step(place(taken), None, *numbers)
        return place(pixels), place(eye[images.labels[index]])

    return _batches_class()(len(order), batch_size, batch)


@cache
def _step(augmentation: Augmentation) -> Callable[..., Any]:
    """Return the compiled function (pixels, index or None, draws, transforms) -> float32 pixels, for JAX."""
    import jax

    def step(pixels: "jax.Array", index: "jax.Array | None", drawn: "jax.Array", transform: "jax.Array") -> "jax.Array":
        taken = (pixels if index is None else pixels[index]).astype(np.float32)
        return augment.change(taken, drawn, transform, augmentation) if augmentation.active else taken

    return jax.jit(step)


@cache
def _batches_class() -> "type[keras.utils.PyDataset]":
    """Return `Batches`, made here because its parent is Keras'."""
    import keras

    class Batches(keras.utils.PyDataset):
        """Batches in order; while one is used, a thread makes the next. Keras' own threads begin an epoch twice."""

        def __init__(self, count: int, batch_size: int, batch: Callable[[slice, Place], tuple[Any, Any]]) -> None:
            super().__init__(workers=1)  # in the thread that asks
            self.count, self.batch_size, self.place = count, batch_size, Place()
            self._batch, self._ahead = batch, {}

        def __len__(self) -> int:
            return -(-self.count // self.batch_size)

        def cardinality(self) -> int:
            """Return the number of batches, as a tf.data.Dataset does."""
            return len(self)

        def __getitem__(self, number: int) -> tuple[Any, Any]:
            made = self._ahead.pop(number, None)
            following = number + 1
            self._ahead = {following: _thread().submit(self._make, following)} if following < len(self) else {}
            return made.result() if made else self._make(number)

        def _make(self, number: int) -> tuple[Any, Any]:
            return self._batch(slice(number * self.batch_size, (number + 1) * self.batch_size), self.place)

    return Batches


@cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "batches")
