"""Model cards: contents come from the files of the run, and Hugging Face reads their front matter."""

import json
import re

import pytest
import yaml
from fake_runs import CLASSES, fake_run, write_faithfulness, write_stress

from data import all_dataset
from models.engine.export import store as export_store
from models.engine.model_card import card as model_card
from models.engine.model_card import sections
from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import calibration_file, run_folder


def split_card(text):
    """Return the front matter as an object, and the Markdown below it."""
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


def section(body, title):
    return body.partition(f"## {title}\n")[2].partition("\n## ")[0]


def write_export(run, name, **changed):
    """Write the files of an export and its description."""
    fields = {
        "format": name.partition("-")[0],
        "precision": name.partition("-")[2],
        "variant": {},
        "classes": CLASSES,
        "image_size": 128,
        "weights_sha256": export_store.weights_hash(run),
        "config_hash": export_store.config_hash(run),
        "bytes": 2_000_000,
        "images": 40,
        "agreement": 1.0,
        "largest_difference": 0.012,
        "accuracy": 0.875,
        "accuracy_of_weights": 0.9,
    }
    files.write_bytes(export_store.folder(run, name) / export_store.FILES[fields["format"]], bytes(fields["bytes"]))
    fields["files_sha256"] = export_store.files_hash(export_store.folder(run, name), fields["format"])
    files.write_json(export_store.description(run, name), fields | changed)


def test_missing_measurements_name_their_command(tmp_path):
    run = fake_run(tmp_path)
    path = model_card.write(run)
    assert path == run.path / "export" / "README.md"
    _, body = split_card(path.read_text(encoding="utf-8"))
    for line in (
        "Shortcut baselines: not measured. `python run_guide.py audit synthetic`",
        f"Stress test: not measured. `python run_guide.py stress {run.id}`",
        "Leakage gap: not measured. `python run_guide.py train --config config.json --split grouped`",
        f"Calibration: not measured. `python run_guide.py calibrate {run.id}`",
        f"Faithfulness of the heatmaps: not measured. `python run_guide.py faithfulness {run.id}`",
        f"Exports to other runtimes: none yet. `python run_guide.py export {run.id} --format onnx`",
    ):
        assert line in body
    assert str(tmp_path) not in path.read_text(encoding="utf-8"), "no path of this machine"
    assert "None" not in body and "nan" not in body.lower()


def test_numbers_are_those_of_the_run(tmp_path):
    run = fake_run(tmp_path, images=40, accuracy=0.9, measured=True, seed=42, settings=["variant=clahe"])
    fake_run(tmp_path, seed=43, accuracy=0.8, settings=["variant=clahe"])
    fake_run(tmp_path, seed=42, accuracy=0.7, settings=["variant=clahe"], split="grouped")
    fake_run(tmp_path, seed=42, accuracy=0.1, settings=["variant=clahe", "dropout=0.1"], split="grouped")
    files.write_json(run.file(calibration_file.FILE), calibration_file.measure(run))
    write_export(run, "onnx-int8", agreement=0.975)
    write_export(run, "litert-float32", weights_sha256="of other weights")
    front, body = split_card(model_card.text(run))
    score = run.metrics()["test"]
    assert "Accuracy **90.00 %** (76.9-96.0) on 40 test images" in body
    assert f"macro F1 {score['macro']['f1']:.4f}" in body
    for name, counts in zip(CLASSES, score["confusion"], strict=True):
        assert re.search(rf"\| {name} +\| +" + r" \| +".join(map(str, counts)) + r" \|", body)
    assert "| clahe (clip 2, 8 x 8 tiles)" in body and "4.29 M" in body
    assert re.search(r"\| train +\| +30 \| +30 \| +30 \| +30 \| +120 \| +5 \|", section(body, "Data and split"))
    assert re.search(r"'colour histogram' reaches 80.0 %; .*\+10.0 points", body)
    assert "Stain flip rate 50.0 %" in body
    gap = section(body, "Scores on groups of images not seen in training")
    assert re.search(r"\| random +\| +85.00 \| +85.00 \| +2 \|", gap)  # seeds 42 and 43; other dropout is another run
    assert "Leakage gap: +20.00 points" in gap  # of seed 42 alone, which has both
    found = calibration_file.measure(run)
    assert f"{100 * found['before']['ece']:.2f}" in section(body, "Calibration")
    assert "inside nuclei" in section(body, "Faithfulness of its heatmaps")
    use = section(body, "Usage")
    assert re.search(r"\| onnx-int8 +\| +2.00 \| +40 \| +97.50 \| +0.012 \| +87.50 \| +90.00 \|", use)
    assert f"Export litert-float32 of run {run.id} is stale" in use
    results = {each["dataset"]["config"]: each["metrics"] for each in front["model-index"][0]["results"]}
    assert results["64/16/20"][0] == {"type": "accuracy", "value": 0.9, "name": "accuracy"}
    assert results["64/16/20"][-1]["value"] == pytest.approx(found["before"]["ece"], abs=1e-6)
    assert results["64/16/20 in grey"][0]["value"] == 0.4
    assert results["64/16/20 in the stain of another class"][0]["value"] == 0.3
    assert "clahe" in front["tags"]


def test_stress_on_a_sample_is_not_a_result(tmp_path):
    run = fake_run(tmp_path)
    write_stress(run, {"grey": 0.4})
    path = run.file("stress.csv")
    path.write_text(path.read_text(encoding="utf-8").replace(",40,", ",12,"), encoding="utf-8")
    front, body = split_card(model_card.text(run))
    assert "Measured on a sample of 12 test images." in body
    assert [each["dataset"]["config"] for each in front["model-index"][0]["results"]] == ["64/16/20"]


def test_a_grouped_run_names_the_missing_random_split(tmp_path):
    _, body = split_card(model_card.text(fake_run(tmp_path, split="grouped")))
    assert "Split `grouped` (grouped)." in body
    assert "not measured. `python run_guide.py train --config config.json --split 64/16/20`" in body
    assert "may be in both" not in body


def test_licence_and_limits_follow_from_the_images(tmp_path, data_folder, monkeypatch):
    about = data_folder / "raw" / "mine" / "dataset.json"
    run = fake_run(tmp_path, dataset="mine")
    assert sections.origin(run) == sections.OTHER
    front, body = split_card(model_card.text(run))
    assert front["license"] == "other" and "license_link" not in front
    assert "The origin of the images is not recorded." in body and all_dataset.CITATION not in body

    files.write_json(about, {"name": "mine", "synthetic": {"stain": "random"}})
    front, body = split_card(model_card.text(run))
    assert front["license"] == "mit" and "synthetic-images" in front["tags"]
    assert "drawn by a program" in body and "- It was trained on synthetic images only" in body

    files.write_json(about, {"name": "mine", "synthetic": None})  # class names alone are not enough
    front, body = split_card(model_card.text(run))
    assert "license_link" not in front and all_dataset.CITATION not in body and "One hospital" not in body
    assert "Benign 50 of 504, Early 50 of 985, Pre 50 of 963, Pro 50 of 804" in body

    monkeypatch.setattr(all_dataset, "PUBLISHED", dict.fromkeys(CLASSES, 50))
    front, body = split_card(model_card.text(run))
    assert front["license_link"] == f"https://www.kaggle.com/datasets/{all_dataset.HANDLE}"
    assert all_dataset.CITATION in body and "- One hospital" in body


@pytest.mark.parametrize("model", ["keras:MobileNetV3Small", "one that is gone"])
def test_models_without_a_folder_have_cards_too(tmp_path, model):
    text = model_card.text(fake_run(tmp_path, model=model))
    assert f"{model.removeprefix('keras:')}" in section(text, "Description")


def test_hugging_face_reads_the_front_matter(tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    run = fake_run(tmp_path, model="keras:MobileNetV3Small", measured=True, settings=["recipe=stain_swap"])
    card = hub.ModelCard(model_card.text(run))
    assert card.data.license == "other" and card.data.pipeline_tag == "image-classification"
    assert card.data.library_name == "keras" and card.data.model_name == run.id
    accuracies = {e.dataset_config: e.metric_value for e in card.data.eval_results if e.metric_type == "accuracy"}
    plain = run.metrics()["test"]["accuracy"]
    assert accuracies["64/16/20"] == pytest.approx(plain)
    assert len(accuracies) == 3 and all(e.dataset_args["manifest"] for e in card.data.eval_results)


def test_names_of_others_are_text_in_a_card(tmp_path):
    classes = ("<img src=x onerror=alert(1)>", "![a](javascript:alert(1))", "a|b", "``` <script>")
    run = fake_run(tmp_path, "<svg onload=alert(1)>", classes=classes, dataset="<script>alert(2)`x", measured=True)
    config = run.config() | {"flavour": ["<b>bold"], "recipe": "<i>"}
    files.write_json(run.file(run_folder.CONFIG), config)
    about = run.environment() | {"cpu": "<u>cpu", "device": "CPU", "git_commit": "<a href=x>"}
    files.write_json(run.file(run_folder.ENVIRONMENT), about)
    text = model_card.text(run)
    assert "<" not in text
    front, body = split_card(text)
    assert front["datasets"] == ["<script>alert(2)`x"] and front["tags"][-1] == "<b>bold"
    assert "![a](" not in body and "a\\|b" in body
    assert "&lt;img src=x onerror=alert(1)>" in section(body, "Scores on the test images")


def test_unfinished_and_damaged_runs_are_reported(tmp_path):
    unfinished = fake_run(tmp_path, finished=False)
    with pytest.raises(LeukoBenchError, match=rf"{unfinished.id} .*no metrics\.json.*train --resume {unfinished.id}"):
        model_card.write(unfinished)
    assert not (unfinished.path / "export").exists()
    run = fake_run(tmp_path)
    path = run.file(calibration_file.FILE)
    path.write_text(json.dumps({"temperature": 1.0}), encoding="utf-8")
    with pytest.raises(LeukoBenchError, match=rf"{path} is damaged.*run_guide.py calibrate {run.id}"):
        model_card.write(run)


def test_scores_come_from_predictions_if_metrics_are_damaged(tmp_path):
    run = fake_run(tmp_path, measured=True)
    whole = model_card.text(run)
    files.write_json(run.file(run_folder.METRICS), {"test": {}})
    assert model_card.text(run) == whole


def test_a_damaged_other_run_and_a_missing_manifest(tmp_path):
    run = fake_run(tmp_path, measured=True)
    write_faithfulness(run, {"gradcam": 0.4})
    other = fake_run(tmp_path, seed=43, split="grouped")
    other.file(run_folder.PREDICTIONS).write_text("gone", encoding="utf-8")
    run.manifest_path().unlink()
    _, body = split_card(model_card.text(run))
    assert f"manifest {run.environment()['manifest']} is missing" in body
    assert "Leakage gap: not measured." in body
