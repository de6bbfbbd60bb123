"""Overlapping fields of view: two pictures that show the same cells, moved against one another.

Pairs are proposed by what they look like, never by their names, and proven by their cells: features that match lie in
both pictures in the same arrangement, and the pictures agree where they then come to lie on one another.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from data.grouping.near_duplicates import ALL
from data.grouping.sift_matching import THUMBNAIL, UNIT, Local, alike, nearby, nearest, without_corner
from utils.system.environment import usable_cores

BY_TEXTURE = 12  # pictures proposed for each
BY_COLOUR = 10
SAME = 0.85  # cosine of two descriptors that may show the same
TURN = 20.0  # degrees, between directions of two features that match; slides are moved, hardly turned
GROWTH = 0.3  # of their diameters' logarithm
FEWEST = 8  # matching features in one arrangement: chance reaches 6 in two of 100,000 pairs
ERROR = 2.5  # pixels of the reduced picture
LARGEST_TURN = 12.0  # degrees, between two fields
LARGEST_GROWTH = 0.1
AGREEMENT = 0.45  # correlation of brightness where the fields lie on one another
AT_ONCE = 10_000  # pairs that wait in memory for their turn
BESIDE = 64  # where there are many pictures: overlaps of one, past which those beside it are not compared as well
STILL = 1.5  # pixels of the reduced picture: fields that moved less are one field, taken or stored twice


@dataclass(frozen=True)
class Overlap:
    """Two pictures that share a part of the slide.

    Attributes:
        first, second: indices, first lower.
        dx, dy: where the middle of the first picture lies in the second, less where it lies in the first; pixels.
        turn: degrees.
        inliers: features in one arrangement.
        share: part of the first picture that the second shows, 0-1.
        agreement: correlation of brightness in that part, -1 to 1.
        still: the field moved by less than STILL.
    """

    first: int
    second: int
    dx: float
    dy: float
    turn: float
    inliers: int
    share: float
    agreement: float
    still: bool


def find(pictures: Sequence[Local], colours: np.ndarray, proposed: Iterable[tuple[int, int]] = ()) -> list[Overlap]:
    """Find the overlapping ones of n pictures, in ascending order.

    For each a fixed number of others is looked at, of more than ALL pictures found without comparing all with all.

    Args:
        pictures: local features.
        colours: (n, d) in which Euclidean distance says how alike light and stain are.
        proposed: pairs of indices to look at besides, lower first.
    """
    from threadpoolctl import threadpool_limits

    if len(pictures) < 2:
        return []

    many = len(pictures) > ALL
    coloured = nearby if many else nearest
    pending = alike(pictures, BY_TEXTURE) | coloured(colours, BY_COLOUR) | set(proposed)
    seen: set[tuple[int, int]] = set()
    found: list[Overlap] = []
    # One thread a pair: with more, small matrix products wait for one another.
    with threadpool_limits(1), ThreadPoolExecutor(usable_cores()) as pool:
        while pending:
            order = sorted(pending)
            for start in range(0, len(order), AT_ONCE):
                results = pool.map(lambda pair: prove(pictures, *pair), order[start : start + AT_ONCE])
                found += [overlap for overlap in results if overlap]
            seen |= pending
            pending = _beside(found, BESIDE if many else len(pictures)) - seen
    return sorted(found, key=lambda overlap: (overlap.first, overlap.second))


def prove(pictures: Sequence[Local], first: int, second: int) -> Overlap | None:
    """Return how two of the pictures overlap; None where nothing shows that they do."""
    import cv2

    one, other = pictures[first], pictures[second]
    if min(len(one.points), len(other.points)) < FEWEST:
        return None
    here, there = _matches(one, other)
    if len(here) < FEWEST:
        return None
    fit, chosen = cv2.estimateAffinePartial2D(here, there, method=cv2.RANSAC, ransacReprojThreshold=ERROR)
    if fit is None:
        return None
    inliers = int(chosen.sum())
    growth, turn = float(np.hypot(fit[0, 0], fit[1, 0])), float(np.degrees(np.arctan2(fit[1, 0], fit[0, 0])))
    if inliers < FEWEST or abs(np.log(max(growth, 1e-6))) > LARGEST_GROWTH or abs(turn) > LARGEST_TURN:
        return None
    share, agreement = _agreement(one, other, fit)
    if agreement < AGREEMENT:
        return None
    middle = np.array([one.size[1] / 2, one.size[0] / 2])
    moved = fit[:, :2] @ middle + fit[:, 2] - middle
    dx, dy = (round(float(step) * one.scale, 1) for step in moved)
    still = bool(np.hypot(*moved) < STILL)
    return Overlap(first, second, dx, dy, round(turn, 2), inliers, round(share, 4), round(agreement, 4), still)


def _matches(one: Local, other: Local) -> tuple[np.ndarray, np.ndarray]:
    """Return the places (m, 2) in both pictures of features that are each other's nearest and stand alike."""
    cosine = one.descriptors.astype(np.float32) @ other.descriptors.astype(np.float32).T
    best, back = cosine.argmax(axis=1), cosine.argmax(axis=0)
    index = np.arange(len(best))
    mutual = np.flatnonzero((back[best] == index) & (cosine[index, best] > SAME * UNIT**2))
    here, there = one.points[mutual], other.points[best[mutual]]
    turn = np.abs((here[:, 3] - there[:, 3] + 180) % 360 - 180)
    growth = np.abs(np.log(here[:, 2] / there[:, 2]))
    kept = (turn < TURN) & (growth < GROWTH)
    return here[kept, :2], there[kept, :2]


def _agreement(one: Local, other: Local, fit: np.ndarray) -> tuple[float, float]:
    """Return the part of the first picture that lies in the second, and the correlation of brightness there."""
    import cv2

    side = (THUMBNAIL, THUMBNAIL)
    into = np.diag([THUMBNAIL / other.size[1], THUMBNAIL / other.size[0], 1])
    back = np.diag([one.size[1] / THUMBNAIL, one.size[0] / THUMBNAIL, 1])
    place = (into @ np.vstack([fit, (0, 0, 1)]) @ back)[:2]
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(other.thumbnail, place, side, flags=how)
    clear = without_corner(*side)
    whole = cv2.warpAffine(np.full(side, 255, np.uint8), place, side, flags=how) == 255
    both = clear & (cv2.warpAffine(clear.astype(np.uint8) * 255, place, side, flags=how) == 255)
    a, b = one.thumbnail[both].astype(np.float64), laid[both].astype(np.float64)
    if len(a) < 2 or a.std() == 0 or b.std() == 0:
        return float(whole.mean()), 0.0
    return float(whole.mean()), float(np.corrcoef(a, b)[0, 1])


def _beside(found: Sequence[Overlap], most: int) -> set[tuple[int, int]]:
    """Return the pairs that overlap one and the same third picture, which overlaps no more than `most`."""
    beside: dict[int, set[int]] = defaultdict(set)
    for overlap in found:
        beside[overlap.first].add(overlap.second)
        beside[overlap.second].add(overlap.first)
    return {pair for others in beside.values() if len(others) <= most for pair in combinations(sorted(others), 2)}
