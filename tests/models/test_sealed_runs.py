"""Real runs are sealed by their evaluation, every command keeps the seal, and changed weights give no answer."""

import shutil
from pathlib import Path

import pytest
from command_line import run_guide

from models.engine.evaluation import evaluator
from models.engine.export import store as export_store
from models.engine.run_io import run_loader
from models.engine.sweep import run_transfer
from utils.errors import LeukoBenchError
from utils.io import files
from utils.paths import PROJECT, raw_dir
from utils.runs import run_folder, seal
from utils.runs.run_folder import Run
from utils.runs.seal import Changed

SAMPLE = PROJECT / "docs" / "samples" / "pro.png"
WHOLE = seal.Verdict(True)


@pytest.fixture
def sealed_run(small_run, tmp_path):
    """Copy the small run with its seal into a root of its own."""
    return Run(Path(shutil.copytree(small_run.root, tmp_path / "runs")) / small_run.path.relative_to(small_run.root))


def files_of(run):
    found = (path.relative_to(run.path) for path in run.path.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if not path.name.startswith(".")}


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 64
    path.write_bytes(content)


def test_an_evaluation_seals_every_file_and_the_manifest(small_run):
    sealed = seal.read(small_run)
    manifest = f"{seal.UP}manifests/{small_run.manifest_path().name}"
    assert set(sealed) == (files_of(small_run) - {seal.FILE}) | {manifest}
    assert {run_folder.WEIGHTS, run_folder.CONFIG, run_folder.PREDICTIONS, run_folder.METRICS} < set(sealed)
    assert seal.examine(small_run) == WHOLE


@pytest.mark.slow
def test_every_command_keeps_the_seal_and_seals_what_it_measures(sealed_run):
    run, root = sealed_run, sealed_run.root
    smear = next(raw_dir("tiny").glob("Pro/*"))
    commands = [
        ("calibrate", run.id),
        ("stress", run.id, "--images", 4, "--family", "grey", "--family", "stain swap", "--heatmaps", 2),
        ("faithfulness", run.id, "--images", 2, "--method", "gradcam"),
        ("explain", run.id),
        ("explain", run.id, smear),
        ("refusal", run.id, "--pictures", 1),
        ("predict", run.id, smear),
        ("confusion", run.id),
        ("diagram", run.id),
        ("compare", "--no-figures"),
        ("report",),
        ("leaderboard",),
        ("evaluate", run.id),
        ("verify", run.id),
    ]
    for words in commands:
        done = run_guide(*words, "--root", root)
        assert done.returncode == 0, (words, done.stderr)
        assert seal.examine(run) == WHOLE, words
        loose = files_of(run) - set(seal.read(run))
        assert {name.partition("/")[0] for name in loose} <= seal.EXEMPT, words
    measured = {
        "calibration.json",
        "stress.csv",
        "stress_answers.csv",
        "stress_images.csv",
        "stress_controls.csv",
        "faithfulness.csv",
        "faithfulness_curves.csv",
    }
    assert measured < set(seal.read(run))


def test_changed_weights_give_an_error_and_never_an_answer(sealed_run):
    run = sealed_run
    before = {name: run.file(name).read_bytes() for name in (run_folder.PREDICTIONS, run_folder.METRICS, seal.FILE)}
    flip(run.file(run_folder.WEIGHTS))
    for words in (("predict", run.id, SAMPLE), ("explain", run.id), ("stress", run.id)):
        done = run_guide(*words, "--root", run.root)
        assert done.returncode == 1 and done.stderr.count("\n") == 1, (words, done.stderr)
        assert run.id in done.stderr and "changed" in done.stderr and run_folder.WEIGHTS in done.stderr
        assert "Pro" not in done.stdout
    for use in (run_loader.open_model, export_store.weights_hash, evaluator.evaluate):
        with pytest.raises(Changed, match=run_folder.WEIGHTS):
            use(run)
    assert {name: run.file(name).read_bytes() for name in before} == before


@pytest.mark.parametrize("name", [run_folder.CONFIG, run_folder.ENVIRONMENT, run_folder.HISTORY])
def test_a_run_with_changed_settings_is_not_evaluated_again(sealed_run, name):
    path = sealed_run.file(name)
    path.write_text(path.read_text() + "\n")
    with pytest.raises(LeukoBenchError, match="changed since it was measured"):
        evaluator.evaluate(sealed_run)
    path = sealed_run.file(seal.FILE)
    path.unlink()  # without its seal nothing is known of the run
    run_loader.open_model(sealed_run)


def test_an_evaluation_mends_changed_results(sealed_run):
    run = sealed_run
    predictions = run.file(run_folder.PREDICTIONS).read_bytes()
    for name in (run_folder.PREDICTIONS, run_folder.METRICS, run_folder.TIMING):
        files.write_text(run.file(name), run.file(name).read_text() + "\n")
    assert set(seal.examine(run).changed) == {run_folder.PREDICTIONS, run_folder.METRICS, run_folder.TIMING}
    evaluator.evaluate(run)
    assert seal.examine(run) == WHOLE and run.file(run_folder.PREDICTIONS).read_bytes() == predictions
    assert run.timing()["training"]["seconds"] > 0


def test_a_run_of_an_older_version_is_sealed_by_a_new_evaluation(run):
    assert seal.examine(run) == seal.Verdict(False)
    evaluator.evaluate(run)
    assert seal.examine(run) == WHOLE


def test_a_transfer_between_machines_keeps_the_seal(small_run, tmp_path):
    run_transfer.unpack(run_transfer.pack(small_run), tmp_path / "runs", tmp_path / "staging")
    assert [seal.examine(run) for run in run_folder.find_runs(tmp_path / "runs")] == [WHOLE]
