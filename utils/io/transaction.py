"""Replacement of several files of a folder together: after a kill at any moment either all are old or all are new.

What is new is written into a hidden folder, which is then renamed to `.commit`: from then on it counts. Its `.removed`
lists what is to go. Under a lock, one function removes that, deletes the list and moves everything else up; whoever
opens the folder after a kill calls it again, and every step may be repeated. A hidden folder that was not renamed is
removed with the other temporary files.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from utils.errors import LeukoBenchError
from utils.io import locks, temporary

COMMIT, REMOVED, LOCK = temporary.STAGE, ".removed", f"{temporary.STAGE}.lock"
_stuck: set[Path] = set()  # folders whose `.commit` cannot be moved up, because they are read-only


@contextmanager
def together(folder: Path, obsolete: Callable[[], bool] = lambda: False, durable: bool = True) -> Iterator[Path]:
    """Yield a new folder; when the block succeeds, its files replace those of `folder`, all or none.

    Its folders are merged into those of `folder`. An error in the block leaves `folder` as it was.

    Args:
        folder: is made if it is missing.
        obsolete: asked in the end, while no other process can replace anything; True keeps what is there.
        durable: wait until the files are on the disk; needless where they are checked at each use and made again.

    Raises:
        LeukoBenchError: the folder cannot be written or the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tidy(folder)
        with temporary.beside(folder / COMMIT) as stage:
            stage.mkdir()
            yield stage
            if durable:
                _sync(stage)
            with locks.waited(folder / LOCK):
                _finish(folder)
                if not obsolete():
                    stage.rename(folder / COMMIT)
                    _fsync(folder)
                    _finish(folder)
    except OSError as error:
        raise LeukoBenchError(
            f"Cannot write {folder}: {error.strerror or error}. Free space or choose a folder you may write to."
        ) from error


def remove(stage: Path, *names: str) -> None:
    """Note files or folders that the replacement removes first, as paths from the folder with "/"; they may be missing.

    A folder that is to be replaced as a whole, not merged, is named here too.
    """
    path = stage / REMOVED
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    path.write_text(json.dumps([*before, *names]), encoding="utf-8")


def recover(folder: Path) -> None:
    """Finish a replacement that a killed process had begun; if the folder is read-only, `current` finds its files."""
    if not os.access(f"{folder}/{COMMIT}", os.F_OK):  # the fastest call, for each of 10,000 runs
        return
    try:
        held = locks.take(folder / LOCK)
        if held is None:
            return  # a living process is at it
        try:
            _finish(folder)
        finally:
            locks.drop(held)
    except (OSError, ValueError, RecursionError, LeukoBenchError):
        _stuck.add(folder)
    else:
        _stuck.discard(folder)


def tidy(folder: Path, deep: bool = False) -> None:
    """Recover a folder and remove what dead processes left in it, or also in all folders below it: files and locks."""
    recover(folder)
    temporary.sweep(folder, deep)
    locks.sweep(folder, deep)


def current(folder: Path, name: str) -> Path:
    """Return the path of a file or folder, which may be missing: in `.commit` if `recover` could not move it up."""
    if _stuck and folder in _stuck and (folder / COMMIT / name).exists():
        return folder / COMMIT / name
    return folder / name


def _finish(folder: Path) -> None:
    """Remove and move what `.commit` says; do nothing if there is none. The caller holds the lock.

    Raises:
        OSError: the folder cannot be written.
        ValueError: the list of removed files is not one that `remove` writes.
    """
    commit = folder / COMMIT
    if not commit.is_dir() or commit.is_symlink():
        return
    listed = commit / REMOVED
    if listed.is_file():
        for path in [_inside(folder, name) for name in json.loads(listed.read_text(encoding="utf-8"))]:
            temporary.remove(path)
        _fsync(folder)
        listed.unlink()  # before anything is moved to these places
    merged = [(commit, folder)]
    for source, target in merged:
        for entry in list(os.scandir(source)):
            to = target / entry.name
            if entry.is_dir(follow_symlinks=False) and to.is_dir() and not to.is_symlink():
                merged.append((Path(entry.path), to))
            else:
                os.replace(entry.path, to)  # noqa: PTH105
    for _, target in merged:
        _fsync(target)
    temporary.remove(commit)


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a listed file; a list from a stranger must not name files elsewhere."""
    parts = PurePosixPath(name).parts if isinstance(name, str) else ()
    path = folder.joinpath(*parts)
    if not parts or ".." in parts or not path.parent.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{name!r} is not in {folder}")
    return path


def _sync(folder: Path) -> None:
    """Write a folder to the disk; hard links are of files that are there already."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if not path.is_symlink() and path.stat().st_nlink == 1:
                _fsync(path)
        _fsync(Path(place))


def _fsync(path: Path) -> None:
    if os.name != "posix":  # Windows cannot open folders; `files.atomic` has written the files
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
