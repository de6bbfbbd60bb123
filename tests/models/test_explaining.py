"""Heatmaps of image files and of a run: which images, which files, which errors."""

import numpy as np
import pytest
from checks import contents
from PIL import Image

import models
from data.loading.pipeline import loader
from models.engine.backend import keras_backend
from models.engine.explain import explainer
from models.engine.run_io import run_loader
from utils.errors import LeukoBenchError
from utils.paths import raw_dir
from utils.runs import run_folder


def test_image_files_get_the_probabilities_of_the_evaluation(run):
    table = run.predictions("test").head(3)
    paths = [raw_dir("tiny") / name for name in table["image"]]
    maps, probabilities = explainer.explain_images(run, paths)
    assert maps.shape == (3, 32, 32)
    np.testing.assert_allclose(probabilities, table.filter(like="p_").to_numpy(), atol=1e-5)


def test_a_jpeg_is_decoded_as_in_training(home, tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (90, 70, 3), dtype=np.uint8)).save(tmp_path / "a.jpg", quality=80)
    expected = loader().decode(str(tmp_path / "a.jpg"), 48)
    np.testing.assert_array_equal(explainer.load_image(tmp_path / "a.jpg", 48), expected)
    Image.open(tmp_path / "a.jpg").convert("L").save(tmp_path / "grey.png")
    assert explainer.load_image(tmp_path / "grey.png", 48).shape == (48, 48, 3)


def test_examples_are_the_most_and_least_certain_of_each_class(run):
    table = run.predictions("test")
    chosen = explainer.examples(run)
    assert len(chosen) == len(set(chosen))
    two = np.sort(table.filter(like="p_").to_numpy(), axis=1)[:, -2:]
    table = table.assign(margin=two[:, 1] - two[:, 0], likeliest=table.filter(like="p_").idxmax(axis=1))
    for name in run.config()["classes"]:
        of_class = table[table["label"] == name]
        right = of_class[of_class["likeliest"] == f"p_{name}"]
        for image in right.sort_values([f"p_{name}", "image"], ascending=[False, True])["image"][:1]:
            assert (image, "example") in chosen
        assert (of_class.sort_values(["margin", "image"])["image"].iloc[0], "unsure") in chosen


def test_explain_replaces_rows_of_its_method_only(run):
    for method in ("gradcam", "scorecam", "gradcam"):
        explainer.explain(run, method)
    with np.load(run.file(run_folder.HEATMAPS), allow_pickle=False) as kept:
        methods = list(kept["method"])
    rows = len(explainer.examples(run)) + 4 * explainer.PANEL_PER_CLASS
    assert methods.count("gradcam") == methods.count("scorecam") == rows


@pytest.mark.parametrize("missing", ["config.json", "environment.json", "model.weights.h5", "predictions.csv"])
def test_a_missing_file_is_reported_and_nothing_is_changed(run, missing):
    run.file(missing).unlink()
    before = contents(run.path)
    with pytest.raises(LeukoBenchError, match=rf"^Run cnn/\S+ has no {missing}\. "):
        explainer.explain(run)
    assert contents(run.path) == before


def test_wrong_files_and_methods_are_reported(run, tmp_path):
    (tmp_path / "no.jpg").write_text("not an image")
    with pytest.raises(LeukoBenchError, match=r"no\.jpg"):
        explainer.explain_images(run, [tmp_path / "no.jpg"])
    with pytest.raises(LeukoBenchError, match=r"^Unknown method 'gradcan'\. Did you mean 'gradcam'\? Valid methods: "):
        explainer.explain(run, "gradcan")


def test_damaged_weights_are_reported(run):
    path = run.file("model.weights.h5")
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"nothing of the kind"):
        path.write_bytes(content)
        with pytest.raises(LeukoBenchError, match=r"is damaged or of another model"):
            run_loader.open_model(run)


def test_opening_a_run_does_not_need_the_initial_weights(run):
    keras_backend.start()
    config = run_loader.config_of(run).replace(weights="gone.weights.h5")
    assert models.build(config, initial_weights=False).count_params() > 0
