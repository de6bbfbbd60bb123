"""Localisation of heatmaps: the share of their mass inside nuclei, and the pointing game."""

import numpy as np

TOLERANCE = 0.03  # of the image side: 15 pixels on photographs about 500 pixels wide


def mass_inside(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return the share of each map's mass that lies inside its mask, (n,) in 0..1; NaN where the mask is empty.

    A map of zeros counts as a uniform map: its share is that of the mask in the image area.

    Args:
        maps: (n, h, w), not negative.
        masks: (n, h, w) bool.
    """
    inside, total = (maps * masks).sum(axis=(1, 2)), maps.sum(axis=(1, 2))
    shares = np.where(total > 0, inside / np.where(total > 0, total, 1), masks.mean(axis=(1, 2)))
    return np.where(masks.any(axis=(1, 2)), shares, np.nan)


def pointing(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return the result of the pointing game, (n,): 1 where a map's maximum hits its mask, NaN where the mask is empty.

    Source: Zhang et al. 2016, with its tolerance around the mask. Where several pixels share the maximum, the result
    is their share of hits.

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
