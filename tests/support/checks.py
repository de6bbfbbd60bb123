"""Checks that many tests make: errors of one line, and files before and after."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from utils.errors import LeukoBenchError


def contents(folder: Path) -> dict[str, bytes]:
    """Read every file below a folder, by its path in the folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_facts(message: str, *facts: object) -> None:
    """Assert that a message is one line and holds each fact."""
    assert "\n" not in message, message
    for fact in facts:
        assert str(fact) in message, f"{fact!s} is not in: {message}"


@contextlib.contextmanager
def one_line_error(*facts: object) -> Iterator[pytest.ExceptionInfo[LeukoBenchError]]:
    """Expect a LeukoBenchError of one line that holds each fact; its value can be read after the block."""
    with pytest.raises(LeukoBenchError) as caught:
        yield caught
    assert_facts(str(caught.value), *facts)
