"""From requests to the model worker: a queue in which equal questions become one batch."""

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from utils.runs.run_folder import Run
from webapp.http.problem_responses import Problem
from webapp.http.prometheus_metrics import Meters
from webapp.settings import Settings
from webapp.workers import model_worker
from webapp.workers.child_process import Child, Died, Late
from webapp.workers.model_worker import Explain, Image, Predict, Warm

BATCH = 32  # images that go to the worker at once
PATIENCE = 300  # seconds for one message; opening a large model and its first heatmap take a while
RETRY = 3  # seconds
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Job:
    """One question, and the future that gets its answer."""

    message: Predict | Explain | Warm
    again: bool = False  # whether the worker died of it, or beside it, before
    answer: asyncio.Future = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Inference:
    """The model worker and the questions that wait for it; predictions go before heatmaps, and both before warming."""

    def __init__(self, settings: Settings, meters: Meters) -> None:
        self._settings, self._meters = settings, meters
        self.child = Child("model worker", model_worker.prepare, settings.models, settings.memory_mb, settings.export)
        self._jobs: list[_Job] = []
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._work())

    @property
    def waiting(self) -> int:
        """Questions that wait."""
        return len(self._jobs)

    async def predict(self, runs: tuple[Run, ...], image: Image) -> list[np.ndarray | str]:
        """Ask runs about one image.

        Returns:
            For each run its (classes,) probabilities, or in words why there are none.

        Raises:
            Problem: 422 the image ends the worker, 503 too much waits.
        """
        return (await self._ask(Predict(tuple(run.path for run in runs), (image,))))[0]

    async def heatmap(self, run: Run, image: Image, method: str = "") -> tuple[np.ndarray, np.ndarray]:
        """Ask a run where it looked; "" is the method of its configuration.

        Returns:
            (size, size) map in 0..1 for the class it says, and (classes,) probabilities.

        Raises:
            Problem: 422 the method does not fit or the image cannot be explained, 503 too much waits.
        """
        answer = await self._ask(Explain(run.path, image, method))
        if isinstance(answer, str):
            raise Problem(422, "No heatmap", answer)
        return answer

    def heatmap_of_file(self, run: Run, path: Path, method: str = "") -> tuple[np.ndarray, np.ndarray]:
        """Return what `heatmap` says of an image file of a dataset, from a thread that may wait.

        Raises:
            Problem: as `heatmap`; 404 the image is not at hand, 503 it took too long.
        """
        answer = asyncio.run_coroutine_threadsafe(self.heatmap(run, _load(path), method), self._loop)
        try:
            return answer.result(self._settings.deadline)
        except TimeoutError:
            answer.cancel()
            raise Problem(503, "Too slow", "The model worker is busy. Try again.", RETRY) from None

    def warm(self, runs: list[Run]) -> None:
        """Open runs when nothing else is to be done."""
        for run in runs:
            job = _Job(Warm(run.path))
            self._jobs.append(job)
            job.answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._wake.set()

    async def close(self) -> None:
        """End the worker."""
        self._task.cancel()
        await asyncio.to_thread(self.child.close)

    async def _ask(self, message: Predict | Explain) -> Any:
        asked = sum(not isinstance(job.message, Warm) for job in self._jobs)
        if asked >= self._settings.waiting * self._settings.images:
            raise Problem(503, "Busy", "Too many questions wait for the models. Try again in a moment.", RETRY)
        job = _Job(message)
        self._jobs.append(job)
        self._wake.set()
        try:
            return await job.answer
        finally:
            if job in self._jobs:  # whoever asked has gone
                self._jobs.remove(job)

    async def _work(self) -> None:
        while True:
            while not self._jobs:
                self._wake.clear()
                await self._wake.wait()
            batch = self._next()
            try:
                await self._answer(batch)
            except Exception:  # a defect must not leave everybody waiting for ever
                _log.exception("The model worker failed")
                for job in batch:
                    _fail(
                        job, Problem(500, "Internal error", "The models made a mistake; the server's log says which.")
                    )

    def _next(self) -> list[_Job]:
        """Take the next question, with all that ask the same runs."""
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
        try:
            answer = await asyncio.to_thread(self.child.call, message, PATIENCE)
        except Died as error:
            _log.error("The model worker was started anew: %s", error)
            if not isinstance(error, Late) and (len(batch) > 1 or not batch[0].again):
                # One of them may have ended it, or none: each is asked once more by itself.
                for job in [each for each in batch if not each.answer.done()]:
                    job.again = True
                    await self._answer([job])
                return
            slow = Problem(503, "Too slow", "The models took too long. Ask fewer of them.", RETRY)
            poison = Problem(422, "Not usable", "The models could not work on this image.")
            for job in batch:
                _fail(job, slow if isinstance(error, Late) else poison)
            return
        for k, job in enumerate(batch):
            if not job.answer.done():
                job.answer.set_result([answer[k]] if isinstance(first, Predict) else answer)


def _fail(job: _Job, problem: Problem) -> None:
    if not job.answer.done():
        job.answer.set_exception(problem)


def _load(path: Path) -> Image:
    """Return an image file of a dataset as the worker takes it: a plain JPEG or PNG as it is, else its pixels.

    Raises:
        Problem: 404, it is not at hand.
    """
    from data.datasets.image_decoder import BadImage, decode

    try:
        content = path.read_bytes()
        picture = decode(content)
    except (OSError, BadImage):
        raise Problem(404, "No image", "This image is not at hand on the server.") from None
    return np.asarray(picture.image) if picture.changes else content
