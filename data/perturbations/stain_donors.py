"""Choose the training images whose stain or background is transferred to test images, equal for all runs of a split."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from data.imaging import variants
from data.manifest import Row
from data.perturbations.registry import generator
from data.splitting.splits import SplitFolder
from utils.errors import LeukoBenchError


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

    def reference(self, label: str) -> Row:
        """Return the training image of a class whose mean colour is nearest the median of that class."""
        rows = self._by_class[label]
        return rows[variants.choose_reference([self.path(row) for row in rows])]

    def path(self, row: Row) -> Path:
        """Return the file of an image of the split."""
        return self.split.path / row.split / row.image
