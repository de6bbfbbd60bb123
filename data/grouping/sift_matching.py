"""Local features of a smear's picture, and which pictures hold the same ones: the texture half of finding overlaps."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, log2
from typing import TYPE_CHECKING

import numpy as np

from data.grouping.near_duplicates import ALL

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.cluster import MiniBatchKMeans

SIDE = 224  # pixels: a larger picture is reduced to it
MOST = 200  # features of a picture
CONTRAST = 0.02  # half of OpenCV's: pale red cells count
THUMBNAIL = 112
CORNER = (0.87, 0.78)  # share of height and width from which on, in the bottom right corner, a scale bar may lie
UNIT = 512  # length of a descriptor; its largest entries stay below 256
WORDS = 2048
SAMPLE = 40_000  # descriptors from which the words are made
DIMENSIONS = 32  # of 128, in which words are told apart
A_WORD = 1000  # pictures: with twice as many, words are halved once more
AXES = 8  # columns in which rows are compared where there are many: a tree of more is no faster than all with all
BLOCK = 256  # pictures compared with the others at once


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


def alike(pictures: Sequence[Local], count: int, seed: int = 0, compared: int = ALL) -> set[tuple[int, int]]:
    """Return each picture paired with the `count` others that share most and rarest features, as (lower, higher) index.

    Bags of visual words (Sivic and Zisserman 2003): descriptors are sorted into WORDS clusters, pictures compared by
    the cosine of their weighted counts. Of more than `compared` pictures, words are halved until each stands in some
    hundred pictures only (large vocabularies, as in Philbin et al. 2007), and a picture is compared with those that
    share a word with it: time and memory grow as the pictures do.
    """
    from scipy import sparse
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.decomposition import PCA
    from sklearn.feature_extraction.text import TfidfTransformer

    lengths = np.array([len(picture.points) for picture in pictures], int)
    if len(pictures) < 2 or lengths.sum() < 2 * DIMENSIONS:
        return set()
    owner = np.repeat(np.arange(len(pictures)), lengths)
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(owner), min(SAMPLE, len(owner)), replace=False)
    inside = chosen - (lengths.cumsum() - lengths)[owner[chosen]]
    places = zip(owner[chosen].tolist(), inside.tolist(), strict=True)
    sample = np.stack([pictures[at].descriptors[row] for at, row in places]).astype(np.float32)
    axes = PCA(DIMENSIONS, random_state=seed).fit(sample)
    number = min(WORDS, len(sample) // 2)
    words = MiniBatchKMeans(number, init="random", n_init=1, batch_size=8192, max_iter=5, random_state=seed)
    words.fit(axes.transform(sample))
    many = len(pictures) > compared
    halvings = max(ceil(log2(len(pictures) / A_WORD)), 0) if many else 0
    word = np.concatenate([_words(words, axes.transform(part), halvings) for part in _parts(pictures)])
    ones = np.ones(len(word), np.float32)
    counts = sparse.csr_matrix((ones, (owner, word)), shape=(len(pictures), number << halvings))
    weighted = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    return _sharing(weighted, count) if many else nearest(weighted, count, metric="cosine")


def nearest(rows: object, count: int, metric: str = "euclidean") -> set[tuple[int, int]]:
    """Return each of n rows (array or sparse) paired with its `count` nearest others, as (lower, higher) index."""
    from sklearn.neighbors import NearestNeighbors

    total = rows.shape[0]
    found = NearestNeighbors(n_neighbors=min(count, total - 1), metric=metric).fit(rows).kneighbors()[1]
    return _pairs(enumerate(found.tolist()))


def nearby(rows: np.ndarray, count: int) -> set[tuple[int, int]]:
    """Return each of n rows (n, e) paired with `count` near others, at most twice as far away as the nearest ones.

    Rows are compared in the last AXES columns alone, so that a search looks at few of them (Arya et al. 1998).
    """
    from scipy.spatial import cKDTree

    rows = rows[:, -AXES:]
    found = cKDTree(rows).query(rows, min(count + 1, len(rows)), eps=1.0)[1]
    return _pairs((one, [other for other in line if other != one][:count]) for one, line in enumerate(found.tolist()))


def _pairs(found: Iterable[tuple[int, list[int]]]) -> set[tuple[int, int]]:
    return {(min(one, other), max(one, other)) for one, others in found for other in others}


def _words(words: "MiniBatchKMeans", points: np.ndarray, halvings: int) -> np.ndarray:
    """Return the word of each of (k, DIMENSIONS) points, halved so many times by planes through the word's centre."""
    word = words.predict(points)
    sides = points[:, :halvings] > words.cluster_centers_[word, :halvings]
    return (word.astype(np.int64) << halvings) + sides @ (1 << np.arange(halvings))


def _sharing(rows: "csr_matrix", count: int) -> set[tuple[int, int]]:
    """Return each of n sparse rows of unit length paired with the `count` others of largest cosine above 0."""
    turned = rows.T.tocsr()
    found = set()
    for start in range(0, rows.shape[0], BLOCK):
        cosines = rows[start : start + BLOCK] @ turned
        for one, (low, high) in enumerate(pairwise(cosines.indptr.tolist()), start):
            others, cosine = cosines.indices[low:high], cosines.data[low:high]
            apart = others != one
            others, cosine = others[apart], cosine[apart]
            best = others[np.argpartition(-cosine, count)[:count]] if len(others) > count else others
            found |= _pairs([(one, best.tolist())])
    return found


def _parts(pictures: Sequence[Local], rows: int = 50_000) -> Iterator[np.ndarray]:
    """Yield the descriptors of all pictures as float32, so many rows at a time."""
    held, known = [], 0
    for picture in pictures:
        held.append(picture.descriptors)
        known += len(picture.descriptors)
        while known >= rows:
            together = np.concatenate(held)
            yield together[:rows].astype(np.float32)
            held, known = [together[rows:]], len(together) - rows
    if known:
        yield np.concatenate(held).astype(np.float32)
