"""Run folders on their way between machines: packed with what lies beside them, put into place whole."""

import io
import shutil
import tarfile
import uuid
from pathlib import Path

from utils.errors import LeukoBenchError
from utils.io import locks
from utils.runs import run_folder
from utils.runs.run_folder import Run

BESIDE = ("manifests", "reference")  # folders of the root with files named by the run's manifest
NEW, OLD, HELD = "new", "old", "held"  # of a folder where a run is unpacked: it, what it replaces, the lock


def pack(run: Run) -> bytes:
    """Return a run's folder with its state, and its manifest's files beside it, as an archive of bytes."""
    named = run.environment()["manifest"]
    files = [path for path in sorted(run.path.rglob("*")) if path.is_file() and not _passing(path)]
    files += [path for folder in BESIDE for path in sorted((run.root / folder).glob(f"{named}.*"))]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:  # weights do not get smaller
        for path in files:
            try:
                archive.add(path, path.relative_to(run.root).as_posix(), recursive=False)
            except FileNotFoundError:  # the checkpoint of the epoch before, which goes when the next one is there
                continue
    return buffer.getvalue()


def progress(content: bytes) -> tuple[bool, int]:
    """Return of an archive whether its run is finished, and how many epochs it has: the greater, the farther.

    Raises:
        LeukoBenchError: it is no archive.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            names = {Path(name).name: name for name in archive.getnames()}
            history = names.get(run_folder.HISTORY)
            text = archive.extractfile(history).read() if history else b""
    except (OSError, tarfile.TarError, AttributeError) as error:
        raise LeukoBenchError(f"A run that came from another machine is damaged ({error}). Sweep again.") from None
    return run_folder.METRICS in names, max(0, len(text.splitlines()) - 1)


def unpack(content: bytes, root: Path, staging: Path) -> None:
    """Put the run of an archive below a root, in the place of an earlier state of the same run.

    Args:
        content: as `pack` gave it.
        root: folder of the runs.
        staging: folder on the same file system, where it is unpacked first.

    Raises:
        LeukoBenchError: it cannot be written; what was there before is there still.
    """
    place = staging / f"incoming-{uuid.uuid4().hex}"
    try:
        with locks.waited(place / HELD):
            _place(content, root, place)
    except (OSError, tarfile.TarError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LeukoBenchError(f"Cannot put a run below {root}: {reason}. Free space and sweep again.") from None
    finally:
        _clear(root, place)


def restore(root: Path, staging: Path) -> None:
    """Put back what an `unpack` that was killed had moved aside, and clear up after it; one under way is left alone."""
    for place in sorted(staging.glob("incoming-*")):
        held = locks.take(place / HELD)
        if held:
            held.close()
            _clear(root, place)


def _place(content: bytes, root: Path, place: Path) -> None:
    new = place / NEW
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(new, filter="data")
    for folder in BESIDE:
        for path in sorted((new / folder).glob("*")):
            (root / folder).mkdir(parents=True, exist_ok=True)
            if not (root / folder / path.name).exists():
                path.replace(root / folder / path.name)
    for run in run_folder.find_runs(new):
        target, old = root / run.path.relative_to(new), place / OLD / run.path.relative_to(new)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            old.parent.mkdir(parents=True)
            target.rename(old)
        run.path.rename(target)


def _clear(root: Path, place: Path) -> None:
    """Put back what has no run in its place, then remove the folder; it stays where that does not work."""
    for old in run_folder.find_runs(place / OLD):
        target = root / old.path.relative_to(place / OLD)
        if not target.exists():
            try:
                old.path.rename(target)
            except OSError:
                return
    shutil.rmtree(place, ignore_errors=True)


def _passing(path: Path) -> bool:
    """Say whether a file is on its way to its place, or a lock."""
    return path.name.startswith(".") or path.name == "lock"
