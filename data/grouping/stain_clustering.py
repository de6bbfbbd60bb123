"""Cluster images by their illumination and stain statistics; the number of clusters follows from stability."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.grouping.ward_linkage import WardTree, cluster_means, small_clusters

PER_CLUSTER = 8  # images in the small clusters that estimate the noise: few, so that no cluster holds two slides
ROUNDS = 5
RATIO = 4.0  # least ratio of total variance to within-cluster variance for a direction to be kept
CLIP = 6.0  # robust standard deviations, so that one outlier cannot stretch the space
LEAST_STABLE = 0.85  # adjusted Rand index (prediction strength, Tibshirani and Walther 2005, asks for 0.8 to 0.9)
TOLERANCE = 0.1  # stability that a larger number of clusters may lose against the most stable one
HALVINGS = 8
ENOUGH = 100  # pairs of one place from which the noise of 18 statistics can be estimated
FEWEST = 100  # images; with fewer, clusters appear in pure noise as well
COUNTS = 28  # numbers of clusters tried


@dataclass(frozen=True)
class Clustering:
    """Clusters of n images.

    Attributes:
        labels: (n,) int, from 0.
        stability: (number of clusters, adjusted Rand index between clusterings of two halves), ascending.
    """

    labels: np.ndarray
    stability: tuple[tuple[int, float], ...]


def cluster(points: np.ndarray, number: int = 0, seed: int = 0) -> Clustering:
    """Cluster (n, e) points, as `separating` returns them, with Ward's method.

    Args:
        points: of n images.
        number: of clusters, where the number of slides or patients is known. 0: the largest number that is nearly as
            stable as the most stable one; 1 where none reaches LEAST_STABLE or there are fewer than FEWEST images.
        seed: of the halves on which stability is measured.
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
    return Clustering(WardTree(points).cut(number), stability)


def separating(statistics: np.ndarray, same: Sequence[tuple[int, int]] = ()) -> np.ndarray:
    """Project (n, d) statistics, NaN where missing, onto the directions that separate clusters: (n, e), unit noise.

    A statistic is weighted by what it separates, not by its variance. The noise within one slide is estimated from
    `same`, pairs of images of one place. With fewer than ENOUGH pairs, small clusters and the discriminants between
    them are computed in turn instead (as in Ding and Li 2007, with Ward's method for k-means).
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
        difference = scaled[first] - scaled[second]
        return _discriminants(scaled, difference.T @ difference / (2 * len(difference)))
    for _ in range(ROUNDS):
        points = _discriminants(scaled, _within(scaled, small_clusters(points, PER_CLUSTER)))
    return points


def _within(points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the covariance (d, d) of (n, d) points about the means of their clusters."""
    means = cluster_means(points, labels)
    inner = points - means[labels]
    return inner.T @ inner / max(len(points) - len(means), 1)


def _discriminants(points: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Project (n, d) points onto the directions of largest variance relative to a noise covariance (d, d)."""
    from scipy.linalg import eigh

    ridge = 1e-3 * np.trace(noise) / len(noise) + 1e-9
    ratios, directions = eigh(np.cov(points.T), noise + ridge * np.eye(len(noise)))
    return points @ directions[:, ratios >= min(RATIO, ratios[-1])]


def _stability(points: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> tuple[tuple[int, float], ...]:
    """Measure how well clusters found in one half predict those found in the other half.

    The points of one half are given the nearest cluster mean of the other half; this is compared with their own
    clusters by the adjusted Rand index, mean over HALVINGS.
    """
    from scipy.spatial import cKDTree
    from sklearn.metrics import adjusted_rand_score

    found = np.zeros((HALVINGS, len(counts)))
    for row in found:
        halves = [points[part] for part in np.array_split(rng.permutation(len(points)), 2)]
        trees = [WardTree(half) for half in halves]
        for k, count in enumerate(counts):
            first, second = (tree.cut(count) for tree in trees)
            predicted = cKDTree(cluster_means(halves[0], first)).query(halves[1])[1]
            row[k] = adjusted_rand_score(predicted, second)
    return tuple((int(count), float(value)) for count, value in zip(counts, found.mean(axis=0), strict=True))
