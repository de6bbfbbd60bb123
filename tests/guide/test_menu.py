"""The menu: driven in process with its answers from standard input, and once for real on a terminal."""

import io
import os
import re
import sys
from pathlib import Path

import pytest
from checks import one_line_error
from command_line import run_guide, run_python
from drawn_sources import lay, product
from fake_runs import fake_run

from guide import menu
from guide.choices import Choices, check_answer, choices_for
from guide.parameters import command_line, parameters
from guide.questions import Back, Leave, ask, read
from guide.steps import STEPS
from guide.stress import stress
from guide.train import train
from guide.tune import tune
from utils.paths import PROJECT
from utils.runs import split_spec
from utils.runs.lookup import open_run

STEP = "Step (number or letter, Enter shows the menu, q quits): "
CLOSED = "LeukoBench closed.\n"


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two finished runs and an unfinished one."""
    monkeypatch.setenv("LEUKOBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("LEUKOBENCH_RUNS", str(tmp_path / "runs"))
    fake_run(tmp_path / "runs", "cnn", accuracy=0.9)
    fake_run(tmp_path / "runs", "resnet50", accuracy=0.8)
    fake_run(tmp_path / "runs", "cnn", finished=False)
    return tmp_path


def drive(*answers, **variables):
    """Give the menu these lines, then the end of the input; return its output, errors included."""
    done = run_guide(text="".join(f"{answer}\n" for answer in answers), merged=True, **variables)
    assert done.returncode == 0, done.stdout
    return done.stdout


def parameter(function, name):
    return next(each for each in parameters(function) if each.name == name)


def answer(monkeypatch, *texts):
    left = iter(texts)
    monkeypatch.setattr("guide.questions.read", lambda prompt: next(left))


def test_screen(folders):
    shown = drive("q")
    first, _, _ = shown.partition(STEP)
    assert len(first.splitlines()) < 24  # with the question, 24 lines
    assert max(len(line) for line in first.splitlines() if str(folders) not in line) <= 80
    assert "Runs: 2 finished, 1 not finished in " in first
    assert "Data: none yet" in first
    for number, step in enumerate(STEPS, start=1):
        assert re.search(rf"\b{number} {step.key:<2} {re.escape(step.title)}( |$)", first, re.MULTILINE)
    assert re.search(r"^Start    1 d  Demo.*Results +\d+ r  List the runs$", first, re.MULTILINE)
    assert shown.endswith(f"{STEP}q\n{CLOSED}")
    assert "\x1b" not in shown


def test_narrow_screen_has_one_column(folders):
    lines = drive("q", COLUMNS="79").partition(STEP)[0].splitlines()
    numbers = [int(found[1]) for line in lines if (found := re.match(r"(?:\w+ +| +)(\d+) \w", line))]
    assert numbers == list(range(1, len(STEPS) + 2))


def test_titles_fit_a_column():
    assert all(line.cell_len < menu.COLUMN for line in menu._lines()), "at most 25 characters"


def test_damaged_dataset_is_listed_and_unreadable_folder_is_an_error(folders, monkeypatch):
    place = folders / "data" / "raw" / "x"
    place.mkdir(parents=True)
    (place / "dataset.json").write_text("{")
    assert "Data: x (damaged)" in drive("q")
    (folders / "file").write_text("")
    monkeypatch.setenv("LEUKOBENCH_DATA", str(folders / "file"))
    done = run_guide(text="q\n")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert str(folders / "file" / "raw") in done.stderr and "LEUKOBENCH_DATA" in done.stderr


def test_steps_have_unique_keys_and_are_found_by_key_number_and_command():
    keys = [step.key for step in STEPS]
    assert len({*keys, menu.FOLDER_KEY, "b", "q"}) == len(keys) + 3
    assert all(menu.find(step.key) is step and menu.find(str(n)) is step for n, step in enumerate(STEPS, start=1))
    assert all(menu.find(step.command) is step for step in STEPS if step.command)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.title)
def test_steps_name_real_parameters_with_flags(step):
    found = parameters(step.function)
    assert {*step.ask, *step.need, *step.leave} <= {each.name for each in found}
    assert all(each.flag.startswith("--") or each.flag == "" for each in found)


@pytest.mark.parametrize("end", [("q",), ("quit",), ()])
def test_quit_from_the_menu_and_from_a_question(folders, end):
    assert drive(*end).endswith(CLOSED)
    assert drive("confusion", *end).endswith(CLOSED)


def test_wrong_answers_are_asked_again(folders):
    shown = drive("99", "trian", "m", "7", "ghost", "", "2", "x", "2", "q")
    for fact in ("'99'", "'trian'. Did you mean 'train'?", "run '7'", "run 'ghost'", "required: run", "'x'. Choose 1"):
        assert fact in shown
    assert shown.count("Error: ") == 6


def test_back_returns_to_the_previous_question(folders):
    shown = drive("m", "1", "b", "2", "b", "b", "q")
    assert shown.count("  run: ") == 3
    assert shown.count("  true [none]: ") == 2
    assert shown.count("LeukoBench  Research only") == 2


def test_questions_depend_on_earlier_answers(folders):
    shown = drive("sa", "", "b", "1", "2", "", "", "y", "", "q")
    assert shown.count("  run [none]: ") == 2 and shown.count("  outcome [all]: ") == 1  # no outcome without a run
    assert "Change other settings (subset)?" in shown
    assert "samples resnet50/" in shown and " --outcome wrong\n" in shown
    assert re.search(r"^ +1 resnet50/\S+ +80.00 %$", shown, re.MULTILINE)


def test_the_split_of_a_dataset_is_offered_first_and_kept(folders):
    given = lay(folders / "given", *product(("fit", "holdout_a", "holdout_b"), ("Blast", "Normal"), 6))
    split = folders / "split.csv"
    names = {"fit": "train", "holdout_a": "test_a", "holdout_b": "test_b"}
    found = [path.relative_to(given) for path in sorted(given.rglob("*.png"))]
    split.write_text("".join(["image,split\n", *(f"{path},{names[path.parts[0]]}\n" for path in found)]))
    assert run_guide("data", "import", given, "--name", "slides", "--split", split).returncode == 0
    lay(folders / "plain", "Blast*6", "Normal*6")
    assert run_guide("data", "import", folders / "plain").returncode == 0
    kept, plain, anew = (drive("s", *each, "", "q") for each in (("slides", ""), ("plain", ""), ("2", "2")))
    assert "  split [given]: " in kept and "  split [given]: " in anew
    assert "$ python run_guide.py data split slides\n" in kept
    assert re.search(r"\(given\): train \d+, val \d+ .*, test_a 12, test_b 12$", kept, re.MULTILINE)
    assert "  split [64/16/20]: " in plain and "the dataset's own split" not in plain
    assert "--split 64/16/20" in anew and "test_a" not in anew


def test_step_runs_the_same_command_as_the_command_line(folders):
    shown = drive("m", "resnet50", "Early", "", "", "r", "q")
    name = open_run("resnet50", folders / "runs").id
    assert f"$ python run_guide.py confusion {name} --true Early\n" in shown
    alone = run_guide("confusion", "resnet50", "--true", "Early", merged=True)
    assert all(line in shown for line in alone.stdout.splitlines())
    assert "$ python run_guide.py runs\n" in shown
    assert shown.count("\nDone.\n") == 2


def test_error_of_a_command_returns_to_the_menu(folders):
    run = fake_run(folders / "runs", "broken")
    run.file("predictions.csv").unlink()
    shown = drive("m", "broken", "", "", "", "q")
    assert "Error: Run broken/" in shown and "did not finish" in shown
    assert shown.endswith(CLOSED)


def test_settings_are_checked_before_the_command_runs(folders):
    asked = ["t", "cnn resnet50", "groupd", "2", "", "stran", "7", "y", "ten", "-1", "", "epoch=3", "filters=[8]"]
    shown = drive(*asked, *"bbbbbb", "q")
    for fact in ("'groupd'", "'stran'", "seed must be a whole number; received 'ten'", "from 0 up to 2147483647; "):
        assert fact in shown
    assert "Did you mean 'epochs'?" in shown
    assert "Unknown field 'filters'" in shown  # cnn has it, resnet50 does not
    assert "$ python" not in shown


def test_file_of_settings_is_checked_before_the_command_runs(folders):
    path = folders / "best.json"
    path.write_text('{"model": "cnn", "epoch": 3}')
    for value, model, facts in [
        (path, "cnn", (str(path), "'epoch'", "'epochs'?")),
        (path, "resnet50", (str(path), "cnn", "resnet50")),
        (folders / "no.json", "cnn", (str(folders / "no.json"), "--config")),
    ]:
        with one_line_error(*facts):
            check_answer("config", value, {"model": [model], "profile": ""})
    path.write_text('{"epochs": 3}')
    check_answer("config", path, {"model": ["cnn"], "profile": "demo"})
    check_answer("config", None, {"model": ["cnn"], "profile": ""})


def test_resume_offers_unfinished_runs_only(folders):
    shown = drive("u", "b", "q")
    assert len(re.findall(r"^ +\d cnn/\S+ +unfinished$", shown, re.MULTILINE)) == 1
    assert "resnet50/" not in shown


def test_no_runs_to_choose_from(data_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("LEUKOBENCH_RUNS", str(tmp_path / "runs"))
    shown = drive("m", "u", "q")
    assert f"Error: There are no finished runs in {tmp_path / 'runs'}. Train a model first (t)" in shown
    assert f"Error: There are no unfinished runs in {tmp_path / 'runs'}." in shown


def test_notes_distinguish_runs_of_a_model(tmp_path):
    fake_run(tmp_path)
    fake_run(tmp_path, seed=43, split="grouped", settings=["recipe=stain_swap"])
    fake_run(tmp_path, seed=43, settings=["split_seed=7"], accuracy=1)
    fake_run(tmp_path, seed=44, finished=False)
    assert list(choices_for("run", {}, tmp_path, "all").listed.values()) == [
        "unfinished  seed 44",
        "100.00 %  seed 43, split seed 7",
        " 90.00 %  stain_swap, grouped, seed 43",
        " 90.00 %",
    ]
    fake_run(tmp_path, dataset="other")
    assert list(choices_for("run", {}, tmp_path, "finished").listed.values())[::3] == [
        " 90.00 %  other",
        " 90.00 %  synthetic",
    ]


def test_older_runs_are_chosen_by_number(folders):
    for seed in range(21):
        fake_run(folders / "runs", "keras:InceptionResNetV2", seed=seed, settings=["variant=clahe", "split_seed=7"])
    shown = drive("m", "23", "", "", "", "q")
    assert "3 older runs" in shown and "21 to 23" in shown
    assert "$ python run_guide.py confusion cnn/" in shown
    title = next(step.title for step in STEPS if step.command == "confusion")
    question = shown.partition(f"{title}  (b")[2].partition("  run: ")[0]
    assert max(map(len, question.splitlines())) <= 80 and question.count("split seed") + question.count("split\n") == 20


@pytest.mark.parametrize(
    "step",
    [s for s in STEPS if "split" in {p.name for p in parameters(s.function)} - {*s.leave}],
    ids=lambda step: step.title,
)
def test_offered_splits_are_valid(folders, step):
    offered, _ = menu._offered(parameter(step.function, "split"), {}, folders / "runs", step)
    parse = split_spec.expand if step.all_folds else split_spec.parse
    assert all(map(parse, offered.values)) and any("kfold" in value for value in offered.values)
    assert ("kfold:5" in offered.values) == step.all_folds


def test_families_are_chosen_by_names_with_spaces(monkeypatch, capsys):
    wanted = parameter(stress, "family")
    monkeypatch.setattr("builtins.input", lambda prompt: print(prompt) or next(left))
    left = iter(["stain swap, 1", "stain", "6", ""])
    assert ask(wanted, None, lambda value: None) == ["stain swap", "grey"]
    assert ask(wanted, None, lambda value: None) == ["stain reference"]
    assert ask(wanted, None, lambda value: None) is None
    shown, errors = capsys.readouterr()
    assert "\n     1 grey\n" in shown and "family (several: 1 3, or all) [all but the controls]: " in shown
    assert "'stain'. Did you mean 'stain " in errors


def test_defaults_are_shown_as_on_the_command_line(monkeypatch, capsys):
    monkeypatch.setattr("builtins.input", lambda prompt: print(prompt) or "")
    for name, text in (("split", "[the dataset's own, else 64/16/20]"), ("recipe", "[none]")):
        ask(parameter(train, name), None, lambda value: None)
        assert f"  {name} {text}: " in capsys.readouterr().out


def test_another_folder_of_runs(folders):
    fake_run(folders / "runs" / "demo", "efficientnetv2s")
    shown = drive("f", "x", str(folders / "runs" / "demo"), "m", "1", "", "", "", "q")
    assert "Error: x holds no runs." in shown
    assert f"Runs: 1 finished in {folders / 'runs' / 'demo'}; 2 in {folders / 'runs'}" in shown
    assert f"--root {folders / 'runs' / 'demo'}" in shown
    assert "Done." in shown


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.title)
def test_enter_gives_the_default_of_the_command_line(folders, monkeypatch, step):
    def first_or_enter(prompt):
        """Ask for every setting, choose the first of a list, and else press Enter."""
        if prompt.startswith("  Change other settings"):
            return "y"
        needed = {"path": str(folders), "mlflow": "http://127.0.0.1:5000"}
        return "" if "[" in prompt else next((needed[word] for word in needed if word in prompt), "1")

    monkeypatch.setattr("guide.questions.read", first_or_enter)
    asked = parameters(step.function)
    values = menu.collect(step, asked, folders / "runs")
    assert [each.name for each in asked] == list(values)
    for each in asked:
        if not each.required and each.name not in step.need:
            assert values[each.name] == each.default, each.name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 3", ["cnn", "vgg"]),
        ("3,1", ["vgg", "cnn"]),
        ("res", ["resnet50"]),
        ("2 resnet50", ["resnet50"]),
        ("all", ["cnn", "resnet50", "vgg"]),
    ],
)
def test_lists_take_numbers_names_and_all(monkeypatch, text, expected):
    answer(monkeypatch, text)
    models = Choices(dict.fromkeys(["cnn", "resnet50", "vgg"], ""))
    assert ask(parameter(train, "model"), models, lambda value: None) == expected


def test_keras_architecture_can_be_typed(monkeypatch, capsys):
    offered = choices_for("model", {}, Path(), "all")
    assert not any("keras" in value for value in offered.values)
    answer(monkeypatch, "keras:VGG20", "keras:VGG19")
    assert ask(parameter(tune, "model"), offered, lambda value: None) == "keras:VGG19"
    assert "'keras:VGG20'. Did you mean 'keras:VGG19'?" in capsys.readouterr().err


def test_equivalent_command_line_without_passwords():
    asked = parameters(train)
    defaults = {each.name: each.default for each in asked}
    values = {"model": ["cnn", "resnet50"], "seed": [7], "set_": ["epochs=3", "weights=a file"], "root": Path("x y")}
    words = "train cnn resnet50 --seed 7 --set epochs=3 --set 'weights=a file' --root 'x y'"
    assert command_line("train", asked, defaults | values) == f"python run_guide.py {words}"
    secret = {"model": ["cnn"], "mlflow": "postgresql://u:se/cr#et@host/db?password=SECRET"}
    shown = command_line("train", asked, defaults | secret)
    assert shown.endswith("train cnn --mlflow postgresql://host/db")


def test_tracking_uri_and_files_are_checked():
    check_answer("mlflow", "postgresql://u:se/cr#et@host/db?password=SECRET", {})
    with one_line_error("--mlflow", "'localhost:5000'"):
        check_answer("mlflow", "localhost:5000", {})
    with one_line_error("nowhere.yaml"):
        check_answer("file", Path("nowhere.yaml"), {})


@pytest.mark.parametrize(("text", "signal_"), [("b", Back), ("BACK", Back), ("q", Leave), ("Quit", Leave)])
def test_read_raises_back_and_leave(monkeypatch, text, signal_):
    monkeypatch.setattr("builtins.input", lambda prompt: f" {text} ")
    with pytest.raises(signal_):
        read("x")


def test_invalid_bytes_in_the_input():
    done = run_python("run_guide.py", text=b"\xff\xfe\nq\n")
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


def on_terminal(*steps, **variables):
    """Drive the menu on a pseudo-terminal: (text to wait for, keys to send then); return the screen and exit code."""
    pexpect = pytest.importorskip("pexpect")
    environment = os.environ | {"TERM": "xterm"} | variables
    menu = pexpect.spawn(sys.executable, ["run_guide.py"], 60, cwd=str(PROJECT), env=environment, encoding="utf-8")
    with menu:
        menu.logfile_read = io.StringIO()
        menu.delaybeforesend = 0.3  # until readline waits: a signal before that is seen with the next key only
        for text, keys in steps:
            menu.expect_exact(text)
            menu.send(keys)
        menu.expect(pexpect.EOF)
    return menu.logfile_read.getvalue(), menu.exitstatus


@pytest.mark.slow
@pytest.mark.parametrize("keys", ["\x03", "\x04", "q\n"], ids=["ctrl-c", "ctrl-d", "q"])
def test_keys_that_close_the_menu_on_a_terminal(folders, keys):
    for steps in ([("q quits): ", keys)], [("q quits): ", "m\n"), ("run: ", keys)]):
        seen, code = on_terminal(*steps)
        assert code == 0, seen
        assert CLOSED.strip() in seen
        assert "Traceback" not in seen


@pytest.mark.slow
def test_colour_on_a_terminal_unless_refused(folders):
    quit_at_once = ("q quits): ", "q\n")
    colour = re.compile(r"\x1b\[[\d;]*3\d")
    assert colour.search(on_terminal(quit_at_once)[0])
    assert not colour.search(on_terminal(quit_at_once, NO_COLOR="1")[0])
