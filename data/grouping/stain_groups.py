"""Stain groups, a stand-in for patients: images of one light and one stain, found within a dataset and kept.

Images that are one picture or show one part of a slide always share a group. The pairs that say so are kept beside.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data import all_dataset
from data.datasets import index, integrity_check
from data.datasets.index import Indexed
from data.grouping import image_descriptors, near_duplicates, overlapping_fields, related_images, stain_clustering
from data.grouping.image_descriptors import Progress
from data.grouping.overlapping_fields import Overlap
from data.grouping.related_images import Found, Pair
from utils.paths import data_dir, raw_dir

VERSION = 4  # to be raised with every change of what is found


def folder(dataset: str) -> Path:
    """Return the folder that keeps what was found in a dataset, <data>/audit/<dataset>; it may be deleted any time."""
    return data_dir() / "audit" / dataset


def ensure(dataset: str) -> dict[str, str]:
    """Return the stain group of every image of a dataset, "g000" and on; found once, then kept.

    Raises:
        LeukoBenchError: images were changed since the dataset was indexed, or one cannot be read.
    """
    return find(dataset).groups


def find(dataset: str, progress: Progress = lambda done, total: None) -> Found:
    """Return groups and pairs of a dataset; found once, then kept.

    Args:
        dataset: name of a folder below data/raw.
        progress: called with (images read, all images).

    Raises:
        LeukoBenchError: images were changed since the dataset was indexed, or one cannot be read.
    """
    rows = sorted(integrity_check.current_index(dataset))
    key = hashlib.sha256(f"{VERSION}\n{index.text(rows)}".encode()).hexdigest()[:16]
    kept = related_images.kept(folder(dataset), key)
    if kept:
        return kept
    found = relate(rows, image_descriptors.read(dataset, rows, progress), _patients(dataset))
    related_images.keep(folder(dataset), key, found)
    return found


def _patients(dataset: str) -> int:
    """Return how many patients a dataset says it has; 0 where it does not.

    Stain alone finds few stable clusters in the ALL dataset, each nearly a class: no split could part them.
    """
    about = index.about(raw_dir(dataset))
    return all_dataset.PATIENTS if about["images"] == all_dataset.PUBLISHED and not about.get("synthetic") else 0


def relate(rows: Sequence[Indexed], seen: image_descriptors.Fields, patients: int = 0) -> Found:
    """Find the groups and pairs of images of which everything was measured.

    Args:
        rows: in ascending order.
        seen: what was measured of them.
        patients: how many there are, where that is known; 0 where it is not.
    """
    alike = near_duplicates.find(seen.fingerprints, near_duplicates.LIKELY)
    bits = {(first, second): differing for first, second, differing in alike}
    colours = stain_clustering.separating(seen.statistics)
    shared = {(each.first, each.second): each for each in overlapping_fields.find(seen.local, colours, bits)}
    pairs = _pairs(rows, seen.fingerprints, bits, shared)
    at = {row.image: number for number, row in enumerate(rows)}
    linked = [(at[pair.first], at[pair.second]) for pair in pairs]
    taken_anew = [each for each, pair in zip(linked, pairs, strict=True) if pair.kind != "exact"]
    clustering = stain_clustering.cluster(stain_clustering.separating(seen.statistics, taken_anew), patients)
    labels = clustering.labels
    names = _named(_joined(labels, linked))
    groups = {row.image: name for row, name in zip(rows, names, strict=True)}
    whole = [bool(labels[one] == labels[other]) for one, other in taken_anew]
    together = sum(whole) / len(whole) if whole else None
    return Found(groups, tuple(pairs), clustering.stability, len(np.unique(labels)), together)


def _pairs(
    rows: Sequence[Indexed],
    fingerprints: np.ndarray,
    bits: dict[tuple[int, int], int],
    shared: dict[tuple[int, int], Overlap],
) -> list[Pair]:
    same: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        same.setdefault(row.sha256, []).append(number)
    exact = set(near_duplicates.equals(same.values(), len(rows)))
    near = {pair for pair, differing in bits.items() if differing <= near_duplicates.NEAR} - exact
    found = []
    for pair in sorted(exact | near | shared.keys()):
        names = (rows[pair[0]].image, rows[pair[1]].image)
        overlap = shared.get(pair)
        differing = int(np.count_nonzero(fingerprints[pair[0]] != fingerprints[pair[1]]))
        if pair in exact:
            found.append(Pair(*names, "exact", 0.0, 0.0, 0, 1.0, differing))
        elif overlap is None:
            found.append(Pair(*names, "near", 0.0, 0.0, 0, 1.0, differing))
        else:
            kind = "near" if overlap.still else "overlap"
            found.append(Pair(*names, kind, overlap.dx, overlap.dy, overlap.inliers, overlap.share, differing))
    return found


def _joined(labels: np.ndarray, linked: Sequence[tuple[int, int]]) -> list[int]:
    """Return labels (n,) in which images that hang together by links have the most frequent label among them.

    Whole clusters are not joined: a few links would make one of them all.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    first, second = np.array(linked, int).reshape(-1, 2).T
    graph = coo_matrix((np.ones(len(first)), (first, second)), shape=(len(labels),) * 2)
    _, part = connected_components(graph, directed=False)
    votes: dict[int, Counter[int]] = {}
    for each, label in zip(part.tolist(), labels.tolist(), strict=True):
        votes.setdefault(each, Counter())[label] += 1
    return [min(votes[each], key=lambda label: (-votes[each][label], label)) for each in part.tolist()]


def _named(labels: Sequence[int]) -> tuple[str, ...]:
    """Return names of groups, "g000" and on, in the order in which their labels first come."""
    number = {label: rank for rank, label in enumerate(dict.fromkeys(labels))}
    return tuple(f"g{number[label]:03d}" for label in labels)
