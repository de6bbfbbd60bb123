"""How much of a heatmap lies inside nuclei, and whether its highest place does."""

import numpy as np

TOLERANCE = 0.03  # of the side: the 15 pixels of the pointing game on photographs about 500 pixels wide


def mass_inside(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return the share of each map's mass that lies inside its mask, (n,) in 0..1; NaN where the mask is empty.

    A map that is zero everywhere says nothing, and counts as a flat one: it gets the mask's share of the area.

    Args:
        maps: (n, h, w), not negative.
        masks: (n, h, w) bool.
    """
    inside, total = (maps * masks).sum(axis=(1, 2)), maps.sum(axis=(1, 2))
    shares = np.where(total > 0, inside / np.where(total > 0, total, 1), masks.mean(axis=(1, 2)))
    return np.where(masks.any(axis=(1, 2)), shares, np.nan)


def pointing(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Play the pointing game: (n,), 1 where a map's highest place hits its mask; NaN where the mask is empty.

    Source: Zhang et al. 2016, whose tolerance lets a place next to the mask count. Where several places are the
    highest, as on a flat map, their share of hits counts.

    Args:
        maps: (n, h, w).
        masks: (n, h, w) bool.
    """
    import cv2

    reach = round(TOLERANCE * masks.shape[1])
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)
    hits = [
        (cv2.dilate(mask.astype(np.uint8), disk) > 0)[values == values.max()].mean() if mask.any() else np.nan
        for values, mask in zip(maps, masks, strict=True)
    ]
    return np.array(hits, float)
