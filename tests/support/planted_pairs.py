"""Drawn fingerprints and local features of many images, with pairs of related images planted among them."""

import numpy as np

from data.grouping import near_duplicates, sift_matching, stain_features

PLANTED = 0.05  # share of the images that have a related one
FEATURES = 30  # of a drawn picture; real ones have up to 200
SHARED = 15  # features that a planted pair of overlapping pictures has in common


def fingerprints(size: int, most: int = near_duplicates.NEAR) -> tuple[np.ndarray, set[tuple[int, int, int]]]:
    """Draw (size, 256) fingerprints, PLANTED of them copies with up to `most` bits changed; return these pairs."""
    rng = np.random.default_rng(size)
    drawn = rng.integers(0, 2, (size, 256), np.uint8).astype(bool)
    count = int(size * PLANTED)
    chosen = rng.permutation(size)[: 2 * count].reshape(count, 2)
    pairs = set()
    for (one, other), bits in zip(chosen.tolist(), rng.integers(0, most + 1, count).tolist(), strict=True):
        drawn[other] = drawn[one]
        drawn[other, rng.choice(256, bits, replace=False)] ^= True
        pairs.add((min(one, other), max(one, other), bits))
    return drawn, pairs


def stain_statistics(size: int) -> np.ndarray:
    """Draw (size, 18) statistics of light and stain of 60 slides."""
    rng = np.random.default_rng(size)
    slides = rng.normal(0, 3, (60, len(stain_features.NAMES)))
    return slides[rng.integers(len(slides), size=size)] + rng.normal(0, 1, (size, slides.shape[1]))


def local_features(size: int) -> tuple[list[sift_matching.Local], set[tuple[int, int]]]:
    """Draw local features of pictures, PLANTED of which share SHARED features with another; return these pairs."""
    rng = np.random.default_rng(size)
    kinds = rng.integers(0, 90, (500, 128), np.uint8)
    drawn = rng.integers(0, 60, (size, FEATURES, 128), np.uint8)
    drawn += kinds[rng.integers(len(kinds), size=(size, FEATURES))]
    count = int(size * PLANTED)
    chosen = rng.permutation(size)[: 2 * count].reshape(count, 2)
    noise = rng.integers(0, 6, (count, SHARED, 128), np.uint8)
    drawn[chosen[:, 1], :SHARED] = drawn[chosen[:, 0], :SHARED] + noise
    points, small = np.zeros((FEATURES, 4), np.float32), np.zeros((1, 1), np.uint8)
    made = [sift_matching.Local(1.0, (1, 1), points, each, small) for each in drawn]
    return made, {(min(pair), max(pair)) for pair in chosen.tolist()}
