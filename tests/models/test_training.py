"""Real trainings of tiny networks on tiny synthetic smears, as processes where processes matter."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import models
from data.loading.pipeline import loader
from models.engine import launcher
from models.engine.backend import keras_backend
from models.engine.evaluation import evaluator
from models.engine.explain import explainer
from models.engine.layers import backbone  # fmt: skip
from models.engine.run_io import checkpoint, run_loader
from models.engine.training import loop as training_loop
from models.engine.training import progress_bar, trainer
from utils import heatmap_methods
from utils.errors import LeukoBenchError
from utils.paths import PROJECT
from utils.runs import run_folder
from utils.runs.history import best_epoch

TINY = ("--dataset", "tiny", "--set", "image_size=32", "--set", "filters=[4,8,8]", "--set", "dense=8")


def tiny(**values):
    fields = {"dataset": "tiny", "image_size": 32, "filters": (4, 8, 8), "dense": 8, "epochs": 2} | values
    return models.config_for("cnn", **fields)


def only_run(root):
    (run,) = run_folder.find_runs(root)
    return run


def without_seconds(run):
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in run.history()]


def finished_files(run):
    return {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file() and not p.name.startswith("features-")}


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
    manifest = run_folder.Run.manifest_path(run)
    table = run.predictions()
    rows = {r["image"]: r for r in run_folder.files.read_csv(manifest, ("image", "split", "label"))}
    assert sorted(table["image"]) == sorted(name for name, r in rows.items() if r["split"] != "train")
    assert all(rows[r.image]["label"] == r.label and rows[r.image]["split"] == r.split for r in table.itertuples())
    timing, environment = run.timing(), run.environment()
    assert timing["training"]["seconds"] == pytest.approx(sum(r["seconds"] for r in run.history()))
    assert timing["training"]["best_epoch"] == best_epoch(run.history())["epoch"]
    assert timing["training"]["peak_memory_mb"] > timing["training"]["import_memory_mb"] > 100
    assert set(timing["inference"]["throughput"]) == {"1", "8", "32"}
    assert timing["inference"]["latency_ms_p95"] >= timing["inference"]["latency_ms_p50"] > 0
    assert timing["inference"]["bytes_on_disk"] == run.file("model.weights.h5").stat().st_size
    assert environment["threads"] >= 1 and environment["precision"] == "float32"


def test_parameters_and_flops_are_those_of_the_network(uninterrupted):
    measured = uninterrupted[0].timing()["inference"]
    convolutions = [(32, 3, 4), (16, 4, 8), (8, 8, 8)]
    count = sum(9 * i * o + o for _, i, o in convolutions) + (4 * 4 * 8 * 8 + 8) + (8 * 4 + 4)
    assert measured["parameters"] == measured["trainable_parameters"] == count
    multiply_adds = sum(s * s * 9 * i * o for s, i, o in convolutions) + 4 * 4 * 8 * 8 + 8 * 4
    assert 2 * multiply_adds < measured["flops"] < 2.5 * multiply_adds


def test_best_epoch_is_what_the_weights_predict(uninterrupted):
    run, _ = uninterrupted
    best = best_epoch(run.history())
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


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    ("precision", "augmented", "cuts"),
    [("float32", False, (2, 3, 4)), ("float32", True, (2,)), ("mixed_float16", False, (5,))],
)
def test_a_resume_in_either_phase_equals_the_uninterrupted_run(
    home, small_backbone, monkeypatch, tmp_path, precision, augmented, cuts
):
    config = small_backbone.replace(precision=precision, augmentation={"flips": augmented})
    straight = evaluator.evaluate(trainer.train(config, tmp_path / "straight"))
    assert [row["phase"] for row in straight.history()] == 3 * ["head"] + 3 * ["fine-tune"]
    finish = training_loop.Session._finish_epoch
    for cut in cuts:

        def die(self, row, trained, phase, cut=cut):
            finish(self, row, trained, phase)
            if row["epoch"] == cut:
                raise Killed

        monkeypatch.setattr(training_loop.Session, "_finish_epoch", die)
        with pytest.raises(Killed):
            trainer.train(config, tmp_path / f"cut{cut}")
        monkeypatch.setattr(training_loop.Session, "_finish_epoch", finish)
        run = only_run(tmp_path / f"cut{cut}")
        trainer.train(run_loader.config_of(run), run.root, run)
        evaluator.evaluate(run)
        assert without_seconds(run) == without_seconds(straight)
        assert run.file("predictions.csv").read_bytes() == straight.file("predictions.csv").read_bytes()
        saved = run.timing()["training"]["feature_reuse_saved_seconds"]
        assert (saved is None) == augmented


def test_a_frozen_base_trains_in_inference_mode_and_counts_as_not_trainable(home, small_backbone, tmp_path):
    config = small_backbone.replace(freeze="always", epochs=2, augmentation={"flips": True})
    run = evaluator.evaluate(trainer.train(config, tmp_path))
    assert {row["phase"] for row in run.history()} == {"head"}
    measured = run.timing()["inference"]
    head = (6 * 8 + 8) + (8 * 4 + 4)
    assert measured["trainable_parameters"] == head < measured["parameters"]
    keras_backend.start(config.seed)
    model = models.build(run_loader.config_of(run))
    frozen = backbone.with_frozen_base(model)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.float32)
    base, head_alone = backbone.split_at_head(model)
    training_loop.seed_dropout(model, 1, 1)
    expected = head_alone(base(pixels, training=False), training=True)
    training_loop.seed_dropout(model, 1, 1)
    np.testing.assert_allclose(frozen(pixels, training=True), expected, atol=1e-6)


def test_what_a_resume_needs_and_lost_is_said_in_one_line(home, small_backbone, monkeypatch, tmp_path):
    finish = training_loop.Session._finish_epoch

    def die(self, row, trained, phase):
        finish(self, row, trained, phase)
        if row["epoch"] == 5:
            raise Killed

    monkeypatch.setattr(training_loop.Session, "_finish_epoch", die)
    with pytest.raises(Killed):
        trainer.train(small_backbone, tmp_path)
    run = only_run(tmp_path)
    config = run_loader.config_of(run)
    for name in ("history.csv", "model.weights.h5", "state/epoch-0005.weights.h5", "environment.json"):
        kept = run.file(name).rename(tmp_path / "kept")
        before = finished_files(run)
        with pytest.raises(LeukoBenchError, match=r"has no |more were trained") as caught:
            trainer.train(config, run.root, run)
        assert Path(name).name in str(caught.value) and "\n" not in str(caught.value)
        assert finished_files(run) == before, "nothing finished is lost"
        kept.rename(run.file(name))


def test_a_smaller_batch_is_tried_while_the_gpu_is_too_small(monkeypatch):
    calls = []

    def run(name, script, options, log=None, watch=None):
        calls.append((name, [o for o in options if o.startswith("batch_size")][-1:]))
        if name == "cnn":
            return launcher.OUT_OF_GPU_MEMORY if len(calls) < 3 else 0
        return -signal.SIGKILL

    monkeypatch.setattr(launcher, "_run", run)
    outcomes = launcher.train_each(["cnn", "resnet50"], [], {"cnn": 32, "resnet50": 32})
    assert calls == [("cnn", []), ("cnn", ["batch_size=16"]), ("cnn", ["batch_size=8"]), ("resnet50", [])]
    assert [outcome.status for outcome in outcomes] == [0, -signal.SIGKILL]


def test_a_first_batch_that_does_not_fit_leaves_no_run_behind(home, small_backbone, monkeypatch, tmp_path):
    import tensorflow as tf

    def too_large(self):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM")

    monkeypatch.setattr(training_loop.Session, "train", too_large)
    with pytest.raises(
        keras_backend.OutOfMemory, match=r"^resnet50 with batch_size=8 ran out of memory on CPU\. Use a smaller"
    ):
        trainer.train(small_backbone, tmp_path)
    assert not run_folder.find_runs(tmp_path)


def test_a_full_disk_is_one_line_and_keeps_the_weights_of_before(home, small_backbone, tmp_path, monkeypatch):
    keras_backend.start()
    model = models.build(small_backbone.replace(classes=("a", "b")))
    path = tmp_path / "new" / "x.weights.h5"
    checkpoint.save(model, path)
    before = path.read_bytes()
    reserve = checkpoint._reserve
    monkeypatch.setattr(checkpoint, "_reserve", lambda place, size: reserve(place, 10**18))  # more than any disk has
    with pytest.raises(LeukoBenchError, match=rf"^Cannot write {path}: .*\. Free space or choose a folder"):
        checkpoint.save(model, path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_a_finished_training_is_only_evaluated_and_a_finished_run_left_alone(uninterrupted, guide, home):
    run, _ = uninterrupted
    root = ("--root", str(home / "straight"))
    before = {path.name: path.read_bytes() for path in run.path.iterdir()}
    done = guide("train", "--resume", run.id, *root)
    assert done.returncode == 0 and "is finished" in done.stdout
    assert {path.name: path.read_bytes() for path in run.path.iterdir()} == before
    run.file("metrics.json").unlink()
    done = guide("train", "--resume", run.id, *root)
    assert done.returncode == 0 and run.finished and "epoch" not in done.stdout
    for name in ("history.csv", "predictions.csv", "metrics.json", "model.weights.h5"):
        assert run.file(name).read_bytes() == before[name]
    assert run.timing()["training"] == run_folder.files.json.loads(before["timing.json"])["training"]
    done = guide("train", "--resume", run.id, "--set", "epochs=9", *root)
    assert done.returncode == 1 and "--resume continues" in done.stderr


def test_another_seed_is_another_result_on_the_same_test_images(uninterrupted, home):
    straight, _ = uninterrupted
    run = evaluator.evaluate(trainer.train(tiny(seed=43), home / "seed43"))
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


@pytest.mark.parametrize("where", ["in a step", "in the validation"])
def test_non_finite_loss_stops_and_leaves_the_last_good_weights(home, monkeypatch, where):
    finish = training_loop.Session._finish_epoch
    kept = {}

    def spoil_after_the_first(self, row, trained, phase):
        if row["epoch"] == 2:  # reached only where the validation is spoiled
            row = row | {"val_loss": float("nan")}
        finish(self, row, trained, phase)
        kept.update({name: self.run.file(name).read_bytes() for name in ("model.weights.h5", "history.csv")})
        if where == "in a step":
            trained.set_weights([np.full(w.shape, np.nan, np.float32) for w in trained.get_weights()])

    monkeypatch.setattr(training_loop.Session, "_finish_epoch", spoil_after_the_first)
    root = home / f"overflow {where}"
    line = "The loss became nan at step 1;" if where == "in a step" else "The validation loss became nan in epoch 2;"
    with pytest.raises(LeukoBenchError, match=rf"^{line} .* are kept\. Try a lower --set learning_rate, or --set prec"):
        trainer.train(tiny(), root)
    run = only_run(root)
    assert len(run.history()) == 1
    assert all(run.file(name).read_bytes() == content for name, content in kept.items())


def test_a_model_that_fails_does_not_stop_the_next(uninterrupted, home, guide):
    file = uninterrupted[0].file("model.weights.h5")
    options = ("--dataset", "tiny", "--set", "image_size=32", "--set", "epochs=1", "--root", str(home / "several"))
    done = guide("train", "resnet18", "cnn", *options, "--set", f"weights={file}")
    assert done.returncode == 1
    assert "does not fit the backbone of resnet18" in done.stderr
    assert "does not fit cnn" in done.stderr, "the second model is tried as well"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("precision", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_every_precision_trains_reloads_in_float32_and_explains(home, precision):
    run = evaluator.evaluate(trainer.train(tiny(precision=precision, epochs=1), home / precision))
    assert run.environment()["precision"] == precision
    model = run_loader.open_model(run)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    for method in heatmap_methods.names(heatmap_methods.CONVOLUTIONS):
        explainer.explain(run, method)
    with np.load(run.file("heatmaps.npz"), allow_pickle=False) as kept:
        assert set(kept["method"]) == set(heatmap_methods.names(heatmap_methods.CONVOLUTIONS))
        assert kept["map"].shape[1:] == (32, 32) and np.isfinite(kept["map"]).all()
        assert kept["map"].min() >= 0 and kept["map"].max() == 1
        panel = kept["image"][(kept["purpose"] == "panel") & (kept["method"] == "gradcam")]
    assert list(panel) == explainer.panel(run_loader.split_of(run).manifest)


def test_dropout_is_a_function_of_seed_and_epoch():
    keras_backend.start(1)
    model = models.build(tiny(classes=("a", "b")))
    pixels = np.full((8, 32, 32, 3), 200, np.float32)
    outputs = []
    for seed, epoch in ((1, 1), (1, 2), (2, 1), (1, 1)):
        training_loop.seed_dropout(model, seed, epoch)
        outputs.append(np.asarray(model(pixels, training=True)))
    np.testing.assert_array_equal(outputs[0], outputs[3])
    assert not np.array_equal(outputs[0], outputs[1]) and not np.array_equal(outputs[0], outputs[2])


def test_dropout_inside_a_backbone_is_a_function_of_seed_and_epoch_too():
    import keras

    keras_backend.start(1)
    inner = keras.Sequential([keras.Input((8,)), keras.layers.Dropout(0.5), keras.layers.Dropout(0.5)], name="inner")
    inputs = keras.Input((8,))
    model = keras.Model(inputs, inner(keras.layers.Dropout(0.5)(inputs)))
    pixels = np.ones((64, 8), np.float32)
    outputs = []
    for seed, epoch in ((1, 1), (1, 2), (1, 1)):
        training_loop.seed_dropout(model, seed, epoch)
        outputs.append(np.asarray(model(pixels, training=True)))
    np.testing.assert_array_equal(outputs[0], outputs[2])
    assert not np.array_equal(outputs[0], outputs[1])
    training_loop.seed_dropout(model, 1, 1)
    states = {tuple(np.asarray(layer.seed_generator.state)) for layer in inner.layers}
    assert len(states) == 2, "layers draw apart from each other"


def test_the_rate_drops_within_a_phase_and_starts_anew_in_the_next(home, small_backbone, tmp_path):
    config = small_backbone.replace(rate_drop_every=2, rate_drop=0.1, learning_rate=1e-2, fine_tune_learning_rate=1e-3)
    run = trainer.train(config, tmp_path)
    rates = [row["learning_rate"] for row in run.history()]
    assert rates == pytest.approx([1e-2, 1e-2, 1e-3, 1e-3, 1e-3, 1e-4])


def test_weight_decay_shrinks_weights(home, tmp_path):
    norms = []
    for decay in (0.0, 0.9):
        run = trainer.train(tiny(epochs=1, weight_decay=decay, learning_rate=1e-2), tmp_path / str(decay))
        norms.append(sum(float(np.square(w).sum()) for w in run_loader.open_model(run).get_weights()))
    assert norms[1] / norms[0] == pytest.approx((1 - 1e-2 * 0.9) ** 4, abs=0.01)  # two steps, squared


def test_a_variant_is_what_training_and_evaluation_see_and_names_its_reference(home, tmp_path):
    run = evaluator.evaluate(trainer.train(tiny(variant="reinhard", epochs=1), tmp_path))
    config, split = run_loader.config_of(run), run_loader.split_of(run)
    rows = {row.image: row.split for row in split.manifest.rows}
    assert rows[config.variant.reference] == "train" and len(config.variant.statistics) == 6
    assert run.label() == "cnn (reinhard)"
    again = trainer.train(tiny(variant={"name": "reinhard", "reference": config.variant.reference}, epochs=1), tmp_path)
    assert run_loader.config_of(again).variant == config.variant
    seen = run_loader.read(config, split, "test")
    plain = loader().read(split.path, "test", config.classes, 32, 10**9)
    assert seen.names == plain.names and not np.array_equal(seen.pixels, plain.pixels)
    streamed = run_loader.read(config.replace(cache_mb=0), split, "test")
    cached, decoded = (next(iter(loader().fixed_batches(each, 4)))[0].numpy() for each in (seen, streamed))
    np.testing.assert_array_equal(cached, decoded)
    for name in ("Pro/no.png", seen.names[0]):  # a test image as reference would shape the training
        line = rf"^Field 'variant\.reference' received '{name}', which is no training image of this split\."
        with pytest.raises(LeukoBenchError, match=line):
            trainer.prepare(tiny(variant={"name": "macenko", "reference": name}))
    other = next(row.image for row in split.manifest.subset("train") if row.image != config.variant.reference)
    stale = config.variant.model_copy(update={"reference": other})
    assert trainer.prepare(config.replace(variant=stale))[0].variant.statistics != config.variant.statistics


def test_class_weights_are_the_balanced_ones():
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.array([0, 0, 0, 2, 2, 3])
    expected = compute_class_weight("balanced", classes=np.array([0, 2, 3]), y=labels)
    assert training_loop.class_weights(labels) == pytest.approx(dict(zip([0, 2, 3], expected, strict=True)))


def test_second_ctrl_c_stops_at_once():
    stop = progress_bar.StopSignal()
    with stop.listening():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(progress_bar.Interrupted):
            stop.check()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
