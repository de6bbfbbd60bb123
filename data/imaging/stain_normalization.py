"""Stain normalisation: transfer the colours of a reference image, described by a few numbers."""

from collections.abc import Sequence
from functools import cache

import numpy as np

NUCLEUS = (
    0.52,
    0.85,
    0.01,
)  # optical density in red, green, blue: medians of the ALL dataset, see nucleus_segmentation
RED_CELL = (0.74, 0.61, 0.27)
STILL = 0.05  # standard deviation in LAB below which a channel counts as constant
BACKGROUND = 0.15  # optical density (beta of Macenko et al.) below which a pixel is unstained
INK = 0.6  # optical density in blue of a scale bar's letters, black or red, which no blood stain reaches
LIGHT = 90  # percentile of brightness that is background: cells never cover more than 90 % of a smear
PERCENTILE = 1.0  # of the angles (alpha of Macenko et al.) cut off at both ends as noise
FEWEST = 20  # stained pixels needed to separate two stains
NARROWEST = 2.0  # least angle between two stains, degrees
STRONGEST = 4.0  # largest factor by which a stain is changed: beyond it, noise would be amplified


def to_lab(image: np.ndarray) -> np.ndarray:
    """Convert (h, w, 3) uint8 RGB to float32 CIE LAB: L in 0-100, a and b about -128 to 127."""
    import cv2

    return cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)


def optical_density(image: np.ndarray) -> np.ndarray:
    """Return the optical density of each channel, (h, w, 3) float32 from 0 (value 255) to 5.5 (value 0)."""
    import cv2

    return cv2.LUT(image, -np.log(np.arange(1, 257, dtype=np.float32) / 256))


@cache
def dyes() -> np.ndarray:
    """Return unit vectors of optical density, (3, 3) in rows: nuclei, red cells, and orthogonal to both."""
    nucleus, red_cell = (np.array(stain) / np.linalg.norm(stain) for stain in (NUCLEUS, RED_CELL))
    rest = np.cross(nucleus, red_cell)
    return np.stack([nucleus, red_cell, rest / np.linalg.norm(rest)])


@cache
def nuclear_direction() -> np.ndarray:
    """Return (3,), whose product with an optical density is the amount of nuclear stain (Ruifrok and Johnston 2001)."""
    return np.linalg.inv(dyes())[:, 0]


def reinhard_statistics(image: np.ndarray) -> tuple[float, ...]:
    """Return means and standard deviations of L, a, b of (h, w, 3) uint8 RGB, six numbers."""
    lab = to_lab(image).reshape(-1, 3).astype(np.float64)
    return (*map(float, lab.mean(axis=0)), *map(float, lab.std(axis=0)))


def reinhard(image: np.ndarray, statistics: Sequence[float]) -> np.ndarray:
    """Match mean and spread of L, a and b to those of a reference (Reinhard et al. 2001).

    Uses CIE LAB, as is usual for stained slides, instead of the paper's opponent space. A constant channel is shifted
    but not scaled, so that a flat colour becomes the reference's mean colour.

    Args:
        image: (h, w, 3) uint8 RGB.
        statistics: of the reference, from `reinhard_statistics`.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    import cv2

    own = np.array(reinhard_statistics(image))
    aim = np.array(statistics, dtype=np.float64)
    spread = np.where(own[3:] < STILL, 1.0, aim[3:] / np.maximum(own[3:], STILL))
    lab = to_lab(image) * spread.astype(np.float32) + (aim[:3] - own[:3] * spread).astype(np.float32)
    return _to_uint8(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255)


def macenko_statistics(image: np.ndarray) -> tuple[float, ...] | None:
    """Return two stain vectors (unit optical density), their strengths, and the illumination: 3 + 3 + 2 + 3 numbers.

    The stains are the extreme directions in the plane of largest optical density (Macenko et al. 2009): in blood smears
    red cells and nuclei, in this order. Strength is the 99th percentile of a stain's amount in stained pixels.
    Three changes suit blood smears. Ink is excluded, as a scale bar can cover as much area as nuclei. Density is
    measured from the image's own background, so that coloured light is no stain. A pixel is stained by its total
    density, not by each channel, as nuclei transmit all blue light.

    Returns:
        The numbers; None where two stains cannot be separated: too few stained pixels, or a single hue.
    """
    density = optical_density(image).reshape(-1, 3).astype(np.float64)
    light = -np.log((np.percentile(image.reshape(-1, 3), LIGHT, axis=0) + 1) / 256)
    density = density - light
    density = density[(np.sqrt((density**2).sum(axis=1)) > BACKGROUND) & (density[:, 2] < INK)]
    if len(density) < FEWEST:
        return None
    # Elementwise products: the last digits of a matrix product depend on the number of threads.
    moments = [[float((density[:, i] * density[:, k]).mean()) for k in range(3)] for i in range(3)]
    plane = np.linalg.eigh(np.array(moments))[1][:, :0:-1]  # (3, 2), the most important first
    plane = plane * np.where(plane.sum(axis=0) < 0, -1.0, 1.0)
    along, across = (_project(density, direction) for direction in plane.T)
    low, high = np.percentile(np.arctan2(across, along), [PERCENTILE, 100 - PERCENTILE])
    if np.degrees(high - low) < NARROWEST:
        return None
    stains = [plane @ np.array([np.cos(angle), np.sin(angle)]) for angle in (low, high)]
    stains.sort(key=lambda stain: float(stain @ nuclear_direction()))
    strength = [float(np.percentile(_project(density, amount), 99)) for amount in _unmixing(np.array(stains))]
    if min(strength) <= 1e-3:
        return None
    return (*map(float, stains[0]), *map(float, stains[1]), *strength, *map(float, light))


def macenko(image: np.ndarray, statistics: Sequence[float]) -> np.ndarray:
    """Replace the two stains and the illumination of an image by those of a reference (Macenko et al. 2009).

    An image whose stains cannot be separated (blank, one colour, a few pixels) is returned as a copy.

    Args:
        image: (h, w, 3) uint8 RGB.
        statistics: of the reference, from `macenko_statistics`.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    found = macenko_statistics(image)
    if found is None:
        return image.copy()
    own, aim = np.array(found), np.array(statistics, dtype=np.float64)
    factors = np.clip(aim[6:8] / own[6:8], 1 / STRONGEST, STRONGEST)
    change = (aim[:6].reshape(2, 3).T * factors) @ _unmixing(own[:6].reshape(2, 3))
    return with_density(image, change, aim[8:] - change @ own[8:])


def with_density(image: np.ndarray, matrix: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Return the (h, w, 3) uint8 RGB image whose optical density is `matrix` (3, 3) times its own, plus `offset`."""
    import cv2

    density = cv2.transform(optical_density(image), np.column_stack([matrix, offset]).astype(np.float32))
    return _to_uint8(256 * np.exp(-np.clip(density, 0, 6)) - 1)


def _project(density: np.ndarray, direction: np.ndarray) -> np.ndarray:
    return density[:, 0] * direction[0] + density[:, 1] * direction[1] + density[:, 2] * direction[2]


def _unmixing(stains: np.ndarray) -> np.ndarray:
    """Return (2, 3): the least-squares amounts of two stains (2, 3) in an optical density."""
    return np.linalg.pinv(stains.T)


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)
