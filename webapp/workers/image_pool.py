"""Pool of decoder processes in the server: from uploaded bytes to pixels, with limits on memory and time."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from webapp.http.memory_limits import PixelMemory
from webapp.http.multipart_uploads import Upload
from webapp.http.problem_responses import Problem
from webapp.settings import Settings
from webapp.workers.child_process import Child, Died, Late
from webapp.workers.image_worker import Refused, Seen, prepare

_log = logging.getLogger(__name__)


class Decoders:
    """The decoder processes. Each decodes one image at a time; further images wait."""

    def __init__(self, settings: Settings, memory: PixelMemory) -> None:
        self._settings, self._memory = settings, memory
        limits = settings.decoder_mb, settings.image_pixels, settings.decode_seconds
        self.children = [Child(f"decoder-{k}", prepare, *limits) for k in range(settings.decoders)]
        self._idle: asyncio.Queue[Child] = asyncio.Queue()
        for child in self.children:
            self._idle.put_nowait(child)

    @asynccontextmanager
    async def look(self, upload: Upload, show: bool, keep: bool) -> AsyncIterator[Seen]:
        """Decode one upload; its pixels count against the memory budget until the block ends.

        Args:
            upload: the file.
            show: also make the preview and the outline of the nuclei for the page.
            keep: also make a PNG to store.

        Raises:
            Problem: 413 too many pixels, 415 no accepted format, 422 an image that cannot be used.
        """
        child = await self._idle.get()
        call = asyncio.ensure_future(asyncio.to_thread(self._call, child, (upload.content, show, keep)))
        call.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            seen = await asyncio.shield(call)
        except asyncio.CancelledError:
            call.add_done_callback(lambda _: self._idle.put_nowait(child))  # free again only after its answer
            raise
        except Exception as error:
            self._idle.put_nowait(child)
            raise self._problem(upload, error) from None
        held = seen.width * seen.height * 3 + len(seen.kept)
        try:
            await self._memory.take(held)
        finally:
            self._idle.put_nowait(child)
        try:
            yield seen
        finally:
            self._memory.give(held)

    def _problem(self, upload: Upload, error: Exception) -> Problem:
        if isinstance(error, Refused):
            return Problem(error.status, "Not usable", f"{upload.name}: {error.detail}")
        if isinstance(error, Late):
            seconds = f"{self._settings.decode_seconds:.0f} seconds"
            return Problem(422, "Not usable", f"{upload.name}: decoding took longer than {seconds}.")
        _log.warning("A decoder failed: %r", error)  # any other error is caused by the file
        return Problem(422, "Not usable", f"{upload.name}: this file cannot be decoded.")

    def _call(self, child: Child, message: tuple[bytes, bool, bool]) -> Seen:
        try:
            return child.call(message, self._settings.decode_seconds)
        except Late:
            raise
        except Died:  # perhaps not because of this file: try once in a new process
            return child.call(message, self._settings.decode_seconds)

    def close(self) -> None:
        """Stop the processes."""
        for child in self.children:
            child.close()
