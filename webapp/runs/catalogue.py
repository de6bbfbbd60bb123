"""Catalogue of the runs below a root: cached until their files change; a damaged run does not affect others."""

import logging
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from utils.errors import LeukoBenchError
from utils.runs import leaderboard, run_folder, seal
from utils.runs.records import Record, measure
from utils.runs.run_folder import Run
from webapp.http.problem_responses import Problem
from webapp.runs.config_sanitizer import config_of

FINISHED, UNFINISHED, CHANGED, DAMAGED = "finished", "unfinished", "changed", "damaged"
AROUND = ("manifests", "shortcuts")  # folders beside the runs, with files about their splits
# Name, modification time in ns, size, inode, time of change in ns, is a link.
Signature = tuple[tuple[str, int, int, int, int, bool], ...]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One run folder.

    Attributes:
        state: "finished", "unfinished", "changed" (since it was measured) or "damaged".
        problem: why it is not finished, and what to do; "" where it is finished.
        record: its results; None unless finished.
        measured: result of `leaderboard.measures`; empty unless finished.
        config: its config.json; empty where it cannot be read.
        label: model name with recipe or variant.
        has_weights: whether its folder holds the weights.
        sealed: whether a finished run has a seal.
        signature: changes when one of its files changes.
    """

    run: Run
    state: str
    problem: str
    record: Record | None
    has_weights: bool
    label: str
    measured: dict[str, float | None] = field(default_factory=dict, repr=False)
    config: dict[str, Any] = field(default_factory=dict, repr=False)
    sealed: bool = False
    signature: Signature = field(default=(), repr=False)

    @property
    def id(self) -> str:
        """Name of the run, "<model>/<stamp>-<hash>"."""
        return self.run.id

    @property
    def finished(self) -> bool:
        """Whether its results can be shown."""
        return self.record is not None


class Catalogue:
    """All runs below a root; thread-safe."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._lock = Lock()
        self._known: dict[Run, Entry] = {}
        self._around: Signature = ()
        self._board: tuple[tuple[Signature, ...], list[dict[str, Any]]] | None = None

    def entries(self) -> list[Entry]:
        """Return every run folder, newest first; an unreadable one has the state "damaged" or "changed"."""
        with self._lock:
            return self._refreshed()

    def find(self, id: str) -> Entry:
        """Return the run with an id.

        Raises:
            Problem: 404, there is no such run.
        """
        with self._lock:
            known = next((entry for entry in self._known.values() if entry.id == id), None)
            # A page requests its run once for each image: checking this one folder is enough.
            if known and known.signature == signature(known.run.path):
                return known
            known = next((entry for entry in self._refreshed() if entry.id == id), None)
        if known is None:
            shown = "".join(c if c.isprintable() else "?" for c in id[:120])
            raise Problem(404, "No such run", f"There is no run '{shown}' here. The page 'Compare' lists every run.")
        return known

    def offered(self) -> list[Entry]:
        """Return the runs that can predict: the latest of each label, initialisation and test set, best first."""
        chosen: dict[tuple[str, ...], Entry] = {}
        for entry in self.entries():
            if entry.record and entry.has_weights:
                row = entry.record.row
                chosen.setdefault((entry.label, str(row["initialisation"]), row["test_identity"]), entry)
        return sorted(chosen.values(), key=lambda e: (-e.record.row["accuracy"], e.record.row["log_loss"], e.id))

    def leaderboard(self) -> list[dict[str, Any]]:
        """Return the rows of the leaderboard over all finished runs."""
        with self._lock:
            finished = [entry for entry in self._refreshed() if entry.record]
            key = (self._around, *(entry.signature for entry in finished))
            if self._board is None or self._board[0] != key:
                self._board = key, _rows(entry.record for entry in finished)
            return self._board[1]

    def _refreshed(self) -> list[Entry]:
        try:
            runs = run_folder.find_runs(self.root)
        except (LeukoBenchError, OSError) as error:
            _log.warning("The runs cannot be listed: %s", error)
            runs = []
        runs = [run for run in runs if _printable(run.id)]
        around = tuple(each for name in AROUND for each in signature(self.root / name))
        if around != self._around:  # a manifest or shortcut baselines were added or removed
            self._known, self._around = {}, around
        self._known = {run: self._entry(run) for run in runs}
        return sorted(self._known.values(), key=lambda entry: (entry.run.path.name, entry.id), reverse=True)

    def _entry(self, run: Run) -> Entry:
        now, known = signature(run.path), self._known.get(run)
        return known if known and known.signature == now else self._read(run, now)

    def _read(self, run: Run, now: Signature) -> Entry:
        config, state = config_of(run), DAMAGED
        try:
            label = str(run.label()) if config else run.model
            weights = has_weights(run, self.root)
            run.config()
            if not run.finished:
                return Entry(run, UNFINISHED, self._unfinished(run), None, weights, label, {}, config, signature=now)
            run.metrics()  # not shown, but must be readable
            record = measure(run)
            leaderboard.rows([record])  # reads the derived files as well
            measured = leaderboard.measures(record)
            sealed = seal.read(run) is not None
            return Entry(run, FINISHED, "", record, weights, label, measured, config, sealed, now)
        except seal.Changed as error:
            state, problem = CHANGED, str(error)
        except LeukoBenchError as error:
            problem = str(error)
        except Exception as error:  # run folders may hold files with any content
            _log.info("Run %s cannot be read", run.id, exc_info=error)
            problem = f"Its files do not fit together ({type(error).__name__}). Evaluate or train the run again."
        problem = self._without_folders(problem)
        return Entry(run, state, problem, None, False, run.model, {}, config, signature=now)

    def _unfinished(self, run: Run) -> str:
        if run.file(run_folder.PREDICTIONS).is_file():
            return f"Trained, but not evaluated. Finish it with: python run_guide.py evaluate {run.id}"
        return f"In training, or interrupted. Continue with: python run_guide.py train --resume {run.id}"

    def _without_folders(self, text: str) -> str:
        """Make the paths in a text relative to the root."""
        for folder in {str(self.root), str(self.root.resolve()), str(self.root.absolute())}:
            text = text.replace(f"{folder}{os.sep}", "")
        return text


def signature(folder: Path) -> Signature:
    """Return name, modification time, size and kind of every file in a folder; () where it is no folder."""
    try:
        with os.scandir(folder) as found:
            return tuple(sorted(_file(each) for each in found if each.is_file()))
    except OSError:  # removed since it was listed
        return ()


def _file(entry: "os.DirEntry[str]") -> tuple[str, int, int, int, int, bool]:
    held = entry.stat()
    return entry.name, held.st_mtime_ns, held.st_size, held.st_ino, held.st_ctime_ns, entry.is_symlink()


def has_weights(run: Run, root: Path) -> bool:
    """Return whether a run's weights are a regular file within the root, also after following links."""
    path = run.weights
    try:
        return stat.S_ISREG(path.stat().st_mode) and path.resolve().is_relative_to(root.resolve())
    except OSError:
        return False


def _rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    try:
        return leaderboard.rows(records)
    except Exception as error:  # a file changed since the runs were read
        _log.warning("The leaderboard cannot be made: %s", error)
        return []


def _printable(id: str) -> bool:
    """Return whether a name is valid UTF-8, which file systems do not require."""
    try:
        id.encode()
    except UnicodeEncodeError:
        return False
    return True
