"""Names of temporary files and folders, which tell whose they are, and the removal of those of dead processes."""

import itertools
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

STAGE = ".commit"  # folder whose content moves up into the folder that holds it, see `transaction`
ABANDONED = 7 * 86_400  # seconds after which files of another machine, whose processes cannot be seen, are removed
_NAME = re.compile(r"\.(\d+)(?:@([A-Za-z0-9-]*)\.\d+)?\.(.+)", re.DOTALL)  # without a machine: of older versions
_number = itertools.count()
_mine: set[str] = set()  # in use by this process; in a container a new process often has the PID of a killed one


@contextmanager
def beside(target: Path) -> Iterator[Path]:
    """Yield a hidden path beside `target` for what is to become it, and remove what is there after the block.

    The name tells machine and process, and ends as that of `target` does (".weights.h5"), which some writers need.
    """
    prefix = f".{os.getpid()}@{_machine()}.{next(_number)}."
    place = target.with_name(prefix + os.fsdecode(os.fsencode(target.name)[len(prefix) - 255 :]))
    _mine.add(str(place))
    try:
        yield place
    finally:
        with suppress(OSError):
            remove(place)
        _mine.discard(str(place))


def final(path: Path) -> Path:
    """Return the later name of a path below temporary folders, for messages; what is in a `STAGE` moves up."""
    parts = [found[3] if (found := _NAME.match(part)) else part for part in path.parts]
    return Path(*(part for part in parts if part != STAGE))


def sweep(folder: Path, deep: bool = False) -> None:
    """Remove the temporary files and folders in a folder, or also in all below it, that dead processes left behind."""
    for place, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            if _NAME.match(name) and _dead(Path(place, name)):
                with suppress(OSError):
                    remove(Path(place, name))
        folders[:] = [name for name in folders if not name.startswith(".")] if deep else []


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there; a link is removed itself.

    Raises:
        OSError: it cannot be removed.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _dead(path: Path) -> bool:
    pid, machine, _ = _NAME.match(path.name).groups()
    if machine not in (None, _machine()):
        with suppress(OSError):
            return time.time() - path.lstat().st_mtime > ABANDONED
        return False
    import psutil

    return str(path) not in _mine if int(pid) == os.getpid() else not psutil.pid_exists(int(pid))


def _machine() -> str:
    return re.sub(r"[^A-Za-z0-9-]", "-", platform.node())[:32]
