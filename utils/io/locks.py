"""Locks between processes. The operating system holds them, so that a lock ends with its process, even after SIGKILL.

The package filelock does the same since version 4; earlier versions let two processes hold a lock whose file was just
removed, as `drop` does.
"""

import errno
import os
import platform
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from utils.errors import LeukoBenchError


def take(path: Path) -> BinaryIO | None:
    """Take the lock of a file without waiting and return the open file; None if another process holds it.

    The file names machine and process of the holder. Closing it releases the lock. On NFS the server holds the lock.

    Raises:
        LeukoBenchError: the file cannot be written, or its file system has no locks.
    """
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = open(path, "a+b", opener=_no_link)  # noqa: SIM115  # open as long as the lock is held
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
    handle.write(f"{platform.node()} {os.getpid()}\n".encode())
    handle.flush()
    return handle


def drop(handle: BinaryIO) -> None:
    """Release a lock and remove its file."""
    with suppress(OSError):  # Windows keeps a file that is open
        Path(handle.name).unlink()
    handle.close()


@contextmanager
def waited(path: Path) -> Iterator[None]:
    """Hold the lock of a file during the block; wait for it first.

    Raises:
        LeukoBenchError: as `take`.
    """
    while (held := take(path)) is None:
        time.sleep(0.2)
    try:
        yield
    finally:
        drop(held)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock of a file during the block.

    Raises:
        LeukoBenchError: another process holds it, which the line names; or as `take`.
    """
    held = take(path)
    if held is None:
        holder = path.read_text(encoding="utf-8", errors="replace").rpartition(" ")[2].strip()
        raise LeukoBenchError(f"Process {holder} is at work in {path.parent} already. Wait for it or stop it.")
    try:
        yield
    finally:
        drop(held)


def sweep(folder: Path, deep: bool = False) -> None:
    """Remove the files ".NAME.lock" in a folder, or also in all below it, whose locks no process holds."""
    for path in list(folder.rglob(".*.lock") if deep else folder.glob(".*.lock")):
        with suppress(LeukoBenchError, OSError):
            if stat.S_ISREG(path.lstat().st_mode) and (held := take(path)):
                drop(held)


def _no_link(path: str, flags: int) -> int:
    """Open a file that is no link: the file is truncated, and a folder from a stranger may hold links to anywhere."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _lock(handle: BinaryIO) -> None:
    if os.name == "posix":
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        import msvcrt

        handle.seek(1 << 30)  # past the text, which others may read
        msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
