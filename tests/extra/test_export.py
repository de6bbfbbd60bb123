"""Exports predict as the run does, or are rejected; stale, damaged and incomplete exports are not used."""

import json
import re
import signal
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
from command_line import run_code
from export_bounds import loose_bounds
from killing import kill_each_commit, visible

import models
from benchmarks import inference, page
from benchmarks.results import Result
from data.imaging.variants import Variant
from data.loading.pipeline import loader
from guide.app import main
from models.engine.evaluation import evaluator
from models.engine.export import converters, exporter, quantization, runtimes, validation
from models.engine.export import store as export_store
from models.engine.export.validation import BOUNDS
from models.engine.run_io import checkpoint, run_loader
from models.engine.serving import predict
from utils.errors import LeukoBenchError
from utils.io import files
from utils.paths import PROJECT
from utils.runs import run_folder

SAMPLES = PROJECT / "docs" / "samples"


def _files(run):
    """Return {path: content} of everything in the run's folder of exports."""
    return {path: path.read_bytes() for path in run.file(export_store.FOLDER).rglob("*") if path.is_file()}


def test_every_export_is_described_and_predicts_as_recorded(exported):
    run, made = exported
    assert export_store.of(run) == export_store.names() == list(made)
    recorded = run.predictions("test")
    weights = run.file(run_folder.WEIGHTS).stat().st_size
    for name, held in made.items():
        assert held == export_store.read(run, name) == files.read_json(export_store.description(run, name))
        assert f"{held['format']}-{held['precision']}" == name
        assert held["classes"] == run.config()["classes"] and held["variant"]["name"] == "rgb"
        assert held["images"] == len(recorded) and held["image_size"] == 32
        assert held["accuracy_of_weights"] == run.metrics()["test"]["accuracy"]
        assert all(held["versions"].values()) and held["share_of_weights"] == held["bytes"] / weights
        limit = {"float32": 1e-4, "float16": 0.02, "int8": 0.2}[held["precision"]]
        assert held["largest_difference"] <= limit
    assert not list(run.file(export_store.FOLDER).glob(".*"))


@pytest.mark.parametrize("name", export_store.names())
def test_predictions_do_not_depend_on_the_batch_size(exported, name):
    run, _ = exported
    opened = runtimes.open_export(run, name)
    pixels = np.random.default_rng(0).integers(0, 256, (35, 32, 32, 3)).astype(np.float32)
    whole = opened.predict(pixels)
    assert whole.shape == (35, 4) and whole.dtype == np.float32
    np.testing.assert_allclose(whole.sum(axis=1), 1, atol=1e-4)
    for part in (pixels[:1], pixels[:32], pixels[7:9], pixels[::-1]):
        expected = whole[[int(np.flatnonzero((pixels == image).all(axis=(1, 2, 3)))[0]) for image in part]]
        np.testing.assert_allclose(opened.predict(part), expected, atol=1e-5)


@pytest.mark.parametrize("format", ["onnx", "openvino", "litert"])
def test_runtimes_do_not_import_tensorflow(exported, format):
    code = (
        "import sys, numpy as np; from pathlib import Path; from models.engine.export import runtimes\n"
        "opened = runtimes.open_files(Path(sys.argv[1]), sys.argv[2])\n"
        "assert opened.predict(np.zeros((2, 32, 32, 3), np.float32)).shape == (2, 4)\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules), 'imported'"
    )
    run_code(code, export_store.folder(exported[0], f"{format}-int8"), format)


def test_the_softmax_stays_float32(exported):
    """In int8 a probability would be a multiple of 1/256."""
    run, _ = exported
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 32, 3)).astype(np.float32)
    for format in ("onnx", "openvino", "litert"):
        answers = runtimes.open_export(run, f"{format}-int8").predict(pixels)
        assert np.abs(answers * 256 - np.round(answers * 256)).max() > 0.05, format


def test_an_export_over_its_limits_is_rejected_and_the_existing_one_kept(run, monkeypatch):
    source = exporter.Source(run)
    exporter.export(source, "onnx", "float32")
    before = _files(run)
    head = source.model.layers[-1]
    kernel, bias = head.get_weights()
    head.set_weights([kernel[:, ::-1], bias])  # a conversion that mixes the classes up
    with pytest.raises(exporter.Refused) as refused:
        exporter.export(_with_model(run, source.model), "onnx", "float32")
    for fact in (f"onnx-float32 of run {run.id}", "16 test images", "at most 0.0001", "at least 100 %"):
        assert fact in str(refused.value)
    assert before == _files(run)
    monkeypatch.setitem(BOUNDS, export_store.INT8, replace(BOUNDS[export_store.INT8], difference=1e-9))
    with pytest.raises(exporter.Refused, match=r"at most 1e-09") as past:
        exporter.export(exporter.Source(run), "litert", "int8")
    assert past.value.described["largest_difference"] > 1e-9 and past.value.described["images"] == 16
    assert export_store.of(run) == ["onnx-float32"]


def _with_model(run, model):
    source = exporter.Source(run)
    source.__dict__["model"] = model
    return source


def test_accuracy_and_agreement_are_compared_with_the_limits():
    labels = np.array([0, 0, 1, 1])
    before = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]])
    found = validation.compare(before, np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]]), labels)
    assert (found.agreement, found.accuracy, found.accuracy_of_weights) == (0.75, 0.5, 0.75)
    assert found.problems(BOUNDS[export_store.INT8]) == [
        "75.00 % of the predictions agree (at least 98 %)",
        "accuracy falls by 25.00 points (at most 0.5)",
    ]
    assert validation.compare(before, before, labels).problems(BOUNDS[export_store.FLOAT32]) == []
    broken = validation.compare(before, np.full((4, 2), np.nan), labels)
    assert (broken.accuracy, broken.agreement, broken.largest_difference) == (0, 0, None)
    assert len(broken.problems(BOUNDS[export_store.FLOAT32])) == 3
    for wrong in (np.nan, np.inf):  # in one image only, which the limits of int8 would allow
        now = before.copy()
        now[0, 0] = wrong
        found = validation.compare(before, now, labels)
        assert found.problems(loose_bounds()[export_store.INT8]) == ["a probability is not a finite number"]
        assert json.dumps(asdict(found), allow_nan=False)


def test_predictions_that_are_not_finite_are_rejected_and_the_existing_export_kept(run, monkeypatch):
    source = exporter.Source(run)
    exporter.export(source, "onnx", "float32")
    before = _files(run)
    monkeypatch.setattr(validation, "BOUNDS", loose_bounds())
    kernel, bias = source.model.layers[-1].get_weights()
    source.model.layers[-1].set_weights([kernel, np.full_like(bias, np.nan)])
    with pytest.raises(exporter.Refused, match="on 16 test images a probability is not a finite number") as refused:
        exporter.export(_with_model(run, source.model), "onnx", "float16")
    assert json.dumps(refused.value.described, allow_nan=False)
    assert before == _files(run)


@pytest.mark.parametrize("format", ["onnx", "openvino", "litert"])
def test_errors_of_a_runtime_are_reported_in_one_line(exported, format):
    run, _ = exported
    place = export_store.folder(run, f"{format}-float32")
    opened = runtimes.open_files(place, format)
    with pytest.raises(LeukoBenchError, match=f"^{place} failed .*Make the export again") as caught:
        opened.predict(np.zeros((2, 31, 32, 5), np.float32))
    assert "\n" not in str(caught.value)


def test_converters_are_silent(small_run, tmp_path, capfd, caplog):
    source = exporter.Source(small_run)
    capfd.readouterr()
    converters.write_litert(source.frozen, tmp_path / "model.tflite")
    quantization.write_litert(source.frozen, tmp_path / "small.tflite", source.calibration[:2])
    assert capfd.readouterr() == ("", "") and not caplog.records


def test_other_weights_or_settings_make_an_export_stale(run, capsys):
    exporter.export(exporter.Source(run), "onnx", "float32")
    stale = f"onnx-float32 of run {run.id} is stale.*run_guide.py export {run.id} --format onnx --precision float32"
    model = run_loader.open_model(run)
    kept = run.file(run_folder.WEIGHTS).read_bytes()
    model.set_weights([weights * 1.01 for weights in model.get_weights()])
    model.save_weights(run.file(run_folder.WEIGHTS))
    arguments = ["predict", str(run.path), str(SAMPLES / "pro.png"), "--export", "onnx-float32"]
    assert main(arguments) == 1
    assert re.search(stale, capsys.readouterr().err)
    run.file(run_folder.WEIGHTS).write_bytes(kept)
    export_store.read(run, "onnx-float32")
    files.write_json(run.file(run_folder.CONFIG), run.config() | {"variant": {"name": "gray"}})
    with pytest.raises(LeukoBenchError, match=stale):
        export_store.read(run, "onnx-float32")


def test_missing_damaged_and_unknown_exports_are_reported(run, capsys):
    make = f"run_guide.py export {run.id} --format onnx --precision int8"
    with pytest.raises(LeukoBenchError, match=f"^Run {run.id} has no export onnx-int8.*{make}$"):
        runtimes.open_export(run, "onnx-int8")
    with pytest.raises(LeukoBenchError, match=r"'onnx-int4'.* Did you mean 'onnx-int8'\? Valid: onnx"):
        runtimes.open_export(run, "onnx-int4")
    exporter.export(exporter.Source(run), "onnx", "float16")
    with pytest.raises(LeukoBenchError, match=r"has no export onnx-int8\. It has: onnx-float16\."):
        runtimes.open_export(run, "onnx-int8")
    file = export_store.folder(run, "onnx-float16") / "model.onnx"
    kept = file.read_bytes()
    flipped = bytearray(kept)
    flipped[len(flipped) // 2] ^= 0x40  # a weight: the runtime would open the file
    for content in (kept[:-100], flipped):
        file.write_bytes(content)
        with pytest.raises(LeukoBenchError, match=f"is damaged.*{make.replace('int8', 'float16')}$"):
            runtimes.open_export(run, "onnx-float16")
    file.write_bytes(kept)
    export_store.read(run, "onnx-float16")
    file.write_bytes(b"x" * len(kept))
    with pytest.raises(LeukoBenchError, match=r"onnx-float16 cannot be opened \(.*\)\. Make the export again\."):
        runtimes.open_files(file.parent, "onnx")
    assert main(["export", str(run.path), "--format", "saved_model", "--precision", "int8"]) == 1
    said = capsys.readouterr().err
    assert "'saved_model'" in said and "'int8'" in said and "litert as float32, float16, int8" in said


def test_private_functions_of_keras_and_tensorflow():
    """converters.py calls one private function of each; look at both before adding a version here."""
    import keras
    import tensorflow as tf

    versions = {name: ".".join(module.__version__.split(".")[:2]) for name, module in (("keras", keras), ("tf", tf))}
    assert versions["keras"] in ("3.13", "3.14", "3.15") and versions["tf"] in ("2.20", "2.21"), versions
    converters._repair_tf2onnx()
    double = tf.Module()
    double.factor = tf.Variable(2.0)
    function = tf.function(lambda x: x * double.factor, input_signature=[tf.TensorSpec((), tf.float32)])
    constant = converters._with_constants(function.get_concrete_function())
    double.factor.assign(5.0)
    assert float(constant(tf.constant(3.0))[0]) == 6


@pytest.mark.parametrize(
    ("format", "package"), [("onnx", "tf2onnx"), ("openvino", "openvino"), ("litert", "ai_edge_litert")]
)
def test_a_missing_package_is_one_line(run, capsys, monkeypatch, format, package):
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["export", str(run.path), "--format", format]) == 1
    said = capsys.readouterr().err
    assert f"--format {format}" in said and f"'{package}'" in said and "requirements-extra.txt" in said


def test_a_killed_export_leaves_nothing(run):
    code = (
        "import sys, time; from pathlib import Path; from utils.runs.run_folder import Run\n"
        "from models.engine.export import validation; from models.engine.export import exporter\n"
        "validation.check = lambda *_: (print('converted', flush=True), time.sleep(60))\n"
        "exporter.export(exporter.Source(Run(Path(sys.argv[1]))), 'onnx', 'float32')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(run.path)], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "converted\n"
    with pytest.raises(LeukoBenchError, match=f"onnx-float32 of run {run.id} is being made by another process"):
        exporter.export(exporter.Source(run), "onnx", "float32")
    (stage,) = run.path.glob(f".{process.pid}@*")
    assert process.poll() is None and (stage / export_store.FOLDER / "onnx-float32" / "model.onnx").is_file()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert export_store.of(run) == [] and not export_store.folder(run, "onnx-float32").exists()
    exporter.export(exporter.Source(run), "onnx", "float32")
    assert sorted(path.name for path in run.file(export_store.FOLDER).iterdir()) == [
        "onnx-float32",
        "onnx-float32.json",
    ]
    assert not list(run.path.glob(".*"))


def test_a_kill_at_any_step_of_an_export_leaves_the_old_or_the_new(run, monkeypatch):
    exporter.export(exporter.Source(run), "onnx", "float32")
    model = run_loader.open_model(run)
    model.layers[-1].set_weights([2 * each for each in model.layers[-1].get_weights()])
    checkpoint.save(model, run.file(run_folder.WEIGHTS))
    evaluator.evaluate(run)
    old, states = visible(run.path), []
    monkeypatch.setattr(exporter.transaction, "together", kill_each_commit(states))
    exporter.export(exporter.Source(run), "onnx", "float32")
    new = visible(run.path)
    changed = {name for name in new if new[name] != old.get(name)}
    assert changed == {"export/onnx-float32.json", "export/onnx-float32/model.onnx"}
    assert all(state in (old, new) for state in states) and old in states and new in states
    assert export_store.read(run, "onnx-float32")


def test_an_export_uses_the_variant_of_the_run(run):
    files.write_json(run.file(run_folder.CONFIG), run.config() | {"variant": {"name": "gray"}})
    evaluator.evaluate(run)
    held = exporter.export(exporter.Source(run), "onnx", "float32")
    assert Variant.model_validate(held["variant"]) == Variant(name="gray")
    found = predict.find_images([SAMPLES])
    keras, export = (
        [each.probabilities for each in predict.predict_each(run, found, name)] for name in ("", "onnx-float32")
    )
    np.testing.assert_allclose(export, keras, atol=1e-4)


def test_calibration_images_are_balanced_over_classes(run):
    split = run_loader.split_of(run)
    rows = quantization.calibration_rows(split.manifest, 10)
    assert {row.split for row in rows} == {"train"} and len({row.image for row in rows}) == 10
    counts = [sum(row.label == name for row in rows) for name in split.manifest.classes]
    assert max(counts) - min(counts) <= 1
    assert quantization.calibration_rows(replace(split.manifest, rows=split.manifest.rows[::-1]), 10) == rows
    assert len(quantization.calibration_rows(split.manifest, 10_000)) == len(split.manifest.subset("train"))


@pytest.mark.parametrize("name", ["smearnet", "resnet18", "vit_b16", "keras:MobileNetV3Small"])
def test_every_kind_of_layer_is_converted(tmp_path, name):
    """Preprocessing layers, BatchNorm, exact GELU and attention, hard swish: each has failed in a converter."""
    from models.engine.backend import keras_backend

    keras_backend.start(1)
    fields = {"image_size": 64, "classes": ("a", "b", "c"), "weights": "none"}
    config = models.config_for(name, "tiny" if name == "vit_b16" else "", **fields)
    model = models.build(config, initial_weights=False)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([np.random.default_rng(0).normal(0, 3, kernel.shape), bias])
    pixels = np.stack([loader().decode(str(path), config.image_size) for path in sorted(SAMPLES.glob("*.png"))])
    pixels = pixels.astype(np.float32)
    expected = model.predict_on_batch(pixels)
    function = converters.frozen(model)
    steps = {
        "onnx": lambda file: converters.write_onnx(function, file),
        "openvino": lambda file: converters.write_openvino(tmp_path / "onnx" / "model.onnx", file),
        "litert": lambda file: converters.write_litert(function, file),
    }
    for format, write in steps.items():
        (tmp_path / format).mkdir()
        write(tmp_path / format / export_store.FILES[format])
        opened = runtimes.open_files(tmp_path / format, format)
        np.testing.assert_allclose(opened.predict(pixels), expected, atol=1e-4, err_msg=format)
        np.testing.assert_allclose(opened.predict(pixels[:1]), expected[:1], atol=1e-4, err_msg=format)
    full, half = tmp_path / "onnx" / "model.onnx", tmp_path / "half.onnx"
    converters.halve_onnx(full, half)
    if name == "resnet18":
        assert half.stat().st_size < 0.51 * full.stat().st_size


def test_a_failing_conversion_takes_no_other_figures_of_the_benchmark_along(monkeypatch):
    """Neither those of the model's other exports nor those of other models."""

    def broken(*_):
        raise ValueError("no such operation")

    monkeypatch.setattr(converters, "write_onnx", broken)
    batches = {inference.ONE: (2, 0.01), inference.MANY: (2, 0.01)}
    without_onnx = inference.measured("smearnet", 32, batches)
    assert without_onnx["failed"] == dict.fromkeys(
        ("onnx-float32", "onnx-int8", "openvino-float32", "openvino-int8"), "ValueError: no such operation"
    )
    assert set(without_onnx["bytes"]) == {"litert-float32", "litert-int8"}
    nothing = without_onnx | {"model": "none"}
    nothing["failed"] = dict.fromkeys(inference.EXPORTS, "no")
    nothing["seconds"] = {
        batch: {way: each for way, each in ways.items() if way not in inference.EXPORTS}
        for batch, ways in without_onnx["seconds"].items()
    }

    def apart(name, *_):
        if name == "gone":
            raise LeukoBenchError("Measuring gone ended with 1; see the error above.")
        return nothing if name == "none" else without_onnx

    monkeypatch.setattr(inference, "measured_apart", apart)
    monkeypatch.setattr(inference, "_size", lambda _: 32)
    measured, notes = inference._measured(["gone", "none", "smearnet"], batches)
    assert measured == [nothing, without_onnx]
    assert notes == ["gone was not measured: its process ended with an error."]
    claims = inference._claims(measured)
    assert [claim.asked for claim in claims] == [3, 3, 20, 20, 1.5, 1.5]
    assert all("Lowest of 1 models: smearnet with litert-" in claim.why for claim in claims)
    sheets = [inference._latency(measured), inference._throughput(measured)]
    result = Result("", "", claims, sheets, inference._plots(measured))
    assert len(inference._failures(measured)) == 4 + len(inference.EXPORTS)
    assert files.json_text(asdict(result)) and page.tables(result)
