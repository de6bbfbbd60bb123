"""Atomic creation of folders: built under a hidden name beside the target, then renamed."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from utils.errors import LeukoBenchError
from utils.io import temporary, transaction


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Yield a new folder that is renamed to `target` when the block succeeds and removed when it fails.

    Raises:
        LeukoBenchError: it cannot be written, or `target` exists by then; nothing is left behind.
    """
    with _one_line(target):
        temporary.sweep(target.parent)
        with temporary.beside(target) as partial:
            partial.mkdir(parents=True)
            yield partial
            partial.rename(target)


@contextmanager
def replaced(target: Path, is_current: Callable[[], bool]) -> Iterator[Path]:
    """Yield a new folder that replaces `target` when the block ends without an error; for what can be made again.

    Args:
        target: the folder.
        is_current: whether `target` holds what is about to be written, because another process has written it in the
            meantime; then it is kept.

    Raises:
        LeukoBenchError: the folder cannot be written; nothing is changed.
    """
    with transaction.together(target.parent, is_current, durable=False) as stage, _one_line(target):
        partial = stage / target.name
        partial.mkdir()
        yield partial
        transaction.remove(stage, target.name)


@contextmanager
def _one_line(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LeukoBenchError(
            f"Cannot write {target}: {error.strerror or error}. Free space or set LEUKOBENCH_DATA to another folder."
        ) from error


def write(path: Path, text: str) -> None:
    """Write UTF-8 text into a staged folder; not atomically, since the whole folder is renamed."""
    path.write_text(text, encoding="utf-8", newline="\n")


def check_name(name: str) -> None:
    """Check that a dataset name is a plain folder name.

    Raises:
        LeukoBenchError: it is not; the line says which names are valid.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise LeukoBenchError(
            f"'{name}' cannot name a dataset: use up to 64 letters, digits, dots, dashes or underscores."
        )
