"""The judging families: fixed amounts, no class in them, and no way into training."""

import ast
import dataclasses

import numpy as np
import pytest

from data.perturbations import judging_families as judging
from data.synthetic import generator as synthetic
from data.synthetic.staining import patient_of
from models.engine.config import recipes
from utils.paths import PROJECT
from utils.runs.seen_families import BY_AUGMENTATION, BY_INTERVENTION, BY_VARIANT

DIGEST = "c3b799fb2ad44fcc"  # recorded before any network was judged by it
MAY_IMPORT = {"data/perturbations/registry.py"}


def smear(number, label, size=96):
    patient = patient_of(3, synthetic.CLASSES, label, number, 6, "confounded")
    return synthetic.draw(np.random.default_rng([number, 8]), label, size, patient)


def test_names_and_amounts_are_those_that_were_recorded(monkeypatch):
    assert judging.digest() == DIGEST
    camera = judging.CAMERAS["halogen"]
    monkeypatch.setitem(judging.CAMERAS, "halogen", dataclasses.replace(camera, gain=(1.0, 1.0, 1.0)))
    assert judging.digest() != DIGEST


def test_no_recipe_and_no_loader_reaches_them():
    importers = set()
    for path in PROJECT.rglob("*.py"):
        name = path.relative_to(PROJECT).as_posix()
        if name.split("/")[0] not in ("data", "models", "guide", "utils", "webapp", "visualization", "benchmarks"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                named = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
                if any("judging_families" in each for each in named):
                    importers.add(name)
    assert importers <= MAY_IMPORT
    taught = {**BY_INTERVENTION, **BY_AUGMENTATION, **BY_VARIANT}.values()
    assert not {family for families in taught for family in families} & set(judging.NAMES)
    settings = " ".join(each for name in recipes.names() for each in recipes.settings(name))
    assert not any(word in settings for word in ("camera", "judging", "ground="))


@pytest.mark.parametrize("name", judging.CAMERAS)
def test_a_camera_changes_colours_and_keeps_order_of_grey_levels(name):
    image = smear(1, "Pre")[0]
    before = image.copy()
    changed = judging.photographed(image, judging.CAMERAS[name])
    assert np.array_equal(image, before) and changed.shape == image.shape and changed.dtype == np.uint8
    shift = np.abs(changed.astype(float).mean((0, 1)) - image.mean((0, 1)))
    assert 5 < shift.max() < 60
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    assert (np.diff(judging.photographed(ramp, judging.CAMERAS[name]).astype(int), axis=1) >= 0).all()


@pytest.mark.parametrize("name", judging.GROUNDS)
def test_a_ground_keeps_the_nuclei_and_replaces_the_rest(name):
    kept, corners = [], []
    for label in synthetic.CLASSES:
        image, mask = smear(2, label)
        changed = judging.grounded(image, judging.GROUNDS[name], np.random.default_rng(5))
        same = np.abs(changed.astype(int) - image).max(2) <= 8
        kept.append(same[mask > 0].mean())
        corners.append(changed[:4, :4].mean((0, 1)))
    assert min(kept) > 0.8
    assert np.ptp(corners, axis=0).max() < 1 or name != "empty"  # the same in every class
    again = judging.grounded(image, judging.GROUNDS[name], np.random.default_rng(5))
    assert np.array_equal(again, changed)


def test_the_smallest_images_are_taken():
    for image in (np.zeros((9, 7, 3), np.uint8), np.full((5, 40, 3), 255, np.uint8)):
        for camera in judging.CAMERAS.values():
            assert judging.photographed(image, camera).shape == image.shape
        for ground in judging.GROUNDS.values():
            assert judging.grounded(image, ground, np.random.default_rng(1)).shape == image.shape
