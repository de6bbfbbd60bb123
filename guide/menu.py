"""The menu: choose a step, answer its questions, come back. Runs the same functions as the command line."""

import contextlib
import dataclasses
import functools
import sys
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Any

from rich.text import Text

from guide.choices import Choices, check_answer, choices_for, concerns, datasets, roots, short
from guide.parameters import REQUIRED, Parameter, command_line, parameters
from guide.questions import Back, Leave, ask, confirm, read
from guide.steps import STEPS, Step
from utils.console import console, error, run_safely, say
from utils.errors import LeukoBenchError, nearest
from utils.paths import runs_dir
from utils.runs import run_folder
from utils.text import NOTICE

FOLDER_KEY, FOLDER_TITLE = "f", "Other folder of runs"
COLUMN = 40  # characters of a column of the menu: group, number, one letter or two, a title of at most 25


def run() -> None:
    """Open the menu on stdin and stdout; return when the person leaves, by q, Ctrl-C or the end of the input."""
    if sys.stdin is None:
        raise LeukoBenchError("The menu needs an input. Commands work without: python run_guide.py --help")
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="surrogateescape")
    if sys.stdin.isatty():
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  # arrow keys and history at the questions
    root = runs_dir()
    show(root)
    while True:
        try:
            text = read("\nStep (number or letter, Enter shows the menu, q quits)").lower()
            if not text:
                show(root)
            elif text in (FOLDER_KEY, str(len(STEPS) + 1)):
                root = choose_root(root)
                show(root)
            elif step := find(text):
                perform(step, root)
        except Back:
            show(root)
        except Leave:
            say("Left LeukoBench.")
            return


def show(root: Path) -> None:
    """Print the status and the steps; at most 80 columns and 24 lines."""
    console.print(Text("LeukoBench  ", style="bold").append(NOTICE, style="not bold dim"))
    say(status(root), style="dim")
    lines = _lines()
    if console.width < 2 * COLUMN:
        for line in lines:
            console.print(line)
        return
    starts = [row for row, line in enumerate(lines) if not line.plain.startswith(" ")]
    half = min(starts, key=lambda row: (max(row, len(lines) - row), -row))  # the group that begins the right column
    for left, right in zip_longest(lines[:half], lines[half:], fillvalue=Text()):
        if right:
            left.pad_right(COLUMN - left.cell_len)
        console.print(left + right)


def _lines() -> list[Text]:
    """Return one line a step, the first of a group with its name, and one for the folder of runs."""
    lines = []
    for group, steps in groupby(STEPS, key=lambda step: step.group):
        for position, step in enumerate(steps):
            lines.append(_line("" if position else group, len(lines) + 1, step.key, step.title))
    return [*lines, _line("", len(lines) + 1, FOLDER_KEY, FOLDER_TITLE)]


def status(root: Path) -> str:
    """Return one line or two: which datasets, how many runs, and where."""
    found = [f"{name} ({words})" for name, words in datasets().items()]
    more = f" and {len(found) - 2} more" if len(found) > 2 else ""
    data = ", ".join(found[:2]) + more or "none yet (training makes synthetic smears)"
    every = run_folder.find_runs(root)
    finished = sum(run.finished for run in every)
    runs = f"{finished} finished" + (f", {len(every) - finished} not finished" if finished < len(every) else "")
    others = [f"{count} in {short(path)}" for path, count in roots(root).items() if path != root and count]
    elsewhere = f"; {', '.join(others)} ({FOLDER_KEY})" if others else ""
    return f"Data: {data}\nRuns: {runs} in {short(root)}{elsewhere}"


def find(text: str) -> Step | None:
    """Return the step of a number, a letter or a command's name; say what is valid where there is none."""
    for number, step in enumerate(STEPS, start=1):
        if text in (str(number), step.key) or (step.command and text in (step.command, step.command.split()[-1])):
            return step
    words = [step.command.split()[-1] for step in STEPS if step.command]
    error(f"There is no step '{text}'.{nearest(text, words)} Choose 1 to {len(STEPS) + 1} or one of the letters.")
    return None


def perform(step: Step, root: Path) -> None:
    """Ask for a step's parameters, run it, and report how it ended; an error leads back to the menu.

    Raises:
        Back, Leave: see `guide.questions.read`.
    """
    say(f"\n{step.title}  (b goes back, q quits)", style="bold")
    asked = parameters(step.function)
    try:
        values = collect(step, asked, root)
    except LeukoBenchError as problem:
        error(str(problem))
        return
    say(f"\n$ {command_line(step.command or 'train', asked, values)}\n", style="dim")
    code = run_safely(functools.partial(step.function, **values))
    say("\nDone." if code == 0 else "\nThat did not finish; nothing that was finished before is lost.", style="bold")


def collect(step: Step, asked: list[Parameter], root: Path) -> dict[str, Any]:
    """Ask for what a step needs and return every parameter's value, going back a question where wanted.

    Raises:
        Back: from the first question.
        Leave: see `guide.questions.read`.
        LeukoBenchError: there is nothing to choose from.
    """
    values = {parameter.name: parameter.default for parameter in asked}
    if any(parameter.name == "root" and parameter.default is None for parameter in asked) and root != runs_dir():
        values["root"] = root
    open_ones = [p for p in asked if p.name not in step.leave and not (p.name == "root" and p.default is None)]
    open_ones = [dataclasses.replace(p, default=REQUIRED) if p.name in step.need else p for p in open_ones]
    first = [p for p in open_ones if p.required or p.name in step.ask]
    later = [p for p in open_ones if p not in first]
    questions: list[Parameter | None] = [*first, *([None] if later else [])]
    position, behind = 0, []
    while position < len(questions):
        try:
            parameter = questions[position]
            if parameter is None:
                questions[position + 1 :] = later if confirm(_other_settings(later, values)) else []
                behind.append(position)
            else:
                offered, there = _offered(parameter, values, root, step)
                if not there:  # the command's own default does, whatever was said before the person went back
                    values[parameter.name] = next(p.default for p in asked if p.name == parameter.name)
                else:
                    values[parameter.name] = ask(parameter, offered, functools.partial(_check, parameter, values))
                    behind.append(position)
            position += 1
        except Back:
            if not behind:
                raise
            position = behind.pop()  # the last one that was asked: some do not concern what was answered
    return values


def choose_root(root: Path) -> Path:
    """Ask which folder of runs the menu looks at."""
    found = list(roots(root).items())
    console.print()
    for number, (path, count) in enumerate(found, start=1):
        console.print(Text.assemble((f"  {number:>4} ", "bold cyan"), f"{short(path)}  ({count} finished)"))
    while True:
        text = read("  Folder (number or path) [1]") or "1"
        path = found[int(text) - 1][0] if text.isdecimal() and 1 <= int(text) <= len(found) else Path(text).expanduser()
        if path == root or run_folder.find_runs(path):
            return path
        error(f"{text} holds no runs. Choose 1 to {len(found)}, or the path of a folder with runs.")


def _check(parameter: Parameter, answers: dict[str, Any], value: Any) -> None:
    check_answer(parameter.name, value, answers)


def _offered(parameter: Parameter, answers: dict[str, Any], root: Path, step: Step) -> tuple[Choices | None, bool]:
    """Return what can be chosen, and whether it makes sense to ask."""
    if not concerns(parameter.name, answers):
        return None, False
    try:
        offered = choices_for(parameter.name, answers, root, step.runs, step.all_folds, step.plain)
    except LeukoBenchError:
        if parameter.name == "run" and not parameter.required:
            return None, False
        raise
    return offered, offered is not None or parameter.name not in ("dataset", "profile")


def _other_settings(later: list[Parameter], answers: dict[str, Any]) -> str:
    names = ", ".join(parameter.label for parameter in later if concerns(parameter.name, answers))
    return f"Change other settings ({names})?"


def _line(group: str, number: int, key: str, title: str) -> Text:
    return Text.assemble((f"{group:<8}", "bold"), (f"{number:>2} {key:<2}", "bold cyan"), f" {title}")
