"""Colour and texture statistics of an image, which separate smears from other images."""

from functools import cache

import numpy as np

from data.imaging.stain_normalization import dyes, optical_density, to_lab

VERSION = 2  # raise it with every change of the statistics: stored references are then computed again
SIDE = 64  # pixels to which every image is resized: finer detail depends on size and lens
QUANTILES = (0.02, 0.10, 0.25, 0.50, 0.75, 0.90, 0.98)
DYE_QUANTILES = (0.10, 0.50, 0.90, 0.98)
LEVELS = 4  # of the Laplacian pyramid
HUES, DIRECTIONS = 8, 8
BLOCK = 8  # pixels per side of the blocks of local contrast
QUIET = 0.002  # of the range of LAB: smaller contrasts are rounding
PALE = 0.02  # chroma below which there is no hue
STAINED = (0.2, 0.5)  # thresholds of nuclear stain whose area is measured
CLEAR = 0.45  # sum of optical densities below which a pixel is background


def statistics(image: np.ndarray) -> np.ndarray:
    """Measure the colours, dyes and texture of (h, w, 3) uint8 RGB of any size.

    Quantiles and correlations of LAB, amounts of the dyes of a blood smear and of the residual, hues, contrast and
    sparseness per octave (Laplacian pyramid, Burt and Adelson 1983), edge directions, spread of local contrast.

    Returns:
        (d,) float32, finite, mostly within -3..3.
    """
    import cv2

    height, width = image.shape[:2]
    small = np.ascontiguousarray(image)
    if (height, width) != (SIDE, SIDE):
        shrinks = min(height, width) >= SIDE
        small = cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    lab = to_lab(small) / np.float32(100)
    parts = (_colours(lab), _dyes(small), _hues(lab), _octaves(lab), _edges(lab[:, :, 0]))
    return np.concatenate(parts).astype(np.float32)


def _colours(lab: np.ndarray) -> np.ndarray:
    """Return means, spreads, quantiles and correlations of L, a and b."""
    pixels = lab.reshape(-1, 3)
    spread = pixels.std(axis=0)
    centred = pixels - pixels.mean(axis=0)
    together = (centred.T @ centred / len(pixels))[(0, 0, 1), (1, 2, 2)]
    correlations = together / (spread[[0, 0, 1]] * spread[[1, 2, 2]] + QUIET**2)
    return np.concatenate([pixels.mean(axis=0), spread, _quantiles(pixels, QUANTILES), correlations])


def _dyes(small: np.ndarray) -> np.ndarray:
    """Return quantiles of the amounts of nuclear stain, red cells' stain and residual, and areas above thresholds."""
    density = optical_density(small)
    amounts = density.reshape(-1, 3) @ _unmixing()
    shares = [float((amounts[:, 0] > least).mean()) for least in STAINED]
    return np.concatenate([_quantiles(amounts, DYE_QUANTILES), shares, [float((density.sum(axis=2) < CLEAR).mean())]])


def _hues(lab: np.ndarray) -> np.ndarray:
    """Return the square roots of the hue histogram, weighted by chroma."""
    chroma = np.hypot(lab[:, :, 1], lab[:, :, 2]).ravel()
    angle = np.arctan2(lab[:, :, 2], lab[:, :, 1]).ravel()
    sector = ((angle / (2 * np.pi) + 0.5) * HUES).astype(int) % HUES
    mass = np.bincount(sector, weights=chroma, minlength=HUES) / len(chroma)
    return np.sqrt(mass / (mass.sum() + PALE))


def _octaves(lab: np.ndarray) -> np.ndarray:
    """Return the logarithm of the contrast of L, a and b per octave, and the sparseness of L."""
    import cv2

    found = []
    for _ in range(LEVELS):
        lower = cv2.pyrDown(lab)
        band = lab - cv2.pyrUp(lower, dstsize=(lab.shape[1], lab.shape[0]))
        contrast = band.reshape(-1, 3).std(axis=0)
        sparse = np.abs(band[:, :, 0]).mean() / (contrast[0] + QUIET)
        found += [*np.log10(contrast + QUIET), sparse]
        lab = lower
    return np.array(found)


def _edges(light: np.ndarray) -> np.ndarray:
    """Return the square roots of the histogram of edge directions, and quantiles of the logarithm of local contrast."""
    import cv2

    x, y = cv2.Sobel(light, cv2.CV_32F, 1, 0), cv2.Sobel(light, cv2.CV_32F, 0, 1)
    direction = ((np.arctan2(y, x).ravel() / np.pi + 1) * DIRECTIONS).astype(int) % DIRECTIONS
    mass = np.bincount(direction, weights=np.hypot(x, y).ravel(), minlength=DIRECTIONS) / light.size
    blocks = light.reshape(SIDE // BLOCK, BLOCK, SIDE // BLOCK, BLOCK).std(axis=(1, 3))
    local = np.quantile(np.log10(blocks + QUIET), (0.1, 0.5, 0.9))
    return np.concatenate([np.sqrt(mass / (mass.sum() + QUIET)), local])


def _quantiles(pixels: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    """Return the quantiles of every column without interpolation, flattened."""
    places = [round(share * (len(pixels) - 1)) for share in shares]
    return np.partition(pixels, places, axis=0)[places].ravel()


@cache
def _unmixing() -> np.ndarray:
    """Return the unmixing matrix (3, 3): optical densities in rows times it are dye amounts in columns."""
    return np.linalg.inv(dyes()).astype(np.float32)
