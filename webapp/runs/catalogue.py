"""The runs below a root as the pages show them: kept until their files change, and none can break the rest."""

import logging
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from utils.errors import LeukoBenchError
from utils.runs import leaderboard, run_folder
from utils.runs.records import Record, measure
from utils.runs.run_folder import Run
from webapp.http.problem_responses import Problem
from webapp.runs.config_sanitizer import check, config_of

FINISHED, UNFINISHED, DAMAGED = "finished", "unfinished", "damaged"
AROUND = ("manifests", "shortcuts")  # folders beside the runs whose files, named by a manifest's hash, say more of them
Signature = tuple[tuple[str, int, int, bool], ...]  # name, time of change in ns, bytes and whether a link, by file
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One run folder.

    Attributes:
        state: "finished", "unfinished" or "damaged".
        problem: why it is not finished or not usable, and what to do; "" where it is finished.
        record: its numbers; of a finished run alone.
        measured: what `leaderboard.measures` says of it; empty unless finished.
        config: its config.json; empty where that cannot be read.
        label: the model's name with what tells this run from the model's plain one.
        has_weights: whether its weights lie in its own folder.
        signature: changes when one of its files does.
    """

    run: Run
    state: str
    problem: str
    record: Record | None
    has_weights: bool
    label: str
    measured: dict[str, float | None] = field(default_factory=dict, repr=False)
    config: dict[str, Any] = field(default_factory=dict, repr=False)
    signature: Signature = field(default=(), repr=False)

    @property
    def id(self) -> str:
        """Name of the run, "<model>/<stamp>-<hash>"."""
        return self.run.id

    @property
    def finished(self) -> bool:
        """Whether its numbers can be shown."""
        return self.record is not None


class Catalogue:
    """All runs below a root; any thread may ask."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._lock = Lock()
        self._known: dict[Run, Entry] = {}
        self._around: Signature = ()
        self._board: tuple[tuple[Signature, ...], list[dict[str, Any]]] | None = None

    def entries(self) -> list[Entry]:
        """Return every run folder, newest first; one that cannot be read is damaged, and never an error."""
        with self._lock:
            return self._refreshed()

    def find(self, id: str) -> Entry:
        """Return the run of that id.

        Raises:
            Problem: 404, there is none.
        """
        with self._lock:
            known = next((entry for entry in self._known.values() if entry.id == id), None)
            # A page asks for its run many times, once for each image: looking at this one folder is enough.
            if known and known.signature == signature(known.run.path):
                return known
            known = next((entry for entry in self._refreshed() if entry.id == id), None)
        if known is None:
            shown = "".join(c if c.isprintable() else "?" for c in id[:120])
            raise Problem(404, "No such run", f"There is no run '{shown}' here. The page 'Compare' lists every run.")
        return known

    def offered(self) -> list[Entry]:
        """Return what can predict: of every label, initialisation and test set the latest, best accuracy first."""
        chosen: dict[tuple[str, ...], Entry] = {}
        for entry in self.entries():
            if entry.record and entry.has_weights:
                row = entry.record.row
                chosen.setdefault((entry.label, str(row["initialisation"]), row["test_identity"]), entry)
        return sorted(chosen.values(), key=lambda e: (-e.record.row["accuracy"], e.record.row["log_loss"], e.id))

    def leaderboard(self) -> list[dict[str, Any]]:
        """Return the rows of the leaderboard over all finished runs; none where there are none."""
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
        runs = [run for run in runs if _speakable(run.id)]
        around = tuple(each for name in AROUND for each in signature(self.root / name))
        if around != self._around:  # a manifest or a ladder of shortcuts came or went, which changes what runs say
            self._known, self._around = {}, around
        self._known = {run: self._entry(run) for run in runs}
        return sorted(self._known.values(), key=lambda entry: (entry.run.path.name, entry.id), reverse=True)

    def _entry(self, run: Run) -> Entry:
        now, known = signature(run.path), self._known.get(run)
        return known if known and known.signature == now else self._read(run, now)

    def _read(self, run: Run, now: Signature) -> Entry:
        config = config_of(run)
        try:
            label = str(run.label()) if config else run.model
            weights = has_weights(run, self.root)
            check(run.config(), run)
            if not run.finished:
                return Entry(run, UNFINISHED, self._unfinished(run), None, weights, label, {}, config, now)
            run.metrics()  # nothing is shown from it, but a damaged one says that the run is not as it was left
            record = measure(run)
            leaderboard.rows([record])  # what was derived from the run is read as well
            measured = leaderboard.measures(record)
            return Entry(run, FINISHED, "", record, weights, label, measured, config, now)
        except LeukoBenchError as error:
            problem = str(error)
        except Exception as error:  # files of any content lie in run folders; none may take the others down
            _log.info("Run %s cannot be read", run.id, exc_info=error)
            problem = f"Its files do not fit together ({type(error).__name__}). Evaluate or train the run again."
        return Entry(run, DAMAGED, self._without_folders(problem), None, False, run.model, {}, config, now)

    def _unfinished(self, run: Run) -> str:
        if run.file(run_folder.PREDICTIONS).is_file():
            return f"Trained, but not evaluated to the end. Finish it with: python run_guide.py evaluate {run.id}"
        return f"Being trained, or stopped. Go on with: python run_guide.py train --resume {run.id}"

    def _without_folders(self, text: str) -> str:
        """Take the folders of this machine out of a sentence: a page names files as seen from the root."""
        for folder in {str(self.root), str(self.root.resolve()), str(self.root.absolute())}:
            text = text.replace(f"{folder}{os.sep}", "")
        return text


def signature(folder: Path) -> Signature:
    """Return name, time of change, size and kind of every file in a folder; empty where it is none."""
    try:
        with os.scandir(folder) as found:
            return tuple(sorted(_file(each) for each in found if each.is_file()))
    except OSError:  # gone since it was listed
        return ()


def _file(entry: "os.DirEntry[str]") -> tuple[str, int, int, bool]:
    held = entry.stat()
    return entry.name, held.st_mtime_ns, held.st_size, entry.is_symlink()


def has_weights(run: Run, root: Path) -> bool:
    """Say whether a run's weights are a file within the root: no link leads a model's loader out of it."""
    path = run.file(run_folder.WEIGHTS)
    try:
        return stat.S_ISREG(path.stat().st_mode) and path.resolve().is_relative_to(root.resolve())
    except OSError:
        return False


def _rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    try:
        return leaderboard.rows(records)
    except Exception as error:  # each of them was read, so that a file changed in this moment
        _log.warning("The leaderboard cannot be made: %s", error)
        return []


def _speakable(id: str) -> bool:
    """Say whether a name can stand in a page: a file system takes bytes that are no UTF-8."""
    try:
        id.encode()
    except UnicodeEncodeError:
        return False
    return True
