"""Parameters of a command, read from its signature, so that menu and command line take the same values."""

import enum
import inspect
import math
import os
import shlex
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.engine.tracking import mlflow_client
from utils.errors import LeukoBenchError, nearest

REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True)
class Parameter:
    """One parameter of a command.

    Attributes:
        name: name of the function's parameter.
        type: str, int, float, bool, Path or an Enum; for a list, the type of one element.
        many: whether it takes a list.
        default: default value; REQUIRED if there is none.
        help: help text of the command line.
        flag: its name on the command line ("--dataset"); "" for a positional argument.
        low, high: inclusive limits of a number; infinite if there are none.
        default_text: text for a default of None ("all"); "" if the command line shows none.
    """

    name: str
    type: type
    many: bool
    default: Any
    help: str
    flag: str
    low: float
    high: float
    default_text: str = ""

    @property
    def required(self) -> bool:
        """Whether a value is required; a required list needs at least one element."""
        return self.default is REQUIRED

    @property
    def label(self) -> str:
        """Name for display."""
        return self.name.strip("_").replace("_", " ")

    def values(self) -> list[str]:
        """Return the valid values of an Enum, else an empty list."""
        return [str(member.value) for member in self.type] if issubclass(self.type, enum.Enum) else []

    def parse(self, text: str | list[str]) -> Any:
        """Turn an answer, or the names chosen from a list, into the value of the parameter.

        Raises:
            LeukoBenchError: the text is not a valid value.
        """
        if isinstance(text, list):
            return [self._one(part) for part in text]
        if not self.many:
            return self._one(text)
        try:
            # A backslash separates folders on Windows and escapes spaces elsewhere.
            return [self._one(part) for part in shlex.split(text, posix=os.name != "nt")]
        except ValueError as problem:
            raise LeukoBenchError(f"Cannot read this answer: {problem}.") from None

    def _one(self, text: str) -> Any:
        if self.type is bool:
            answers = {"y": True, "yes": True, "n": False, "no": False}
            if text.lower() not in answers:
                raise LeukoBenchError(f"Answer y or n; received '{text}'.")
            return answers[text.lower()]
        if self.type in (int, float):
            return self._number(text)
        if values := self.values():
            if text not in values:
                raise LeukoBenchError(f"There is no '{text}'.{nearest(text, values)} Valid: {', '.join(values)}.")
            return self.type(text)
        if self.type is Path:
            return Path(text.strip("'\"")).expanduser()
        return text

    def _number(self, text: str) -> float:
        kind = "whole number" if self.type is int else "number"
        try:
            number = self.type(text)
        except ValueError:
            raise LeukoBenchError(f"{self.label} must be a {kind}; received '{text}'.") from None
        if not self.low <= number <= self.high:
            low = "" if math.isinf(self.low) else f" from {_plain(self.low)}"
            high = "" if math.isinf(self.high) else f" up to {_plain(self.high)}"
            raise LeukoBenchError(f"{self.label} must be a {kind}{low}{high}; received {text}.")
        return number


def parameters(function: Callable[..., Any]) -> list[Parameter]:
    """Return the parameters of a command, in the order of its signature."""
    hints = typing.get_type_hints(function, include_extras=True)
    return [_parameter(each, hints[each.name]) for each in inspect.signature(function).parameters.values()]


def command_line(command: str, asked: Sequence[Parameter], values: Mapping[str, Any]) -> str:
    """Return the equivalent command line: arguments, and options that differ from their default.

    The password of a tracking URI is removed.
    """
    words = ["python", "run_guide.py", *command.split()]
    for parameter in asked:
        value = values[parameter.name]
        if value == parameter.default or value in (None, "", []):
            continue
        texts = [_text(each) for each in (value if parameter.many else [value])]
        if parameter.name == "mlflow":  # never show its password
            texts = [mlflow_client.shown(text) for text in texts]
        if parameter.type is bool:
            words.append(parameter.flag if value else parameter.flag.replace("--", "--no-", 1))
        else:
            words += [word for text in texts for word in ([parameter.flag, text] if parameter.flag else [text])]
    return shlex.join(words)


def _text(value: object) -> str:
    return str(value.value if isinstance(value, enum.Enum) else value)


def _parameter(signature: inspect.Parameter, hint: Any) -> Parameter:
    hint, info = (hint.__origin__, hint.__metadata__[0]) if hasattr(hint, "__metadata__") else (hint, None)
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        hint = next(part for part in typing.get_args(hint) if part is not types.NoneType)
    many = typing.get_origin(hint) in (list, tuple)
    if many:
        hint = typing.get_args(hint)[0]
    flags = [name for name in getattr(info, "param_decls", None) or () if name.startswith("--")]
    is_argument = type(info).__name__ == "ArgumentInfo"
    low, high = getattr(info, "min", None), getattr(info, "max", None)
    default_text = getattr(info, "show_default", None)
    return Parameter(
        name=signature.name,
        type=hint,
        many=many,
        default=signature.default,
        help=(getattr(info, "help", None) or "").strip(),
        flag=""
        if is_argument
        else (flags[0] if flags else f"--{signature.name.strip('_').replace('_', '-')}").split("/")[0],
        low=-math.inf if low is None else low,
        high=math.inf if high is None else high,
        default_text=default_text if isinstance(default_text, str) else "",
    )


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else f"{number:g}"
