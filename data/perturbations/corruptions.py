"""Image corruptions between slide and file: optics, camera, compression, stain precipitate, air bubbles.

After BloodMNIST-C of MedMNIST-C (Di Salvo et al. 2024), whose kinds and severities suit blood under a microscope.
Each is a pure function of (h, w, 3) uint8 RGB, a strength, and a random generator where it takes one, and returns the
same shape and type. Lengths are in pixels of a 224 x 224 image and scale with the side.
"""

import numpy as np

UNIT = 224
POINTS = 200  # samples of a line or a disk
GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))
PRECIPITATE = (0.95, 1.25, 0.75)  # optical density of dried stain in red, green, blue: a dark violet
GRAINS = 7  # per clump
GLARE = 0.45  # share of white within a bubble
SHADOW = 0.35  # share of light lost at its edge


def motion(image: np.ndarray, length: float, random: np.random.Generator) -> np.ndarray:
    """Blur along a line of the given length in a random direction, as by stage motion during the exposure."""
    angle = random.uniform(0, np.pi)
    along = np.linspace(-0.5, 0.5, POINTS) * length * _scale(image)
    return _smeared(image, along * np.sin(angle), along * np.cos(angle))


def defocus(image: np.ndarray, radius: float) -> np.ndarray:
    """Blur by a uniform disk of the given radius, the image of a point out of focus."""
    order = np.arange(POINTS) + 0.5
    far = np.sqrt(order / POINTS) * radius * _scale(image)
    turn = order * GOLDEN_ANGLE  # sunflower pattern: evenly spread in a disk
    return _smeared(image, far * np.sin(turn), far * np.cos(turn))


def jpeg(image: np.ndarray, quality: float) -> np.ndarray:
    """Compress as JPEG of the given quality, 1 to 100, and decode again."""
    import cv2

    _, content = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    return np.ascontiguousarray(cv2.imdecode(content, cv2.IMREAD_COLOR)[:, :, ::-1])


def noise(image: np.ndarray, deviation: float, random: np.random.Generator) -> np.ndarray:
    """Add independent Gaussian noise of the given standard deviation in grey levels."""
    return _rounded(image + deviation * random.standard_normal(image.shape, np.float32))


def deposit(image: np.ndarray, count: float, random: np.random.Generator) -> np.ndarray:
    """Draw `count` clumps of precipitated stain, each of a few nearly black grains.

    With the same generator state a larger count keeps the positions of the clumps and adds more; grains are redrawn.
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
    """Draw air bubbles, whitish disks with a dark edge; `strength` is their count and largest radius.

    Radii are uniform from 3 pixels to the largest.
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

    parts = 16  # per pixel: OpenCV takes fractions as shifted integers
    cv2.circle(layer, (round(x * parts), round(y * parts)), max(1, round(radius * parts)), value, -1, cv2.LINE_8, 4)


def _smeared(image: np.ndarray, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the mean of the image shifted by (n,) pixels down and right, with linear interpolation."""
    import cv2

    half = int(np.ceil(max(np.abs(down).max(), np.abs(right).max())))
    at = np.arange(-half, half + 1)
    rows, columns = (np.clip(1 - np.abs(at[None] - moved[:, None]), 0, 1) for moved in (down, right))
    return cv2.filter2D(image, -1, rows.T @ columns / len(down), borderType=cv2.BORDER_REFLECT)


def _scale(image: np.ndarray) -> float:
    return float(np.sqrt(image.shape[0] * image.shape[1])) / UNIT


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)
