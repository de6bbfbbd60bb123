"""Transfer run folders between machines: pack them with their manifest files, and unpack them atomically."""

import io
import shutil
import tarfile
import uuid
from pathlib import Path

from utils.errors import LeukoBenchError
from utils.io import locks
from utils.runs import run_folder
from utils.runs.run_folder import BESIDE, Run

NEW, OLD, HELD = "new", "old", "held"  # in a staging folder: new run, replaced run, lock


def pack(run: Run) -> bytes:
    """Return a tar archive of a run folder and its manifest files."""
    named = run.environment()["manifest"]
    files = [path for path in sorted(run.path.rglob("*")) if path.is_file() and not _temporary(path)]
    files += [path for folder in BESIDE for path in sorted((run.root / folder).glob(f"{named}.*"))]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:  # weights cannot be compressed
        for path in files:
            try:
                archive.add(path, path.relative_to(run.root).as_posix(), recursive=False)
            except FileNotFoundError:  # the previous checkpoint, removed when the next one is complete
                continue
    return buffer.getvalue()


def progress(content: bytes) -> tuple[bool, int]:
    """Return whether the run of an archive is finished, and its epochs; larger tuples are further.

    Raises:
        LeukoBenchError: the archive is damaged.
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
    """Unpack the run of an archive below a root; replace an earlier state of the same run.

    Args:
        content: archive by `pack`.
        root: folder of the runs.
        staging: folder on the same file system for the unpacking.

    Raises:
        LeukoBenchError: the run cannot be written; the earlier state is kept.
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
    """Restore runs that a killed `unpack` had moved, and remove its files; running ones are not touched."""
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
    """Move replaced runs back if their place is empty, then remove the staging folder, unless a move fails."""
    for old in run_folder.find_runs(place / OLD):
        target = root / old.path.relative_to(place / OLD)
        if not target.exists():
            try:
                old.path.rename(target)
            except OSError:
                return
    shutil.rmtree(place, ignore_errors=True)


def _temporary(path: Path) -> bool:
    """Return whether a file is temporary or a lock."""
    return path.name.startswith(".") or path.name == "lock"
