"""Split by capture order: blocks of file numbers apart from each other, so that no subset has a neighbour in another.

Where file numbers follow the time of capture, images with close numbers are often of one slide, or even of one field.
This is the blocked cross-validation with an embargo that is used for time series (Racine 2000, "Consistent
cross-validatory model-selection for dependent data: hv-block cross-validation"; Lopez de Prado 2018 for the words
"purge" and "embargo").
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import accumulate

import numpy as np

from data.datasets.index import Indexed
from data.splitting import capture_order
from utils.errors import LeukoBenchError
from utils.runs.split_spec import DEFAULT, Scheme, fold_sizes

TRAIN, VAL, TEST = "train", "val", "test"


def subsets(
    dataset: str, rows: Sequence[Indexed], related: Iterable[tuple[str, str]], scheme: Scheme
) -> dict[str, str]:
    """Return the subset of each image; images within an embargo, and copies of images of another subset, have none.

    In each class, the images are ordered by number. Test images are a block of them; validation images are the block at
    that end of the order which is farther from the test images; training images are the others. Then

    - training images within `scheme.embargo` numbers of a validation or test image, and validation images as close to a
      test image, are left out;
    - of related images in two subsets, the training image is left out, or else the validation image.

    Args:
        dataset: its name, for messages.
        rows: its images.
        related: pairs of images that show the same place, whatever their numbers.
        scheme: folds, fold, embargo and share of the validation images.

    Raises:
        LeukoBenchError: names of a class carry no numbers, or a class has no image left for a subset.
    """
    chosen: dict[str, str] = {}
    ordered = order(dataset, rows)
    for numbers in ordered.values():
        chosen |= _of_class(numbers, scheme)
    related = list(related)
    for subset, held in ((VAL, (TEST,)), (TRAIN, (VAL, TEST))):
        leaking = related_to({image for image, place in chosen.items() if place in held}, related)
        chosen = {image: place for image, place in chosen.items() if place != subset or image not in leaking}
    for label, numbers in ordered.items():
        _check(dataset, label, [chosen.get(image) for image in numbers], scheme)
    return chosen


def related_to(held: AbstractSet[str], related: Iterable[tuple[str, str]]) -> set[str]:
    """Return the images that show the place of an image of `held`, by pairs of related images."""
    return {one for pair in related for one, other in (pair, pair[::-1]) if other in held}


def order(dataset: str, rows: Sequence[Indexed]) -> dict[str, dict[str, int]]:
    """Return the images of each class with their numbers, in ascending order.

    Raises:
        LeukoBenchError: the names of a class carry no numbers.
    """
    found: dict[str, dict[str, int]] = {}
    for label in sorted({row.label for row in rows}):
        names = [row.image for row in rows if row.label == label]
        numbers = capture_order.order_of(names)
        if numbers is None:
            raise LeukoBenchError(
                f"The file names of class '{label}' of '{dataset}' carry no order of capture (first: {names[0]}). A "
                f"capture split needs numbers that follow it; use --split grouped, or {DEFAULT}."
            )
        pairs = sorted(zip(numbers, names, strict=True))
        found[label] = {name: int(number) for number, name in pairs}
    return found


def block(ordered: Mapping[str, Mapping[str, int]], folds: int, fold: int) -> set[str]:
    """Return the images of one fold, from 1: the same block of each class of `order`."""
    return {image for numbers in ordered.values() for image in list(numbers)[slice(*_edges(len(numbers), folds, fold))]}


def _edges(count: int, folds: int, fold: int) -> tuple[int, int]:
    edges = [0, *accumulate(fold_sizes(count, folds))]
    return edges[fold - 1], edges[fold]


def _of_class(numbers: Mapping[str, int], scheme: Scheme) -> dict[str, str]:
    """Return the subset of each image of a class outside all embargoes."""
    images, places = list(numbers), np.array(list(numbers.values()))
    low, high = _edges(len(images), scheme.folds, scheme.fold)
    test = _between(len(images), low, high)
    size = max(1, round(float(scheme.val) * (len(images) - (high - low))))
    first = low >= len(images) - high  # whether more images lie before the test block than after it
    val = _between(len(images), *((0, min(size, low)) if first else (max(len(images) - size, high), len(images))))
    train = ~test & ~val & ~near(places, places[test | val], scheme.embargo)
    val &= ~near(places, places[test], scheme.embargo)
    found = {}
    for name, inside in ((TRAIN, train), (VAL, val), (TEST, test)):
        found |= {images[k]: name for k in np.flatnonzero(inside)}
    return found


def near(numbers: np.ndarray, held: np.ndarray, embargo: int) -> np.ndarray:
    """Say for each of (n,) numbers whether a number of `held`, which ascends, is at most `embargo` away, (n,) bool."""
    if not len(held):
        return np.zeros(len(numbers), bool)
    after = np.searchsorted(held, numbers)
    left = numbers - held[np.maximum(after - 1, 0)]
    right = held[np.minimum(after, len(held) - 1)] - numbers
    return np.minimum(np.abs(left), np.abs(right)) <= embargo


def _between(count: int, low: int, high: int) -> np.ndarray:
    place = np.arange(count)
    return (low <= place) & (place < high)


def _check(dataset: str, label: str, found: Sequence[str | None], scheme: Scheme) -> None:
    """Raise LeukoBenchError where a class has no image left in a subset."""
    for subset in (TRAIN, VAL, TEST):
        if subset not in found:
            raise LeukoBenchError(
                f"Class '{label}' of '{dataset}' has {len(found)} images: too few for {scheme.folds} blocks with an "
                f"embargo of {scheme.embargo} file numbers, as none is left for {subset}. Give a smaller embargo or "
                f"other folds, such as capture:{scheme.folds}:{min(scheme.embargo, len(found) // 20)}:{scheme.fold}."
            )
