"""SIFT features of an image, and the search for images that share them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, log2
from typing import TYPE_CHECKING

import numpy as np

from data.grouping.near_duplicates import ALL

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.cluster import MiniBatchKMeans

SIDE = 224  # pixels of the longer side to which larger images are reduced
MOST = 200  # features of an image
CONTRAST = 0.02  # half of OpenCV's: pale red cells count
THUMBNAIL = 112
CORNER = (0.87, 0.78)  # shares of height and width beyond which, at the bottom right, a scale bar may be
UNIT = 512  # length of a descriptor; its largest entries stay below 256
WORDS = 2048  # visual words
SAMPLE = 40_000  # descriptors from which the words are learned
DIMENSIONS = 32  # principal components of the 128 that words are learned in
A_WORD = 1000  # images: for each doubling of them, words are halved once more
AXES = 8  # columns used by the approximate search: a k-d tree with more is no faster than comparing all


@dataclass(frozen=True)
class Local:
    """SIFT features of an image that was reduced by `scale`.

    Attributes:
        scale: pixels of the image per pixel of the reduced image.
        size: height and width of the reduced image.
        points: (k, 4) float32: x, y and diameter in pixels of the reduced image, direction in degrees.
        descriptors: (k, 128) uint8, square roots of the histograms, each of Euclidean length UNIT.
        thumbnail: (THUMBNAIL, THUMBNAIL) uint8, brightness.
    """

    scale: float
    size: tuple[int, int]
    points: np.ndarray
    descriptors: np.ndarray
    thumbnail: np.ndarray


def describe(image: np.ndarray) -> Local:
    """Detect the features of (h, w, 3) uint8 RGB outside the corner of the scale bar.

    RootSIFT (Arandjelovic and Zisserman 2012): SIFT (Lowe 2004) with the square roots of its histograms.
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
    """Return (height, width) bool, False in the bottom right corner, where a scale bar may be."""
    clear = np.ones((height, width), bool)
    clear[round(CORNER[0] * height) :, round(CORNER[1] * width) :] = False
    return clear


def alike(pictures: Sequence[Local], count: int, seed: int = 0) -> set[tuple[int, int]]:
    """Pair each image with the `count` others that share the most and rarest features, as (lower, higher) index.

    Bags of visual words (Sivic and Zisserman 2003): descriptors are clustered into WORDS words; images are compared by
    the cosine of their TF-IDF weighted word counts. Of more than ALL images, words are halved until each occurs in some
    hundred images only (large vocabularies, Philbin et al. 2007), so that time and memory grow linearly.
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
    halvings = max(ceil(log2(len(pictures) / A_WORD)), 0) if len(pictures) > ALL else 0
    word = np.concatenate([_words(words, axes.transform(part), halvings) for part in _parts(pictures)])
    ones = np.ones(len(word), np.float32)
    counts = sparse.csr_matrix((ones, (owner, word)), shape=(len(pictures), number << halvings))
    weighted = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    return _most_similar(weighted, count)


def nearest(rows: np.ndarray, count: int, approximate: bool = False) -> set[tuple[int, int]]:
    """Pair each of n rows (n, e) with its `count` nearest others, as (lower, higher) index.

    The approximate search compares the last AXES columns alone and returns rows that are at most twice as far away as
    the nearest ones (Arya et al. 1998).
    """
    from scipy.spatial import cKDTree

    if approximate:
        rows = rows[:, -AXES:]
    found = cKDTree(rows).query(rows, min(count + 1, len(rows)), eps=1.0 if approximate else 0.0)[1]
    return _pairs(found.tolist(), count)


def _pairs(found: Iterable[list[int]], count: int) -> set[tuple[int, int]]:
    """Pair each row with up to `count` of the rows found for it, itself left out."""
    return {
        (min(row, other), max(row, other))
        for row, line in enumerate(found)
        for other in [each for each in line if each != row][:count]
    }


def _words(words: "MiniBatchKMeans", points: np.ndarray, halvings: int) -> np.ndarray:
    """Return the word of each of (k, DIMENSIONS) points; words are halved by planes through their centres."""
    word = words.predict(points)
    sides = points[:, :halvings] > words.cluster_centers_[word, :halvings]
    return (word.astype(np.int64) << halvings) + sides @ (1 << np.arange(halvings))


def _most_similar(rows: "csr_matrix", count: int) -> set[tuple[int, int]]:
    """Pair each of n sparse rows of unit length with the `count` others of largest cosine above 0."""
    from sparse_dot_topn import sp_matmul_topn

    top = sp_matmul_topn(rows, rows.T.tocsr(), count + 1, sort=True)  # one more, as most rows find themselves
    return _pairs((line.tolist() for line in np.split(top.indices, top.indptr[1:-1])), count)


def _parts(pictures: Sequence[Local], rows: int = 50_000) -> Iterator[np.ndarray]:
    """Yield the descriptors of all images as float32, `rows` at a time."""
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
