"""Near duplicates: pictures that are one picture, compressed again, made smaller or a little brighter."""

import numpy as np

SIDE = 16  # of the perceptual hash: 256 bits, on which two smears differ in 88 or more of 128 expected ones
NEAR = 20  # bits: a picture made 10 % brighter, so that its light is cut off, differs in up to 20 from itself
LIKELY = 88  # bits, within which pictures that show one place in part may lie and others do not
ROWS = 2048  # compared with all others at once


def fingerprint(image: np.ndarray) -> np.ndarray:
    """Return the perceptual hash of (h, w, 3) uint8 RGB, (256,) bool: which low frequencies of brightness are strong.

    The pHash of the library imagehash (Zauner 2010).
    """
    import imagehash
    from PIL import Image

    return imagehash.phash(Image.fromarray(image), SIDE).hash.ravel()


def find(fingerprints: np.ndarray, most: int = NEAR) -> list[tuple[int, int, int]]:
    """Return (first, second, differing bits) of all pairs of (n, 256) fingerprints that differ in at most `most` bits.

    First is the lower index; pairs are in ascending order. All are compared, by one matrix product a block.
    """
    signs = np.where(fingerprints, np.float32(1), np.float32(-1))
    found = []
    for start in range(0, len(signs), ROWS):
        apart = (signs.shape[1] - signs[start : start + ROWS] @ signs.T) / 2
        for row, second in np.argwhere(apart <= most + 0.5):
            if start + row < second:
                found.append((int(start + row), int(second), round(float(apart[row, second]))))
    return found
