"""The process of one job of a sweep: `JobProcess` starts and watches it, `main` is what runs in it.

The job is claimed by a lock of the operating system on a file beside the runs: the lock is released when the process
ends, also by SIGKILL, and no second process can hold it at the same time.
"""

import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import models
from models.engine import launcher
from models.engine.sweep.plan import FOLDER, JobSpec, run_of
from utils.console import run_safely, say
from utils.errors import LeukoBenchError
from utils.io import locks
from utils.paths import splits_dir
from utils.system import environment

BUSY = 76  # exit status: another process trains this job
CLAIM = ".train"  # suffix of the lock file, beside the log


class JobProcess:
    """`python -m models.engine.sweep.job_process ROOT SPEC`; it ends when its supervisor does."""

    def __init__(self, spec: JobSpec, root: Path, threads: int = 0, variables: dict[str, str] | None = None) -> None:
        """Start the process.

        Args:
            spec: the job.
            root: folder of the runs.
            threads: maximum number of threads; 0 for one per core.
            variables: additional environment variables.
        """
        self.log = root / FOLDER / f"{spec.key}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        limits = {} if threads in (0, environment.usable_cores()) else limited(threads)
        with open(self.log, "wb") as handle, _interrupts_held_back():
            self._process = subprocess.Popen(
                [sys.executable, "-m", "models.engine.sweep.job_process", str(root), json.dumps(spec.as_dict())],
                env=launcher.environment(self.log) | limits | (variables or {}),
                stdin=subprocess.PIPE,  # never written to: its end tells the process that the supervisor has ended
                stdout=handle,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the supervisor only, which forwards it
            )

    def poll(self) -> int | None:
        """Return the exit status; None while the process runs."""
        return self._process.poll()

    def interrupt(self) -> None:
        """Ask the process to stop after its step."""
        if os.name == "posix":
            self._process.send_signal(signal.SIGINT)
        else:
            self._process.terminate()

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.wait()

    def reason(self, status: int) -> str:
        """Return on one line why the process failed: its error, or the signal that ended it."""
        if status < 0:
            return f"It was ended by {launcher.ended_by(status)}"
        if said := launcher.error_of(self.log):
            return said
        lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n") if self.log.is_file() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), f"Exit status {status}, no output.")

    def tidy(self, failed: bool) -> None:
        """Remove the files of the process; the log of a failed one is kept."""
        launcher.error_file(self.log).unlink(missing_ok=True)
        if not failed:
            self.log.unlink(missing_ok=True)
        lock = locks.take(self.log.with_suffix(CLAIM))
        if lock:
            locks.drop(lock)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Start processes within with SIGINT blocked: one that arrives during their imports waits until `main`."""
    if os.name != "posix":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def limited(threads: int) -> dict[str, str]:
    """Return environment variables that limit the threads of TensorFlow and OpenMP."""
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    return dict.fromkeys(names, str(threads))


def main() -> int:
    """Train the job of the command line in this process: claim it, then start or resume its run.

    Returns:
        0 finished, BUSY, 130 stopped, or the exit status of the training.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it by default
    if os.name == "posix":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    launcher.end_with_parent()
    root, spec = Path(sys.argv[1]), JobSpec.from_dict(json.loads(sys.argv[2]))
    lock = locks.take(root / FOLDER / f"{spec.key}{CLAIM}")
    if lock is None:
        return BUSY
    run = run_of(root, spec)
    if run and run.finished:
        return 0
    if run:
        options = ["--resume", str(run.path.resolve())]
        say(f"Resuming {run.id}")
    else:
        _check_split(spec)
        options = [*spec.options, "--root", str(root.resolve())]
    _, module, *before = models.command(spec.model, "train")
    sys.argv = [module, *before, *options, *spec.other_options]
    runpy.run_module(module, run_name="__main__", alter_sys=True)  # exits with the status of the training
    return 0


def _check_split(spec: JobSpec) -> None:
    """Check that the dataset of this machine is the one for which the sweep was planned.

    Raises:
        LeukoBenchError: the dataset is missing or gives another manifest.
    """
    from data import catalog
    from data.splitting import splits

    place = splits_dir()
    writable = os.access(place if place.is_dir() else place.parent, os.W_OK)
    # Jobs of one machine must not create the same split at the same time.
    with locks.waited(place / ".sweep.lock") if writable else nullcontext():
        made = splits.prepare_split(catalog.ensure_dataset(spec.dataset), spec.split, spec.split_seed)
    if made.manifest.hash != spec.manifest:
        raise LeukoBenchError(
            f"Dataset '{spec.dataset}' gives manifest {made.manifest.hash} here, but {spec.manifest} where the "
            "sweep was started. Import the same images in both places."
        )


if __name__ == "__main__":
    sys.exit(run_safely(main))
