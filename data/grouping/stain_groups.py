"""Stain groups, a stand-in for patients: images of one illumination and stain, found once per dataset and stored.

Images that are copies or show one part of a slide always share a group; these pairs are stored beside the groups.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data import all_dataset
from data.datasets import image_decoder, index, integrity_check
from data.datasets.index import Indexed
from data.datasets.parallel import map_threads
from data.grouping import (
    near_duplicates,
    overlapping_fields,
    related_images,
    sift_matching,
    stain_clustering,
    stain_features,
)
from data.grouping.overlapping_fields import Overlap
from data.grouping.related_images import Found, Pair
from utils.paths import data_dir, raw_dir
from utils.system.progress import Progress, no_progress

VERSION = 4  # raise it with every change of the result


@dataclass(frozen=True)
class Descriptors:
    """What is measured of n images, in the order of their rows; about 40 kB per image.

    Attributes:
        fingerprints: (n, 256) bool perceptual hashes, see `near_duplicates`.
        statistics: (n, 18) illumination and stain, see `stain_features`.
        local: n sets of SIFT features, see `sift_matching`.
    """

    fingerprints: np.ndarray
    statistics: np.ndarray
    local: list[sift_matching.Local]


def folder(dataset: str) -> Path:
    """Return the folder of a dataset's stored result, <data>/audit/<dataset>; it may be deleted at any time."""
    return data_dir() / "audit" / dataset


def find(dataset: str, progress: Progress = no_progress) -> Found:
    """Return the groups and pairs of a dataset, from the stored result where it is current.

    Args:
        dataset: name of a folder below data/raw.
        progress: called with (images read, all images).

    Raises:
        LeukoBenchError: images were changed since the dataset was indexed, or one cannot be read.
    """
    rows = sorted(integrity_check.current_index(dataset))
    key = hashlib.sha256(f"{VERSION}\n{index.text(rows)}".encode()).hexdigest()[:16]
    stored = related_images.read(folder(dataset), key)
    if stored:
        return stored
    found = relate(rows, describe(dataset, rows, progress), _patients(dataset))
    related_images.write(folder(dataset), key, found)
    return found


def describe(dataset: str, rows: Sequence[Indexed], progress: Progress = no_progress) -> Descriptors:
    """Read each image of a dataset once, several in parallel, and measure it.

    Raises:
        LeukoBenchError: an image cannot be read.
    """

    def measured(row: Indexed) -> tuple[np.ndarray, np.ndarray, sift_matching.Local]:
        image = np.asarray(image_decoder.open_rgb(raw_dir(dataset) / row.image))
        return near_duplicates.fingerprint(image), stain_features.measure(image), sift_matching.describe(image)

    fingerprints, statistics, local = zip(*map_threads(measured, rows, progress), strict=True)
    return Descriptors(np.stack(fingerprints), np.stack(statistics), list(local))


def _patients(dataset: str) -> int:
    """Return the known number of patients of a dataset, 0 where it is unknown.

    In the ALL dataset, stability alone finds a few clusters that nearly equal the classes; no split could use them.
    """
    about = index.about(raw_dir(dataset))
    return all_dataset.PATIENTS if about["images"] == all_dataset.PUBLISHED and not about.get("synthetic") else 0


def relate(rows: Sequence[Indexed], measured: Descriptors, patients: int = 0) -> Found:
    """Find the groups and pairs of measured images.

    Args:
        rows: in ascending order.
        measured: their descriptors.
        patients: their number, 0 where unknown.
    """
    alike = near_duplicates.find(measured.fingerprints, near_duplicates.LIKELY)
    bits = {(first, second): differing for first, second, differing in alike}
    colours = stain_clustering.separating(measured.statistics)
    overlaps = {(each.first, each.second): each for each in overlapping_fields.find(measured.local, colours, bits)}
    pairs = _pairs(rows, measured.fingerprints, bits, overlaps)
    position = {row.image: number for number, row in enumerate(rows)}
    linked = [(position[pair.first], position[pair.second]) for pair in pairs]
    same_place = [each for each, pair in zip(linked, pairs, strict=True) if pair.kind != "exact"]
    clustering = stain_clustering.cluster(stain_clustering.separating(measured.statistics, same_place), patients)
    labels = clustering.labels
    names = _named(_joined(labels, linked))
    groups = {row.image: name for row, name in zip(rows, names, strict=True)}
    in_one_cluster = [bool(labels[first] == labels[second]) for first, second in same_place]
    together = sum(in_one_cluster) / len(in_one_cluster) if in_one_cluster else None
    return Found(groups, tuple(pairs), clustering.stability, len(np.unique(labels)), together)


def _pairs(
    rows: Sequence[Indexed],
    fingerprints: np.ndarray,
    bits: dict[tuple[int, int], int],
    overlaps: dict[tuple[int, int], Overlap],
) -> list[Pair]:
    same: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        same.setdefault(row.sha256, []).append(number)
    exact = set(near_duplicates.equals(same.values(), len(rows)))
    near = {pair for pair, differing in bits.items() if differing <= near_duplicates.NEAR} - exact
    found = []
    for pair in sorted(exact | near | overlaps.keys()):
        names = (rows[pair[0]].image, rows[pair[1]].image)
        differing = int(np.count_nonzero(fingerprints[pair[0]] != fingerprints[pair[1]]))
        overlap = overlaps.get(pair)
        if pair in exact or overlap is None:
            found.append(Pair(*names, "exact" if pair in exact else "near", 0.0, 0.0, 1.0, differing, 0))
        else:
            kind = "near" if overlap.still else "overlap"
            found.append(Pair(*names, kind, overlap.dx, overlap.dy, overlap.share, differing, overlap.inliers))
    return found


def _joined(labels: np.ndarray, linked: Sequence[tuple[int, int]]) -> list[int]:
    """Give all images of a connected component of links the most frequent label among them.

    Whole clusters are not joined: a few links would merge them all.

    Args:
        labels: (n,) clusters.
        linked: pairs of indices.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    first, second = np.array(linked, int).reshape(-1, 2).T
    graph = coo_matrix((np.ones(len(first)), (first, second)), shape=(len(labels),) * 2)
    components = connected_components(graph, directed=False)[1].tolist()
    votes: dict[int, Counter[int]] = {}
    for component, label in zip(components, labels.tolist(), strict=True):
        votes.setdefault(component, Counter())[label] += 1
    winner = {part: min(count, key=lambda label: (-count[label], label)) for part, count in votes.items()}
    return [winner[component] for component in components]


def _named(labels: Sequence[int]) -> tuple[str, ...]:
    """Name groups "g000", "g001", ... in the order of their first images."""
    number = {label: rank for rank, label in enumerate(dict.fromkeys(labels))}
    return tuple(f"g{number[label]:03d}" for label in labels)
