"""Local features of a smear's picture, and which pictures hold the same ones: the texture half of finding overlaps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SIDE = 224  # pixels: a larger picture is reduced to it
MOST = 200  # features of a picture
CONTRAST = 0.02  # half of OpenCV's: pale red cells count
THUMBNAIL = 112
CORNER = (0.87, 0.78)  # share of height and width from which on, in the bottom right corner, a scale bar may lie
UNIT = 512  # length of a descriptor; its largest entries stay below 256
WORDS = 2048
SAMPLE = 40_000  # descriptors from which the words are made
DIMENSIONS = 32  # of 128, in which words are told apart


@dataclass(frozen=True)
class Local:
    """Local features of a picture that was reduced by `scale`.

    Attributes:
        scale: pixels of the picture in one of the reduced picture.
        size: height and width of the reduced picture.
        points: (k, 4) float32: x, y and diameter in pixels of the reduced picture, direction in degrees.
        descriptors: (k, 128) uint8, square roots, each of length UNIT.
        thumbnail: (THUMBNAIL, THUMBNAIL) uint8, brightness.
    """

    scale: float
    size: tuple[int, int]
    points: np.ndarray
    descriptors: np.ndarray
    thumbnail: np.ndarray


def describe(image: np.ndarray) -> Local:
    """Find the local features of (h, w, 3) uint8 RGB, none in the scale bar's corner.

    SIFT (Lowe 2004) with the square roots of its histograms (RootSIFT, Arandjelovic and Zisserman 2012).
    """
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    thumbnail = cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    scale = max(1.0, max(grey.shape) / SIDE)
    if scale > 1:
        grey = cv2.resize(grey, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_AREA)
    clear = without_corner(*grey.shape).astype(np.uint8)
    detector = cv2.SIFT_create(nfeatures=MOST, contrastThreshold=CONTRAST)
    keys, found = detector.detectAndCompute(grey, clear)
    size = (grey.shape[0], grey.shape[1])
    if found is None:
        return Local(scale, size, np.zeros((0, 4), np.float32), np.zeros((0, 128), np.uint8), thumbnail)
    points = np.array([(*key.pt, key.size, key.angle) for key in keys], np.float32)
    roots = UNIT * np.sqrt(found / np.maximum(found.sum(axis=1, keepdims=True), 1e-6))
    return Local(scale, size, points, np.rint(roots).clip(0, 255).astype(np.uint8), thumbnail)


def without_corner(height: int, width: int) -> np.ndarray:
    """Return (height, width) bool, False in the corner at the bottom right that may hold a scale bar."""
    clear = np.ones((height, width), bool)
    clear[round(CORNER[0] * height) :, round(CORNER[1] * width) :] = False
    return clear


def alike(pictures: Sequence[Local], count: int, seed: int = 0) -> set[tuple[int, int]]:
    """Return each picture paired with the `count` others that share most and rarest features, as (lower, higher) index.

    Bags of visual words (Sivic and Zisserman 2003): descriptors are sorted into WORDS clusters, pictures compared by
    the cosine of their weighted counts.
    """
    from scipy import sparse
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.decomposition import PCA
    from sklearn.feature_extraction.text import TfidfTransformer

    descriptors = np.concatenate([picture.descriptors for picture in pictures])
    if len(pictures) < 2 or len(descriptors) < 2 * DIMENSIONS:
        return set()
    owner = np.repeat(np.arange(len(pictures)), [len(picture.points) for picture in pictures])
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(descriptors), min(SAMPLE, len(descriptors)), replace=False)
    sample = descriptors[chosen].astype(np.float32)
    axes = PCA(DIMENSIONS, random_state=seed).fit(sample)
    number = min(WORDS, len(sample) // 2)
    words = MiniBatchKMeans(number, init="random", n_init=1, batch_size=8192, max_iter=5, random_state=seed)
    words.fit(axes.transform(sample))
    word = np.concatenate([words.predict(axes.transform(part)) for part in _parts(descriptors)])
    ones = np.ones(len(word), np.float32)
    counts = sparse.csr_matrix((ones, (owner, word)), shape=(len(pictures), number))
    return nearest(TfidfTransformer(sublinear_tf=True).fit_transform(counts), count, metric="cosine")


def nearest(rows: object, count: int, metric: str = "euclidean") -> set[tuple[int, int]]:
    """Return each of n rows (array or sparse) paired with its `count` nearest others, as (lower, higher) index."""
    from sklearn.neighbors import NearestNeighbors

    total = rows.shape[0]
    found = NearestNeighbors(n_neighbors=min(count, total - 1), metric=metric).fit(rows).kneighbors()[1]
    return {(min(one, other), max(one, other)) for one, line in enumerate(found.tolist()) for other in line}


def _parts(descriptors: np.ndarray, rows: int = 50_000) -> list[np.ndarray]:
    return [descriptors[start : start + rows].astype(np.float32) for start in range(0, len(descriptors), rows)]
