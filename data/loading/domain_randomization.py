"""Random interventions on a training image: what goes with the class but is not the cell is drawn anew.

The label stays, so a model cannot lean on a stain or a background: they say nothing of the class any more.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from data.datasets import image_decoder
from data.imaging import color_ops, scene_ops, stain_normalization
from data.loading.augmentation_config import Intervention
from utils.system.environment import usable_cores

if TYPE_CHECKING:
    from data.loading.tf_loader import Images

APART = 1 << 62  # added to the seed, so that no other numbers of a run are the same
BRIGHTER = 0.5  # of an exposure's strength: twice the light makes a smear's background white, half of it loses nothing
MOST_PATCHES = 5  # that are erased in an image
OWN = 0.7  # share of the patches with a colour of the image
PATCH = (0.02, 0.1)  # sides of a patch, as shares of the image's


@dataclass(frozen=True)
class Material:
    """What interventions take from the training images, measured once, before the first epoch.

    Attributes:
        colours: (n, 6) means and deviations in LAB; empty without a stain swap.
        cells: (n, size, size, 1) uint8, the share of nucleated cells in a pixel; empty without a background swap.
        scenes: (n, size, size, 3) uint8, the images with their nucleated cells taken out; empty likewise.
    """

    colours: np.ndarray
    cells: np.ndarray
    scenes: np.ndarray

    @classmethod
    def of(cls, training: "Images", settings: Intervention) -> Self:
        """Measure the training images, those in memory at their size, cells and scenes at the pictures' own."""
        nothing = np.empty((0,), np.uint8)
        colours, cells, scenes = nothing, nothing, nothing
        if settings.stain_swap:
            colours = np.array([stain_normalization.reinhard_statistics(pixels) for pixels in training.each()])
        if settings.background_swap:
            cells = np.empty((len(training), training.size, training.size, 1), np.uint8)
            scenes = np.empty((len(training), training.size, training.size, 3), np.uint8)
            with ThreadPoolExecutor(usable_cores()) as pool:
                for place, pair in enumerate(pool.map(lambda path: _taken_apart(path, training), training.paths)):
                    cells[place], scenes[place] = pair
        return cls(colours, cells, scenes)


def intervene(
    image: np.ndarray, index: int, material: Material, settings: Intervention, seed: int, epoch: int
) -> np.ndarray:
    """Change one training image, a pure function of its arguments: background, stain, colours, light, patches.

    Args:
        image: (size, size, 3) uint8 RGB; it is not modified.
        index: of the image among those of `material`.
        material: of all training images.
        settings: what is changed.
        seed, epoch: with the index, what everything is drawn from.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    random = np.random.Generator(np.random.Philox(key=[seed + APART, epoch], counter=[0, 0, 0, index]))
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


def _taken_apart(path: str, training: "Images") -> tuple[np.ndarray, np.ndarray]:
    """Return where the nucleated cells of an image are, and the image without them, at the size of training."""
    from data.imaging.variants import Variant
    from data.loading.tf_loader import prepared

    picture = np.asarray(image_decoder.open_rgb(path))
    share = (255 * scene_ops.cell_share(picture)).astype(np.uint8)
    # By content, so that a file's name does not matter.
    empty = scene_ops.remove_cells(picture, np.random.default_rng(int(picture.sum())))
    return (
        np.asarray(prepared(np.repeat(share[..., None], 3, 2), training.size, Variant()))[..., :1],
        np.asarray(prepared(empty, training.size, training.variant)),
    )


def _mixed(image: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return a mixture of the channels, by shares (3,) that sum to 1, on three equal channels."""
    import cv2

    return cv2.transform(image, np.tile(shares.astype(np.float32), (3, 1)))


def _jittered(image: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Scale and shift the amount of each dye in the optical density (Tellez et al. 2018).

    The paper's dyes are haematoxylin, eosin and DAB; here they are those of nuclei and red cells in Leishman's stain,
    and what neither holds.
    """
    to_density = stain_normalization.dyes().T
    return stain_normalization.with_density(
        image, (to_density * (1 + scale)) @ np.linalg.inv(to_density), to_density @ shift
    )


def _erased(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Cover up to MOST_PATCHES small rectangles, each with a colour of the image, darker or lighter, or with any."""
    image = image.copy()
    side = len(image)
    for _ in range(random.integers(1, MOST_PATCHES + 1)):
        height, width = np.maximum(1, np.rint(random.uniform(*PATCH, 2) * side)).astype(int)
        top, left = random.integers(side - height + 1), random.integers(side - width + 1)
        own = image[tuple(random.integers(side, size=2))] * random.uniform(0, 1.2)
        colour = own if random.random() < OWN else random.uniform(0, 255, 3)
        image[top : top + height, left : left + width] = np.minimum(np.rint(colour), 255)
    return image
