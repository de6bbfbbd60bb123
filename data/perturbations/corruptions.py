"""What goes wrong between a slide and a file, in five steps each: optics, camera, compression, dirt, air.

After MedMNIST-C's BloodMNIST-C (Di Salvo et al. 2024), whose kinds and steps are meant for blood under a microscope.
Each is a pure function of (h, w, 3) uint8 RGB, of how strong it is, and of a random generator where it says so, and
returns the same shape and type. Lengths are in pixels of a picture of 224 x 224 and scale with the side.
"""

import numpy as np

UNIT = 224
POINTS = 200  # that a line or a disk is made of
GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))
PRECIPITATE = (0.95, 1.25, 0.75)  # optical density of dried stain in red, green, blue: nearly black, violet
GRAINS = 7  # of one deposit
GLARE = 0.45  # share of white within a bubble
SHADOW = 0.35  # share of the light that its edge bends away


def motion(image: np.ndarray, length: float, random: np.random.Generator) -> np.ndarray:
    """Blur along a line of so many pixels in a random direction, as when the stage moves during the exposure."""
    angle = random.uniform(0, np.pi)
    along = np.linspace(-0.5, 0.5, POINTS) * length * _scale(image)
    return _smeared(image, along * np.sin(angle), along * np.cos(angle))


def defocus(image: np.ndarray, radius: float) -> np.ndarray:
    """Blur by an evenly lit disk of that radius, which is what a lens out of focus makes of a point."""
    order = np.arange(POINTS) + 0.5
    far = np.sqrt(order / POINTS) * radius * _scale(image)
    turn = order * GOLDEN_ANGLE  # points of a sunflower lie evenly in a disk
    return _smeared(image, far * np.sin(turn), far * np.cos(turn))


def jpeg(image: np.ndarray, quality: float) -> np.ndarray:
    """Compress as JPEG of that quality, 1 to 100, and open again."""
    import cv2

    _, content = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    return np.ascontiguousarray(cv2.imdecode(content, cv2.IMREAD_COLOR)[:, :, ::-1])


def noise(image: np.ndarray, deviation: float, random: np.random.Generator) -> np.ndarray:
    """Add normal noise of that standard deviation, in grey levels, to every value by itself."""
    return _rounded(image + deviation * random.standard_normal(image.shape, np.float32))


def deposit(image: np.ndarray, count: float, random: np.random.Generator) -> np.ndarray:
    """Lay so many clumps of precipitated stain on the smear: a few dark grains each, nearly black.

    With the same generator a larger count keeps the places of the clumps and adds more; all grains are drawn anew.
    """
    import cv2

    height, width = image.shape[:2]
    scale = _scale(image)
    layer = np.zeros((height, width), np.float32)
    for y, x, size in random.random((int(count), 3)):
        offsets = random.normal(0, (1.5 + 2.5 * size) * scale, (GRAINS, 2))
        radii = random.uniform(0.8, 1.2 + 2.2 * size, GRAINS) * scale
        for (down, right), radius in zip(offsets, radii, strict=True):
            _circle(layer, y * height + down, x * width + right, radius, 1.0)
    layer = cv2.GaussianBlur(layer, (0, 0), 0.6 * scale)
    return _rounded(image * np.exp(-layer[:, :, None] * np.array(PRECIPITATE, np.float32)))


def bubbles(image: np.ndarray, strength: tuple[float, float], random: np.random.Generator) -> np.ndarray:
    """Lay air bubbles on the smear: whitish disks with a dark edge. `strength` is their count and largest radius.

    Radii are drawn from 3 pixels to the largest.
    """
    import cv2

    height, width = image.shape[:2]
    scale, (count, largest) = _scale(image), strength
    white, shadow = np.zeros((2, height, width), np.float32)
    for y, x, size in random.random((int(count), 3)):
        radius = (3 + (largest - 3) * size) * scale
        _circle(shadow, y * height, x * width, radius + 1.5 * scale, SHADOW)
        _circle(shadow, y * height, x * width, radius, 0)
        _circle(white, y * height, x * width, radius, GLARE)
    white, shadow = (cv2.GaussianBlur(layer, (0, 0), 0.7 * scale)[:, :, None] for layer in (white, shadow))
    return _rounded((image * (1 - white) + 255 * white) * (1 - shadow))


def _circle(layer: np.ndarray, y: float, x: float, radius: float, value: float) -> None:
    import cv2

    parts = 16  # of a pixel: OpenCV takes fractions as shifted integers
    cv2.circle(layer, (round(x * parts), round(y * parts)), max(1, round(radius * parts)), value, -1, cv2.LINE_8, 4)


def _smeared(image: np.ndarray, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the mean of the image moved by so many pixels down and right, (n,) each, between pixels linearly."""
    import cv2

    half = int(np.ceil(max(np.abs(down).max(), np.abs(right).max())))
    at = np.arange(-half, half + 1)
    rows, columns = (np.clip(1 - np.abs(at[None] - moved[:, None]), 0, 1) for moved in (down, right))
    return cv2.filter2D(image, -1, rows.T @ columns / len(down), borderType=cv2.BORDER_REFLECT)


def _scale(image: np.ndarray) -> float:
    return float(np.sqrt(image.shape[0] * image.shape[1])) / UNIT


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)
