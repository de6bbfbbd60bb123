"""The command line: help, exit codes, and one line for every error."""

import errno
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from command_line import packages_of, run_guide, run_python
from fake_runs import fake_run
from rich.cells import cell_len

from guide.parameters import parameters
from guide.steps import STEPS
from utils import console
from utils.errors import LeukoBenchError
from utils.paths import PROJECT

SLOW = {"keras", "tensorflow", "pandas", "sklearn", "matplotlib", "scipy", "seaborn", "numpy"}
SLOW |= {"PIL", "kagglehub", "jinja2", "optuna", "sqlalchemy"}
COMMANDS = [step.command for step in STEPS if step.command]


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Empty data and runs folders for this test and its child processes."""
    monkeypatch.setenv("LEUKOBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("LEUKOBENCH_RUNS", str(tmp_path / "runs"))
    return tmp_path


def only_line(done, code):
    """Check that a command failed with one line on stderr, and return it."""
    assert done.returncode == code, done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("Error: ")
    return lines[0]


def test_help_lists_every_command():
    shown = run_guide("--help").stdout + run_guide("data").stdout
    for command in COMMANDS:
        assert re.search(rf"^  {command.split()[-1]} ", shown, re.MULTILINE), command


@pytest.mark.parametrize("command", COMMANDS)
def test_help_describes_every_command_and_parameter(command):
    step = next(step for step in STEPS if step.command == command)
    assert step.summary.endswith(".")
    assert all(parameter.help for parameter in parameters(step.function)), command
    assert run_guide(*command.split(), "--help").returncode == 0


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], []], ids=["help", "help of train", "menu"])
def test_start_imports_no_slow_package(folders, arguments):
    fake_run(folders / "runs")
    program = "import sys, run_guide; sys.argv[0] = 'run_guide.py'; run_guide.main()"
    _, packages = packages_of(program, *arguments, text="q\n")
    assert not packages & SLOW


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["trian"], 2, "No such command 'trian'. Did you mean 'train', 'track'?"),
        (["nonsense"], 2, "Commands: "),
        (["data", "imprt", "x"], 2, "Did you mean 'import'?"),
        (["train", "cnn", "--sed", "1"], 2, "No such option: --sed"),
        (["train", "cnn", "--seed", "x"], 2, "--seed"),
        (["confusion"], 2, "Missing argument"),
        (["explain", "cnn", "--method", "x"], 2, "gradcam++"),
        (["train"], 1, "Name at least one model: alexnet, cnn, densenet121, "),
        (["train", "resnet5"], 1, "Unknown model 'resnet5'. Did you mean 'resnet50'?"),
        (["train", "cnn", "--set", "epoch=3"], 1, "Did you mean 'epochs'?"),
        (["train", "cnn", "--set", "epochs=many"], 1, "Field 'epochs' received 'many'"),
        (["train", "cnn", "--profile", "dmeo"], 1, "Unknown profile 'dmeo'. Did you mean 'demo'?"),
        (["train", "--resume", "nothing"], 1, "There is no run 'nothing'"),
        (["evaluate", "nothing"], 1, "There is no run 'nothing'"),
        (["confusion", "nothing"], 1, "There is no run 'nothing'"),
        (["explain", "nothing"], 1, "There is no run 'nothing'"),
        (["compare", "nothing"], 1, "There is no run 'nothing'"),
        (["compare"], 1, "holds no finished runs"),
        (["report"], 1, "holds no finished runs"),
        (["data", "import", "no-such-folder"], 1, "no-such-folder"),
        (["data", "check", "nothing"], 1, "nothing"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_error_of_the_user_is_one_line(folders, arguments, code, words):
    assert words in only_line(run_guide(*arguments), code)


def test_error_names_the_nearest_run(folders):
    run = fake_run(folders / "runs", "cnn")
    assert f"Did you mean '{run.id[:-1]}" in only_line(run_guide("confusion", run.id.replace("cnn", "cn")), 1)


def test_help_of_stress_lists_the_families(folders):
    from data.perturbations import registry as perturbations
    from guide.stress import FAMILIES
    from utils.runs import stress_file

    assert FAMILIES == perturbations.NAMES and stress_file.CONTROLS == perturbations.CONTROLS
    shown = run_guide("stress", "--help").stdout
    assert max(map(len, shown.splitlines())) <= 80
    words = " ".join(shown.split())
    assert all(name in words for name in FAMILIES) and "[default: (all but the controls)]" in words
    assert "'grey', 'hue', " in only_line(run_guide("stress", "cnn", "--family", "gray"), 2)


def test_error_of_missing_weights_names_a_command_that_repeats_the_training(folders):
    from models import config_for
    from models.engine import settings_file
    from models.engine.run_io import checkpoint, run_loader

    settings = ["recipe=strong", "image_size=64"]
    run = fake_run(folders / "some runs", "cnn", seed=7, split="grouped", settings=settings)
    path = run.file("model.weights.h5")
    path.unlink()
    with pytest.raises(LeukoBenchError, match=rf"{run.id}.*model\.weights\.h5") as caught:
        checkpoint.load(None, run, path)
    *words, config = shlex.split(str(caught.value).partition("python run_guide.py ")[2])
    assert words == ["train", "--config"]
    again = config_for("cnn", "", settings_file.settings(Path(config), "cnn"))
    assert again.replace(classes=run_loader.config_of(run).classes) == run_loader.config_of(run)


def test_markup_in_a_name_is_text(folders):
    assert "'[red]cnn[/red]'" in only_line(run_guide("train", "[red]cnn[/red]"), 1)


def test_closed_pipe_is_not_an_error(folders):
    fake_run(folders / "runs")
    done = subprocess.run(
        f"{sys.executable} run_guide.py runs | true", shell=True, cwd=PROJECT, capture_output=True, check=False
    )
    assert done.stderr == b""


def test_no_colour_in_a_pipe(folders):
    done = run_guide("trian", TERM="xterm-256color")
    assert "\x1b" not in run_guide("runs").stdout + done.stderr


def raising(problem):
    def function():
        raise problem

    return function


@pytest.mark.parametrize(
    ("problem", "code", "line"),
    [
        (LeukoBenchError("no such thing"), 1, "Error: no such thing"),
        (LeukoBenchError("two\nlines \x1b[2J"), 1, r"Error: two lines \x1b[2J"),
        (KeyboardInterrupt(), 130, "Stopped."),
        (EOFError(), 0, ""),
        (typer.Abort(), 0, ""),
        (OSError(errno.ENOSPC, "No space left on device", "x.csv"), 1,
         "Error: x.csv: No space left on device. Free space and run it again; what was finished is kept."),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 1,
         "Error: x: Permission denied. Give yourself the permission, or use another folder."),
        (MemoryError(), 1,
         "Error: Out of memory. Use a smaller batch_size or image_size, or close other programs."),
        (ModuleNotFoundError("No module named 'keras'", name="keras"), 1,
         "Error: The package 'keras' is not installed. Run: make venv (or: pip install -r requirements.txt)"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_expected_errors_are_one_line(capsys, problem, code, line):
    assert console.run_safely(raising(problem)) == code
    assert capsys.readouterr().err == (line + "\n" if line else "")


def test_defect_raises():
    with pytest.raises(ZeroDivisionError):
        console.run_safely(lambda: 1 // 0)


def test_exit_code_of_a_command():
    assert console.run_safely(lambda: None) == 0
    assert console.run_safely(lambda: 3) == 3
    assert console.run_safely(lambda: [1]) == 0


def test_ctrl_c_in_a_command(capsys):
    app = typer.Typer()
    app.command()(raising(KeyboardInterrupt()))
    assert console.run_app(app, []) == 130
    assert capsys.readouterr().err == "Stopped.\n"


def test_table_in_a_pipe_is_whole(capsys):
    console.table("All [of] it", ["name", "images"], [["x" * 150, 12], ["[b]", None]])
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("x" * 150, "All [of] it", "[b]", "–"))


def test_missing_packages_are_an_error_with_the_command_to_install():
    assert "is not installed for" in only_line(run_python("-S", "run_guide.py"), 1)


def test_samples_are_made_by_the_command_in_their_readme(folders):
    from PIL import Image

    samples = PROJECT / "docs" / "samples"
    command = re.search(r"^python run_guide.py (data synth .*)$", (samples / "README.md").read_text(), re.MULTILINE)[1]
    assert run_guide(*command.split()).returncode == 0
    for label in ("Benign", "Early", "Pre", "Pro"):
        drawn = folders / "data" / "raw" / "samples" / label / f"{label.lower()}-0000.png"
        with Image.open(drawn) as fresh, Image.open(samples / f"{label.lower()}.png") as kept:
            differing = np.mean(np.asarray(fresh) != np.asarray(kept))
            # The last bit of a sine depends on the processor, and can move the edge of a cell by a pixel.
            assert differing < 0.01, label


def test_long_table_in_a_pipe_has_every_cell(capsys):
    rows = [("smearnet", f"{k}.50", None, "two\nlines" if k % 2 else "ä 細胞") for k in range(console.LONG + 1)]
    console.table("Title", ("Model", "Accuracy\n%", "Seed", "Words"), rows)
    title, *lines = capsys.readouterr().out.splitlines()
    assert title == "Title" and len({cell_len(line) for line in lines}) == 1
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert cells[2:5] == [
        ["smearnet", "0.50", console.MISSING, "ä 細胞"], ["smearnet", "1.50", console.MISSING, "two"],
        ["", "", "", "lines"],
    ]  # fmt: skip
    assert len([row for row in cells[2:] if row[0]]) == len(rows)
    assert any(" 10.50 │" in line for line in lines), "numbers are right-aligned"
