"""Near duplicates: copies of an image that were recompressed, resized or slightly brightened."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

import numpy as np

SIDE = 16  # of the perceptual hash: 256 bits; unrelated smears differ in 88 or more (128 expected)
NEAR = 20  # bits: an image brightened by 10 %, with clipped highlights, differs from itself in up to 20
LIKELY = 88  # bits within which images that partly show one place may be
ROWS = 128  # fingerprints compared with all others at once
ALL = 5000  # images from which on not all pairs of equal images are listed
BESIDE = 64  # of more images, each is paired with this many that follow it among its equals


def fingerprint(image: np.ndarray) -> np.ndarray:
    """Return the perceptual hash (pHash, Zauner 2010) of (h, w, 3) uint8 RGB, (256,) bool."""
    import imagehash
    from PIL import Image

    return imagehash.phash(Image.fromarray(image), SIDE).hash.ravel()


def find(fingerprints: np.ndarray, most: int = NEAR) -> list[tuple[int, int, int]]:
    """Return (first, second, differing bits) of the pairs of (n, 256) fingerprints that differ in at most `most` bits.

    All different fingerprints are compared, by one matrix product per block: 100,000 take one or two minutes, a small
    part of the time to read their images. Of more than ALL images, those with equal fingerprints are paired as in
    `equals`.

    Pairs are in ascending order, the lower index first.
    """
    limit = BESIDE if len(fingerprints) > ALL else len(fingerprints)
    rows, member = np.unique(np.packbits(fingerprints, axis=1), axis=0, return_inverse=True)
    member = member.ravel()  # NumPy 2.0.0 returns a column
    order = np.argsort(member, kind="stable")
    same = [group.tolist() for group in np.split(order, np.cumsum(np.bincount(member))[:-1])]
    found = [(*pair, 0) for pair in equals(same, len(fingerprints))]
    signs = np.where(np.unpackbits(rows, axis=1), np.float32(1), np.float32(-1))
    bits = signs.shape[1]
    for start in range(0, len(signs), ROWS):
        products = signs[start : start + ROWS] @ signs[start:].T  # the number of differing bits is (bits - product) / 2
        for row, other in np.argwhere(products >= bits - 2 * most):
            if row < other:
                apart = int(bits - products[row, other]) // 2
                pairs = product(same[start + row][:limit], same[start + other][:limit])
                found += [(min(pair), max(pair), apart) for pair in pairs]
    return sorted(found)


def equals(groups: Iterable[Sequence[int]], total: int) -> Iterator[tuple[int, int]]:
    """Yield the pairs within groups of equal images, indices in ascending order.

    Where `total` exceeds ALL, each is paired only with the BESIDE that follow it in its group, which still links
    thousands of equal images, such as blank ones.
    """
    most = BESIDE if total > ALL else total
    for group in groups:
        for place, first in enumerate(group):
            yield from ((first, second) for second in group[place + 1 : place + 1 + most])
