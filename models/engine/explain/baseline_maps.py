"""Heatmaps that know nothing of a model: what a method must beat to be worth a look."""

import numpy as np

from utils.runs.faithfulness_file import CENTRE, RANDOM

GRID = 8  # random values a side
SPREAD = 0.25  # standard deviation of the blob, of the image's side


def baseline_maps(name: str, count: int, size: int, seed: int) -> np.ndarray:
    """Return the maps of a baseline, (count, size, size) in 0..1; the seed is that of `random` alone."""
    return {RANDOM: random_maps, CENTRE: centre_maps}[name](count, size, seed)


def random_maps(count: int, size: int, seed: int) -> np.ndarray:
    """Return (count, size, size) maps in 0..1 of random spots, interpolated as the methods' maps are."""
    import tensorflow as tf

    spots = np.random.default_rng(seed).random((count, GRID, GRID, 1), np.float32)
    return tf.image.resize(spots, (size, size), method="bilinear").numpy()[..., 0]


def centre_maps(count: int, size: int, _seed: int = 0) -> np.ndarray:
    """Return (count, size, size) maps in 0..1 of one blob in the middle, where photographers put what matters."""
    places = (np.arange(size) - (size - 1) / 2) / (SPREAD * size)
    line = np.exp(-(places**2) / 2).astype(np.float32)
    return np.repeat(np.outer(line, line)[None], count, axis=0)
