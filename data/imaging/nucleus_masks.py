"""Nucleus masks of a dataset's images: ground truth of synthetic smears, else segmented by the stain's colour."""

from collections.abc import Sequence

import numpy as np

from utils.paths import raw_dir

TRUE = "_masks"  # folder of ground truth, beside the class folders


def nucleus_masks(dataset: str, names: Sequence[str], size: int) -> np.ndarray:
    """Return the nucleus masks of images at a model's input size, (n, size, size) bool.

    Args:
        dataset: below data/raw.
        names: "<Class>/<file>".
        size: side in pixels.

    Raises:
        LeukoBenchError: an image is missing or cannot be read.
    """
    import cv2

    found = np.empty((len(names), size, size), bool)
    for number, name in enumerate(names):
        share = cv2.resize(_mask(dataset, name).astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
        found[number] = share >= 0.5
    return found


def knows_nuclei(dataset: str) -> bool:
    """Say whether a dataset has ground-truth nucleus masks."""
    return (raw_dir(dataset) / TRUE).is_dir()


def _mask(dataset: str, name: str) -> np.ndarray:
    from data.datasets.image_decoder import open_rgb
    from data.imaging.nucleus_segmentation import nucleus_mask

    folder = raw_dir(dataset)
    if knows_nuclei(dataset):
        return np.asarray(open_rgb(folder / TRUE / name))[..., 0] > 127
    return nucleus_mask(np.asarray(open_rgb(folder / name)))
