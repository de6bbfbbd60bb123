"""ROAD, Remove And Debias (Rong et al. 2022): removed pixels are imputed from their neighbours.

Pixels removed with one colour leave an outline that a network can read. Noisy linear imputation leaves none: each
removed pixel is the weighted mean of its neighbours, including removed ones, which is one sparse system per image.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from models.engine.explain.deletion_insertion import Probabilities, removal_order

if TYPE_CHECKING:
    from scipy.sparse import csr_array

RATES = (0.1, 0.2, 0.4)  # shares of removed pixels; each needs two systems to be solved
BESIDE, ACROSS = 1 / 6, 1 / 12  # weights of direct and diagonal neighbours, from the paper
NOISE = 0.01 * 255  # standard deviation added to imputed pixels, from the paper
MOST, LEAST = 0, 1  # last axis of `curves`: which pixels were removed first


def curves(
    probabilities: Probabilities, image: np.ndarray, values: np.ndarray, target: int, seed: int = 0
) -> np.ndarray:
    """Return the probability of a class after the pixels of the highest, or lowest, map values were imputed.

    Args:
        probabilities: the network.
        image: (h, w, 3) in 0-255.
        values: (h, w) map; equal values are removed in random order.
        target: index of the class.
        seed: seed of that order and of the noise.

    Returns:
        (rates, 2): MOST or LEAST relevant pixels removed.
    """
    order = removal_order(values, seed)
    batch = []
    for rate in RATES:
        count = round(rate * len(order))
        for chosen in (order[:count], order[len(order) - count :]):
            removed = np.zeros(len(order), bool)
            removed[chosen] = True
            batch.append(imputed(image, removed.reshape(values.shape), seed))
    return probabilities(np.stack(batch))[:, target].reshape(len(RATES), 2)


def imputed(image: np.ndarray, removed: np.ndarray, seed: int = 0, noise: float = NOISE) -> np.ndarray:
    """Fill removed pixels of an image by noisy linear imputation.

    Args:
        image: (h, w, 3) in 0-255.
        removed: (h, w) bool, not all True.
        seed: seed of the noise.
        noise: standard deviation of the noise.

    Returns:
        (h, w, 3) float32 in 0-255; other pixels are unchanged.
    """
    from scipy.sparse import linalg

    system = _differences(*removed.shape)
    missing, kept = np.flatnonzero(removed), np.flatnonzero(~removed)
    pixels = image.reshape(-1, image.shape[-1]).astype(np.float32)
    if not len(missing):
        return pixels.reshape(image.shape)
    rows = system[missing]
    # The matrix is symmetric and diagonally dominant: this ordering halves the time.
    solver = linalg.splu(rows[:, missing].tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    found = solver.solve(-(rows[:, kept] @ pixels[kept].astype(np.float64)))
    found += noise * np.random.default_rng(seed).standard_normal(found.shape)
    pixels[missing] = found.clip(0, 255)
    return pixels.reshape(image.shape)


@lru_cache(maxsize=1)  # all images of a run have one size
def _differences(height: int, width: int) -> "csr_array":
    """Return the (pixels, pixels) matrix whose product with an image is each pixel's difference to its neighbours."""
    from scipy import sparse

    places = np.arange(height * width).reshape(height, width)
    pairs = (
        (places[:, :-1], places[:, 1:], BESIDE),
        (places[:-1], places[1:], BESIDE),
        (places[:-1, :-1], places[1:, 1:], ACROSS),
        (places[:-1, 1:], places[1:, :-1], ACROSS),
    )
    first, second = (np.concatenate([pair[k].ravel() for pair in pairs]) for k in (0, 1))
    weights = np.concatenate([np.full(pair[0].size, pair[2]) for pair in pairs])
    one_way = sparse.csr_array((weights, (first, second)), shape=(places.size, places.size))
    near = one_way + one_way.T
    return (sparse.diags_array(near.sum(axis=1)) - near).tocsr()
