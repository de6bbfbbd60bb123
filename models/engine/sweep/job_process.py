"""The process of one job of a sweep, as its supervisor sees it: started, watched, interrupted, ended."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from models.engine import launcher
from models.engine.sweep.plan import FOLDER, Ticket
from utils.io import locks
from utils.system import environment

BUSY = 76  # exit status: another process trains this job
CLAIM = ".train"  # file of the lock that the process holds, beside its log


class JobProcess:
    """`python -m models.sweep_job`: ends when its supervisor does, whatever ended that."""

    def __init__(self, ticket: Ticket, root: Path, threads: int = 0, variables: dict[str, str] | None = None) -> None:
        """Start it.

        Args:
            ticket: what it trains.
            root: folder of the runs.
            threads: that it may compute with; 0: one for each core.
            variables: of its environment, beside those of this process.
        """
        self.log = root / FOLDER / f"{ticket.key}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        limits = {} if threads in (0, environment.usable_cores()) else limited(threads)
        with open(self.log, "wb") as handle:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "models.engine.sweep.job_main", str(root), json.dumps(ticket.plain())],
                env=launcher.environment() | limits | (variables or {}),
                stdin=subprocess.PIPE,  # never written to: its end tells the process that its supervisor has gone
                stdout=handle,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C goes to the supervisor alone, which passes it on
            )

    def poll(self) -> int | None:
        """Return its exit status; None while it runs."""
        return self._process.poll()

    def interrupt(self) -> None:
        """Ask it to stop after its step."""
        if os.name == "posix":
            self._process.send_signal(signal.SIGINT)
        else:
            self._process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def reason(self, status: int) -> str:
        """Return in a line why it failed: its error, or the signal that ended it."""
        if status < 0:
            return f"It was ended by {launcher.ended_by(status)}"
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.is_file() else []
        errors = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
        said = errors or [line.strip() for line in lines if line.strip()] or [f"Exit status {status}, without a word."]
        return said[-1]

    def tidy(self, failed: bool) -> None:
        """Remove its lock, and unless it failed what it said."""
        if not failed:
            self.log.unlink(missing_ok=True)
        left = locks.take(self.log.with_suffix(CLAIM))
        if left:
            locks.drop(left)


def limited(threads: int) -> dict[str, str]:
    """Return the variables that hold TensorFlow and OpenMP to so many threads."""
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    return dict.fromkeys(names, str(threads))
