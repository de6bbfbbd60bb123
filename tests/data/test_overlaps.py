"""Planted overlapping fields are found with their shift, within and across classes; nothing else is."""

import numpy as np
import pytest
from planted_signal import SIDE, plant
from real_dataset import real_dataset

from data.datasets import image_decoder
from data.grouping import overlapping_fields, sift_matching, stain_groups
from data.synthetic.staining import draw_bar


@pytest.mark.slow
def test_planted_overlaps_are_found_with_their_shift(data_folder):
    made = plant(data_folder / "raw" / "planted")
    found = stain_groups.find("planted")
    pairs = {(pair.first, pair.second): pair for pair in found.pairs if pair.kind == "overlap"}
    right = pairs.keys() & made.overlaps.keys()
    assert len(made.overlaps) == 36
    assert len(right) / len(made.overlaps) >= 0.9 and len(right) / len(pairs) >= 0.95
    off = [np.hypot(pairs[key].dx - made.overlaps[key][0], pairs[key].dy - made.overlaps[key][1]) for key in right]
    assert np.median(off) < 1.0 and max(off) < 4.0
    for key in right:
        dx, dy = made.overlaps[key]
        assert pairs[key].share == pytest.approx((SIDE - abs(dx)) * (SIDE - abs(dy)) / SIDE**2, abs=0.08)
    across = {key for key in made.overlaps if key[0].split("/")[0] != key[1].split("/")[0]}
    assert len(across) == 6
    assert len({(pair.first, pair.second) for pair in found.pairs if pair.across_classes} & across) >= 5
    assert all(found.groups[pair.first] == found.groups[pair.second] for pair in found.pairs)


def test_a_common_scale_bar_and_dust_are_no_overlap():
    rng = np.random.default_rng(0)
    described = []
    for _ in range(2):
        picture = rng.normal(235, 3, (160, 160, 3)).clip(0, 255).astype(np.uint8)
        for x, y in rng.integers(10, 130, (12, 2)):
            picture[y : y + 12, x : x + 12] -= rng.integers(20, 120, 3, dtype=np.uint8)
        picture[20:24, 50:55] = (60, 50, 70)  # dust on the lens, at the same position in both
        draw_bar(picture, 0)
        described.append(sift_matching.describe(picture))
    assert overlapping_fields.prove(described, 0, 1) is None
    corner = np.argwhere(~sift_matching.without_corner(160, 160)).min(axis=0)
    for each in described:
        assert not ((each.points[:, 1] >= corner[0]) & (each.points[:, 0] >= corner[1])).any()


def test_blank_images_do_not_overlap():
    blank = [sift_matching.describe(np.full((64, 80, 3), 240, np.uint8)) for _ in range(3)]
    assert overlapping_fields.find(blank, np.zeros((3, 2))) == []
    assert overlapping_fields.find([], np.zeros((0, 2))) == []


def test_neighbouring_fields_of_the_real_dataset():
    found = [next(real_dataset().rglob(f"WBC-Benign-{number}.jpg")) for number in ("004", "005", "001")]
    seen = [sift_matching.describe(np.asarray(image_decoder.open_rgb(path))) for path in found]
    overlap = overlapping_fields.prove(seen, 0, 1)
    assert (overlap.dx, overlap.dy) == (pytest.approx(-1.0, abs=1.5), pytest.approx(-3.0, abs=1.5))
    assert overlap.share > 0.9
    assert overlapping_fields.prove(seen, 0, 2) is None
