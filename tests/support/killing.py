"""Kill a program before each of its steps on the disk: what it leaves then is what a kill at that moment leaves."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from checks import contents

from utils.io import transaction

STEPS = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "open")


def kill_at_step(number: int) -> None:
    """Kill this process before its step `number` (1, 2, ...) that changes the disk; it cannot be called off."""
    left = number

    def watch(event: str, details: tuple) -> None:
        nonlocal left
        if event not in STEPS or (event == "open" and not _writes(details)):
            return
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def killed_at_each_step(work: Callable[[], object]) -> Iterator[int]:
    """Do `work` in a child process that is killed before step 1, then 2, ...; yield the number after each kill.

    The last child succeeds, after which nothing is yielded. What the caller does between restores the beginning.
    """
    number = 1
    while True:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                kill_at_step(number)
                work()
                status = 0
            finally:
                os._exit(status)
        _, ended = os.waitpid(child, 0)
        if os.WIFEXITED(ended):
            assert os.WEXITSTATUS(ended) == 0, f"the work failed without a kill, step {number}"
            return
        assert os.WTERMSIG(ended) == signal.SIGKILL
        yield number
        number += 1


def _writes(details: tuple) -> bool:
    path, _, flags = details
    return isinstance(path, str | bytes | os.PathLike) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def kill_each_commit(states: list[dict[str, bytes]]) -> Callable:
    """Return a replacement of `transaction.together` whose commit is killed before each of its steps.

    After each kill it lets the next reader recover the folder, adds what that sees to `states`, and restores the
    beginning. In the end the commit is made.
    """

    real = transaction.together

    @contextmanager
    def together(folder: Path, *rest: object, **more: object) -> Iterator[Path]:
        manager = real(folder, *rest, **more)
        with manager as stage:
            yield stage
            before = folder.parent / "before"
            shutil.copytree(folder, before, symlinks=True)
            for _ in killed_at_each_step(lambda: manager.__exit__(None, None, None)):
                transaction.recover(folder)
                states.append(visible(folder))
                shutil.rmtree(folder)
                shutil.copytree(before, folder, symlinks=True)
            shutil.rmtree(folder)
            before.rename(folder)

    return together


def visible(folder: Path) -> dict[str, bytes]:
    """Read the files that count in a folder: neither temporary ones nor locks."""
    found = contents(folder)
    return {name: value for name, value in found.items() if not any(p.startswith(".") for p in Path(name).parts)}
