"""Near duplicates: pictures that are one picture, compressed again, made smaller or a little brighter."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

import numpy as np

SIDE = 16  # of the perceptual hash: 256 bits, on which two smears differ in 88 or more of 128 expected ones
NEAR = 20  # bits: a picture made 10 % brighter, so that its light is cut off, differs in up to 20 from itself
LIKELY = 88  # bits, within which pictures that show one place in part may lie and others do not
ROWS = 2048  # compared with all others at once
ALL = 5000  # pictures up to which each is compared with every other one; the distances of all take 100 MB
PIECES = NEAR + 2  # of a fingerprint: two that differ in NEAR bits are the same in two pieces at least
BESIDE = 64  # of more pictures with one fingerprint, each is paired with so many that follow it


def fingerprint(image: np.ndarray) -> np.ndarray:
    """Return the perceptual hash of (h, w, 3) uint8 RGB, (256,) bool: which low frequencies of brightness are strong.

    The pHash of the library imagehash (Zauner 2010).
    """
    import imagehash
    from PIL import Image

    return imagehash.phash(Image.fromarray(image), SIDE).hash.ravel()


def find(fingerprints: np.ndarray, most: int = NEAR, compared: int = ALL) -> list[tuple[int, int, int]]:
    """Return (first, second, differing bits) of pairs of (n, 256) fingerprints that differ in at most `most` bits.

    Up to `compared` fingerprints, all are compared with all. Of more, only those that are the same in two of PIECES
    pieces (as multi-index hashing does, Norouzi, Punjani and Fleet 2012): that misses none within NEAR bits, and finds
    some of the pairs further apart; of more than BESIDE equal ones each is paired with the BESIDE that follow it. Time
    and memory grow as n log n and as the pairs found.

    First is the lower index; pairs are in ascending order.
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
    """Yield the pairs within groups of equals, indices in ascending order.

    Of `total` indices beyond ALL, each is paired with the BESIDE that follow it in its group: all pairs of thousands of
    equals, such as empty pictures, say no more than these.
    """
    most = BESIDE if total > ALL else total
    for group in groups:
        for place, first in enumerate(group):
            yield from ((first, second) for second in group[place + 1 : place + 1 + most])


def _all(fingerprints: np.ndarray, most: int) -> list[tuple[int, int, int]]:
    """Compare all with all, by one matrix product a block."""
    signs = np.where(fingerprints, np.float32(1), np.float32(-1))
    found = []
    for start in range(0, len(signs), ROWS):
        apart = (signs.shape[1] - signs[start : start + ROWS] @ signs.T) / 2
        for row, second in np.argwhere(apart <= most + 0.5):
            if start + row < second:
                found.append((int(start + row), int(second), round(float(apart[row, second]))))
    return found


def _alike(bits: np.ndarray, words: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (lower, higher, differing bits) of different fingerprints that are the same in two pieces.

    Args:
        bits: (n, 256) bool.
        words: (n, 4) uint64, the same packed.
        most: bits that they may differ in.
    """
    # Neighbouring frequencies go together: a piece takes its bits from everywhere, or many would be the same in it.
    places = np.array_split(np.random.default_rng(0).permutation(bits.shape[1]), PIECES)
    pieces = [bits[:, place] @ (1 << np.arange(len(place), dtype=np.uint64)) for place in places]
    width = np.uint64(max(map(len, places)))
    number = np.arange(len(bits), dtype=np.uint64)
    kept = np.zeros((0, 2), np.uint32)
    for one in range(PIECES):
        found = [kept]
        for other in range(one):
            # The key above, the number below: one sort of whole numbers puts equal keys side by side.
            sorted_ = np.sort((pieces[one] << width | pieces[other]) << np.uint64(32) | number)
            key, at = sorted_ >> np.uint64(32), (sorted_ & np.uint64(2**32 - 1)).astype(np.uint32)
            for left, right in _runs(key):
                pairs = np.column_stack([at[left], at[right]])
                found.append(pairs[_differing(words, pairs) <= most])
        kept = np.unique(np.concatenate(found), axis=0)
    return kept[:, 0], kept[:, 1], _differing(words, kept)


def _runs(key: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the places of pairs with one key in (n,) sorted keys: neighbours first, then those with one between."""
    left = np.flatnonzero(key[1:] == key[:-1])
    step = 1
    while len(left):
        yield left, left + step
        step += 1
        left = left[left + step < len(key)]
        left = left[key[left + step] == key[left]]


def _differing(words: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return in how many bits the fingerprints of pairs (m, 2) differ."""
    return np.bitwise_count(words[pairs[:, 0]] ^ words[pairs[:, 1]]).sum(axis=1, dtype=np.int64)
