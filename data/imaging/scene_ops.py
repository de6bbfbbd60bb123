"""Changes of image content that keep the colours: another background, no cells, no scale bar.

Each is a pure function of (h, w, 3) uint8 RGB, and of a random generator where it takes one, and returns a new array of
the same shape and type. Lengths are shares of the side, as smears have similar scales.
"""

import numpy as np

from data.imaging import nucleus_segmentation

BAR = 0.17  # share of each side, from the bottom right corner, that holds every scale bar: the widest takes 0.156
SOFT_SEAM = 0.01  # width of the seam between the two halves that fill the corner
RIM = 0.012  # margin kept around a cell: its own edge, blurred by the microscope
SMALLEST_REACH, LARGEST_REACH = 0.015, 0.045  # margin removed with a cell; it varies randomly along the edge
PIECE = 0.16  # side of one filling piece
FEWEST = 1.0  # percent of all positions, those with the fewest cells, from which pieces are taken
LIGHT = 75  # percentile of each channel outside cells that represents the background
SHARPNESS = 0.6  # steepness of the transition between pieces


def paint_over_bar(image: np.ndarray) -> np.ndarray:
    """Cover the bottom right corner, where scale bars are burnt in, with its mirrored surroundings.

    The corner has the same size in every image: a patch as large as the bar would reveal the bar's size. Each half is
    mirrored at the nearer edge, so that there is no step.
    """
    height, width = image.shape[:2]
    rows, columns = _corner(image)
    top, left = height - rows, width - columns
    if top < rows or left < columns:  # too few pixels
        return image.copy()
    from_left = image[top:, left - columns : left][:, ::-1].astype(np.float32)
    from_above = image[top - rows : top, left:][::-1].astype(np.float32)
    down, right = (np.arange(rows) + 0.5)[:, None] / height, (np.arange(columns) + 0.5)[None] / width
    share = np.clip(0.5 + (down - right) / (2 * SOFT_SEAM), 0, 1)[:, :, None]
    changed = image.copy()
    changed[top:, left:] = np.rint(share * from_left + (1 - share) * from_above)
    return changed


def paint_over_other_corner(image: np.ndarray, down: bool, right: bool) -> np.ndarray:
    """Cover another corner in the same way: the control of `paint_over_bar`, as no scale bar is there.

    Args:
        image: (h, w, 3) uint8 RGB.
        down: whether the corner is at the bottom.
        right: whether it is on the right.
    """
    turn = (slice(None, None, 1 if down else -1), slice(None, None, 1 if right else -1))
    return np.ascontiguousarray(paint_over_bar(np.ascontiguousarray(image[turn]))[turn])


def remove_cells(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Replace every nucleated cell by pieces of the same image without one: red cells and background.

    The filling extends beyond the cells by a margin that varies along the edge, and fades out, so that neither cells
    nor outlines remain. Without a nucleated cell, a copy of the image is returned.
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
    """Paste the nucleated cells of an image, with a thin rim, onto a donor whose own cells are removed.

    Args:
        image: source of the cells.
        donor: (h, w, 3) uint8 RGB of any size, resized to the image.
        random: see `remove_cells`.
    """
    import cv2

    if donor.shape != image.shape:
        donor = cv2.resize(donor, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    share = cell_share(image)[:, :, None]
    return np.rint(share * image + (1 - share) * remove_cells(donor, random)).astype(np.uint8)


def cell_share(image: np.ndarray) -> np.ndarray:
    """Return (h, w) float32: 1 in nucleated cells, falling to 0 over a thin rim around them."""
    import cv2

    cells = nucleus_segmentation.cell_mask(image)
    rim = RIM * float(np.sqrt(cells.size))
    distance = cv2.distanceTransform((~cells).astype(np.uint8), cv2.DIST_L2, 5)
    return 1 - np.minimum(distance, rim) / rim  # without a cell the distance is huge


def _corner(image: np.ndarray) -> tuple[int, int]:
    """Return the height and width of the scale bar's corner in pixels."""
    return int(np.ceil(BAR * image.shape[0])), int(np.ceil(BAR * image.shape[1]))


def _filling(image: np.ndarray, alpha: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return (h, w, 3) float32 with pieces of the image wherever `alpha` (h, w, 1), the share to fill, is not 0.

    The pieces lie on a grid and blend into each other. They come from the positions with the fewest cells; cells that
    remain in them, in a crowded smear, are given the colour of the background.
    """
    import cv2

    height, width = image.shape[:2]
    tall, wide = (max(2, round(PIECE * length)) for length in (height, width))
    forbidden = (alpha[:, :, 0] > 0).astype(np.uint8)
    rows, columns = _corner(image)
    light = np.percentile(image[forbidden == 0], LIGHT, axis=0) if not forbidden.all() else image.max(axis=(0, 1))
    source = alpha * light + (1 - alpha) * image
    forbidden[height - rows :, width - columns :] = 1  # letters are no texture to copy
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
    """Return the starts of pieces that cover a length and overlap by at least a third."""
    count = 1 + -(-3 * (length - piece) // (2 * piece))
    return np.linspace(0, length - piece, count).astype(int).tolist()
