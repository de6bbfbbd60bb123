"""Several devices share each batch: logical CPUs instead of GPUs, with TensorFlow and with JAX."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from utils.paths import PROJECT
from utils.runs import run_folder

TRAIN = """
import json, os
from pathlib import Path

if os.environ["KERAS_BACKEND"] == "tensorflow":
    import tensorflow as tf

    processor = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
import numpy as np
import models
from models.engine.backend import distribution
from models.engine.evaluation import evaluator
from models.engine.backend import keras_backend
from models.engine.training import trainer
from utils.errors import LeukoBenchError

FIELDS = {"dataset": "tiny", "image_size": 32, "epochs": 3, "batch_size": 8, "seed": 1, "learning_rate": 3e-3}
FIELDS |= {"filters": (4, 8, 8), "dense": 8, "dropout": 0.0, "class_weights": True, "augmentation": {"flips": True}}

def trained(name, wanted, **fields):
    run = trainer.train(models.config_for("cnn", **FIELDS | fields), Path(ROOT, name), devices=wanted)
    evaluator.evaluate(run)
    return str(run.path)

found = {"errors": []}
# 48 images are six batches; 51 leave three over, which two devices cannot share.
for name, split in (("even", "60/20/20"), ("odd", "64/16/20")):
    found[name] = [trained(f"{name}-{wanted or 1}", wanted, split=split) for wanted in ("", "all")]
found["again"] = trained("again", "2", split="64/16/20")
for wanted, batch in (("3", 8), ("many", 8), ("all", 9), ("2", 1)):
    try:
        distribution.choose(wanted, batch)
    except LeukoBenchError as problem:
        found["errors"].append(str(problem))
print(json.dumps(found))
"""


@pytest.fixture(scope="module", params=["tensorflow", "jax"])
def found(request, home):
    """Runs on one and on two devices, as paths of run folders, and the error lines of invalid choices."""
    if request.param == "jax":
        pytest.importorskip("jax")
    variables = {"KERAS_BACKEND": request.param, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    root = str(home / f"devices-{request.param}")
    done = subprocess.run(
        [sys.executable, "-c", f"ROOT = {root!r}\n{TRAIN}"],
        env=os.environ | variables,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return request.param, json.loads(done.stdout.splitlines()[-1])


def probabilities(path):
    return run_folder.Run(Path(path)).predictions().filter(like="p_").to_numpy()


def test_two_devices_learn_what_one_learns(found):
    _, runs = found
    one, two = (run_folder.Run(Path(path)) for path in runs["even"])
    assert {p.name for p in one.path.iterdir()} == {p.name for p in two.path.iterdir()}
    assert one.environment()["devices"] == ["CPU:0"] and two.environment()["devices"] == ["CPU:0", "CPU:1"]
    np.testing.assert_allclose(probabilities(runs["even"][1]), probabilities(runs["even"][0]), atol=1e-4)
    for first, second in zip(one.history(), two.history(), strict=True):
        assert second["loss"] == pytest.approx(first["loss"], abs=1e-4)
        assert second["accuracy"] == pytest.approx(first["accuracy"], abs=1e-6)
        assert second["val_accuracy"] == pytest.approx(first["val_accuracy"], abs=1e-6)


def test_a_last_batch_that_the_devices_do_not_divide_is_trained_and_validated(found):
    backend, runs = found
    one, two = (run_folder.Run(Path(path)) for path in runs["odd"])
    last = one.history()[-1], two.history()[-1]
    # JAX computes what one device would; a copy on each device leaves one of 51 images out.
    tolerance = 1e-4 if backend == "jax" else 0.05
    assert last[1]["loss"] == pytest.approx(last[0]["loss"], abs=tolerance)
    images = 51 if backend == "jax" else 50
    assert two.history()[0]["accuracy"] * images == pytest.approx(
        round(two.history()[0]["accuracy"] * images), abs=1e-3
    )
    # The 13 validation images are all seen, an empty share of the last batch included.
    assert last[1]["val_accuracy"] * 13 == pytest.approx(round(last[1]["val_accuracy"] * 13), abs=1e-3)
    assert np.isfinite(last[1]["val_loss"])


def test_the_same_seed_gives_the_same_run_on_two_devices(found):
    _, runs = found
    np.testing.assert_array_equal(probabilities(runs["again"]), probabilities(runs["odd"][1]))


def test_an_invalid_choice_is_one_line(found):
    _, runs = found
    facts = [("'3'", "CPU:0, CPU:1"), ("'many'", "CPU:0, CPU:1"), ("9 images", "batch_size=8"), ("1 images", "=2")]
    for line, needed in zip(runs["errors"], facts, strict=True):
        assert "\n" not in line and all(fact in line for fact in needed)


def test_the_command_passes_devices_to_the_training(guide, home):
    tiny = ("--dataset", "tiny", "--set", "image_size=32", "--root", str(home / "devices-none"))
    variables = {"command": ("run_guide.py",), "CUDA_VISIBLE_DEVICES": "-1"}
    done = guide("train", "cnn", "--devices", "2", *tiny, **variables)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1 and "'2'" in line and "available: CPU:0." in line
