"""Run the jobs of a sweep as processes of this machine, several at a time."""

import math
import os
import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from models.engine.sweep.job_process import BUSY, JobProcess
from models.engine.sweep.plan import ELSEWHERE, FAILED, FINISHED, FOLDER, RUNNING, STOPPED, WAITING, Job, run_of, update
from models.engine.training.progress_bar import StopSignal
from utils.console import STOPPED as INTERRUPTED
from utils.errors import LeukoBenchError
from utils.io import locks
from utils.system import environment

LOOK = 1.0  # seconds between two reads of a run folder
AGAIN = 5.0  # seconds until a job of another sweep is tried again
CORES = 2  # default cores per job


@dataclass(frozen=True)
class Resources:
    """Limits of a sweep: concurrent jobs (0: as many as fit), cores and GPUs per job (0: shared evenly), retries.

    With neither jobs nor GPUs given, each job gets a GPU of its own if there are any; with only jobs given, every job
    sees all GPUs.
    """

    jobs: int = 0
    cpus: int = 0
    gpus: float = 0
    retries: int = 1


class Executor(ABC):
    """The queue of a sweep, which subclasses run: starts waiting jobs while there is capacity, until all have ended.

    Attributes:
        waiting: (time from which on it may start, job).
        active: jobs that were started, as objects with `job` and `claim`.
    """

    def __init__(
        self, jobs: Sequence[Job], root: Path, resources: Resources, changed: Callable[[Job], None], stop: StopSignal
    ) -> None:
        self.root, self.resources, self.changed, self.stop = root, resources, changed, stop
        self.waiting = deque((0.0, job) for job in jobs if job.state == WAITING)
        self.active: list[Any] = []

    def run(self) -> None:
        """Run all jobs; Ctrl-C stops them after their step."""
        stopping = False
        try:
            while self.waiting or self.active:
                if self.stop.requested and not stopping:
                    stopping = True
                    self.stop_active()
                    for _, job in self.waiting:
                        self.set_state(job, STOPPED)
                    self.waiting.clear()
                self.start_waiting()
                self.poll()
        finally:
            for each in self.active:  # after a second Ctrl-C, or a defect
                self.kill(each)
                locks.drop(each.claim)
                each.job.state = STOPPED

    @abstractmethod
    def capacity(self) -> int:
        """Return how many jobs may be active at once."""

    @abstractmethod
    def start(self, job: Job, claim: BinaryIO) -> None:
        """Start a job, whose lock is `claim`."""

    @abstractmethod
    def poll(self) -> None:
        """Wait a moment, and handle what active jobs report."""

    @abstractmethod
    def stop_active(self) -> None:
        """Ask all active jobs to stop after their step."""

    @abstractmethod
    def kill(self, each: Any) -> None:
        """End an active job at once."""

    def start_waiting(self) -> None:
        """Start waiting jobs up to the capacity; those that another sweep runs are tried again later."""
        most = self.capacity()
        for _ in range(len(self.waiting)):
            due, job = self.waiting.popleft()
            if len(self.active) >= most or due > time.monotonic():
                self.waiting.append((due, job))
            elif (claim := locks.take(self.root / FOLDER / f"{job.spec.key}.sweep")) is None:
                self.try_later(job)
            else:
                self.start(job, claim)

    def try_later(self, job: Job) -> None:
        """Put back a job that another sweep runs."""
        if job.state != ELSEWHERE:
            self.set_state(job, ELSEWHERE)
        self.waiting.append((time.monotonic() + AGAIN, job))

    def retry(self, each: Any) -> bool:
        """Put back a job whose process was killed, if it has retries left; return whether it had."""
        if each.job.tries > self.resources.retries or self.stop.requested:
            return False
        self.set_state(each.job, WAITING)  # its finished epochs are kept
        self.waiting.append((0.0, each.job))
        return True

    def set_state(self, job: Job, state: str) -> None:
        """Change the state of a job and report it."""
        job.state = state
        self.changed(job)


def set_result(job: Job, root: Path, status: int, reason: str) -> None:
    """Set the state of a job whose process ended, from its exit status and its run folder."""
    found = run_of(root, job.spec)
    if found:
        update(job, found)
    if status == 0 and found and found.finished:
        job.state = FINISHED
    elif status == INTERRUPTED:
        job.state = STOPPED
    else:
        job.state, job.reason = FAILED, reason if status else "Its process succeeded without a finished run."


@dataclass
class _Active:
    job: Job
    claim: BinaryIO
    process: JobProcess
    slot: int
    looked: float = field(default=0.0)


class _LocalExecutor(Executor):
    def __init__(
        self, jobs: Sequence[Job], root: Path, resources: Resources, changed: Callable[[Job], None], stop: StopSignal
    ) -> None:
        super().__init__(jobs, root, resources, changed, stop)
        self.slots, self.threads, self.cards = _shares(resources, len(self.waiting))

    def capacity(self) -> int:
        return self.slots

    def start(self, job: Job, claim: BinaryIO) -> None:
        slot = min(set(range(self.slots)) - {each.slot for each in self.active})
        job.tries += 1
        variables = {"CUDA_VISIBLE_DEVICES": self.cards[slot]} if self.cards else {}
        self.active.append(_Active(job, claim, JobProcess(job.spec, self.root, self.threads, variables), slot))
        self.set_state(job, RUNNING)

    def poll(self) -> None:
        for each in list(self.active):
            status = each.process.poll()
            if status is None:
                self._read_progress(each)
            else:
                self._end(each, status)
        time.sleep(0.1)

    def stop_active(self) -> None:
        for each in self.active:
            each.process.interrupt()

    def kill(self, each: _Active) -> None:
        each.process.kill()
        each.process.tidy(failed=False)

    def _read_progress(self, each: _Active) -> None:
        if time.monotonic() - each.looked < LOOK:
            return
        each.looked, before = time.monotonic(), each.job.epoch
        found = each.job.run or run_of(self.root, each.job.spec, named=True)
        if found:
            update(each.job, found)
        if each.job.epoch != before:
            self.changed(each.job)

    def _end(self, each: _Active, status: int) -> None:
        self.active.remove(each)
        job = each.job
        if status == BUSY:
            job.tries -= 1
            self.try_later(job)
        elif status >= 0 or not self.retry(each):  # a negative status is a signal
            set_result(job, self.root, status, each.process.reason(status) if status else "")
            self.changed(job)
        each.process.tidy(failed=job.state == FAILED)
        locks.drop(each.claim)


def run(
    jobs: Sequence[Job], root: Path, resources: Resources, changed: Callable[[Job], None], stop: StopSignal
) -> None:
    """Train the waiting jobs; afterwards their states tell how each ended.

    Args:
        jobs: in the order of their start.
        root: folder of the runs.
        resources: limits of the sweep.
        changed: called with a job whenever its state, epoch or accuracy has changed.
        stop: once it is requested, jobs end after their step; a second Ctrl-C kills them.

    Raises:
        LeukoBenchError: there are not enough GPUs.
        KeyboardInterrupt: Ctrl-C was pressed twice.
    """
    _LocalExecutor(jobs, root, resources, changed, stop).run()


def _shares(resources: Resources, count: int) -> tuple[int, int, list[str]]:
    """Return the number of concurrent jobs, threads per job (0: all), and the GPUs of each slot (none: all)."""
    cores = environment.usable_cores()
    slots = resources.jobs or max(1, cores // (resources.cpus or CORES))
    cards: list[str] = []
    there = _gpus() if resources.gpus or not resources.jobs else []
    each = resources.gpus or float(bool(there))  # by default, jobs do not share a GPU
    if each:
        fitting = math.floor(len(there) / each)
        if not fitting:
            raise LeukoBenchError(f"--gpus {each:g} for each job, but this machine has {len(there)}. Ask for less.")
        slots = min(resources.jobs or fitting, fitting)
        edges = [(math.floor(k * each), math.ceil((k + 1) * each)) for k in range(slots)]
        cards = [",".join(there[low:high]) for low, high in edges]
    slots = max(1, min(slots, count))
    return slots, resources.cpus or (max(1, cores // slots) if slots > 1 else 0), cards


def _gpus() -> list[str]:
    """Return the GPUs that a process may use, as values of CUDA_VISIBLE_DEVICES."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name not in ("", "-1")]
    if not shutil.which("nvidia-smi"):
        return []
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False).stdout
    return [str(number) for number, line in enumerate(filter(None, listed.splitlines())) if line.startswith("GPU")]
