"""Take an image apart in the order of a heatmap, and follow the probability of a class: docs/heatmaps.md.

`Probabilities` stands for a network: (n, h, w, 3) float32 in 0-255 to (n, classes).
"""

from collections.abc import Callable

import numpy as np

Probabilities = Callable[[np.ndarray], np.ndarray]

STEPS = 28  # each moves the same share of the pixels
BLUR = 0.1  # standard deviation of the blur that insertion starts from, of the image's side: no nucleus survives it


def removal_order(values: np.ndarray, seed: int) -> np.ndarray:
    """Return the flat indices of a (h, w) map, its highest places first; equal ones in a random order."""
    chance = np.random.default_rng(seed).permutation(values.size)
    return np.lexsort((chance, -values.ravel()))


def deletion_curve(
    probabilities: Probabilities, image: np.ndarray, values: np.ndarray, target: int, seed: int = 0, steps: int = STEPS
) -> np.ndarray:
    """Return the probability of a class while its image is removed, the map's highest places first.

    Source: the deletion metric of RISE, Petsiuk et al. 2018. A removed pixel gets the mean colour of the image.

    Args:
        probabilities: the network.
        image: (h, w, 3) in 0-255.
        values: (h, w) map; equal places are removed in a random order.
        target: index of the class.
        seed: of that order.
        steps: equal shares of the pixels, removed one after another.

    Returns:
        (steps + 1,) from the whole image to the empty one; it falls early where the map found what the class rests on.
    """
    emptied = np.broadcast_to(image.astype(np.float32).mean(axis=(0, 1)), image.shape)
    return _curve(probabilities, image, emptied, removal_order(values, seed), target, steps)


def insertion_curve(
    probabilities: Probabilities, image: np.ndarray, values: np.ndarray, target: int, seed: int = 0, steps: int = STEPS
) -> np.ndarray:
    """Return the probability of a class while its image comes out of a blur, the map's highest places first.

    Source: the insertion metric of RISE, Petsiuk et al. 2018. Arguments are those of `deletion_curve`.

    Returns:
        (steps + 1,) from the blurred image to the whole one; it rises early where the map found what the class rests
        on.
    """
    import cv2

    blurred = cv2.GaussianBlur(image.astype(np.float32), (0, 0), BLUR * image.shape[0])
    return _curve(probabilities, blurred, image, removal_order(values, seed), target, steps)


def area(curves: np.ndarray) -> np.ndarray:
    """Return the area under curves (..., steps + 1) over the share of pixels, by the trapezoidal rule."""
    return np.trapezoid(curves, dx=1 / (curves.shape[-1] - 1), axis=-1)


def _curve(
    probabilities: Probabilities, start: np.ndarray, end: np.ndarray, order: np.ndarray, target: int, steps: int
) -> np.ndarray:
    """Turn one image into another, pixels in the given order, and predict every step in one batch."""
    channels = start.shape[-1]
    batch = np.repeat(start.reshape(1, -1, channels).astype(np.float32), steps + 1, axis=0)
    goal = end.reshape(-1, channels)
    for step in range(1, steps + 1):
        moved = order[: round(step * len(order) / steps)]
        batch[step, moved] = goal[moved]
    return probabilities(batch.reshape(-1, *start.shape))[:, target]
