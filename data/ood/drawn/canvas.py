"""Drawing primitives of images that are no smears: noise, shapes, dyes, and the camera that photographs them.

A canvas is (h, w, 3) float32 in 0..1.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

HAEMATOXYLIN = (0.65, 0.70, 0.29)  # optical densities of the three dyes: Ruifrok and Johnston 2001
EOSIN = (0.07, 0.99, 0.11)
DAB = (0.27, 0.57, 0.78)


def cloud(rng: np.random.Generator, height: int, width: int, slope: float = 2.0, stretch: float = 1.0) -> np.ndarray:
    """Return (height, width) float32 noise from 0 to 1 whose amplitude falls as 1 / frequency**(slope / 2).

    Args:
        rng: random generator.
        height, width: in pixels.
        slope: 0 is white, 2 is pink in two dimensions, 4 is soft.
        stretch: ratio of length to width of its clouds, in a random direction.
    """
    y, x = np.meshgrid(np.fft.fftfreq(height), np.fft.rfftfreq(width), indexing="ij")
    turn = rng.uniform(0, np.pi)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    frequency = np.hypot(along * stretch, across)
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.standard_normal((height, width))) / frequency ** (slope / 2)
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, (height, width))
    low, high = np.quantile(field, (0.01, 0.99))
    return np.clip((field - low) / max(high - low, 1e-9), 0, 1).astype(np.float32)


def choose(rng: np.random.Generator, options: Sequence[Any]) -> Any:
    """Return one of the options at random."""
    return options[rng.integers(len(options))]


def position(rng: np.random.Generator, height: int, width: int) -> tuple[float, float]:
    """Return a random point, x and y in pixels."""
    return rng.uniform(0, width), rng.uniform(0, height)


def coordinates(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return y and x of every pixel, (height, width) each, from -1 to 1."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return y, x


def blank(height: int, width: int, colour: Sequence[float]) -> np.ndarray:
    """Return a canvas of one colour."""
    return np.tile(np.asarray(colour, np.float32), (height, width, 1))


def paint(canvas: np.ndarray, mask: np.ndarray, colour: np.ndarray | Sequence[float]) -> None:
    """Blend a colour or a canvas into a canvas, in place, by a (h, w) mask in 0..1."""
    canvas += mask[:, :, None].astype(np.float32) * (np.asarray(colour, np.float32) - canvas)


def ellipse(
    height: int, width: int, centre: Sequence[float], radii: Sequence[float], turn: float = 0.0, soft: float = 0.7
) -> np.ndarray:
    """Return the mask (height, width) float32 of a filled ellipse; lengths and blur in pixels, `turn` in degrees."""
    import cv2

    mask = np.zeros((height, width), np.uint8)
    axes = (max(1, round(radii[0])), max(1, round(radii[1])))
    cv2.ellipse(mask, (round(centre[0]), round(centre[1])), axes, turn, 0, 360, 255, -1, cv2.LINE_AA)
    return smooth(mask / np.float32(255), soft)


def blob(
    canvas: np.ndarray,
    colour: np.ndarray | Sequence[float],
    centre: Sequence[float],
    radii: Sequence[float],
    turn: float = 0.0,
    soft: float = 0.7,
    strength: float = 1.0,
) -> None:
    """Paint an `ellipse` on a canvas, in place; `strength` is its opacity."""
    reach = max(radii) + 4 * soft + 3  # beyond it nothing changes
    left, top = (max(0, int(at - reach)) for at in centre)
    box = np.s_[top : max(top, int(centre[1] + reach)), left : max(left, int(centre[0] + reach))]
    part = canvas[box]  # painted in place
    if part.size:
        mask = ellipse(*part.shape[:2], (centre[0] - left, centre[1] - top), radii, turn, soft)
        paint(part, strength * mask, colour[box] if np.ndim(colour) == 3 else colour)


def patch(
    canvas: np.ndarray,
    colour: np.ndarray | Sequence[float],
    corners: Sequence[Sequence[float]],
    soft: float = 0.7,
    strength: float = 1.0,
) -> None:
    """Paint a filled polygon on a canvas, in place; corners are x, y in pixels."""
    import cv2

    mask = np.zeros(canvas.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(np.asarray(corners)).astype(np.int32)], 255, cv2.LINE_AA)
    paint(canvas, strength * smooth(mask / np.float32(255), soft), colour)


def smooth(field: np.ndarray, sigma: float) -> np.ndarray:
    """Blur a field or canvas by a Gaussian of `sigma` pixels; 0 returns it unchanged."""
    import cv2

    return cv2.GaussianBlur(field, (0, 0), sigma) if sigma > 0 else field


def cells(
    rng: np.random.Generator,
    height: int,
    width: int,
    number: int,
    radius: float,
    spread: float = 0.25,
    longest: float = 1.6,
    where: np.ndarray | None = None,
) -> np.ndarray:
    """Draw up to `number` ellipses of random intensity, which may touch: (height, width) float32 in 0..1.

    Args:
        rng: random generator.
        height, width: in pixels.
        number: of ellipses, at most.
        radius: mean, in pixels.
        spread: standard deviation of the radius, as a share of it.
        longest: largest ratio of the axes.
        where: (height, width) probability of a centre, 0..1; None for everywhere.
    """
    import cv2

    mask = np.zeros((height, width), np.uint8)
    for _ in range(number):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        size, long = max(0.6, radius * (1 + spread * rng.standard_normal())), rng.uniform(1, longest)
        strength, turn = int(rng.integers(150, 256)), float(rng.uniform(0, 180))
        if where is not None and rng.random() > where[y, x]:
            continue
        axes = (max(1, round(size * long)), max(1, round(size)))
        cv2.ellipse(mask, (x, y), axes, turn, 0, 360, strength, -1, cv2.LINE_AA)
    return mask / np.float32(255)


def stained(amounts: Sequence[tuple[Sequence[float], np.ndarray]], light: Sequence[float] = (1, 1, 1)) -> np.ndarray:
    """Render dyes on a slide by the Beer-Lambert law, from pairs (optical density, (h, w) amount)."""
    density = sum(amount[:, :, None] * np.asarray(dye, np.float32) for dye, amount in amounts)
    return np.exp(-density).astype(np.float32) * np.asarray(light, np.float32)


def photographed(
    rng: np.random.Generator, canvas: np.ndarray, blur: float = 1.0, noise: float = 0.02, fall: float = 0.3
) -> np.ndarray:
    """Photograph a canvas: (h, w, 3) uint8 with blur, vignetting, noise and often JPEG compression.

    Args:
        rng: random generator.
        canvas: (h, w, 3) in 0..1.
        blur: largest sigma in pixels.
        noise: largest standard deviation.
        fall: largest loss of light towards the corners.
    """
    import cv2

    height, width = canvas.shape[:2]
    y, x = coordinates(height, width)
    light = 1 - rng.uniform(0, fall) * (x * x + y * y) / 2
    picture = smooth(canvas, rng.uniform(0, blur)) * light[:, :, None].astype(np.float32)
    picture = picture + rng.normal(0, rng.uniform(0, noise), canvas.shape).astype(np.float32)
    pixels = to_uint8(picture)
    if rng.random() < 0.6:
        quality = int(rng.integers(40, 96))
        pixels = cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    return pixels


def to_uint8(canvas: np.ndarray) -> np.ndarray:
    """Convert a canvas to (h, w, 3) uint8."""
    return np.rint(np.clip(canvas, 0, 1) * 255).astype(np.uint8)


def hue(rng: np.random.Generator, least: float = 0.0, most: float = 1.0) -> np.ndarray:
    """Return a random colour, (3,) in 0..1, of any hue and saturation and a brightness from `least` to `most`."""
    from colorsys import hsv_to_rgb

    return np.array(hsv_to_rgb(rng.random(), rng.random(), rng.uniform(least, most)), np.float32)
