"""One process at a time in a folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from utils import files
from utils.errors import LeukoBenchError


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep a file with this process's number while the block runs; one that a killed process left is taken over.

    Raises:
        LeukoBenchError: another process that runs has the file.
    """
    import psutil

    text = path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""
    if text.isdecimal() and int(text) != os.getpid() and psutil.pid_exists(int(text)):
        raise LeukoBenchError(
            f"Process {text} is at work in {path.parent} already. Wait for it; where it does something else, "
            f"remove {path}."
        )
    files.write_text(path, f"{os.getpid()}\n")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
