"""Segment nuclei, and the cells around them, by the colour of their stain.

The haematoxylin vector of skimage.color.rgb2hed does not separate Leishman-stained blood: red cells take as much of it
as nuclei. The vectors in `stain_normalization` were therefore measured on the ALL dataset: medians of the optical
density of nuclei and of red cells in 100 images of all classes. Nuclei transmit blue light and red cells absorb it, in
every class and under every lamp.
"""

import numpy as np

from data.imaging.stain_normalization import nuclear_direction, optical_density

MOST = 1.5  # amount of nuclear stain at which it is clipped
CONTRAST = 0.15  # least difference of nuclear stain between nuclei and the rest; the palest of 3,256 images has 0.21
SMALLEST = 0.001  # of the image's area: smaller objects are platelets and letters; the smallest nuclei have 0.002
GAP = 0.003  # of the image's area: a larger hole is a gap between cells
CYTOPLASM = 0.3  # share of the nuclear threshold that cytoplasm exceeds and red cells do not
REACH = 1.0  # largest distance of cytoplasm from its nucleus, in radii of that nucleus
WHITE = 255


def nuclear_stain(image: np.ndarray) -> np.ndarray:
    """Return the amount of nuclear stain, (h, w) float32 in 0..MOST, by colour deconvolution (Ruifrok, Johnston 2001).

    Args:
        image: (h, w, 3) uint8 RGB.
    """
    import cv2

    amount = cv2.transform(optical_density(image), nuclear_direction()[None].astype(np.float32))
    return cv2.GaussianBlur(np.clip(amount, 0, MOST), (0, 0), 0.0036 * _side(image))


def nucleus_mask(image: np.ndarray) -> np.ndarray:
    """Segment the nuclei of (h, w, 3) uint8 RGB: colour deconvolution, Otsu's threshold, morphological cleaning.

    Returns:
        (h, w) bool. All False without contrast in nuclear stain, as in blank or grey images.
    """
    return _nuclei(nuclear_stain(image))[0]


def cell_mask(image: np.ndarray) -> np.ndarray:
    """Segment the nucleated cells of (h, w, 3) uint8 RGB: each nucleus with its connected, weaker stained cytoplasm.

    Cytoplasm exceeds CYTOPLASM of the nuclear threshold within REACH radii of its nucleus. Red cells have almost none
    of that stain and are excluded even where they touch.

    Returns:
        (h, w) bool, containing `nucleus_mask`.
    """
    import cv2

    stain = nuclear_stain(image)
    nuclei, threshold = _nuclei(stain)
    if not nuclei.any():
        return nuclei
    inside = cv2.distanceTransform(nuclei.astype(np.uint8), cv2.DIST_L2, 5)
    outside, nearest = cv2.distanceTransformWithLabels(
        (~nuclei).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP
    )
    radius = np.zeros(nearest.max() + 1, inside.dtype)
    np.maximum.at(radius, nearest, inside)
    near = outside <= REACH * radius[nearest]
    cells = nuclei | _opened((stain > CYTOPLASM * threshold) & near)
    _, parts = cv2.connectedComponents(cells.astype(np.uint8), connectivity=4)
    held = np.zeros(parts.max() + 1, bool)
    held[parts[nuclei]] = True
    held[0] = False
    return _filled(cv2.dilate(held[parts].astype(np.uint8), _disk(0.005 * _side(image))) > 0)


def cut_out(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return (h, w, 3) uint8 RGB: the image inside the (h, w) mask, white elsewhere.

    White is the same for all images: an image's own background would reveal its illumination and stain, which alone can
    tell the classes of this dataset apart.
    """
    return np.where(mask[:, :, None], image, np.uint8(WHITE))


def overlap(found: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Return Dice coefficient and intersection over union of two (h, w) bool masks, 0-1; 1 for two empty masks."""
    both, found_area, true_area = (int(np.count_nonzero(mask)) for mask in (found & true, found, true))
    either = found_area + true_area - both
    return (2 * both / (found_area + true_area), both / either) if either else (1.0, 1.0)


def _nuclei(stain: np.ndarray) -> tuple[np.ndarray, float]:
    from skimage.filters import threshold_otsu

    nothing = np.zeros(stain.shape, bool), MOST
    if stain.min() == stain.max():
        return nothing
    threshold = float(threshold_otsu(stain))
    mask = stain > threshold
    if not mask.any() or stain[mask].mean() - stain[~mask].mean() < CONTRAST:
        return nothing
    return _filled(_without_small(_opened(mask))), threshold


def _opened(mask: np.ndarray) -> np.ndarray:
    """Remove structures thinner than 1 % of the image's side: letters, tails, bridges between cells."""
    import cv2

    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, _disk(0.009 * _side(mask))) > 0


def _without_small(mask: np.ndarray, share: float = SMALLEST) -> np.ndarray:
    import cv2

    _, parts, measures, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    large = measures[:, cv2.CC_STAT_AREA] >= share * mask.size
    large[0] = False
    return large[parts]


def _filled(mask: np.ndarray) -> np.ndarray:
    return ~_without_small(~mask, GAP)


def _disk(radius: float) -> np.ndarray:
    import cv2

    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(radius) + 1,) * 2)


def _side(image: np.ndarray) -> float:
    """Return the side of a square of equal area; all lengths are shares of it, as smears have similar scales."""
    return float(np.sqrt(image.shape[0] * image.shape[1]))
