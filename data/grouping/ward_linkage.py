"""Ward's method for any number of points: all distances up to some thousands, small clusters first above that."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from data.grouping.near_duplicates import ALL

CELL = 1024  # points of a part whose small clusters are found by themselves
LEAVES = 2048  # small clusters, about, on which the tree of more points stands


@dataclass(frozen=True)
class Tree:
    """How n points join, two clusters at a time.

    Attributes:
        linkage: (m - 1, 4), as SciPy's `linkage` returns it, over m leaves.
        leaf: (n,) the leaf of each point; a leaf may hold several.
    """

    linkage: np.ndarray
    leaf: np.ndarray

    def cut(self, number: int) -> np.ndarray:
        """Return the cluster of each point where there are `number` of them, or fewer: (n,) int from 0."""
        from scipy.cluster.hierarchy import fcluster

        return fcluster(self.linkage, number, "maxclust")[self.leaf] - 1


def tree(points: np.ndarray, exact: int = ALL) -> Tree:
    """Join (n, e) points by Ward's method (Ward 1963).

    Up to `exact` points this is SciPy's. Of more, about LEAVES small clusters are found first and then joined by the
    same rule, each with its weight, as in BIRCH (Zhang, Ramakrishnan and Livny 1996): time n log n, memory n.
    """
    from scipy.cluster.hierarchy import linkage

    if len(points) <= exact:
        return Tree(linkage(points, "ward"), np.arange(len(points)))
    leaf = small(points, -(-len(points) // LEAVES), exact)
    weights = np.bincount(leaf)
    means = np.stack([np.bincount(leaf, column) / weights for column in points.T], axis=1)
    return Tree(_joined(means, weights), leaf)


def small(points: np.ndarray, size: int, exact: int = ALL) -> np.ndarray:
    """Return clusters of about `size` of (n, e) points by Ward's method, (n,) int from 0.

    More than `exact` points are parted at medians first, down to CELL points, and clustered in each part.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    labels, known = np.zeros(len(points), int), 0
    for part in [np.arange(len(points))] if len(points) <= exact else _cells(points):
        inside = fcluster(linkage(points[part], "ward"), max(len(part) // size, 1), "maxclust")
        labels[part] = inside - 1 + known
        known += inside.max()
    return labels


def _cells(points: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the indices of parts of at most CELL points: halved again and again along the axis of largest variance."""
    parts = [np.arange(len(points))]
    while parts:
        part = parts.pop()
        if len(part) <= CELL:
            yield part
            continue
        along = points[part, points[part].var(axis=0).argmax()]
        order = np.argsort(along, kind="stable")
        parts += [part[order[: len(part) // 2]], part[order[len(part) // 2 :]]]


def _joined(means: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the linkage (m - 1, 4) of (m, e) means of clusters with (m,) members, by chains of nearest neighbours.

    The algorithm of Murtagh (1983), which SciPy has for points of weight 1, without the distances of all to all.
    """
    centre, weight = means.astype(np.float64), weights.astype(np.float64)
    gone = np.zeros(len(centre), bool)
    merges: list[tuple[float, int, int]] = []
    chain: list[int] = []
    while len(merges) < len(centre) - 1:
        last = chain[-1] if chain else int(np.argmin(gone))
        chain = chain or [last]
        apart = 2 * ((centre - centre[last]) ** 2).sum(axis=1) * (weight * weight[last] / (weight + weight[last]))
        apart[gone] = apart[last] = np.inf
        nearest = int(apart.argmin())
        if len(chain) == 1 or apart[nearest] < apart[chain[-2]]:
            chain.append(nearest)
            continue
        other = chain[-2]  # each is the other's nearest: they join, in the place of the other
        merges.append((float(np.sqrt(apart[other])), last, other))
        total = weight[last] + weight[other]
        centre[other] = (weight[last] * centre[last] + weight[other] * centre[other]) / total
        weight[other], gone[last] = total, True
        chain = chain[:-2]
    return _numbered(merges)


def _numbered(merges: list[tuple[float, int, int]]) -> np.ndarray:
    """Return merges (height, cluster that goes, cluster that stays) as SciPy numbers them, lowest first."""
    count = len(merges) + 1
    above = list(range(2 * count - 1))
    leaves = [1] * count + [0] * (count - 1)

    def top(node: int) -> int:
        while above[node] != node:
            above[node] = node = above[above[node]]
        return node

    rows = []
    for number, (height, one, other) in enumerate(sorted(merges, key=lambda merge: merge[0]), count):
        low, high = sorted((top(one), top(other)))
        above[low] = above[high] = number
        leaves[number] = leaves[low] + leaves[high]
        rows.append((low, high, height, leaves[number]))
    return np.array(rows, np.float64).reshape(-1, 4)
