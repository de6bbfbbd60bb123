"""Limits of the memory for uploads and for decoded images."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from webapp.http.problem_responses import busy


class Budget:
    """Memory budget of all uploads, in bytes; an upload beyond it is refused."""

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0

    @contextmanager
    def share(self) -> "Iterator[Share]":
        """Yield a share of the budget; its bytes are released at the end of the block."""
        share = Share(self)
        try:
            yield share
        finally:
            self.held -= share.taken


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


@dataclass
class Share:
    """Bytes that one request took from the budget."""

    budget: Budget
    taken: int = 0

    def take(self, count: int) -> None:
        """Take `count` bytes.

        Raises:
            Problem: 503, the budget is used up.
        """
        if self.budget.held + count > self.budget.limit:
            raise busy("uploads")
        self.budget.held += count
        self.taken += count
