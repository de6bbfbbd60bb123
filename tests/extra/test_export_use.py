"""Exports in use: predict, evaluate, the web page and the export command."""

import json
import os
import time

import numpy as np
import pandas as pd
import pytest
from export_bounds import loose_bounds
from starlette.testclient import TestClient

from data.loading.pipeline import loader
from data.ood import reference_distribution
from guide.app import main
from models.engine.export import exporter, validation
from models.engine.export import store as export_store
from models.engine.serving import predict
from utils.errors import LeukoBenchError
from utils.io import files
from utils.paths import PROJECT, raw_dir
from utils.runs import run_folder

SAMPLES = PROJECT / "docs" / "samples"


@pytest.mark.parametrize("name", ["onnx-float32", "openvino-int8", "litert-float16"])
def test_predict_by_an_export_equals_keras(exported, tmp_path, name):
    run, made = exported
    target = tmp_path / "answers.csv"
    assert (
        main(["predict", str(run.path), str(raw_dir("tiny") / "Pro"), "--export", name, "--output", str(target)]) == 0
    )
    written, keras = pd.read_csv(target), predict.predict_files(run, raw_dir("tiny") / "Pro")
    limit = max(1e-4, 3 * made[name]["largest_difference"])
    np.testing.assert_allclose(written.filter(like="p_"), keras.filter(like="p_"), atol=limit)


def test_evaluating_an_export_does_not_change_the_run(exported, capsys):
    run, made = exported
    before = {path: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    assert main(["evaluate", str(run.path), "--export", "onnx-float32"]) == 0
    assert "test accuracy" in capsys.readouterr().out
    assert before == {path: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    place = export_store.folder(run, "onnx-float32")
    table = pd.read_csv(place / run_folder.PREDICTIONS)
    recorded = run.predictions()
    assert list(table["image"]) == list(recorded["image"]) and list(table["label"]) == list(recorded["label"])
    np.testing.assert_allclose(table.filter(like="p_"), recorded.filter(like="p_"), atol=1e-4)
    assert json.loads((place / run_folder.METRICS).read_text())["test"]["accuracy"] == made["onnx-float32"]["accuracy"]
    timed = json.loads((place / run_folder.TIMING).read_text())
    assert 0 < timed["latency_ms_p50"] <= timed["latency_ms_p95"] and set(timed["throughput"]) == {"1", "8", "32"}
    export_store.read(run, "onnx-float32")  # whole as before


def test_runs_without_the_export_do_not_stop_the_evaluation(exported, run, capsys):
    whole, _ = exported
    before = export_store.folder(whole, "onnx-float16") / run_folder.METRICS
    before.unlink(missing_ok=True)
    assert main(["evaluate", str(run.path), str(whole.path), "--export", "onnx-float16"]) == 1
    shown = capsys.readouterr()
    assert f"{run.id} has no export onnx-float16" in shown.err and "--precision float16" in shown.err
    assert shown.out.count("test accuracy") == 1 and before.is_file()


def test_the_web_page_predicts_with_an_export(exported):
    from webapp.server import make_app
    from webapp.settings import Settings

    run, made = exported
    place = reference_distribution.path(run.root, run.environment()["manifest"])
    kept = place.rename(place.with_suffix(".away"))  # accepts every image
    content = (SAMPLES / "pro.png").read_bytes()
    try:
        found = {}
        for name in ("", "litert-int8"):
            with TestClient(make_app(Settings(run.root, export=name)), base_url="http://localhost") as client:
                send = {"files": [("images", ("a.png", content))], "data": {"heatmap": "own"}}
                (image,) = client.post("/api/v1/predict", **send).json()["images"]
                (found[name],) = image["answers"]
                page = client.post("/predict", **send).text
                assert ("Computed by the export litert-int8." in page) == bool(name)
    finally:
        kept.rename(place)
    assert found[""]["runtime"] == "keras" and found["litert-int8"]["runtime"] == "litert-int8"
    assert found["litert-int8"]["heatmap"] == found[""]["heatmap"]  # from Keras in both
    assert found["litert-int8"]["probabilities"] != found[""]["probabilities"]
    limit = max(0.02, 3 * made["litert-int8"]["largest_difference"])
    for name, share in found[""]["probabilities"].items():
        assert abs(found["litert-int8"]["probabilities"][name] - share) <= limit


def test_a_stale_export_is_rejected_by_the_web_page(run):
    from models.engine.serving.model_cache import Shelf

    exporter.export(exporter.Source(run), "onnx", "float32")
    shelf = Shelf(2, 1000, "onnx-float32")
    image = loader().open(SAMPLES / "pro.png")
    first = shelf.get(run).predict([image])
    assert shelf.get(run) is shelf.get(run)
    path = export_store.description(run, "onnx-float32")
    files.write_json(path, files.read_json(path) | {"weights_sha256": "0" * 64})
    os.utime(path, (time.time() + 5, time.time() + 5))
    with pytest.raises(LeukoBenchError, match=r"is stale"):
        shelf.get(run)
    path.unlink()
    np.testing.assert_allclose(shelf.get(run).predict([image]), first, atol=1e-4)


def test_command_makes_several_exports_and_a_card(run, capsys, monkeypatch):
    monkeypatch.setattr(validation, "BOUNDS", loose_bounds())
    asked = ["--format", "all", "--precision", "int8", "--precision", "float32", "--card"]
    assert main(["export", str(run.path), *asked]) == 0
    shown = capsys.readouterr().out
    assert export_store.of(run) == [name for name in export_store.names() if not name.endswith("float16")]
    assert "[7/7] saved_model-float32" in shown and f"Exports of {run.id}, checked on 16 test images" in shown
    assert (run.file(export_store.FOLDER) / "README.md").is_file()
