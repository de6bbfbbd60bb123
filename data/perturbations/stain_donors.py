"""Choose the training images whose stain or background is transferred to test images, equal for all runs of a split."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from data.imaging import stain_normalization, variants
from data.manifest import Row
from data.perturbations.registry import generator
from data.splitting.splits import SplitFolder
from utils.errors import LeukoBenchError
from utils.runs.stress_controls import CALIPER

SMALLEST_SPREAD = 0.5  # standard deviation in LAB of a stretched donor, as images have noise

Open = Callable[[Path], np.ndarray]


@dataclass(frozen=True)
class Matched:
    """Colours of the same class whose distance from an image is that of its donor of another class.

    Attributes:
        statistics: (6,) means and standard deviations in LAB to give to the image.
        shift: distance of the image's own six numbers from those of its donor of another class.
        found: the same distance for the training image of the same class; where it is not within CALIPER of `shift`,
            the way to that image was stretched to `shift`.
    """

    statistics: np.ndarray
    shift: float
    found: float

    @property
    def stretched(self) -> bool:
        """Whether no training image of the class was as far away."""
        return abs(self.found - self.shift) > CALIPER * self.shift


@dataclass(frozen=True)
class Donors:
    """The training images of a split as donors."""

    split: SplitFolder

    @cached_property
    def _by_class(self) -> dict[str, list[Row]]:
        manifest = self.split.manifest
        train = manifest.subset("train")
        return {name: [row for row in train if row.label == name] for name in manifest.classes}

    def other(self, row: Row) -> Row:
        """Choose another class at random, all equally likely, and a training image of it.

        The choice depends only on the image's hash and the training images: all perturbations share the donor.

        Raises:
            LeukoBenchError: no other class has a training image.
        """
        others = [name for name, rows in self._by_class.items() if rows and name != row.label]
        if not others:
            raise LeukoBenchError(
                f"{row.image} needs the stain of another class, but all training images are of {row.label}. "
                "Use a dataset of at least two classes."
            )
        random = generator(row.sha256, "donor")
        candidates = self._by_class[others[random.integers(len(others))]]
        return candidates[random.integers(len(candidates))]

    def matched(self, row: Row, image_of: Open) -> Matched:
        """Choose the colours of a training image of the same class, as far from the image as `other`'s donor.

        Of the training images within CALIPER of that distance one is chosen by the image's hash. If there is none, the
        nearest in distance gives the direction, and the way is stretched or shortened to the distance. Call
        `measure_colours` before.

        Args:
            row: a test image whose class has training images, see `has_same`.
            image_of: opens a file as (h, w, 3) uint8 RGB.
        """
        own = np.array(stain_normalization.reinhard_statistics(image_of(self.path(row))))
        away = np.array(stain_normalization.reinhard_statistics(image_of(self.path(self.other(row)))))
        shift = float(np.linalg.norm(away - own))
        same = self._measured[row.label]
        distances = np.linalg.norm(same - own, axis=1)
        within = np.flatnonzero(np.abs(distances - shift) <= CALIPER * shift)
        if len(within):
            at = within[generator(row.sha256, "matched donor").integers(len(within))]
            return Matched(same[at], shift, float(distances[at]))
        at = int(np.abs(distances - shift).argmin())
        stretch = shift / distances[at] if distances[at] > 0 else 0.0
        aim = own + stretch * (same[at] - own)
        aim[3:] = np.maximum(aim[3:], SMALLEST_SPREAD)
        return Matched(aim, shift, float(distances[at]))

    def measure_colours(self, image_of: Open, pool: Executor) -> None:
        """Measure the colour statistics of all training images, which `matched` chooses from."""

        def measured(row: Row) -> tuple[float, ...]:
            return stain_normalization.reinhard_statistics(image_of(self.path(row)))

        for label, rows in self._by_class.items():
            if label not in self._measured:
                self._measured[label] = np.array(list(pool.map(measured, rows)))

    def has_same(self, row: Row) -> bool:
        """Return whether the image's class has training images."""
        return bool(self._by_class.get(row.label))

    @cached_property
    def _measured(self) -> dict[str, np.ndarray]:
        return {}

    def reference(self, label: str) -> Row:
        """Return the training image of a class whose mean colour is nearest the median of that class."""
        rows = self._by_class[label]
        return rows[variants.choose_reference([self.path(row) for row in rows])]

    def path(self, row: Row) -> Path:
        """Return the file of an image of the split."""
        return self.split.path / row.split / row.image
