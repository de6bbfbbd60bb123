"""One subset of a split as images in a fixed order, and the interface of what reads it and makes batches of it."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.imaging.variants import Variant
from data.loading import augment, numpy_decoder
from data.loading.augmentation_config import Augmentation, Intervention
from data.loading.domain_randomization import Material, intervene
from utils.errors import LeukoBenchError

if TYPE_CHECKING:
    import jax
    import keras
    import tensorflow as tf

    Batches = tf.data.Dataset | keras.utils.PyDataset

PLAIN = Variant()
NO_INTERVENTION = Intervention()


@dataclass(frozen=True)
class Images:
    """One subset of a split, in fixed order.

    Attributes:
        names: manifest names, "<Class>/<file>".
        labels: (n,) class indices.
        classes: number of classes.
        size: side in pixels after resizing.
        paths: (n,) files.
        variant: applied to every image before it is resized.
        pixels: (n, size, size, 3) uint8, with JAX on the device; None where they exceed the memory budget and are
            decoded again each epoch.
        dataset: what `image_dataset_from_directory` returned, image by image, where it decodes them each epoch.
    """

    names: list[str]
    labels: np.ndarray
    classes: int
    size: int
    paths: list[str]
    variant: Variant
    pixels: "np.ndarray | jax.Array | None"
    dataset: "tf.data.Dataset | None" = None

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class View:
    """How training images are changed in one epoch; random numbers come from (seed, epoch, image index).

    Attributes:
        augmentation: changes of geometry, light and colour.
        seed: of order and changes.
        epoch: number of the epoch.
        intervention: changes of stain and background, applied first.
        material: what the intervention takes from the training images, from `Loader.material`.
    """

    augmentation: Augmentation
    seed: int
    epoch: int
    intervention: Intervention = NO_INTERVENTION
    material: Material | None = None

    def intervene(self, pixels: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Apply the intervention to (b, size, size, 3) uint8 images with the given (b,) indices."""
        return np.stack(
            [
                intervene(one, k, self.material, self.intervention, self.seed, self.epoch)
                for one, k in zip(pixels, index, strict=True)
            ]
        )


class Loader(ABC):
    """Reads images and makes batches with the library that Keras computes with; `pipeline.loader` chooses it."""

    decoding_errors: tuple[type[Exception], ...]  # raised for a damaged file

    def read(
        self,
        folder: Path,
        subset: str,
        classes: Sequence[str],
        size: int,
        budget: int,
        variant: Variant = PLAIN,
        copies: Path | None = None,
    ) -> Images:
        """Read one subset of a split, each image in its variant, resized bilinearly to (size, size).

        Args:
            folder: split folder that holds train/, val/ and test/.
            subset: "train", "val" or "test".
            classes: class names in probability order.
            size: side in pixels.
            budget: bytes that the decoded images may take; above it they are decoded again each epoch.
            variant: see `data.imaging.variants`.
            copies: another folder with a folder for each class, whose images follow those of the subset.

        Raises:
            LeukoBenchError: the subset holds no images.
        """
        folders = [folder / subset, *([copies] if copies else [])]
        paths, dataset = self._listed(folders, classes, size)
        names = ["/".join(path.rsplit(os.sep, 2)[1:]) for path in paths]
        index = {name: position for position, name in enumerate(classes)}
        labels = np.array([index[name.partition("/")[0]] for name in names])
        # A variant is applied to the picture at its own size, before it is resized: only its path is used.
        dataset = dataset if variant.name == PLAIN.name else None
        images = Images(names, labels, len(classes), size, paths, variant, None, dataset)
        if len(paths) * size * size * 3 > budget:
            return images
        return replace(images, pixels=self._decoded(images), dataset=None)

    def each(self, images: Images) -> Iterator[np.ndarray]:
        """Yield the images one by one, (size, size, 3) uint8, decoding them where they are not in memory."""
        for position, path in enumerate(images.paths):
            if images.pixels is None:
                yield self.decode(path, images.size, images.variant)
            else:
                yield np.asarray(images.pixels[position])

    def material(self, images: Images, intervention: Intervention) -> Material | None:
        """Measure what an intervention takes from the training images; None for an intervention that is not active."""
        if not intervention.active:
            return None
        return Material.of(images.paths, self.each(images), intervention, images.size, images.variant, self.prepare)

    def augment(self, pixels: np.ndarray, draws: np.ndarray, augmentation: Augmentation) -> np.ndarray:
        """Change one image as `training_batches` does, at its own size.

        Args:
            pixels: (h, w, 3) uint8 RGB.
            draws: (len(augment.DRAWS),) float32 numbers in 0..1.
            augmentation: what is changed.

        Returns:
            (h, w, 3) uint8 RGB; (w, h, 3) after a quarter turn, so that none of the image is lost.
        """
        import keras

        if augmentation.quarter_turns:
            turns = int(4 * draws[augment.DRAWS.index("turn")])
            pixels, draws = np.rot90(pixels, turns), draws.copy()
            x, y = (augment.DRAWS.index(name) for name in ("shift_x", "shift_y"))
            for _ in range(turns):  # shifts are along the axes of the original image
                draws[x], draws[y] = draws[y], 1 - draws[x]
            augmentation = augmentation.model_copy(update={"quarter_turns": False})
        height, width = pixels.shape[:2]
        transform = augment.affine(draws[None], augmentation, width, height)
        with keras.device("cpu"):  # the same bytes with and without a GPU
            changed = augment.change(pixels[None].astype(np.float32), draws[None], transform, augmentation)
            return numpy_decoder.to_uint8(keras.ops.convert_to_numpy(changed)[0])

    def training_batches(self, images: Images, batch_size: int, view: View, shuffle: bool = True) -> "Batches":
        """Return one epoch of shuffled, augmented batches, a pure function of (seed, epoch, image index).

        Args:
            images: the training images.
            batch_size: images per batch; the last one may have fewer.
            view: how they are changed.
            shuffle: False for the same changes in the order of `images.names`.

        Returns:
            Batches of (float32 pixels in 0-255 of shape (b, size, size, 3), one-hot labels of shape (b, classes)).
        """
        order = augment.shuffled(len(images), view.seed, view.epoch) if shuffle else np.arange(len(images))
        draws = augment.epoch_draws(len(images), view.seed, view.epoch)[order]
        return self._view_batches(images, batch_size, order, draws, view)

    def decode(self, path: Path | str, size: int, variant: Variant = PLAIN) -> np.ndarray:
        """Decode one image file as `read` does: (size, size, 3) uint8 RGB in its variant, resized bilinearly."""
        return self.prepare(self.open(path), size, variant)

    @abstractmethod
    def open(self, path: Path | str) -> np.ndarray:
        """Decode one image file as training does, at its own size: (h, w, 3) uint8 RGB."""

    @abstractmethod
    def prepare(self, image: np.ndarray, size: int, variant: Variant) -> np.ndarray:
        """Apply a variant to (h, w, 3) uint8 RGB at its own size, then resize it to (size, size, 3) uint8."""

    @abstractmethod
    def fixed_batches(self, images: Images, batch_size: int) -> "Batches":
        """Return batches (float32 pixels in 0-255, one-hot labels) in the order of `images.names`."""

    @abstractmethod
    def feature_batches(self, features: np.ndarray, images: Images, batch_size: int, order: np.ndarray) -> "Batches":
        """Return batches ((b, ...) float32 features, one-hot labels) in the given order of images."""

    @abstractmethod
    def _listed(
        self, folders: Sequence[Path], classes: Sequence[str], size: int
    ) -> "tuple[list[str], tf.data.Dataset | None]":
        """Return the image files of folders, class by class and sorted by name, and a dataset of their pixels."""

    @abstractmethod
    def _decoded(self, images: Images) -> "np.ndarray | jax.Array":
        """Decode all images: (n, size, size, 3) uint8."""

    @abstractmethod
    def _view_batches(
        self, images: Images, batch_size: int, order: np.ndarray, draws: np.ndarray, view: View
    ) -> "Batches":
        """Return batches in an order of indices, changed by draws (n, len(DRAWS)) in that order."""


def unreadable(place: Path, reason: object) -> LeukoBenchError:
    """Return the error for a folder of a split that has no images or lacks a class."""
    return LeukoBenchError(f"{place} cannot be read ({reason}). Remove {place.parent} and run it again.")
