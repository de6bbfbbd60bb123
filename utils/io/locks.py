"""One process at a time in a folder, or at a job."""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from utils.errors import LeukoBenchError
from utils.io import files


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


def take(path: Path) -> BinaryIO | None:
    """Take the lock of a file and return it, open; None where another process has it.

    The system holds it until the file is closed, or the process ends, however it ends: nothing is left to clear up. On
    NFS the server holds it.

    Raises:
        LeukoBenchError: the file cannot be made, or its file system has no locks.
    """
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = open(path, "a+b")  # noqa: SIM115  # it stays open as long as the lock is held
        except OSError as problem:
            raise LeukoBenchError(
                f"Cannot write {path}: {problem.strerror}. Choose a folder you may write to."
            ) from None
        try:
            _lock(handle)
            if os.path.samestat(os.fstat(handle.fileno()), path.stat()):
                break
        except FileNotFoundError:
            pass
        except OSError as problem:
            handle.close()
            if problem.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                return None
            raise LeukoBenchError(
                f"Cannot lock {path}: {problem.strerror}. Keep the runs on a file system that has locks."
            ) from None
        handle.close()  # another process has removed the file since it was opened
    handle.truncate(0)
    handle.write(f"{os.uname().nodename if hasattr(os, 'uname') else ''} {os.getpid()}\n".encode())
    handle.flush()
    return handle


@contextmanager
def waited(path: Path) -> Iterator[None]:
    """Hold the lock of a file while the block runs, once whoever has it gives it back.

    Raises:
        LeukoBenchError: as `take`.
    """
    while (held := take(path)) is None:
        time.sleep(0.2)
    try:
        yield
    finally:
        held.close()


def drop(handle: BinaryIO) -> None:
    """Give a lock back and remove its file."""
    with suppress(OSError):  # Windows keeps a file that is open
        Path(handle.name).unlink()
    handle.close()


def _lock(handle: BinaryIO) -> None:
    if os.name == "posix":
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        import msvcrt

        handle.seek(1 << 30)  # past the text, which others may read
        msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
