"""Closed outlines in polar form and their rasterisation, for the synthetic smears.

Lengths are in units of 1/128 of the image's side, so that a scene looks the same at every size. Everything is drawn
as a function of u = distance from the centre / distance of the outline in that direction. The number of pixels at each
u then depends only on the total area, not on the number or shape of the cells: colour statistics reveal no shape.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

UNITS = 128.0
LOBES = np.arange(2, 8)
_AROUND = np.exp(2j * np.pi * np.arange(96) / 96)
_CLEFT_WIDTH = 0.42  # radians
_FAR = 9.0


@dataclass
class Outlines:
    """n outlines: radius (n,), amplitude and phase of the harmonics (n, 6), cleft depth (n,), centre (n, 2)."""

    radius: np.ndarray
    amplitude: np.ndarray
    phase: np.ndarray
    cleft: np.ndarray
    centre: np.ndarray

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        radius: np.ndarray,
        elongation: tuple[float, float],
        roughness: float,
        cleft: tuple[float, float] = (0.0, 0.0),
    ) -> "Outlines":
        """Draw outlines of the given radii around (0, 0)."""
        n = len(radius)
        amplitude = rng.normal(0, 1, (n, len(LOBES))) * roughness / np.sqrt(LOBES - 1.0)
        amplitude[:, 0] = rng.uniform(*elongation, n)
        phase = rng.uniform(0, 2 * np.pi, (n, len(LOBES)))
        return cls(np.asarray(radius, float), amplitude, phase, rng.uniform(*cleft, n), np.zeros((n, 2)))

    def shape(self, direction: np.ndarray) -> np.ndarray:
        """Return distance / radius of the outlines in directions (n, ...), given as complex numbers of length 1.

        Harmonics are powers of the complex number, several times faster than cosines of angles. A cleft is a dip in the
        form of a von Mises curve on the long side.
        """
        wide = (slice(None),) + (None,) * (direction.ndim - 1)
        waves = self.amplitude * np.exp(1j * LOBES * self.phase)
        series = np.zeros_like(direction)
        for wave in waves.T[::-1]:
            series = series * direction + wave[wide]
        out = 1 + (series * direction ** LOBES[0]).real
        if self.cleft.any():
            towards = (direction * np.exp(1j * self.phase[:, 0][wide])).imag
            out -= self.cleft[wide] * np.exp((towards - 1) * 2 / _CLEFT_WIDTH**2)
        return np.maximum(out, 0.15)

    def _around(self) -> np.ndarray:
        return self.shape(np.broadcast_to(_AROUND, (len(self.radius), len(_AROUND))))

    def areas(self) -> np.ndarray:
        """Return the areas, (n,) in square units."""
        return np.pi * self.radius**2 * (self._around() ** 2).mean(axis=1)

    def reach(self) -> np.ndarray:
        """Return the greatest distance (n,) of each outline from its centre."""
        return self.radius * self._around().max(axis=1)

    def _windows(self, size: int, margin: float) -> tuple[np.ndarray, np.ndarray, int]:
        """Return u in a window around each outline (n, w, w), the corners of the windows (n, 2) and the half width."""
        scale = size / UNITS
        half = int(np.ceil(self.reach().max(initial=1.0) * scale * margin)) + 1
        pixel = self.centre * scale
        corner = np.clip(np.floor(pixel).astype(int), -half, size + half) - half
        steps = np.arange(2 * half + 1) + 0.5
        dy = corner[:, :1] + steps - pixel[:, :1]
        dx = corner[:, 1:] + steps - pixel[:, 1:]
        away = dx[:, None, :] + 1j * dy[:, :, None]
        distance = np.maximum(np.abs(away), 1e-6)
        u = distance / (self.shape(away / distance) * self.radius[:, None, None] * scale)
        return u, corner, half

    def nearest(self, size: int, margin: float = 1.3) -> np.ndarray:
        """Return the plane (size, size) of the smallest u over the outlines; 9 where none is near."""
        u, corner, half = self._windows(size, margin)
        return self._joined(np.minimum, u, np.full((size + 4 * half,) * 2, _FAR), corner, half)

    def total(self, size: int, profile: Callable[[np.ndarray], np.ndarray], margin: float = 1.2) -> np.ndarray:
        """Return the plane (size, size) of profile(u) summed over the outlines, as dyes in layers add up."""
        u, corner, half = self._windows(size, margin)
        return self._joined(np.add, profile(u), np.zeros((size + 4 * half,) * 2), corner, half)

    @staticmethod
    def _joined(join: np.ufunc, values: np.ndarray, plane: np.ndarray, corner: np.ndarray, half: int) -> np.ndarray:
        """Combine windows in a plane with a border of 2 x half on every side, and cut the border off."""
        width = 2 * half + 1
        for (row, column), value in zip(corner + 2 * half, values, strict=True):
            window = plane[row : row + width, column : column + width]
            join(window, value, out=window)
        return plane[2 * half : -2 * half, 2 * half : -2 * half]


def smoothstep(u: np.ndarray, inner: float, outer: float) -> np.ndarray:
    """Return 1 where u <= inner, 0 where u >= outer, a smooth ramp between."""
    t = np.clip((outer - u) / (outer - inner), 0.0, 1.0)
    return t * t * (3 - 2 * t)
