"""Assign images to the subsets of a split one by one, stratified by class."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from operator import attrgetter

from data.datasets.index import Indexed
from utils.runs.split_spec import Scheme, apportion, fold_sizes

Ordered = dict[str, list[list[Indexed]]]  # by class: sets of equal images, in the order in which they are assigned


def subsets(rows: Sequence[Indexed], scheme: Scheme, seed: int) -> dict[str, str]:
    """Assign each image to "train", "val" or "test", class by class; a class of `scheme.needed` images is in all three.

    Args:
        rows: images.
        scheme: shares or fold.
        seed: hashed with the content of each image; the hashes give the order of assignment.
    """
    ordered = _ordered(rows, seed)
    test = folds(rows, scheme.folds, seed)[scheme.fold - 1] if scheme.folds else _share(ordered, scheme.test, left=2)
    rest = {
        label: [left for group in groups if (left := [row for row in group if row.image not in test])]
        for label, groups in ordered.items()
    }
    val = _share(rest, scheme.val, left=1)
    return {row.image: "test" if row.image in test else "val" if row.image in val else "train" for row in rows}


def part(rows: Sequence[Indexed], share: Fraction, seed: int) -> set[str]:
    """Return a share of the images of each class: at least one image, and one is left."""
    return _share(_ordered(rows, seed), share, left=1)


def folds(rows: Sequence[Indexed], count: int, seed: int) -> list[set[str]]:
    """Return the images of each of `count` folds, stratified by class."""
    bins = [_fill(groups, fold_sizes(sum(map(len, groups)), count)) for groups in _ordered(rows, seed).values()]
    return [{row.image for each in bins for row in each[fold]} for fold in range(count)]


def _share(ordered: Ordered, share: Fraction, left: int) -> set[str]:
    """Return a share of each class; at least one image, and `left` are left, where the class has that many."""
    totals = {label: sum(map(len, groups)) for label, groups in ordered.items()}
    counts = {
        label: max(min(count, totals[label] - left), min(1, totals[label]))
        for label, count in apportion(totals, share).items()
    }
    return {row.image for label, groups in ordered.items() for row in _fill(groups, [counts[label]])[0]}


def _ordered(rows: Sequence[Indexed], seed: int) -> Ordered:
    """Return sets of equal images by class, in the order of a hash of seed and content."""
    classes: dict[str, dict[str, list[Indexed]]] = defaultdict(lambda: defaultdict(list))
    for row in sorted(rows, key=attrgetter("image")):
        classes[row.label][hashlib.sha256(f"{seed}:{row.sha256}".encode()).hexdigest()].append(row)
    return {label: [same[key] for key in sorted(same)] for label, same in sorted(classes.items())}


def _fill(groups: Sequence[Sequence[Indexed]], sizes: Sequence[int]) -> list[list[Indexed]]:
    """Fill bins of exactly these sizes in order, each set of equal images into the first bin with room for all of it.

    A set is divided only where no bin has room for all of it.
    """
    bins: list[list[Indexed]] = [[] for _ in sizes]
    late: list[Indexed] = []
    for group in groups:
        home = next((k for k, size in enumerate(sizes) if len(bins[k]) + len(group) <= size), None)
        if home is None:
            late += group
        else:
            bins[home] += group
    for row in late:
        home = next((k for k, size in enumerate(sizes) if len(bins[k]) < size), None)
        if home is None:
            break
        bins[home].append(row)
    return bins
