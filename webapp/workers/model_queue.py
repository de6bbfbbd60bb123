"""Queue in front of the model worker; predictions of the same runs are batched.

A second worker stands by with the same runs open and takes over when the first one dies: it takes about 20 seconds to
import TensorFlow and to open the models of the demo.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from utils.runs.run_folder import Run
from webapp.http.problem_responses import Problem, busy
from webapp.http.prometheus_metrics import Meters
from webapp.settings import Settings
from webapp.workers import model_worker
from webapp.workers.child_process import Child, Died, Late
from webapp.workers.model_worker import Explain, Image, Predict, Warm

BATCH = 32  # most images in one batch
PATIENCE = 300  # time limit of one message in seconds, as loading a large model takes long
RETRY = 3  # seconds after which a client may ask again
QUIET = 5  # seconds between two looks at the worker that stands by, and before it starts
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Job:
    """One message, and the future of its answer."""

    message: Predict | Explain | Warm
    again: bool = False  # whether the worker died on its batch before
    answer: asyncio.Future = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Inference:
    """The model worker and its queue: predictions first, then heatmaps, then loading in advance."""

    def __init__(self, settings: Settings, meters: Meters) -> None:
        self._settings, self._meters = settings, meters
        self.child: Child = self._worker()
        self.spare: Child | None = None
        self._jobs: list[_Job] = []
        self._loading: set[asyncio.Future] = set()
        self._recent: list[Path] = []  # runs of the latest messages, at most as many as are kept open
        self._opened: tuple | None = None  # worker, its restarts, and the runs that it has open to stand by
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._tasks = [self._loop.create_task(self._work()), self._loop.create_task(self._stand_by())]

    @property
    def waiting(self) -> int:
        """Number of waiting messages."""
        return len(self._jobs)

    @property
    def ready(self) -> bool:
        """Whether a worker runs and no run is being loaded in advance."""
        return not self._loading and any(child.alive for child in self.children)

    @property
    def children(self) -> list[Child]:
        """The worker, and the one that stands by if there is one."""
        return [child for child in (self.child, self.spare) if child]

    async def predict(self, runs: tuple[Run, ...], image: Image) -> list[np.ndarray | str]:
        """Predict one image with several runs.

        Returns:
            For each run its (classes,) probabilities, or the reason why there are none.

        Raises:
            Problem: 422 the image crashes the worker, 503 the queue is full.
        """
        return (await self._ask(Predict(tuple(run.path for run in runs), (image,))))[0]

    async def heatmap(self, run: Run, image: Image, method: str = "") -> tuple[np.ndarray, np.ndarray]:
        """Compute a heatmap of one image; "" is the method of the run's configuration.

        Returns:
            (size, size) map in 0..1 for the predicted class, and (classes,) probabilities.

        Raises:
            Problem: 422 the method does not fit the model or the image, 503 the queue is full.
        """
        answer = await self._ask(Explain(run.path, image, method))
        if isinstance(answer, str):
            raise Problem(422, "No heatmap", answer)
        return answer

    def heatmap_of_file(self, run: Run, path: Path, method: str = "") -> tuple[np.ndarray, np.ndarray]:
        """Compute a heatmap of an image file, from a thread outside the event loop.

        Raises:
            Problem: as `heatmap`; 404 the image is not available, 503 too slow.
        """
        answer = asyncio.run_coroutine_threadsafe(self.heatmap(run, _load(path), method), self._loop)
        try:
            return answer.result(self._settings.deadline)
        except TimeoutError:
            answer.cancel()
            raise Problem(503, "Too slow", "The model worker is busy. Try again.", RETRY) from None

    def warm(self, runs: list[Run]) -> None:
        """Load runs while the queue is otherwise empty."""
        for run in runs:
            job = _Job(Warm(run.path))
            self._jobs.append(job)
            self._loading.add(job.answer)
            job.answer.add_done_callback(self._loaded)
        self._wake.set()

    def _loaded(self, answer: asyncio.Future) -> None:
        self._loading.discard(answer)
        if not answer.cancelled():
            answer.exception()  # it was logged

    async def close(self) -> None:
        """Stop the workers."""
        for task in self._tasks:
            task.cancel()
        for child in self.children:
            await asyncio.to_thread(child.close)

    def _worker(self) -> Child:
        most, memory, export = self._settings.models, self._settings.memory_mb, self._settings.export
        return Child("model worker", model_worker.prepare, most, memory, export)

    async def _stand_by(self) -> None:
        """Keep the workers alive, and the runs of the latest messages open in the one that stands by."""
        failed: Path | None = None
        while True:
            await asyncio.sleep(QUIET)
            self._take_over(self.child)
            if self._loading or self.stands_by:
                continue
            if self.spare is None:
                if self._jobs or not _enough_memory(self.child.memory()):
                    continue
                self.spare = self._worker()
            spare, recent = self.spare, list(self._recent)
            for run in recent:
                try:
                    await asyncio.to_thread(spare.call, Warm(run), PATIENCE)
                except Exception as error:
                    _log.warning("The model worker that stands by could not open %s: %s", run, error)
                    if run == failed:  # not by chance
                        self._recent = [each for each in self._recent if each != run]
                    failed = run
                    break
            else:
                self._opened = spare, spare.restarts, frozenset(recent)

    @property
    def stands_by(self) -> bool:
        """Whether a second worker has the runs of the latest messages open."""
        spare = self.spare
        return bool(spare and spare.alive) and self._opened == (spare, spare.restarts, frozenset(self._recent))

    def _take_over(self, worker: Child, died: bool = False) -> None:
        """Let the worker that stands by answer if the other one died; without one, the runs are opened again."""
        if worker is not self.child or (worker.alive and not died):
            return
        if self.spare:
            self.child, self.spare = self.spare, self.child
        elif not self._loading:
            self.warm([Run(path) for path in self._recent])

    async def _ask(self, message: Predict | Explain) -> Any:
        asked = sum(not isinstance(job.message, Warm) for job in self._jobs)
        if asked >= self._settings.waiting * self._settings.images:
            raise busy("requests for the models", RETRY)
        job = _Job(message)
        self._jobs.append(job)
        self._wake.set()
        try:
            return await job.answer
        finally:
            if job in self._jobs:  # the client has disconnected
                self._jobs.remove(job)

    async def _work(self) -> None:
        while True:
            while not self._jobs:
                self._wake.clear()
                await self._wake.wait()
            batch = self._next()
            try:
                await self._answer(batch)
            except Exception:  # no request may wait for ever
                _log.exception("The model worker failed")
                for job in batch:
                    _fail(job, Problem(500, "Internal error", "The models failed; see the server's log."))

    def _next(self) -> list[_Job]:
        """Take the next message, with all predictions of the same runs."""
        order = (Predict, Explain, Warm)
        first = min(self._jobs, key=lambda job: order.index(type(job.message)))
        batch = [first]
        if isinstance(first.message, Predict):
            batch = [j for j in self._jobs if isinstance(j.message, Predict) and j.message.runs == first.message.runs]
        batch = batch[:BATCH]
        for job in batch:
            self._jobs.remove(job)
        return batch

    async def _answer(self, batch: list[_Job]) -> None:
        first = batch[0].message
        message = first
        if isinstance(first, Predict):
            self._meters.batches.observe(len(batch))
            message = Predict(first.runs, tuple(image for job in batch for image in job.message.images))
        used = first.runs if isinstance(first, Predict) else (first.run,)
        self._recent = list(dict.fromkeys((*used, *self._recent)))[: self._settings.models]
        self._take_over(self.child)
        worker = self.child
        try:
            answer = await asyncio.to_thread(worker.call, message, PATIENCE)
        except Died as error:
            _log.error("The model worker was restarted: %s", error)
            self._take_over(worker, died=True)
            if not isinstance(error, Late) and (len(batch) > 1 or not batch[0].again):
                # Any of them may have crashed it, or none: try each once alone.
                for job in [each for each in batch if not each.answer.done()]:
                    job.again = True
                    await self._answer([job])
                return
            slow = Problem(503, "Too slow", "The models took too long. Ask fewer of them.", RETRY)
            poison = Problem(422, "Not usable", "The models could not process this image.")
            for job in batch:
                _fail(job, slow if isinstance(error, Late) else poison)
            return
        for k, job in enumerate(batch):
            if not job.answer.done():
                job.answer.set_result([answer[k]] if isinstance(first, Predict) else answer)


def _enough_memory(worker: int) -> bool:
    """Return whether as much memory is free as two workers take, of `worker` bytes each."""
    import psutil

    return psutil.virtual_memory().available > 2 * worker


def _fail(job: _Job, problem: Problem) -> None:
    if not job.answer.done():
        job.answer.set_exception(problem)


def _load(path: Path) -> Image:
    """Return an image file for the worker: the bytes of a plain JPEG or PNG, else its pixels.

    Raises:
        Problem: 404, it is not available.
    """
    from data.datasets.image_decoder import BadImage, decode

    try:
        content = path.read_bytes()
        picture = decode(content)
    except (OSError, BadImage):
        raise Problem(404, "No image", "This image is not available on the server.") from None
    return np.asarray(picture.image) if picture.changes else content
