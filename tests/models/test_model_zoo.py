"""Every large model, trained once in eager mode: it trains, reloads, predicts and is explained."""

from contextlib import contextmanager

import numpy as np
import pytest

import models
from data.loading.pipeline import loader
from models.engine.backend import keras_backend
from models.engine.evaluation import evaluator
from models.engine.explain import cam, explainer
from models.engine.run_io import run_loader
from models.engine.training import loop as training_loop
from models.engine.training import trainer
from utils.io import files
from utils.runs.run_folder import Run
from utils.system import timing

pytestmark = pytest.mark.slow
LARGE = [name for name in models.names() if name != "cnn"]


@contextmanager
def eagerly():
    """Run without a graph: tracing a step of a large model takes up to a minute."""
    keras_backend.start()
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


def train_eagerly(config, root):
    with eagerly():
        return trainer.train(config, root)


@pytest.fixture(scope="session")
def large_runs(home) -> dict[str, Run]:
    """Train every large model once, on images as small as it takes; a few timed calls are enough here."""
    runs, repeat = {}, timing.repeat
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "repeat", lambda call: repeat(call, warmup=1, iterations=2))
        for name in LARGE:
            profile = "tiny" if "tiny" in type(models.config_for(name)).PROFILES else ""
            fields = {"dataset": "tiny", "weights": "none", "epochs": 1, "batch_size": 52}
            smallest = max(32, type(models.config_for(name)).SMALLEST)
            config = models.config_for(name, profile, image_size=smallest, augmentation={}, **fields)
            runs[name] = evaluator.evaluate(train_eagerly(config, home / "large"))
    return runs


@pytest.mark.parametrize("name", LARGE)
def test_large_model_trains_reloads_and_predicts(large_runs, name):
    run = large_runs[name]
    assert run.finished and run.config()["initialisation"] == "random"
    fresh = models.build(run_loader.config_of(run), initial_weights=False)
    trained = run_loader.open_model(run)
    moved = [not np.array_equal(a, b) for a, b in zip(fresh.get_weights(), trained.get_weights(), strict=True)]
    assert np.mean(moved) > 0.9, "with random weights the whole network learns, its BatchNorm too"
    table = run.predictions("test")
    pixels = explainer.read_test(run, table["image"][:5]).astype(np.float32)
    np.testing.assert_allclose(trained.predict_on_batch(pixels), table.filter(like="p_").to_numpy()[:5], atol=1e-4)


@pytest.mark.parametrize("name", LARGE)
def test_large_model_is_explained(large_runs, name):
    run = large_runs[name]
    model = run_loader.open_model(run, logits=True)
    method = cam.methods_of(model)[1]  # Grad-CAM++, or rollout of a Vision Transformer
    with eagerly():
        explainer.explain(run, method)
    with np.load(run.file("heatmaps.npz"), allow_pickle=False) as kept:
        assert set(kept["layer"]) == {cam.check_layer(model, run.config()["heatmap_layer"])}
        assert set(kept["method"]) == {method}
        assert kept["map"].max() == 1


def test_frozen_features_give_what_ordinary_training_gives(home, monkeypatch):
    fields = {"dataset": "tiny", "image_size": 32, "weights": "none", "freeze": "always", "epochs": 3}
    config = models.config_for("resnet18", **fields, learning_rate=1e-4)
    reused = train_eagerly(config, home / "reused")
    assert files.read_json(reused.file("timing.json"))["training"]["feature_reuse_saved_seconds"] > 0
    monkeypatch.setattr(
        training_loop, "FeatureSource", lambda session, phase, stop: training_loop.PixelSource(session, frozen=True)
    )
    ordinary = train_eagerly(config, home / "ordinary")
    folder, classes = run_loader.split_of(reused).path, reused.config()["classes"]
    images = loader().read(folder, "test", classes, 32, 10**9)
    a, b = (run_loader.predict(run_loader.open_model(run), images) for run in (reused, ordinary))
    np.testing.assert_allclose(a, b, atol=1e-4)
    assert np.ptp(a, axis=0).max() > 1e-3, "a head that learned nothing would agree as well"
