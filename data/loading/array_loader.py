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
from data.loading import augment, numpy_decoder
from data.loading.augmentation_config import Augmentation
from data.loading.image_set import Images, Loader, View, unreadable
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
        return self._view_batches(images, batch_size, np.arange(len(images)), no_draws, View(NO_CHANGE, 0, 0))

    def feature_batches(
        self, features: np.ndarray, images: Images, batch_size: int, order: np.ndarray
    ) -> "keras.utils.PyDataset":
        """Return batches ((b, ...) float32 features, one-hot labels) in the given order of images."""
        one_hot = np.eye(images.classes, dtype=np.float32)

        def batch(part: slice, place: Place) -> tuple[Any, Any]:
            index = order[part]
            return place(features[index]), place(one_hot[images.labels[index]])

        return _batches_class()(len(order), batch_size, batch)

    def _view_batches(
        self, images: Images, batch_size: int, order: np.ndarray, draws: np.ndarray, view: View
    ) -> "keras.utils.PyDataset":
        transforms = augment.affine(draws, view.augmentation, images.size)
        one_hot = np.eye(images.classes, dtype=np.float32)
        step = _step(view.augmentation)
        cached = None if images.pixels is None or not view.intervention.active else np.asarray(images.pixels)

        def batch(part: slice, place: Place) -> tuple[Any, Any]:
            index = order[part]
            numbers = place(draws[part]), place(transforms[part])
            if images.pixels is not None and cached is None:
                pixels = step(place.whole(images.pixels), place(index), *numbers)
            else:
                taken = self._decode_some(images, index) if cached is None else cached[index]
                taken = view.intervene(taken, index) if view.intervention.active else taken
                pixels = step(place(taken), None, *numbers)
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
