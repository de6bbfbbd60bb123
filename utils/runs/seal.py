"""seal.json of a run: SHA-256 and size of each of its files, so that a later change of one of them is noticed.

The seal is written with metrics.json, when a run has been evaluated. It covers every file of the run folder and the
manifest `<root>/manifests/<hash>.csv`. A later command that measures something (stress, calibrate, faithfulness) adds
its files. A sealed file is checked whenever it is read. Not covered are:

- what is drawn or converted from the other files: figures/, heatmaps.npz, export/ (each export has hashes of its own);
- logs that go on after the run: tensorboard/, tracking.json;
- state/, locks and hidden files, which exist only while a run is written;
- files of a split that its runs share and that may be measured again: <root>/reference, shortcuts, refusal.

Runs of older versions have no seal: they are "unsealed", and are used as before. A seal shows accidents (a damaged
disk, an edited table), not who made a run: whoever changes a file can write another seal.
"""

import hashlib
import json
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from utils.errors import LeukoBenchError
from utils.io import files, transaction

if TYPE_CHECKING:
    from utils.runs.run_folder import Run

FILE = "seal.json"
WEIGHTS = "model.weights.h5"  # the name of the weights in a seal, whatever their file is called
VERSION = 1
LARGEST = 4_000_000  # bytes of a seal.json; one of a run has 2,000
UP = "../../"  # from a run's folder to its root
MANIFESTS = "manifests"
EXEMPT = frozenset({"figures", "heatmaps.npz", "export", "tensorboard", "tracking.json", "state", FILE})
_NAME = re.compile(rf"(?:{re.escape(UP)}{MANIFESTS}/)?[^/\\\0]+(?:/[^/\\\0]+)*")
_DIGEST = re.compile("[0-9a-f]{64}")


class Changed(LeukoBenchError):
    """Sealed files of a run have changed since it was measured."""

    def __init__(self, run: str, names: Iterable[str], remedy: str) -> None:
        listed = ", ".join(name.removeprefix(UP) for name in names)
        super().__init__(f"Run {run} has changed since it was measured: {listed}. {remedy}.", run=run)


class Entry(NamedTuple):
    """A sealed file: SHA-256 in hexadecimal, and size."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Verdict:
    """The result of reading every sealed file of a run.

    Attributes:
        sealed: whether the run has a seal.
        changed: sealed files that differ.
        missing: sealed files that are gone.
        problem: why the seal or a file cannot be read; "" otherwise.
    """

    sealed: bool
    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    problem: str = ""


def read(run: "Run") -> dict[str, Entry] | None:
    """Return the sealed files of a run by their paths from its folder; None if the run is unsealed.

    Raises:
        LeukoBenchError: seal.json is damaged, or of a newer version.
    """
    path = run.file(FILE)
    stamp = files.stamp(path)
    if stamp is None and not os.path.lexists(path):
        return None
    try:
        return _read(path, stamp)
    except (ValueError, RecursionError) as error:
        raise LeukoBenchError(
            f"{path} is damaged ({error}). Restore it from a copy of the run; without this file the run is unsealed.",
            path=path,
        ) from None


def changed(run: "Run", names: Iterable[str]) -> list[str]:
    """Return the files of a run that differ from its seal; [] if the run is unsealed.

    Args:
        run: the run.
        names: files as paths from the run's folder, or with the prefix "../../" from the root. Missing files
            and files that the seal does not cover are not counted.

    Raises:
        LeukoBenchError: a file cannot be read, or seal.json is damaged.
    """
    sealed = read(run)
    return [name for name in names if sealed and name in sealed and differs(place(run, name), sealed[name])]


def examine(run: "Run") -> Verdict:
    """Read every sealed file of a run."""
    try:
        sealed = read(run)
        if sealed is None:
            return Verdict(False)
        missing = tuple(name for name in sealed if not place(run, name).exists())
        return Verdict(True, tuple(changed(run, sealed)), missing)
    except LeukoBenchError as error:
        return Verdict(True, problem=str(error))


@contextmanager
def together(run: "Run", finish: bool = False) -> Iterator[Path]:
    """Yield a new folder whose files replace those of a run together, as `transaction.together`, and are sealed.

    Args:
        run: the run.
        finish: whether the run is evaluated by this, so that all of its files are sealed if it is unsealed. Of a sealed
            run only the new files are sealed: the others stay as they were measured.
    """

    def write() -> bool:  # called when no other process can add to the seal
        sealed = read(run)
        if sealed is None and finish:
            manifest = f"{UP}{MANIFESTS}/{run.manifest_path().name}"
            paths = {name: run.file(name) for name in _covered(run.path)} | {manifest: place(run, manifest)}
            sealed = {name: entry(path) for name, path in paths.items() if path.is_file() and path != run.weights}
            if run.weights.is_file():
                sealed[WEIGHTS] = entry(run.weights)
        if sealed is not None:
            sealed |= {name: entry(stage / name) for name in _covered(stage)}
            held = {name: each._asdict() for name, each in sorted(sealed.items())}
            files.write_json(stage / FILE, {"version": VERSION, "files": held})
        return False

    with transaction.together(run.path, write) as stage:
        yield stage


def entry(path: Path) -> Entry:
    """Return hash and size of a file.

    Raises:
        LeukoBenchError: it cannot be read.
    """
    with files.regular(path, sys.maxsize) as handle:
        return Entry(hashlib.file_digest(handle, "sha256").hexdigest(), handle.tell())


def place(run: "Run", name: str) -> Path:
    """Return the path of a sealed file: of the run, of its weights whatever their name, or ("../../") of the root.

    ".." would be resolved behind a folder that is a symbolic link.
    """
    if name.startswith(UP):
        return run.root / name.removeprefix(UP)
    return run.weights if name == WEIGHTS else run.file(name)


def differs(path: Path, sealed: Entry) -> bool:
    """Return whether a file is another than the sealed one; False where it is missing.

    Raises:
        LeukoBenchError: it cannot be read.
    """
    try:
        found = path.stat()
    except OSError:
        return False
    if not stat.S_ISREG(found.st_mode) or found.st_size != sealed.bytes:
        return True  # without reading it: it may be a pipe, or endless
    return (_of_many(path, files.stamp(path)) if path.parent.name == MANIFESTS else entry(path)) != sealed


@lru_cache(maxsize=64)
def _of_many(path: Path, stamp: files.Stamp) -> Entry:
    """Return hash and size of a manifest, which many runs share; `stamp` invalidates the cache."""
    return entry(path)


def _covered(folder: Path) -> Iterator[str]:
    """Yield the files of a run's folder, or of one with new files of it, that a seal covers."""
    for place_, folders, names in os.walk(folder):
        exempt = EXEMPT if Path(place_) == folder else ()
        folders[:] = [name for name in folders if not name.startswith(".") and name not in exempt]
        for path in (Path(place_, name) for name in names if not name.startswith(".") and name not in exempt):
            if path.is_file():
                yield path.relative_to(folder).as_posix()


@lru_cache(maxsize=1000)
def _read(path: Path, stamp: files.Stamp) -> dict[str, Entry]:
    """Read a seal; `stamp` invalidates the cache. Raises LeukoBenchError, ValueError or RecursionError."""
    if path.is_symlink():
        raise ValueError("it is a link")
    with files.regular(path, LARGEST) as handle:
        held = json.loads(handle.read())
    if not isinstance(held, dict) or not isinstance(held.get("version"), int):
        raise ValueError("it lacks 'version'")
    if held["version"] > VERSION:
        raise ValueError(f"its version {held['version']} is newer than {VERSION}: update this program")
    if not isinstance(held.get("files"), dict) or not held["files"]:
        raise ValueError("it lacks 'files'")
    return {name: _entry(name, value) for name, value in held["files"].items()}


def _entry(name: str, value: object) -> Entry:
    fields = value if isinstance(value, dict) else {}
    digest, size = fields.get("sha256"), fields.get("bytes")
    safe = _NAME.fullmatch(name) and ".." not in name.removeprefix(UP).split("/") and not Path(name).is_absolute()
    if not safe or not isinstance(digest, str) or not _DIGEST.fullmatch(digest) or type(size) is not int:
        raise ValueError(f"its entry {name[:60]!r} is not valid")
    return Entry(digest, size)
