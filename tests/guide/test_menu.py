"""The menu, driven for real: through a pipe, and through a terminal where that matters."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_runs import fake_run

from guide import menu
from guide.choices import Choices, check_answer
from guide.parameters import command_line, parameters
from guide.questions import Back, Leave, ask
from guide.steps import STEPS
from guide.train import train
from utils.errors import LeukoBenchError
from utils.paths import PROJECT
from utils.runs import split_spec
from utils.runs.lookup import open_run

STEP = "Step (number or letter, Enter shows the menu, q quits): "


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two finished runs and one that was cut short."""
    monkeypatch.setenv("LEUKOBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("LEUKOBENCH_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("COLUMNS", "80")
    fake_run(tmp_path / "runs", "cnn", accuracy=0.9)
    fake_run(tmp_path / "runs", "resnet50", accuracy=0.8)
    fake_run(tmp_path / "runs", "cnn", finished=False)
    return tmp_path


def drive(*answers, **variables):
    """Give the menu these lines, then the end of the input; return what it shows, errors included."""
    done = subprocess.run(
        [sys.executable, "run_guide.py"], cwd=PROJECT, env=os.environ | {"PYTHONUNBUFFERED": "1"} | variables,
        input="".join(f"{answer}\n" for answer in answers), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stdout, done.stdout
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_screen(folders):
    shown = drive("q")
    first, _, _ = shown.partition(STEP)
    assert len(first.splitlines()) < 24  # the question stands on the last line of a terminal of 24
    assert max(len(line) for line in first.splitlines() if str(folders) not in line) <= 80  # a terminal wraps paths
    assert "Runs: 2 finished, 1 not finished in " in first
    assert "Data: none yet" in first
    for number, step in enumerate(STEPS, start=1):
        assert re.search(rf"\b{number} {step.key:<2} {re.escape(step.title)}( |$)", first, re.MULTILINE)
    assert re.search(r"^Start    1 d  Demo.*Results +\d+ r  List the runs$", first, re.MULTILINE)
    assert shown.endswith(STEP + "q\nLeft LeukoBench.\n")


def test_narrow_screen_has_one_column(folders):
    lines = drive("q", COLUMNS="79").partition(STEP)[0].splitlines()
    numbers = [int(found[1]) for line in lines if (found := re.match(r"(?:\w+ +| +)(\d+) \w", line))]
    assert numbers == list(range(1, len(STEPS) + 2))


def test_titles_fit_a_column():
    widest = [line.plain for line in menu._lines() if line.cell_len >= menu.COLUMN]
    assert not widest, "a title has at most 25 characters, a letter at most 2"


def test_damaged_dataset_is_named_and_an_unreadable_place_is_one_line(folders):
    place = folders / "data" / "raw" / "x"
    place.mkdir(parents=True)
    (place / "dataset.json").write_text("{")
    assert "Data: x (damaged)" in drive("q")
    (folders / "file").write_text("")
    done = subprocess.run(
        [sys.executable, "run_guide.py"], cwd=PROJECT, env=os.environ | {"LEUKOBENCH_DATA": str(folders / "file")},
        input="q\n", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        f"Error: Cannot read {folders / 'file' / 'raw'}: Not a directory. Set LEUKOBENCH_DATA to another folder.\n"
    )


def test_steps_can_be_told_apart():
    keys = [step.key for step in STEPS]
    assert len({*keys, menu.FOLDER_KEY, "b", "q"}) == len(keys) + 3
    assert all(menu.find(step.key) is step and menu.find(str(n)) is step for n, step in enumerate(STEPS, start=1))
    assert all(menu.find(step.command) is step for step in STEPS if step.command)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.title)
def test_steps_name_real_parameters(step):
    names = {parameter.name for parameter in parameters(step.function)}
    assert {*step.ask, *step.need, *step.leave} <= names


@pytest.mark.parametrize("end", [("q",), ("quit",), ()])
def test_leaves_from_the_menu_and_from_a_question(folders, end):
    assert drive(*end).endswith("Left LeukoBench.\n")
    assert drive("confusion", *end).endswith("Left LeukoBench.\n")


def test_wrong_answers_are_asked_again(folders):
    shown = drive("99", "trian", "m", "7", "ghost", "", "2", "x", "2", "q")
    assert "Error: There is no step '99'. Choose 1 to" in shown
    assert "Error: There is no step 'trian'. Did you mean 'train'?" in shown
    assert "Error: There is no run '7'" in shown
    assert "Error: There is no run 'ghost'" in shown
    assert "Error: This needs an answer: run." in shown
    assert "Error: There is no 'x'. Choose 1 to 4, or a name." in shown


def test_back_goes_back_one_question(folders):
    shown = drive("m", "1", "b", "2", "b", "b", "q")
    assert shown.count("  run: ") == 3
    assert shown.count("  true [none]: ") == 2
    assert shown.count("LeukoBench  Research only") == 2


def test_questions_that_do_not_concern_the_answers_are_left_out(folders):
    shown = drive("sa", "", "b", "1", "2", "", "", "y", "", "q")
    assert shown.count("  run [none]: ") == 2 and shown.count("  outcome [all]: ") == 1  # no outcome without a run
    assert "Change other settings (subset)?" in shown
    assert "samples resnet50/" in shown and " --outcome wrong\n" in shown
    assert re.search(r"^ +1 resnet50/\S+ +80.00 %$", shown, re.MULTILINE)


def test_runs_the_same_command_and_comes_back(folders):
    shown = drive("m", "resnet50", "Early", "", "", "r", "q")
    name = open_run("resnet50", folders / "runs").id
    assert f"$ python run_guide.py confusion {name} --true Early\n" in shown
    alone = subprocess.run(
        [sys.executable, "run_guide.py", "confusion", "resnet50", "--true", "Early"], cwd=PROJECT,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert all(line in shown for line in alone.stdout.splitlines())  # among them what the menu shows of stderr
    assert "$ python run_guide.py runs\n" in shown
    assert shown.count("\nDone.\n") == 2


def test_an_error_of_a_command_leads_back_to_the_menu(folders):
    run = fake_run(folders / "runs", "broken")
    run.file("predictions.csv").unlink()
    shown = drive("m", "broken", "", "", "", "q")
    assert "Error: Run broken/" in shown
    assert "That did not finish" in shown
    assert shown.endswith("Left LeukoBench.\n")


def test_settings_are_checked_before_the_command_runs(folders):
    asked = ["t", "cnn resnet50", "groupd", "2", "", "stran", "7", "y", "ten", "-1", "", "epoch=3", "filters=[8]"]
    shown = drive(*asked, *"bbbbbb", "q")
    assert "Error: Unknown split 'groupd'." in shown and "Error: Unknown recipe 'stran'." in shown
    assert "Error: seed takes a whole number; received 'ten'." in shown
    assert "Error: seed takes a whole number from 0 up to 2147483647; received -1." in shown
    assert "Did you mean 'epochs'?" in shown
    assert "Error: Unknown field 'filters'" in shown  # which cnn has and resnet50 has not
    assert "$ python" not in shown


def test_file_of_settings_is_checked_before_the_command_runs(folders):
    from guide.choices import check_answer
    from utils.errors import LeukoBenchError

    path = folders / "best.json"
    path.write_text('{"model": "cnn", "epoch": 3}')
    for value, model, words in [
        (path, "cnn", f"{path}: Unknown field 'epoch' (received 3). Did you mean 'epochs'?"),
        (path, "resnet50", f"{path} holds settings of cnn, not of resnet50."),
        (folders / "no.json", "cnn", f"There is no {folders / 'no.json'}. Give --config"),
    ]:
        with pytest.raises(LeukoBenchError, match=re.escape(words)):
            check_answer("config", value, {"model": [model], "profile": ""})
    path.write_text('{"epochs": 3}')
    check_answer("config", path, {"model": ["cnn"], "profile": "demo"})
    check_answer("config", None, {"model": ["cnn"], "profile": ""})


def test_resume_offers_unfinished_runs_alone(folders):
    shown = drive("u", "b", "q")
    assert len(re.findall(r"^ +\d cnn/\S+ +unfinished$", shown, re.MULTILINE)) == 1
    assert "resnet50/" not in shown


def test_nothing_to_choose_from(tmp_path, monkeypatch):
    monkeypatch.setenv("LEUKOBENCH_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("LEUKOBENCH_DATA", str(tmp_path / "data"))
    shown = drive("m", "u", "q")
    assert f"Error: There are no finished runs in {tmp_path / 'runs'}. Train a model first (t)" in shown
    assert f"Error: There are no unfinished runs in {tmp_path / 'runs'}." in shown


def test_runs_of_a_model_are_told_apart(tmp_path):
    from guide.choices import choices_for

    fake_run(tmp_path)
    fake_run(tmp_path, seed=43, split="grouped", settings=["recipe=stain_swap"])
    fake_run(tmp_path, seed=43, settings=["split_seed=7"], accuracy=1)
    fake_run(tmp_path, seed=44, finished=False)
    words = [
        "unfinished  seed 44",
        "100.00 %  seed 43, split seed 7",
        " 90.00 %  stain_swap, grouped, seed 43",
        " 90.00 %",
    ]
    assert choices_for("run", {}, tmp_path, "all").notes == words
    fake_run(tmp_path, dataset="other")
    assert choices_for("run", {}, tmp_path, "finished").notes[::3] == [" 90.00 %  other", " 90.00 %  synthetic"]


def test_older_runs_are_counted_and_chosen_by_number(folders):
    for seed in range(21):
        fake_run(folders / "runs", "keras:InceptionResNetV2", seed=seed, settings=["variant=clahe", "split_seed=7"])
    shown = drive("m", "23", "", "", "", "q")
    assert "\n  Not listed: 3 older. Their number, 21 to 23, or name can be typed.\n" in shown
    assert "$ python run_guide.py confusion cnn/" in shown
    question = shown.partition("Look into confusions  (b")[2].partition("  run: ")[0]
    assert max(map(len, question.splitlines())) <= 80 and question.count("split seed") + question.count("split\n") == 20


@pytest.mark.parametrize(
    "step",
    [s for s in STEPS if "split" in {p.name for p in parameters(s.function)} - {*s.leave}],
    ids=lambda step: step.title,
)
def test_splits_that_are_offered_are_taken(folders, step):
    offered, _ = menu._offered(parameter(step.function, "split"), {}, folders / "runs", step)
    read = split_spec.expand if step.all_folds else split_spec.parse
    assert all(map(read, offered.values)) and any("kfold" in value for value in offered.values)
    assert ("kfold:5" in offered.values) == step.all_folds


def test_families_are_listed_and_chosen_by_names_with_spaces(monkeypatch, capsys):
    from guide.stress import stress

    wanted = parameter(stress, "family")
    monkeypatch.setattr("builtins.input", lambda prompt: print(prompt) or next(left))
    left = iter(["stain swap, 1", "stain", "6", ""])
    assert ask(wanted, None, lambda value: None) == ["stain swap", "grey"]
    assert ask(wanted, None, lambda value: None) == ["stain reference"]
    assert ask(wanted, None, lambda value: None) is None
    shown, errors = capsys.readouterr()
    assert "  Kinds of change.\n     1 grey\n" in shown and "family (several: 1 3, or all) [all]: " in shown
    assert errors.startswith("Error: There is no 'stain'. Did you mean 'stain ")


def test_a_default_of_the_project_is_shown_as_the_command_line_says_it(monkeypatch, capsys):
    monkeypatch.setattr("builtins.input", lambda prompt: print(prompt) or "")
    for name, words in (("split", "[64/16/20]"), ("recipe", "[none]")):
        ask(parameter(train, name), None, lambda value: None)
        assert f"  {name} {words}: " in capsys.readouterr().out


def test_another_folder_of_runs(folders):
    fake_run(folders / "runs" / "demo", "efficientnetv2s")
    shown = drive("f", "x", str(folders / "runs" / "demo"), "m", "1", "", "", "", "q")
    assert "Error: x holds no runs." in shown
    assert f"Runs: 1 finished in {folders / 'runs' / 'demo'}; 2 in {folders / 'runs'}" in shown
    assert f"--root {folders / 'runs' / 'demo'}" in shown
    assert "Done." in shown


def test_no_colour_in_a_pipe(folders):
    assert "\x1b" not in drive("m", "1", "", "", "", "q")


def test_bytes_that_are_no_text(folders):
    done = subprocess.run(
        [sys.executable, "run_guide.py"], cwd=PROJECT, input=b"\xff\xfe\nq\n", capture_output=True, check=False
    )
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


def on_terminal(steps, **variables):
    """Drive the menu on a pseudo-terminal: (text to wait for, keys to send then); return the screen and exit code."""
    pty = pytest.importorskip("pty")
    pid, handle = pty.fork()
    if pid == 0:
        os.chdir(PROJECT)
        os.execve(sys.executable, [sys.executable, "run_guide.py"], os.environ | {"TERM": "xterm"} | variables)
    seen, start = "", 0
    try:
        for text, keys in [*steps, (None, b"")]:
            end = time.monotonic() + 60
            while text is None or text not in seen[start:]:
                assert time.monotonic() < end, f"waited for {text!r}, saw {seen!r}"
                if not select.select([handle], [], [], 1)[0]:
                    continue
                try:
                    part = os.read(handle, 65536)
                except OSError:  # Linux says so when the other side is gone
                    part = b""
                if not part:
                    break
                seen += part.decode(errors="replace")
            start = len(seen)
            if keys:
                time.sleep(0.3)  # a signal between the prompt and readline's wait would be seen with the next key only
                os.write(handle, keys)
        return seen, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        os.close(handle)


@pytest.mark.parametrize("keys", [b"\x03", b"\x04", b"q\n"], ids=["ctrl-c", "ctrl-d", "q"])
def test_keys_that_leave(folders, keys):
    for steps in ([("q quits): ", keys)], [("q quits): ", b"m\n"), ("run: ", keys)]):
        seen, code = on_terminal(steps)
        assert code == 0, seen
        assert "Left LeukoBench." in seen
        assert "Traceback" not in seen


def test_colour_on_a_terminal_unless_refused(folders):
    quit_at_once = [("q quits): ", b"q\n")]
    colour = re.compile(r"\x1b\[[\d;]*3\d")
    assert colour.search(on_terminal(quit_at_once)[0])
    assert not colour.search(on_terminal(quit_at_once, NO_COLOR="1")[0])


def parameter(function, name):
    return next(each for each in parameters(function) if each.name == name)


def test_every_default_is_the_command_lines():
    for step in STEPS:
        for each in parameters(step.function):
            assert each.flag.startswith("--") or each.flag == "", each


def answered(monkeypatch, *texts):
    left = iter(texts)
    monkeypatch.setattr("guide.questions.read", lambda prompt: next(left))


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.title)
def test_enter_gives_the_default_of_the_command_line(folders, monkeypatch, step):
    def read(prompt):
        """Ask for every setting, choose the first of a list, and else press Enter."""
        if prompt.startswith("  Change other settings"):
            return "y"
        needed = {"path": str(folders), "mlflow": "http://127.0.0.1:5000"}
        return "" if "[" in prompt else next((needed[word] for word in needed if word in prompt), "1")

    monkeypatch.setattr("guide.questions.read", read)
    asked = parameters(step.function)
    values = menu.collect(step, asked, folders / "runs")
    assert [each.name for each in asked] == list(values)
    for each in asked:
        if not each.required and each.name not in step.need:
            assert values[each.name] == each.default, each.name


def test_lists_take_numbers_names_and_all(monkeypatch):
    models = Choices(["cnn", "resnet50", "vgg"], ["", "", ""])
    wanted = parameter(train, "model")
    for text, expected in [
        ("1 3", ["cnn", "vgg"]), ("3,1", ["vgg", "cnn"]), ("res", ["resnet50"]), ("2 resnet50", ["resnet50"]),
        ("all", ["cnn", "resnet50", "vgg"]),
    ]:  # fmt: skip
        answered(monkeypatch, text)
        assert ask(wanted, models, lambda value: None) == expected


def test_an_architecture_of_keras_is_typed(monkeypatch, capsys):
    from guide.choices import choices_for
    from guide.tune import tune

    offered = choices_for("model", {}, Path(), "all")
    assert not any("keras" in value for value in offered.values)
    answered(monkeypatch, "keras:VGG20", "keras:VGG19")
    assert ask(parameter(tune, "model"), offered, lambda value: None) == "keras:VGG19"
    assert "Error: Unknown model 'keras:VGG20'. Did you mean 'keras:VGG19'?" in capsys.readouterr().err


def test_command_line_is_what_a_person_would_type():
    asked = parameters(train)
    values = {each.name: each.default for each in asked}
    values |= {"model": ["cnn", "resnet50"], "seed": [7], "set_": ["epochs=3", "weights=a file"], "root": Path("x y")}
    words = "train cnn resnet50 --seed 7 --set epochs=3 --set 'weights=a file' --root 'x y'"
    assert command_line("train", asked, values) == f"python run_guide.py {words}"


def test_an_answer_of_a_tracking_uri_is_judged_and_its_password_never_shown():
    asked = parameters(train)
    values = {parameter.name: parameter.default for parameter in asked}
    values |= {"model": ["cnn"], "mlflow": "postgresql://u:se/cr#et@host/db?password=SECRET"}
    assert command_line("train", asked, values).endswith("train cnn --mlflow postgresql://host/db")
    check_answer("mlflow", values["mlflow"], {})
    with pytest.raises(LeukoBenchError, match=r"^--mlflow received 'localhost:5000', which is not a tracking URI\."):
        check_answer("mlflow", "localhost:5000", {})
    with pytest.raises(LeukoBenchError, match=r"^There is no nowhere\.yaml\.$"):
        check_answer("file", Path("nowhere.yaml"), {})


@pytest.mark.parametrize(("text", "signal_"), [("b", Back), ("BACK", Back), ("q", Leave), ("Quit", Leave)])
def test_reading(monkeypatch, text, signal_):
    from guide.questions import read

    monkeypatch.setattr("builtins.input", lambda prompt: f" {text} ")
    with pytest.raises(signal_):
        read("x")
