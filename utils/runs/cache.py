"""What was once read from run folders, kept in <root>/.index.sqlite so that thousands of runs are listed in seconds.

Each value is kept with time of change and size of the files that it was made from, and with a hash of the program that
made it: it says what the files say, or it is read anew. The file may be deleted at any time; where a root cannot be
written, or SQLite's locks do not work there, everything is simply read again.
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

from utils.runs.run_folder import Run

if TYPE_CHECKING:
    import sqlite3

FILE = ".index.sqlite"
WORTH = 0.25  # seconds of reading that are worth writing a file for
YOUNG = 2.0  # seconds in which a file may change again without a change of its time or size
UP = "../../"  # from a run's folder to its root
_TABLE = "CREATE TABLE IF NOT EXISTS kept (kind TEXT, run TEXT, held TEXT, value TEXT, PRIMARY KEY (kind, run))"
_open: dict[Path, "_Index"] = {}
_lock = RLock()


def kept(run: Run, kind: str, files: Sequence[str], make: Callable[[], Any], code: str) -> Any:
    """Return what `make` says of a run, from the index where its files have not changed since.

    Args:
        run: whose folder it is about.
        kind: what is said; a run has one value of each kind.
        files: that it is made from, as paths from the run's folder, or from the root behind "../../"; one that is
            not there is a file too.
        make: reads it: a value of JSON whose dicts have texts as keys. What it raises is raised and not kept.
        code: hash of the program that makes it.
    """
    before = _stamps(run, files)
    with _lock:
        index = _of(run.root)
        found = index.get(kind, run, code, before)
    if found is not None:
        return found
    start = time.perf_counter()
    value = make()
    newest = max((stamp[0] for stamp in before.values() if stamp), default=0)
    if time.time_ns() - newest > YOUNG * 1e9:
        with _lock:
            index.put(kind, run, code, before, value, time.perf_counter() - start)
    return value


def code_of(*modules: str) -> str:
    """Return a hash of the source of modules ("utils.metrics"), which changes with what they compute."""
    return _code(modules)


def flush() -> None:
    """Write what was read since the last time, however little that is."""
    with _lock:
        for index in _open.values():
            index.write()


class _Index:
    """The index of one root; what goes wrong with its file is passed over."""

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
        if row is None or row[0] != _held(code, stamps):
            return None
        try:
            return json.loads(row[1])
        except ValueError:
            return None

    def put(self, kind: str, run: Run, code: str, stamps: dict[str, Any], value: Any, seconds: float) -> None:
        self._pending[kind, _name(run)] = _held(code, stamps), json.dumps(value)
        self._seconds += seconds
        if self._seconds > 4 * WORTH:  # now and then, so that a look that is cut off is not lost
            self.write()

    def write(self) -> None:
        pending, self._pending, self._seconds = self._pending, {}, 0.0
        if not pending or not os.access(self.path.parent, os.W_OK):
            return
        import sqlite3

        rows = [(*key, *value) for key, value in pending.items()]
        try:
            with closing(sqlite3.connect(self.path, timeout=5)) as base, base:
                base.execute(_TABLE)
                base.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)", rows)
        except sqlite3.OperationalError:  # locked for long, a full disk, a file system without locks
            return
        except sqlite3.DatabaseError:  # no database at all: begin again the next time
            with suppress(OSError):
                self.path.unlink()
            return
        self._connect()  # again: somebody may have deleted the file that was open

    def at_exit(self) -> None:
        if self._seconds > WORTH:
            self.write()

    def _connect(self) -> None:
        import sqlite3

        if self.path.is_file():
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


def _stamps(run: Run, files: Sequence[str]) -> dict[str, tuple[int, int] | None]:
    # Where the folder of a run or model is a link, ".." would lead the system to where it points.
    return {
        name: stamp(f"{run.root}/{name.removeprefix(UP)}" if name.startswith(UP) else f"{run.path}/{name}")
        for name in files
    }


def stamp(path: str | Path) -> tuple[int, int] | None:
    """Return time of change in ns and bytes; None where there is no such file."""
    try:
        found = os.stat(path)  # noqa: PTH116  # a Path for each of 100,000 files would take three times as long
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _held(code: str, stamps: dict[str, Any]) -> str:
    return json.dumps([code, stamps], separators=(",", ":"))


@cache
def _code(modules: tuple[str, ...]) -> str:
    project = Path(__file__).parents[2]
    sources = [project.joinpath(*name.split(".")).with_suffix(".py").read_bytes() for name in modules]
    return hashlib.sha256(b"\0".join(sources)).hexdigest()[:16]
