"""Where the nuclei of a dataset's images are: as drawn, for synthetic smears, or as the colour of their stain tells."""

from collections.abc import Sequence

import numpy as np

from utils.paths import raw_dir

TRUE = "_masks"  # folder of a dataset that knows its nuclei, beside its classes


def nucleus_masks(dataset: str, names: Sequence[str], size: int) -> np.ndarray:
    """Return the nuclei of images, brought to the size that a model sees: (n, size, size) bool.

    Args:
        dataset: below data/raw.
        names: "<Class>/<file>".
        size: side in pixels.

    Raises:
        LeukoBenchError: an image is missing or cannot be read.
    """
    import cv2

    found = np.empty((len(names), size, size), bool)
    for place, name in enumerate(names):
        share = cv2.resize(_mask(dataset, name).astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
        found[place] = share >= 0.5
    return found


def knows_nuclei(dataset: str) -> bool:
    """Say whether a dataset brings the true masks of its nuclei."""
    return (raw_dir(dataset) / TRUE).is_dir()


def _mask(dataset: str, name: str) -> np.ndarray:
    from data.datasets.image_decoder import open_rgb
    from data.imaging.nucleus_segmentation import nucleus_mask

    folder = raw_dir(dataset)
    if knows_nuclei(dataset):
        return np.asarray(open_rgb(folder / TRUE / name))[..., 0] > 127
    return nucleus_mask(np.asarray(open_rgb(folder / name)))
