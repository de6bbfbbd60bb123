"""Random changes of stain and background in training images (domain randomization).

The label stays, so that stain and background no longer predict the class and a model cannot rely on them.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import numpy as np

from data.datasets import image_decoder
from data.imaging import color_ops, scene_ops, stain_normalization
from data.imaging.variants import Variant
from data.loading.augmentation_config import Intervention
from utils.system.environment import usable_cores

Prepare = Callable[[np.ndarray, int, Variant], np.ndarray]

SEED_OFFSET = 1 << 62  # added to the seed, so that no other random numbers of a run are the same
BRIGHTER = 0.5  # share of an exposure's strength for more light: twice the light turns a smear's background white
MAX_PATCHES = 5  # erased in one image
OWN_COLOUR = 0.7  # share of the patches with a colour of the image
PATCH = (0.02, 0.1)  # sides of a patch, as shares of the image's side


@dataclass(frozen=True)
class Material:
    """What interventions take from the training images, measured once before the first epoch.

    Attributes:
        colours: (n, 6) means and deviations in LAB; empty without a stain swap.
        cells: (n, size, size, 1) uint8, the share of nucleated cells in a pixel; empty without a background swap.
        scenes: (n, size, size, 3) uint8, the images without their nucleated cells; empty likewise.
    """

    colours: np.ndarray
    cells: np.ndarray
    scenes: np.ndarray

    @classmethod
    def of(
        cls,
        paths: Sequence[str],
        images: Iterable[np.ndarray],
        settings: Intervention,
        size: int,
        variant: Variant,
        prepare: Prepare,
    ) -> Self:
        """Measure the training images: colours at the size of training, cells and scenes at the pictures' own size.

        Args:
            paths: (n,) files of the training images.
            images: the same n images as the model gets them, (size, size, 3) uint8.
            settings: the changes that will take something from them.
            size: side in pixels of what the model gets.
            variant: applied to the training images.
            prepare: applies a variant to a picture and resizes it, as `Loader.prepare`.
        """
        colours = cells = scenes = np.empty((0,), np.uint8)
        if settings.stain_swap:
            colours = np.array([stain_normalization.reinhard_statistics(pixels) for pixels in images])
        if settings.background_swap:
            cells = np.empty((len(paths), size, size, 1), np.uint8)
            scenes = np.empty((len(paths), size, size, 3), np.uint8)

            def separated(path: str) -> tuple[np.ndarray, np.ndarray]:
                share, scene = _cells_and_scene(path)
                return prepare(np.repeat(share[..., None], 3, 2), size, Variant())[..., :1], prepare(
                    scene, size, variant
                )

            with ThreadPoolExecutor(usable_cores()) as pool:
                for position, pair in enumerate(pool.map(separated, paths)):
                    cells[position], scenes[position] = pair
        return cls(colours, cells, scenes)


def intervene(
    image: np.ndarray, index: int, material: Material, settings: Intervention, seed: int, epoch: int
) -> np.ndarray:
    """Change background, stain, colours, light and patches of one training image; a pure function of its arguments.

    Args:
        image: (size, size, 3) uint8 RGB; it is not modified.
        index: of the image among those of `material`.
        material: of all training images.
        settings: what is changed.
        seed: of the random numbers, with epoch and index.
        epoch: number of the epoch.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    random = np.random.Generator(np.random.Philox(key=[seed + SEED_OFFSET, epoch], counter=[0, 0, 0, index]))
    if random.random() < settings.background_swap:
        scene = material.scenes[random.integers(len(material.scenes))]
        share = material.cells[index] / np.float32(255)
        image = np.rint(share * image + (1 - share) * scene).astype(np.uint8)
    if random.random() < settings.stain_swap:
        image = stain_normalization.reinhard(image, material.colours[random.integers(len(material.colours))])
    if settings.stain_jitter:
        image = _jittered(image, *random.uniform(-settings.stain_jitter, settings.stain_jitter, (2, 3)))
    if random.random() < settings.hue:
        image = color_ops.hue(image, random.uniform(0, 360))
    if random.random() < settings.grey:
        image = _mixed(image, random.dirichlet((1, 1, 1)))
    if settings.exposure:
        factor = 1 + random.uniform(-settings.exposure, BRIGHTER * settings.exposure)
        image = color_ops.brightness(image, factor)
    if random.random() < settings.erasing:
        image = _erased(image, random)
    return image


def _cells_and_scene(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of nucleated cells in each pixel (h, w) uint8, and the (h, w, 3) image without those cells."""
    picture = np.asarray(image_decoder.open_rgb(path))
    share = (255 * scene_ops.cell_share(picture)).astype(np.uint8)
    # Seeded by content, so that a file's name does not matter.
    return share, scene_ops.remove_cells(picture, np.random.default_rng(int(picture.sum())))


def _mixed(image: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return a mixture of the channels, by shares (3,) that sum to 1, on three equal channels."""
    import cv2

    return cv2.transform(image, np.tile(shares.astype(np.float32), (3, 1)))


def _jittered(image: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Scale and shift the amount of each dye in the optical density (Tellez et al. 2018).

    Instead of haematoxylin, eosin and DAB: the dyes of nuclei and red cells in Leishman's stain, and the residual.
    """
    to_density = stain_normalization.dyes().T
    return stain_normalization.with_density(
        image, (to_density * (1 + scale)) @ np.linalg.inv(to_density), to_density @ shift
    )


def _erased(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Cover up to MAX_PATCHES small rectangles, each with a scaled colour of the image or a random colour."""
    image = image.copy()
    side = len(image)
    for _ in range(random.integers(1, MAX_PATCHES + 1)):
        height, width = np.maximum(1, np.rint(random.uniform(*PATCH, 2) * side)).astype(int)
        top, left = random.integers(side - height + 1), random.integers(side - width + 1)
        own = image[tuple(random.integers(side, size=2))] * random.uniform(0, 1.2)
        colour = own if random.random() < OWN_COLOUR else random.uniform(0, 255, 3)
        image[top : top + height, left : left + width] = np.minimum(np.rint(colour), 255)
    return image
