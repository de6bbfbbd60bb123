"""The ablation of augmentation: one real training of each kind, then run folders."""

import json
import re

import pytest
from command_line import packages_of
from fake_runs import fake_run, read_table

import models
from data import manifest as manifests
from guide import ablation as command
from models.engine import launcher
from models.engine.launcher import Outcome
from models.engine.sweep import ablation as ablation_study
from utils.errors import LeukoBenchError
from utils.runs import run_folder
from utils.runs.records import measure
from utils.tables import ablation as ablation_tables
from utils.tables.ablation import Measured
from utils.text import MISSING
from visualization.displays.ablation import AblationDisplay

SMALL = ["image_size=32", "filters=[4,8]", "dense=8", "epochs=1", "heatmap_layer=conv2"]
FLIPS = [command.Setting.flips]


def launched(monkeypatch, *statuses):
    """Replace trainings by these exit statuses; return the list of options they were called with."""
    seen, left = [], iter(statuses)

    def train_each(names, options, batch_sizes):
        seen.append(list(options))
        return [Outcome(names[0], next(left))]

    monkeypatch.setattr(launcher, "train_each", train_each)
    return seen


@pytest.fixture(scope="module")
def trained(home):
    """Two real trainings: flips on the fly, and flips made beforehand."""
    root = home / "ablation-runs"
    assert command.ablation("cnn", "tiny", FLIPS, copies=1, set_=SMALL, root=root) == 0
    return root


def again(root, **changes):
    return command.ablation("cnn", "tiny", FLIPS, **{"copies": 1, "set_": SMALL, "root": root} | changes)


@pytest.mark.slow
def test_each_setting_is_trained_once_apart_from_other_runs(trained, home, monkeypatch, capsys):
    runs = run_folder.find_runs(trained / "ablation")
    assert len(runs) == 2 and all(run.finished for run in runs)
    assert run_folder.find_runs(trained) == []  # they are not part of other comparisons
    settings = [(run.config()["augmentation"]["flips"], run.config()["offline"]["copies"]) for run in runs]
    assert settings == [(True, 0), (False, 1)]
    assert len({run.environment()["manifest"] for run in runs}) == 1
    tests = [run.predictions("test")["image"].tolist() for run in runs]
    assert tests[0] == tests[1] and not any("copy" in name for name in tests[0])
    images = len(manifests.read(runs[0].manifest_path()).subset("train"))
    assert len(list((home / "data" / "augmented").glob("tiny-*/*/train/*/*.png"))) >= images

    seen = launched(monkeypatch)
    assert again(trained) == 0
    shown = capsys.readouterr().out
    assert seen == [] and shown.count(": already trained, cnn/") == 2
    folder = trained / "ablation" / "comparison" / "cnn-tiny"
    before = {path.name: path.read_bytes() for path in folder.glob("ablation.*")}
    assert set(before) == {f"ablation.{kind}" for kind in ("csv", "md", "tex", "html")}
    rows = read_table(folder / "ablation.csv")
    assert [(row["setting"], row["copies"]) for row in rows] == [("flips", "0"), ("flips", "1")]
    for row, run in zip(rows, runs, strict=True):
        assert float(row["accuracy"]) == pytest.approx(run.metrics()["test"]["accuracy"])
    again(trained, table_only=True)
    assert {path.name: path.read_bytes() for path in folder.glob("ablation.*")} == before


@pytest.mark.slow
def test_other_settings_are_trained_and_unfinished_runs_resumed(trained, monkeypatch, capfd):
    runs = run_folder.find_runs(trained / "ablation")
    kept = runs[0].file(run_folder.METRICS).read_bytes()
    runs[0].file(run_folder.METRICS).unlink()
    seen = launched(monkeypatch, 1)
    try:
        assert again(trained) == 1
    finally:
        runs[0].file(run_folder.METRICS).write_bytes(kept)
    assert seen == [["--resume", str(runs[0].path)]]
    assert "flips, on the fly, seed 42" in capfd.readouterr().err
    # A failure does not stop the other trainings, Ctrl-C does.
    seen = launched(monkeypatch, 1, 1)
    assert again(trained, set_=[*SMALL, "dropout=0.4"]) == 1
    assert len(seen) == 2
    given = dict(text.partition("=")[::2] for text in seen[1][-3::2])
    assert not any(json.loads(given["augmentation"]).values())
    offline = json.loads(given["offline"])
    assert offline["copies"] == 1 and offline["augmentation"]["flips"] and not offline["augmentation"]["zoom"]
    seen = launched(monkeypatch, 130)
    assert again(trained, seeds=[43]) == 130
    assert len(seen) == 1


def test_fields_of_the_ablation_cannot_be_set(home):
    with pytest.raises(LeukoBenchError, match=r"'augmentation\.flips=true'.*--settings, --copies and --seed"):
        again(home, set_=["augmentation.flips=true"])
    with pytest.raises(LeukoBenchError, match="no finished runs"):
        again(home, table_only=True)


def test_arms_of_all_settings():
    assert [each.value for each in command.ALL] == list(ablation_study.SETTINGS)
    config = models.config_for("cnn", dataset="x")
    arms = ablation_study.arms(config, list(ablation_study.SETTINGS), [1, 2], copies=3)
    assert len(arms) == 2 * (1 + 4 * 2)
    assert [arm.config.seed for arm in arms] == [1] * 9 + [2] * 9
    assert not any(arm.copies for arm in ablation_study.arms(config, list(ablation_study.SETTINGS), [1], copies=0))
    for arm in arms:
        again = models.config_for("cnn", settings=arm.overrides, dataset="x", seed=arm.config.seed)
        assert again == arm.config
        assert not (arm.config.augmentation.active and arm.config.offline.active)


@pytest.fixture
def faked(tmp_path):
    """Two seeds of three settings: none 0.8 and 0.7, flips 0.9 and 0.75, with copies 0.85 and 0.8."""
    config = models.config_for("cnn", dataset="synthetic")
    values = {("none", 0): (0.8, 0.7), ("flips", 0): (0.9, 0.75), ("flips", 2): (0.85, 0.8)}
    found = {key: [] for key in values}
    for arm in ablation_study.arms(config, ["none", "flips"], [1, 2], copies=2):
        accuracy = values[arm.setting, arm.copies][arm.config.seed - 1]
        run = fake_run(tmp_path / "ablation", seed=arm.config.seed, accuracy=accuracy, settings=arm.overrides)
        found[arm.setting, arm.copies].append(run)
        assert ablation_study.find(tmp_path / "ablation", arm) == run
    return found


def measured(found, seeds=slice(None)):
    return [Measured(*key, tuple(measure(run) for run in runs[seeds])) for key, runs in found.items()]


def test_numbers_over_seeds(faked):
    rows = ablation_tables.rows(measured(faked))
    assert [row["accuracy"] for row in rows] == pytest.approx([0.75, 0.825, 0.825])
    assert [row["accuracy_sd"] for row in rows] == pytest.approx([0.0707107, 0.1060660, 0.0353553], abs=1e-6)
    assert [row["change_points"] for row in rows] == [None, pytest.approx(7.5), pytest.approx(7.5)]
    assert {row["accuracy_low"] for row in rows} == {None}
    text = ablation_tables.table(rows, "x")
    assert text.columns[2] == "n"
    assert text.rows[1] == ["flips", "on the fly", "2", "82.50", "82.50 ± 10.61", "+7.50", "3/4", "42"]
    assert AblationDisplay.from_rows(rows).points[2][5] == [0.85, 0.8]


def test_numbers_of_one_seed(faked):
    rows = ablation_tables.rows(measured(faked, slice(1)))
    text = ablation_tables.table(rows, "x")
    assert text.rows[0] == ["none", MISSING, "80.00", "80.00 (65.2-89.5)", MISSING, "3/4", "42"]
    assert text.rows[2][1] == "2 copies"
    said = ablation_tables.sentences(rows)
    assert said[0] == ablation_tables.CLAIM and said[-1] == ablation_tables.CAUTION
    assert said[1] == (
        "Measured here: without 80.00 (65.2-89.5) %; with flips (on the fly), the best on the validation images, "
        "90.00 (76.9-96.0) %, +10.00 points. The intervals overlap: the difference may be chance."
    )
    # A seed that only one side has gives no difference.
    one, two = measured(faked, slice(1)), measured(faked, slice(1, None))
    assert ablation_tables.rows([one[0], two[1]])[1]["change_points"] is None


def test_runs_on_other_test_images_are_rejected(faked, tmp_path):
    other = fake_run(tmp_path / "ablation", test_identity="0123456789abcdef")
    with pytest.raises(LeukoBenchError, match=r"^The runs were tested on different images \(cnn/.*, cnn/.*\), so that"):
        ablation_tables.rows([*measured(faked), Measured("all", 0, (measure(other),))])


@pytest.mark.slow
def test_the_table_needs_neither_keras_nor_the_dataset(faked, tmp_path):
    program = "import sys; from guide.app import main; assert main(sys.argv[1:]) == 0"
    words = ["ablation", "cnn", "--table-only", "--settings", "none", "--settings", "flips", "--copies", "2"]
    folders = {"LEUKOBENCH_RUNS": str(tmp_path), "LEUKOBENCH_DATA": str(tmp_path / "none")}
    shown, packages = packages_of(program, *words, "--seed", "1", "--seed", "2", **folders)
    assert not packages & {"keras", "tensorflow"}
    assert max(len(line) for line in shown.splitlines() if line[:1] in "│┃┏└") <= 80
    assert re.search(r"│ flips +│ on the fly │ +2 │ +82\.50 │ +82\.50 ± 10\.61 +│ +\+7\.50 +│", shown)
    folder = tmp_path / "ablation" / "comparison" / "cnn-synthetic"
    assert (folder / "figures" / "ablation.png").stat().st_size > 10_000
