"""Changes of what is in the picture: another background, no cells, no scale bar. Colours and all else stay.

Each is a pure function of (h, w, 3) uint8 RGB, and of a random generator where it says so, and returns the same shape
and type; the image is not modified. Lengths are shares of the side, as smears are alike in scale.
"""

import numpy as np

from data.imaging import nucleus_segmentation

BAR = 0.17  # share of each side, from the bottom right corner, that holds every scale bar: the widest takes 0.156
SOFT_SEAM = 0.01  # over which two ways of filling the corner meet
RIM = 0.012  # of the surroundings that stay with a cell: its own edge, softened by the microscope
SMALLEST_REACH, LARGEST_REACH = 0.015, 0.045  # how far a cell's removal goes beyond it, drawn smoothly along its edge
PIECE = 0.16  # side of what is filled in one piece
FEWEST = 1.0  # percent of all places, those with the fewest cells, that pieces are taken from
LIGHT = 75  # percentile of each channel, outside cells, that stands for the background
SHARPNESS = 0.6  # how steeply a piece gives way to the next


def paint_over_bar(image: np.ndarray) -> np.ndarray:
    """Cover the bottom right corner, where scale bars are burnt in, with its own surroundings mirrored.

    The same corner in every image, whatever its bar: a patch as large as the bar would tell the bar's size. Mirrored at
    the corner's left edge and at its upper edge, each in the half nearer that edge, so that there is no step.
    """
    height, width = image.shape[:2]
    rows, columns = _corner(image)
    top, left = height - rows, width - columns
    if top < rows or left < columns:  # a picture of a few pixels
        return image.copy()
    from_left = image[top:, left - columns : left][:, ::-1].astype(np.float32)
    from_above = image[top - rows : top, left:][::-1].astype(np.float32)
    down, right = (np.arange(rows) + 0.5)[:, None] / height, (np.arange(columns) + 0.5)[None] / width
    share = np.clip(0.5 + (down - right) / (2 * SOFT_SEAM), 0, 1)[:, :, None]
    changed = image.copy()
    changed[top:, left:] = np.rint(share * from_left + (1 - share) * from_above)
    return changed


def remove_cells(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Fill every nucleated cell with pieces of the same image in which there is none: red cells, background.

    The filled places reach beyond the cells by an amount that varies along the edge, and fade out, so that neither the
    cells nor their outlines remain. An image without a nucleated cell comes back as it is.
    """
    import cv2

    cells = nucleus_segmentation.cell_mask(image)
    if not cells.any():
        return image.copy()
    height, width = cells.shape
    side = float(np.sqrt(height * width))
    rough = cv2.resize(random.random((12, 12), np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    reach = side * (SMALLEST_REACH + (LARGEST_REACH - SMALLEST_REACH) * np.clip(rough, 0, 1))
    distance = cv2.distanceTransform((~cells).astype(np.uint8), cv2.DIST_L2, 5)
    alpha = np.clip((reach - distance) / (SMALLEST_REACH * side), 0, 1)[:, :, None]
    return np.rint(alpha * _filling(image, alpha, random) + (1 - alpha) * image).astype(np.uint8)


def replace_background(image: np.ndarray, donor: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Put the nucleated cells of an image, with a thin rim, onto a donor image from which its own cells are removed.

    Args:
        image: whose cells stay.
        donor: (h, w, 3) uint8 RGB of any size; it is resized to the image.
        random: see `remove_cells`.
    """
    import cv2

    if donor.shape != image.shape:
        donor = cv2.resize(donor, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    share = cell_share(image)[:, :, None]
    return np.rint(share * image + (1 - share) * remove_cells(donor, random)).astype(np.uint8)


def cell_share(image: np.ndarray) -> np.ndarray:
    """Return (h, w) float32 in 0..1: 1 in nucleated cells, falling to 0 over a thin rim around them."""
    import cv2

    cells = nucleus_segmentation.cell_mask(image)
    rim = RIM * float(np.sqrt(cells.size))
    distance = cv2.distanceTransform((~cells).astype(np.uint8), cv2.DIST_L2, 5)
    return 1 - np.minimum(distance, rim) / rim  # without any cell the distance is next to infinite


def _corner(image: np.ndarray) -> tuple[int, int]:
    """Return rows and columns of the corner that holds a scale bar."""
    return int(np.ceil(BAR * image.shape[0])), int(np.ceil(BAR * image.shape[1]))


def _filling(image: np.ndarray, alpha: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return (h, w, 3) float32 with pieces of the image wherever `alpha` (h, w, 1), the share to be filled, is not 0.

    The pieces lie on a grid and fade into each other. They come from the places with the least to be filled in them,
    which in a smear crowded with cells is not nothing: there they have the colour of the light background.
    """
    import cv2

    height, width = image.shape[:2]
    tall, wide = (max(2, round(PIECE * length)) for length in (height, width))
    forbidden = (alpha[:, :, 0] > 0).astype(np.uint8)
    rows, columns = _corner(image)
    light = np.percentile(image[forbidden == 0], LIGHT, axis=0) if not forbidden.all() else image.max(axis=(0, 1))
    source = alpha * light + (1 - alpha) * image
    forbidden[height - rows :, width - columns :] = 1  # letters are no texture of a smear
    sums = cv2.integral(forbidden)
    within = sums[tall:, wide:] - sums[:-tall, wide:] - sums[tall:, :-wide] + sums[:-tall, :-wide]
    places = np.argwhere(within <= max(within.min(), np.percentile(within, FEWEST)))
    window = np.outer(np.hanning(tall + 2)[1:-1], np.hanning(wide + 2)[1:-1])[:, :, None] ** SHARPNESS
    total, weights = np.zeros(image.shape), np.full((height, width, 1), 1e-12)
    for top in _starts(height, tall):
        for left in _starts(width, wide):
            here = slice(top, top + tall), slice(left, left + wide)
            if alpha[here].any():
                y, x = places[random.integers(len(places))]
                total[here] += window * source[y : y + tall, x : x + wide]
                weights[here] += window
    return (total / weights).astype(np.float32)


def _starts(length: int, piece: int) -> list[int]:
    """Return where pieces begin that cover a length and overlap by at least a third."""
    count = 1 + -(-3 * (length - piece) // (2 * piece))
    return np.linspace(0, length - piece, count).astype(int).tolist()
