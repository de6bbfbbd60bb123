"""Atomic creation of folders: built under a hidden name beside the target, then renamed."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from utils.errors import LeukoBenchError


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Yield a new folder that is renamed to `target` when the block succeeds and removed when it fails.

    Raises:
        LeukoBenchError: it cannot be written, or `target` exists by then; nothing is left behind.
    """
    partial = hidden(target, "partial")
    try:
        _sweep(target.parent)
        partial.mkdir(parents=True)
        yield partial
        partial.rename(target)
    except OSError as error:
        raise LeukoBenchError(
            f"Cannot write {target}: {error.strerror or error}. Free space or set LEUKOBENCH_DATA to another folder."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def replaced(target: Path, is_current: Callable[[], bool]) -> Iterator[Path]:
    """Yield a new folder beside `target` that replaces it when the block ends without an error.

    An outdated `target` comes back if the new folder cannot take its place. Where another process has written a current
    one in the meantime, that one is kept.

    Args:
        target: the folder.
        is_current: whether `target` holds what is about to be written.

    Raises:
        LeukoBenchError: the folder cannot be written; nothing is changed.
    """
    old = hidden(target, "old")
    try:
        with staged(target) as partial:
            yield partial
            if target.exists() and not is_current():
                target.rename(old)
    except LeukoBenchError:
        if not is_current():
            if old.exists() and not target.exists():
                old.rename(target)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def hidden(target: Path, kind: str) -> Path:
    """Return the hidden path beside `target` for the folder being built ("partial") or replaced ("old")."""
    return target.with_name(f".{os.getpid()}.{target.name}.{kind}")


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


def _sweep(folder: Path) -> None:
    """Remove folders that killed processes left behind."""
    import psutil

    for rest in [*folder.glob(".*.partial"), *folder.glob(".*.old")]:
        pid = rest.name.split(".")[1]
        # In containers a new process often has the PID of the killed one.
        if pid.isdigit() and (int(pid) == os.getpid() or not psutil.pid_exists(int(pid))):
            shutil.rmtree(rest, ignore_errors=True)
