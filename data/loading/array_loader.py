"""Images and batches without TensorFlow: the same order, draws and bytes, changed where Keras computes.

An augmented pixel may differ in its last digits from TensorFlow's. With JAX, images that fit into the memory budget lie
on the device, and one compiled function takes and changes a batch there: only indices and drawn numbers are copied.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.datasets.image_decoder import PLAIN_SUFFIXES
from data.imaging.variants import Variant
from data.loading import augment, domain_randomization, numpy_decoder
from data.loading.augmentation_config import Augmentation, Intervention
from data.loading.domain_randomization import Material
from data.loading.image_set import Images, Loader, unreadable
from utils.system.environment import usable_cores

if TYPE_CHECKING:
    import jax
    import keras

NO_CHANGE = Augmentation()


class Place:
    """Where the arrays of a batch are put: on one device, Keras moves them itself."""

    def __call__(self, values: Any) -> Any:
        """Return an array of a batch where it is used."""
        return values

    def whole(self, values: Any) -> Any:
        """Return an array that all batches share, where it is used."""
        return values


class ArrayLoader(Loader):
    """Reads images with NumPy and makes batches as arrays of the backend."""

    decoding_errors = (OSError, ValueError, SyntaxError)

    def open(self, path: Path | str) -> np.ndarray:
        """Decode one image file as training does, at its own size: (h, w, 3) uint8 RGB."""
        return numpy_decoder.open_image(path)

    def prepare(self, image: np.ndarray, size: int, variant: Variant) -> np.ndarray:
        """Apply a variant to (h, w, 3) uint8 RGB at its own size, then resize it to (size, size, 3) uint8."""
        return numpy_decoder.prepare(image, size, variant)

    def fixed_batches(self, images: Images, batch_size: int) -> "keras.utils.PyDataset":
        """Return batches (float32 pixels in 0-255, one-hot labels) in the order of `images.names`."""
        no_draws = np.zeros((len(images), len(augment.DRAWS)), np.float32)
        return self._batches(images, batch_size, np.arange(len(images)), no_draws, NO_CHANGE)

    def training_batches(
        self,
        images: Images,
        batch_size: int,
        augmentation: Augmentation,
        seed: int,
        epoch: int,
        intervention: Intervention = Intervention(),  # noqa: B008  # frozen
        material: Material | None = None,
        shuffle: bool = True,
    ) -> "keras.utils.PyDataset":
        """Return one epoch of shuffled, augmented batches; see `Loader.training_batches`."""
        order = augment.shuffled(len(images), seed, epoch) if shuffle else np.arange(len(images))
        draws = augment.epoch_draws(len(images), seed, epoch)[order]
        if not intervention.active:
            return self._batches(images, batch_size, order, draws, augmentation)
        cached = None if images.pixels is None else np.asarray(images.pixels)

        def intervened(index: np.ndarray) -> np.ndarray:
            pixels = self._decode_some(images, index) if cached is None else cached[index]
            return domain_randomization.intervene_batch(pixels, index, material, intervention, seed, epoch)

        return self._batches(images, batch_size, order, draws, augmentation, intervened)

    def feature_batches(
        self, features: np.ndarray, images: Images, batch_size: int, order: np.ndarray
    ) -> "keras.utils.PyDataset":
        """Return batches ((b, ...) float32 features, one-hot labels) in the given order of images."""
        one_hot = np.eye(images.classes, dtype=np.float32)

        def batch(part: slice, place: Place) -> tuple[Any, Any]:
            index = order[part]
            return place(features[index]), place(one_hot[images.labels[index]])

        return _batches_class()(len(order), batch_size, batch)

    def _batches(
        self,
        images: Images,
        batch_size: int,
        order: np.ndarray,
        draws: np.ndarray,
        augmentation: Augmentation,
        pixels_of: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> "keras.utils.PyDataset":
        """Return batches of images, taken and changed where they lie.

        Args:
            images: of the subset.
            batch_size: images per batch.
            order: (n,) index of each image.
            draws: (n, len(DRAWS)), in that order.
            augmentation: what is changed.
            pixels_of: indices to (b, size, size, 3) uint8, where the images themselves are not used.
        """
        transforms = augment.affine(draws, augmentation, images.size)
        one_hot = np.eye(images.classes, dtype=np.float32)
        step = _step(augmentation)

        def batch(part: slice, place: Place) -> tuple[Any, Any]:
            index = order[part]
            numbers = place(draws[part]), place(transforms[part])
            if pixels_of:
                pixels = step(place(pixels_of(index)), None, *numbers)
            elif images.pixels is None:
                pixels = step(place(self._decode_some(images, index)), None, *numbers)
            else:
                pixels = step(place.whole(images.pixels), place(index), *numbers)
            return place(pixels), place(one_hot[images.labels[index]])

        return _batches_class()(len(order), batch_size, batch)

    def _listed(self, folders: Sequence[Path], classes: Sequence[str], size: int) -> tuple[list[str], None]:
        del size
        return [path for folder in folders for path in _files(folder, classes)], None

    def _decoded(self, images: Images) -> "jax.Array":
        import keras

        return keras.ops.convert_to_tensor(self._decode_some(images, np.arange(len(images))))

    def _decode_some(self, images: Images, index: np.ndarray) -> np.ndarray:
        """Decode some of the images in parallel: (len(index), size, size, 3) uint8."""
        store = np.empty((len(index), images.size, images.size, 3), np.uint8)
        with ThreadPoolExecutor(usable_cores()) as pool:
            each = pool.map(lambda k: self.decode(images.paths[k], images.size, images.variant), index)
            for position, pixels in enumerate(each):
                store[position] = pixels
        return store

    def _changed(
        self, pixels: np.ndarray, draws: np.ndarray, transform: np.ndarray, augmentation: Augmentation
    ) -> np.ndarray:
        import keras

        batch = augment.change(pixels[None].astype(np.float32), draws[None], transform, augmentation)
        return numpy_decoder.to_uint8(keras.ops.convert_to_numpy(batch)[0])


def _files(folder: Path, classes: Sequence[str]) -> list[str]:
    """Return the images of a folder in the order of Keras: class by class, names sorted.

    Raises:
        LeukoBenchError: a class has no folder, or the folder holds no images.
    """
    found = []
    for name in classes:
        if not (folder / name).is_dir():
            raise unreadable(folder, f"no folder {name}")
        for place, _, files in sorted(os.walk(folder / name, followlinks=True)):
            found += [str(Path(place, file)) for file in sorted(files) if file.lower().endswith(PLAIN_SUFFIXES)]
    if not found:
        raise unreadable(folder, "no images")
    return found


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
    """Return the class `Batches`, defined here because its base class is Keras'."""
    import keras

    class Batches(keras.utils.PyDataset):
        """Batches in order; a thread makes the next while one is used. Keras' own threads begin an epoch twice."""

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
