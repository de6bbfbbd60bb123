"""Predictions of new images equal those of the evaluation; unusable files are reported and skipped."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.loading.pipeline import loader
from guide import predict as command
from guide.app import main
from models.engine.explain import explainer
from models.engine.run_io import run_loader
from models.engine.serving import predict as prediction
from utils import console
from utils.errors import LeukoBenchError
from utils.io import files
from utils.paths import PROJECT, raw_dir
from utils.runs import run_folder

SAMPLES = PROJECT / "docs" / "samples"


@pytest.fixture
def mixed(tmp_path):
    """A folder with two images, two damaged files, and files that the search skips."""
    folder = tmp_path / "mixed"
    for name in ("b.png", "sub/A.PNG", "_masks/m.png", "sub/.hidden/h.png", ".h.png", "_x.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SAMPLES / "pro.png", folder / name)
    (folder / "sub" / "no.jpg").write_text("not an image")
    (folder / "cut.png").write_bytes((SAMPLES / "pro.png").read_bytes()[:5000])
    (folder / "notes.txt").write_text("not looked at")
    return folder


def relative(found, folder):
    return [path.relative_to(folder).as_posix() for path in found]


def test_predictions_equal_those_of_the_evaluation(small_run):
    recorded = small_run.predictions("test")
    table = prediction.predict_files(small_run, [raw_dir("tiny") / name for name in recorded["image"]])
    columns = ["probability", *recorded.columns[3:]]
    assert list(table.columns) == ["path", "predicted", *columns]
    np.testing.assert_allclose(table[columns[1:]], recorded[columns[1:]], atol=1e-5)
    assert list(table["probability"]) == list(table[columns[1:]].max(axis=1))
    assert [f"p_{name}" for name in table["predicted"]] == list(table[columns[1:]].idxmax(axis=1))


def test_the_variant_of_the_run_is_applied(small_run, run):
    files.write_json(run.file(run_folder.CONFIG), run.config() | {"variant": {"name": "gray"}})
    table = prediction.predict_files(run, SAMPLES)
    variant = run_loader.config_of(run).variant
    pixels = np.stack([loader().decode(name, 32, variant) for name in table["path"]]).astype(np.float32)
    expected = run_loader.open_model(run).predict_on_batch(pixels)
    np.testing.assert_allclose(table.filter(like="p_"), expected, atol=1e-5)
    plain = prediction.predict_files(small_run, SAMPLES)
    assert not np.allclose(table.filter(like="p_"), plain.filter(like="p_"), atol=1e-4)


def test_folders_are_searched_in_order_and_each_file_counts_once(mixed):
    every = ["b.png", "cut.png", "sub/A.PNG", "sub/no.jpg"]
    assert relative(prediction.find_images([mixed]), mixed) == every
    again = prediction.find_images([mixed / "sub" / ".." / "b.png", mixed, mixed / "sub", str(mixed / "[!_]*.png")])
    assert [path.name for path in again] == ["b.png", "cut.png", "A.PNG", "no.jpg"]
    assert relative(prediction.find_images([mixed / "notes.txt", mixed / "_x.png"]), mixed) == ["notes.txt", "_x.png"]


def test_patterns_are_expanded(mixed):
    assert relative(prediction.find_images([mixed / "**" / "*.[jP][pN]*"]), mixed) == ["sub/A.PNG", "sub/no.jpg"]
    assert relative(prediction.find_images([mixed / "s?b"]), mixed) == ["sub/A.PNG", "sub/no.jpg"]
    shutil.copy(SAMPLES / "pre.png", mixed / "[1].png")
    assert relative(prediction.find_images([mixed / "[1].png"]), mixed) == ["[1].png"], "a name before a pattern"


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("gone.png", r"there is no .*gone\.png\. Give image files, folders, or patterns"),
        ("*.tif", r"no file .*\*\.tif\."),
        ("empty", r"empty contains no images .*\.jpg, "),
    ],
)
def test_missing_paths_are_reported(tmp_path, name, fact):
    (tmp_path / "empty").mkdir()
    with pytest.raises(LeukoBenchError, match=fact):
        prediction.find_images([tmp_path / name])


def test_damaged_files_do_not_shift_predictions(small_run, tmp_path):
    rng = np.random.default_rng(3)
    for number in range(prediction.BATCH + 6):
        pixels = rng.integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number:03d}.png")
    for number in (0, 9, 33):
        (tmp_path / f"{number:03d}.png").write_bytes(b"")
    found = prediction.find_images([tmp_path])
    answers = list(prediction.predict_each(small_run, found))
    assert [answer.path for answer in answers] == [path.as_posix() for path in found]
    assert [number for number, answer in enumerate(answers) if answer.problem] == [0, 9, 33]
    assert str(found[9]) in answers[9].problem and "zero bytes" in answers[9].problem
    for number in (1, 10, 34, 37):
        (alone,) = prediction.predict_each(small_run, [found[number]])
        np.testing.assert_allclose(answers[number].probabilities, alone.probabilities, atol=1e-6)


def test_a_table_has_no_rows_for_other_files(small_run, mixed, capsys):
    table = prediction.predict_files(small_run, [mixed])
    assert [path.rpartition("/")[2] for path in table["path"]] == ["b.png", "A.PNG"]
    assert [line.split(" ")[0] for line in capsys.readouterr().err.splitlines()] == ["Note:", "Note:"]


def test_command_writes_the_table(small_run, mixed, tmp_path, capsys):
    target = tmp_path / "new" / "answers.csv"
    arguments = ["predict", str(small_run.path), str(mixed), str(SAMPLES / "*.png"), "--output", str(target)]
    assert main(arguments) == 0
    shown = capsys.readouterr()
    notes = shown.err.splitlines()
    assert len(notes) == 2 and "cut.png cannot be used: truncated" in notes[0] and "no.jpg" in notes[1]
    lines = shown.out.splitlines()
    assert lines[-1] == "Research only, not a diagnosis."
    assert lines[-2].startswith(f"6 images with {small_run.id}: ")
    written = pd.read_csv(target)
    expected = prediction.predict_files(small_run, [mixed, SAMPLES])
    pd.testing.assert_frame_equal(written, expected, rtol=0, atol=1e-6)
    assert all(name.rpartition("/")[2] in shown.out for name in expected["path"])


def test_csv_on_stdout(small_run, mixed, capsys):
    assert command.predict(str(small_run.path), [SAMPLES / "pro.png", mixed / "cut.png"], command.Path("-")) == 0
    shown = capsys.readouterr()
    head, row = shown.out.splitlines()
    assert head == "path,predicted,probability,p_Benign,p_Early,p_Pre,p_Pro"
    assert row.startswith(f"{(SAMPLES / 'pro.png').as_posix()},")
    assert "Research only, not a diagnosis." in shown.err


def test_a_long_table_shows_its_first_rows(small_run, capsys):
    paths = [raw_dir("tiny") / "Benign", raw_dir("tiny") / "Early"]
    assert command.predict(str(small_run.path), paths) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("cnn, the first 20 of 40 images (--output FILE.csv writes all)\n")
    assert shown.count(".png") == 20


def test_no_file_is_written_without_images(small_run, mixed, tmp_path, capsys):
    target = tmp_path / "answers.csv"
    paths = [mixed / "cut.png", mixed / "notes.txt"]
    assert console.run_safely(lambda: command.predict(str(small_run.path), paths, target)) == 1
    assert "None of the 2 files" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [mixed]


def test_heatmaps_are_drawn_on_sheets(run, monkeypatch, capsys):
    monkeypatch.setattr(command, "SHEET", 2)
    # A notebook draws real heatmaps.
    answers = np.full((2, 4), 0.25)
    monkeypatch.setattr(
        explainer, "explain_images", lambda _, paths: (np.ones((len(paths), 32, 32)), answers[: len(paths)])
    )
    assert command.predict(str(run.path), [raw_dir("tiny") / "Pro" / "pro-000[012].png"], heatmaps=True) == 0
    sheets = sorted(run.path.glob("figures/predict-*.png"))
    assert [sheet.name for sheet in sheets] == ["predict-001.png", "predict-002.png"]
    shown = capsys.readouterr().out
    assert all(str(sheet) in shown for sheet in sheets)
