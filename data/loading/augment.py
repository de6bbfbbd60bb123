"""Augmentation: order, geometry, light and colour of training images, drawn from (seed, epoch, image index).

`augmentation_config.py` defines the settings. Pixels are changed with operations of the backend that Keras runs on.
"""

from typing import TYPE_CHECKING

import numpy as np

from data.loading.augmentation_config import Augmentation

if TYPE_CHECKING:
    import keras

# Random numbers of an image in an epoch; their order must stay, or runs could not be repeated.
DRAWS = (
    "flip_x",
    "flip_y",
    "turn",
    "angle",
    "zoom",
    "shift_x",
    "shift_y",
    "bright",
    "contrast",
    "saturation",
    "r",
    "g",
    "b",
)


def shuffled(count: int, seed: int, epoch: int) -> np.ndarray:
    """Return the shuffled indices of `count` images in an epoch."""
    return np.random.Generator(np.random.Philox(key=[seed, 2 * epoch])).permutation(count)


def epoch_draws(count: int, seed: int, epoch: int) -> np.ndarray:
    """Return the (count, len(DRAWS)) float32 numbers in 0..1 that change the images in an epoch."""
    generator = np.random.Generator(np.random.Philox(key=[seed, 2 * epoch + 1]))
    return generator.random((count, len(DRAWS)), np.float32)


def affine(draws: np.ndarray, augmentation: Augmentation, width: int, height: int = 0) -> np.ndarray:
    """Return the (n, 8) projective transforms, output to input pixel, for (n, len(DRAWS)) numbers in 0..1.

    Images are `width` x `height` pixels, square without a height.
    """
    height = height or width
    drawn = dict(zip(DRAWS, draws.T.astype(np.float64), strict=True))
    angle = np.radians(augmentation.rotation) * (2 * drawn["angle"] - 1)
    if augmentation.quarter_turns:
        angle = angle + np.floor(4 * drawn["turn"]) * np.pi / 2
    scale = 1 + augmentation.zoom * (2 * drawn["zoom"] - 1)
    mirror_x = np.where((drawn["flip_x"] < 0.5) & augmentation.flips, -1.0, 1.0)
    mirror_y = np.where((drawn["flip_y"] < 0.5) & augmentation.flips, -1.0, 1.0)
    cos, sin = np.cos(angle), np.sin(angle)
    a, b = cos * mirror_x / scale, -sin * mirror_y / scale
    c, d = sin * mirror_x / scale, cos * mirror_y / scale
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    shift_x = augmentation.shift * width * (2 * drawn["shift_x"] - 1)
    shift_y = augmentation.shift * height * (2 * drawn["shift_y"] - 1)
    x = centre_x - a * centre_x - b * centre_y + shift_x
    y = centre_y - c * centre_x - d * centre_y + shift_y
    zero = np.zeros_like(a)
    return np.stack([a, b, x, c, d, y, zero, zero], axis=1).astype(np.float32)


def turns_alone(augmentation: Augmentation) -> bool:
    """Say whether only flips and quarter turns move pixels, so that every value is kept."""
    moved = augmentation.rotation or augmentation.zoom or augmentation.shift
    return (augmentation.flips or augmentation.quarter_turns) and not moved


def turned(pixels: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    """Flip and turn (b, h, w, 3) uint8 squares as `change` does where `turns_alone`, several times faster.

    Args:
        pixels: the images.
        transforms: (b, 8), from `affine`.
    """
    after = np.empty_like(pixels)
    for image, (a, b, _, c, d), place in zip(pixels, np.rint(transforms[:, :5]).astype(int), after, strict=True):
        place[:] = image[::d, ::a] if a else image[::c, ::b].transpose(1, 0, 2)
    return after


def change(
    pixels: "keras.KerasTensor",
    drawn: "keras.KerasTensor",
    transform: "keras.KerasTensor",
    augmentation: Augmentation,
) -> "keras.KerasTensor":
    """Change geometry, light and colour of a batch with the operations of Keras' backend.

    Args:
        pixels: (b, h, w, 3) float32 RGB in 0-255.
        drawn: (b, len(DRAWS)) float32 numbers in 0..1.
        transform: (b, 8), from `affine`.
        augmentation: what is changed.

    Returns:
        (b, h, w, 3) float32 in 0-255.
    """
    import keras

    whole = turns_alone(augmentation)
    if whole or augmentation.rotation or augmentation.zoom or augmentation.shift:
        way = "nearest" if whole else "bilinear"
        pixels = keras.ops.image.affine_transform(pixels, transform, interpolation=way, fill_mode="reflect")

    def around_one(first: str, strength: float, count: int = 1) -> "keras.KerasTensor":
        start = DRAWS.index(first)
        return (1 + strength * (2 * drawn[:, start : start + count] - 1))[:, None, None, :]

    if augmentation.colour:
        grey = keras.ops.mean(pixels, axis=-1, keepdims=True)
        pixels = grey + (pixels - grey) * around_one("saturation", augmentation.colour)
        pixels = pixels * around_one("r", augmentation.colour, 3)
    if augmentation.contrast:
        mean = keras.ops.mean(pixels, axis=(1, 2, 3), keepdims=True)
        pixels = mean + (pixels - mean) * around_one("contrast", augmentation.contrast)
    if augmentation.brightness:
        pixels = pixels + 255 * (around_one("bright", augmentation.brightness) - 1)
    return keras.ops.clip(pixels, 0, 255)
