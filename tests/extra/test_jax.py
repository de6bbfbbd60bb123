"""Training, evaluation and timing with JAX without TensorFlow; errors of commands that need TensorFlow."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from command_line import run_code
from fake_runs import FILES
from PIL import Image
from small_training import TINY, epoch_as_json, only_run, wait_for_an_epoch

from data.loading.pipeline import loader
from utils.paths import PROJECT

pytest.importorskip("jax")

# Python imports sitecustomize at its start; from then on there is no TensorFlow, as on a machine without it.
WITHOUT_TENSORFLOW = """
import sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "tensorflow_text", "tf_keras_vis"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Finder())
"""
CHANGES = "augmentation.flips=true", "augmentation.rotation=20", "intervention.grey=0.5"
EPOCHS = 4


@pytest.fixture(scope="module")
def guide(guide):
    """Run `run_guide.py` in a process of its own, whose Keras has another backend."""
    return functools.partial(guide, command=("run_guide.py",))


@pytest.fixture(scope="module")
def bare(home, tmp_path_factory):
    """Environment variables that hide TensorFlow and name no backend."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "sitecustomize.py").write_text(WITHOUT_TENSORFLOW)
    path = [str(folder), str(PROJECT), str(PROJECT / "tests" / "support"), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, path)), "KERAS_BACKEND": ""}


@pytest.fixture(scope="module")
def jax(bare):
    return bare | {"KERAS_BACKEND": "jax"}


def options(root, epochs=EPOCHS):
    changes = [part for each in CHANGES for part in ("--set", each)]
    return [*TINY, "--set", f"epochs={epochs}", "--set", "batch_size=8", *changes, "--root", str(root)]


@pytest.fixture(scope="module")
def trained(home, guide, jax):
    done = guide("train", "cnn", *options(home / "jax"), **jax)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "a training that goes well says nothing on stderr"
    return only_run(home / "jax")


def test_the_run_folder_is_the_same(trained):
    assert {path.name for path in trained.path.iterdir()} == {*FILES, "seal.json"}
    made = trained.environment()
    assert (made["backend"], made["device"], made["devices"]) == ("jax", "CPU", ["CPU:0"])
    assert made["deterministic"] and made["precision"] == "float32" and made["packages"]["jax"]
    assert len(trained.history()) == EPOCHS and trained.metrics()["test"]["images"] == 16
    inference = trained.timing()["inference"]
    assert inference["flops_counted_by"] == "jax cost analysis"
    # As test_training counts them for this network: the profiler of TensorFlow lies within the same bounds.
    convolutions = [(32, 3, 4), (16, 4, 8), (8, 8, 8)]
    multiply_adds = sum(s * s * 9 * i * o for s, i, o in convolutions) + 4 * 4 * 8 * 8 + 8 * 4
    assert 1.7 * multiply_adds < inference["flops"] < 2.5 * multiply_adds
    assert trained.timing()["training"]["peak_memory_mb"] > trained.timing()["training"]["import_memory_mb"] > 50


def test_killed_and_resumed_with_jax_equals_uninterrupted(trained, home, guide, jax):
    root = home / "jax-killed"
    process = subprocess.Popen(
        [sys.executable, "-m", "models.cnn.train", *options(root)],
        cwd=PROJECT,
        env=os.environ | jax,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_for_an_epoch(process, root)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    run = only_run(root)
    if len(run.history()) == EPOCHS:
        pytest.skip("the training was over before it could be killed")
    refused = guide("train", "--resume", run.id, "--root", str(root))
    assert refused.returncode == 1 and "KERAS_BACKEND=jax" in refused.stderr and "tensorflow" in refused.stderr
    done = guide("train", "--resume", run.id, "--root", str(root), **jax)
    assert done.returncode == 0, done.stderr
    assert run.file("predictions.csv").read_bytes() == trained.file("predictions.csv").read_bytes()


def test_predictions_of_given_weights_agree_with_tensorflow(small_run, home, guide, jax):
    root = home / "jax-evaluated"
    shutil.copytree(small_run.root, root)
    run = only_run(root)
    done = guide("evaluate", run.id, "--root", str(root), **jax)
    assert done.returncode == 0, done.stderr
    before, now = small_run.predictions(), run.predictions()
    assert list(before["image"]) == list(now["image"]) and list(before["label"]) == list(now["label"])
    np.testing.assert_allclose(now.filter(like="p_"), before.filter(like="p_"), atol=1e-5)
    counts = [each.timing()["inference"]["flops"] for each in (small_run, run)]
    assert counts[1] == pytest.approx(counts[0], rel=0.1)


BATCHES = """
from pathlib import Path
from data.loading.pipeline import loader
from small_training import epoch_as_json

images = loader().read(Path(FOLDER), "train", CLASSES, 32, BUDGET)
assert (images.pixels is None) == (BUDGET == 0)
print(epoch_as_json(images))
"""


@pytest.mark.parametrize("budget", [10**9, 0], ids=["in memory", "decoded again"])
def test_batches_are_those_of_tensorflow(budget, tmp_path, jax):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(6):
            picture = Image.fromarray(rng.integers(0, 256, (6, 7, 3), dtype=np.uint8)).resize((48, 40))
            picture.save(tmp_path / "train" / name / f"{number}.{'jpg' if number % 2 else 'png'}")
    settings = f"FOLDER, CLASSES, BUDGET = {str(tmp_path)!r}, ('a', 'b'), {budget}\n"
    found = json.loads(run_code(settings + BATCHES, **jax))
    expected = json.loads(epoch_as_json(loader().read(tmp_path, "train", ("a", "b"), 32, budget)))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if name == "strong":  # the last digits of a bilinear mixture
            np.testing.assert_allclose(found[name], value, atol=0.05)
        else:
            assert found[name] == value, name


def test_what_needs_tensorflow_says_so(trained, guide, jax):
    done = guide("explain", trained.id, "--root", str(trained.root), **jax)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert all(fact in line for fact in ("needs TensorFlow", "KERAS_BACKEND is jax", "requirements.txt"))


@pytest.mark.parametrize(
    ("backend", "facts"),
    [("", ("TensorFlow is not installed", "KERAS_BACKEND=jax")), ("numpy", ("'numpy'", "tensorflow, jax"))],
)
def test_a_missing_or_unknown_backend_is_one_line(backend, facts, bare, guide, home):
    done = guide("train", "cnn", *options(home / "none"), **bare | {"KERAS_BACKEND": backend})
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1 and all(fact in line for fact in facts)


FROZEN = """
import models
from pathlib import Path
from models.engine.layers import head
from models.engine.training import trainer

def build(config, initial_weights=True, logits=False):
    import keras

    inputs = head.image_input(config)
    x = keras.layers.Conv2D(6, 3, strides=2, activation="relu", name="conv")(inputs)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(keras.layers.BatchNormalization(name="norm")(x))
    return keras.Model(inputs, head.classifier(x, config, logits), name="small")

models.build = build
fields = dict(dataset="tiny", image_size=32, weights="none", freeze="always", epochs=2, batch_size=8, dropout=0.3)
for _ in range(2):
    run = trainer.train(models.config_for("keras:MobileNetV3Small", **fields), Path(ROOT))
    print(run.history()[-1]["val_loss"])
"""


def test_frozen_features_are_kept_and_reused_with_jax(home, jax):
    out = run_code(f"ROOT = {str(home / 'jax-frozen')!r}\n" + FROZEN, **jax)
    assert "running the frozen base once" in out and "cached" in out
    losses = [line for line in out.splitlines() if line[:1].isdigit()]
    assert len(losses) == 2 and losses[0] == losses[1]
