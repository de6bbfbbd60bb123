"""Types of the fields of a run's files: whoever copied the folder may have changed them."""

import re
from collections.abc import Callable
from typing import Any

from utils import paths
from utils.errors import cut

HASH = re.compile(r"[0-9a-f]{16}")  # of a manifest


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def is_number(value: Any) -> bool:
    """Return whether a value from JSON is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) < 4096 and "\0" not in value


def _name(value: Any) -> bool:
    return isinstance(value, str) and bool(paths.NAME.fullmatch(value))


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_name, value)) and 0 < len(set(value)) == len(value)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _versions(value: Any) -> bool:
    return isinstance(value, dict) and all(each is None or _text(each) for each in value.values())


_OPTIONAL = (lambda value: value is None or _text(value), "a text")
_TEXT, _WHOLE = (_text, "a text"), (_whole, "a whole number")
# The fields that commands use without Keras; those that are missing have other readers.
FIELDS: dict[str, dict[str, tuple[Callable[[Any], bool], str]]] = {
    "config.json": {
        **dict.fromkeys(("model", "weights", "split", "initialisation", "recipe", "heatmap_layer"), _TEXT),
        **dict.fromkeys(("seed", "split_seed", "image_size", "batch_size", "epochs"), _WHOLE),
        "dataset": (_name, "the name of a folder"),
        "classes": (_names, "a list of different names of folders"),
        "flavour": (_texts, "a list of texts"),
        "variant": (lambda value: isinstance(value, dict) and _text(value.get("name", "")), "an object with a name"),
        **dict.fromkeys(
            ("augmentation", "intervention", "offline"), (lambda value: isinstance(value, dict), "an object")
        ),
        **dict.fromkeys(("learning_rate", "weight_decay", "dropout", "label_smoothing"), (is_number, "a number")),
    },
    "environment.json": {
        "manifest": (lambda value: isinstance(value, str) and bool(HASH.fullmatch(value)), "16 hex digits"),
        "test_identity": (_name, "a hash"),  # a part of folder names
        **dict.fromkeys(
            ("device", "cpu", "precision", "platform", "python", "git_commit", "backend", "started"), _OPTIONAL
        ),
        "threads": (lambda value: value is None or _whole(value), "a whole number"),
        "devices": (lambda value: value is None or _texts(value), "a list of texts"),
        "packages": (lambda value: value is None or _versions(value), "an object of texts"),
    },
    "metrics.json": {
        "test": (
            lambda value: isinstance(value, dict) and is_number(value.get("accuracy")),
            "an object with an accuracy",
        ),
    },
}


def problem(file: str, fields: dict[str, Any]) -> str:
    """Return what is wrong with the fields of a file, as words that follow "holds"; "" if nothing is.

    Args:
        file: its name, "config.json".
        fields: its content.
    """
    for key, (valid, words) in FIELDS.get(file, {}).items():
        if key in fields and not valid(fields[key]):
            return f"{cut(fields[key])!r} under '{key}', which should be {words}"
    return ""
