"""Illumination and stain statistics of an image: properties of the slide and the microscope, not of the cells."""

from functools import cache

import numpy as np

from data.grouping.sift_matching import without_corner

SIDE = 112  # pixels to which images are reduced: illumination and stain do not depend on the size
RIM = 4  # pixels of SIDE around nuclei that count neither as nuclei nor as background
FEWEST = 20  # pixels of which a median is taken

NAMES = tuple(
    f"{what}_{channel}"
    for what in ("light", "light_x", "light_y", "light_r", "red_cells", "nuclei")
    for channel in ("red", "green", "blue")
)


def measure(image: np.ndarray) -> np.ndarray:
    """Return the statistics NAMES of (h, w, 3) uint8 RGB: (18,) float64, optical densities; NaN where not measurable.

    Illumination is a surface fitted to the background, a + b x + c y + d (x^2 + y^2) with x and y in -0.5..0.5: level,
    slope and vignetting. Red cells and nuclei are medians of the density above that surface, which makes them
    independent of the illumination. The corner of the scale bar is left out.
    """
    import cv2

    from data.imaging.nucleus_segmentation import nucleus_mask
    from data.imaging.stain_normalization import optical_density

    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    density = cv2.GaussianBlur(optical_density(small), (0, 0), 0.7)
    clear = without_corner(SIDE, SIDE)
    nuclei = nucleus_mask(small) & clear
    rest = (cv2.dilate(nuclei.astype(np.uint8), np.ones((2 * RIM + 1,) * 2)) == 0) & clear
    if np.count_nonzero(rest) < FEWEST:
        return np.full(len(NAMES), np.nan)
    surface = _surface()
    background, spread = _background(density.sum(axis=2), rest, surface)
    light = _fitted(surface[background], density[background])
    above = density - surface @ light
    total = above.sum(axis=2)
    red_cells = rest & (total > max(4 * spread, 0.08)) & (total < 1.5)
    return np.concatenate([light.ravel(), _median(above[red_cells]), _median(above[nuclei])])


@cache
def _surface() -> np.ndarray:
    """Return the terms of the illumination surface at each pixel, (SIDE, SIDE, 4)."""
    at = (np.arange(SIDE) + 0.5) / SIDE - 0.5
    y, x = np.meshgrid(at, at, indexing="ij")
    return np.stack([np.ones_like(x), x, y, x * x + y * y - 1 / 6], axis=2)


def _background(total: np.ndarray, rest: np.ndarray, surface: np.ndarray) -> tuple[np.ndarray, float]:
    """Find unstained pixels, (SIDE, SIDE) bool, and the robust standard deviation of their density."""
    chosen = rest & (total <= np.percentile(total[rest], 40))
    spread = 0.0
    for _ in range(4):
        above = total - surface @ _fitted(surface[chosen], total[chosen])
        middle = np.median(above[chosen])
        spread = 1.4826 * float(np.median(np.abs(above[chosen] - middle))) + 0.01
        chosen = rest & (np.abs(above) < 2.5 * spread)
    return chosen, spread


def _fitted(terms: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the least-squares coefficients of terms (n, 4) for values (n,) or (n, c)."""
    return np.linalg.lstsq(terms.T @ terms, terms.T @ values, rcond=None)[0]


def _median(values: np.ndarray) -> np.ndarray:
    return np.median(values, axis=0) if len(values) >= FEWEST else np.full(3, np.nan)
