"""Purge curves: what a classifier loses when the neighbours of the test images are removed from training."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.auditing import shortcut_baselines, shortcut_features
from data.datasets import integrity_check
from data.grouping import stain_groups
from data.splitting import capture_split, image_assignment
from utils.errors import LeukoBenchError, nearest
from utils.metrics import group_intervals
from utils.paths import raw_dir
from utils.runs import split_spec
from utils.runs.shortcuts_file import MAJORITY, SEES
from utils.runs.split_spec import EMBARGO
from utils.system.progress import Progress, no_progress

EMBARGOES = (0, 5, 10, 20, EMBARGO, 2 * EMBARGO)
SEED = 0
FEATURES = tuple(name for name in SEES if name != MAJORITY)


@dataclass(frozen=True)
class Point:
    """Accuracies over all folds at one embargo.

    Attributes:
        embargo: file numbers left out of training on each side of a test block.
        train: mean number of training images of a fold.
        removed: mean number of images that the embargo removed.
        purged: accuracy without the neighbours of the test images, 0-1.
        control: accuracy without as many training images drawn at random, class by class.
        cost: control minus purged; cost_low, cost_high: its 95 % interval over groups of neighbours.
        gap: accuracy over folds by image minus purged; gap_low, gap_high: its interval.
        groups: number of groups of neighbours.
    """

    embargo: int
    train: float
    removed: float
    purged: float
    control: float
    cost: float
    cost_low: float
    cost_high: float
    gap: float
    gap_low: float
    gap_high: float
    groups: int


@dataclass(frozen=True)
class Curve:
    """A purge curve of one classifier on one dataset.

    Attributes:
        dataset: its name.
        features: what the classifier sees, one of FEATURES.
        folds: number of test blocks of each class.
        images: number of images, each tested once.
        by_image: accuracy over as many folds that were assigned by image, 0-1.
        points: with ascending embargo; embargoes that leave a class without training images are left out.
    """

    dataset: str
    features: str
    folds: int
    images: int
    by_image: float
    points: tuple[Point, ...]


def curve(
    dataset: str,
    features: str = "colour histogram",
    folds: int = split_spec.CAPTURE_FOLDS,
    embargoes: Sequence[int] = EMBARGOES,
    progress: Progress = no_progress,
) -> Curve:
    """Measure the purge curve of a shortcut baseline.

    Each class is divided into blocks of file numbers, and each block is tested once. Images that show the same place as
    a test image are never trained on. Groups of the intervals are EMBARGO numbers of a class.

    Args:
        dataset: name of a folder below data/raw.
        features: of the baseline, one of FEATURES.
        folds: number of blocks.
        embargoes: file numbers left out on each side.
        progress: called with (done, total) while images are read.

    Raises:
        LeukoBenchError: the features are unknown, the names carry no order, a class has too few images, or an image
            cannot be read.
    """
    if features not in FEATURES:
        hint = nearest(features, FEATURES)
        raise LeukoBenchError(f"Unknown features '{features}': choose from {', '.join(FEATURES)}.{hint}")
    rows = sorted(integrity_check.current_index(dataset))
    order = capture_split.order(dataset, rows)
    if small := [label for label, numbers in order.items() if len(numbers) < 2 * folds]:
        raise LeukoBenchError(
            f"Class '{small[0]}' of '{dataset}' has {len(order[small[0]])} images: at least {2 * folds} are needed for "
            f"{folds} blocks. Give fewer --folds, or add images."
        )
    related = [(pair.first, pair.second) for pair in stain_groups.find(dataset).pairs]
    values = shortcut_features.measure([raw_dir(dataset) / row.image for row in rows], progress)[features]
    data = _Images([row.image for row in rows], np.array([row.label for row in rows]), values, features)
    numbers = {image: number for each in order.values() for image, number in each.items()}
    places = np.array([numbers[image] for image in data.images])
    groups = np.array([f"{row.label}/{place // EMBARGO}" for row, place in zip(rows, places, strict=True)])
    blocks = [capture_split.block(order, folds, fold) for fold in range(1, folds + 1)]
    tests = [data.among(block) for block in blocks]
    outside = [~data.among(block | capture_split.related_to(block, related)) for block in blocks]
    by_image = np.zeros(len(rows))
    for test in map(data.among, image_assignment.folds(rows, folds, SEED)):
        by_image[test] = data.correct(~test, test)
    measured = (_point(data, places, groups, tests, outside, by_image, each) for each in sorted(set(embargoes)))
    points = tuple(point for point in measured if point)
    return Curve(dataset, features, folds, len(rows), float(by_image.mean()), points)


@dataclass(frozen=True)
class _Images:
    images: Sequence[str]
    labels: np.ndarray
    values: np.ndarray
    features: str

    def among(self, chosen: Collection[str]) -> np.ndarray:
        """Say for each image whether it is among the chosen ones, (n,) bool."""
        return np.array([image in chosen for image in self.images])

    def correct(self, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        """Train on some images and say for each test image whether the answer is right, float 0 or 1."""
        used = train | test
        answers = shortcut_baselines.answers(self.features, self.values[used], self.labels[used], test[used])
        return (answers == self.labels[test]).astype(float)


def _point(
    data: _Images,
    places: np.ndarray,
    groups: np.ndarray,
    tests: Sequence[np.ndarray],
    outside: Sequence[np.ndarray],
    by_image: np.ndarray,
    embargo: int,
) -> Point | None:
    """Measure one embargo; None where a class has no training images left."""
    purged, control = np.zeros(len(places)), np.zeros(len(places))
    trained, removed = [], []
    for fold, (test, free) in enumerate(zip(tests, outside, strict=True)):
        kept = free.copy()
        for label in np.unique(data.labels):
            own = data.labels == label
            kept[own] &= ~capture_split.near(places[own], np.sort(places[own & test]), embargo)
        if len(np.unique(data.labels[kept])) < len(np.unique(data.labels)):
            return None
        rng = np.random.default_rng([SEED, fold, embargo])
        drawn = np.zeros(len(places), bool)
        for label in np.unique(data.labels):
            own = np.flatnonzero(free & (data.labels == label))
            drawn[rng.choice(own, np.count_nonzero(kept[own]), replace=False)] = True
        purged[test], control[test] = data.correct(kept, test), data.correct(drawn, test)
        trained.append(np.count_nonzero(kept))
        removed.append(np.count_nonzero(free) - trained[-1])
    ends = []
    for other in (control, by_image):
        found = group_intervals.difference_interval(other, purged, groups)
        ends += [found.estimate, found.low, found.high]
    means = (float(np.mean(each)) for each in (trained, removed, purged, control))
    return Point(embargo, *means, *ends, len(np.unique(groups)))


def path(root: Path, dataset: str) -> Path:
    """Return the folder of a dataset's purge curves, <root>/purge/<dataset>."""
    return root / "purge" / dataset
