"""Near duplicates: copies of an image that were recompressed, resized or slightly brightened."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

import numpy as np

SIDE = 16  # of the perceptual hash: 256 bits; unrelated smears differ in 88 or more (128 expected)
NEAR = 20  # bits: an image brightened by 10 %, with clipped highlights, differs from itself in up to 20
LIKELY = 88  # bits within which images that partly show one place may be
ROWS = 2048  # fingerprints compared with all others at once
ALL = 5000  # images up to which all pairs are compared; their distances take 100 MB
PIECES = NEAR + 2  # of a fingerprint: two that differ in NEAR bits are equal in at least two pieces
BESIDE = 64  # of more images with equal fingerprints, each is paired with this many that follow it


def fingerprint(image: np.ndarray) -> np.ndarray:
    """Return the perceptual hash (pHash, Zauner 2010) of (h, w, 3) uint8 RGB, (256,) bool."""
    import imagehash
    from PIL import Image

    return imagehash.phash(Image.fromarray(image), SIDE).hash.ravel()


def find(fingerprints: np.ndarray, most: int = NEAR, compared: int = ALL) -> list[tuple[int, int, int]]:
    """Return (first, second, differing bits) of the pairs of (n, 256) fingerprints that differ in at most `most` bits.

    Up to `compared` fingerprints all pairs are compared. Of more, only those equal in two of PIECES pieces (multi-index
    hashing, Norouzi, Punjani and Fleet 2012): this finds every pair within NEAR bits and some of those further apart.
    Of more than BESIDE equal fingerprints each is paired with the BESIDE that follow it. Time and memory grow as
    n log n and with the pairs found.

    Pairs are in ascending order, the lower index first.
    """
    if len(fingerprints) <= compared:
        return _all(fingerprints, most)
    rows, member = np.unique(np.packbits(fingerprints, axis=1), axis=0, return_inverse=True)
    order = np.argsort(member, kind="stable")
    same = [group.tolist() for group in np.split(order, np.cumsum(np.bincount(member))[:-1])]
    found = [(*pair, 0) for pair in equals(same, len(fingerprints))]
    bits = np.unpackbits(rows, axis=1).astype(bool)
    for one, other, apart in zip(*_alike(bits, rows.view(np.uint64), most), strict=True):
        pairs = product(same[one][:BESIDE], same[other][:BESIDE])
        found += [(min(pair), max(pair), int(apart)) for pair in pairs]
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


def _all(fingerprints: np.ndarray, most: int) -> list[tuple[int, int, int]]:
    """Compare all pairs, by one matrix product per block."""
    signs = np.where(fingerprints, np.float32(1), np.float32(-1))
    found = []
    for start in range(0, len(signs), ROWS):
        apart = (signs.shape[1] - signs[start : start + ROWS] @ signs.T) / 2
        for row, second in np.argwhere(apart <= most + 0.5):
            if start + row < second:
                found.append((int(start + row), int(second), round(float(apart[row, second]))))
    return found


def _alike(bits: np.ndarray, words: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (lower, higher, differing bits) of unequal fingerprints that are equal in two pieces.

    Args:
        bits: (n, 256) bool.
        words: (n, 4) uint64, the same bits packed.
        most: differing bits allowed.
    """
    # Neighbouring frequencies are correlated, so each piece takes bits from everywhere.
    places = np.array_split(np.random.default_rng(0).permutation(bits.shape[1]), PIECES)
    pieces = [bits[:, place] @ (1 << np.arange(len(place), dtype=np.uint64)) for place in places]
    width = np.uint64(max(map(len, places)))
    number = np.arange(len(bits), dtype=np.uint64)
    kept = np.zeros((0, 2), np.uint32)
    for one in range(PIECES):
        found = [kept]
        for other in range(one):
            # Key in the high bits, index in the low bits: one integer sort puts equal keys side by side.
            sorted_ = np.sort((pieces[one] << width | pieces[other]) << np.uint64(32) | number)
            key, at = sorted_ >> np.uint64(32), (sorted_ & np.uint64(2**32 - 1)).astype(np.uint32)
            for left, right in _runs(key):
                pairs = np.column_stack([at[left], at[right]])
                found.append(pairs[_differing(words, pairs) <= most])
        kept = np.unique(np.concatenate(found), axis=0)
    return kept[:, 0], kept[:, 1], _differing(words, kept)


def _runs(key: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the positions of pairs with equal keys in (n,) sorted keys, by growing distance."""
    left = np.flatnonzero(key[1:] == key[:-1])
    step = 1
    while len(left):
        yield left, left + step
        step += 1
        left = left[left + step < len(key)]
        left = left[key[left + step] == key[left]]


def _differing(words: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the number of differing bits of pairs (m, 2) of fingerprints."""
    return np.bitwise_count(words[pairs[:, 0]] ^ words[pairs[:, 1]]).sum(axis=1, dtype=np.int64)
