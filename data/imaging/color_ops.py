"""Colour changes that keep every shape: hue, saturation, brightness, and the stain of another image.

Each is a pure function of (h, w, 3) uint8 RGB and returns a new array of the same shape and type.
"""

import numpy as np

from data.imaging import stain_normalization


def hue(image: np.ndarray, degrees: float) -> np.ndarray:
    """Rotate every hue by an angle in the a-b plane of CIE LAB; lightness is kept, except for clipping."""
    import cv2

    lab = stain_normalization.to_lab(image)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turned = cv2.transform(lab, np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]], np.float32))
    return _rounded(cv2.cvtColor(turned, cv2.COLOR_LAB2RGB) * 255)


def tinted_grey(image: np.ndarray) -> np.ndarray:
    """Return the lightness of every pixel in one hue, the image's mean a and b of CIE LAB.

    Beside grey, it shows what the loss of the mean tint costs: here only the differences of hue within the image go.
    """
    import cv2

    lab = stain_normalization.to_lab(image)
    lab[..., 1:] = lab[..., 1:].mean(axis=(0, 1), dtype=np.float64)
    return _rounded(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255)


def saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Scale each pixel's difference from its own grey: 0 gives grey, 1 the image, above 1 more vivid colours."""
    import cv2

    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(image, factor, grey, 1 - factor, 0)


def brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiply all values by a factor, as a change of exposure does, clipped at 255."""
    import cv2

    return cv2.LUT(image, _rounded(np.arange(256) * factor))


def reinhard_swap(image: np.ndarray, donor: np.ndarray) -> np.ndarray:
    """Transfer mean and spread in LAB from a donor, (h, w, 3) uint8 RGB of any size (Reinhard et al. 2001)."""
    return stain_normalization.reinhard(image, stain_normalization.reinhard_statistics(donor))


def macenko_swap(image: np.ndarray, donor: np.ndarray) -> np.ndarray:
    """Transfer the two stains and the illumination from a donor (Macenko et al. 2009).

    Where two stains cannot be separated in one of them, a copy of the image is returned.
    """
    statistics = stain_normalization.macenko_statistics(donor)
    return image.copy() if statistics is None else stain_normalization.macenko(image, statistics)


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)
