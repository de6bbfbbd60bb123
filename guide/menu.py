"""The menu: choose a step and answer its questions. It runs the same functions as the command line."""

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
COLUMN = 40  # characters of a column of the menu: group, number, key, title


def run() -> None:
    """Open the menu on stdin and stdout; return after q, Ctrl-C or the end of the input."""
    if sys.stdin is None:
        raise LeukoBenchError("The menu needs standard input. Commands work without it: python run_guide.py --help")
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="surrogateescape")
    if sys.stdin.isatty():
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  # arrow keys and history
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
            say("LeukoBench closed.")
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
    half = min(starts, key=lambda row: (max(row, len(lines) - row), -row))  # first line of the right column
    for left, right in zip_longest(lines[:half], lines[half:], fillvalue=Text()):
        if right:
            left.pad_right(COLUMN - left.cell_len)
        console.print(left + right)


def _lines() -> list[Text]:
    """Return one line per step and one for the folder of runs; the first line of a group shows its name."""
    lines = []
    for group, steps in groupby(STEPS, key=lambda step: step.group):
        for position, step in enumerate(steps):
            lines.append(_line("" if position else group, len(lines) + 1, step.key, step.title))
    return [*lines, _line("", len(lines) + 1, FOLDER_KEY, FOLDER_TITLE)]


def status(root: Path) -> str:
    """Return two lines: the datasets, and the runs with their folder."""
    found = [f"{name} ({images})" for name, images in datasets().items()]
    more = f" and {len(found) - 2} more" if len(found) > 2 else ""
    data = ", ".join(found[:2]) + more or "none yet (training generates synthetic smears)"
    every = run_folder.find_runs(root)
    finished = sum(run.finished for run in every)
    runs = f"{finished} finished" + (f", {len(every) - finished} not finished" if finished < len(every) else "")
    others = [f"{count} in {short(path)}" for path, count in roots(root).items() if path != root and count]
    elsewhere = f"; {', '.join(others)} ({FOLDER_KEY})" if others else ""
    return f"Data: {data}\nRuns: {runs} in {short(root)}{elsewhere}"


def find(text: str) -> Step | None:
    """Return the step with a number, key or command name; print an error and return None if there is none."""
    for number, step in enumerate(STEPS, start=1):
        if text in (str(number), step.key) or (step.command and text in (step.command, step.command.split()[-1])):
            return step
    words = [step.command.split()[-1] for step in STEPS if step.command]
    error(f"There is no step '{text}'.{nearest(text, words)} Choose 1 to {len(STEPS) + 1} or one of the letters.")
    return None


def perform(step: Step, root: Path) -> None:
    """Ask for a step's parameters, run it and report the result; errors are printed.

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
    say("\nDone." if code == 0 else "\nThis step did not finish. Earlier results are kept.", style="bold")


def collect(step: Step, asked: list[Parameter], root: Path) -> dict[str, Any]:
    """Ask for a step's parameters and return all their values; "b" returns to the previous question.

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
    position, asked_positions = 0, []
    while position < len(questions):
        try:
            parameter = questions[position]
            if parameter is None:
                questions[position + 1 :] = later if confirm(_other_settings(later, values)) else []
                asked_positions.append(position)
            else:
                offered, applies = _offered(parameter, values, root, step)
                if not applies:  # use the default, also after an earlier answer
                    values[parameter.name] = next(p.default for p in asked if p.name == parameter.name)
                else:
                    values[parameter.name] = ask(parameter, offered, functools.partial(_check, parameter, values))
                    asked_positions.append(position)
            position += 1
        except Back:
            if not asked_positions:
                raise
            position = asked_positions.pop()  # the last question that was asked; some were skipped
    return values


def choose_root(root: Path) -> Path:
    """Ask for the folder of runs that the menu uses."""
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
    """Return the list to choose from, and whether the question applies."""
    if not concerns(parameter.name, answers):
        return None, False
    try:
        offered = choices_for(parameter.name, answers, root, step.runs, step.all_folds, step.plain)
    except LeukoBenchError:
        if parameter.name == "run" and not parameter.required:
            return None, False
        raise
    return offered, offered is not None or parameter.name not in ("dataset", "profile", "classes_are")


def _other_settings(later: list[Parameter], answers: dict[str, Any]) -> str:
    names = ", ".join(parameter.label for parameter in later if concerns(parameter.name, answers))
    return f"Change other settings ({names})?"


def _line(group: str, number: int, key: str, title: str) -> Text:
    return Text.assemble((f"{group:<8}", "bold"), (f"{number:>2} {key:<2}", "bold cyan"), f" {title}")
