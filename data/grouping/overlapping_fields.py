"""Overlapping fields of view: two images that show the same cells at shifted positions.

Candidate pairs come from texture and colour, never from file names. They are verified by geometry: matching features
have the same arrangement in both images (RANSAC), and brightness correlates where the aligned images overlap.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from data.grouping.near_duplicates import ALL
from data.grouping.sift_matching import THUMBNAIL, UNIT, Local, alike, nearest, without_corner
from utils.system.environment import usable_cores

BY_TEXTURE = 12  # candidates of each image
BY_COLOUR = 10
SAME = 0.85  # least cosine of two matching descriptors
TURN = 20.0  # degrees between the directions of two matching features: slides are shifted, hardly rotated
GROWTH = 0.3  # difference of the logarithms of their diameters
FEWEST = 8  # matching features in one arrangement; by chance 6 occur in two of 100,000 pairs
ERROR = 2.5  # pixels of the reduced image
LARGEST_TURN = 12.0  # degrees, between two fields
LARGEST_GROWTH = 0.1
AGREEMENT = 0.45  # least correlation of brightness where the aligned fields overlap
AT_ONCE = 10_000  # pairs queued in memory
BESIDE = 64  # of many images: with more overlaps than this, the neighbours of an image are not compared with each other
STILL = 1.5  # pixels of the reduced image: fields that moved less are one field, taken or stored twice


@dataclass(frozen=True)
class Overlap:
    """Two images that share a part of the slide.

    Attributes:
        first, second: indices, first lower.
        dx, dy: position of the first image's centre in the second image, minus its position in the first; pixels.
        turn: degrees.
        inliers: matching features in one arrangement.
        share: part of the first image that the second shows, 0-1.
        agreement: correlation of brightness in that part, -1 to 1.
        still: whether the field moved by less than STILL.
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
    """Find the overlapping pairs of n images, in ascending order.

    Each image is compared with a fixed number of candidates; of more than ALL images these come from an approximate
    search.

    Args:
        pictures: features of the images.
        colours: (n, d) illumination and stain statistics, compared by Euclidean distance.
        proposed: further candidate pairs of indices, lower first.
    """
    from threadpoolctl import threadpool_limits

    if len(pictures) < 2:
        return []
    many = len(pictures) > ALL
    pending = alike(pictures, BY_TEXTURE) | nearest(colours, BY_COLOUR, approximate=many) | set(proposed)
    seen: set[tuple[int, int]] = set()
    found: list[Overlap] = []
    # One BLAS thread per pair: with more, small matrix products wait for each other.
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
    """Return how two of the images overlap; None where no overlap is verified."""
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
    """Return the positions (m, 2) in both images of mutually nearest features of similar direction and size."""
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
    """Return the share of the first image that the second shows, and the correlation of brightness there."""
    import cv2

    side = (THUMBNAIL, THUMBNAIL)
    into = np.diag([THUMBNAIL / other.size[1], THUMBNAIL / other.size[0], 1])
    back = np.diag([one.size[1] / THUMBNAIL, one.size[0] / THUMBNAIL, 1])
    place = (into @ np.vstack([fit, (0, 0, 1)]) @ back)[:2]
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    aligned = cv2.warpAffine(other.thumbnail, place, side, flags=how)
    clear = without_corner(*side)
    whole = cv2.warpAffine(np.full(side, 255, np.uint8), place, side, flags=how) == 255
    both = clear & (cv2.warpAffine(clear.astype(np.uint8) * 255, place, side, flags=how) == 255)
    a, b = one.thumbnail[both].astype(np.float64), aligned[both].astype(np.float64)
    if len(a) < 2 or a.std() == 0 or b.std() == 0:
        return float(whole.mean()), 0.0
    return float(whole.mean()), float(np.corrcoef(a, b)[0, 1])


def _beside(found: Sequence[Overlap], most: int) -> set[tuple[int, int]]:
    """Return the pairs of images that overlap a common third image, which has at most `most` overlaps."""
    beside: dict[int, set[int]] = defaultdict(set)
    for overlap in found:
        beside[overlap.first].add(overlap.second)
        beside[overlap.second].add(overlap.first)
    return {pair for others in beside.values() if len(others) <= most for pair in combinations(sorted(others), 2)}
