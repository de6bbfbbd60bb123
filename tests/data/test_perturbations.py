"""Perturbations are pure, repeatable, stronger with each level, and change only what their name says."""

from itertools import pairwise

import numpy as np
import pytest

from data.imaging import color_ops, nucleus_segmentation, scene_ops, stain_normalization
from data.manifest import Row, from_rows
from data.perturbations import registry as perturbations
from data.perturbations.registry import FAMILIES, SEVERITIES
from data.perturbations.stain_donors import Donors
from data.splitting.splits import SplitFolder
from data.synthetic import generator as synthetic
from data.synthetic.staining import draw_bar, patient_of
from utils.errors import LeukoBenchError

SIZE = 128
CHANGES = [*(change for family in FAMILIES.values() for change in family), *perturbations.references(("Early",))]
NAMES = [f"{c.family} {c.name} {c.severity}" for c in CHANGES]


def smear(number, label="Early", kind="confounded"):
    """Return a smear and its true nucleus mask (bool)."""
    patient = patient_of(5, synthetic.CLASSES, label, number, 8, kind)
    picture, mask = synthetic.draw(np.random.default_rng([number, 3]), label, SIZE, patient)
    return picture, mask > 0


SMEARS = [smear(number, label) for number, label in enumerate(synthetic.CLASSES)]
DONOR = smear(9, "Pro")[0]


def around(mask, pixels):
    """Return a mask dilated by a number of pixels."""
    import cv2

    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * pixels + 1,) * 2, np.uint8)) > 0


def edges(image):
    """Return the gradient magnitude of the grey image."""
    import cv2

    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 1.5).astype(np.float32)
    return np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))


@pytest.mark.parametrize("change", CHANGES, ids=NAMES)
def test_a_change_is_pure_and_repeatable(change):
    noise = np.random.default_rng(1).integers(0, 256, (60, 84, 3), np.uint8)
    for image in (SMEARS[0][0], noise, np.full((40, 40, 3), 255, np.uint8), np.zeros((9, 7, 3), np.uint8)):
        before = image.copy()
        changed = change.apply(image, "ab", DONOR)
        assert changed.shape == image.shape and changed.dtype == np.uint8
        assert np.array_equal(image, before) and not np.shares_memory(changed, image)
        assert np.array_equal(changed, change.apply(image, "ab", DONOR))
    assert not np.array_equal(change.apply(SMEARS[0][0], "ab", DONOR), SMEARS[0][0])


@pytest.mark.parametrize("name", [name for name, changes in FAMILIES.items() if changes and changes[0].severity])
def test_a_higher_severity_is_further_from_the_image(name):
    for kind in dict.fromkeys(change.name for change in FAMILIES[name]):
        steps = [change for change in FAMILIES[name] if change.name == kind]
        assert tuple(change.severity for change in steps) == SEVERITIES
        # Pale colours, as clipping of vivid ones would limit the change of hue.
        images = [color_ops.saturation(image, 0.4) if name == "hue" else image for image, _ in SMEARS]
        pairs = [[(c.apply(image, str(k), None), image) for k, image in enumerate(images)] for c in steps]
        distances = [np.mean([np.abs(a.astype(int) - b).mean() for a, b in each]) for each in pairs]
        assert distances == sorted(distances) and 0 < distances[0] < 0.75 * distances[-1]


@pytest.mark.parametrize("name", ["blur", "noise", "deposit", "bubbles", "cells removed"])
def test_random_content_differs_between_images(name):
    change, image = FAMILIES[name][-1], SMEARS[1][0]
    assert not np.array_equal(change.apply(image, "a", None), change.apply(image, "b", None))


class Gathered(np.random.Generator):
    """A generator that draws the largest grains, all in the centre of their clump."""

    def normal(self, loc, scale, size):
        return np.full(size, loc, float)

    def uniform(self, low, high, size):
        return np.full(size, high, float)


def test_clumps_keep_their_positions_at_the_next_level_while_grains_differ(monkeypatch):
    image = np.full((SIZE, SIZE, 3), 255, np.uint8)

    def dark():
        return [change.apply(image, "a", None).min(axis=2) < 255 for change in FAMILIES["deposit"]]

    assert all((fewer & ~more).any() for fewer, more in pairwise(dark()))
    plain = perturbations.generator
    monkeypatch.setattr(perturbations, "generator", lambda *names: Gathered(plain(*names).bit_generator))
    for fewer, more in pairwise(dark()):
        assert fewer.any() and not (fewer & ~more).any() and (more & ~fewer).any()


def test_colours_change_and_shapes_stay():
    image = SMEARS[2][0]
    lightness = stain_normalization.to_lab(image)[..., 0]
    assert abs(stain_normalization.to_lab(color_ops.hue(image, 20))[..., 0] - lightness).mean() < 1
    assert np.abs(color_ops.hue(image, 360).astype(int) - image).max() <= 1
    assert np.array_equal(color_ops.saturation(image, 1), image)
    assert np.ptp(color_ops.saturation(image, 0), axis=2).max() == 0
    assert np.array_equal(color_ops.brightness(image, 0.5), np.rint(image * 0.5).astype(np.uint8))


def test_a_swap_transfers_the_donors_stain():
    image = smear(3, "Benign")[0]
    swapped = color_ops.reinhard_swap(image, DONOR)
    reached, aim = (stain_normalization.reinhard_statistics(each)[:3] for each in (swapped, DONOR))
    assert np.allclose(reached, aim, atol=2)
    swapped = color_ops.macenko_swap(image, DONOR)
    reached, aim, own = (np.array(stain_normalization.macenko_statistics(x))[6:] for x in (swapped, DONOR, image))
    assert abs(reached - aim).max() < 0.5 * abs(own - aim).max()
    assert np.array_equal(color_ops.macenko_swap(image, np.full_like(image, 250)), image)


@pytest.mark.parametrize("kind", ["confounded", "independent"])
def test_removed_cells_leave_neither_nuclei_nor_outlines(kind):
    for number, label in enumerate(synthetic.CLASSES):
        image, mask = smear(number, label, kind)
        removed = scene_ops.remove_cells(image, np.random.default_rng(number))
        stains = [nucleus_segmentation.nuclear_stain(each) for each in (image, removed)]
        level = np.percentile(stains[0][mask], 20)
        before, after = (int((each > level).sum()) for each in stains)
        assert before > 0.01 * mask.size and after < 0.05 * before
        # Along the outlines, edges are hardly stronger than elsewhere.
        rim, elsewhere = around(mask, 1) & around(~mask, 1), ~around(mask, 8)
        before, after = (edges(each)[rim].mean() / edges(each)[elsewhere].mean() for each in (image, removed))
        assert before > 3 and after < 1.4


def test_a_new_background_keeps_the_cells():
    image, mask = smear(2, "Pre")
    changed = scene_ops.replace_background(image, DONOR, np.random.default_rng(0))
    assert np.median(np.abs(changed[mask].astype(int) - image[mask])) == 0
    far = ~around(nucleus_segmentation.cell_mask(image), 3)
    assert np.array_equal(changed[far], scene_ops.remove_cells(DONOR, np.random.default_rng(0))[far])
    assert not nucleus_segmentation.nucleus_mask(changed)[far].sum() > 0.1 * mask.sum()


def test_painting_over_hides_the_kind_of_scale_bar():
    bare = smear(1, "Early")[0]
    corner = np.zeros((SIZE, SIZE), bool)
    corner[-22:, -22:] = True
    painted = []
    for style in range(4):
        image = bare.copy()
        image[-20:, -20:] = 200
        draw_bar(image, style)
        painted.append(scene_ops.paint_over_bar(image))
        assert np.array_equal(painted[-1][~corner], image[~corner])
    assert all(np.array_equal(painted[0], each) for each in painted)
    # No step at the edge of the corner.
    steps = np.abs(np.diff(painted[0].astype(int), axis=1))
    assert steps[-22:, SIZE - 23].mean() < 2 * steps[:-22].mean() + 5


def test_an_unknown_family_is_refused():
    with pytest.raises(LeukoBenchError, match=r"'gray': .*grey, hue, saturation, .*Did you mean"):
        perturbations.chosen(["gray"], ())
    every = perturbations.chosen((), ("A", "B"))
    families = [change.family for change in every]
    assert families == sorted(families, key=perturbations.NAMES.index)
    assert {change.donor for change in perturbations.chosen(["stain reference"], ("A", "B"))} == {"A", "B"}


def test_a_donor_is_a_training_image_of_any_other_class(tmp_path):
    rows = [
        Row(f"{label}/{split}-{k}.png", label, split, "", f"{ord(label)}{split}{k}")
        for label in "ABC"
        for split in ("train", "test")
        for k in range(40)
    ]
    manifest = from_rows(rows)
    donors = Donors(SplitFolder(tmp_path, manifest))
    chosen = {row.image: donors.other(row) for row in manifest.subset("test")}
    assert all(donor.split == "train" and donor.label != image[0] for image, donor in chosen.items())
    taken = [donor.label for image, donor in chosen.items() if image.startswith("A")]
    assert 10 < taken.count("B") < 30 and len({donor.image for donor in chosen.values()}) > 60
    again = Donors(SplitFolder(tmp_path, from_rows(rows[::-1])))
    assert chosen == {row.image: again.other(row) for row in manifest.subset("test")}
    with pytest.raises(LeukoBenchError, match="all training images are of A"):
        Donors(SplitFolder(tmp_path, from_rows([row for row in rows if row.label == "A"]))).other(rows[0])


def test_donors_of_the_same_class_are_as_far_away_as_the_others(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    colours = {"calm": [(200, 60, 60), (60, 60, 200), (60, 200, 60)], "busy": [(90, 90, 90), (240, 240, 240)]}
    rows, pictures = [], {}
    random = np.random.default_rng(4)
    for label, shades in colours.items():
        for k in range(12):
            image = np.clip(np.array(shades[k % len(shades)]) + random.normal(0, 8, (24, 24, 3)), 0, 255)
            split = "test" if k < 3 else "train"
            rows.append(Row(f"{label}/{k}.png", split, label, f"{label}-{k}", ""))
            pictures[tmp_path / split / label / f"{k}.png"] = image.astype(np.uint8)
    donors = Donors(SplitFolder(tmp_path, from_rows(rows)))
    with ThreadPoolExecutor(2) as pool:
        donors.measure_colours(pictures.__getitem__, pool)
    for row in rows:
        if row.split == "test":
            own = np.array(stain_normalization.reinhard_statistics(pictures[donors.path(row)]))
            matched = donors.matched(row, pictures.__getitem__)
            reached = np.linalg.norm(matched.statistics - own)
            assert reached == pytest.approx(matched.shift, rel=0.11)
            assert matched.stretched == (abs(matched.found - matched.shift) > 0.1 * matched.shift)


def test_tinted_grey_keeps_lightness_and_the_mean_tint():
    image = color_ops.brightness(SMEARS[2][0], 0.7)  # as light colours would be clipped
    before, after = (stain_normalization.to_lab(each) for each in (image, color_ops.tinted_grey(image)))
    assert np.abs(before[..., 0] - after[..., 0]).mean() < 1
    assert np.abs(before[..., 1:].mean((0, 1)) - after[..., 1:].mean((0, 1))).max() < 1
    assert after[..., 1:].std((0, 1)).max() < 1.5 < before[..., 1:].std((0, 1)).max()


def test_other_corners_leave_the_scale_bar():
    image = SMEARS[0][0]
    side = int(np.ceil(scene_ops.BAR * SIZE))
    for change in FAMILIES["other corner"]:
        changed = change.apply(image, "a")
        touched = np.argwhere((changed != image).any(axis=2))
        assert np.array_equal(changed[-side:, -side:], image[-side:, -side:]) and len(touched)
        assert (touched.max(axis=0) - touched.min(axis=0) < side).all()
