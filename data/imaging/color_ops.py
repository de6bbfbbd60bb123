"""Changes of colour alone: every pixel stays where it is, so that what a haematologist reads is still there.

Each is a pure function of (h, w, 3) uint8 RGB and returns the same shape and type; the image is not modified.
"""

import numpy as np

from data.imaging import stain_normalization


def hue(image: np.ndarray, degrees: float) -> np.ndarray:
    """Turn every hue by so many degrees in the plane of a and b of CIE LAB; lightness stays, but for clipping."""
    import cv2

    lab = stain_normalization.to_lab(image)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turned = cv2.transform(lab, np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]], np.float32))
    return _rounded(cv2.cvtColor(turned, cv2.COLOR_LAB2RGB) * 255)


def saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiply each pixel's distance from its own grey by a factor: 0 is grey, 1 the image, above 1 more vivid."""
    import cv2

    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(image, factor, grey, 1 - factor, 0)


def brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiply all values by a factor, as a longer or shorter exposure does; what passes 255 stays there."""
    import cv2

    return cv2.LUT(image, _rounded(np.arange(256) * factor))


def reinhard_swap(image: np.ndarray, donor: np.ndarray) -> np.ndarray:
    """Give an image the mean and spread in LAB of a donor, (h, w, 3) uint8 RGB of any size (Reinhard et al. 2001)."""
    return stain_normalization.reinhard(image, stain_normalization.reinhard_statistics(donor))


def macenko_swap(image: np.ndarray, donor: np.ndarray) -> np.ndarray:
    """Give an image the two stains and the light of a donor (Macenko et al. 2009).

    Where no two stains can be told apart in either of them, the image is returned as it is.
    """
    statistics = stain_normalization.macenko_statistics(donor)
    return image.copy() if statistics is None else stain_normalization.macenko(image, statistics)


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)
