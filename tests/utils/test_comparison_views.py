"""The views beside the ranking: classification report, baseline, extractors, hyper-parameters, published claims."""

import re

import numpy as np
import pytest
from checks import assert_facts, one_line_error
from fake_runs import answer, fake_run, read_table
from sklearn.metrics import classification_report, confusion_matrix

from guide import compare as commands
from guide.app import main
from guide.confusion import classification
from utils.errors import LeukoBenchError
from utils.io import files
from utils.metrics import predictions
from utils.runs import comparison as run_comparison
from utils.runs import run_folder
from utils.tables import baseline_vs_best, comparison_views, frozen_backbones, hyperparameters, writers
from utils.tables.classification_report import Classification
from utils.tables.table import HYPHEN, SOFT, Table, joined, name_lines, on_screen
from visualization.report import published_claims


@pytest.mark.parametrize("subset", ["test", "val"])
def test_classification_equals_scikit_learn(tmp_path, capsys, subset):
    run = fake_run(tmp_path, images=90, accuracy=0.7)
    classification("cnn", subset=subset, root=tmp_path)
    name = "classification" if subset == "test" else "classification-val"
    rows = {row["class"]: row for row in read_table(run.file("figures") / f"{name}.csv")}
    table, classes = run.predictions(subset), run.config()["classes"]
    named = np.array(classes)[table[[f"p_{c}" for c in classes]].to_numpy().argmax(axis=1)]
    expected = classification_report(table["label"], named, output_dict=True)
    assert float(rows["accuracy"]["f1"]) == pytest.approx(expected.pop("accuracy"))
    assert set(rows) == {*expected, "accuracy"}
    for label, scores in expected.items():
        for key in ("precision", "recall", "f1-score", "support"):
            assert float(rows[label][key.removesuffix("-score")]) == pytest.approx(scores[key])
    matrix = confusion_matrix(table["label"], named)
    for k, label in enumerate(classes):
        others = np.delete(matrix, k, axis=0)
        assert float(rows[label]["specificity"]) == pytest.approx(1 - others[:, k].sum() / others.sum())
        bounds = predictions.wilson(int(matrix[k, k]), int(matrix[k].sum()))
        assert [float(rows[label][f"recall_{end}"]) for end in ("low", "high")] == pytest.approx(bounds)
    shown = capsys.readouterr().out
    assert f"{expected['Early']['precision']:.4f}" in shown and "macro avg" in shown
    ruled = [line for line in shown.splitlines() if line and line[0] in "│┃┏┡└"]
    assert ruled and max(map(len, ruled)) <= 80
    assert {path.suffix for path in run.file("figures").glob(f"{name}.*")} == {".csv", ".md", ".tex", ".html"}


def test_classification_of_a_class_without_images_is_not_defined(tmp_path):
    rows = Classification.from_predictions(fake_run(tmp_path, images=3, accuracy=1.0).predictions("test")).rows
    assert [rows[3][key] for key in ("class", "recall", "recall_low", "specificity")] == ["Pro", None, None, 1.0]


def test_classification_names_a_wrong_subset_and_a_damaged_run(tmp_path, capsys):
    run = fake_run(tmp_path)
    assert main(["classification", "cnn", "--subset", "tets", "--root", str(tmp_path)]) == 1
    assert_facts(capsys.readouterr().err.strip(), run.id, "'tets'", "Did you mean 'test'?", "It has: val, test.")
    run.file("predictions.csv").unlink()
    with pytest.raises(LeukoBenchError, match=re.escape(f"Run {run.id} has no predictions.csv")):
        classification("cnn", root=tmp_path)


def test_baseline_against_best_counts_what_only_one_gets_right(tmp_path, capsys):
    plain = answer(fake_run(tmp_path, "cnn"), wrong=set(range(10)))
    better = answer(fake_run(tmp_path, "resnet50"), wrong={0, 1, 30})
    fake_run(tmp_path, "vgg", accuracy=0.5)
    timing = better.timing()
    timing["training"]["seconds"] = 105.0
    files.write_json(better.file("timing.json"), timing)
    commands.compare(figures=False, tables="baseline", root=tmp_path)
    (row,) = read_table(tmp_path / "comparison/baseline.csv")
    assert (row["baseline_run"], row["best_run"], row["images"]) == (plain.id, better.id, "40")
    counts = [row[key] for key in ("baseline_alone", "best_alone", "both_right", "both_wrong")]
    assert counts == ["1", "8", "29", "2"]
    assert float(row["mcnemar_p"]) == pytest.approx(2 * (1 + 9) / 2**9)  # 9 throws, at most 1 head, both sides
    assert float(row["difference"]) == pytest.approx(7 / 40)
    assert float(row["baseline_recall_Benign"]) == 0.0 and float(row["best_recall_Benign"]) == 0.8  # the first ten
    assert float(row["training_seconds_ratio"]) == pytest.approx(2.5)
    shown = capsys.readouterr().out
    assert "Baseline against best" in shown and "Quality" not in shown
    assert float(row["group_p"]) >= 2 / 2**5  # of five groups
    for text in ("+17.50 points", f"p = {float(row['group_p']):.3g}", "x 2.50", "+80.00 points", "Only this one right"):
        assert text in shown


def test_leading_baseline_is_compared_with_the_next(tmp_path):
    runs = [answer(fake_run(tmp_path, name), set(range(wrong))) for name, wrong in (("cnn", 1), ("a", 3), ("b", 2))]
    (comparison,) = run_comparison.compare(runs)
    (row,) = baseline_vs_best.records(comparison)
    assert (row["baseline"], row["best"], row["mcnemar_p"]) == ("cnn", "b", 1.0)
    assert baseline_vs_best.tables([row])[0].title == "Baseline, which leads, against the next"
    (row,) = baseline_vs_best.records(comparison, "a")
    assert (row["baseline"], row["best"]) == ("a", "cnn")


def test_missing_and_unknown_baseline_and_unknown_table(tmp_path):
    fake_run(tmp_path, "resnet50", settings=["variant=clahe"])
    fake_run(tmp_path, "vgg")
    with one_line_error("baseline 'vg'", "'vgg'?", "resnet50 (clahe)"):
        commands.compare(figures=False, baseline="vg", root=tmp_path)
    with one_line_error("table 'extractor'", "'extractors'?", "main, all"):
        commands.compare(figures=False, tables="quality,extractor", root=tmp_path)
    assert not (tmp_path / "comparison").exists()
    commands.compare(figures=False, root=tmp_path)
    assert not (tmp_path / "comparison/baseline.csv").exists()
    commands.compare(figures=False, baseline="resnet50 (clahe)", root=tmp_path)
    assert read_table(tmp_path / "comparison/baseline.csv")[0]["baseline"] == "resnet50 (clahe)"


def test_seconds_of_different_machines_make_no_ratio(tmp_path):
    runs = [fake_run(tmp_path, name) for name in ("cnn", "vgg")]
    files.write_json(runs[0].file("environment.json"), runs[0].environment() | {"threads": 8})
    (row,) = baseline_vs_best.records(run_comparison.compare(runs)[0])
    assert row["training_seconds_ratio"] is None and row["latency_ms_p50_ratio"] is None


def test_extractors_are_compared_with_the_same_model_trained_whole(tmp_path, capsys):
    pretrained = {"weights": "imagenet"}
    frozen = fake_run(tmp_path, "resnet18", **pretrained, settings=["freeze=always"], head_epochs=4, accuracy=0.8)
    tuned = fake_run(tmp_path, "resnet18", **pretrained, settings=["head_epochs=2"], head_epochs=2, accuracy=0.95)
    fake_run(tmp_path, "resnet18", accuracy=1.0)  # from random weights: another thing
    fake_run(tmp_path, "keras:InceptionResNetV2", accuracy=1.0)
    other = fake_run(tmp_path, "vgg16", **pretrained, settings=["freeze=always"], head_epochs=4, accuracy=0.75)
    fake_run(tmp_path, "cnn")
    (comparison,) = run_comparison.compare(run_folder.find_runs(tmp_path))
    rows = {row["run"]: row for row in frozen_backbones.records(comparison)}
    assert set(rows) == {frozen.id, tuned.id, other.id}
    row = rows[frozen.id]
    assert (row["features"], row["pass_seconds"], row["head_epochs"], row["head_seconds"]) == (512, 4.25, 4, 37.75)
    assert (row["frozen_accuracy"], row["whole_run"], row["whole_accuracy"]) == (0.8, tuned.id, 0.95)
    assert row["difference"] == pytest.approx(0.15)
    row = rows[tuned.id]
    assert (row["frozen_accuracy"], row["whole_run"], row["difference"]) == (None, tuned.id, None)
    assert row["frozen_val_accuracy"] == max(e["val_accuracy"] for e in tuned.history()[:2])
    row = rows[other.id]
    assert (row["frozen_accuracy"], row["whole_run"], row["difference"]) == (0.75, None, None)
    (table,) = frozen_backbones.tables(frozen_backbones.records(comparison))
    commands.compare(figures=False, tables="extractors,baseline", baseline="vgg16 (frozen)", root=tmp_path)
    assert SOFT not in capsys.readouterr().out
    assert "+15.00" in next(cells for cells in table.rows if cells[0] == "resnet18\n(frozen)")
    made = comparison_views.write(comparison, tmp_path / "out")
    assert (tmp_path / "out/extractors.csv") in made
    for name in ("extractors.md", "hyperparameters.html"):
        assert (tmp_path / "out" / name).is_file()
    comparison_views.write(run_comparison.compare([comparison.runs[0]])[0], tmp_path / "out")
    assert not list((tmp_path / "out").glob("extractors.*"))  # of an earlier comparison


def test_hyperparameters_say_what_was_used(tmp_path):
    settings = ["weight_decay=1e-05", "rate_drop_every=7", "freeze=auto", "head_epochs=2", "patience=5", "dense=256"]
    settings += ["augmentation.flips=true", "augmentation.rotation=15", "augmentation.colour=0.1", "variant=clahe"]
    settings += ["offline.copies=2", 'offline.augmentation={"quarter_turns": true}', "fine_tune_class_weights=true"]
    heavy = fake_run(tmp_path, "vgg", weights="imagenet", settings=settings, head_epochs=2)
    light = fake_run(tmp_path, "cnn")
    (comparison,) = run_comparison.compare([heavy, light])
    rows = {row["run"]: row for row in hyperparameters.records(comparison)}
    row = rows[heavy.id]
    assert (row["optimiser"], row["weight_decay"], row["rate_drops"]) == ("AdamW", 1e-5, "x 0.1 every 7 epochs")
    assert (row["rate_head"], row["rate_whole"]) == (0.001, 0.0001)
    assert (row["base"], row["dense"], row["patience"]) == ("frozen 2 epochs, then trained", 256, 5)
    assert row["augmentation"] == "flips, rotation ±15°, colour ±10%"
    assert row["offline"] == "2 an image: quarter turns"
    assert (row["variant"], row["class_weights"]) == ("clahe (clip 2, 8 x 8 tiles)", "fine-tuning")
    row = rows[light.id]
    assert (row["optimiser"], row["rate_head"], row["base"], row["offline"]) == ("Adam", None, "trained", "none")
    for table in hyperparameters.tables(hyperparameters.records(comparison)):
        assert {cells[0] for cells in table.rows} == {"vgg\n(clahe)", "cnn"}


def test_every_config_field_is_in_the_tables_or_listed():
    from models.engine.config.base import BackboneConfig

    listed = {"model", "dataset", "split", "split_seed", "seed", "classes", "cache_mb"}
    listed |= {"heatmap_layer", "heatmap_method", "label_smoothing"}
    assert set(BackboneConfig.model_fields) - hyperparameters.SAID == listed
    assert hyperparameters.SAID - set(BackboneConfig.model_fields) == {"initialisation", "flavour"}


def test_published_claims_name_a_source_and_what_they_were_measured_on():
    claims = published_claims.claims()
    assert len(claims) >= 7
    for claim in claims:
        assert all(claim[key] for key in ("model", "dataset", "metric", "claimed", "subset", "split", "source"))
        assert claim["link"].startswith("https://") or "no address known" in claim["source"]
    assert {claim["claimed"] for claim in claims} >= {"98.93 %", "89.42 %", "98.81 %", "99.85 %", "97.42 %"}


def test_published_claims_come_last_and_in_files_of_their_own(tmp_path, capsys):
    fake_run(tmp_path, dataset="ALL_dataset")
    commands.compare(figures=False, tables="all", root=tmp_path)
    before, after = capsys.readouterr().out.split(published_claims.TITLE)
    assert "98.93" in after and "98.93" not in before and "Runs" in before and "Runs" not in after
    folder = tmp_path / "comparison"
    for path in folder.iterdir():
        assert ("98.93" in path.read_text()) == (path.stem == "published")
    commands.compare(figures=False, root=tmp_path)
    assert published_claims.TITLE not in capsys.readouterr().out
    other = fake_run(tmp_path / "synthetic")
    commands.compare([str(other.path)], figures=False, root=tmp_path)
    assert not list(folder.glob("published*"))


def test_views_are_listed_once_and_in_their_order(tmp_path):
    from guide.views import chosen_views

    for seed in (1, 2):
        fake_run(tmp_path, seed=seed, measured=True, test_sets=("test", "test_later"))
    frozen = fake_run(tmp_path, "vgg", head_epochs=4)
    files.write_json(frozen.file("environment.json"), frozen.environment() | {"threads": 8})
    fake_run(tmp_path, split="grouped")
    comparison = run_comparison.compare(run_folder.find_runs(tmp_path))[0]
    found = comparison_views.views(comparison, "cnn seed 1")
    assert (*found, "published") == chosen_views("all")
    assert set(chosen_views("main")) < set(chosen_views("all"))
    written = "".join(path.read_text() for path in comparison_views.write(comparison, tmp_path / "out"))
    for view in comparison_views.VIEWS:
        assert [table.words_below for table in found[view.name]][-1] == view.words
        assert joined(view.words).replace("*", "\\*") in written  # in Markdown; HTML as well
    for broken in ("Train-", "Fea-", "Un-", "Dele-", HYPHEN, SOFT):
        assert broken not in written


@pytest.mark.parametrize(
    ("name", "screen", "line"),
    [
        ("cnn", "cnn", "cnn"),
        ("cnn seed 42 (clahe)", "cnn\nseed 42\n(clahe)", "cnn seed 42 (clahe)"),
        ("vit_b16 (tiny, gray)", "vit_b16\n(tiny, gray)", "vit_b16 (tiny, gray)"),
        ("resnet50 (random features)", "resnet50\n(random\nfeatures)", "resnet50 (random features)"),
        ("keras:InceptionResNetV2", "keras:\nInceptionResNet\nV2", "keras:InceptionResNetV2"),
        ("keras:VGG19 (frozen)", "keras:\nVGG19\n(frozen)", "keras:VGG19 (frozen)"),
        ("smearnet (stain-swapping)", "smearnet\n(stain-\nswapping)", "smearnet (stain-swapping)"),
    ],
)
def test_a_name_is_broken_on_screen_and_whole_in_files(name, screen, line):
    broken = name_lines(name)
    assert on_screen(broken) == screen and joined(broken) == line


def test_heads_broken_by_a_hyphen_are_whole_in_every_file(tmp_path):
    heads = ("Model", "Un-\nchanged", f"Fea{HYPHEN}tures", "16-\n32", "Stain\nswap", "Non- linear")
    made = writers.write_all(tmp_path / "broken", "T", [], [Table("T", heads, [["cnn", *"12345"]])])
    assert len(made) == 3
    for path in made:
        text = path.read_text()
        for whole in ("Unchanged", "Features", "16- 32", "Stain swap", "Non- linear"):
            assert whole in text, path.name
    assert on_screen(heads[1]) == heads[1]
