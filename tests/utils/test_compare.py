import json
import statistics
from pathlib import Path

import pytest
from checks import assert_facts, contents, one_line_error
from command_line import packages_of, run_guide
from fake_runs import FILES, fake_run, read_table

from guide import compare as commands
from guide.confusion import confusion
from utils.console import run_safely
from utils.errors import LeukoBenchError
from utils.io import files
from utils.metrics import predictions
from utils.runs import comparison as run_comparison
from utils.runs import run_folder
from utils.tables import cost as cost_tables

NEEDED = {"config.json", "environment.json", "history.csv", "predictions.csv", "timing.json", "metrics.json"}


@pytest.fixture
def stub(monkeypatch):
    """Stand in for the drawings, which have tests of their own; note how they are called."""
    calls = []

    def note(name, result):
        return lambda *arguments: calls.append((name, *arguments)) or result

    from visualization.images import mistake_sheets
    from visualization.report import figure_catalogue, report

    monkeypatch.setattr(figure_catalogue, "draw_all", note("draw_all", ([Path("a.png")], ["left out: a thing"])))
    monkeypatch.setattr(mistake_sheets, "misclassified_sheet", note("misclassified_sheet", Path("sheet.png")))
    monkeypatch.setattr(report, "write_report", note("write_report", Path("report.html")))
    return calls


def test_row_values_come_from_the_files_of_the_run(tmp_path):
    run = fake_run(tmp_path, "resnet50", seed=7, images=60, accuracy=0.85, settings=["freeze=always"])
    row = run_comparison.compare([run])[0].rows[0]
    assert row["accuracy"] == pytest.approx(51 / 60)
    assert (row["accuracy_low"], row["accuracy_high"]) == predictions.wilson(51, 60)
    assert (row["run"], row["seed"], row["initialisation"]) == (run.id, 7, "random features")
    assert (row["epochs_best"], row["epochs_ran"], row["training_seconds"]) == (3, 4, 42.0)
    timing = run.timing()["inference"]
    assert row["images_per_second_32"] == timing["throughput"]["32"]
    assert [row[key] for key in ("parameters", "flops", "bytes_on_disk")] == [4288068, 412345678, 51500000]
    assert row["test_identity"] == run.environment()["test_identity"]
    assert (row["cpu"], row["threads"], row["precision"]) == ("Example CPU @ 2.60GHz", 2, "float32")


def test_metrics_are_recomputed_from_predictions(tmp_path):
    run = fake_run(tmp_path, accuracy=0.5)
    files.write_json(run.file("metrics.json"), {"test": {"accuracy": 1.0}})
    assert run_comparison.compare([run])[0].rows[0]["accuracy"] == 0.5


def test_order_is_accuracy_then_log_loss(tmp_path):
    runs = [fake_run(tmp_path, name, accuracy=share) for name, share in (("a", 0.8), ("b", 0.9), ("c", 0.8))]
    rows = run_comparison.compare(runs)[0].rows
    assert rows[0]["model"] == "b"
    assert rows[1]["accuracy"] == rows[2]["accuracy"] and rows[1]["log_loss"] < rows[2]["log_loss"]
    assert run_comparison.compare(runs[::-1])[0].rows == rows


def test_each_test_set_has_its_own_tables(tmp_path, capsys):
    for name in ("cnn", "resnet50"):
        fake_run(tmp_path, name)
    fake_run(tmp_path, "cnn", test_identity="b" * 16, accuracy=1.0)
    commands.compare(figures=False, root=tmp_path)
    folder = tmp_path / "comparison"
    assert {row["model"] for row in read_table(folder / "table.csv")} == {"cnn", "resnet50"}
    assert [row["accuracy"] for row in read_table(folder / "synthetic-bbbbbbbb" / "table.csv")] == ["1"]
    assert "(test set bbbbbbbb)" in capsys.readouterr().out


def test_latest_finished_run_of_each_model_and_test_set(tmp_path):
    fake_run(tmp_path, accuracy=0.5)
    latest = fake_run(tmp_path, accuracy=0.7)
    unfinished = [fake_run(tmp_path, finished=False) for _ in range(3)][-1].id
    records, (problem,) = run_comparison.latest(tmp_path)
    assert [record.run for record in records] == [latest]
    assert_facts(problem, "left out: ", "metrics.json", f"python run_guide.py train --resume {unfinished}")


def test_damaged_run_is_replaced_by_the_previous_one(tmp_path):
    before = fake_run(tmp_path)
    damaged = fake_run(tmp_path)
    damaged.file("timing.json").unlink()
    records, (problem,) = run_comparison.latest(tmp_path)
    assert [record.run for record in records] == [before]
    assert problem.startswith(f"left out: Run {damaged.id} has no timing.json.")


def test_variants_of_a_model_have_rows_of_their_own(tmp_path, capsys):
    fake_run(tmp_path, "cnn", accuracy=0.5, settings=["variant=clahe"])
    kept = [fake_run(tmp_path, "cnn", accuracy=0.8, settings=["variant=clahe"]), fake_run(tmp_path, "cnn")]
    regimes = {"weights": "imagenet", "accuracy": 0.7}
    kept.append(fake_run(tmp_path, "resnet18", **regimes, settings=["freeze=always"], head_epochs=4))
    kept.append(fake_run(tmp_path, "resnet18", **regimes, settings=["freeze=always", "variant=gray"], head_epochs=4))
    records, _ = run_comparison.latest(tmp_path)
    assert [record.run for record in records] == sorted(kept)
    commands.compare(figures=False, root=tmp_path)
    rows = read_table(tmp_path / "comparison/table.csv")
    names = {"cnn": "rgb", "cnn (clahe)": "clahe", "resnet18 (frozen)": "rgb", "resnet18 (gray, frozen)": "gray"}
    assert {row["name"]: row["variant"] for row in rows} == names
    assert list(rows[0])[4:8] == ["seed", "initialisation", "variant", "image_size"]
    assert {row["name"]: row["variant"] for row in read_table(tmp_path / "comparison/per_class.csv")} == names
    assert "cnn (clahe)" in (tmp_path / "comparison/table.md").read_text()
    # quality, significance, per class, training, complexity, speed, runs
    assert capsys.readouterr().out.count("(clahe)") == 7


def test_seeds_of_a_variant_keep_its_label(tmp_path):
    runs = [fake_run(tmp_path, seed=seed, settings=["variant=clahe"]) for seed in (1, 2)] + [fake_run(tmp_path)]
    comparison = run_comparison.compare(runs)[0]
    assert {row["name"] for row in comparison.rows} == {"cnn", "cnn seed 1 (clahe)", "cnn seed 2 (clahe)"}
    (row,) = comparison.seeds
    assert (row["name"], row["variant"]) == ("cnn (clahe)", "clahe")
    assert list(row)[:4] == ["name", "model", "initialisation", "variant"]


def test_run_of_an_older_version_has_variant_rgb(tmp_path):
    run = fake_run(tmp_path, "resnet50", settings=["freeze=always"])
    config = run.config()
    for name in ("variant", "flavour", "offline", "dense", "weight_decay", "rate_drop_every", "rate_drop"):
        config.pop(name)
    files.write_json(run.file("config.json"), config)
    (row,) = run_comparison.compare([run])[0].rows
    assert (row["name"], row["variant"]) == ("resnet50 (random features)", "rgb")
    commands.compare(figures=False, tables="all", root=tmp_path)


def test_a_run_named_twice_is_compared_once(tmp_path, monkeypatch):
    run = fake_run(tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    commands.compare(["cnn", run.id, str(run.path)], figures=False, root=Path("runs"))
    assert len(read_table(tmp_path / "runs/comparison/table.csv")) == 1


def test_mean_and_sd_over_seeds(tmp_path):
    shares = {41: 0.8, 42: 0.9, 43: 0.95}
    for seed, share in shares.items():
        fake_run(tmp_path, seed=seed, accuracy=share)
    fake_run(tmp_path, seed=41, accuracy=0.85)  # the later one of seed 41 counts
    fake_run(tmp_path, seed=44, accuracy=0.1, settings=["epochs=3"])  # another recipe does not
    with_other = run_folder.find_runs(tmp_path)
    (row,) = run_comparison.compare(with_other)[0].seeds
    assert (row["runs"], row["seeds"]) == (3, "41 42 43")
    expected = [0.85, 0.9, 0.95]
    assert row["accuracy_mean"] == pytest.approx(statistics.mean(expected))
    assert row["accuracy_sd"] == pytest.approx(statistics.stdev(expected))
    assert row["training_seconds_mean"] == 42.0


def test_all_seeds_adds_runs_of_other_seeds(tmp_path):
    fake_run(tmp_path, seed=9, settings=["epochs=3"])
    for seed in (1, 2, 3):
        fake_run(tmp_path, seed=seed, accuracy=0.8)
    commands.compare(figures=False, root=tmp_path)
    assert len(read_table(tmp_path / "comparison/table.csv")) == 1
    assert not (tmp_path / "comparison/seeds.csv").exists()
    commands.compare(figures=False, all_seeds=True, root=tmp_path)
    rows = read_table(tmp_path / "comparison/table.csv")
    assert sorted(row["name"] for row in rows) == ["cnn seed 1", "cnn seed 2", "cnn seed 3"]
    assert "0.8" in read_table(tmp_path / "comparison/seeds.csv")[0]["accuracy_mean"]
    commands.compare([rows[0]["run"]], figures=False, all_seeds=True, root=tmp_path)
    assert read_table(tmp_path / "comparison/table.csv") == rows
    commands.compare(figures=False, root=tmp_path)  # without seeds the table of seeds would be of other runs
    assert not (tmp_path / "comparison/seeds.csv").exists()


def test_times_of_different_machines_are_not_averaged(tmp_path):
    runs = [fake_run(tmp_path, seed=seed) for seed in (1, 2)]
    about = runs[0].environment()
    files.write_json(runs[0].file("environment.json"), about | {"threads": 8})
    comparison = run_comparison.compare(runs)[0]
    assert comparison.seeds[0]["training_seconds_mean"] is None
    assert comparison.seeds[0]["accuracy_mean"] is not None
    assert [row[1] for row in cost_tables.machines(comparison.rows)[0].rows] == [
        f"Example CPU @ 2.60GHz, {threads} threads, float32" for threads in (row["threads"] for row in comparison.rows)
    ]


def test_the_same_runs_give_the_same_bytes(tmp_path):
    for name in ("cnn", "resnet50"):
        for seed in (1, 2):
            fake_run(tmp_path, name, seed=seed, accuracy=0.8)
    names = [run.id for run in run_folder.find_runs(tmp_path)]
    commands.compare(names, figures=False, root=tmp_path)
    first = contents(tmp_path / "comparison")
    stems = ("table", "per_class", "seeds", "baseline", "hyperparameters")
    stems += ("significance", "pairs", "intervals", "calibration")
    assert set(first) == {f"{stem}.{suffix}" for stem in stems for suffix in ("csv", "md", "tex", "html")}
    for path in (tmp_path / "comparison").iterdir():
        path.unlink()
    done = run_guide("compare", *names[::-1], "--no-figures", "--root", tmp_path)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "comparison") == first


def test_special_characters_in_class_names_are_escaped(tmp_path, capsys):
    classes = ("[Malignant] Pre-B", "A|B", "<b>&_%", "x^~{")
    fake_run(tmp_path, classes=classes, images=8)
    commands.compare(figures=False, root=tmp_path)
    folder = tmp_path / "comparison"
    assert "&lt;b&gt;&amp;_%" in (folder / "per_class.html").read_text()
    assert r"| A\|B " in (folder / "per_class.md").read_text()
    assert r"\textless" not in (folder / "per_class.tex").read_text()
    assert r"<b>\&\_\% &" in (folder / "per_class.tex").read_text()
    assert r"x\textasciicircum{}\textasciitilde{}\{" in (folder / "per_class.tex").read_text()
    assert {row["class"] for row in read_table(folder / "per_class.csv")} == set(classes)
    assert "[Malignant] Pre-B" in capsys.readouterr().out


def test_class_without_test_images_has_dashes(tmp_path, capsys):
    run = fake_run(tmp_path, images=3)  # four classes: the last one has no test image
    commands.compare(figures=False, root=tmp_path)
    row = read_table(tmp_path / "comparison/per_class.csv")[3]
    assert (row["class"], row["support"], row["recall"], row["auc"]) == ("Pro", "0", "", "")
    assert read_table(tmp_path / "comparison/table.csv")[0]["auc_ovr_macro"] == ""
    confusion(run.id, root=tmp_path)
    assert capsys.readouterr().out


@pytest.mark.parametrize("missing", FILES)
def test_run_with_a_missing_file_is_skipped_and_reported(tmp_path, capsys, stub, missing):
    fake_run(tmp_path, "resnet50", accuracy=0.8)
    run = fake_run(tmp_path, "cnn", accuracy=0.9)
    kept = contents(tmp_path)
    run.file(missing).unlink()
    commands.compare(figures=False, root=tmp_path)
    said = capsys.readouterr().err
    models = [row["model"] for row in read_table(tmp_path / "comparison/table.csv")]
    if missing in NEEDED:
        assert models == ["resnet50"]
        assert said.startswith("Note: left out: ") and said.count("\n") == 1
        assert run.id in said and missing in said
        for command in (commands.compare, commands.report):
            with one_line_error(run.id, missing):
                command([run.id], root=tmp_path)
    else:
        assert models == ["cnn", "resnet50"] and not said
    commands.report(root=tmp_path)
    assert len(stub[-1][1][0].runs) == len(models)
    del kept[f"{run.id}/{missing}"]
    now = contents(tmp_path)
    assert {name: now[name] for name in kept} == kept


@pytest.mark.parametrize("missing", FILES)
def test_confusion_needs_only_config_and_predictions(tmp_path, capsys, missing):
    run = fake_run(tmp_path)
    run.file(missing).unlink()
    code = run_safely(lambda: confusion(run.id, root=tmp_path))
    shown = capsys.readouterr()
    if missing in ("config.json", "predictions.csv"):
        assert code == 1 and shown.err.count("\n") == 1 and missing in shown.err
    else:
        assert code == 0 and not shown.err


def test_missing_manifest_is_a_warning(tmp_path, capsys):
    run = fake_run(tmp_path)
    run.manifest_path().unlink()
    commands.compare(figures=False, root=tmp_path)
    assert capsys.readouterr().err.startswith(f"Note: {run.manifest_path()} is missing")


@pytest.mark.parametrize("name", sorted(n for n in NEEDED if n != "metrics.json"))
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"null", b"{}", b"a,b\n1,2\n"])
def test_damaged_file_is_a_one_line_error(tmp_path, name, content):
    run = fake_run(tmp_path, images=4)
    run.file(name).write_bytes(content)
    with one_line_error(name):
        run_comparison.compare([run])


def test_missing_rows_of_predictions_are_an_error(tmp_path):
    run = fake_run(tmp_path)
    path = run.file("predictions.csv")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(LeukoBenchError, match=r"does not hold the test images of its manifest: 39 rows, expected 40 "):
        run_comparison.compare([run])


def test_text_instead_of_a_number_is_an_error(tmp_path):
    run = fake_run(tmp_path)
    timing = run.timing()
    timing["inference"]["flops"] = "many"
    files.write_json(run.file("timing.json"), timing)
    with pytest.raises(LeukoBenchError, match="should hold a number under 'flops'; received 'many'"):
        run_comparison.compare([run])


def test_no_runs_at_all(tmp_path, capsys):
    with pytest.raises(LeukoBenchError, match=r"holds no finished runs that can be compared\. Train one"):
        commands.compare(root=tmp_path)
    run = fake_run(tmp_path, finished=False)
    with pytest.raises(LeukoBenchError, match=f"Left out: Run {run.id} is not finished"):
        commands.compare(root=tmp_path)
    with pytest.raises(LeukoBenchError, match="is not finished"):
        commands.compare([run.id], root=tmp_path)


def test_figures_are_drawn_for_each_test_set(tmp_path, stub, capsys):
    fake_run(tmp_path)
    fake_run(tmp_path, test_identity="b" * 16)
    commands.compare(root=tmp_path)
    drawn = [(name, folder.relative_to(tmp_path).as_posix()) for name, _, folder in stub]
    main, other = sorted({folder for _, folder in drawn}, key=len)
    assert main == "comparison/figures" and other.startswith("comparison/synthetic-")
    assert [name for name, _ in drawn] == ["draw_all", "draw_all"]
    assert capsys.readouterr().err == "Note: left out: a thing\n" * 2


def test_file_in_place_of_the_output_folder(tmp_path, capsys):
    fake_run(tmp_path)
    (tmp_path / "comparison").write_text("mine")
    assert run_safely(lambda: commands.compare(figures=False, root=tmp_path)) == 1
    said = capsys.readouterr().err
    assert said.startswith("Error: ") and said.count("\n") == 1 and f"{tmp_path}/comparison: " in said
    assert (tmp_path / "comparison").read_text() == "mine"


@pytest.mark.slow
def test_tables_need_neither_keras_nor_matplotlib(tmp_path):
    for number in range(3):
        fake_run(tmp_path, f"model{number}")
    program = (
        "import sys; from pathlib import Path; from guide.compare import compare, runs_\n"
        "from guide.confusion import confusion\n"
        "root = Path(sys.argv[1]); compare(figures=False, root=root); confusion('model0', root=root); runs_(root)"
    )
    _, packages = packages_of(program, tmp_path)
    assert not packages & {"keras", "tensorflow", "matplotlib", "seaborn", "PIL", "torch"}


@pytest.mark.parametrize("all_seeds", [False, True])
def test_on_screen_every_table_fits_80_columns(tmp_path, monkeypatch, capsys, all_seeds):
    monkeypatch.setenv("NO_COLOR", "1")
    changes = ["flips=true", "rotation=15", "zoom=0.1", "brightness=0.1", "colour=0.25", "shift=0.05"]
    heavy = [
        *("variant=reinhard", "variant.reference=Early/train-000.png", "freeze=always", "weight_decay=1e-05"),
        *("rate_drop_every=7", "fine_tune_class_weights=true", "offline.copies=3", "offline.balance=true"),
        *(f"augmentation.{change}" for change in changes),
    ]
    for seed in (42, 43):
        fake_run(tmp_path, "efficientnetv2s", seed=seed, accuracy=1.0, settings=heavy, head_epochs=4)
        fake_run(tmp_path, "keras:InceptionResNetV2", seed=seed, accuracy=1.0, weights="imagenet", head_epochs=2)
        fake_run(tmp_path, "cnn", seed=seed, dataset="ALL_dataset")
    about = run_folder.find_runs(tmp_path)[0]
    files.write_json(about.file("environment.json"), about.environment() | {"precision": "mixed_bfloat16"})
    commands.compare(figures=False, all_seeds=all_seeds, tables="all", root=tmp_path)
    ruled = [line for line in capsys.readouterr().out.splitlines() if line and line[0] in "│┃┏┡└|+"]
    assert ruled and max(map(len, ruled)) <= 80


def test_confusion_prints_counts_and_row_shares(tmp_path, capsys):
    run = fake_run(tmp_path, accuracy=1.0)
    confusion("cnn", root=tmp_path)
    shown = capsys.readouterr().out
    assert f"{run.id}: test images" in shown and shown.count("10 (100.0)") == 4 and shown.count("0 (0.0)") == 12
    confusion("cnn", subset="val", root=tmp_path)
    assert "validation images" in capsys.readouterr().out


def test_confusion_of_twelve_classes_fits_80_columns(tmp_path, capsys):
    run = fake_run(tmp_path, classes=[f"class number {k:02d}" for k in range(12)], images=480, accuracy=0.9)
    confusion(run.id, root=tmp_path)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert shown.count("12 class number 11") == 2
    matrix = predictions.confusion(run.predictions("test"))
    assert str(matrix[0][0]) in next(line for line in shown.splitlines() if line.startswith("1 class number 00"))


def test_confusion_lists_a_cell_worst_first_and_draws_it(tmp_path, capsys, stub):
    run = fake_run(tmp_path, images=200, accuracy=0.6)
    confusion(run.id, true="EARLY", predicted="benign", root=tmp_path)
    shown = capsys.readouterr().out
    listed = [line.split("│")[1].strip() for line in shown.splitlines() if "│ Early/" in line]
    expected = predictions.cell(run.predictions("test"), "Early", "Benign")
    assert len(expected) > 2 and listed == list(expected["image"])
    assert list(expected["p_Benign"]) == sorted(expected["p_Benign"], reverse=True)
    assert stub == [("misclassified_sheet", run, "Early", "Benign", run.file("figures"), "test")]
    assert "Sheet: sheet.png" in shown


def test_confusion_without_the_images_still_lists_them(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LEUKOBENCH_DATA", str(tmp_path / "data"))
    fake_run(tmp_path, accuracy=0.5)
    confusion("cnn", true="Pre", root=tmp_path)
    shown = capsys.readouterr()
    assert "Pre/test-" in shown.out
    assert shown.err == f"Note: No sheet: the images are not in {tmp_path}/data/raw/synthetic.\n"


def test_confusion_of_an_empty_cell_and_of_unknown_classes(tmp_path, capsys, stub):
    fake_run(tmp_path, accuracy=1.0)
    confusion("cnn", true="Pre", predicted="Pro", root=tmp_path)
    assert "There are no Pre test images predicted as Pro." in capsys.readouterr().out
    confusion("cnn", predicted="Pro", root=tmp_path)
    assert "There are no test images predicted as Pro that are not." in capsys.readouterr().out
    with one_line_error("'erly'", "'Early'?", "Benign, Early, Pre, Pro"):
        confusion("cnn", true="erly", root=tmp_path)
    with one_line_error("'zzz'", "Benign, Early, Pre, Pro"):
        confusion("cnn", predicted="zzz", root=tmp_path)
    assert not stub


def test_report_is_given_the_runs_and_their_root(tmp_path, stub, capsys):
    run = fake_run(tmp_path)
    commands.report(root=tmp_path)
    ((name, (comparison,), *places),) = stub
    assert (name, comparison.runs) == ("write_report", [run])
    assert places == [tmp_path / "comparison/report.html", tmp_path, "cnn"]
    assert "Report: report.html" in capsys.readouterr().out


def test_runs_lists_each_state(tmp_path, capsys):
    good, cut, bad, light = (fake_run(tmp_path, m, finished=m != "cut") for m in ("good", "cut", "bad", "light"))
    bad.file("timing.json").write_text("{")
    light.file("model.weights.h5").unlink()
    commands.runs_(tmp_path)
    shown = capsys.readouterr().out
    states = {line.split("│")[1].strip(): line.split("│")[3].strip() for line in shown.splitlines() if "│" in line}
    assert states == {"good": "finished", "cut": "unfinished", "bad": "damaged", "light": "finished"}
    assert f"{cut.id}: continue with: python run_guide.py train --resume {cut.id}" in shown
    assert f"{light.id}: without model.weights.h5" in shown and f"{good.id}:" not in shown
    assert "timing.json is damaged" in shown


def test_fake_runs_have_the_real_formats(tmp_path):
    from data import manifest

    run = fake_run(tmp_path, heatmaps=True)
    assert run_folder.find_runs(tmp_path, finished=True) == [run]
    assert {path.name for path in run.path.iterdir()} == {*FILES, "heatmaps.npz"}
    split = manifest.read(run.manifest_path())
    assert split.hash == run.environment()["manifest"] and split.test_identity == run.environment()["test_identity"]
    assert {row.image for row in split.subset("test")} == set(run.predictions("test")["image"])
    assert json.loads(run.file("metrics.json").read_text())["test"]["accuracy"] == 0.9
