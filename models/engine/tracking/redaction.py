"""Texts for other programs and from them: flat settings, and error messages without passwords."""

import re
from collections.abc import Mapping
from typing import Any

from utils.errors import LeukoBenchError
from utils.io import files
from utils.text import dotted

# MLflow hands on errors of the network as text.
CAUSES = {
    "Failed to parse": "it is not a valid URL; in a name or password write / ? # @ as %2F %3F %23 %40",
    "refused": "connection refused",
    "timed out": "timed out",
    "Timeout": "timed out",
    "resolve": "unknown host",
    "translate host name": "unknown host",
    "Remote end closed": "connection lost",
    "Connection reset": "connection lost",
    "Connection aborted": "connection lost",
    "Connection broken": "connection lost",  # in the middle of an answer
    "ended prematurely": "connection lost",
}


def flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings under dotted names, lists as JSON: {"variant.name": "rgb", "filters": "[4,8]"}."""
    return {
        name: files.compact(value) if isinstance(value, list | tuple) else value
        for name, value in dotted(fields).items()
    }


def without_secrets(text: str) -> str:
    """Return a text on one line, without user names, passwords and queries of the URIs in it.

    A password may hold any character but a space, so everything before the last @ of a word is removed.
    """
    text = re.sub(r"//\S*@", "//", " ".join(text.split()))
    return re.sub(r"\?[^\s=]*=\S*", "", re.sub(r"\S+@", "...@", text))


def reason(problem: BaseException) -> str:
    """Return in a few words, on one line, why another program or its machine cannot be used."""
    text = without_secrets(str(problem))
    if isinstance(problem, LeukoBenchError):
        return text.rstrip(".")
    for mark, words in CAUSES.items():
        if mark in text:
            return words
    return getattr(problem, "strerror", None) or text.rstrip(".")[:160] or type(problem).__name__
