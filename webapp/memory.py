"""How much memory uploads and their pixels may take at one time."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from webapp.problems import Problem


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

    @asynccontextmanager
    async def hold(self, count: int) -> AsyncIterator[None]:
        """Wait until there is room for so many bytes, and hold it while the block lasts."""
        async with self._freed:
            await self._freed.wait_for(lambda: not self.held or self.held + count <= self.limit)
            self.held += count
        try:
            yield
        finally:
            self.held -= count
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
