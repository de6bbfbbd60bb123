"""State shared by the routes of one server."""

import asyncio
import time

from fastapi import Request

from webapp.http.client_limits import Budget
from webapp.http.memory_limits import PixelMemory
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
        self.places, self.budget = Budget(settings.waiting, "uploads"), Budget(settings.held_bytes, "uploads")
        self.pixel_memory = PixelMemory(settings.pixel_bytes)
        self.inference = Inference(settings, meters)
        self.decoders = Decoders(settings, self.pixel_memory)
        self._warming: asyncio.Task | None = None
        self._state, self._looked = "", -1.0
        meters.watch("waiting", "Predictions and heatmaps waiting for the models.", lambda: self.inference.waiting)
        meters.watch("busy", "Uploads being processed.", lambda: self.places.held)
        meters.watch("upload_bytes", "Bytes of uploads in memory.", lambda: self.budget.held)
        models, decoders = self.inference, self.decoders.children
        meters.watch("worker_bytes", "Memory of the model workers.", lambda: sum(c.memory() for c in models.children))
        meters.watch("standby", "Whether a second model worker has the models open.", lambda: models.stands_by)
        meters.watch("decoder_bytes", "Memory of all image decoders.", lambda: sum(c.memory() for c in decoders))
        meters.watch(
            "process_restarts",
            "Worker processes that were restarted.",
            lambda: sum(c.restarts for c in (*decoders, *models.children)),
        )

    def warm(self) -> None:
        """Read the runs and load the first models in the background."""

        async def go() -> None:
            offered = await asyncio.to_thread(self.catalogue.offered)
            self.inference.warm([entry.run for entry in offered[: self.settings.models]])
            await asyncio.to_thread(self.catalogue.leaderboard)

        self._warming = asyncio.create_task(go())

    async def unready(self) -> str:
        """Return why the server cannot predict now; "" where it can. The folder is read at most once a second."""
        if self._warming is None or not (self._warming.done() and self.inference.ready):
            return "The models are being loaded."
        if time.monotonic() > self._looked + 1:
            self._looked = time.monotonic()
            self._state = await asyncio.to_thread(self._unready)
        return self._state

    def _unready(self) -> str:
        try:
            any(self.settings.root.iterdir())
        except OSError as error:
            return f"The folder of runs cannot be read: {error.strerror}."
        return "" if self.catalogue.offered() else "There is no finished run with weights yet."

    async def close(self) -> None:
        """Stop all worker processes."""
        if self._warming:
            self._warming.cancel()
        await self.inference.close()
        await asyncio.to_thread(self.decoders.close)


def of(request: Request) -> Services:
    """Return the services of the server of a request."""
    return request.app.state.services
