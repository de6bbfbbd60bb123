"""The command line: help, exit codes, and one clear line for every mistake."""

import errno
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from fake_runs import fake_run
from rich.cells import cell_len

from guide.app import make_app
from guide.steps import STEPS
from utils import console
from utils.errors import LeukoBenchError
from utils.paths import PROJECT

HEAVY = (
    "keras",
    "tensorflow",
    "pandas",
    "sklearn",
    "matplotlib",
    "scipy",
    "seaborn",
    "numpy",
    "PIL",
    "kagglehub",
    "jinja2",
    "optuna",
    "sqlalchemy",
)
COMMANDS = [step.command for step in STEPS if step.command]


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Empty data and runs folders for this test and every process it starts."""
    monkeypatch.setenv("LEUKOBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("LEUKOBENCH_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def guide(*arguments, text="", **variables):
    return subprocess.run(
        [sys.executable, "run_guide.py", *arguments], cwd=PROJECT, env=os.environ | variables, input=text,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def only_line(done, code):
    """Check that a command failed with one line on stderr and return it."""
    assert done.returncode == code, done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("Error: ")
    return lines[0]


def test_help_names_every_command():
    shown = guide("--help").stdout + guide("data", "--help").stdout
    for command in COMMANDS:
        assert re.search(rf"^  {command.split()[-1]} ", shown, re.MULTILINE), command


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_parameter_says_what_it_does(command):
    step = next(step for step in STEPS if step.command == command)
    assert step.summary.endswith(".")
    from guide.parameters import parameters

    assert all(parameter.help for parameter in parameters(step.function)), command


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], []], ids=["help", "help of train", "menu"])
def test_start_imports_nothing_heavy(folders, arguments):
    fake_run(folders / "runs")
    script = (
        "import sys, run_guide\n"
        "sys.argv = ['run_guide.py', *sys.argv[1:]]\n"
        "run_guide.main()\n"
        f"print('HEAVY', *sorted(set({HEAVY!r}) & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=PROJECT, input="q\n", capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "HEAVY"


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
def test_a_mistake_gives_one_line(folders, arguments, code, words):
    assert words in only_line(guide(*arguments), code)


def test_an_error_names_the_run_that_was_meant(folders):
    run = fake_run(folders / "runs", "cnn")
    assert f"Did you mean '{run.id[:-1]}" in only_line(guide("confusion", run.id.replace("cnn", "cn")), 1)


def test_help_of_stress_lists_the_families(folders):
    from data.perturbations import registry as perturbations
    from guide.stress import FAMILIES

    assert FAMILIES == perturbations.NAMES
    shown = guide("stress", "--help").stdout
    assert all(name in " ".join(shown.split()) for name in FAMILIES) and "[default: (all)]" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "'grey', 'hue', " in only_line(guide("stress", "cnn", "--family", "gray"), 2)


def test_missing_weights_name_a_command_that_trains_the_same_again(folders):
    from models import config_for
    from models.engine import settings_file
    from models.engine.run_io import checkpoint, run_loader

    settings = ["recipe=strong", "image_size=64"]
    run = fake_run(folders / "some runs", "cnn", seed=7, split="grouped", settings=settings)
    path = run.file("model.weights.h5")
    path.unlink()
    with pytest.raises(LeukoBenchError) as caught:
        checkpoint.load(None, run, path)
    before, _, command = str(caught.value).partition("python run_guide.py ")
    assert before == f"Run {run.id} has no model.weights.h5. Copy it there, or train the run again, with its settings: "
    *words, config = shlex.split(command)
    assert words == ["train", "--config"]
    again = config_for("cnn", "", settings_file.settings(Path(config), "cnn"))
    assert again.replace(classes=run_loader.config_of(run).classes) == run_loader.config_of(run)


def test_a_group_alone_shows_its_commands():
    done = guide("data")
    assert done.returncode == 0
    assert "import" in done.stdout


def test_markup_in_a_name_is_text(folders):
    assert "'[red]cnn[/red]'" in only_line(guide("train", "[red]cnn[/red]"), 1)


def test_a_reader_that_leaves_is_no_error(folders):
    fake_run(folders / "runs")
    done = subprocess.run(
        f"{sys.executable} run_guide.py runs | true",
        shell=True,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""


def test_without_colour_where_none_is_wanted(folders):
    assert "\x1b" not in guide("runs").stdout + guide("trian").stderr
    assert "\x1b" not in guide("trian", NO_COLOR="1", TERM="xterm-256color").stderr


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
         "Error: x: Permission denied. Choose a folder or file you may use."),
        (MemoryError(), 1,
         "Error: Out of memory. Use a smaller batch_size or image_size, or close other programs."),
        (ModuleNotFoundError("No module named 'keras'", name="keras"), 1,
         "Error: The package 'keras' is not installed. Run: make venv (or: pip install -r requirements.txt)"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_edge(capsys, problem, code, line):
    assert console.run_safely(raising(problem)) == code
    assert capsys.readouterr().err == (line + "\n" if line else "")


def test_edge_lets_a_defect_show_itself():
    with pytest.raises(ZeroDivisionError):
        console.run_safely(lambda: 1 // 0)


def test_edge_returns_the_code_of_a_command():
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
    assert "x" * 150 in shown
    assert "All [of] it" in shown
    assert "[b]" in shown
    assert "–" in shown


def test_needs_packages(tmp_path):
    """Python without the packages says how to get them."""
    done = subprocess.run(
        [sys.executable, "-S", "run_guide.py"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert "is not installed for" in only_line(done, 1)


def test_app_is_built_from_the_steps():
    registered = {command.name for command in make_app().registered_commands}
    assert registered == {command for command in COMMANDS if " " not in command}


def test_samples_are_what_their_readme_says(folders):
    from PIL import Image

    samples = PROJECT / "docs" / "samples"
    command = re.search(r"^python run_guide.py (data synth .*)$", (samples / "README.md").read_text(), re.MULTILINE)[1]
    assert guide(*command.split()).returncode == 0
    for label in ("Benign", "Early", "Pre", "Pro"):
        drawn = folders / "data" / "raw" / "samples" / label / f"{label.lower()}-0000.png"
        with Image.open(drawn) as fresh, Image.open(samples / f"{label.lower()}.png") as kept:
            differing = np.mean(np.asarray(fresh) != np.asarray(kept))
            # The last bit of a sine hangs on the processor, and moves the edge of a cell by a pixel here and there.
            assert differing < 0.01, label


def test_a_long_table_in_a_pipe_loses_no_cell(capsys):
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
    assert any(" 10.50 │" in line for line in lines), "numbers stand to the right"
