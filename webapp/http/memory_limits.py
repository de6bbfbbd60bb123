"""How much memory uploads and their pixels may take at one time."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from webapp.http.problem_responses import Problem


class Budget:
    """Bytes of all uploads that are in memory at one time."""

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0

    @contextmanager
    def share(self) -> "Iterator[Share]":
        """Yield a share to take bytes from; all of them come back when the block ends."""
        share = Share(self)
        try:
            yield share
        finally:
            self.held -= share.taken


class Room:
    """Memory for decoded images: whoever finds none waits; one image alone always finds it."""

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0
        self._freed = asyncio.Condition()
        self._telling: set[asyncio.Task] = set()

    async def take(self, count: int) -> None:
        """Wait until there is room for so many bytes, and take it."""
        async with self._freed:
            await self._freed.wait_for(lambda: not self.held or self.held + count <= self.limit)
            self.held += count

    def give(self, count: int) -> None:
        """Give room back."""
        self.held -= count
        task = asyncio.ensure_future(self._tell())  # not awaited: whoever gives may be cancelled at this moment
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self) -> None:
        async with self._freed:
            self._freed.notify_all()


@dataclass
class Share:
    """What one request holds of the budget."""

    budget: Budget
    taken: int = 0

    def take(self, count: int) -> None:
        """Take bytes.

        Raises:
            Problem: 503, too much is being uploaded at once.
        """
        if self.budget.held + count > self.budget.limit:
            raise Problem(503, "Busy", "Too many uploads at once. Try again in a moment.", retry_after=2)
        self.budget.held += count
        self.taken += count
