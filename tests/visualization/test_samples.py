"""Example images by class and by outcome, and what a dataset is made of."""

from pathlib import Path

import fake_runs
import numpy as np
import pytest
from PIL import Image

from data import manifest as manifests
from data.datasets import summary
from guide.app import main
from utils import paths
from utils.errors import LeukoBenchError
from utils.io import files
from utils.metrics.prediction_ranking import ranked
from utils.runs import run_folder
from visualization import style
from visualization.displays import confusion_matrix, mean_colors
from visualization.images import heatmap_overlay, heatmap_sheets, mistake_sheets, sample_sheets, thumbnails


def listed(text: str) -> list[str]:
    """Return the images of a printed table, in order."""
    return [line.split("│")[1].strip() for line in text.splitlines() if line.startswith("│")]


def test_outcomes_are_right_wrong_or_unsure_and_the_most_telling_come_first(root):
    table = fake_runs.fake_run(root, accuracy=0.6, images=60).predictions("test")
    everything = ranked(table)
    assert everything["image"].tolist() == sorted(table["image"]) and len(everything) == 60
    right, wrong = ranked(table, "right"), ranked(table, "wrong")
    assert (right["label"] == right["predicted"]).all() and (wrong["label"] != wrong["predicted"]).all()
    assert len(right) == 36 and len(wrong) == 24
    for part in (right, wrong):
        assert part["probability"].is_monotonic_decreasing
    unsure = ranked(table, "unsure", "Pre")
    assert set(unsure["label"]) == {"Pre"} and unsure["margin"].is_monotonic_increasing
    first = unsure.iloc[0]
    two = sorted(first[[f"p_{name}" for name in fake_runs.CLASSES]])[-2:]
    assert first["margin"] == pytest.approx(two[1] - two[0]) and first["probability"] == two[1]
    with pytest.raises(LeukoBenchError, match=r"'rigth'.*'right'.*Valid: right, "):
        ranked(table, "rigth")


def test_samples_of_a_run_are_listed_and_drawn(root, capsys):
    run = fake_runs.fake_run(root, accuracy=0.6, images=60, dataset="smears", pictures=True)
    assert main(["samples", "cnn", "--outcome", "right", "--class", "early", "--count", "3"]) == 0
    printed = capsys.readouterr().out
    assert listed(printed) == ranked(run.predictions("test"), "right", "Early")["image"].tolist()[:3]
    sheet = run.file(run_folder.FIGURES) / "samples-test-right-Early.png"
    assert printed.count("Research only, not a diagnosis.") == 1 and f"in {paths.raw_dir('smears')}" in printed
    assert max(map(len, printed.splitlines()[1:-2])) <= 80
    assert str(sheet) in printed and min(Image.open(sheet).size) > 150
    assert main(["samples", "cnn", "--outcome", "unsure", "--count", "2", "--subset", "all"]) == 0
    labels = [image.partition("/")[0] for image in listed(capsys.readouterr().out)]
    assert labels == [name for name in fake_runs.CLASSES for _ in range(2)]


def test_each_class_of_a_sheet_begins_a_row(root, tmp_path, monkeypatch):
    fake_runs.fake_run(root, dataset="smears", pictures=True)
    kept = []
    monkeypatch.setattr(style, "png", lambda figure, real=style.png: kept.append(figure) or real(figure))
    of = {
        name: [f"{name}/{path.name}" for path in sorted((paths.raw_dir("smears") / name).iterdir())]
        for name in fake_runs.CLASSES
    }
    images = {"Benign": of["Benign"][:3], "Pre": of["Pre"][:1], "Pro": of["Pro"][:2]}
    assert sample_sheets.draw_samples("smears", images, "some", tmp_path / "x.png")
    heads = [axes.get_title().replace("\n", "/") for axes in kept[0].axes]
    names = {label: [str(Path(image).with_suffix("")) for image in each] for label, each in images.items()}
    assert heads == [*names["Benign"], *names["Pre"], "", "", *names["Pro"], ""]


def test_samples_of_a_dataset_are_listed_by_hash_and_drawn(home, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("LEUKOBENCH_RUNS", str(tmp_path))
    assert main(["samples", "--dataset", "tiny", "--class", "pre", "--count", "4"]) == 0
    found = listed(capsys.readouterr().out)
    assert len(found) == 4 and all(image.startswith("Pre/") for image in found)
    assert (tmp_path / "figures" / "tiny" / sample_sheets.file_name("all", "", "Pre")).is_file()
    place = tmp_path / "other"
    assert main(["samples", "--dataset", "tiny", "--subset", "val", "--count", "1", "--root", str(place)]) == 0
    assert [path.name for path in (place / "figures" / "tiny").iterdir()] == ["samples-val-each-class.png"]
    printed = capsys.readouterr().out
    assert main(["samples", "--dataset", "tiny", "--subset", "test_b"]) == 1
    assert "'test_b'. Valid: train, val, test, all." in capsys.readouterr().err
    assert len(listed(printed)) == 4 and printed.count(" val ") >= 4


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (["cnn", "--class", "Erly"], ("'Erly'", "'Early'", "Benign, ")),
        (["cnn", "--subset", "train"], ("'train'", "val", "test")),
        (["cnn", "--dataset", "x"], ("cnn", "--dataset x")),
        (["--outcome", "right"], ("--outcome right", "samples cnn --outcome")),
        (["--dataset", "nowhere"], ("'nowhere'",)),
    ],
)
def test_wrong_questions_get_one_line(root, capsys, arguments, facts):
    fake_runs.fake_run(root)
    assert main(["samples", *arguments]) == 1
    line = capsys.readouterr().err.strip()
    assert line.startswith("Error: ") and "\n" not in line and all(fact in line for fact in facts)


def test_a_dataset_is_described_class_by_class(root, tmp_path, capsys):
    manifest = manifests.read(fake_runs.fake_run(root, images=12, dataset="smears", pictures=True).manifest_path())
    seen = []
    measured = summary.measure("smears", lambda done, total: seen.append((done, total)))
    assert seen[-1] == (60, 60) and len(measured) == 60
    for image in (measured[0], measured[-1]):
        pixels = np.asarray(Image.open(paths.raw_dir("smears") / image.image), float)
        assert [image.red, image.green, image.blue] == pytest.approx(pixels.mean(axis=(0, 1)), abs=0.5)
        assert image.brightness == pytest.approx(pixels.mean(axis=(0, 1)) @ summary.LUMA, abs=0.5)
    rows = summary.summary(measured, manifest)
    assert [row["class"] for row in rows] == [*fake_runs.CLASSES, "all"]
    assert [(rows[-1][name], rows[0][name]) for name in ("train", "val", "test")] == [(36, 9), (12, 3), (12, 3)]
    assert rows[0]["formats"] == "PNG" and rows[0]["width_max"] == 32 and rows[-1]["share"] == 1
    sizes = sorted((paths.raw_dir("smears") / i.image).stat().st_size for i in measured if i.label == "Pro")
    assert rows[3]["bytes_median"] == np.median(sizes) and rows[3]["bytes_max"] == sizes[-1]
    display = mean_colors.ColoursDisplay.from_images(measured)
    assert display.values["red"]["Pre"] == [image.red for image in measured if image.label == "Pre"]
    assert display.colour("Pre")[0] == pytest.approx(rows[2]["red_mean"] / 255)
    assert main(["data", "figures", "smears", "--output", str(tmp_path / "made")]) == 0
    written = files.read_csv(tmp_path / "made" / "dataset.csv", ["class", "images", "brightness_sd"])
    assert [row["images"] for row in written] == ["15"] * 4 + ["60"]
    assert {path.name for path in (tmp_path / "made").iterdir()} == {
        "dataset.csv", "distribution.png", "samples.png", "colours.png",
    }  # fmt: skip


def test_examples_gain_the_least_sure_image_where_heatmaps_have_it(root):
    run = fake_runs.fake_run(root, accuracy=0.6, dataset="smears", pictures=True, heatmaps=True)
    (_, before), *_ = heatmap_sheets.examples(run)
    assert len(before.axes) == 4 * 4 and "least confident" not in before.get_suptitle()
    # the first example of each class once more, as the least confident one
    with np.load(run.file(run_folder.HEATMAPS)) as arrays:
        rows = dict(arrays)
    found = heatmap_overlay.read(run)
    again = [next(k for k, h in enumerate(found) if h.label == name) for name in run.config()["classes"]]
    rows = {name: np.concatenate([values, values[again]]) for name, values in rows.items()}
    rows["purpose"][-len(again) :] = "unsure"
    np.savez_compressed(run.file(run_folder.HEATMAPS), **rows)
    (_, figure), *_ = heatmap_sheets.examples(run)
    assert len(figure.axes) == 4 * 6 and "least confident one" in figure.get_suptitle().replace("\n", " ")
    heads = [axes.get_title() for axes in figure.axes[4::6]]
    assert all(head in ("least confident, right", "least confident, wrong") for head in heads)


def test_heatmaps_lie_over_what_the_model_saw(root):
    run = fake_runs.fake_run(root, dataset="smears", pictures=True, heatmaps=True, settings=("variant=gray",))
    (_, figure), *_ = heatmap_sheets.examples(run)
    assert "seen as gray" in figure.get_suptitle().replace("\n", " ")
    pixels = figure.axes[0].images[0].get_array()
    assert (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all()
    figure = mistake_sheets.draw_images(run, ranked(run.predictions("test"))[:2], "all", "smears")
    assert "smears, seen as gray. Research only" in figure.get_suptitle().replace("\n", " ")
    seen = figure.axes[0].images[0].get_array()
    assert (seen[..., 0] == seen[..., 1]).all()
    assert confusion_matrix.ConfusionDisplay.from_run(run).title == "cnn (gray)"
    assert thumbnails.variant_of({}) is None and thumbnails.variant_of({"variant": {"name": "rgb"}}) is None
    with pytest.raises(LeukoBenchError, match=r"^Field 'variant' received 'blue'; valid names: rgb, "):
        thumbnails.variant_of({"variant": "blue"})
