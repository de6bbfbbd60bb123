"""Cluster images by the statistics of their light and stain, as many clusters as the data bear."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.grouping import ward_linkage

PER_CLUSTER = 8  # images in a cluster while the space is sought: small ones, so that they hold no two slides
ROUNDS = 5
RATIO = 4.0  # variance of all images over that within clusters, above which a direction tells clusters apart
CLIP = 6.0  # robust standard deviations: one odd image must not stretch the space
LEAST_STABLE = 0.85  # adjusted Rand index (prediction strength, Tibshirani and Walther 2005, asks for 0.8 to 0.9)
TOLERANCE = 0.1  # a number of clusters may be this much less stable than the most stable one
HALVINGS = 8
ENOUGH = 100  # pairs of one place, from which the noise of 18 statistics is known
FEWEST = 100  # images, below which clusters are found in noise as well
COUNTS = 28  # numbers of clusters tried


@dataclass(frozen=True)
class Clustering:
    """Clusters of n images.

    Attributes:
        labels: (n,) int, from 0.
        stability: (number of clusters, adjusted Rand index between two clusterings from separate halves), ascending.
    """

    labels: np.ndarray
    stability: tuple[tuple[int, float], ...]


def cluster(points: np.ndarray, number: int = 0, seed: int = 0) -> Clustering:
    """Cluster the rows of (n, e) points, as `separating` gives them, with Ward's method, see `data.ward`.

    Args:
        points: of n images.
        number: of clusters, where it is known how many slides or patients there are; 0: the largest number that is
            nearly as stable as the most stable one, 1 where none reaches LEAST_STABLE or there are too few images.
        seed: of the halves that stability is measured on.
    """
    if len(points) < FEWEST:
        return Clustering(np.zeros(len(points), int), ())
    tried = np.geomspace(2, max(2, min(len(points) // 6, 300)), COUNTS).round().astype(int)
    counts = np.unique([*tried, number] if number > 1 else tried)
    stability = _stability(points, counts, np.random.default_rng(seed))
    best = max(value for _, value in stability)
    if not number:
        near_best = [count for count, value in stability if value >= best - TOLERANCE]
        number = max(near_best) if best >= LEAST_STABLE else 1
    return Clustering(ward_linkage.tree(points).cut(number), stability)


def separating(statistics: np.ndarray, same: Sequence[tuple[int, int]] = ()) -> np.ndarray:
    """Return (n, d) statistics, some of them nan, in the directions that tell clusters apart, (n, e), of unit noise.

    A statistic counts by what it separates, not by how much it varies. How it varies on one slide is seen in `same`,
    pairs of images known to show one place. Where they are fewer than ENOUGH, small clusters and the discriminants
    between them are found in turn instead (as in Ding and Li 2007, with Ward's method for k-means).
    """
    known = np.where(np.isnan(statistics).all(axis=0), 0.0, statistics)
    filled = np.where(np.isnan(known), np.nanmedian(known, axis=0), known)
    middle = np.median(filled, axis=0)
    spread = 1.4826 * np.median(np.abs(filled - middle), axis=0) + 1e-4
    scaled = points = np.clip((filled - middle) / spread, -CLIP, CLIP)
    if len(scaled) < FEWEST:
        return scaled
    if len(same) >= ENOUGH:
        first, second = np.array(same).T
        apart = scaled[first] - scaled[second]
        return _discriminants(scaled, apart.T @ apart / (2 * len(apart)))
    for _ in range(ROUNDS):
        points = _discriminants(scaled, _within(scaled, ward_linkage.small(points, PER_CLUSTER)))
    return points


def _within(points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the covariance (d, d) of points (n, d) about the means of their clusters."""
    _, member = np.unique(labels, return_inverse=True)
    size = np.bincount(member)
    means = np.stack([np.bincount(member, column) / size for column in points.T], axis=1)
    inner = points - means[member]
    return inner.T @ inner / max(len(points) - len(size), 1)


def _discriminants(points: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return points (n, d) in the directions in which they vary most against noise of a covariance (d, d)."""
    from scipy.linalg import eigh

    ridge = 1e-3 * np.trace(noise) / len(noise) + 1e-9
    ratios, directions = eigh(np.cov(points.T), noise + ridge * np.eye(len(noise)))
    return points @ directions[:, ratios >= min(RATIO, ratios[-1])]


def _stability(points: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> tuple[tuple[int, float], ...]:
    """Cluster two halves apart; say how well the clusters of one, given to the other by nearest mean, fit its own.

    The adjusted Rand index, mean over HALVINGS.
    """
    from scipy.spatial import cKDTree
    from sklearn.metrics import adjusted_rand_score

    found = np.zeros((HALVINGS, len(counts)))
    for row in found:
        one, other = np.array_split(rng.permutation(len(points)), 2)
        trees = ward_linkage.tree(points[one]), ward_linkage.tree(points[other])
        for k, count in enumerate(counts):
            given, own = (tree.cut(count) for tree in trees)
            members = np.split(points[one][np.argsort(given, kind="stable")], np.cumsum(np.bincount(given))[:-1])
            means = np.stack([each.mean(axis=0) for each in members])
            row[k] = adjusted_rand_score(cKDTree(means).query(points[other])[1], own)
    return tuple((int(count), float(value)) for count, value in zip(counts, found.mean(axis=0), strict=True))
