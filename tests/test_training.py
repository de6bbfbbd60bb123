"""Real trainings of tiny networks on tiny synthetic smears, as processes where processes matter."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import PROJECT

import models
from models import evaluation, explaining, progress, runtime, schedule, session, training
from utils import artifacts
from utils.artifacts import Run
from utils.errors import LeukoBenchError

TINY = ("--dataset", "tiny", "--set", "image_size=32", "--set", "filters=[4,8,8]", "--set", "dense=8")
LARGE = [name for name in models.names() if name != "cnn"]


def tiny(**values):
    fields = {"dataset": "tiny", "image_size": 32, "filters": (4, 8, 8), "dense": 8, "epochs": 2} | values
    return models.config_for("cnn", **fields)


def only_run(root):
    (run,) = artifacts.find_runs(root)
    return run


def without_seconds(run):
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in run.history()]


def start(root, *options):
    return subprocess.Popen(
        [sys.executable, "-m", "models.cnn.train", *TINY, "--root", str(root), *options],
        cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for_an_epoch(process, root, seconds=120):
    end = time.monotonic() + seconds
    while not list(root.glob("cnn/*/history.csv")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def train_eagerly(config, root):
    """Train without a graph: tracing the first step of a large model takes a minute."""
    runtime.start()
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        return training.train(config, root)
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def uninterrupted(home):
    process = start(home / "straight", "--set", "epochs=4", "--set", "augmentation.flips=true", "--set", "batch_size=4")
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert not err, "a training that goes well says nothing on stderr"
    return only_run(home / "straight"), out


def test_a_run_folder_is_whole(uninterrupted):
    run, out = uninterrupted
    names = {path.name for path in run.path.iterdir()}
    assert names == {
        "config.json", "environment.json", "history.csv", "model.weights.h5", "architecture.json",
        "predictions.csv", "timing.json", "metrics.json",
    }  # fmt: skip
    assert run.finished and len(run.history()) == 4
    assert out.count("epoch ") == 4 and str(run.path) in out
    manifest = artifacts.Run.manifest_path(run)
    table = run.predictions()
    rows = {r["image"]: r for r in artifacts.files.read_csv(manifest, ("image", "split", "label"))}
    assert sorted(table["image"]) == sorted(name for name, r in rows.items() if r["split"] != "train")
    assert all(rows[r.image]["label"] == r.label and rows[r.image]["split"] == r.split for r in table.itertuples())
    timing, environment = run.timing(), run.environment()
    assert timing["training"]["seconds"] == pytest.approx(sum(r["seconds"] for r in run.history()))
    assert timing["training"]["best_epoch"] == schedule.best_epoch(run.history())["epoch"]
    assert timing["training"]["peak_memory_mb"] > timing["training"]["import_memory_mb"] > 100
    assert set(timing["inference"]["throughput"]) == {"1", "8", "32"}
    assert timing["inference"]["latency_ms_p95"] >= timing["inference"]["latency_ms_p50"] > 0
    assert timing["inference"]["bytes_on_disk"] == run.file("model.weights.h5").stat().st_size
    assert environment["threads"] >= 1 and environment["precision"] == "float32"


def test_parameters_and_flops_are_those_of_the_network(uninterrupted):
    measured = uninterrupted[0].timing()["inference"]
    convolutions = [(32, 3, 4), (16, 4, 8), (8, 8, 8)]
    weights = sum(9 * i * o + o for _, i, o in convolutions) + (4 * 4 * 8 * 8 + 8) + (8 * 4 + 4)
    assert measured["parameters"] == measured["trainable_parameters"] == weights
    multiply_adds = sum(s * s * 9 * i * o for s, i, o in convolutions) + 4 * 4 * 8 * 8 + 8 * 4
    assert 2 * multiply_adds < measured["flops"] < 2.5 * multiply_adds


def test_best_epoch_is_what_the_weights_predict(uninterrupted):
    run, _ = uninterrupted
    best = schedule.best_epoch(run.history())
    table = run.predictions("val")
    predicted = table.filter(like="p_").to_numpy().argmax(1)
    labels = [run.config()["classes"].index(label) for label in table["label"]]
    assert np.mean(predicted == labels) == pytest.approx(best["val_accuracy"], abs=1e-6)


def test_killed_and_resumed_equals_uninterrupted_byte_for_byte(uninterrupted, home, guide):
    straight, _ = uninterrupted
    root = home / "killed"
    process = start(root, "--set", "epochs=4", "--set", "augmentation.flips=true", "--set", "batch_size=4")
    wait_for_an_epoch(process, root)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    run = only_run(root)
    assert not run.finished and 1 <= len(run.history()) < 4
    done = guide("train", "--resume", run.id, "--root", str(root))
    assert done.returncode == 0, done.stderr
    assert only_run(root) == run and run.finished
    assert without_seconds(run) == without_seconds(straight)
    assert run.file("predictions.csv").read_bytes() == straight.file("predictions.csv").read_bytes()
    assert not run.file("state").exists()


def test_another_seed_is_another_result_on_the_same_test_images(uninterrupted, home):
    straight, _ = uninterrupted
    run = evaluation.evaluate(training.train(tiny(seed=43), home / "seed43"))
    assert run.environment()["test_identity"] == straight.environment()["test_identity"]
    assert run.file("predictions.csv").read_bytes() != straight.file("predictions.csv").read_bytes()


def test_ctrl_c_ends_after_the_step_and_keeps_what_was_learned(home, guide):
    root = home / "stopped"
    process = start(root, "--set", "epochs=500", "--set", "patience=500")
    wait_for_an_epoch(process, root)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    run = only_run(root)
    assert f"Go on with: python run_guide.py train --resume {run.id}" in out
    assert run.file("model.weights.h5").is_file() and not run.finished
    done = guide("evaluate", run.id, "--root", str(root))
    assert done.returncode == 0 and run.finished


def test_non_finite_loss_stops_and_leaves_the_last_good_weights(home):
    root = home / "overflow"
    run = training.train(tiny(epochs=1), root)
    before = run.file("model.weights.h5").read_bytes()
    import keras

    model = evaluation.open_model(run)
    model.set_weights([np.full(w.shape, np.nan, np.float32) for w in model.get_weights()])
    model.save_weights(home / "nan.weights.h5")
    with pytest.raises(LeukoBenchError, match=r"^The loss became nan at step 1; training stops and the weights of the"):
        training.train(tiny(weights=str(home / "nan.weights.h5")), root)
    assert run.file("model.weights.h5").read_bytes() == before
    del keras


def test_a_model_that_fails_does_not_stop_the_next(uninterrupted, home, guide):
    weights = uninterrupted[0].file("model.weights.h5")
    options = ("--dataset", "tiny", "--set", "image_size=32", "--set", "epochs=1", "--root", str(home / "several"))
    done = guide("train", "resnet50", "cnn", *options, "--set", f"weights={weights}")
    assert done.returncode == 1
    assert "does not fit the backbone of resnet50" in done.stderr
    assert "does not fit cnn" in done.stderr, "the second model is tried as well"
    assert "Traceback" not in done.stderr


def test_frozen_features_give_what_ordinary_training_gives(home, monkeypatch):
    config = models.config_for(
        "resnet50", dataset="tiny", image_size=32, weights="none", freeze="always", epochs=3, learning_rate=1e-4
    )
    reused = evaluation.evaluate(train_eagerly(config, home / "reused"))
    assert reused.timing()["training"]["feature_reuse_saved_seconds"] > 0
    monkeypatch.setattr(session, "_Features", lambda running, stop: session._Pixels(running))
    ordinary = evaluation.evaluate(train_eagerly(config, home / "ordinary"))
    for subset in ("val", "test"):
        a, b = (run.predictions(subset).filter(like="p_").to_numpy() for run in (reused, ordinary))
        np.testing.assert_allclose(a, b, atol=1e-4)
    assert np.ptp(a, axis=0).max() > 1e-3, "a head that learned nothing would agree as well"


@pytest.mark.parametrize("precision", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_every_precision_trains_reloads_in_float32_and_explains(home, precision):
    run = evaluation.evaluate(training.train(tiny(precision=precision, epochs=1), home / precision))
    assert run.environment()["precision"] == precision
    model = evaluation.open_model(run)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    for method in explaining.METHODS:
        explaining.explain(run, method)
    with np.load(run.file("heatmaps.npz"), allow_pickle=False) as kept:
        assert set(kept["method"]) == set(explaining.METHODS)
        assert kept["map"].shape[1:] == (32, 32) and np.isfinite(kept["map"]).all()
        assert kept["map"].min() >= 0 and kept["map"].max() == 1
        panel = kept["image"][(kept["purpose"] == "panel") & (kept["method"] == "gradcam")]
    assert list(panel) == explaining.panel(evaluation.split_of(run).manifest)


@pytest.fixture(scope="session")
def large_runs(home) -> dict[str, Run]:
    """Train every large model once."""
    runs = {}
    for name in LARGE:
        config = models.config_for(name, dataset="tiny", image_size=32, weights="none", epochs=1, batch_size=52)
        runs[name] = evaluation.evaluate(train_eagerly(config, home / "large"))
    return runs


@pytest.mark.parametrize("name", LARGE)
def test_large_model_trains_reloads_and_predicts(large_runs, name):
    run = large_runs[name]
    assert run.finished and run.config()["initialisation"] == "random"
    fresh = models.build(evaluation.config_of(run), initial_weights=False)
    trained = evaluation.open_model(run)
    moved = [not np.array_equal(a, b) for a, b in zip(fresh.get_weights(), trained.get_weights(), strict=True)]
    assert np.mean(moved) > 0.9, "with random weights the whole network learns, its BatchNorm too"
    folder = evaluation.split_of(run).path / "test"
    table = run.predictions("test")
    pixels = np.stack([explaining.load_image(folder / name, 32) for name in table["image"][:5]]).astype(np.float32)
    np.testing.assert_allclose(trained.predict_on_batch(pixels), table.filter(like="p_").to_numpy()[:5], atol=1e-4)


@pytest.mark.parametrize("name", LARGE)
def test_large_model_is_explained(large_runs, name):
    run = explaining.explain(large_runs[name], "gradcam++")
    with np.load(run.file("heatmaps.npz"), allow_pickle=False) as kept:
        assert set(kept["layer"]) == {run.config()["heatmap_layer"]}
        assert kept["map"].max() == 1


def test_dropout_is_a_function_of_seed_and_epoch():
    runtime.start(1)
    model = models.build(tiny(classes=("a", "b")))
    pixels = np.full((8, 32, 32, 3), 200, np.float32)
    outputs = []
    for seed, epoch in ((1, 1), (1, 2), (2, 1), (1, 1)):
        session.seed_dropout(model, seed, epoch)
        outputs.append(np.asarray(model(pixels, training=True)))
    np.testing.assert_array_equal(outputs[0], outputs[3])
    assert not np.array_equal(outputs[0], outputs[1]) and not np.array_equal(outputs[0], outputs[2])


def test_class_weights_are_the_balanced_ones():
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.array([0, 0, 0, 2, 2, 3])
    expected = compute_class_weight("balanced", classes=np.array([0, 2, 3]), y=labels)
    assert session.class_weights(labels) == pytest.approx(dict(zip([0, 2, 3], expected, strict=True)))


def test_second_ctrl_c_stops_at_once():
    stop = progress.StopSignal()
    with stop.listening():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(progress.Interrupted):
            stop.check()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
