"""Stain groups and related pairs of a dataset, in memory and as files."""

from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from utils.errors import LeukoBenchError
from utils.io import files, transaction

KINDS = ("exact", "near", "overlap")


@dataclass(frozen=True)
class Pair:
    """Two images of one place.

    Attributes:
        first, second: images, in order of their names.
        kind: "exact", the same bytes; "near", the same field, stored or taken again; "overlap".
        dx, dy: shift of the first image's content in the second, to the right and down, pixels.
        share: part of the first that the second shows, 0-1.
        bits: of 256 in which the perceptual hashes differ.
        inliers: matching features in one arrangement; 0 where they were not needed.
    """

    first: str
    second: str
    kind: str
    dx: float
    dy: float
    share: float
    bits: int
    inliers: int

    @property
    def across_classes(self) -> bool:
        """Whether the images are labelled with two classes."""
        return self.first.partition("/")[0] != self.second.partition("/")[0]


COLUMNS = ("image", "group")
PAIR_COLUMNS = tuple(column.name for column in fields(Pair))


@dataclass(frozen=True)
class Found:
    """Related images of a dataset.

    Attributes:
        groups: group by image.
        pairs: images of one place.
        stability: (number of clusters tried, adjusted Rand index between clusterings of two halves), ascending.
        number: of clusters, before pairs were joined.
        together: share of the near and overlapping pairs whose images were in one cluster before they were joined, 0-1;
            None without such pairs. True slides would give 1. It is optimistic where these pairs estimated the noise.
    """

    groups: dict[str, str]
    pairs: tuple[Pair, ...]
    stability: tuple[tuple[int, float], ...]
    number: int
    together: float | None


def write(place: Path, key: str, found: Found) -> None:
    """Write related images into a folder: groups.csv, pairs.csv, groups.json; `key` identifies the images."""
    about = {"key": key, "clusters": found.number, "stability": found.stability, "together": found.together}
    with transaction.together(place) as stage:
        files.write_text(stage / "groups.csv", files.csv_text(COLUMNS, found.groups.items()))
        files.write_text(stage / "pairs.csv", files.csv_text(PAIR_COLUMNS, map(astuple, found.pairs)))
        files.write_json(stage / "groups.json", about)


def read(place: Path, key: str) -> Found | None:
    """Read related images; None where the files are missing, damaged, or of other images."""
    transaction.recover(place)
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
    numbers = {name: float(row[name]) for name in ("dx", "dy", "share")}
    counts = {name: int(row[name]) for name in ("bits", "inliers")}
    return Pair(row["first"], row["second"], row["kind"], **numbers, **counts)
