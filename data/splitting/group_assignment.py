"""Deal groups of images to the subsets of a split, classes as even as can be, the same on every machine."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from data.datasets.index import Indexed
from utils.runs.split_spec import Scheme, apportion, fold_sizes

STARTS = 8  # places in the order at which dealing begins anew; the most even result counts
KINDS = 1000  # of groups of a bin that an exchange chooses from: the first ones, where there are more
MISSING = 2**50  # weight of a group that a subset lacks: above all that images can weigh


def subsets(rows: Sequence[Indexed], groups: dict[str, str], scheme: Scheme, seed: int) -> dict[str, str]:
    """Return "train", "val" or "test" for every image, the same for all of a group, classes as even as can be.

    Args:
        rows: images.
        groups: group by image, of `whole`.
        scheme: shares or fold.
        seed: of the order in which groups are dealt, by a hash of it and their content.
    """
    members: dict[str, list[Indexed]] = defaultdict(list)
    for row in rows:
        members[groups[row.image]].append(row)
    ordered = sorted(members.values(), key=lambda group: _key(group, seed))
    labels = sorted({row.label for row in rows})
    counts = np.array([[sum(row.label == label for row in group) for label in labels] for group in ordered])
    totals = counts.sum(axis=0)
    if scheme.folds:
        wanted = np.transpose([fold_sizes(int(total), scheme.folds) for total in totals])
        homes = deal(counts, wanted, [2 if scheme.folds == 2 else 1] * scheme.folds)
        test = homes == scheme.fold - 1
    else:
        test = deal(counts, _parts(totals, scheme.test), (1, 2)) == 0
    val = np.zeros(len(ordered), bool)
    val[~test] = deal(counts[~test], _parts(counts[~test].sum(axis=0), scheme.val), (1, 1)) == 0
    return {
        row.image: "test" if in_test else "val" if in_val else "train"
        for group, in_test, in_val in zip(ordered, test, val, strict=True)
        for row in group
    }


def deal(counts: np.ndarray, wanted: np.ndarray, least: Sequence[int]) -> np.ndarray:
    """Deal groups to bins: each where it is missed most, then exchanged between bins as long as that helps.

    What counts first is that each bin has groups of every class, then the squared deviations from the images wanted,
    of each class, small ones the more, and of all together; the most even result of several STARTS is taken. All of it
    is whole numbers, so that it depends on no library's version. scikit-learn's StratifiedGroupKFold has equal folds
    only and leaves mixed groups less even.

    Args:
        counts: (groups, classes) images, in the order of dealing.
        wanted: (bins, classes) images.
        least: groups of every class that each bin needs.

    Returns:
        (groups,) number of the bin.
    """
    totals = np.maximum(wanted.sum(axis=0), 1)
    weights = np.maximum(totals.sum() // totals, 1)
    # Images and groups that are still missing, by bin and class; exchanges move both at once.
    step = np.concatenate([counts, counts > 0], axis=1).astype(np.int64)
    lack = np.concatenate([wanted, np.repeat(np.reshape(least, (-1, 1)), len(totals), axis=1)], axis=1).astype(np.int64)

    def cost(lacking: np.ndarray) -> np.ndarray:
        images, groups = lacking[..., : len(totals)], lacking[..., len(totals) :]
        uneven = (weights * images**2).sum(axis=-1) + images.sum(axis=-1) ** 2
        return uneven + MISSING * np.maximum(groups, 0).sum(axis=-1)

    best, least_cost = np.zeros(len(step), np.int64), None
    for start in range(STARTS):
        homes, left = _dealt(step, lack.copy(), cost, np.roll(np.arange(len(step)), -start * len(step) // STARTS))
        value = int(cost(left).sum())
        if least_cost is None or value < least_cost:
            best, least_cost = homes, value
        if value == 0:
            break
    return best


def _dealt(
    step: np.ndarray, lack: np.ndarray, cost: Callable[[np.ndarray], np.ndarray], order: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Deal groups in an order and exchange them; return the bin of each and what the bins lack then."""
    homes = np.zeros(len(step), np.int64)
    for number in order:
        homes[number] = np.argmin(cost(lack - step[number]) - cost(lack))
        lack[homes[number]] -= step[number]
    changed = True
    while changed:
        changed = False
        for one, other in combinations(range(len(lack)), 2):
            mine, yours = _kinds(homes == one, step), _kinds(homes == other, step)
            moves = _steps(mine, step)[:, None] - _steps(yours, step)[None]
            after = cost(lack[one] + moves) + cost(lack[other] - moves)
            i, j = np.unravel_index(np.argmin(after), after.shape)
            if after[i, j] < cost(lack[one]) + cost(lack[other]):
                lack[one] += moves[i, j]
                lack[other] -= moves[i, j]
                homes[mine[i : i + 1]], homes[yours[j : j + 1]] = other, one  # past the end: none is moved
                changed = True
    return homes, lack


def _parts(totals: np.ndarray, share: object) -> np.ndarray:
    """Return (2, classes) images: a share of each class, and the rest."""
    part = list(apportion({str(k): int(total) for k, total in enumerate(totals)}, share).values())
    return np.array([part, totals - part])


def _kinds(inside: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return the first group of each of KINDS kinds inside a bin: groups with the same counts are worth the same."""
    places = np.flatnonzero(inside)
    return places[np.sort(np.unique(step[places], axis=0, return_index=True)[1])[:KINDS]] if len(places) else places


def _steps(places: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return the steps of some groups, and one of nothing, as an exchange may go one way only."""
    return np.concatenate([step[places], np.zeros_like(step[:1])])


def _key(group: Sequence[Indexed], seed: int) -> str:
    return hashlib.sha256(f"{seed}:{','.join(sorted(row.sha256 for row in group))}".encode()).hexdigest()
