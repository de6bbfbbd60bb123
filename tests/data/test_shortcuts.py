"""Shortcut baselines tell smears with a class-dependent stain from smears with an independent one."""

import io

import numpy as np
import pytest
from command_line import packages_of
from PIL import Image

from data.auditing import shortcut_baselines, shortcut_features
from data.splitting import splits
from data.synthetic import generator as synthetic
from data.synthetic.cells import MORPHOLOGIES, draw_scene
from utils.errors import LeukoBenchError
from utils.metrics.predictions import wilson
from utils.runs import shortcuts_file
from utils.runs.shortcuts_file import SEES, WITHOUT_CELLS, Shortcut
from utils.tables import shortcuts as shortcuts_tables


@pytest.fixture(scope="module")
def measured(home):
    """The root, and for confounded and independent smears the split folder and the accuracies of the baselines."""
    root, found = home / "shortcut-runs", {}
    for stain in synthetic.STAINS[:2]:
        name = f"shortcuts-{stain}"
        synthetic.make(name, images_per_class=30, size=80, patients=10, stain=stain, seed=5)
        folder = splits.prepare_split(name)
        found[stain] = folder, shortcut_baselines.evaluate(folder, root)
    return root, found


def scores(**correct):
    """Return baselines with 25 of 100 correct, or the given numbers."""
    numbers = dict.fromkeys(SEES, 25) | {name.replace("_", " "): number for name, number in correct.items()}
    return [Shortcut(name, 100, n, n / 100, *wilson(n, 100), 3, 0.5) for name, n in numbers.items()]


@pytest.mark.slow
def test_confounded_smears_are_flagged_and_independent_ones_cleared(measured):
    _, found = measured
    confounded, independent = (shortcuts_tables.verdict(found[stain][1]) for stain in ("confounded", "independent"))
    assert confounded.word == "confounded"
    assert {"scale-bar corner", "border strip", "background"} <= set(confounded.told_by)
    assert confounded.chance == 0.25 and "25.0 %" in confounded.sentences[0]
    assert independent.word == "cleared" and not independent.told_by
    by_name = {stain: {each.baseline: each for each in found[stain][1]} for stain in found}
    for name in ("background", "border strip", "colour histogram"):
        assert by_name["confounded"][name].accuracy > 0.9 > 0.5 > by_name["independent"][name].accuracy, name


@pytest.mark.slow
def test_the_file_holds_the_accuracies_on_the_test_images(measured):
    root, found = measured
    folder, baselines = found["confounded"]
    path = shortcuts_file.path(root, folder.manifest.hash)
    assert path == root / "shortcuts" / f"{folder.manifest.hash}.csv"
    assert path.read_text().splitlines()[0] == "baseline,images,correct,accuracy,low,high,features,seconds"
    assert [each.baseline for each in baselines] == list(SEES)
    for each, read in zip(baselines, shortcuts_file.read(root, folder.manifest.hash), strict=True):
        assert each.images == len(folder.manifest.subset("test"))
        assert (each.low, each.high) == wilson(each.correct, each.images)
        assert read.accuracy == pytest.approx(each.correct / each.images) and read.features == each.features
    assert {each.baseline: each.features for each in baselines}["colour histogram"] == 48
    name, accuracy = shortcuts_file.best(root, folder.manifest.hash)
    assert accuracy == max(each.accuracy for each in baselines) and name in SEES


@pytest.mark.slow
def test_it_is_repeatable_and_does_not_use_validation_images(measured, tmp_path):
    folder, baselines = measured[1]["independent"]
    seen = []
    again = shortcut_baselines.evaluate(folder, tmp_path, lambda done, total: seen.append((done, total)))
    assert [each.correct for each in again] == [each.correct for each in baselines]
    images = len(folder.manifest.subset("train")) + len(folder.manifest.subset("test"))
    assert seen[-1] == (images, images)


@pytest.mark.slow
def test_the_file_is_read_without_scikit_learn(measured):
    root, found = measured
    program = (
        "import sys; from pathlib import Path; from utils.runs import shortcuts_file\n"
        "print(shortcuts_file.best(Path(sys.argv[1]), sys.argv[2])[1])"
    )
    shown, packages = packages_of(program, root, found["confounded"][0].manifest.hash)
    assert float(shown) > 0.9 and not packages & {"sklearn", "keras", "numpy"}


def test_a_missing_file_is_none_and_a_damaged_one_an_error(tmp_path):
    assert shortcuts_file.best(tmp_path, "0123456789abcdef") is None
    path = shortcuts_file.path(tmp_path, "x")
    path.parent.mkdir()
    path.write_text("baseline,images,correct,accuracy,low,high,features,seconds\nbackground,ten,1,0.1,0,1,48,1\n")
    with pytest.raises(LeukoBenchError, match=rf"{path} is damaged\. .*run_guide\.py audit"):
        shortcuts_file.read(tmp_path, "x")


@pytest.mark.parametrize(
    ("correct", "confounded"),
    [({}, False), ({"background": 53}, False), ({"thumbnail": 99}, False), ({"background": 54}, True)],
)
def test_the_rule_of_the_verdict(correct, confounded):
    """Chance is 25 %, a quarter of the way to 100 % is 43.75 %, and 54 of 100 have the first interval above."""
    found = shortcuts_tables.verdict(scores(**correct))
    assert found.word == ("confounded" if confounded else "cleared")
    assert found.told_by == (("background",) if confounded else ())
    low = wilson(54, 100)[0], wilson(53, 100)[0]
    assert low[0] > 0.4375 > low[1]


def test_the_table_shows_which_baselines_are_given_cells():
    found = scores(background=90, thumbnail=40)
    table = shortcuts_tables.table(found, "x")
    marks = {row[0]: (row[1], row[5]) for row in table.rows}
    assert marks["background"] == ("no", "clearly") and marks["thumbnail"] == ("yes", "weakly")
    assert {name for name, (cells, _) in marks.items() if cells == "no"} == {"majority class", *WITHOUT_CELLS}
    assert all(f"{name.capitalize()}: {words}." in table.words_below for name, words in SEES.items())


def test_the_mask_holds_stained_cells_but_no_red_cells():
    for label in synthetic.CLASSES:
        patient = synthetic.patient_of(1, synthetic.CLASSES, label, 0, 2, "independent")
        rng = np.random.default_rng(3)
        picture, nuclei = synthetic.draw(rng, label, 128, patient)
        scene = draw_scene(np.random.default_rng(3), MORPHOLOGIES[label], 128)
        stained = shortcut_features.stained_mask(picture)
        assert stained[nuclei > 0].mean() > 0.99, label
        assert stained[scene.cytoplasm > 0.5].mean() > 0.95, label  # of burst cells too, which have no nucleus
        assert stained[(scene.red > 0.5) & (scene.cytoplasm < 0.01)].mean() < 0.35, label
    assert not shortcut_features.stained_mask(np.full((50, 60, 3), 240, np.uint8)).any()


def test_the_corner_changes_only_its_own_baseline():
    picture = np.random.default_rng(1).integers(0, 255, (120, 120, 3), np.uint8)
    other = picture.copy()
    other[-20:, -20:] = 0
    before, after = (shortcut_features.of_picture(each) for each in (picture, other))
    assert not np.array_equal(before["scale-bar corner"], after["scale-bar corner"])
    assert len(before["scale-bar corner"]) == 16 * 16 * 3


def test_patches_avoid_the_mask():
    picture = np.zeros((90, 130, 3), np.uint8)
    picture[20:40, 40:60] = 200
    left_out = np.ones((90, 130), bool)
    assert np.isnan(shortcut_features.patches(picture, left_out)).all()
    left_out[20:40, 40:60] = False
    found = shortcut_features.patches(picture, left_out)
    assert found[0].tolist() == [200, 200, 200, 0, 0, 0] and np.isnan(found[1:]).all()
    whole = shortcut_features.patches(picture, np.zeros((90, 130), bool))
    assert whole.shape == (12, 6) and not np.isnan(whole).any()


def test_an_image_without_a_patch_gets_the_most_frequent_class():
    features = np.full((9, 12, 6), np.nan, np.float32)
    features[[0, 1, 2, 3, 6], 0] = np.array([1, 1, 9, 9, 1], np.float32)[:, None]
    labels = np.array(["a", "a", "b", "b", "b", "b", "a", "b", "a"])
    test = np.arange(9) >= 6
    found = shortcut_baselines.score("background patches", features, labels, test)
    assert (found.images, found.correct, found.features) == (3, 2, 6)  # a by its patch; b, b by frequency: one is wrong
    nowhere = np.full_like(features, np.nan)
    assert shortcut_baselines.score("background patches", nowhere, labels, test).correct == 1


def test_metadata_of_a_file():
    picture = Image.new("RGB", (40, 30), (200, 100, 50))
    found = {}
    for quality in (50, 90):
        buffer = io.BytesIO()
        exif = Image.Exif()
        exif[0x0131] = "a program"
        picture.save(buffer, "JPEG", quality=quality, exif=exif)
        found[quality] = shortcut_features.file_facts(buffer.getvalue())
        assert found[quality][0] == len(buffer.getvalue()) and found[quality][1:3].tolist() == [40, 30]
        assert found[quality][4] == 1
    assert (found[50][6:] > found[90][6:]).all()  # coarser steps
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    assert not shortcut_features.file_facts(buffer.getvalue())[6:].any()
    assert len({len(values) for values in found.values()}) == 1


def test_a_missing_image_is_an_error(tmp_path):
    with pytest.raises(LeukoBenchError, match=r"^There is no image .*gone\.png\.$"):
        shortcut_features.measure([tmp_path / "gone.png"])
