"""Cache of values read from run folders, in <root>/.index.sqlite, so that thousands of runs are listed in seconds.

Each value is stored with a hash of the code that made it and, for each file it was made from, modification time, size,
inode and time of the last change. If any of these changes, as after copying, the value is computed again. The cache may
be deleted at any time. If the root is read-only, or SQLite's locks do not work there, nothing is cached.
"""

import atexit
import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from utils.io.files import Stamp, stamp
from utils.runs import seal
from utils.runs.run_folder import Run

if TYPE_CHECKING:
    import sqlite3

FILE = ".index.sqlite"
WORTH = 0.25  # seconds of computation; less is not written
YOUNG = 2.0  # seconds; a younger file may change again without a change of its time or size
_TABLE = "CREATE TABLE IF NOT EXISTS kept (kind TEXT, run TEXT, held TEXT, value TEXT, PRIMARY KEY (kind, run))"
_open: dict[Path, "_Index"] = {}
_lock = RLock()


def kept(run: Run, kind: str, files: Sequence[str], make: Callable[[], Any], code: str) -> Any:
    """Return a value of a run: from the cache, or computed by `make` if a file or the code has changed.

    Args:
        run: the run.
        kind: name of the value; a run has one value of each kind.
        files: the value's source files, as paths from the run's folder or, with the prefix "../../", from the root;
            they may be missing.
        make: computes the value, which must be JSON with strings as keys. Its errors are raised and not cached.
        code: hash of the code that makes the value, see `code_of`.
    """
    before = _stamps(run, files)
    with _lock:
        index = _of(run.root)
        found = index.get(kind, run, code, before)
    if found is not None:
        return found
    start = time.perf_counter()
    value = make()
    newest = max((max(held[0], held[3]) for held in before.values() if held), default=0)
    if time.time_ns() - newest > YOUNG * 1e9:
        with _lock:
            index.put(kind, run, code, before, value, time.perf_counter() - start)
    return value


def code_of(*modules: str) -> str:
    """Return a hash of the source code of modules ("utils.metrics.predictions")."""
    return _code(modules)


def flush() -> None:
    """Write all new values."""
    with _lock:
        for index in _open.values():
            index.write()


class _Index:
    """The cache of one root; errors of its file are ignored."""

    def __init__(self, root: Path) -> None:
        self.path = root / FILE
        self._pending: dict[tuple[str, str], tuple[str, str]] = {}
        self._seconds = 0.0
        self._reader: sqlite3.Connection | None = None
        self._connect()

    def get(self, kind: str, run: Run, code: str, stamps: dict[str, Any]) -> Any:
        row = self._pending.get((kind, _name(run)))
        if row is None and self._reader is not None:
            import sqlite3

            with suppress(sqlite3.Error):
                query = "SELECT held, value FROM kept WHERE kind = ? AND run = ?"
                row = self._reader.execute(query, (kind, _name(run))).fetchone()
        if row is None or row[0] != _key(code, stamps):
            return None
        try:
            return json.loads(row[1])
        except (ValueError, RecursionError):
            return None

    def put(self, kind: str, run: Run, code: str, stamps: dict[str, Any], value: Any, seconds: float) -> None:
        self._pending[kind, _name(run)] = _key(code, stamps), json.dumps(value)
        self._seconds += seconds
        if self._seconds > 4 * WORTH:  # write from time to time, so that an interrupted command keeps most values
            self.write()

    def write(self) -> None:
        pending, self._pending, self._seconds = self._pending, {}, 0.0
        foreign = self.path.is_symlink() or (self.path.exists() and not self.path.is_file())
        if not pending or foreign or not os.access(self.path.parent, os.W_OK):
            return
        import sqlite3

        rows = [(*key, *value) for key, value in pending.items()]
        try:
            with closing(sqlite3.connect(self.path, timeout=5)) as base, base:
                base.execute(_TABLE)
                base.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)", rows)
        except sqlite3.OperationalError:  # locked for long, a full disk, a file system without locks
            return
        except sqlite3.DatabaseError:  # damaged: start again the next time
            with suppress(OSError):
                self.path.unlink()
            return
        self._connect()  # again: the open file may have been deleted

    def at_exit(self) -> None:
        if self._seconds > WORTH:
            self.write()

    def _connect(self) -> None:
        import sqlite3

        if self.path.is_file() and not self.path.is_symlink():
            with suppress(sqlite3.Error):
                place = f"{self.path.resolve().as_uri()}?mode=ro"
                self._reader = sqlite3.connect(place, uri=True, timeout=1, check_same_thread=False)


@atexit.register
def _close() -> None:
    with _lock:
        for index in _open.values():
            index.at_exit()


def _of(root: Path) -> _Index:
    place = root.absolute()
    if place not in _open:
        _open[place] = _Index(place)
    return _open[place]


def _name(run: Run) -> str:
    return f"{run.path.parent.name}/{run.path.name}"


def _stamps(run: Run, files: Sequence[str]) -> dict[str, Stamp]:
    # If the folder of a run or model is a symbolic link, ".." would be resolved behind it.
    path, up = str(run.path), seal.UP
    return {
        name: stamp(f"{run.root}/{name.removeprefix(up)}" if name.startswith(up) else f"{path}/{name}")
        for name in files
    }


def _key(code: str, stamps: dict[str, Any]) -> str:
    return f"{code} {stamps}"  # faster than JSON, for each of 10,000 runs


@cache
def _code(modules: tuple[str, ...]) -> str:
    project = Path(__file__).parents[2]
    sources = [project.joinpath(*name.split(".")).with_suffix(".py").read_bytes() for name in modules]
    return hashlib.sha256(b"\0".join(sources)).hexdigest()[:16]
