"""Deletion and insertion metrics: change an image in the order of a heatmap and record a class probability.

Formulas: docs/heatmaps.md. `Probabilities` is a network: (n, h, w, 3) float32 in 0-255 to (n, classes).
"""

from collections.abc import Callable

import numpy as np

Probabilities = Callable[[np.ndarray], np.ndarray]

STEPS = 28  # each changes the same number of pixels
BLUR = 0.1  # standard deviation of the blur at the start of insertion, relative to the image side; hides all nuclei


def removal_order(values: np.ndarray, seed: int) -> np.ndarray:
    """Return the flat indices of a (h, w) map, highest values first, equal values in random order."""
    chance = np.random.default_rng(seed).permutation(values.size)
    return np.lexsort((chance, -values.ravel()))


def deletion_curve(
    probabilities: Probabilities, image: np.ndarray, values: np.ndarray, target: int, seed: int = 0, steps: int = STEPS
) -> np.ndarray:
    """Return the probability of a class while pixels are rechanged, highest map values first.

    Source: the deletion metric of RISE, Petsiuk et al. 2018. A rechanged pixel gets the mean colour of the image.

    Args:
        probabilities: the network.
        image: (h, w, 3) in 0-255.
        values: (h, w) map; equal values are rechanged in random order.
        target: index of the class.
        seed: seed of that order.
        steps: number of removals, of equally many pixels.

    Returns:
        (steps + 1,) from the complete image to the empty one; falls early where the map is faithful.
    """
    emptied = np.broadcast_to(image.astype(np.float32).mean(axis=(0, 1)), image.shape)
    return _curve(probabilities, image, emptied, removal_order(values, seed), target, steps)


def insertion_curve(
    probabilities: Probabilities, image: np.ndarray, values: np.ndarray, target: int, seed: int = 0, steps: int = STEPS
) -> np.ndarray:
    """Return the probability of a class while a blurred image is restored, highest map values first.

    Source: the insertion metric of RISE, Petsiuk et al. 2018. The arguments are those of `deletion_curve`.

    Returns:
        (steps + 1,) from the blurred image to the complete one; rises early where the map is faithful.
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
    """Change one image into another, pixels in the given order; predict all steps in one batch."""
    channels = start.shape[-1]
    batch = np.repeat(start.reshape(1, -1, channels).astype(np.float32), steps + 1, axis=0)
    goal = end.reshape(-1, channels)
    for step in range(1, steps + 1):
        changed = order[: round(step * len(order) / steps)]
        batch[step, changed] = goal[changed]
    return probabilities(batch.reshape(-1, *start.shape))[:, target]
