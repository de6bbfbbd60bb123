"""Cached features of a frozen base: one pass per base and set of images, and never those of another."""

import numpy as np
import pytest

import models
from data.imaging.variants import Variant
from data.loading.augmentation_config import Augmentation
from models.engine.backend import keras_backend
from models.engine.layers import backbone
from models.engine.training import feature_cache, trainer
from utils.io import files


@pytest.fixture
def frozen(home, small_backbone, monkeypatch, tmp_path):
    """A configuration whose base stays frozen; features go to a folder of this test."""
    monkeypatch.setattr(feature_cache, "features_dir", lambda: tmp_path / "features")
    return small_backbone.replace(freeze="always", epochs=2, classes=("a", "b"))


def test_a_base_is_identified_by_weights_and_variant_and_not_by_its_head(frozen):
    def place(seed=1, variant=Variant(), **values):  # noqa: B008
        keras_backend.start(seed)
        return feature_cache.place(backbone.split_at_head(models.build(frozen.replace(**values)))[0], variant)

    assert place() == place() == place(dense=0, dropout=0.1)
    assert len({place(), place(seed=2), place(variant=Variant(name="gray"))}) == 3


def test_another_preprocessing_is_another_base(home):
    import keras

    def base(scale):
        inputs = keras.Input((4, 4, 3))
        return keras.Model(inputs, keras.layers.Flatten()(inputs / scale))

    keras_backend.start(1)
    assert feature_cache.place(base(2.0), Variant()) == feature_cache.place(base(2.0), Variant())
    assert feature_cache.place(base(2.0), Variant()) != feature_cache.place(base(3.0), Variant())


@pytest.mark.slow
def test_a_second_head_costs_no_second_pass(frozen, tmp_path, capsys):
    first = trainer.train(frozen, tmp_path)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "features").rglob("*.npy")}
    second = trainer.train(frozen.replace(dense=4), tmp_path)
    assert len(kept) == 2  # training and validation images
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "features").rglob("*.npy")} == kept
    said = capsys.readouterr().out
    assert "running the frozen base once" in said and "cached" in said
    one, two = (files.read_json(run.file("timing.json"))["training"] for run in (first, second))
    assert one["features"] == two["features"] == 6
    assert one["feature_pass_seconds"] == two["feature_pass_seconds"] > 0
    assert not first.file("state").exists()
    assert one["seconds"] == pytest.approx(sum(row["seconds"] for row in first.history()))
    assert two["seconds"] > one["feature_pass_seconds"], "the pass counts for a run that found its features kept"
    assert second.config()["flavour"] == [] and second.label() == "resnet50", "its base is frozen anyway"


def test_a_damaged_file_of_features_is_made_again(tmp_path, home):
    keras_backend.start(1)
    import keras

    base = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten()])

    class Pictures:
        size, paths, names, labels, classes, variant = 4, ["a", "b"], ["a", "b"], np.zeros(2, int), 2, Variant()
        pixels = np.arange(96, dtype=np.uint8).reshape(2, 4, 4, 3)

        def __len__(self):
            return 2

    path = tmp_path / "x.npy"
    wanted = feature_cache.Pass(Pictures(), None, path)
    whole = np.array(feature_cache.extract(base, wanted, lambda: None))
    assert whole.shape == (2, 48) and whole[1, 0] == 48
    content = path.read_bytes()
    for broken in (content[:-8], content[:20], b""):
        path.write_bytes(broken)
        np.testing.assert_array_equal(feature_cache.extract(base, wanted, lambda: None), whole)


@pytest.mark.slow
def test_one_view_per_epoch_equals_augmenting_in_each_epoch(frozen, tmp_path):
    varied = frozen.replace(augmentation=Augmentation(flips=True, colour=0.3), epochs=3)
    anew, viewed, once = (trainer.train(varied.replace(feature_views=k), tmp_path).history() for k in (0, 3, 1))
    losses = [[row["loss"] for row in history] for history in (anew, viewed, once)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    assert losses[2][0] == losses[1][0], "the first view is the first epoch's"
    assert abs(losses[2][1] / losses[0][1] - 1) > 1e-3, "one view lacks what later epochs would draw"
    assert len(list((tmp_path / "features").rglob("*.npy"))) == 4, "three views, of which the first served twice"


@pytest.mark.slow
def test_another_augmentation_or_seed_is_another_view(frozen, tmp_path):
    for change in (Augmentation(flips=True), Augmentation(colour=0.2)):
        trainer.train(frozen.replace(augmentation=change, feature_views=1, epochs=1), tmp_path)
    trainer.train(frozen.replace(augmentation=change, feature_views=1, epochs=1, seed=7), tmp_path)
    of_training = {path.stat().st_size: 0 for path in (tmp_path / "features").rglob("*.npy")}
    assert len(of_training) == 2 and len(list((tmp_path / "features").rglob("*.npy"))) >= 4
