"""What belongs together in a dataset: stain groups, and pairs of images of one place; in memory and in files."""

from collections import Counter
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from utils.errors import LeukoBenchError
from utils.io import files

COLUMNS = ("image", "group")
KINDS = ("exact", "near", "overlap")


@dataclass(frozen=True)
class Pair:
    """Two images of one place.

    Attributes:
        first, second: images, in order of their names.
        kind: "exact", the same bytes; "near", the same field, stored or taken again; "overlap".
        dx, dy: how far what the first shows lies to the right and down in the second, pixels.
        inliers: features found in both in one arrangement; 0 where they were not needed.
        share: part of the first that the second shows, 0-1.
        bits: of 256 in which the perceptual hashes differ.
    """

    first: str
    second: str
    kind: str
    dx: float
    dy: float
    inliers: int
    share: float
    bits: int

    @property
    def across(self) -> bool:
        """Whether the images lie under two classes."""
        return self.first.partition("/")[0] != self.second.partition("/")[0]


PAIR_COLUMNS = ("first", "second", "kind", "dx", "dy", "inliers", "share", "bits")


@dataclass(frozen=True)
class Found:
    """What belongs together in a dataset.

    Attributes:
        groups: group by image.
        pairs: images of one place.
        stability: (number of clusters tried, adjusted Rand index between clusterings of separate halves), ascending.
        number: of clusters, before pairs were joined.
        together: share of the near and overlapping pairs that lay in one cluster before they were joined, 0-1; None
            where there are no such pairs. Slides would give 1. It flatters where those pairs taught the noise.
    """

    groups: dict[str, str]
    pairs: tuple[Pair, ...]
    stability: tuple[tuple[int, float], ...]
    number: int
    together: float | None

    def composition(self) -> dict[str, Counter[str]]:
        """Return the images of each class in each group: {"g000": {"Benign": 120, "Pre": 1}, ...}."""
        mix: dict[str, Counter[str]] = {}
        for image, group in self.groups.items():
            mix.setdefault(group, Counter())[image.partition("/")[0]] += 1
        return dict(sorted(mix.items()))


def keep(place: Path, key: str, found: Found) -> None:
    """Write what was found in the images of a key into a folder: groups.csv, pairs.csv, groups.json."""
    about = {"key": key, "clusters": found.number, "stability": found.stability, "together": found.together}
    files.write_text(place / "groups.csv", files.csv_text(COLUMNS, found.groups.items()))
    files.write_text(place / "pairs.csv", files.csv_text(PAIR_COLUMNS, map(astuple, found.pairs)))
    files.write_json(place / "groups.json", about)  # last: it says that the rest is whole


def kept(place: Path, key: str) -> Found | None:
    """Read what was kept; None where there is nothing, something damaged, or something of other images."""
    try:
        about: dict[str, Any] = files.read_json(place / "groups.json")
        if about["key"] != key:
            return None
        groups = {row["image"]: row["group"] for row in files.read_csv(place / "groups.csv", COLUMNS)}
        pairs = tuple(_pair(row) for row in files.read_csv(place / "pairs.csv", PAIR_COLUMNS))
        stability = tuple((int(count), float(value)) for count, value in about["stability"])
        return Found(groups, pairs, stability, about["clusters"], about["together"])
    except (LeukoBenchError, KeyError, TypeError, ValueError):
        return None


def _pair(row: dict[str, str]) -> Pair:
    return Pair(
        row["first"], row["second"], row["kind"], float(row["dx"]), float(row["dy"]),
        int(row["inliers"]), float(row["share"]), int(row["bits"]),
    )  # fmt: skip
