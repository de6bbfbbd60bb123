"""Dataset variants are pure functions of the pixels; segmentation is tested on smears with known nuclei."""

import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pydantic import ValidationError

from data.imaging import nucleus_segmentation, stain_normalization, variants
from data.imaging.variants import NAMES, Variant, apply, choose_reference, with_reference
from data.synthetic import generator as synthetic
from data.synthetic.cells import MORPHOLOGIES, draw_scene
from data.synthetic.staining import colour, patient_of
from guide.preview import Changed
from utils.errors import LeukoBenchError

SIZE = 128


def smear(label="Early", seed=1, size=SIZE, mode="independent"):
    """Return a synthetic smear and its true nucleus mask."""
    patient = patient_of(seed, synthetic.CLASSES, label, 0, 1, mode)
    pixels, mask = synthetic.draw(np.random.default_rng(seed), label, size, patient)
    return pixels, mask > 0


def same_cells(seed=3, labels=("Benign", "Pro")):
    """Return one tissue in the stains of two classes."""
    scene = draw_scene(np.random.default_rng(seed), MORPHOLOGIES["Early"], SIZE)
    patients = (patient_of(seed, synthetic.CLASSES, label, 0, 1, "confounded") for label in labels)
    return [colour(np.random.default_rng(seed), scene, patient) for patient in patients]


def ready(name, seed=9):
    """Return the variant, with a reference where it needs one."""
    return with_reference(Variant(name=name), smear("Benign", seed)[0], "Benign/reference.png")


def lab(image):
    return stain_normalization.to_lab(image).reshape(-1, 3).astype(float)


NOISE = np.random.default_rng(0).integers(0, 256, (40, 52, 3), dtype=np.uint8)
ODD = {
    "one pixel": NOISE[:1, :1],
    "a row": NOISE[:1, :30],
    "a column": NOISE[:30, :1],
    "two pixels": NOISE[:2, :1],
    "white": np.full((30, 20, 3), 255, np.uint8),
    "black": np.zeros((20, 30, 3), np.uint8),
    "one colour": np.full((16, 16, 3), (120, 40, 180), np.uint8),
    "two colours": np.where(np.arange(256).reshape(16, 16, 1) % 2, (200, 190, 210), (90, 60, 180)).astype(np.uint8),
    "noise": NOISE,
    "grey ramp": np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2),
    "view": smear(size=64)[0][::-1, ::2],
    "read only": np.broadcast_to(np.uint8(77), (9, 9, 3)),
    "large": np.kron(smear(size=64)[0], np.ones((6, 5, 1), np.uint8)),
}


def test_names():
    assert NAMES == ("rgb", "clahe", "gray", "masked", "nuclei", "reinhard", "macenko", "no_bar")
    assert set(variants.DESCRIPTIONS) == set(NAMES)
    assert {each.value for each in Changed} == set(NAMES) - {"rgb"}
    assert [name for name in NAMES if variants.needs_reference(Variant(name=name))] == ["reinhard", "macenko"]


def test_a_string_is_the_name():
    assert Variant.model_validate("clahe") == Variant(name="clahe", clip=2.0, tiles=8)
    assert Variant.model_validate({"name": "clahe", "clip": 3}).clip == 3
    assert Variant().label == "rgb"
    kept = ready("macenko")
    assert Variant.model_validate(kept.model_dump(mode="json")) == kept
    assert Variant.model_validate_json(kept.model_dump_json()) == kept


@pytest.mark.parametrize(
    "wrong",
    [
        "clahee",
        {"name": "clahe", "clip": 0},
        {"name": "clahe", "clip": float("nan")},
        {"tiles": 0},
        {"limit": 2},
        {"name": "reinhard", "statistics": [1.0]},
        {"name": "reinhard", "statistics": [1.0, 2, 3, 4, 5, float("inf")]},
        {"name": "clahe", "statistics": [1.0] * 6},
        7,
    ],
)
def test_a_wrong_variant_is_refused(wrong):
    with pytest.raises(ValidationError) as caught:
        Variant.model_validate(wrong)
    assert "\n" not in caught.value.errors()[0]["msg"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("odd", ODD)
def test_any_image_keeps_its_shape_and_is_not_modified(name, odd):
    image = ODD[odd]
    before = image.copy()
    with np.errstate(all="raise"):
        made = apply(ready(name), image)
    assert made.shape == image.shape
    assert made.dtype == np.uint8
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("name", NAMES)
def test_any_image_can_be_tried_as_the_reference(name):
    for odd, image in ODD.items():
        try:
            variant = with_reference(Variant(name=name), image, f"Pre/{odd}.png")
        except LeukoBenchError as error:
            assert name == "macenko" and f"Pre/{odd}.png" in str(error) and "'macenko'" in str(error)
            continue
        assert apply(variant, NOISE).shape == NOISE.shape


@pytest.mark.parametrize("name", NAMES)
def test_threads_change_nothing(name):
    import cv2

    variant, images = ready(name), [smear(label, 4)[0] for label in synthetic.CLASSES] * 3
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        alone = [apply(variant, image) for image in images]
    finally:
        cv2.setNumThreads(before)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: apply(variant, image), images))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))
    assert all(np.array_equal(one, other) for one, other in zip(alone[:4], alone[4:8], strict=True))


def test_wrong_pixels_and_missing_references_are_refused():
    for name in ("reinhard", "macenko"):
        with pytest.raises(LeukoBenchError, match=rf"'{name}' has no reference image"):
            apply(Variant(name=name), NOISE)
    for wrong in (NOISE[:, :, 0], NOISE.astype(np.float32), NOISE[:0], NOISE[:, :, :2]):
        with pytest.raises(LeukoBenchError, match=re.escape(f"shape {wrong.shape} and type {wrong.dtype}: give RGB")):
            apply(Variant(name="gray"), wrong)
    with pytest.raises(LeukoBenchError, match="give at least one"):
        choose_reference([])


def test_clahe_changes_lightness_alone():
    image = smear("Pre", mode="confounded")[0]
    made = apply(Variant(name="clahe"), image)
    before, after = lab(image), lab(made)
    assert after[:, 0].std() > 1.1 * before[:, 0].std()
    # Apart from clipping to RGB and rounding to 8 bits, a and b stay.
    assert np.median(np.abs(after - before)[:, 1:]) < 1
    assert np.abs(after - before)[:, 0].mean() > 3
    stronger = apply(Variant(name="clahe", clip=8), image)
    assert lab(stronger)[:, 0].std() > after[:, 0].std()
    assert not np.array_equal(apply(Variant(name="clahe", tiles=2), image), made)


def test_gray_is_luminance():
    image = smear()[0]
    made = apply(Variant(name="gray"), image)
    assert (made == made[:, :, :1]).all()
    assert np.abs(made[:, :, 0] - image @ np.array([0.299, 0.587, 0.114])).max() <= 1


@pytest.mark.parametrize("mode", ["independent", "confounded"])
@pytest.mark.parametrize("label", synthetic.CLASSES)
def test_nuclei_are_found(label, mode):
    """The lowest values come from pale smudges without a nucleus that are segmented as one."""
    dice, unions, held = [], [], []
    for seed in range(5):
        image, true = smear(label, seed, mode=mode)
        found, cells = nucleus_segmentation.nucleus_mask(image), nucleus_segmentation.cell_mask(image)
        for values, value in zip((dice, unions), nucleus_segmentation.overlap(found, true), strict=True):
            values.append(value)
        held.append((cells & true).sum() / true.sum())
        assert not (found & ~cells).any()
    assert min(unions) > 0.55
    assert np.mean(dice) >= 0.8 and np.mean(unions) > 0.7
    assert min(held) > 0.98


def test_red_cells_and_the_scale_bar_are_no_nuclei():
    for seed in range(4):
        rng, patient = np.random.default_rng(seed), patient_of(seed, synthetic.CLASSES, "Early", 0, 1, "independent")
        scene = draw_scene(rng, MORPHOLOGIES["Early"], SIZE)
        image = colour(rng, scene, patient)
        red = (scene.red > 0.5) & (scene.cytoplasm == 0) & (scene.nucleus == 0)
        assert red.sum() > 300
        assert nucleus_segmentation.nucleus_mask(image)[red].mean() < 0.01
        assert nucleus_segmentation.cell_mask(image)[red].mean() < 0.05
        bar = np.zeros((SIZE, SIZE), bool)
        bar[-10:, -20:] = True
        bar &= scene.cytoplasm == 0
        assert nucleus_segmentation.nucleus_mask(image)[bar].mean() < 0.1


def test_background_becomes_white():
    image, _ = smear()
    mask = nucleus_segmentation.nucleus_mask(image)
    made = apply(Variant(name="nuclei"), image)
    assert (made[~mask] == 255).all()
    assert (made[mask] == image[mask]).all()
    cells = nucleus_segmentation.cell_mask(image)
    masked = apply(Variant(name="masked"), image)
    assert (masked[~cells] == 255).all()
    assert (masked[cells] == apply(Variant(name="clahe"), image)[cells]).all()
    assert cells.sum() > mask.sum()


@pytest.mark.parametrize("odd", ["white", "black", "one colour", "grey ramp", "one pixel"])
def test_an_image_without_nuclei_becomes_white(odd):
    for name in ("nuclei", "masked"):
        assert (apply(Variant(name=name), ODD[odd]) == 255).all()


def test_segmentation_does_not_depend_on_the_size():
    image, _ = smear("Pro", 2)
    twice = np.kron(image, np.ones((2, 2, 1), np.uint8))
    found = nucleus_segmentation.nucleus_mask(twice)[::2, ::2]
    assert nucleus_segmentation.overlap(found, nucleus_segmentation.nucleus_mask(image))[0] > 0.95


def test_overlap():
    one, none = np.eye(4, dtype=bool), np.zeros((4, 4), bool)
    assert nucleus_segmentation.overlap(one, one) == (1, 1)
    assert nucleus_segmentation.overlap(none, none) == (1, 1)
    assert nucleus_segmentation.overlap(one, none) == (0, 0)
    half = one.copy()
    half[2:] = False
    assert nucleus_segmentation.overlap(half, one) == (pytest.approx(2 / 3), 0.5)


def test_reinhard_gives_the_mean_and_the_spread_of_the_reference():
    reference, image = smear("Benign", 9)[0], smear("Pro", 5, mode="confounded")[0]
    made = lab(apply(ready("reinhard"), image))
    aim = lab(reference)
    # Not exactly, as colours outside RGB are clipped.
    assert np.abs(made.mean(axis=0) - aim.mean(axis=0)).max() < 2
    assert np.abs(made.std(axis=0) / aim.std(axis=0) - 1).max() < 0.15
    assert np.abs(lab(image).mean(axis=0) - aim.mean(axis=0)).max() > 3


@pytest.mark.parametrize("name", ["reinhard", "macenko"])
def test_the_reference_itself_hardly_changes(name):
    image = smear("Benign", 9)[0]
    difference = np.abs(apply(ready(name), image).astype(int) - image)
    assert difference.mean() < 4
    assert np.median(difference) <= 3


@pytest.mark.parametrize("name", ["reinhard", "macenko"])
def test_two_stains_of_one_tissue_come_closer(name):
    for seed in range(4):
        first, second = same_cells(seed)
        variant = with_reference(Variant(name=name), first, "Benign/first.png")
        before = np.abs(second.astype(int) - first).mean()
        after = np.abs(apply(variant, second).astype(int) - apply(variant, first)).mean()
        assert after < 0.7 * before


def test_macenko_separates_red_cells_and_nuclei_under_any_lamp():
    image = same_cells()[0]
    lamp = np.rint(image * np.array([0.8, 0.93, 1.0])).astype(np.uint8)
    for pixels in (image, lamp):
        found = np.array(stain_normalization.macenko_statistics(pixels))
        assert np.allclose([np.linalg.norm(found[:3]), np.linalg.norm(found[3:6])], 1)
        assert found[0] > found[3]  # red cells take more red light
        assert found[4] > found[1]  # nuclei more green
        assert found[2] > found[5]  # and hardly any blue
    plain, lit = (stain_normalization.macenko_statistics(pixels)[:8] for pixels in (image, lamp))
    assert np.allclose(plain, lit, atol=0.15)


@pytest.mark.parametrize("odd", ["one pixel", "white", "black", "one colour"])
def test_macenko_keeps_images_without_two_stains(odd):
    np.testing.assert_array_equal(apply(ready("macenko"), ODD[odd]), ODD[odd])


def test_the_reference_is_the_most_usual_image(tmp_path):
    from PIL import Image

    paths = []
    for position, shade in enumerate((250, 40, 130, 110, 10, 128, 135)):
        paths.append(tmp_path / f"{position}.png")
        Image.new("RGB", (70 + position, 50), (shade, shade, 140)).save(paths[-1])
    assert choose_reference(paths) == 5
    assert choose_reference([str(path) for path in paths[::-1]]) == 1
    assert choose_reference([paths[0]] * 3) == 0


def test_with_reference_records_the_name():
    image = smear()[0]
    found = with_reference(Variant(name="reinhard"), image, "Early/x.png")
    assert (found.reference, len(found.statistics)) == ("Early/x.png", 6)
    assert len(ready("macenko").statistics) == 11
    plain = Variant(name="clahe", clip=3)
    assert with_reference(plain, image, "Early/x.png") is plain


def test_preview(home, tmp_path, capsys):
    from PIL import Image

    from guide.preview import preview

    preview("tiny", count=1, output=tmp_path)
    said = capsys.readouterr().out
    assert "true masks" in said
    dice = [float(line.split("│")[3]) for line in said.splitlines() if re.match(r"│ \w+ +│ +\d+ │", line)]
    assert len(dice) == 5  # four classes, and all
    assert min(dice) >= 0.8  # each the mean of a class
    named = sorted((home / "data" / "raw" / "tiny" / "Pro").glob("*.png"))[0]
    preview("tiny", [Changed.gray, Changed.reinhard, Changed.gray], 1, f"Pro/{named.name}", tmp_path / "two")
    said = capsys.readouterr().out
    assert "true masks" not in said
    assert Image.open(tmp_path / "variants.png").width > Image.open(tmp_path / "two" / "variants.png").width
    with pytest.raises(LeukoBenchError, match=r"^There is no image 'Prae/x.png' for the reference\..*Give <Cl"):
        preview("tiny", [Changed.macenko], reference="Prae/x.png", output=tmp_path)
