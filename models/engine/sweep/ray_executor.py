"""Run the jobs of a sweep as tasks of a Ray cluster, with or without shared storage."""

import os
import re
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from models.engine.sweep import run_transfer
from models.engine.sweep.job_process import BUSY
from models.engine.sweep.local_executor import CORES, Executor, Resources, set_result
from models.engine.sweep.plan import FAILED, FOLDER, QUEUED, RUNNING, STOPPED, Job, epochs_of, run_of
from models.engine.sweep.ray_worker import Origin, work
from models.engine.training.progress_bar import StopSignal
from utils import paths
from utils.console import warn
from utils.errors import LeukoBenchError
from utils.io import locks
from utils.system import environment, optional_packages

QUEUE_AHEAD = 2  # submitted tasks per task that fits now: no worker waits, and the cluster may grow
NOT_SENT = ["/.git/", "/.venv/", "/docs/", "/tests/", "/runs/", "/data/raw/", "/data/splits/", "/data/features/"]
NOT_SENT += ["/data/augmented/", "/data/audit/", "__pycache__/"]
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",
}


def launcher(address: str) -> Callable[..., None]:
    """Return a function with the arguments of `local_executor.run` that uses a Ray cluster.

    Args:
        address: of the cluster; "" starts Ray on this machine.

    Raises:
        LeukoBenchError: Ray is not installed.
    """
    optional_packages.need("ray", "sweep --engine ray")

    def run(
        jobs: Sequence[Job], root: Path, resources: Resources, changed: Callable[[Job], None], stop: StopSignal
    ) -> None:
        ray = connect(address)
        mark = root / FOLDER / f"mark-{uuid.uuid4().hex}"
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(mark.name, encoding="utf-8")
        try:
            _RayExecutor(ray, mark, jobs, root, resources, changed, stop).run()
        finally:
            mark.unlink(missing_ok=True)
            ray.shutdown()

    return run


@dataclass
class _Active:
    job: Job
    claim: BinaryIO
    reports: Any  # generator of the task
    begun: bool = False  # whether a worker has started it


class _RayExecutor(Executor):
    def __init__(
        self,
        ray: Any,
        mark: Path,
        jobs: Sequence[Job],
        root: Path,
        resources: Resources,
        changed: Callable[[Job], None],
        stop: StopSignal,
    ) -> None:
        super().__init__(jobs, root, resources, changed, stop)
        self.ray = ray
        self.cores = resources.cpus or CORES
        if not resources.cpus and not any(node["Resources"].get("CPU", 0) >= CORES for node in ray.nodes()):
            self.cores = 1
        self.flag = ray.remote(num_cpus=0)(_StopFlag).remote()
        self.task = ray.remote(num_cpus=self.cores, num_gpus=resources.gpus, max_retries=0)(_task)
        self.origin = Origin(
            runs=str(root),
            data=str(paths.data_dir().resolve()),
            variables=(os.environ.get("LEUKOBENCH_RUNS", ""), os.environ.get("LEUKOBENCH_DATA", "")),
            mark=str(mark),
            text=mark.name,
            commit=environment.commit(),
        )
        if line := too_large(ray.nodes(), self.cores, resources.gpus):
            warn(line)

    def capacity(self) -> int:
        there = self.ray.cluster_resources()
        fitting = int(there.get("CPU", 0) // self.cores)
        if self.resources.gpus:
            fitting = min(fitting, int(there.get("GPU", 0) / self.resources.gpus))
        return self.resources.jobs or max(1, QUEUE_AHEAD * fitting)

    def start(self, job: Job, claim: BinaryIO) -> None:
        earlier = run_of(self.root, job.spec)
        if earlier and earlier.finished:  # by another sweep in the meantime
            set_result(job, self.root, 0, "")
            locks.drop(claim)
            self.changed(job)
            return
        state = [self.ray.put(run_transfer.pack(earlier))] if earlier else []
        job.tries += 1
        reports = self.task.remote(job.spec.as_dict(), self.origin, self.cores, state, self.flag)
        self.active.append(_Active(job, claim, reports))
        self.set_state(job, QUEUED)

    def poll(self) -> None:
        if not self.active:
            time.sleep(0.2)
            return
        ready, _ = self.ray.wait([each.reports for each in self.active], timeout=0.5, fetch_local=False)
        for each in [one for one in self.active if one.reports in ready]:
            self._receive(each)

    def stop_active(self) -> None:
        self.flag.stop.remote()
        for each in self.active:
            if not each.begun:  # no worker reads the flag yet
                self.ray.cancel(each.reports)

    def kill(self, each: _Active) -> None:
        with suppress(Exception):
            self.ray.cancel(each.reports, force=True)

    def _receive(self, each: _Active) -> None:
        """Handle the next report of a task; retry a task whose worker was lost."""
        try:
            kind, content = self.ray.get(next(each.reports))
        except StopIteration:
            self._lost(each, "Its task ended without a result.")
        except LeukoBenchError as problem:
            self._end(each, 1, reason(problem))
        except Exception as problem:  # of Ray: a worker or its machine is lost
            self._lost(each, f"Its worker was lost ({type(problem).__name__}): {reason(problem)}")
        else:
            self._handle(each, kind, content)

    def _handle(self, each: _Active, kind: str, content: Any) -> None:
        if kind == "begun":
            each.begun = True
            self.set_state(each.job, RUNNING)
        elif kind == "epoch":
            each.job.epoch, each.job.accuracy = content
            self.changed(each.job)
        elif kind == "state":
            self._store(each, content)
        else:
            status, why, host = content
            if status == BUSY:
                self._release(each)
                each.job.tries -= 1
                self.try_later(each.job)
            elif status < 0:
                self._lost(each, why)
            else:
                self._end(each, status, f"{why} (on {host})" if why else "")

    def _store(self, each: _Active, content: bytes) -> None:
        """Unpack a run folder that came from a worker, unless the folder here has as many epochs."""
        try:
            held = run_of(self.root, each.job.spec)
            if held is None or run_transfer.progress(content) > (held.finished, epochs_of(held)):
                run_transfer.unpack(content, self.root, self.root / FOLDER)
        except LeukoBenchError as problem:
            self.ray.cancel(each.reports)
            self._end(each, 1, str(problem))

    def _lost(self, each: _Active, why: str) -> None:
        if self.retry(each):
            self._release(each)
        else:
            self._end(each, 1, why)

    def _end(self, each: _Active, status: int, why: str) -> None:
        set_result(each.job, self.root, status, why)
        if self.stop.requested and each.job.state == FAILED:
            each.job.state, each.job.reason = STOPPED, ""
        self._release(each)
        self.changed(each.job)

    def _release(self, each: _Active) -> None:
        self.active.remove(each)
        locks.drop(each.claim)


class _StopFlag:
    """A Ray actor that all tasks of a sweep read: whether to stop."""

    def __init__(self) -> None:
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True

    def is_set(self) -> bool:
        return self.stopped


def _task(spec: dict[str, Any], origin: Origin, threads: int, state: list[Any], flag: Any) -> Any:
    """Run a job on a worker and yield its reports."""
    import ray

    yield from work(
        spec, origin, threads, lambda: ray.get(state[0]) if state else None, lambda: ray.get(flag.is_set.remote())
    )


def connect(address: str) -> Any:
    """Return the module ray, connected and without its logs.

    Raises:
        LeukoBenchError: there is no cluster at the address.
    """
    os.environ.update({name: value for name, value in QUIET.items() if name not in os.environ})
    import logging

    import ray

    sent = {"working_dir": str(paths.PROJECT), "excludes": NOT_SENT}
    options: dict[str, Any] = {"runtime_env": sent, "log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address:
            _check_port(address)
            ray.init(address=address, **options)
        else:
            ray.init(address="local", include_dashboard=False, **options)
    except (OSError, ValueError, RuntimeError) as problem:
        raise LeukoBenchError(
            f"There is no Ray cluster at '{address or 'local'}' ({reason(problem)}). Start one with: ray start --head"
        ) from None
    return ray


def _check_port(address: str) -> None:
    """Raise OSError if "HOST:PORT" or "ray://HOST:PORT" does not accept connections; Ray would try for minutes."""
    host, colon, port = address.rpartition("//")[2].rpartition(":")
    if colon and port.isdecimal():
        with socket.create_connection((host, int(port)), timeout=10):
            pass


def too_large(nodes: list[dict[str, Any]], cores: int, gpus: float) -> str:
    """Return a warning if no node of a cluster has enough cores and GPUs for a job, else ""."""
    has = [(each["Resources"].get("CPU", 0), each["Resources"].get("GPU", 0)) for each in nodes if each["Alive"]]
    if any(cpu >= cores and gpu >= gpus for cpu, gpu in has):
        return ""
    largest = max((cpu for cpu, _ in has), default=0), max((gpu for _, gpu in has), default=0)
    return (
        f"A job needs {cores} cores and {gpus:g} GPUs, more than any machine of the cluster has (at most "
        f"{largest[0]:g} cores, {largest[1]:g} GPUs). The jobs wait for a larger machine; Ctrl-C ends the sweep."
    )


def reason(problem: BaseException) -> str:
    """Return an error on one line; for an error in a task, its own message without the trace of Ray."""
    cause = getattr(problem, "cause", None)
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(cause or problem))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return type(cause or problem).__name__
    return lines[-1] if hasattr(problem, "cause") else lines[0]
