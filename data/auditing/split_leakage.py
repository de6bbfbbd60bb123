"""What a split leaks: images of one place that lie in two of its subsets, or under two classes."""

from collections.abc import Sequence
from dataclasses import dataclass

from data.grouping.related_images import Pair
from data.manifest import Manifest


@dataclass(frozen=True)
class Shared:
    """Two images of one place, and the subsets in which they lie.

    Attributes:
        first, second: images, "<Class>/<file>".
        kind: "exact", "near" or "overlap", see `data.found_groups.Pair`.
        dx, dy: how far what the first shows lies to the right and down in the second, pixels.
        share: part of the first that the second shows, 0-1.
        bits: of 256 in which the perceptual hashes differ.
        inliers: features found in both in one arrangement.
        first_split, second_split: "train", "val" or "test".
    """

    first: str
    second: str
    kind: str
    dx: float
    dy: float
    share: float
    bits: int
    inliers: int
    first_split: str
    second_split: str

    @property
    def across_classes(self) -> bool:
        """Whether the images lie under two classes."""
        return self.first.partition("/")[0] != self.second.partition("/")[0]

    @property
    def across_split(self) -> bool:
        """Whether the images lie in two subsets."""
        return self.first_split != self.second_split

    @property
    def tested(self) -> list[str]:
        """The test image of a pair whose other image is none."""
        ends = ((self.first, self.first_split), (self.second, self.second_split))
        return [image for image, split in ends if split == "test"] if self.across_split else []


@dataclass(frozen=True)
class Leak:
    """One kind of shared images: pairs, those across classes and subsets, and test images seen outside the test."""

    kind: str
    pairs: int
    across_classes: int
    across_split: int
    test_images: int


def shared(pairs: Sequence[Pair], manifest: Manifest) -> list[Shared]:
    """Return pairs with the subsets of a split in which their images lie."""
    split = {row.image: row.split for row in manifest.rows}
    return [
        Shared(
            pair.first, pair.second, pair.kind, pair.dx, pair.dy, pair.share, pair.bits, pair.inliers,
            split[pair.first], split[pair.second],
        )
        for pair in pairs
    ]  # fmt: skip


def leak(kind: str, pairs: Sequence[Shared]) -> Leak:
    """Return what pairs of one kind come to."""
    tested = {image for pair in pairs for image in pair.tested}
    across = (sum(pair.across_classes for pair in pairs), sum(pair.across_split for pair in pairs))
    return Leak(kind, len(pairs), *across, len(tested))
