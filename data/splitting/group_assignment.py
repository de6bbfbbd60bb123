"""Assign groups of images to the subsets of a split with balanced classes, the same on every machine."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import combinations

import numpy as np

from data.datasets.index import Indexed
from utils.runs.split_spec import Scheme, apportion, fold_sizes

STARTS = 8  # rotations of the order that are tried; the most even result counts
KINDS = 1000  # kinds of groups in a bin that are considered for an exchange
MISSING = 2**50  # penalty for a group that a subset lacks: larger than any penalty for images


def subsets(rows: Sequence[Indexed], groups: dict[str, str], scheme: Scheme, seed: int) -> dict[str, str]:
    """Assign each image to "train", "val" or "test": whole groups, with classes as balanced as possible.

    Args:
        rows: images.
        groups: group by image, see `groups.whole`.
        scheme: shares or fold.
        seed: hashed with the content of each group; the hashes give the order of assignment.
    """
    ordered, counts = _ordered(rows, groups, seed)
    totals = counts.sum(axis=0)
    if scheme.folds:
        wanted = np.transpose([fold_sizes(int(total), scheme.folds) for total in totals])
        bins = assign(counts, wanted, [2 if scheme.folds == 2 else 1] * scheme.folds)
        test = bins == scheme.fold - 1
    else:
        test = assign(counts, _parts(totals, scheme.test), (1, 2)) == 0
    tested = {row.image for group, inside in zip(ordered, test, strict=True) if inside for row in group}
    val = part([row for row in rows if row.image not in tested], groups, scheme.val, seed)
    return {row.image: "test" if row.image in tested else "val" if row.image in val else "train" for row in rows}


def part(rows: Sequence[Indexed], groups: Mapping[str, str], share: Fraction, seed: int) -> set[str]:
    """Return the images of whole groups that make up a share of each class, as nearly as possible."""
    if not rows:
        return set()
    ordered, counts = _ordered(rows, groups, seed)
    taken = assign(counts, _parts(counts.sum(axis=0), share), (1, 1)) == 0
    return {row.image for group, inside in zip(ordered, taken, strict=True) if inside for row in group}


def assign(counts: np.ndarray, wanted: np.ndarray, least: Sequence[int]) -> np.ndarray:
    """Assign groups to bins: greedily, then by exchanges between bins while these lower the cost.

    The cost counts first the groups of a class that a bin lacks, then the squared deviations from the wanted images,
    per class (weighted by rarity) and in total. The best of STARTS rotations of the order is taken. All numbers are
    integers, so that the result does not depend on a library's version. scikit-learn's StratifiedGroupKFold has equal
    folds only and balances groups of mixed classes less well.

    Args:
        counts: (groups, classes) images, in the order of assignment.
        wanted: (bins, classes) images.
        least: groups of every class that each bin needs, (bins,).

    Returns:
        (groups,) bin numbers.
    """
    totals = np.maximum(wanted.sum(axis=0), 1)
    weights = np.maximum(totals.sum() // totals, 1)
    # Columns: images by class, then groups by class (0 or 1); `lack` holds what each bin still needs of both.
    step = np.concatenate([counts, counts > 0], axis=1).astype(np.int64)
    lack = np.concatenate([wanted, np.repeat(np.reshape(least, (-1, 1)), len(totals), axis=1)], axis=1).astype(np.int64)

    def cost(lacking: np.ndarray) -> np.ndarray:
        images, groups = lacking[..., : len(totals)], lacking[..., len(totals) :]
        uneven = (weights * images**2).sum(axis=-1) + images.sum(axis=-1) ** 2
        return uneven + MISSING * np.maximum(groups, 0).sum(axis=-1)

    best, least_cost = np.zeros(len(step), np.int64), None
    for start in range(STARTS):
        bins, left = _assigned(step, lack.copy(), cost, np.roll(np.arange(len(step)), -start * len(step) // STARTS))
        value = int(cost(left).sum())
        if least_cost is None or value < least_cost:
            best, least_cost = bins, value
        if value == 0:
            break
    return best


def _assigned(
    step: np.ndarray, lack: np.ndarray, cost: Callable[[np.ndarray], np.ndarray], order: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Assign groups in an order and exchange them; return their bins and what the bins lack then."""
    bins = np.zeros(len(step), np.int64)
    for number in order:
        bins[number] = np.argmin(cost(lack - step[number]) - cost(lack))
        lack[bins[number]] -= step[number]
    changed = True
    while changed:
        changed = False
        for one, other in combinations(range(len(lack)), 2):
            mine, yours = _kinds(bins == one, step), _kinds(bins == other, step)
            moves = _steps(mine, step)[:, None] - _steps(yours, step)[None]
            after = cost(lack[one] + moves) + cost(lack[other] - moves)
            i, j = np.unravel_index(np.argmin(after), after.shape)
            if after[i, j] < cost(lack[one]) + cost(lack[other]):
                lack[one] += moves[i, j]
                lack[other] -= moves[i, j]
                bins[mine[i : i + 1]], bins[yours[j : j + 1]] = other, one  # an index past the end moves nothing
                changed = True
    return bins, lack


def _parts(totals: np.ndarray, share: Fraction) -> np.ndarray:
    """Return (2, classes) images: a share of each class and the rest."""
    part = list(apportion({str(k): int(total) for k, total in enumerate(totals)}, share).values())
    return np.array([part, totals - part])


def _kinds(inside: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return the first group of each kind inside a bin, at most KINDS: groups of equal counts are interchangeable."""
    places = np.flatnonzero(inside)
    return places[np.sort(np.unique(step[places], axis=0, return_index=True)[1])[:KINDS]] if len(places) else places


def _steps(places: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return the counts of some groups and a row of zeros, as an exchange may move a group one way only."""
    return np.concatenate([step[places], np.zeros_like(step[:1])])


def _ordered(rows: Sequence[Indexed], groups: Mapping[str, str], seed: int) -> tuple[list[list[Indexed]], np.ndarray]:
    """Return the images of each group in the order of assignment, and (groups, classes) counts."""
    members: dict[str, list[Indexed]] = defaultdict(list)
    for row in rows:
        members[groups[row.image]].append(row)
    ordered = sorted(members.values(), key=lambda group: _key(group, seed))
    labels = sorted({row.label for row in rows})
    return ordered, np.array([[sum(row.label == label for row in group) for label in labels] for group in ordered])


def _key(group: Sequence[Indexed], seed: int) -> str:
    return hashlib.sha256(f"{seed}:{','.join(sorted(row.sha256 for row in group))}".encode()).hexdigest()
