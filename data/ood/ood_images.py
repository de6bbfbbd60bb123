"""Images that are no blood smears, drawn or from installed packages: possible wrong uploads.

DEVELOPMENT families were used to choose the statistics and their limit; HELD_OUT families were not.
"""

import zlib
from collections.abc import Callable
from functools import cache

import numpy as np

from data.ood.drawn.canvas import choose
from data.ood.drawn.microscopy import histology, other_stain, radiograph
from data.ood.drawn.pages import chart, screenshot, text
from data.ood.drawn.patterns import flat, gradient, noise, round_things, texture
from data.ood.drawn.photographs import photograph
from utils.errors import LeukoBenchError, nearest

SIZES = (96, 512)  # pixels of the longer side, inclusive
SHORTEST = 0.6  # shorter side, as a share of the longer side
EXAMPLES = (  # shipped with scikit-image
    *("astronaut", "brick", "camera", "cat", "cell", "coffee", "coins", "grass", "gravel", "hubble_deep_field"),
    *("immunohistochemistry", "moon", "page", "retina", "rocket"),
)


def example(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Crop 40 to 100 % of the sides of an example image of scikit-image: photographs, a retina, a tissue section."""
    import cv2

    picture = _example(choose(rng, EXAMPLES))
    tall, wide = picture.shape[:2]
    share = rng.uniform(0.4, 1)
    rows, columns = round(tall * share), round(wide * share)
    top, left = int(rng.integers(0, tall - rows + 1)), int(rng.integers(0, wide - columns + 1))
    part = picture[top : top + rows, left : left + columns]
    return cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)


Draw = Callable[[np.random.Generator, int, int], np.ndarray]
DEVELOPMENT: dict[str, Draw] = {
    "noise": noise,
    "flat colour": flat,
    "gradient": gradient,
    "text": text,
    "chart": chart,
    "texture": texture,
    "round things": round_things,
}
HELD_OUT: dict[str, Draw] = {
    "photograph": photograph,
    "histology": histology,
    "other stain": other_stain,
    "radiograph": radiograph,
    "screenshot": screenshot,
    "real picture": example,
}
FAMILIES = DEVELOPMENT | HELD_OUT


def draw(family: str, number: int, size: int = 0) -> np.ndarray:
    """Draw one image, a pure function of its arguments: (h, w, 3) uint8, of any aspect ratio and orientation.

    Args:
        family: a key of FAMILIES.
        number: index within the family, from 0.
        size: pixels of the longer side; 0 for a random one within SIZES.

    Raises:
        LeukoBenchError: the family is unknown.
    """
    if family not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise LeukoBenchError(f"Unknown family '{family}': choose from {known}.{nearest(family, FAMILIES)}")
    rng = np.random.default_rng([zlib.crc32(family.encode()), number])
    longer, shorter = int(rng.integers(SIZES[0], SIZES[1] + 1)), rng.uniform(SHORTEST, 1) if rng.random() < 0.5 else 1
    longer = size or longer
    sides = longer, max(1, round(longer * shorter))
    height, width = sides if rng.random() < 0.5 else sides[::-1]
    return np.ascontiguousarray(FAMILIES[family](rng, height, width), np.uint8)


@cache
def _example(name: str) -> np.ndarray:
    from skimage import color, data

    picture = getattr(data, name)()
    return color.gray2rgb(picture) if picture.ndim == 2 else picture
