"""Kill a program before each of its steps on the disk: what it leaves then is what a kill at that moment leaves."""

import os
import signal
import sys
from collections.abc import Callable, Iterator

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
