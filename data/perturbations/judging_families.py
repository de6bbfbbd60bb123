"""The judging families: changes of colour and background that are reserved for tests and enter no training recipe.

Colour: other cameras and lamps, each a fixed matrix between the colour channels in linear light, with a gain and a
gamma for each channel. Background: the nucleated cells on a drawn smear of fixed colours. All amounts are in the tables
below, and `digest` changes with each of them, so that results under other amounts are not mixed.
"""

import hashlib
import json
from dataclasses import asdict, dataclass

import numpy as np

from data.imaging import scene_ops
from utils.runs.stress_controls import JUDGING

NAMES = COLOUR, BACKGROUND = tuple(JUDGING.values())
VERSION = 1  # of the functions below: raise it with every change of what they draw
DISK_EDGE = 0.08  # width of a red cell's edge, as a share of its radius
RADIUS = (0.022, 0.034)  # of red cells, as shares of the image's side
SHADE = 0.06  # light lost from one side of a drawn background to the other


@dataclass(frozen=True)
class Camera:
    """A camera and its lamp.

    Attributes:
        matrix: of linear red, green and blue to linear red, green and blue, row by row.
        gain: of each channel in linear light, after the matrix.
        gamma: exponent of each channel, on top of that of sRGB; above 1 is darker.
    """

    matrix: tuple[tuple[float, float, float], ...]
    gain: tuple[float, float, float]
    gamma: tuple[float, float, float]


@dataclass(frozen=True)
class Ground:
    """A drawn background.

    Attributes:
        light: colour of the empty slide, 0 to 255.
        red_cells: colour of the red cells' rims.
        count: number of red cells.
        pallor: share of a red cell's colour that its centre lacks.
    """

    light: tuple[int, int, int]
    red_cells: tuple[int, int, int]
    count: int
    pallor: float


CAMERAS = {
    "halogen": Camera(((0.88, 0.12, 0.0), (0.06, 0.90, 0.04), (0.0, 0.16, 0.84)), (1.06, 0.96, 0.78), (0.92, 1.0, 1.1)),
    "white diode": Camera(
        ((0.82, 0.14, 0.04), (0.0, 0.94, 0.06), (0.05, 0.0, 0.95)), (0.86, 0.98, 1.08), (1.12, 1.0, 0.9)
    ),
    "green cast": Camera(
        ((0.90, 0.06, 0.04), (0.10, 0.84, 0.06), (0.08, 0.10, 0.82)), (0.88, 1.04, 0.90), (1.05, 0.95, 1.05)
    ),
    "crossed filters": Camera(
        ((0.70, 0.12, 0.18), (0.12, 0.76, 0.12), (0.22, 0.10, 0.68)), (1.0, 0.94, 1.0), (1.0, 1.15, 1.0)
    ),
}
GROUNDS = {
    "empty": Ground((228, 232, 238), (228, 232, 238), 0, 0.0),
    "sand": Ground((236, 226, 206), (206, 172, 150), 70, 0.5),
    "slate": Ground((206, 214, 222), (164, 170, 186), 45, 0.3),
}


def digest() -> str:
    """Return the hash of all names and amounts, 16 hexadecimal digits."""
    amounts = {
        "version": VERSION,
        COLOUR: {name: asdict(camera) for name, camera in CAMERAS.items()},
        BACKGROUND: {name: asdict(ground) for name, ground in GROUNDS.items()},
        "drawing": [DISK_EDGE, *RADIUS, SHADE],
    }
    return hashlib.sha256(json.dumps(amounts, sort_keys=True).encode()).hexdigest()[:16]


def photographed(image: np.ndarray, camera: Camera) -> np.ndarray:
    """Return (h, w, 3) uint8 RGB as another camera shows it; shapes stay."""
    import cv2

    values = np.arange(256) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)
    mixed = cv2.transform(cv2.LUT(image, linear), np.array(camera.matrix, np.float32))
    mixed = np.clip(mixed * np.array(camera.gain, np.float32), 0, 1) ** np.array(camera.gamma, np.float32)
    shown = np.where(mixed <= 0.0031308, 12.92 * mixed, 1.055 * mixed ** (1 / 2.4) - 0.055)
    return np.rint(255 * np.clip(shown, 0, 1)).astype(np.uint8)


def grounded(image: np.ndarray, ground: Ground, random: np.random.Generator) -> np.ndarray:
    """Return the nucleated cells of (h, w, 3) uint8 RGB on a drawn background.

    Positions of the red cells and the direction of the light depend on the generator only, so they say nothing about
    the class.
    """
    share = scene_ops.cell_share(image)[:, :, None]
    return np.rint(share * image + (1 - share) * _drawn(image.shape[:2], ground, random)).astype(np.uint8)


def _drawn(shape: tuple[int, int], ground: Ground, random: np.random.Generator) -> np.ndarray:
    """Draw a background, (h, w, 3) float32 in 0 to 255."""
    height, width = shape
    side = float(np.sqrt(height * width))
    down, right = (np.arange(height) + 0.5)[:, None], (np.arange(width) + 0.5)[None]
    cover = np.zeros(shape, np.float32)
    angle = random.uniform(0, 2 * np.pi)
    for y, x, size in random.random((ground.count, 3)):
        radius = side * (RADIUS[0] + (RADIUS[1] - RADIUS[0]) * size)
        rows, columns = (
            slice(max(0, int(at * length - 2 * radius)), int(at * length + 2 * radius) + 2)
            for at, length in ((y, height), (x, width))
        )
        u = np.hypot(down[rows] - y * height, right[:, columns] - x * width) / radius
        disk = np.clip((1 + DISK_EDGE - u) / (2 * DISK_EDGE), 0, 1) * (1 - ground.pallor * np.clip(1 - u / 0.8, 0, 1))
        cover[rows, columns] = np.maximum(cover[rows, columns], disk)
    slope = (down / height - 0.5) * np.sin(angle) + (right / width - 0.5) * np.cos(angle)
    light, red = np.array(ground.light, np.float32), np.array(ground.red_cells, np.float32)
    colours = light + cover[:, :, None] * (red - light)
    return np.clip(colours * (1 + SHADE * slope[:, :, None]), 0, 255).astype(np.float32)
