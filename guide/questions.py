"""Ask for one value on the terminal or from a pipe, again until the answer is right."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from guide.choices import Choices
from guide.parameters import REQUIRED, Parameter
from utils.console import console, error
from utils.errors import LeukoBenchError, nearest


class Back(Exception):
    """The person wants the question before."""


class Leave(Exception):
    """The person wants to go: q, Ctrl-C or the end of the input."""


def read(prompt: str) -> str:
    """Read one answer without the spaces around it.

    Raises:
        Back: "b" or "back".
        Leave: "q" or "quit", Ctrl-C, end of the input.
    """
    try:
        text = input(f"{prompt}: ").strip()
    except (EOFError, KeyboardInterrupt):
        print()
        raise Leave from None
    if not sys.stdin.isatty():
        print(text)  # a terminal shows what is typed; a transcript should too
    if text.lower() in ("q", "quit"):
        raise Leave
    if text.lower() in ("b", "back"):
        raise Back
    return text


def ask(parameter: Parameter, choices: Choices | None, check: Callable[[Any], None]) -> Any:
    """Ask for a parameter until the answer is valid.

    Args:
        parameter: what to ask for.
        choices: list to choose from by number or name; None asks for text.
        check: raises LeukoBenchError where the value is not acceptable.

    Raises:
        Back, Leave: see `read`.
    """
    if choices is None and (values := parameter.values()):
        choices = Choices(values, [""] * len(values))
    default = _default(parameter, choices)
    _explain(parameter, choices)
    hint = "several: 1 3, or all" if choices and parameter.many else ""
    shown = "" if default is REQUIRED else f"[{_shown(default)}]"
    prompt = "  " + " ".join(part for part in (parameter.label, f"({hint})" if hint else "", shown) if part)
    while True:
        text = read(prompt)
        try:
            if not text and default is REQUIRED:
                raise LeukoBenchError(f"This needs an answer: {parameter.label}. (b goes back, q quits)")
            value = parameter.parse(_chosen(text, parameter.many, choices)) if text else default
            check(value)
            return value
        except LeukoBenchError as problem:
            error(str(problem))


def confirm(question: str) -> bool:
    """Ask a yes-or-no question whose default is no."""
    while True:
        text = read(f"  {question} [n]").lower()
        if text in ("", "n", "no", "y", "yes"):
            return text.startswith("y")
        error(f"Answer y or n; received '{text}'.")


def _default(parameter: Parameter, choices: Choices | None) -> Any:
    """Return what Enter gives; REQUIRED where an answer is needed."""
    return choices.values[0] if parameter.name == "dataset" and choices else parameter.default


def _explain(parameter: Parameter, choices: Choices | None) -> None:
    console.print()
    if parameter.help:
        console.print(Text(f"  {parameter.help}"))
    if choices is None:
        return
    width = max(len(value) for value in choices.values)
    for number, (value, note) in enumerate(zip(choices.values, choices.notes, strict=True), start=1):
        line = Text.assemble((f"  {number:>4} ", "bold cyan"), f"{value:<{width}}" if note else value)
        console.print(line.append(f"  {note}", style="dim") if note else line)


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "y" if default else "n"
    if default in (None, "", []):
        return "none"
    if isinstance(default, list):
        return " ".join(map(str, default))
    return str(default if isinstance(default, Path | str) else getattr(default, "value", default))


def _chosen(text: str, many: bool, choices: Choices | None) -> str:
    """Turn numbers and names of a list into the names."""
    if choices is None:
        return text
    if not many:
        return _pick(text, choices)
    if text.lower() == "all":
        return " ".join(choices.values)
    return " ".join(dict.fromkeys(_pick(part, choices) for part in text.replace(",", " ").split()))


def _pick(text: str, choices: Choices) -> str:
    values: Sequence[str] = choices.values
    if text in values:
        return text
    if text.isdecimal() and 1 <= int(text) <= len(values):
        return values[int(text) - 1]
    starting = [value for value in values if value.lower().startswith(text.lower())]
    if len(starting) == 1:
        return starting[0]
    if choices.check is not None:
        choices.check(text)
        return text
    numbers = "1" if len(values) == 1 else f"1 to {len(values)}"
    raise LeukoBenchError(f"There is no '{text}'.{nearest(text, values)} Choose {numbers}, or a name.")
