"""Limit of the memory for decoded images."""

import asyncio


class PixelMemory:
    """Memory budget of decoded images; an image beyond it waits, unless it is the only one."""

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0
        self._freed = asyncio.Condition()
        self._telling: set[asyncio.Task] = set()

    async def take(self, count: int) -> None:
        """Wait until `count` bytes are free, and take them."""
        async with self._freed:
            await self._freed.wait_for(lambda: not self.held or self.held + count <= self.limit)
            self.held += count

    def give(self, count: int) -> None:
        """Release `count` bytes."""
        self.held -= count
        task = asyncio.ensure_future(self._tell())  # not awaited: the caller may be cancelled at this moment
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self) -> None:
        async with self._freed:
            self._freed.notify_all()
