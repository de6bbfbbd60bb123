"""One job of a sweep on a worker of a cluster: runs where its supervisor there does, and tells how it gets on.

Imported on the workers: the fewer of our modules are needed before the job begins, the better.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.engine.sweep import plan as sweep_plan
from models.engine.sweep import run_transfer
from models.engine.sweep.job_process import CLAIM, JobProcess
from models.engine.sweep.plan import FOLDER, Job, Ticket
from models.engine.sweep.run_lookup import epochs_of
from utils import paths
from utils.errors import LeukoBenchError
from utils.io import locks
from utils.runs import run_folder

LOOK = 0.5  # seconds
OFTEN = 20.0  # seconds between two states that are sent, and twenty times as long as one took
SHARE = 20


@dataclass(frozen=True)
class Place:
    """Where the sweep was started: folders as seen there, and a file in the runs that tells shared storage by its text.

    Attributes:
        runs, data: folders of the runs and of the data.
        asked: what LEUKOBENCH_RUNS and LEUKOBENCH_DATA say there; a worker that says otherwise has folders of its own.
        mark, text: a file, and what it holds.
        commit: of the program, as `utils.environment` says it.
    """

    runs: str
    data: str
    asked: tuple[str, str]
    mark: str
    text: str
    commit: str


def work(
    plain: dict[str, Any], place: Place, threads: int, state: Callable[[], bytes | None], stop: Callable[[], bool]
) -> Iterator[tuple[str, Any]]:
    """Train a job and yield how it gets on.

    Args:
        plain: its ticket.
        place: where the sweep was started.
        threads: that it may compute with.
        state: returns the run's folder as it was left, packed; None for a job that was not begun.
        stop: whether it shall stop after its step.

    Yields:
        ("begun", host), ("epoch", (epochs, accuracy)), ("state", archive) from storage that is not shared, and at last
        ("end", (exit status, reason, host)).
    """
    ticket, host = Ticket.of(plain), socket.gethostname()
    yield "begun", host
    shared = _shared(place)
    root = Path(place.runs) if shared else paths.runs_dir().resolve()
    data = _data(place, ticket.dataset)
    if not (data / "raw" / ticket.dataset).is_dir():
        reason = f"Worker {host} has no dataset '{ticket.dataset}' in {data}. Import it there, or share that folder."
        yield "end", (1, reason, host)
        return
    if not shared:
        _continue(ticket, root, state())
    variables = {"LEUKOBENCH_DATA": str(data), "LEUKOBENCH_COMMIT": place.commit}
    process = JobProcess(ticket, root, threads, variables)
    try:
        yield from _watch(process, ticket, root, shared, stop, host)
    finally:
        if process.poll() is None:
            process.kill()


def _watch(
    process: JobProcess, ticket: Ticket, root: Path, shared: bool, stop: Callable[[], bool], host: str
) -> Iterator[tuple[str, Any]]:
    job, told, due = Job(ticket, 0, run=sweep_plan.run_of(root, ticket)), False, 0.0
    while (status := process.poll()) is None:
        time.sleep(LOOK)
        if not told and stop():
            told = True
            process.interrupt()
        before, run = job.epoch, job.run or sweep_plan.run_of(root, ticket, named=True)
        if not run:
            continue
        sweep_plan.update(job, run)
        if job.epoch == before:
            continue
        yield "epoch", (job.epoch, job.accuracy)
        if not shared and time.monotonic() > due:
            start = time.monotonic()
            content = _packed(run, job.epoch)
            if content:
                yield "state", content
            due = time.monotonic() + max(OFTEN, SHARE * (time.monotonic() - start))
    reason = process.reason(status) if status else ""
    process.tidy(bool(status))
    run = sweep_plan.run_of(root, ticket)
    if run and not shared and run.file(run_folder.HISTORY).is_file():
        yield "state", run_transfer.pack(run)
    yield "end", (status, reason, host)


def _packed(run: Any, epoch: int) -> bytes | None:
    """Return a run's folder packed in one epoch; None where the next one ended meanwhile, whose files differ."""
    content, after = run_transfer.pack(run), Job(Ticket("", "", "", "", "", 0, (), ""), 0)
    sweep_plan.update(after, run)
    return content if after.epoch == epoch else None


def _shared(place: Place) -> bool:
    """Say whether this worker sees the runs of where the sweep was started, and has no folder of its own for them."""
    if os.environ.get("LEUKOBENCH_RUNS", place.asked[0]) != place.asked[0]:
        return False
    try:
        return Path(place.mark).read_text(encoding="utf-8") == place.text
    except OSError:
        return False


def _data(place: Place, dataset: str) -> Path:
    own = os.environ.get("LEUKOBENCH_DATA", place.asked[1])
    there = Path(place.data)
    return there if own == place.asked[1] and (there / "raw" / dataset).is_dir() else paths.data_dir().resolve()


def _continue(ticket: Ticket, root: Path, content: bytes | None) -> None:
    """Put the state that came with a job into this worker's folder, unless its own is as far or a job is at it."""
    run_transfer.restore(root, root / FOLDER)
    if content is None:
        return
    held = locks.take(root / FOLDER / f"{ticket.key}{CLAIM}")
    if held is None:
        return
    try:
        own = sweep_plan.run_of(root, ticket)
        if own is None or run_transfer.progress(content) > (own.finished, epochs_of(own)):
            run_transfer.unpack(content, root, root / FOLDER)
    except LeukoBenchError:
        pass  # it begins anew
    finally:
        held.close()
