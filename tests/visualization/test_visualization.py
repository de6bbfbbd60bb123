"""Figures: the numbers they store, the files they write, and missing images or manifests."""

import io
import shutil
from dataclasses import replace
from pathlib import Path

import fake_runs
import numpy as np
import pytest
import sklearn.metrics
from command_line import run_code
from matplotlib.text import Text
from PIL import Image

from data import manifest as manifests
from utils import paths
from utils.errors import LeukoBenchError
from utils.io import files
from utils.metrics import predictions
from utils.runs import faithfulness_file, run_folder
from utils.runs.comparison import compare
from visualization import label_placement, style
from visualization.compared_runs import subjects
from visualization.displays import (
    accuracy_vs_cost,
    class_distribution,
    confusion_matrix,
    faithfulness,
    per_class_f1,
    roc_pr_curves,
    scores,
    stress,
    training_curves,
)
from visualization.images import heatmap_overlay, heatmap_sheets, mistake_sheets, thumbnails
from visualization.report import figure_catalogue

HOSTILE = ("<script>alert(1)<script>", "a$b^c_{", "Ein_sehr_langer_Klassenname_ohne_Ende", "Pro")


@pytest.fixture
def unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the titles of a figure in place of its pixels, and draw only the figures that may be missing."""
    real = figure_catalogue.drawings
    drawn = (*figure_catalogue.OF_IMAGES, "distribution")

    def empty(title: str):
        figure = style.new_figure(1, 1)
        figure.suptitle(title)
        return figure

    def sketches(comparison):
        for drawing in real(comparison):
            sketch = replace(drawing, draw=lambda title=drawing.title: empty(title))
            yield drawing if drawing.name.startswith(drawn) else sketch

    def texts(figure) -> bytes:
        return repr((figure.get_suptitle(), [axes.get_title() for axes in figure.axes])).encode()

    monkeypatch.setattr(style, "png", texts)
    monkeypatch.setattr(figure_catalogue, "drawings", sketches)


def opened(path: Path) -> np.ndarray:
    """Decode a PNG and check that something is drawn on it."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    assert min(pixels.shape[:2]) > 150
    assert (pixels != pixels[0, 0]).any(axis=2).mean() > 0.005
    return pixels


def test_confusion_holds_the_counts_and_the_shares_of_each_row(root):
    run = fake_runs.fake_run(root, images=37, accuracy=0.8)
    display = confusion_matrix.ConfusionDisplay.from_run(run)
    table = run.predictions("test")
    classes = run.config()["classes"]
    answer = np.array(classes)[table[[f"p_{c}" for c in classes]].to_numpy().argmax(axis=1)]
    counted = sklearn.metrics.confusion_matrix(table["label"], answer, labels=classes)
    assert np.array_equal(display.matrix, counted)
    assert np.array_equal(display.shares, counted / counted.sum(axis=1, keepdims=True))
    assert display.plot(normalised=True) is display
    drawn = [text.get_text() for text in display.axes_.texts]
    assert drawn == [f"{100 * share:.1f}" for share in display.shares.ravel()]


def test_confusion_of_a_class_without_images_shows_dashes():
    display = confusion_matrix.ConfusionDisplay(np.array([[3, 1], [0, 0]]), ["here", "absent"])
    assert np.isnan(display.shares[1]).all()
    for normalised in (False, True):
        display.plot(normalised=normalised)
        assert [text.get_text() for text in display.axes_.texts][2:] == ["–", "–"]


def test_confusion_of_many_classes_hides_zeros():
    matrix = np.random.default_rng(1).integers(0, 4, (12, 12))
    display = confusion_matrix.ConfusionDisplay(matrix, [f"class {k}" for k in range(12)]).plot()
    shown = [text.get_text() for text in display.axes_.texts]
    assert shown == [str(n) if n else "" for n in matrix.ravel()]
    assert min(text.get_fontsize() for text in display.axes_.texts) >= 8


def test_training_curves_hold_the_history_with_phases_and_the_kept_epoch(root):
    run = fake_runs.fake_run(root, epochs=6)
    path = run.file(run_folder.HISTORY)
    lines = path.read_text().splitlines()
    phased = [line.replace(",train,", ",head," if k < 3 else ",fine-tune,") for k, line in enumerate(lines)]
    files.write_text(path, "\n".join(phased) + "\n")
    display = training_curves.TrainingDisplay.from_run(run)
    history = run.history()
    assert display.epochs == [1, 2, 3, 4, 5, 6]
    assert display.values["val_loss"] == [row["val_loss"] for row in history]
    assert display.boundaries == [(2.5, "fine-tune")]
    assert display.best_epoch == run.timing()["training"]["best_epoch"] == 5
    for what in ("accuracy", "loss"):
        display.plot(what=what)
        training, validation, kept = display.axes_.lines[:3]
        assert training.get_ydata().tolist() == display.values[what]
        assert validation.get_ydata().tolist() == display.values[f"val_{what}"]
        assert (kept.get_xdata()[0], kept.get_ydata()[0]) == (5, display.values[f"val_{what}"][4])


def test_a_single_epoch_is_drawn_as_a_point(root):
    display = training_curves.TrainingDisplay.from_run(fake_runs.fake_run(root, epochs=1)).plot()
    assert display.boundaries == [] and display.best_epoch == 1
    assert display.axes_.get_xlim()[0] < 1 < display.axes_.get_xlim()[1]


def test_threshold_curves_agree_with_the_metrics_of_the_run(root):
    run = fake_runs.fake_run(root, images=60, accuracy=0.7)
    table = run.predictions("test")
    score = predictions.summary(table)
    roc = roc_pr_curves.ThresholdDisplay.from_run(run, "roc")
    assert roc.areas == [row["auc"] for row in score["per_class"]]
    assert roc.area == score["auc_ovr_macro"]
    for name, (x, y), area in zip(roc.classes, roc.curves, roc.areas, strict=True):
        assert np.trapezoid(y, x) == pytest.approx(area, abs=1e-12), name
    assert np.trapezoid(roc.macro[1], roc.macro[0]) == pytest.approx(roc.area, abs=0.01)
    recall, precision = roc_pr_curves.ThresholdDisplay.from_run(run, "pr").curves[0]
    assert (np.diff(recall) >= 0).all() and recall[0] == 0 and recall[-1] == 1
    assert precision[-1] == pytest.approx((table["label"] == roc.classes[0]).mean())


def test_threshold_curves_skip_a_class_without_test_images(root):
    run = fake_runs.fake_run(root, images=40)
    table = run.predictions("test")
    table = table[table["label"] != "Pre"]
    for kind in ("roc", "pr"):
        display = roc_pr_curves.ThresholdDisplay.from_predictions(table, kind)
        known = [area for area in display.areas if area is not None]
        assert display.areas[2] is None and display.curves[2] is None and len(known) == 3
        assert display.area == sum(known) / 3


def test_scores_and_tradeoff_hold_the_rows_of_the_comparison(root):
    runs = [fake_runs.fake_run(root, name, accuracy=a) for name, a in (("cnn", 0.8), ("resnet50", 0.95), ("vgg", 0.9))]
    files.write_json(
        runs[2].file(run_folder.TIMING), {"training": {"best_epoch": 1}, "inference": runs[2].timing()["inference"]}
    )
    found = compare(runs)[0]
    members = subjects(found)
    assert [(s.name, s.index) for s in members] == [("resnet50", 0), ("vgg", 1), ("cnn", 2)]
    display = scores.ScoresDisplay.from_subjects(members)
    for row, values, interval in zip(found.rows, display.values, display.intervals, strict=True):
        assert values == {key: row[key] for key in scores.METRICS}
        assert interval == (row["accuracy_low"], row["accuracy_high"])
    heat = per_class_f1.ClassScoresDisplay.from_subjects(members)
    assert [v for row in heat.values for v in row] == [row["f1"] for row in found.per_class]
    cost = accuracy_vs_cost.TradeoffDisplay.from_subjects(members, "training_seconds")
    assert (cost.names, cost.left_out, cost.indices) == (["resnet50", "cnn"], ["vgg"], [0, 2])
    assert cost.costs == [found.rows[0]["training_seconds"], found.rows[2]["training_seconds"]]


def test_labels_of_points_overlap_neither_each_other_nor_a_point():
    figure = style.new_figure(6, 4)
    axes = figure.subplots()
    points = [(1 + 0.02 * k, 1 + 0.01 * (k % 3)) for k in range(9)]
    axes.set_xlim(0, 3)
    axes.set_ylim(0, 2)
    axes.plot(*zip(*points, strict=True), "o")
    notes = label_placement.label_points(axes, points, [f"model number {k}" for k in range(9)])
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(note) for note in notes]  # the words without their line
    dots = axes.transData.transform(points)
    for k, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[k + 1 :])
        assert not any(box.contains(*dot) for dot in dots)


def two_runs(root, **settings):
    return [
        fake_runs.fake_run(root, name, accuracy=a, dataset="smears", heatmaps=True, **settings)
        for name, a in (("cnn", 0.8), ("resnet50", 0.95))
    ]


EXPECTED = {"accuracy", "metrics", "radar", "class-f1", "tradeoff", "training", "roc", "precision-recall"}
EXPECTED |= {"confusion", "confusion-cnn", "confusion-resnet50", "distribution"}
EXPECTED |= {"architecture-cnn", "architecture-resnet50", "significance"}


@pytest.mark.slow
def test_every_figure_is_drawn_and_drawn_again_to_the_same_bytes(root, tmp_path):
    runs, figures = two_runs(root, pictures=True), tmp_path / "figures"
    made, notes = figure_catalogue.draw_all(compare(runs)[0], figures)
    made = sorted(made)
    assert notes == [] and {path.stem for path in made} == EXPECTED | {
        "mistakes-cnn",
        "mistakes-resnet50",
        "samples",
        "gradcam-panel",
    }
    for path in [*made, *heatmap_sheets.draw_examples(runs[0])]:
        opened(path)
    before = {path: path.read_bytes() for path in made}
    again, _ = figure_catalogue.draw_all(compare(runs[::-1])[0], figures)
    assert sorted(again) == made
    assert {path: path.read_bytes() for path in again} == before


@pytest.mark.slow
def test_every_figure_of_hostile_names_is_drawn(root, tmp_path):
    made, notes = figure_catalogue.draw_all(compare(two_runs(root, classes=HOSTILE))[0], tmp_path / "figures")
    assert notes == [] and {path.stem for path in made} >= EXPECTED
    for path in made:
        opened(path)


OUTDATED = {"confusion-gone", "examples-gone", "mistakes-gone"}


def add_outdated(folder: Path) -> None:
    """Add figures of models that are no longer compared, and a file that is no figure."""
    for name in OUTDATED:
        (folder / f"{name}.png").write_bytes(b"outdated")
    (folder / "notes.txt").write_text("mine")


def test_outdated_figures_are_removed(root, tmp_path, unrendered):
    first = fake_runs.fake_run(root, "cnn", accuracy=0.8, dataset="smears", pictures=True, heatmaps=True)
    second = fake_runs.fake_run(root, "resnet50", accuracy=0.9, dataset="smears")
    before, _ = figure_catalogue.draw_all(compare([first, second])[0], tmp_path)
    assert {"confusion", "mistakes-cnn", "gradcam-panel"} <= {path.stem for path in before}
    add_outdated(tmp_path)
    made, notes = figure_catalogue.draw_all(compare([second])[0], tmp_path)  # one run, which is not explained
    assert sorted(tmp_path.glob("*.png")) == sorted(made) and notes == []
    assert not {"confusion", "mistakes-cnn", "gradcam-panel"} & {path.stem for path in made}
    assert (tmp_path / "notes.txt").is_file()
    perfect = fake_runs.fake_run(root, "resnet50", accuracy=1.0, dataset="smears")
    figure_catalogue.draw_all(compare([perfect])[0], tmp_path)
    assert not (tmp_path / "mistakes-resnet50.png").exists()  # it makes none any more


@pytest.mark.parametrize("gone", ["images", "manifest"])
def test_figures_that_cannot_be_drawn_again_are_kept(root, tmp_path, unrendered, gone):
    runs, figures = two_runs(root, pictures=True), tmp_path / "figures"
    figure_catalogue.draw_all(compare(runs)[0], figures)
    before = {path.name: path.read_bytes() for path in figures.iterdir()}
    add_outdated(figures)
    if gone == "images":
        shutil.rmtree(paths.raw_dir("smears"))
        kept = ["gradcam-panel.png", "mistakes-cnn.png", "mistakes-gone.png", "mistakes-resnet50.png", "samples.png"]
    else:
        runs[0].manifest_path().unlink()
        before.pop("significance.png")  # its intervals were taken over the groups of the manifest
        kept = ["distribution.png", "mistakes-gone.png", "samples.png"]
    made, notes = figure_catalogue.draw_all(compare(runs)[0], figures)
    (note,) = notes
    assert note.startswith(f"kept in {figures}") and note.endswith(f": {', '.join(kept)}")
    assert {path.name for path in figures.glob("*.png")} == {path.name for path in made} | set(kept)
    now = {path.name: path.read_bytes() for path in figures.glob("*.png")}
    assert {name: now[name] for name in before} == before
    _, (note,) = figure_catalogue.draw_all(compare(runs[:1])[0], figures)
    assert "mistakes-resnet50.png" in note or gone == "manifest"
    assert not (figures / "confusion.png").exists() and (figures / "samples.png").read_bytes() == before["samples.png"]


def test_one_run_without_images_or_manifest_has_the_other_figures(root, tmp_path, unrendered):
    run = fake_runs.fake_run(root, epochs=1)
    run.manifest_path().unlink()
    names = {path.stem for path in figure_catalogue.draw_all(compare([run])[0], tmp_path)[0]}
    assert "confusion-cnn" in names
    assert not names & {"confusion", "distribution", "samples", "mistakes-cnn"}
    assert mistake_sheets.misclassified_sheet(run, "", "", tmp_path) is None


def test_sheet_of_a_cell_shows_its_images_worst_first(root, tmp_path, monkeypatch):
    run = fake_runs.fake_run(root, accuracy=0.5, images=80, dataset="smears", pictures=True)
    seen = []
    black = np.zeros((9, 9, 3), np.uint8)
    monkeypatch.setattr(thumbnails, "of_dataset", lambda dataset, image, **_: seen.append(image) or black)
    path = mistake_sheets.misclassified_sheet(run, "", "Benign", tmp_path)
    assert path == tmp_path / "images-test-any-as-Benign.png"
    opened(path)
    assert seen == predictions.cell(run.predictions("test"), "", "Benign")["image"].tolist()[: mistake_sheets.SHEET]


def test_distribution_counts_the_manifest(root):
    run = fake_runs.fake_run(root, images=21)
    rows = manifests.read(run.manifest_path())
    display = class_distribution.DistributionDisplay.from_manifest(rows, "smears")
    assert list(display.counts) == ["train", "val", "test"]
    assert display.shares == {"train": 63, "val": 21, "test": 21}
    assert display.totals == {c: sum(row.label == c for row in rows.rows) for c in rows.classes}
    display.plot(subset="grouped")
    widths = [bar.get_width() for bar in display.axes_.patches]
    assert widths == [display.counts[s][c] for s in display.counts for c in display.classes]


def test_dataset_figures_are_the_distribution_and_samples_if_images_exist(root, tmp_path, unrendered):
    manifest = fake_runs.fake_run(root, dataset="smears", pictures=True).manifest_path()
    made = class_distribution.draw_all("smears", tmp_path / "figures", manifest)
    assert [path.name for path in made] == ["distribution.png", "samples.png"]
    for image in paths.raw_dir("smears").glob("*/*.png"):
        image.unlink()
    made[1].unlink()
    assert [path.name for path in class_distribution.draw_all("smears", tmp_path / "figures", manifest)] == [
        "distribution.png"
    ]


def test_overlay_changes_only_highlighted_pixels():
    pixels = np.full((40, 60, 3), 200, np.uint8)
    values = np.zeros((4, 6), np.float16)
    assert np.array_equal(heatmap_overlay.overlay(pixels, values), pixels)
    values[:, 3:] = 1
    laid = heatmap_overlay.overlay(pixels, values)
    assert laid.shape == pixels.shape and np.array_equal(laid[:, :18], pixels[:, :18])
    red, green, blue = laid[20, 55].astype(int)
    assert min(red, green) > blue + 80  # yellow


def test_heatmaps_have_label_and_probability_of_the_predictions(root):
    run = fake_runs.fake_run(root, accuracy=0.7, heatmaps=True)
    table = run.predictions("test").set_index("image")
    found = heatmap_overlay.read(run, "panel")
    assert [h.label for h in found] == list(run.config()["classes"])
    for heatmap in found:
        assert heatmap.probability == table.loc[heatmap.image, f"p_{heatmap.predicted}"]
        assert heatmap.right == (heatmap.predicted == table.loc[heatmap.image, "label"])
    run.file(run_folder.HEATMAPS).write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(LeukoBenchError, match=f"is damaged\\. .* explain {run.id}"):
        heatmap_overlay.read(run, "panel")


def test_the_panel_shows_one_seed_of_each_explained_model(root):
    runs = [
        fake_runs.fake_run(root, name, seed=seed, dataset="smears", pictures=True, heatmaps=name != "vgg", accuracy=a)
        for name, seed, a in (("cnn", 1, 0.8), ("cnn", 2, 0.9), ("resnet50", 1, 0.7), ("vgg", 1, 0.9))
    ]
    explained, problems = figure_catalogue.explained(compare(runs)[0])
    drawing = next(iter(figure_catalogue.heatmap_drawings(explained)))
    assert drawing.name == "gradcam-panel" and problems == []
    figure = drawing.draw()
    heads = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert heads == ["Image", "cnn seed 1", "resnet50"]  # of the lowest seed, not of the best run
    about = figure.get_suptitle().replace("\n", " ")
    assert style.NOTICE in about and "one seed of each model" in about
    assert not list(figure_catalogue.heatmap_drawings(figure_catalogue.explained(compare(runs[3:])[0])[0]))


def test_a_panel_of_many_models_continues_in_further_rows(root):
    runs = [
        fake_runs.fake_run(root, f"model{k}", dataset="smears", pictures=True, heatmaps=True, epochs=1)
        for k in range(9)
    ]
    figure = heatmap_sheets.panel(subjects(compare(runs)[0]))
    heads = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert heads.count("Image") == 2 and {*heads} == {"Image", *(f"model{k}" for k in range(9))}
    assert sum(bool(axes.images) for axes in figure.axes) == 4 * (9 + 2)
    assert figure.get_figwidth() * style.PHOTO_DPI < 1300


def test_runs_without_usable_heatmaps_are_named_and_left_out_of_the_panel(root, tmp_path, monkeypatch, unrendered):
    monkeypatch.setattr(figure_catalogue, "drawings", lambda comparison: ())  # the panel alone
    settings = {"dataset": "smears", "pictures": True, "epochs": 1}
    good, bare, bad = (
        fake_runs.fake_run(root, name, heatmaps=name != "vgg", **settings) for name in ("cnn", "vgg", "bad")
    )
    bad.file(run_folder.HEATMAPS).write_bytes(b"PK")
    comparison = compare([good, bare, bad])[0]
    assert [subject.run for subject in figure_catalogue.explained(comparison)[0]] == [good]
    made, notes = figure_catalogue.draw_all(comparison, tmp_path)
    assert "gradcam-panel" in {path.stem for path in made}
    for part in (f"vgg (python run_guide.py explain {bare.id})", "left out", bad.id):
        assert part in "\n".join(notes)


def test_captions_name_the_grid_of_heatmaps_and_warn_of_a_coarse_one(root):
    run = fake_runs.fake_run(root, dataset="smears", pictures=True, heatmaps=True)
    layer = heatmap_overlay.read(run)[0].layer
    image = {"class_name": "InputLayer", "config": {"name": "in", "batch_shape": [None, 8, 8, 3]}}
    pool = {"class_name": "MaxPooling2D", "config": {"name": layer, "pool_size": [4, 4]}}
    told = {"class_name": "Sequential", "config": {"name": "plain", "layers": [image, pool]}}
    files.write_json(run.file(run_folder.ARCHITECTURE), told)
    assert heatmap_overlay.grid_of(run, layer) == (2, 2) and heatmap_overlay.grid_of(run, "nowhere") is None
    assert not heatmap_overlay.coarse((7, 7)) and not heatmap_overlay.coarse(None)
    panel, *examples = figure_catalogue.heatmap_drawings(subjects(compare([run])[0]))
    assert "2 x 2 grid" in panel.draw().axes[1].get_title()
    assert "(2 x 2 grid)" in examples[0].draw().get_suptitle().replace("\n", " ")
    for drawing in (panel, *examples):
        assert "2 x 2 grid" in drawing.words and "coarse" in drawing.words
    assert "unsure" not in examples[0].title and "least" not in examples[0].words  # these heatmaps have none
    patches = {"class_name": "ViTPatchingAndEmbedding", "config": {"name": "p"}}
    tokens = {"class_name": "Sequential", "config": {"name": "plain", "layers": [image, patches]}}
    for count, grid in ((64, (8, 8)), (65, (8, 8)), (63, None)):
        files.write_json(run.file(run_folder.ARCHITECTURE), tokens | {"output_shapes": {"p": [None, count, 9]}})
        assert heatmap_overlay.grid_of(run, "transformer_block_3") == grid
    run.file(run_folder.ARCHITECTURE).unlink()
    assert heatmap_overlay.grid_of(run, layer) is None


def test_titles_give_the_number_of_images(root):
    found = compare([fake_runs.fake_run(root, images=21, dataset="smears", pictures=True)])[0]
    drawn = {drawing.name: drawing.draw for drawing in figure_catalogue.drawings(found)}
    assert drawn["training"]().get_suptitle().endswith(", 21 validation images")
    assert "63 training images" in drawn["samples"]().get_suptitle()


def test_photographs_keep_their_colours():
    pixels = np.random.default_rng(1).integers(0, 256, (100, 100, 3), np.uint8)
    figure = style.new_figure(2, 2)
    thumbnails.show(figure.subplots(), pixels)
    drawn = style.png(figure)
    picture = Image.open(io.BytesIO(drawn))
    assert picture.mode == "RGB" and style.png(figure) == drawn
    assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 5000


def test_names_of_runs_are_broken_at_words():
    assert style.wrap("efficientnetv2s", 12) == "efficientnetv2s"
    assert style.wrap("cnn seed 42 (clahe)", 12) == "cnn seed 42\n(clahe)"
    assert style.wrap("keras:InceptionResNetV2", 15) == "keras:\nInceptionResNet\nV2"
    assert style.wrap("keras:InceptionResNetV2", 30) == "keras:InceptionResNetV2"
    assert style.wrap("Ein_sehr_langer_Klassenname", 14) == "Ein_sehr_\nlanger_\nKlassenname"


def test_new_images_are_drawn_with_all_probabilities_and_the_notice(root, tmp_path, monkeypatch):
    run = fake_runs.fake_run(root)
    image = tmp_path / "smear.png"
    Image.new("RGB", (50, 40), (200, 100, 150)).save(image)
    kept = []
    monkeypatch.setattr(style, "png", lambda figure, real=style.png: kept.append(figure) or real(figure))
    shares = np.array([[0.1, 0.6, 0.25, 0.05]])
    images = [image, tmp_path / "gone.png"]
    opened(
        heatmap_sheets.draw_images(run, images, np.ones((2, 8, 8)), shares.repeat(2, 0), tmp_path / "figures" / "x.png")
    )
    assert kept[0].get_suptitle().startswith("Research only, not a diagnosis")
    bars = [bar.get_width() for bar in kept[0].axes[2].patches]
    assert bars == shares[0].tolist()
    assert [t.get_text() for t in kept[0].axes[3].texts] == ["image not\navailable"]


def test_forty_models_differ_in_colour_or_line_marker_and_hatch():
    for second in (style.line, style.marker, style.hatch):
        assert len({(style.colour(k), second(k)) for k in range(40)}) == 40


@pytest.mark.parametrize(("count", "longest"), [(3, 8), (7, 25), (7, 30), (25, 44), (2, 200)])
def test_a_legend_has_as_many_columns_as_fit_below_the_figure(count, longest):
    names = [f"{k:02d} {'x' * (longest - 5 * (k % 4))}" for k in range(count)]
    columns = style.legend_columns(names, 9, 3)
    figure = style.new_figure(9, 9)
    with style.applied():
        axes = figure.subplots()
        lines = [axes.plot([0, 1], [k, k], label=name)[0] for k, name in enumerate(names)]
        legend = figure.legend(lines, names, loc="outside lower center", ncols=columns)
        figure.draw_without_rendering()
    assert legend.get_window_extent().width <= figure.bbox.width or columns == 1
    assert columns == {8: 3, 25: 3, 30: 2, 44: 2, 200: 1}[longest]


def test_a_heatmap_method_has_one_colour_and_a_failed_sanity_check_is_labelled(root):
    def row(method, place, correlation):
        return dict.fromkeys(faithfulness_file.HEADER) | {
            "method": method, "images": 9, "deletion_auc_mean": place, "low": 0, "high": 1, "randomisation": correlation
        }  # fmt: skip

    looks = []
    for seed, places in enumerate([(0.1, 0.2, 0.3), (0.3, 0.2, 0.1)]):
        rows = [row(name, place, 0.1) for name, place in zip(("gradcam", "scorecam", "centre"), places, strict=True)]
        rows[1]["randomisation"] = 0.5
        run = fake_runs.fake_run(root, seed=seed)
        columns = faithfulness_file.HEADER
        text = files.csv_text(columns, ([r[key] if r[key] is not None else "" for key in columns] for r in rows))
        files.write_text(run.file("faithfulness.csv"), text)
        figure = faithfulness.figure(run)
        assert len(figure.axes) == 2, "a panel for each measure that has values, and no other"
        bars = figure.axes[0].patches
        names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
        looks.append({name: bar.get_facecolor() for name, bar in zip(names, bars, strict=True)})
        assert f"seed {seed}" in figure.get_suptitle()
    assert looks[0] == looks[1]
    assert list(looks[0]) == ["Grad-CAM", "Score-CAM\nfails the sanity check", "centre"]


def test_the_stress_page_shows_shortcut_margin_and_flip_rate(root):
    run = fake_runs.fake_run(root, images=40, accuracy=0.9)
    fake_runs.write_stress(run, {"stain swap": 0.4}, flip_rate=0.25)
    about = stress.figure(run).get_suptitle().replace("\n", " ")
    assert "Shortcut margin not known, stain flip rate 25.0 %" in about and "seed 42, 40 test images" in about
    fake_runs.write_shortcuts(run, {"colour histogram": 0.8})
    assert "Shortcut margin +10.0 points" in stress.figure(run).get_suptitle().replace("\n", " ")


def test_many_models_are_listed_in_a_legend(root):
    runs = [fake_runs.fake_run(root, f"model{k:02d}", epochs=1) for k in range(accuracy_vs_cost.NAMED + 1)]
    members = subjects(compare(runs)[0])
    assert not accuracy_vs_cost.draw(members[1:], "").legends
    (legend,) = accuracy_vs_cost.draw(members, "").legends
    assert [text.get_text() for text in legend.get_texts()] == [member.name for member in members]


@pytest.mark.slow
def test_drawing_imports_no_keras_and_opens_no_pyplot_figure(root, tmp_path):
    fake_runs.fake_run(root, dataset="smears", pictures=True, heatmaps=True)
    code = (
        "import sys; from pathlib import Path; from utils.runs.run_folder import find_runs\n"
        "from visualization.report import figure_catalogue; from visualization.report import report\n"
        "from utils.runs.comparison import compare\n"
        "assert not {'matplotlib', 'pandas', 'sklearn', 'jinja2', 'PIL'} & set(sys.modules)\n"
        "runs = find_runs(Path(sys.argv[1])); out = Path(sys.argv[2])\n"
        "figure_catalogue.draw_all(compare(runs)[0], out); assert (out / 'gradcam-panel.png').is_file()\n"
        "bad = {'keras', 'tensorflow', 'tf_keras_vis', 'models'} & {n.partition('.')[0] for n in sys.modules}\n"
        "assert not bad, bad\n"
        "import matplotlib.pyplot as plt; assert not plt.get_fignums()\n"
    )
    run_code(code, root, tmp_path)
