"""Run the jobs of a sweep as tasks of a Ray cluster, on storage that is shared or not."""

import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from models.engine.sweep import ray_cluster, run_transfer
from models.engine.sweep.job_process import BUSY
from models.engine.sweep.local_executor import AGAIN, CORES, Room, claim_of, settled
from models.engine.sweep.plan import ELSEWHERE, FAILED, FOLDER, QUEUED, RUNNING, STOPPED, WAITING, Job, run_of
from models.engine.sweep.ray_worker import Place, work
from models.engine.sweep.run_lookup import epochs_of
from models.engine.training.progress_bar import StopSignal
from utils import paths
from utils.console import warn
from utils.errors import LeukoBenchError
from utils.io import locks
from utils.system import environment, optional_packages

MORE = 2  # times as many tasks as fit now are handed over, so that none waits for us and a cluster may grow


@dataclass
class _Active:
    job: Job
    claim: BinaryIO
    answers: Any  # the task's generator
    heard: bool = False  # whether it has answered: until then no worker has it


def launcher(address: str) -> Callable[..., None]:
    """Return what runs jobs as `models.sweep_local.run` does, on the cluster at an address, or one of its own for "".

    Raises:
        LeukoBenchError: Ray is not installed.
    """
    optional_packages.need("ray", "sweep --engine ray")

    def run(jobs: Sequence[Job], root: Path, room: Room, changed: Callable[[Job], None], stop: StopSignal) -> None:
        ray = ray_cluster.connect(address)
        try:
            _Sweep(ray, root, room, changed, stop).run(jobs)
        finally:
            ray.shutdown()

    return run


class _Sweep:
    def __init__(self, ray: Any, root: Path, room: Room, changed: Callable[[Job], None], stop: StopSignal) -> None:
        self.ray, self.root, self.room, self.changed, self.stop = ray, root, room, changed, stop
        self.cores = room.cpus or CORES
        if not room.cpus and not any(node["Resources"].get("CPU", 0) >= CORES for node in ray.nodes()):
            self.cores = 1
        self.board = ray.remote(num_cpus=0)(_Board).remote()
        self.task = ray.remote(num_cpus=self.cores, num_gpus=room.gpus, max_retries=0)(_task)
        self.active: list[_Active] = []
        self.waiting: deque[tuple[float, Job]] = deque()

    def run(self, jobs: Sequence[Job]) -> None:
        self.waiting.extend((0.0, job) for job in jobs if job.state == WAITING)
        mark = self.root / FOLDER / f"mark-{uuid.uuid4().hex}"
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(mark.name, encoding="utf-8")
        self.place = Place(
            str(self.root), str(paths.data_dir().resolve()),
            (os.environ.get("LEUKOBENCH_RUNS", ""), os.environ.get("LEUKOBENCH_DATA", "")),
            str(mark), mark.name, environment.commit(),
        )  # fmt: skip
        if line := ray_cluster.too_large(self.ray.nodes(), self.cores, self.room.gpus):
            warn(line)
        try:
            self._loop()
        finally:
            for each in self.active:  # after a second Ctrl-C, or a defect
                with suppress(Exception):
                    self.ray.cancel(each.answers, force=True)
                each.job.state = STOPPED
                locks.drop(each.claim)
            mark.unlink(missing_ok=True)

    def _loop(self) -> None:
        told = False
        while self.waiting or self.active:
            if self.stop.requested and not told:
                told = True
                self.board.stop.remote()
                for _, job in self.waiting:
                    self._becomes(job, STOPPED)
                self.waiting.clear()
                for each in self.active:
                    if not each.heard:  # nobody reads what is asked of it, perhaps for ever
                        self.ray.cancel(each.answers)
            self._begin()
            if not self.active:
                time.sleep(0.2)
                continue
            ready, _ = self.ray.wait([each.answers for each in self.active], timeout=0.5, fetch_local=False)
            for each in [one for one in self.active if one.answers in ready]:
                self._hear(each)

    def _begin(self) -> None:
        there = self.ray.cluster_resources()
        fitting = int(there.get("CPU", 0) // self.cores)
        if self.room.gpus:
            fitting = min(fitting, int(there.get("GPU", 0) / self.room.gpus))
        most = self.room.jobs or max(1, MORE * fitting)
        for _ in range(len(self.waiting)):
            due, job = self.waiting.popleft()
            claim = claim_of(job, self.root) if len(self.active) < most and due <= time.monotonic() else None
            if claim is None:
                if len(self.active) < most and due <= time.monotonic():
                    self._elsewhere(job)
                else:
                    self.waiting.append((due, job))
                continue
            left = run_of(self.root, job.ticket)
            if left and left.finished:  # by another sweep, since this one began
                settled(job, self.root, 0, "")
                locks.drop(claim)
                self.changed(job)
                continue
            state = [self.ray.put(run_transfer.pack(left))] if left else []
            job.tries += 1
            answers = self.task.remote(job.ticket.plain(), self.place, self.cores, state, self.board)
            self.active.append(_Active(job, claim, answers))
            self._becomes(job, QUEUED)

    def _hear(self, each: _Active) -> None:
        """Take the next answer of a task; one whose worker is lost is begun again."""
        try:
            kind, said = self.ray.get(next(each.answers))
        except StopIteration:
            self._lost(each, "Its task ended without a word.")
        except LeukoBenchError as problem:
            self._end(each, 1, ray_cluster.reason(problem))
        except Exception as problem:  # of Ray: a worker, its machine, or what it ran is gone
            self._lost(each, f"Its worker was lost ({type(problem).__name__}): {ray_cluster.reason(problem)}")
        else:
            if kind == "begun":
                each.heard = True
                self._becomes(each.job, RUNNING)
            elif kind == "epoch":
                each.job.epoch, each.job.accuracy = said
                self.changed(each.job)
            elif kind == "state":
                self._take(each, said)
            elif said[0] == BUSY:
                self._release(each)
                each.job.tries -= 1
                self._elsewhere(each.job)
            elif said[0] < 0:
                self._lost(each, said[1])
            else:
                self._end(each, said[0], f"{said[1]} (on {said[2]})" if said[1] else "")

    def _take(self, each: _Active, content: bytes) -> None:
        """Put a state that came from a worker into the folder of runs, unless what lies there is as far."""
        try:
            held = run_of(self.root, each.job.ticket)
            if held is None or run_transfer.progress(content) > (held.finished, epochs_of(held)):
                run_transfer.unpack(content, self.root, self.root / FOLDER)
        except LeukoBenchError as problem:
            self.ray.cancel(each.answers)
            self._end(each, 1, str(problem))

    def _lost(self, each: _Active, reason: str) -> None:
        if each.job.tries <= self.room.retries and not self.stop.requested:
            self._release(each)
            self._becomes(each.job, WAITING)
            self.waiting.append((0.0, each.job))
        else:
            self._end(each, 1, reason)

    def _end(self, each: _Active, status: int, reason: str) -> None:
        settled(each.job, self.root, status, reason)
        if self.stop.requested and each.job.state == FAILED:
            each.job.state, each.job.reason = STOPPED, ""
        self._release(each)
        self.changed(each.job)

    def _release(self, each: _Active) -> None:
        self.active.remove(each)
        locks.drop(each.claim)

    def _elsewhere(self, job: Job) -> None:
        if job.state != ELSEWHERE:
            self._becomes(job, ELSEWHERE)
        self.waiting.append((time.monotonic() + AGAIN, job))

    def _becomes(self, job: Job, state: str) -> None:
        job.state = state
        self.changed(job)


class _Board:
    """What all tasks of a sweep look at: whether they shall stop."""

    def __init__(self) -> None:
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True

    def asked(self) -> bool:
        return self.stopped


def _task(plain: dict[str, Any], place: Place, threads: int, state: list[Any], board: Any) -> Any:
    """Run on a worker; a generator, whose answers come one by one."""
    import ray

    yield from work(
        plain, place, threads, lambda: ray.get(state[0]) if state else None, lambda: ray.get(board.asked.remote())
    )
