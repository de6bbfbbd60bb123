"""Colour and texture statistics of a picture: numbers in which smears lie close together and other pictures do not."""

from functools import cache

import numpy as np

from data.imaging.stain_normalization import dyes, optical_density, to_lab

VERSION = 2  # to be raised with every change of the statistics: references of before are then made again
SIDE = 64  # pixels, to which every picture is brought: finer detail tells sizes and lenses apart, not smears
QUANTILES = (0.02, 0.10, 0.25, 0.50, 0.75, 0.90, 0.98)
DYE_QUANTILES = (0.10, 0.50, 0.90, 0.98)
LEVELS = 4  # of the Laplacian pyramid
HUES, DIRECTIONS = 8, 8
BLOCK = 8  # pixels of a side, in which contrast is local
QUIET = 0.002  # of the range of LAB: contrast below it is rounding
PALE = 0.02  # chroma below it has no hue
STAINED = (0.2, 0.5)  # amounts of nuclear stain whose share of the picture is taken
CLEAR = 0.45  # sum of optical densities below which a pixel is background


def statistics(image: np.ndarray) -> np.ndarray:
    """Describe (h, w, 3) uint8 RGB of any size by its colours, its dyes and its texture.

    Quantiles and correlations of LAB, amounts of the dyes of a blood smear and of what is neither, hues, contrast and
    sparseness in octaves (Laplacian pyramid, Burt and Adelson 1983), directions of edges, spread of local contrast.

    Returns:
        (d,) float32, finite, most within -3..3; the same for the same pixels.
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
    """Return quantiles of the amounts of nuclear stain, of red cells' and of neither, and shares of the picture."""
    density = optical_density(small)
    amounts = density.reshape(-1, 3) @ _unmixing()
    shares = [float((amounts[:, 0] > least).mean()) for least in STAINED]
    return np.concatenate([_quantiles(amounts, DYE_QUANTILES), shares, [float((density.sum(axis=2) < CLEAR).mean())]])


def _hues(lab: np.ndarray) -> np.ndarray:
    """Return the roots of the shares of the hues, each pixel with its chroma as its weight."""
    chroma = np.hypot(lab[:, :, 1], lab[:, :, 2]).ravel()
    angle = np.arctan2(lab[:, :, 2], lab[:, :, 1]).ravel()
    sector = ((angle / (2 * np.pi) + 0.5) * HUES).astype(int) % HUES
    mass = np.bincount(sector, weights=chroma, minlength=HUES) / len(chroma)
    return np.sqrt(mass / (mass.sum() + PALE))


def _octaves(lab: np.ndarray) -> np.ndarray:
    """Return the logarithm of the contrast of each octave of L, a and b, and how few pixels of L hold it."""
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
    """Return the roots of the shares of the directions of edges, and quantiles of the logarithm of local contrast."""
    import cv2

    x, y = cv2.Sobel(light, cv2.CV_32F, 1, 0), cv2.Sobel(light, cv2.CV_32F, 0, 1)
    direction = ((np.arctan2(y, x).ravel() / np.pi + 1) * DIRECTIONS).astype(int) % DIRECTIONS
    mass = np.bincount(direction, weights=np.hypot(x, y).ravel(), minlength=DIRECTIONS) / light.size
    blocks = light.reshape(SIDE // BLOCK, BLOCK, SIDE // BLOCK, BLOCK).std(axis=(1, 3))
    local = np.quantile(np.log10(blocks + QUIET), (0.1, 0.5, 0.9))
    return np.concatenate([np.sqrt(mass / (mass.sum() + QUIET)), local])


def _quantiles(pixels: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    """Return the quantiles of every column, one after another, without interpolation."""
    places = [round(share * (len(pixels) - 1)) for share in shares]
    return np.partition(pixels, places, axis=0)[places].ravel()


@cache
def _unmixing() -> np.ndarray:
    """Return (3, 3): optical densities in rows times it are amounts of dyes in columns."""
    return np.linalg.inv(dyes()).astype(np.float32)
