"""Hyperparameter search and settings files: one real search, and fast ones with simulated trainings."""

import json
import os
import re
from pathlib import Path

import pytest
from checks import one_line_error

import models
from models.engine import launcher, settings_file
from models.engine.training.loop import HISTORY_COLUMNS
from models.engine.tuning import search_space
from models.engine.tuning import study as tuning_study
from models.engine.tuning.search_space import STRENGTH, Dimension
from utils.console import STOPPED
from utils.errors import LeukoBenchError
from utils.io import files, locks
from utils.runs import run_folder

SMALL = ["image_size=32", "filters=[4,4,4]"]


class Trainings:
    """Replacement of `launcher.train_quietly` that writes the files of a training; `statuses` are its exit codes."""

    def __init__(self, *statuses):
        self.statuses, self.options = list(statuses), []

    def __call__(self, name, options, batch_size, log, watch):
        self.options.append(options)
        status = self.statuses.pop(0) if self.statuses else 0
        watch()
        if status not in (0, STOPPED):
            launcher.error_file(log).write_text("The loss became nan at step 3.")
            return status
        if "--config" in options:
            path = Path(options[options.index("--config") + 1])
            run = run_folder.new_run(path.parent, name, "0123456789abcdef")
            wanted = json.loads(path.read_text())
            files.write_json(run.file(run_folder.CONFIG), wanted)
        else:
            run = run_folder.Run(Path(options[options.index("--resume") + 1]))
            wanted = json.loads(run.file(run_folder.CONFIG).read_text())
        rate, dropout = wanted["learning_rate"], wanted["dropout"]
        accuracy = round(0.5 + 0.4 * (0.7 - dropout), 1)  # rounded, so that some are equal
        row = [1, "train", rate, 2.0, 0.0, 1.0, 0.5, 1 + rate, accuracy]
        files.write_text(run.file(run_folder.HISTORY), files.csv_text(HISTORY_COLUMNS, [row]))
        files.write_text(run.file(run_folder.WEIGHTS), "weights")
        return status


@pytest.fixture
def study(home, tmp_path, monkeypatch):
    """Open a study of cnn below tmp_path/<folder> with simulated trainings of these exit codes."""

    def opened(*statuses, folder="runs", settings=(), **values):
        trainings = Trainings(*statuses)
        monkeypatch.setattr(launcher, "train_quietly", trainings)
        config = models.config_for("cnn", settings=[*SMALL, *settings], dataset="tiny", **values)
        return tuning_study.open_study(config, [*SMALL, *settings], 1, tmp_path / folder), trainings

    return opened


@pytest.mark.slow
def test_a_real_search_is_continued(guide, home, tmp_path):
    options = ["tune", "cnn", "--dataset", "tiny", "--epochs", "1", "--root", str(tmp_path)]
    options += [part for each in SMALL for part in ("--set", each)]
    first = guide(*options, "--trials", "1")
    assert first.returncode == 0, first.stdout + first.stderr
    again = guide(*options, "--trials", "2")
    assert again.returncode == 0, again.stdout + again.stderr
    assert not first.stderr + again.stderr
    folder = next((tmp_path / "tuning" / "cnn").iterdir())
    assert f"{folder}, earlier trials: 1\n" in again.stdout
    (line,) = re.findall(r"^ +2/2 .*", again.stdout, re.M)
    assert re.match(r" +2/2  val accuracy [\d.]+ loss [\d.]+  1 epochs \d+ s  learning", line)
    assert "The best of 2 trials" in again.stdout
    assert f"Train with them: python run_guide.py train cnn --config {folder / 'best.json'}\n" in again.stdout
    assert (folder / "figures" / "tuning.png").read_bytes().startswith(b"\x89PNG")
    rows = files.read_csv(folder / "trials.csv", ("trial", "learning_rate", "dense"))
    assert [(row["trial"], row["state"], row["epochs"]) for row in rows] == [(n, "finished", "1") for n in "12"]
    assert float(rows[0]["learning_rate"]) == 0.001  # the first trial has the model's own settings
    # No file depends on test images, and trials are not compared with other runs.
    names = {path.name for path in folder.rglob("*")}
    assert "history.csv" in names
    assert not names & {"predictions.csv", "metrics.json", "running.pid"}
    assert run_folder.find_runs(tmp_path) == run_folder.find_runs(tmp_path / "tuning") == []
    best = json.loads((folder / "best.json").read_text())
    assert {"model", "dataset", "learning_rate", "dropout", "dense", "augmentation", "filters"} <= set(best)
    assert "epochs" not in best
    assert models.config_for("cnn", settings=settings_file.settings(folder / "best.json", "cnn")).filters == (4, 4, 4)


@pytest.mark.slow
def test_a_continued_search_equals_one_without_interruption(study):
    whole, _ = study(folder="a")
    assert whole.search(9)
    parts, _ = study(STOPPED, folder="b")
    assert not parts.search(9)
    for trials in (3, 9, 9):
        parts, trainings = study(folder="b")
        assert parts.search(trials)
    assert not trainings.options  # nothing was left for the last search
    assert whole.rows() == parts.rows()
    assert (whole.path / "best.json").read_bytes() == (parts.path / "best.json").read_bytes()
    assert whole.path.name == parts.path.name
    rows = whole.rows()
    assert len({tuple(row[each.name] for each in whole.space) for row in rows}) == 9
    best = tuning_study.finished(rows)
    assert best[0] == max(rows, key=lambda row: (row["val_accuracy"], -row["val_loss"]))
    assert set(whole.importances()) == {each.name for each in whole.space}
    kept = [row["trial"] for row in rows if whole.trial(row["trial"] - 1).run.file(run_folder.WEIGHTS).exists()]
    assert kept == [best[0]["trial"]]


def test_the_search_continues_after_failed_trials(study):
    found, _ = study(1, -9, 0, 1)
    assert found.search(4)
    rows = found.rows()
    assert [row["state"] for row in rows] == ["failed", "failed", "finished", "failed"]
    assert rows[0]["reason"] == "The loss became nan at step 3."
    assert found.importances() == {}
    again, trainings = study()
    assert again.search(5)
    assert len(trainings.options) == 1


def test_a_search_with_failures_only_ends(study):
    found, trainings = study(1, 1, 1, 1)
    with pytest.raises(LeukoBenchError, match=r"^3 trials failed .*: The loss became nan at step 3.$"):
        found.search(20)
    assert len(trainings.options) == 3
    assert not (found.path / "best.json").exists()


def test_an_interrupted_trial_is_resumed(study):
    found, trainings = study(0, STOPPED)
    assert not found.search(3)
    assert [row["state"] for row in found.rows()] == ["finished", "cut off"]
    again, trainings = study()
    assert again.search(3)
    run = again.trial(1).run
    assert trainings.options[0] == ["--no-evaluate", "--resume", str(run.path.resolve())]
    assert "--config" in trainings.options[1]
    assert [row["state"] for row in again.rows()] == ["finished"] * 3


def test_no_trial_starts_after_the_time_limit(study):
    found, trainings = study()
    assert found.search(20, minutes=1e-9)
    assert not trainings.options


def test_only_one_process_uses_a_study(study):
    found, _ = study()
    path = found.path / "running.pid"
    held = locks.take(path)
    with pytest.raises(LeukoBenchError, match=f"Process {os.getpid()} is at work in {re.escape(str(found.path))}"):
        found.search(1)
    held.close()  # as after a process that was killed
    assert found.search(1)
    assert not path.exists()


def test_a_damaged_database_is_reported(study):
    found, _ = study()
    (found.path / "study.db").write_text("no database, but long enough to be looked at" * 40)
    with pytest.raises(LeukoBenchError, match=rf"{re.escape(str(found.path))}/study\.db .*not a database.*--root"):
        found.search(1)


def test_other_data_or_settings_are_another_study(study):
    paths = [study()[0].path, study(settings=["batch_size=8"])[0].path, study(settings=["dropout=0.1"])[0].path]
    paths += [study(split="70/10/20")[0].path, study(seed=7)[0].path]
    assert len(set(paths)) == 5
    assert study()[0].path == paths[0]


@pytest.mark.parametrize("name", [*models.names(), "keras:MobileNetV3Small"])
def test_every_model_can_be_searched(name):
    config = models.config_for(name)
    space = {each.name: each for each in search_space.dimensions(config)}
    assert {each.rate_field for each in config.phases()} <= set(space)
    assert {"dropout", "dense", "weight_decay", STRENGTH} <= set(space)
    assert config.dense in space["dense"].choices
    drawn = {each.name: each.choices[-1] if each.choices else each.high for each in space.values()}
    fields = search_space.fields(list(space.values()), drawn)
    assert config.replace(**fields).augmentation == search_space.augmentation(1)
    for each in space.values():
        if each.default is not None and not each.choices:
            assert each.low <= each.default <= each.high


def test_fields_of_the_user_are_not_searched():
    config = models.config_for("cnn")
    left = search_space.dimensions(config, ["dropout=0.2", "augmentation.flips=true"])
    assert [each.name for each in left] == ["learning_rate", "dense", "weight_decay"]
    assert 0 not in next(each for each in search_space.dimensions(config) if each.name == "dense").choices
    held = ["learning_rate=1e-3", "dropout=0", "dense=8", "weight_decay=0", "augmentation.flips=true"]
    with pytest.raises(LeukoBenchError, match="learning_rate, dropout, dense, weight_decay, augmentation"):
        search_space.dimensions(config, held)


def test_strength_of_the_augmentation():
    assert not search_space.augmentation(0).active
    half, whole = search_space.augmentation(0.5), search_space.augmentation(1)
    assert half.flips and half.quarter_turns
    assert (whole.rotation, whole.zoom, whole.shift, whole.contrast) == (30, 0.2, 0.1, 0.3)
    assert (half.rotation, half.brightness, half.colour) == (15, 0.1, 0.1)
    with pytest.raises(LeukoBenchError, match="from 0 to 1; received 2"):
        search_space.augmentation(2)


def test_rounding_of_drawn_values():
    assert Dimension("learning_rate", 1e-5, 1e-2, log=True).rounded(0.00031415926) == 0.000314
    assert Dimension(STRENGTH, 0, 1).rounded(0.30000000000000004) == 0.3


def test_fewer_epochs_keep_both_phases():
    config = models.config_for("efficientnetv2s")  # 8 of 20 epochs train the head alone
    for epochs, head in ((10, 4), (5, 2), (2, 1)):
        short = search_space.shortened(config, epochs)
        assert [phase.epochs for phase in short.phases()] == [head, epochs - head]
    assert len(search_space.shortened(config, 1).phases()) == 1
    assert search_space.shortened(config, 0) is search_space.shortened(config, 99) is config


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "There is no {path}. Give --config a JSON file of fields, such as best.json of tune."),
        ("{", "{path} is damaged"),
        ("[1]", "{path} holds [1]; --config takes a JSON object of fields."),
        ('{"model": "vgg16"}', "{path} holds settings of vgg16, not of cnn. Train that, or another file."),
        ('{"epoch": 3}', "{path}: Unknown field 'epoch' (received 3). Did you mean 'epochs'?"),
        ('{"epochs": "many"}', "{path}: Field 'epochs' received 'many'"),
        ('{"augmentation": {"flip": true}}', "{path}: Unknown field 'augmentation.flip'"),
        ('{"dropout": null}', "{path}: Field 'dropout' received None"),
    ],
)
def test_errors_in_a_settings_file(tmp_path, text, words):
    path = tmp_path / "s.json"
    if text is not None:
        path.write_text(text)
    with one_line_error(words.replace("{path}", str(path))):
        settings_file.settings(path, "cnn")


def test_precedence_of_a_settings_file(tmp_path):
    path = tmp_path / "s.json"
    files.write_json(path, {"epochs": 3, "augmentation": {"zoom": 0.2}, "weights": "none", "image_size": 48})
    texts = [*settings_file.settings(path, "cnn", "demo"), "image_size=32"]
    config = models.config_for("cnn", "demo", texts)
    assert (config.epochs, config.image_size, config.augmentation.zoom) == (3, 32, 0.2)
    assert config.augmentation.flips  # of the profile


def test_the_configuration_of_a_run_is_a_settings_file(tmp_path):
    config = models.config_for("resnet50", settings=["freeze=always", "variant=clahe"], classes=("a", "b"))
    path = tmp_path / "config.json"
    said = {"initialisation": config.initialisation, "flavour": list(config.flavour)}
    files.write_json(path, config.model_dump(mode="json") | said)
    again = models.config_for("resnet50", settings=settings_file.settings(path, "resnet50"), classes=("a", "b"))
    assert again == config
    files.write_json(path, settings_file.fields(config))
    assert list(json.loads(path.read_text())) == ["model", "variant", "freeze"]


def test_train_passes_the_settings_file_on(home, tmp_path, monkeypatch):
    from guide import train

    calls = []
    monkeypatch.setattr(launcher, "train_each", lambda *given: calls.append(given) or [])
    path = tmp_path / "s.json"
    files.write_json(path, {"epochs": 3, "batch_size": 5})
    with pytest.raises(LeukoBenchError, match=r"^Name at least one model: "):
        train.train(None, config=path)
    train.train(["cnn", "resnet50"], config=path, set_=["batch_size=6"])
    names, options, sizes = calls[-1]
    assert options[options.index("--config") + 1] == str(path.resolve())
    assert (names, sizes) == (["cnn", "resnet50"], {"cnn": 6, "resnet50": 6})
    files.write_json(path, {"model": "cnn", "epochs": 3})
    train.train(None, config=path)
    assert calls[-1][0] == ["cnn"]
    with pytest.raises(LeukoBenchError, match="holds settings of cnn, not of resnet50"):
        train.train(["cnn", "resnet50"], config=path)


def test_a_killed_training_leaves_its_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(
        models, "command", lambda *_: ["-c", "import os, sys; print(sys.argv[1:]); os.kill(os.getpid(), 9)"]
    )
    log, seen = tmp_path / "output.txt", []
    assert launcher.train_quietly("cnn", ["--x"], 32, log, lambda: seen.append(1)) == -9
    assert "SIGKILL" in launcher.error_of(log) and "out of memory" in launcher.error_of(log)
    monkeypatch.setattr(models, "command", lambda *_: ["-c", "import sys; print(sys.argv[1:]); sys.exit(75)"])
    assert launcher.train_quietly("cnn", ["--x"], 4, log, lambda: None) == launcher.OUT_OF_GPU_MEMORY
    assert log.read_text().splitlines()[-1] == "['--x', '--set', 'batch_size=1', '--attached']"


def test_figure(tmp_path):
    from visualization.displays.tuning import TuningDisplay, write

    path = tmp_path / "cnn" / "tiny-0" / "trials.csv"
    head = ("trial", "state", "val_accuracy", "val_loss", "epochs", "seconds", "learning_rate", "dense", "reason")
    rows = [
        (1, "finished", 0.8, 0.5, 1, 2.0, 0.001, 64, ""),
        (2, "failed", "", "", "", "", 0.01, 128, "nan"),
        (3, "finished", 0.7, 0.6, 1, 2.0, 0.0001, 64, ""),
        (4, "finished", 0.9, 0.4, 1, 2.0, 0.002, 128, ""),
    ]
    files.write_text(path, files.csv_text(head, rows))
    display = TuningDisplay.from_file(path)
    assert (display.trials, display.failed) == ([1, 3, 4], [2])
    assert display.best_so_far == [0.8, 0.8, 0.9]
    assert display.settings == {"learning_rate": [0.001, 0.0001, 0.002], "dense": [64, 64, 128]}
    first, second = (write(path, tmp_path / f"{k}.png").read_bytes() for k in (1, 2))
    assert first == second
