"""Run one job of a sweep on a worker of a Ray cluster and report its progress.

Imported on the workers, so it imports few modules.
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
from models.engine.sweep.plan import FOLDER, Job, JobSpec, epochs_of
from utils import paths
from utils.errors import LeukoBenchError
from utils.io import locks
from utils.runs import run_folder

LOOK = 0.5  # seconds between two reads of the run folder
SEND_EVERY = 20.0  # seconds between two copies of the run folder that are sent, or SEND_SHARE times the time of one
SEND_SHARE = 20


@dataclass(frozen=True)
class Origin:
    """The machine on which the sweep was started, and a file by which workers detect shared storage.

    Attributes:
        runs, data: folders of the runs and of the data.
        variables: LEUKOBENCH_RUNS and LEUKOBENCH_DATA there; a worker with other values uses its own folders.
        mark, text: path and content of a file in the folder of the runs.
        commit: git commit of the program.
    """

    runs: str
    data: str
    variables: tuple[str, str]
    mark: str
    text: str
    commit: str


def work(
    fields: dict[str, Any], origin: Origin, threads: int, state: Callable[[], bytes | None], stop: Callable[[], bool]
) -> Iterator[tuple[str, Any]]:
    """Train a job and yield reports.

    Args:
        fields: of the job's `JobSpec`.
        origin: the machine on which the sweep was started.
        threads: maximum number of threads.
        state: returns the archive of an unfinished run folder; None for a new job.
        stop: returns whether to stop after the current step.

    Yields:
        ("begun", host), ("epoch", (epochs, accuracy)), ("state", archive) without shared storage, and finally
        ("end", (exit status, reason, host)).
    """
    spec, host = JobSpec.from_dict(fields), socket.gethostname()
    yield "begun", host
    shared = _shared(origin)
    root = Path(origin.runs) if shared else paths.runs_dir().resolve()
    data = _data(origin, spec.dataset)
    if not (data / "raw" / spec.dataset).is_dir():
        reason = f"Worker {host} has no dataset '{spec.dataset}' in {data}. Import it there, or share that folder."
        yield "end", (1, reason, host)
        return
    if not shared:
        _continue(spec, root, state())
    variables = {"LEUKOBENCH_DATA": str(data), "LEUKOBENCH_COMMIT": origin.commit}
    process = JobProcess(spec, root, threads, variables)
    try:
        yield from _watch(process, spec, root, shared, stop, host)
    finally:
        if process.poll() is None:
            process.kill()


def _watch(
    process: JobProcess, spec: JobSpec, root: Path, shared: bool, stop: Callable[[], bool], host: str
) -> Iterator[tuple[str, Any]]:
    job, asked, due = Job(spec, 0, run=sweep_plan.run_of(root, spec)), False, 0.0
    while (status := process.poll()) is None:
        time.sleep(LOOK)
        if not asked and stop():
            asked = True
            process.interrupt()
        before, run = job.epoch, job.run or sweep_plan.run_of(root, spec, named=True)
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
            due = time.monotonic() + max(SEND_EVERY, SEND_SHARE * (time.monotonic() - start))
    reason = process.reason(status) if status else ""
    process.tidy(bool(status))
    run = sweep_plan.run_of(root, spec)
    if run and not shared and run.file(run_folder.HISTORY).is_file():
        yield "state", run_transfer.pack(run)
    yield "end", (status, reason, host)


def _packed(run: Any, epoch: int) -> bytes | None:
    """Return the archive of a run folder after an epoch; None if the next epoch ended meanwhile and files differ."""
    content, after = run_transfer.pack(run), Job(JobSpec("", "", "", "", "", 0, (), ""), 0)
    sweep_plan.update(after, run)
    return content if after.epoch == epoch else None


def _shared(origin: Origin) -> bool:
    """Return whether this worker shares the folder of the runs with the origin."""
    if os.environ.get("LEUKOBENCH_RUNS", origin.variables[0]) != origin.variables[0]:
        return False
    try:
        return Path(origin.mark).read_text(encoding="utf-8") == origin.text
    except OSError:
        return False


def _data(origin: Origin, dataset: str) -> Path:
    own = os.environ.get("LEUKOBENCH_DATA", origin.variables[1])
    there = Path(origin.data)
    return there if own == origin.variables[1] and (there / "raw" / dataset).is_dir() else paths.data_dir().resolve()


def _continue(spec: JobSpec, root: Path, content: bytes | None) -> None:
    """Unpack the run folder that came with a job, unless the own one has as many epochs or is in use."""
    run_transfer.restore(root, root / FOLDER)
    if content is None:
        return
    held = locks.take(root / FOLDER / f"{spec.key}{CLAIM}")
    if held is None:
        return
    try:
        own = sweep_plan.run_of(root, spec)
        if own is None or run_transfer.progress(content) > (own.finished, epochs_of(own)):
            run_transfer.unpack(content, root, root / FOLDER)
    except LeukoBenchError:
        pass  # the job starts from the beginning
    finally:
        held.close()
