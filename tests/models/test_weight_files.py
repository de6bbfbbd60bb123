"""Files of weights are judged by their content: any name, the layouts of Keras 2 and 3, whole models of both."""

import os
import zipfile

import h5py
import numpy as np
import pytest
from checks import assert_facts, one_line_error

import models
from models.engine.backend import keras_backend
from models.engine.layers import weight_file
from models.engine.run_io import run_loader
from utils.errors import LeukoBenchError
from utils.runs import run_folder


def keras2(group, model, named=lambda layer, weight: f"{layer.name}/{weight.name}:0", parts=False):
    """Write weights as Keras 2 does: names as attributes, in parts if they are long, one group for each layer."""
    names = [layer.name.encode() for layer in model.layers]
    if parts:
        group.attrs["layer_names0"], group.attrs["layer_names1"] = names[:2], names[2:]
    else:
        group.attrs["layer_names"] = names
    group.attrs["backend"], group.attrs["keras_version"] = b"tensorflow", b"2.15.0"
    for layer in model.layers:
        place = group.create_group(layer.name)
        weights = [*layer.trainable_weights, *layer.non_trainable_weights]
        place.attrs["weight_names"] = [named(layer, weight).encode() for weight in weights]
        for weight in weights:
            place[named(layer, weight)] = np.asarray(weight)


def write_keras2(model, path, **changes):
    with h5py.File(path, "w") as file:
        keras2(file, model, **changes)


def write_whole_keras2(model, path):
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = b'{"class_name": "Functional", "config": {"layers": [{"class_name": "Lambda"}]}}'
        keras2(file.create_group("model_weights"), model)


def write_keras3(model, path):
    model.save_weights(path.with_name("new.weights.h5"))
    path.with_name("new.weights.h5").replace(path)


def write_whole_keras3(model, path):
    model.save(path.with_name("new.keras"))
    path.with_name("new.keras").replace(path)


LAYOUTS = {
    "Keras 3": write_keras3,
    "Keras 2": write_keras2,
    "Keras 2, names in parts": lambda model, path: write_keras2(model, path, parts=True),
    "Keras 2, other names": lambda model, path: write_keras2(
        model, path, named=lambda layer, weight: f"x_{layer.name}_{weight.name}"
    ),
    "whole, Keras 2": write_whole_keras2,
    "whole, Keras 3": write_whole_keras3,
}
NAMES = ("model.weights (1).h5", "MODEL.WEIGHTS.H5", "best.hdf5", "net.keras", "weights", "Kopie von w.bin", "ü.pt")


@pytest.fixture(scope="module")
def trained(small_run):
    """The opened model of the small run and its configuration."""
    return run_loader.open_model(small_run), run_loader.config_of(small_run)


@pytest.mark.parametrize(("number", "layout"), list(enumerate(LAYOUTS)), ids=list(LAYOUTS))
def test_a_run_and_a_new_training_take_weights_of_any_name_and_layout(run, trained, number, layout):
    source, config = trained
    for name in (NAMES[number], NAMES[(number + 3) % len(NAMES)]):
        usual = run.file(run_folder.WEIGHTS)
        usual.unlink(missing_ok=True)
        path = run.file(name)
        LAYOUTS[layout](source, path)
        assert run.weights == path
        opened = run_loader.open_model(run)
        begun = models.build(config.replace(weights=str(path)))
        for expected, *received in zip(source.weights, opened.weights, begun.weights, strict=True):
            for variable in received:
                np.testing.assert_array_equal(variable, expected)
        path.rename(usual)  # and with the usual name
        run_loader.open_model(run)
        usual.unlink()


def test_only_one_candidate_is_taken(run):
    usual = run.file(run_folder.WEIGHTS)
    content = usual.read_bytes()
    run.file("model.weights (1).h5").write_bytes(b"other")
    assert run.weights == usual, "the usual name is preferred"
    usual.unlink()
    assert run.weights == usual, "no candidate"
    for name in ("a.h5", "b.h5"):
        run.file(name).write_bytes(content)
    os.mkfifo(run.file("pipe"))
    assert run.weights == usual, "two candidates"
    with one_line_error(run.id, run_folder.WEIGHTS, "a.h5", "b.h5"):
        run_loader.open_model(run)


def bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(run_folder.WEIGHTS, bytes(300_000_000))


def linked(path):
    with h5py.File(path, "w") as file:
        file["layers"] = h5py.ExternalLink("/etc/passwd", "/")


def outside(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/a", (4,), "u1", external=[("/etc/passwd", 0, 4)])


def endless(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/a", (1 << 40,), "f4", chunks=True)


def looped(path):
    with h5py.File(path, "w") as file:
        file["layers/a"] = file["/"]


def archive(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", b"cos\nsystem\n(S'touch /tmp/never'\ntR.")


STRANGE = {
    "text": (lambda path: path.write_text("weights"), "neither HDF5"),
    "empty": (lambda path: path.write_bytes(b""), "neither HDF5"),
    "pickle": (lambda path: path.write_bytes(b"\x80\x04cos\nsystem\n."), "neither HDF5"),
    "PyTorch": (archive, "archive/data.pkl"),
    "cut": (lambda path: path.write_bytes(run_folder.HDF5 + b"\0" * 90), ""),
    "archive cut": (lambda path: path.write_bytes(run_folder.ZIP + b"\0" * 90), ""),
    "a table": (lambda path: h5py.File(path, "w").create_dataset("table", data=[1, 2]).file.close(), "table"),
    "bomb": (bomb, "MB of weights"),
    "link": (linked, "link"),
    "data elsewhere": (outside, "outside"),
    "endless": (endless, "MB of weights"),
    "loop": (looped, ""),
    "pipe": (os.mkfifo, "not a regular file"),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_other_files_are_one_line_and_change_nothing(run, trained, tmp_path, kind):
    model, config = trained
    before = [np.array(weight) for weight in model.weights]
    write, fact = STRANGE[kind]
    path = tmp_path / "strange"
    write(path)
    with pytest.raises((LeukoBenchError, ValueError, OSError, zipfile.BadZipFile, RuntimeError), match=fact or None):
        weight_file.load(model, path)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
    if kind != "pipe":
        with one_line_error("strange", "cnn", fact):
            models.build(config.replace(weights=str(path)))
        run.file(run_folder.WEIGHTS).unlink()
        path.rename(run.file(run_folder.WEIGHTS))
        with one_line_error(run_folder.WEIGHTS, fact, "train --config"):
            run_loader.open_model(run)


def test_weights_of_another_model_say_what_they_are_and_what_is_expected(trained, tmp_path):
    model, config = trained
    keras_backend.start()
    other = models.build(config.replace(filters=(4, 8, 16), weights="none"))
    write_keras2(other, tmp_path / "other.h5")
    with pytest.raises(ValueError) as caught:
        weight_file.load(model, tmp_path / "other.h5")
    assert_facts(str(caught.value), "Keras 2", "(3, 3, 8, 16)", "(3, 3, 8, 8)")
    fewer = models.build(config.replace(filters=(4, 8), weights="none"))
    write_keras2(fewer, tmp_path / "fewer.h5")
    with pytest.raises(ValueError, match=r"weights of \d+ layers, expected \d+"):
        weight_file.load(model, tmp_path / "fewer.h5")


def test_equal_shapes_in_another_order_are_not_exchanged():
    """Scale, offset, mean and variance of a normalization have one shape: their names tell them apart."""
    import keras

    keras_backend.start()
    layer = keras.layers.BatchNormalization(name="norm")
    model = keras.Sequential([keras.Input((3,)), layer])
    shape = np.zeros(3, "f4")
    usual = ["norm/gamma:0", "norm/beta:0", "norm/moving_mean:0", "norm/moving_variance:0"]
    assert weight_file._fits(layer.weights, [(name, shape) for name in usual])
    assert not weight_file._fits(layer.weights, [(name, shape) for name in usual[::-1]])
    assert model.built
