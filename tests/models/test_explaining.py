"""Heatmaps of a model that must use a planted corner of the image."""

import numpy as np
import pytest
from checks import contents
from PIL import Image

import models
from data.loading.pipeline import loader
from guide import faithfulness as command
from models.engine.backend import keras_backend
from models.engine.evaluation import evaluator
from models.engine.explain import explainer, faithfulness
from models.engine.run_io import run_loader
from models.engine.training import trainer
from utils.errors import LeukoBenchError
from utils.io import files
from utils.paths import raw_dir
from utils.runs import run_folder

SIDE, PATCH = 48, 20  # pixels of the images and of the planted square
ROWS, COLUMNS = np.mgrid[:PATCH, :PATCH]
PATTERNS = {
    "across": ROWS // 2 % 2,
    "chequered": (COLUMNS // 4 + ROWS // 4) % 2,
    "down": COLUMNS // 2 % 2,
    "slanted": (COLUMNS + ROWS) // 2 % 2,
}


@pytest.fixture(scope="session")
def patched(home, guide):
    """A run of `cnn` on smears whose class is only the pattern in a corner."""
    smears = sorted(raw_dir("tiny").glob("[!_]*/*.png"))
    folder = home / "patched"
    for number, path in enumerate(smears * 4):
        name = list(PATTERNS)[number % 4]
        image = Image.open(path).convert("RGB")
        square = np.repeat(PATTERNS[name][..., None] * 255, 3, axis=2).astype(np.uint8)
        image.paste(Image.fromarray(square), (SIDE - PATCH, SIDE - PATCH))
        image.putpixel((0, 0), (number % 256, number // 256, 9))  # no two files are the same image
        (folder / name).mkdir(parents=True, exist_ok=True)
        image.save(folder / name / f"{number:03d}.png")
    done = guide("data", "import", str(folder), "--as-is", "--name", "patched")
    assert done.returncode == 0, done.stderr
    config = models.config_for("cnn", dataset="patched", image_size=SIDE, filters=(16, 32, 64), dense=64, epochs=40)
    return evaluator.evaluate(trainer.train(config, home / "patched-runs"))


@pytest.mark.slow
def test_half_of_the_heatmap_is_on_the_planted_corner(patched):
    assert patched.metrics()["test"]["accuracy"] > 0.95
    explainer.explain(patched, "gradcam")
    with np.load(patched.file(run_folder.HEATMAPS), allow_pickle=False) as kept:
        maps = kept["map"][kept["method"] == "gradcam"].astype(np.float64)
    mass = maps.sum(axis=(1, 2))
    assert (mass > 0).all()
    share = maps[:, SIDE - PATCH :, SIDE - PATCH :].sum(axis=(1, 2)) / mass
    assert np.mean(share) >= 0.5, "a uniform map would have the square's share of the area, 0.17"


@pytest.mark.slow
def test_classes_of_another_dataset_come_from_its_manifest(patched):
    assert patched.config()["classes"] == ["across", "chequered", "down", "slanted"]
    assert list(patched.predictions().columns[3:]) == ["p_across", "p_chequered", "p_down", "p_slanted"]


def test_image_files_get_the_probabilities_of_the_evaluation(run):
    table = run.predictions("test").head(3)
    paths = [raw_dir("tiny") / name for name in table["image"]]
    maps, probabilities = explainer.explain_images(run, paths)
    assert maps.shape == (3, 32, 32)
    np.testing.assert_allclose(probabilities, table.filter(like="p_").to_numpy(), atol=1e-5)


def test_a_jpeg_is_decoded_as_in_training(home, tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (90, 70, 3), dtype=np.uint8)).save(tmp_path / "a.jpg", quality=80)
    expected = loader().decode(str(tmp_path / "a.jpg"), SIDE)
    np.testing.assert_array_equal(explainer.load_image(tmp_path / "a.jpg", SIDE), expected)
    Image.open(tmp_path / "a.jpg").convert("L").save(tmp_path / "grey.png")
    assert explainer.load_image(tmp_path / "grey.png", SIDE).shape == (SIDE, SIDE, 3)


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


@pytest.mark.slow
def test_faithfulness_of_all_methods(patched, capsys):
    earlier = {key: value for key, value in patched.config().items() if key != "heatmap_method"}
    files.write_json(patched.file(run_folder.CONFIG), earlier)  # an older run
    command.faithfulness(str(patched.path), images=12)
    rows = files.read_csv(patched.file("faithfulness.csv"), faithfulness.HEADER)
    assert {row["method"] for row in rows} == {"gradcam", "gradcam++", "scorecam", "random", "centre"}
    assert {row["images"] for row in rows} == {"12"}
    means = {row["method"]: float(row["deletion_auc_mean"]) for row in rows}
    assert means["gradcam"] < means["random"], "the map is on the corner that decides the class"
    shown = capsys.readouterr().out
    assert "heatmaps on 12 test images" in shown and f"Most faithful: {rows[0]['method']}." in shown
    before = patched.file("faithfulness.csv").read_bytes()
    faithfulness.measure(patched, 12, ["gradcam"])
    assert patched.file("faithfulness.csv").read_bytes().splitlines()[1] in before.splitlines()
    with pytest.raises(LeukoBenchError, match=r"^Method 'rollout' does not fit cnn, a convolutional model\. "):
        faithfulness.measure(patched, 12, ["rollout"])
