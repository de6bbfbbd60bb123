"""Splits by capture order, and purge curves."""

import hashlib

import numpy as np
import pytest
from checks import one_line_error

from data.auditing import purge
from data.datasets import integrity_check
from data.datasets.index import Indexed
from data.splitting import capture_order, capture_split, splits
from data.synthetic import generator as synthetic
from utils.errors import LeukoBenchError
from utils.paths import raw_dir
from utils.runs import split_spec


def made_up(counts, gaps=()):
    """Return an index of invented images; numbers in `gaps` are missing."""
    return [
        Indexed(f"{label}/{label}_{number:03d}.png", hashlib.sha256(f"{label}{number}".encode()).hexdigest(), 8, 8, 9)
        for label, count in counts.items()
        for number in range(1, count + 1)
        if number not in gaps
    ]


def numbers(chosen, label, subset):
    return sorted(
        int(image[-7:-4]) for image, place in chosen.items() if place == subset and image.startswith(f"{label}/")
    )


@pytest.mark.parametrize("fold", range(1, 6))
@pytest.mark.parametrize("embargo", [0, 7, 37])
def test_no_subset_holds_a_neighbour_of_another(fold, embargo):
    rows = made_up({"a": 400, "b": 300}, gaps=range(120, 140))
    chosen = capture_split.subsets("x", rows, [], split_spec.parse(f"capture:5:{embargo}:{fold}"))
    for label in "ab":
        train, val, test = (numbers(chosen, label, subset) for subset in ("train", "val", "test"))
        every = sorted(int(row.image[-7:-4]) for row in rows if row.label == label)
        assert every.index(test[-1]) - every.index(test[0]) + 1 == len(test) == len(every) / 5
        assert every.index(val[-1]) - every.index(val[0]) + 1 == len(val)
        for one, other in ((train, val), (train, test), (val, test)):
            assert min(abs(a - b) for a in one for b in other) > embargo
        if not embargo:
            assert len(train) + len(val) + len(test) == len(every)


def test_every_image_is_tested_once_over_the_folds():
    rows = made_up({"a": 100, "b": 61})
    tested = [
        image
        for text in split_spec.expand("capture:5:3")
        for image, subset in capture_split.subsets("x", rows, [], split_spec.parse(text)).items()
        if subset == "test"
    ]
    assert sorted(tested) == sorted(row.image for row in rows)


def test_copies_in_two_subsets_are_left_out_of_training():
    rows = made_up({"a": 100, "b": 100})
    scheme = split_spec.parse("capture:5:0:5")
    before = capture_split.subsets("x", rows, [], scheme)
    first = {subset: next(image for image in before if before[image] == subset) for subset in ("train", "val", "test")}
    after = capture_split.subsets("x", rows, [(first["test"], first["val"]), (first["train"], first["test"])], scheme)
    assert set(before) - set(after) == {first["train"], first["val"]}
    assert all(before[image] == after[image] for image in after)


def test_texts_of_capture_splits():
    assert split_spec.expand("capture:3") == [f"capture:3:37:{fold}" for fold in (1, 2, 3)]
    assert split_spec.expand("Capture:4:10") == [f"capture:4:10:{fold}" for fold in (1, 2, 3, 4)]
    scheme = split_spec.parse("capture")
    assert (scheme.kind, scheme.folds, scheme.fold, scheme.embargo) == ("capture", 5, 5, 37)
    assert scheme == split_spec.parse("capture:5:37:5") and scheme.shares == "capture:5:37"
    for text in ("capture:1:3:1", "capture:5:37:6", "capture:5:37:0", "capture:x", "capture:5"):
        with pytest.raises(LeukoBenchError, match="capture:5:37:1"):
            split_spec.parse(text)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["Pro/WBC-Malignant-Pro-001.jpg", "Pro/wbc-malignant-pro-12.png"], [1, 12]),
        (["x/images_7.jpeg", "x/images_0010.jpeg"], [7, 10]),
        (["x/_0_12.jpeg", "x/_0_3.jpeg"], [12, 3]),
        (["20.png", "19.png"], [20, 19]),
        (["a1_b2.png", "a2_b1.png"], None),
        (["slide-a-1.png", "slide-b-2.png"], None),
        (["a.png", "b.png"], None),
        (["p1.png", "p2_1.png"], None),
    ],
)
def test_the_number_of_a_name(names, found):
    assert capture_order.order_of(names) == found


def test_what_cannot_be_split_is_said(data_folder):
    rows = made_up({"a": 60, "b": 60})
    with pytest.raises(LeukoBenchError) as error:
        capture_split.subsets("x", rows, [], split_spec.parse("capture"))
    assert one_line_error(error, "'a'", "60 images", "embargo of 37", "capture:5:3:5")
    odd = [Indexed(f"a/{name}.png", name * 64, 8, 8, 9) for name in "abcdef"]
    with pytest.raises(LeukoBenchError) as error:
        capture_split.subsets("x", odd, [], split_spec.parse("capture:2:0:1"))
    assert one_line_error(error, "'a'", "no order", "a/a.png", "grouped")


@pytest.fixture
def drifting(data_folder):
    synthetic.make("drift", images_per_class=90, size=32, patients=6, stain="drifting")
    return "drift"


@pytest.mark.slow
def test_a_drift_with_the_number_is_found(drifting):
    found = purge.curve(drifting, "mean colour", folds=3, embargoes=(0, 8))
    assert [point.embargo for point in found.points] == [0, 8]
    point = found.points[-1]
    assert point.gap_low > 0.03 and found.by_image == pytest.approx(point.purged + point.gap) and point.removed > 0


@pytest.mark.slow
def test_no_drift_is_found_where_the_numbers_are_shuffled(drifting):
    for folder in (each for each in raw_dir(drifting).iterdir() if each.is_dir() and not each.name.startswith("_")):
        files = sorted(folder.iterdir())
        for file, number in zip(files, np.random.default_rng(0).permutation(len(files)), strict=True):
            file.rename(file.with_name(f"shuffled-{number:03d}.png"))
    integrity_check.check(drifting)
    shuffled = purge.curve(drifting, "mean colour", folds=3, embargoes=(8,)).points[0]
    assert shuffled.gap_low < 0.03 and abs(shuffled.gap) < 0.06


@pytest.mark.slow
def test_the_split_folder_of_a_capture_split(drifting):
    made = splits.prepare_split(drifting, "capture:3:5:2")
    counts = made.manifest.counts()
    assert set(counts) == {"train", "val", "test"} and all(min(each.values()) > 0 for each in counts.values())
    assert len(made.manifest.rows) < 4 * 90
    assert splits.prepare_split(drifting, "capture:3:5:2").manifest == made.manifest
