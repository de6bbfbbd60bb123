"""A run's weights must reproduce its recorded predictions; every deviation is reported per run."""

import shutil
import signal
import subprocess

import numpy as np
import pandas as pd
import pytest
from checks import contents

from data.datasets import index
from guide import verify as command
from guide.app import main
from models.engine.evaluation import reproducibility
from models.engine.evaluation.reproducibility import AGREES, DIFFERS, SAME, UNCHECKED, Check
from models.engine.run_io import checkpoint, run_loader
from models.engine.training import trainer
from utils import console
from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import run_folder

NAMES = ["a/1.png", "a/2.png", "b/1.png"]
LABELS = ["a", "a", "b"]
VALUES = np.array([[0.9, 0.1], [0.500001, 0.499999], [0.25, 0.75]], np.float32)


def recorded(names=NAMES, labels=LABELS, values=VALUES):
    return pd.DataFrame({"image": names, "split": "test", "label": labels, "p_a": values[:, 0], "p_b": values[:, 1]})


def test_a_run_reproduces_its_predictions_and_is_not_changed(small_run):
    before = contents(small_run.root)
    found = reproducibility.check(small_run)
    assert found == Check(small_run.id, SAME, len(small_run.predictions("test")), 0.0, 0)
    assert contents(small_run.root) == before


def test_a_run_keeps_its_split_when_the_groups_change(run, home):
    groups = home / "data/raw/tiny" / index.GROUPS
    before = groups.read_text()
    try:
        groups.write_text(before.replace("patient-001", "patient-777"))
        manifest = run.environment()["manifest"]
        assert trainer.prepare(run_loader.config_of(run))[1].manifest.hash != manifest
        resumed = trainer.prepare(run_loader.config_of(run), run)[1]
        assert resumed.manifest.hash == manifest and resumed.path.name == f"tiny-{manifest}"
        found = reproducibility.check(run)
        assert (found.verdict, found.images) == (SAME, len(run.predictions("test")))
        shutil.rmtree(run.root / "manifests")
        assert "the dataset 'tiny' now gives" in reproducibility.check(run).reason
    finally:
        groups.write_text(before)
    assert reproducibility.check(run).verdict == SAME, "no stored manifest, and the dataset gives the same one"


@pytest.mark.parametrize(
    ("now", "verdict", "changed", "reason"),
    [
        (VALUES, SAME, 0, ""),
        (VALUES + np.float32(5e-5), AGREES, 0, ""),
        (VALUES + np.array([[0, 0], [-5e-6, 5e-6], [0, 0]], np.float32), AGREES, 1, ""),
        (VALUES[:, ::-1], DIFFERS, 3, "2 of 3 images differ by more than 0.0001, most a/1.png."),
        (VALUES * np.nan, DIFFERS, None, "3 of 3 images differ by more than 0.0001, most a/1.png."),
    ],
    ids=["same", "near", "another answer", "turned round", "nan"],
)
def test_verdict(now, verdict, changed, reason):
    found = reproducibility.compare("run", recorded(), NAMES, LABELS, now)
    assert (found.verdict, found.reason, found.images) == (verdict, reason, 3)
    assert found.passed == (verdict != DIFFERS)
    assert changed is None or found.changed == changed


def test_order_of_the_rows_does_not_matter():
    turned = recorded(NAMES[::-1], LABELS[::-1], VALUES[::-1])
    assert reproducibility.compare("run", turned, NAMES, LABELS, VALUES).verdict == SAME


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (recorded()[:2], "predictions.csv lists 2 test images, the split has 3 (b/1.png)."),
        (recorded()[:0], "predictions.csv lists 0 test images, the split has 3 (a/1.png)."),
        (recorded([*NAMES[:2], NAMES[1]]), "predictions.csv lists 3 test images, the split has 3 (b/1.png)."),
        (recorded(labels=["a", "b", "b"]), "1 labels are not those of the split, the first that of a/2.png."),
    ],
    ids=["one less", "none", "one twice", "label"],
)
def test_other_images_or_labels_differ(table, reason):
    found = reproducibility.compare("run", table, NAMES, LABELS, VALUES)
    assert (found.verdict, found.reason) == (DIFFERS, reason)


def test_weights_of_another_training_differ(run):
    model = run_loader.open_model(run)
    model.set_weights([3 * values for values in model.get_weights()])
    checkpoint.save(model, run.file(run_folder.WEIGHTS))
    change(run, run_folder.ENVIRONMENT, device="Another GPU")
    found = reproducibility.check(run)
    assert found.verdict == DIFFERS and found.largest > reproducibility.TOLERANCE
    assert "images differ by more than 0.0001, most " in found.reason
    assert " Trained on Another GPU, checked on " in found.reason


def change(run, name, **fields):
    """Change fields of a JSON file of a run."""
    files.write_json(run.file(name), files.read_json(run.file(name)) | fields)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda run: run.file(run_folder.WEIGHTS).unlink(), r"^No model\.weights\.h5: copy it into .*, or train "),
        (lambda run: run.file(run_folder.WEIGHTS).write_bytes(b"no"), r"is damaged or of another model"),
        (lambda run: run.file(run_folder.PREDICTIONS).unlink(), r"^Run cnn/\S+ has no predictions\.csv\."),
        (lambda run: run.file(run_folder.CONFIG).write_text("{"), r"config\.json is damaged"),
        (lambda run: run.file(run_folder.ENVIRONMENT).unlink(), r"has no environment\.json"),
        (
            lambda run: change(run, run_folder.ENVIRONMENT, manifest="0" * 16),
            r"was made on manifest 0{16}, the dataset 'tiny' now gives ",
        ),
        (lambda run: change(run, "config.json", dataset="gone"), r"^There is no dataset 'gone'\."),
    ],
    ids=["no weights", "weights", "no predictions", "config", "no environment", "manifest", "dataset"],
)
def test_an_unchecked_run_has_a_reason(run, spoil, reason):
    spoil(run)
    found = reproducibility.check(run)
    assert (found.verdict, found.images, found.passed) == (UNCHECKED, None, False)
    assert "\n" not in found.reason
    with pytest.raises(LeukoBenchError, match=reason):
        raise LeukoBenchError(found.reason)


@pytest.mark.parametrize(
    ("status", "stderr", "reason"),
    [
        (-signal.SIGKILL, "", "The check was ended by SIGKILL. The system was probably out of memory."),
        (-signal.SIGSEGV, "noise", "The check was ended by SIGSEGV."),
        (1, "Traceback\n  ...\nValueError: odd\n", "The check failed: ValueError: odd"),
        (1, "Error: Out of memory.\n", "The check failed: Out of memory."),
        (0, "", "The check failed: no output"),
    ],
)
def test_a_check_that_ends_badly_is_one_line(small_run, monkeypatch, status, stderr, reason):
    ended = subprocess.CompletedProcess([], status, "no JSON\n", stderr)
    monkeypatch.setattr(reproducibility.subprocess, "run", lambda *_, **__: ended)
    assert reproducibility.check_apart(small_run) == Check(small_run.id, UNCHECKED, reason=reason)


@pytest.mark.slow
def test_one_bad_run_stops_no_other(small_run, run, capsys):
    """The command on a root with a damaged run first: both are checked, each in its own process."""
    run.file(run_folder.WEIGHTS).unlink()
    second = small_run.path.name.replace("20", "21", 1)
    shutil.copytree(small_run.path, run.path.parent / second)
    shutil.copytree(small_run.path, run.path.parent / "20200101T000000Z-00000000")
    (run.path.parent / "20200101T000000Z-00000000" / run_folder.METRICS).unlink()  # unfinished: not asked for
    before = contents(run.root)
    assert main(["verify", "--root", str(run.root)]) == 1
    shown = capsys.readouterr()
    assert shown.err == "Error: 1 of 2 runs do not agree or could not be checked.\n"
    lines = shown.out.splitlines()
    assert lines[:4] == [f"[1/2] {run.id}", "  not checked", f"[2/2] cnn/{second}", "  same bytes"]
    assert lines[-1].startswith(f"{run.id}: not checked. No model.weights.h5")
    assert contents(run.root) == before


def test_exit_code(small_run, monkeypatch, capsys):
    monkeypatch.setattr(reproducibility, "check_apart", lambda run: Check(run.id, AGREES, 3, 2e-6, 0))
    assert command.verify(root=small_run.root) == 0
    assert "2.0e-06" in capsys.readouterr().out
    assert command.verify([small_run.id, str(small_run.path)], small_run.root) == 0
    assert "[1/1]" in capsys.readouterr().out, "one run by two names is one run"


def test_nothing_to_verify_is_one_line(tmp_path, capsys):
    assert console.run_safely(lambda: command.verify(root=tmp_path)) == 1
    line = f"Error: {tmp_path} holds no finished runs. Train one: python run_guide.py train cnn\n"
    assert capsys.readouterr().err == line
