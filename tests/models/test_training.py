"""Real trainings of tiny networks on tiny synthetic smears; in processes of their own where they are killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from checks import contents, one_line_error
from command_line import run_train
from fake_runs import FILES
from small_training import TINY, only_run, wait_for_an_epoch

import models
from data.datasets import importer
from data.loading.pipeline import loader
from guide import choices
from models.engine import launcher
from models.engine.backend import keras_backend
from models.engine.evaluation import evaluator, reproducibility
from models.engine.explain import explainer
from models.engine.layers import backbone
from models.engine.run_io import checkpoint, run_loader
from models.engine.training import loop as training_loop
from models.engine.training import progress_bar, trainer
from utils import heatmap_methods
from utils.errors import LeukoBenchError
from utils.paths import PROJECT
from utils.runs import run_folder
from utils.runs.history import best_epoch

FOUR_EPOCHS = ("--set", "epochs=4", "--set", "augmentation.flips=true", "--set", "batch_size=4")


def tiny(**values):
    fields = {"dataset": "tiny", "image_size": 32, "filters": (4, 8, 8), "dense": 8, "epochs": 2} | values
    return models.config_for("cnn", **fields)


def without_seconds(run):
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in run.history()]


def start(root, *options):
    return subprocess.Popen(
        [sys.executable, "-m", "models.cnn.train", *TINY, "--root", str(root), *options],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def uninterrupted(home):
    done = run_train("cnn", *TINY, "--root", home / "straight", *FOUR_EPOCHS)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return only_run(home / "straight"), done.stdout


def test_a_run_folder_is_complete(uninterrupted):
    run, out = uninterrupted
    assert {path.name for path in run.path.iterdir()} == {*FILES, "seal.json"}
    assert run.finished and len(run.history()) == 4
    assert {row["learning_rate"] for row in run.history()} == {run.config()["learning_rate"]}
    assert out.count("epoch ") == 4 and str(run.path) in out
    manifest = run_folder.Run.manifest_path(run)
    table = run.predictions()
    rows = {r["image"]: r for r in run_folder.files.read_csv(manifest, ("image", "split", "label"))}
    assert sorted(table["image"]) == sorted(name for name, r in rows.items() if r["split"] != "train")
    assert all(rows[r.image]["label"] == r.label and rows[r.image]["split"] == r.split for r in table.itertuples())
    timing, environment = run.timing(), run.environment()
    assert timing["training"]["seconds"] == pytest.approx(sum(r["seconds"] for r in run.history()))
    assert timing["training"]["best_epoch"] == best_epoch(run.history())["epoch"]
    assert timing["training"]["peak_memory_mb"] >= timing["training"]["import_memory_mb"] > 100
    assert set(timing["inference"]["throughput"]) == {"1", "8", "32"}
    assert timing["inference"]["latency_ms_p95"] >= timing["inference"]["latency_ms_p50"] > 0
    assert timing["inference"]["bytes_on_disk"] == run.file("model.weights.h5").stat().st_size
    assert environment["threads"] >= 1 and environment["precision"] == "float32"


def test_smearnet_trains_and_its_weights_give_the_recorded_predictions(home, tmp_path):
    fields = {"dataset": "tiny", "image_size": 32, "stem": 4, "filters": (4, 8), "blocks": (1, 1), "epochs": 1}
    config = models.config_for("smearnet", **fields, heatmap_layer="stage2_out")
    run = evaluator.evaluate(trainer.train(config, tmp_path))
    assert run.finished and [row["phase"] for row in run.history()] == ["train"]
    assert reproducibility.check(run).verdict == reproducibility.SAME


@pytest.fixture
def own_model(tmp_path, monkeypatch):
    """Add the model `cells`, a copy of cnn, as one folder that the package `models` finds; nothing else changes."""
    folder = tmp_path / "more-models" / "cells"
    folder.mkdir(parents=True)
    for path in (PROJECT / "models" / "cnn").glob("*.py"):
        (folder / path.name).write_text(path.read_text(encoding="utf-8").replace("cnn", "cells"), encoding="utf-8")
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(folder.parent)])
    yield "cells"
    for name in [name for name in sys.modules if name.startswith("models.cells")]:
        del sys.modules[name]
    vars(models).pop("cells", None)


def test_a_model_is_added_as_one_folder(own_model, home, guide, tmp_path):
    assert own_model in models.names()
    assert own_model in guide("models").stdout
    assert own_model in choices.choices_for("model", {}, tmp_path, "all").values
    done = run_train(own_model, *TINY, "--set", "epochs=1", "--root", tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    assert only_run(tmp_path / "runs").model == own_model
    assert own_model in guide("compare", "--root", tmp_path / "runs").stdout
    shown = guide("train", "cels").stderr
    assert "'cels'" in shown and f"'{own_model}'" in shown


def test_classes_of_another_dataset_come_from_its_manifest(home, tmp_path):
    for label, name in (("Benign", "healthy"), ("Pro", "ill")):
        shutil.copytree(home / "data" / "raw" / "tiny" / label, tmp_path / "in" / name)
    importer.import_dataset(tmp_path / "in", "renamed")
    assert trainer.prepare(tiny(dataset="renamed"))[0].classes == ("healthy", "ill")


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


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted_byte_for_byte(uninterrupted, home, guide):
    straight, _ = uninterrupted
    root = home / "killed"
    process = start(root, *FOUR_EPOCHS)
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
    memory = run.timing()["training"]
    assert memory["peak_memory_mb"] > memory["import_memory_mb"] > 100


class Killed(Exception):
    pass


def die_after(monkeypatch, epoch):
    """Let the next training end right after it has stored an epoch; `monkeypatch.undo` ends that."""
    finish = training_loop.Session._finish_epoch

    def die(self, row, trained, phase):
        finish(self, row, trained, phase)
        if row["epoch"] == epoch:
            raise Killed

    monkeypatch.setattr(training_loop.Session, "_finish_epoch", die)


def train_in_two_parts(monkeypatch, config, root, epoch):
    """Train a configuration that is stopped after an epoch and then resumed; return the evaluated run."""
    with monkeypatch.context() as patch:
        die_after(patch, epoch)
        with pytest.raises(Killed):
            trainer.train(config, root)
    run = only_run(root)
    trainer.train(run_loader.config_of(run), run.root, run)
    return evaluator.evaluate(run)


def test_a_resumed_run_equals_the_uninterrupted_one(uninterrupted, monkeypatch, tmp_path):
    straight, _ = uninterrupted
    config = tiny(epochs=4, augmentation={"flips": True}, batch_size=4)
    run = train_in_two_parts(monkeypatch, config, tmp_path, 2)
    assert without_seconds(run) == without_seconds(straight)
    assert run.file("predictions.csv").read_bytes() == straight.file("predictions.csv").read_bytes()


@pytest.mark.slow
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
    for cut in cuts:
        run = train_in_two_parts(monkeypatch, config, tmp_path / f"cut{cut}", cut)
        assert without_seconds(run) == without_seconds(straight)
        assert run.file("predictions.csv").read_bytes() == straight.file("predictions.csv").read_bytes()
        saved = run.timing()["training"]["feature_reuse_saved_seconds"]
        assert (saved is None) == augmented


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_file_missing_for_a_resume_is_one_line(home, small_backbone, monkeypatch, tmp_path):
    die_after(monkeypatch, 5)
    with pytest.raises(Killed):
        trainer.train(small_backbone, tmp_path)
    run = only_run(tmp_path)
    config = run_loader.config_of(run)
    for name in ("history.csv", "model.weights.h5", "state/epoch-0005.weights.h5", "environment.json"):
        kept = run.file(name).rename(tmp_path / "kept")
        before = contents(run.path)
        with one_line_error(Path(name).name):
            trainer.train(config, run.root, run)
        assert contents(run.path) == before, "nothing finished is lost"
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
    facts = r"resnet50 with batch_size=8 ran out of memory on CPU.*--set batch_size"
    with pytest.raises(keras_backend.OutOfMemory, match=facts):
        trainer.train(small_backbone, tmp_path)
    assert not run_folder.find_runs(tmp_path)


def test_a_full_disk_is_one_line_and_keeps_the_previous_weights(home, small_backbone, tmp_path, monkeypatch):
    keras_backend.start()
    model = models.build(small_backbone.replace(classes=("a", "b")))
    path = tmp_path / "new" / "x.weights.h5"
    checkpoint.save(model, path)
    before = path.read_bytes()
    reserve = checkpoint._reserve
    monkeypatch.setattr(checkpoint, "_reserve", lambda place, size: reserve(place, 10**18))  # more than any disk has
    with pytest.raises(LeukoBenchError, match=rf"Cannot write {path}: "):
        checkpoint.save(model, path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_a_finished_training_is_only_evaluated_and_a_finished_run_left_alone(uninterrupted, guide, home):
    run, _ = uninterrupted
    root = ("--root", str(home / "straight"))
    before = contents(run.path)
    done = run_train("cnn", "--resume", run.id, *root)
    assert done.returncode == 0 and "is finished" in done.stdout
    assert contents(run.path) == before
    run.file("metrics.json").unlink()
    done = run_train("cnn", "--resume", run.id, *root)
    assert done.returncode == 0 and run.finished and "epoch" not in done.stdout
    for name in ("history.csv", "predictions.csv", "metrics.json", "model.weights.h5"):
        assert run.file(name).read_bytes() == before[name]
    assert run.timing()["training"] == run_folder.files.json.loads(before["timing.json"])["training"]
    done = guide("train", "--resume", run.id, "--set", "epochs=9", *root)
    assert done.returncode == 1 and "--resume" in done.stderr and run.id in done.stderr


@pytest.mark.slow
def test_another_seed_is_another_result_on_the_same_test_images(uninterrupted, home):
    straight, _ = uninterrupted
    run = evaluator.evaluate(trainer.train(tiny(seed=43), home / "seed43"))
    assert run.environment()["test_identity"] == straight.environment()["test_identity"]
    assert run.file("predictions.csv").read_bytes() != straight.file("predictions.csv").read_bytes()


@pytest.mark.slow
def test_ctrl_c_ends_after_the_step_and_keeps_what_was_learned(home, guide):
    root = home / "stopped"
    process = start(root, "--set", "epochs=500", "--set", "patience=500")
    wait_for_an_epoch(process, root)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    run = only_run(root)
    assert f"python run_guide.py train --resume {run.id}" in out
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
    line = "loss became nan at step 1" if where == "in a step" else "validation loss became nan in epoch 2"
    with pytest.raises(LeukoBenchError, match=rf"{line}.*--set learning_rate.*--set precision"):
        trainer.train(tiny(), root)
    run = only_run(root)
    assert len(run.history()) == 1
    assert all(run.file(name).read_bytes() == content for name, content in kept.items())


@pytest.mark.slow
def test_a_model_that_fails_does_not_stop_the_next(uninterrupted, home, guide):
    file = uninterrupted[0].file("model.weights.h5")
    options = ("--dataset", "tiny", "--set", "image_size=32", "--set", "epochs=1", "--root", str(home / "several"))
    done = guide("train", "resnet18", "cnn", *options, "--set", f"weights={file}", command=("run_guide.py",))
    assert done.returncode == 1
    assert "does not fit the backbone of resnet18" in done.stderr
    assert "does not fit cnn" in done.stderr, "the second model is tried as well"
    assert "Traceback" not in done.stderr


@pytest.mark.slow
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


def test_dropout_is_a_function_of_seed_and_epoch_also_inside_a_backbone():
    import keras

    keras_backend.start(1)
    inner = keras.Sequential([keras.Input((8,)), keras.layers.Dropout(0.5), keras.layers.Dropout(0.5)], name="inner")
    inputs = keras.Input((8,))
    model = keras.Model(inputs, inner(keras.layers.Dropout(0.5)(inputs)))
    pixels = np.ones((64, 8), np.float32)
    outputs = []
    for seed, epoch in ((1, 1), (1, 2), (2, 1), (1, 1)):
        training_loop.seed_dropout(model, seed, epoch)
        outputs.append(np.asarray(model(pixels, training=True)))
    np.testing.assert_array_equal(outputs[0], outputs[3])
    assert not np.array_equal(outputs[0], outputs[1]) and not np.array_equal(outputs[0], outputs[2])
    training_loop.seed_dropout(model, 1, 1)
    states = {tuple(np.asarray(layer.seed_generator.state)) for layer in inner.layers}
    assert len(states) == 2, "layers draw apart from each other"


@pytest.mark.slow
def test_weight_decay_shrinks_weights(home, tmp_path):
    norms = []
    for decay in (0.0, 0.9):
        run = trainer.train(tiny(epochs=1, weight_decay=decay, learning_rate=1e-2), tmp_path / str(decay))
        norms.append(sum(float(np.square(w).sum()) for w in run_loader.open_model(run).get_weights()))
    assert norms[1] / norms[0] == pytest.approx((1 - 1e-2 * 0.9) ** 4, abs=0.01)  # two steps, squared


@pytest.mark.slow
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
