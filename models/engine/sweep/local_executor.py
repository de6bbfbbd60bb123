"""Run the jobs of a sweep as processes of this machine, several side by side."""

import math
import os
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from models.engine.sweep.job_process import BUSY, JobProcess
from models.engine.sweep.plan import ELSEWHERE, FAILED, FINISHED, FOLDER, RUNNING, STOPPED, WAITING, Job, run_of, update
from models.engine.training.progress_bar import StopSignal
from utils.console import STOPPED as INTERRUPTED
from utils.errors import LeukoBenchError
from utils.io import locks
from utils.system import environment

LOOK = 1.0  # seconds between two looks at the run folders
AGAIN = 5.0  # seconds until a job that another sweep has is looked at again
CORES = 2  # of a job, where nobody says how many


@dataclass(frozen=True)
class Room:
    """What a job may take: jobs at once (0: as many as fit), cores and GPUs of each (0: shared out), retries.

    Without jobs and GPUs, each job has a card of its own where there are any; with jobs alone every job sees them all.
    """

    jobs: int = 0
    cpus: int = 0
    gpus: float = 0
    retries: int = 1


@dataclass
class _Active:
    job: Job
    process: JobProcess
    claim: BinaryIO
    slot: int
    looked: float = field(default=0.0)


def run(jobs: Sequence[Job], root: Path, room: Room, changed: Callable[[Job], None], stop: StopSignal) -> None:
    """Train the jobs that are waiting; their states say how each ended.

    Args:
        jobs: in the order in which they begin.
        root: folder of the runs.
        room: what a job may take.
        changed: called with a job whenever its state, epoch or accuracy is another.
        stop: once it is requested, jobs end after their step; a second Ctrl-C kills them.

    Raises:
        LeukoBenchError: there are not that many GPUs.
        KeyboardInterrupt: the second Ctrl-C.
    """
    slots, threads, cards = _shares(room, sum(job.state == WAITING for job in jobs))
    waiting = deque((0.0, job) for job in jobs if job.state == WAITING)
    active: list[_Active] = []
    told = False
    try:
        while waiting or active:
            if stop.requested and not told:
                told = True
                for each in active:
                    each.process.interrupt()
                for _, job in waiting:
                    job.state = STOPPED
                    changed(job)
                waiting.clear()
            for _ in range(len(waiting)):
                due, job = waiting.popleft()
                if len(active) == slots or due > time.monotonic():
                    waiting.append((due, job))
                    continue
                claim = claim_of(job, root)
                if claim is None:
                    _elsewhere(job, waiting, changed)
                    continue
                slot = min(set(range(slots)) - {each.slot for each in active})
                job.state, job.tries = RUNNING, job.tries + 1
                variables = {"CUDA_VISIBLE_DEVICES": cards[slot]} if cards else {}
                active.append(_Active(job, JobProcess(job.ticket, root, threads, variables), claim, slot))
                changed(job)
            for each in list(active):
                status = each.process.poll()
                if status is None:
                    _look(each, root, changed)
                    continue
                active.remove(each)
                _ended(each, status, root, room, waiting, stop, changed)
            time.sleep(0.1)
    finally:
        for each in active:  # after a second Ctrl-C, or a defect
            each.process.kill()
            each.process.tidy(False)
            locks.drop(each.claim)
            each.job.state = STOPPED


def claim_of(job: Job, root: Path) -> BinaryIO | None:
    """Return the lock by which a sweep has a job; None where another sweep has it."""
    return locks.take(root / FOLDER / f"{job.ticket.key}.sweep")


def settled(job: Job, root: Path, status: int, reason: str) -> None:
    """Set the state of a job whose process ended, from its exit status and its run folder."""
    found = run_of(root, job.ticket)
    if found:
        update(job, found)
    if status == 0 and found and found.finished:
        job.state = FINISHED
    elif status == INTERRUPTED:
        job.state = STOPPED
    else:
        job.state, job.reason = FAILED, reason if status else "It ended well, but left no finished run of its own."


def _ended(
    each: _Active, status: int, root: Path, room: Room, waiting: deque, stop: StopSignal, changed: Callable[[Job], None]
) -> None:
    job = each.job
    if status == BUSY:
        job.tries -= 1
        _elsewhere(job, waiting, changed)
    elif status < 0 and job.tries <= room.retries and not stop.requested:
        job.state = WAITING  # what it had finished is gone on with
        waiting.append((0.0, job))
        changed(job)
    else:
        settled(job, root, status, each.process.reason(status) if status else "")
        if stop.requested and status < 0 and job.state == FAILED:  # it was still starting, and did not listen yet
            job.state, job.reason = STOPPED, ""
        changed(job)
    each.process.tidy(job.state == FAILED)
    locks.drop(each.claim)


def _elsewhere(job: Job, waiting: deque, changed: Callable[[Job], None]) -> None:
    if job.state != ELSEWHERE:
        job.state = ELSEWHERE
        changed(job)
    waiting.append((time.monotonic() + AGAIN, job))


def _look(each: _Active, root: Path, changed: Callable[[Job], None]) -> None:
    if time.monotonic() - each.looked < LOOK:
        return
    each.looked, before = time.monotonic(), each.job.epoch
    found = each.job.run or run_of(root, each.job.ticket, named=True)
    if found:
        update(each.job, found)
    if each.job.epoch != before:
        changed(each.job)


def _shares(room: Room, count: int) -> tuple[int, int, list[str]]:
    """Return how many jobs at once, threads of each (0: all), and the GPUs that each slot sees (none: all)."""
    cores = environment.usable_cores()
    slots = room.jobs or max(1, cores // (room.cpus or CORES))
    cards: list[str] = []
    there = _gpus() if room.gpus or not room.jobs else []
    each = room.gpus or float(bool(there))  # where nobody says how many, jobs do not share a card
    if each:
        fitting = math.floor(len(there) / each)
        if not fitting:
            raise LeukoBenchError(f"--gpus {each:g} for each job, but this machine has {len(there)}. Ask for less.")
        slots = min(room.jobs or fitting, fitting)
        edges = [(math.floor(k * each), math.ceil((k + 1) * each)) for k in range(slots)]
        cards = [",".join(there[low:high]) for low, high in edges]
    slots = max(1, min(slots, count))
    return slots, room.cpus or (max(1, cores // slots) if slots > 1 else 0), cards


def _gpus() -> list[str]:
    """Return the names of the GPUs that a process here may use, as CUDA_VISIBLE_DEVICES takes them."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name not in ("", "-1")]
    if not shutil.which("nvidia-smi"):
        return []
    said = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False).stdout
    return [str(number) for number, line in enumerate(filter(None, said.splitlines())) if line.startswith("GPU")]
