"""The stress test: a model that reads the stain is detected, a model that reads the cells is not."""

import shutil

import fake_runs
import numpy as np
import pytest

from data.manifest import read as read_manifest
from data.perturbations import registry as perturbations
from data.synthetic import generator as synthetic
from models.engine.robustness import stress_test
from models.engine.robustness.stress_test import UNCHANGED, Subject
from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import shortcuts_file, stress_controls, stress_file
from utils.runs.run_folder import Run
from utils.runs.stress_controls import EFFECT, FOLLOWING
from utils.tables import stress as stress_tables

TRUTH = ("grey", "stain swap", "background", "cells removed")
# The stain is learned faster than the cells, and from smaller images.
FIELDS = {
    "confounded": {"image_size": 32, "filters": (8, 16, 16), "epochs": 10},
    "independent": {"image_size": 48, "filters": (8, 16, 24), "epochs": 16},
}


@pytest.fixture(scope="module", params=FIELDS)
def stressed(home, request):
    """Train a tiny network on smears whose stain follows the class, or not, and stress it; return kind and rows."""
    import models
    from models.engine.training import trainer

    kind = request.param
    synthetic.make(f"stress-{kind}", images_per_class=60, size=48, patients=8, stain=kind, seed=7)
    fields = {"dataset": f"stress-{kind}", "dense": 16, "dropout": 0.0, "batch_size": 16, "learning_rate": 3e-3}
    fields |= FIELDS[kind]
    run = trainer.train(models.config_for("cnn", **fields), home / "stress-runs")
    stress_test.stress([run], TRUTH, heatmaps=4)
    stress_test.stress([run], TRUTH, heatmaps=4, controls=True)
    return kind, run, stress_file.read(run)


@pytest.mark.slow
def test_dependence_on_the_stain_is_measured(stressed):
    kind, _, rows = stressed
    values, flips = stress_file.families(rows), stress_file.flip_rate(rows)
    plain, swapped = values["none"], stress_file.swap_accuracy(rows)
    assert plain >= 0.8
    if kind == "confounded":
        assert flips >= 0.3 and swapped <= 0.6
        assert stress_file.grey_accuracy(rows) <= 0.6
        assert values["cells removed"] >= 0.5  # the background alone shows the class
    else:
        assert flips <= 0.1 and swapped >= plain - 0.1
        assert values["background"] >= plain - 0.15
        assert values["cells removed"] <= 0.45


@pytest.mark.slow
def test_rows_follow_the_documented_columns(stressed):
    _, run, rows = stressed
    assert [row["family"] for row in rows] == [
        "none",
        *(change.family for change in perturbations.chosen(TRUTH, (), True)),
    ]
    first, swap = rows[0], next(row for row in rows if row["family"] == "stain swap")
    assert first["heatmap_similarity"] == 1 and first["severity"] == 0 and first["donor"] == ""
    assert all(-1 <= row["heatmap_similarity"] <= 1 and row["images"] == 48 for row in rows)
    assert swap["donor"] == "other" and [row["flip_rate"] is None for row in rows].count(False) == 1
    held = files.read_csv(run.file(stress_file.ANSWERS), stress_file.ANSWERS_HEADER)
    assert sum(int(row["images"]) for row in held) == 48
    assert all(row["donor"] != row["label"] for row in held)
    right = sum(int(row["images"]) for row in held if row["answer"] == row["label"])
    assert right / 48 == pytest.approx(swap["accuracy"], abs=1e-6)


@pytest.mark.slow
def test_a_fall_in_grey_is_no_stain_reading_but_the_controls_tell_them_apart(stressed):
    kind, run, _ = stressed
    numbers = stress_controls.read(run)
    effect, follows = numbers[EFFECT], numbers[FOLLOWING]
    assert numbers["grey_fall"].estimate >= 0.2  # of both readers
    if kind == "confounded":
        assert effect.low > 0.1 and follows.estimate > 0.05
    else:
        assert effect.estimate <= 0.15 and effect.low <= 0 and follows.estimate <= 0.05
    assert {numbers[name].judging for name in ("judging_colour", "judging_background")} == {
        perturbations.JUDGING_DIGEST
    }
    held = stress_controls.read_answers(run)
    assert len(held.images) == 48 and all(len(each) == 48 for each in held.answers.values())
    rows = {(row["family"], row["change"]): row for row in stress_file.read(run)}
    for key, answers in held.answers.items():
        assert (answers == held.labels).mean() == pytest.approx(rows[key.family, key.change]["accuracy"], abs=1e-6)


def test_judging_rows_of_other_amounts_are_not_kept(run, monkeypatch):
    stress_test.stress([run], ["other camera"], images=8, heatmaps=0)
    stress_test.stress([run], ["grey"], images=8, heatmaps=0)
    assert {row["family"] for row in stress_file.read(run)} == {"none", "grey", "other camera"}
    monkeypatch.setattr(perturbations, "JUDGING_DIGEST", "f" * 16)
    stress_test.stress([run], ["grey"], images=8, heatmaps=0)
    assert {row["family"] for row in stress_file.read(run)} == {"none", "grey"}
    assert "judging_colour" not in stress_controls.read(run)


def test_families_of_the_same_images_are_kept(run):
    stress_test.stress([run], ["noise"], images=8, heatmaps=0)
    first = stress_file.read(run)
    assert [row["severity"] for row in first] == [0, 1, 2, 3, 4, 5]
    assert all(row["heatmap_similarity"] is None and row["images"] == 8 for row in first)
    stress_test.stress([run], ["macenko swap"], images=8, heatmaps=0)
    both = stress_file.read(run)
    assert [row["family"] for row in both] == ["none", "macenko swap", *["noise"] * 5]
    assert [row for row in both if row["family"] != "macenko swap"] == first
    before = run.file(stress_file.FILE).read_bytes()
    stress_test.stress([run], ["macenko swap", "noise"], images=8, heatmaps=0)
    assert run.file(stress_file.FILE).read_bytes() == before
    stress_test.stress([run], ["grey"], images=9, heatmaps=0)
    assert [(row["family"], row["images"]) for row in stress_file.read(run)] == [("none", 9), ("grey", 9)]


def test_changes_that_apply_to_no_image_are_left_out(run):
    stress_test.stress([run], ["grey", "stain reference"], images=1, heatmaps=0)
    rows = stress_file.read(run)
    assert {row["images"] for row in rows} == {1}
    donors = [row["donor"] for row in rows if row["family"] == "stain reference"]
    assert [row["family"] for row in rows] == ["none", "grey", *["stain reference"] * 6]
    assert len(set(donors)) == 3  # not the class of the one image


def test_unchanged_images_give_the_accuracy_of_the_evaluation(run, small_run, tmp_path):
    other = Run(run.path.with_name(run.path.name[:-1] + "x"))
    shutil.copytree(run.path, other.path)
    fields = run.config() | {"variant": {"name": "gray"}}
    files.write_json(other.path / "config.json", fields)
    stress_test.stress([run, other], ["grey", "stain reference"], heatmaps=0)
    mine, grey = stress_file.read(run), stress_file.read(other)
    assert mine[0]["accuracy"] == pytest.approx(small_run.metrics()["test"]["accuracy"], abs=1e-6)
    # A model that sees everything in grey answers a grey image as it answers the image.
    assert grey[0]["accuracy"] == grey[1]["accuracy"] == mine[1]["accuracy"]
    references = [row for row in mine if row["family"] == "stain reference"]
    assert [(row["change"], row["donor"]) for row in references] == [
        (way, label) for way in ("reinhard", "macenko") for label in synthetic.CLASSES
    ]
    assert {row["images"] for row in references} == {12}  # of 16 test images, 4 of each class


def test_flip_rate(tmp_path):
    run = fake_runs.fake_run(tmp_path, "cnn", classes=("A", "B", "C"), images=6)
    rows = read_manifest(run.manifest_path()).subset("test")
    classes, donors = ["A", "B", "C"], ["B" if row.label == "A" else "A" for row in rows]

    def answers(labels):
        return np.eye(3)[[classes.index(label) for label in labels]] * 0.8 + 0.05

    subject, nothing = Subject(run), np.array([])
    plain = [row.label for row in rows]
    plain[0] = donors[0]  # said the donor's class before: no flip
    after = [*donors[:3], *plain[3:]]
    subject.record(UNCHANGED, rows, [""] * 6, answers(plain), nothing)
    subject.record(perturbations.FAMILIES["stain swap"][0], rows, donors, answers(after), nothing)
    subject.write(6, {})
    found = stress_file.read(run)
    assert stress_file.flip_rate(found) == pytest.approx(2 / 6)
    assert stress_file.swap_accuracy(found) == pytest.approx(0.5)


def test_tables_come_from_the_files_alone(tmp_path):
    run = fake_runs.fake_run(tmp_path, "cnn", accuracy=0.9)
    assert stress_file.read(run) == [] and stress_tables.comparison(stress_tables.headlines([("cnn", run)])) == []
    assert stress_file.flip_rate([]) is stress_file.swap_accuracy([]) is stress_file.margin(run) is None
    fake_runs.write_stress(run, {"grey": 0.4, "stain swap": 0.3, "blur": 0.7, "cells removed": 0.25}, flip_rate=0.5)
    rows = stress_file.read(run)
    assert stress_file.families(rows)["blur"] == pytest.approx(0.7)
    fake_runs.write_shortcuts(run, {"mean colour": 0.75, "colour histogram": 0.85})
    assert shortcuts_file.best(run.root, run.environment()["manifest"])[0] == "colour histogram"
    assert stress_file.margin(run) == pytest.approx(0.05)
    said = stress_tables.sentences(run, rows)
    assert said[0].startswith(
        "Shortcut margin +5.0 points: an accuracy of 90.0 % is 5.0 points above what 'colour hist"
    )
    assert said[1].startswith("Stain flip rate 50.0 %") and "from 90.0 % to 30.0 %" in said[1]
    first, second = stress_tables.comparison(stress_tables.headlines([("cnn", run)]))
    assert first.rows == [["cnn", "90.0", "40.0", "30.0", "50.0", "+5.0", "colour histogram"]]
    assert [row[0] for row in second.rows] == ["unchanged", "grey", "stain swap", "blur", "cells removed"]
    files.write_text(run.file(stress_file.FILE), run.file(stress_file.FILE).read_text().replace("0.02", "x"))
    with pytest.raises(LeukoBenchError, match=r"stress.csv is damaged .*run_guide.py stress cnn/"):
        stress_file.read(run)


@pytest.mark.slow
def test_command(run, capsys):
    from guide import stress as command

    command.stress(["cnn"], images=8, family=["stain swap", "blur", "cells removed"], heatmaps=2, root=run.root)
    shown = capsys.readouterr().out
    for word in ("stain swap", "Shortcut margin", "Stain flip rate", "Research only"):
        assert word in shown
    assert shortcuts_file.best(run.root, run.environment()["manifest"])
    assert (run.file("figures") / "stress.png").stat().st_size > 20_000
    with pytest.raises(LeukoBenchError, match="There is no run 'nothing'"):
        command.stress(["nothing"], root=run.root)


def test_comparison_figure(tmp_path):
    from visualization.compared_runs import Subject as Drawn
    from visualization.displays import stress as stress_figures

    runs = [fake_runs.fake_run(tmp_path, name) for name in ("cnn", "vgg16")]
    subjects = [Drawn(run, run.model, k, {}, []) for k, run in enumerate(runs)]
    assert stress_figures.comparison(subjects, "made up") is None
    fake_runs.write_stress(runs[1], {"grey": 0.4, "stain swap": 0.3}, flip_rate=0.5)
    figure = stress_figures.comparison(subjects, "made up")
    marks, bars = figure.axes
    assert [tick.get_text() for tick in marks.get_yticklabels()] == ["unchanged", "grey", "stain swap"]
    assert bars.patches[0].get_width() == pytest.approx(50)
