"""The decoder processes, as the server sees them: uploaded bytes to pixels, with little memory and little time."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from webapp.http.memory_limits import Room
from webapp.http.multipart_uploads import Upload
from webapp.http.problem_responses import Problem
from webapp.settings import Settings
from webapp.workers.child_process import Child, Died, Late
from webapp.workers.image_worker import Refused, Seen, prepare

_log = logging.getLogger(__name__)


class Decoders:
    """The decoder processes. Each takes one image at a time; the others wait for a free one."""

    def __init__(self, settings: Settings, room: Room) -> None:
        self._settings, self._room = settings, room
        limits = settings.decoder_mb, settings.image_pixels, settings.decode_seconds
        self.children = [Child(f"decoder-{k}", prepare, *limits) for k in range(settings.decoders)]
        self._idle: asyncio.Queue[Child] = asyncio.Queue()
        for child in self.children:
            self._idle.put_nowait(child)

    @asynccontextmanager
    async def look(self, upload: Upload, show: bool, keep: bool) -> AsyncIterator[Seen]:
        """Decode one upload; its pixels count as held while the block lasts, and nobody decodes without room.

        Args:
            upload: the file.
            show: also make the picture and the outline for the page.
            keep: also make a PNG to keep.

        Raises:
            Problem: 413 too many pixels, 415 no image of a known kind, 422 an image that cannot be used.
        """
        child = await self._idle.get()
        call = asyncio.ensure_future(asyncio.to_thread(self._call, child, (upload.content, show, keep)))
        call.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            seen = await asyncio.shield(call)
        except asyncio.CancelledError:
            call.add_done_callback(lambda _: self._idle.put_nowait(child))  # it is free only when it has answered
            raise
        except Exception as error:
            self._idle.put_nowait(child)
            raise self._problem(upload, error) from None
        held = seen.width * seen.height * 3 + len(seen.kept)
        try:
            await self._room.take(held)
        finally:
            self._idle.put_nowait(child)
        try:
            yield seen
        finally:
            self._room.give(held)

    def _problem(self, upload: Upload, error: Exception) -> Problem:
        if isinstance(error, Refused):
            return Problem(error.status, "Not usable", f"{upload.name}: {error.detail}")
        if isinstance(error, Late):
            seconds = f"{self._settings.decode_seconds:.0f} seconds"
            return Problem(422, "Not usable", f"{upload.name}: decoding took longer than {seconds}.")
        _log.warning("A decoder failed: %r", error)  # whatever it may fail with, the file is to blame
        return Problem(422, "Not usable", f"{upload.name}: this file cannot be decoded.")

    def _call(self, child: Child, message: tuple[bytes, bool, bool]) -> Seen:
        try:
            return child.call(message, self._settings.decode_seconds)
        except Late:
            raise
        except Died:  # perhaps for another reason than this file: a new process may do better
            return child.call(message, self._settings.decode_seconds)

    def close(self) -> None:
        """End the processes."""
        for child in self.children:
            child.close()
