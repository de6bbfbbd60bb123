"""State shared by the routes of one server."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import Request

from webapp.http.memory_limits import Budget, PixelMemory
from webapp.http.problem_responses import busy
from webapp.http.prometheus_metrics import Meters
from webapp.runs.catalogue import Catalogue
from webapp.runs.interpretation import Judge
from webapp.settings import Settings
from webapp.workers.image_pool import Decoders
from webapp.workers.model_queue import Inference


class Services:
    """Settings, runs, worker processes and metrics of one server; create it within its event loop."""

    def __init__(self, settings: Settings, meters: Meters) -> None:
        self.settings, self.meters = settings, meters
        self.catalogue, self.judge = Catalogue(settings.root), Judge()
        self.budget, self.pixel_memory = Budget(settings.held_bytes), PixelMemory(settings.pixel_bytes)
        self.inference = Inference(settings, meters)
        self.decoders = Decoders(settings, self.pixel_memory)
        self.busy = 0
        meters.watch("waiting", "Predictions and heatmaps waiting for the models.", lambda: self.inference.waiting)
        meters.watch("busy", "Uploads being processed.", lambda: self.busy)
        meters.watch("upload_bytes", "Bytes of uploads in memory.", lambda: self.budget.held)
        meters.watch("worker_bytes", "Memory of the model worker.", lambda: self.inference.child.memory())
        children = self.decoders.children
        meters.watch("decoder_bytes", "Memory of all image decoders.", lambda: sum(c.memory() for c in children))
        meters.watch(
            "process_restarts",
            "Worker processes that were restarted.",
            lambda: sum(c.restarts for c in (*children, self.inference.child)),
        )

    @contextmanager
    def place(self) -> Iterator[None]:
        """Occupy one of the slots for uploads.

        Raises:
            Problem: 503, all slots are in use.
        """
        if self.busy >= self.settings.waiting:
            raise busy("requests")
        self.busy += 1
        try:
            yield
        finally:
            self.busy -= 1

    def warm(self) -> asyncio.Task:
        """Read the runs and load the first models in the background."""

        async def go() -> None:
            offered = await asyncio.to_thread(self.catalogue.offered)
            self.inference.warm([entry.run for entry in offered[: self.settings.models]])
            await asyncio.to_thread(self.catalogue.leaderboard)

        return asyncio.create_task(go())

    async def close(self) -> None:
        """Stop all worker processes."""
        await self.inference.close()
        await asyncio.to_thread(self.decoders.close)


def of(request: Request) -> Services:
    """Return the services of the server of a request."""
    return request.app.state.services
