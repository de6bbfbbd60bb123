"""Ask for one value on the terminal or from a pipe until the answer is valid."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import fill, wrap
from typing import Any

from rich.text import Text

from guide.choices import Choices
from guide.parameters import REQUIRED, Parameter
from utils.console import WIDTH, console, error
from utils.errors import LeukoBenchError, nearest

INDENT = 7  # characters before a value of a list: its number


class Back(Exception):
    """The user wants to return to the previous question."""


class Leave(Exception):
    """The user leaves the menu: q, Ctrl-C or the end of the input."""


def read(prompt: str) -> str:
    """Read one answer and strip the spaces around it.

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
        print(text)  # a terminal shows what is typed; with a pipe, print it
    if text.lower() in ("q", "quit"):
        raise Leave
    if text.lower() in ("b", "back"):
        raise Back
    return text


def ask(parameter: Parameter, choices: Choices | None, check: Callable[[Any], None]) -> Any:
    """Ask for a parameter until the answer is valid.

    Args:
        parameter: the parameter.
        choices: list to choose from by number or name; None asks for free text.
        check: raises LeukoBenchError if the value is not valid.

    Raises:
        Back, Leave: see `read`.
    """
    if choices is None and (values := parameter.values()):
        choices = Choices(dict.fromkeys(values, ""))
    default = _default(parameter, choices)
    _explain(parameter, choices)
    hint = "several: 1 3, or all" if choices and parameter.many else ""
    text = (choices.default if choices else "") or parameter.default_text
    shown = "" if default is REQUIRED else f"[{_shown(default, text)}]"
    prompt = "  " + " ".join(part for part in (parameter.label, f"({hint})" if hint else "", shown) if part)
    while True:
        text = read(prompt)
        try:
            if not text and default is REQUIRED:
                raise LeukoBenchError(f"An answer is required: {parameter.label}. (b goes back, q quits)")
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
    """Return the value for an empty answer; REQUIRED if an answer is needed."""
    return next(iter(choices.listed)) if parameter.name == "dataset" and choices else parameter.default


def _explain(parameter: Parameter, choices: Choices | None) -> None:
    console.print()
    # The help text lists the values; here they are printed as a numbered list below.
    if text := parameter.help.replace(f": {', '.join(parameter.values())}.", "."):
        console.print(Text(fill(text, WIDTH, initial_indent="  ", subsequent_indent="  ")))
    if choices is None:
        return
    listed = choices.listed
    # Notes start in one column, which leaves room for the longest note.
    column = min(max(map(len, listed)), max(0, WIDTH - INDENT - 2 - max(map(len, listed.values())))) + INDENT
    for number, (value, note) in enumerate(listed.items(), start=1):
        line = Text.assemble((f"  {number:>4} ", "bold cyan"), value)
        if note:
            line.pad_right(column - line.cell_len)
            first, *rest = wrap(note, max(20, WIDTH - 2 - line.cell_len))
            line.append("  " + ("\n" + " " * (line.cell_len + 2)).join([first, *rest]), style="dim")
        console.print(line)
    if older := len(choices.unlisted):
        numbers = f"{len(listed) + 1} to {len(choices.values)}" if older > 1 else f"{len(choices.values)}"
        console.print(
            Text(f"  Not listed: {older} older runs. Type their number ({numbers}) or their name.", style="dim")
        )


def _shown(default: Any, text: str) -> str:
    if isinstance(default, bool):
        return "y" if default else "n"
    if default in (None, "", []):
        return text or "none"
    if isinstance(default, list):
        return " ".join(map(str, default))
    return str(default if isinstance(default, Path | str) else getattr(default, "value", default))


def _chosen(text: str, many: bool, choices: Choices | None) -> str | list[str]:
    """Turn numbers and names into names of the list; a name may contain spaces."""
    if choices is None:
        return text
    if not many:
        return _pick(text, choices)
    if text.lower() == "all":
        return list(choices.values)
    parts = [part.strip() for part in text.split(",")]
    words = [word for part in parts for word in ([part] if part in choices.values else part.split())]
    return list(dict.fromkeys(_pick(word, choices) for word in words))


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
