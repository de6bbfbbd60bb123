"""Run folders on their way between machines: packed with what lies beside them, put into place whole."""

import io
import shutil
import tarfile
import uuid
from pathlib import Path

from utils import artifacts
from utils.artifacts import Run
from utils.errors import LeukoBenchError

BESIDE = ("manifests", "reference")  # folders of the root with files named by the run's manifest


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
        place.mkdir(parents=True)
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            archive.extractall(place / "new", filter="data")
        for folder in BESIDE:
            for path in sorted((place / "new" / folder).glob("*")):
                (root / folder).mkdir(parents=True, exist_ok=True)
                if not (root / folder / path.name).exists():
                    path.replace(root / folder / path.name)
        for run in artifacts.find_runs(place / "new"):
            target = root / run.path.relative_to(place / "new")
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                target.rename(place / "old")
            run.path.rename(target)
    except (OSError, tarfile.TarError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LeukoBenchError(f"Cannot put a run below {root}: {reason}. Free space and sweep again.") from None
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _passing(path: Path) -> bool:
    """Say whether a file is on its way to its place, or a lock."""
    return path.name.startswith(".") or path.name == "lock"
