"""How a sweep is followed: one table on a terminal, one line for every change in a pipe."""

from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from utils.console import console, say
from utils.tables.table import percent
from utils.text import MISSING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from models.engine.sweep.plan import Job

ROWS = 15  # jobs of the table on a terminal: those that run first, then what failed, then the latest


class Board:
    """The table of a sweep's jobs."""

    def __init__(self, jobs: "Sequence[Job]") -> None:
        self._jobs = jobs
        self._latest: dict[str, Job] = {}  # in the order in which they changed
        self._said: dict[str, str] = {}
        self._live = None

    @contextmanager
    def shown(self) -> "Iterator[None]":
        """Keep the table on the terminal while the block runs."""
        if not console.is_terminal:
            yield
            return
        from rich.live import Live

        with Live(self._table(), console=console, refresh_per_second=4) as self._live:
            yield
            self._live.update(self._table())

    def changed(self, job: "Job") -> None:
        """Show a job as it is now."""
        self._latest.pop(job.spec.key, None)
        self._latest[job.spec.key] = job
        if self._live:
            self._live.update(self._table())
        elif self._said.get(job.spec.key) != (line := self._line(job)):
            self._said[job.spec.key] = line
            say(line)

    def summary(self) -> str:
        """Return how many jobs are in each state."""
        counted = Counter(job.state for job in self._jobs)
        return ", ".join(f"{count:,} {state}" for state, count in counted.items())

    def _line(self, job: "Job") -> str:
        epoch = f", epoch {job.epoch}/{job.epochs}" if job.epoch else ""
        accuracy = f", {percent(job.accuracy)} %" if job.accuracy is not None else ""
        return f"{job.spec.label}: {job.state}{epoch}{accuracy}" + (f": {job.reason}" if job.reason else "")

    def _table(self) -> "Table":
        from rich.table import Table
        from rich.text import Text

        from models.engine.sweep.plan import FAILED, RUNNING

        rank = {RUNNING: 0, FAILED: 1}
        newest = list(reversed(self._latest.values()))
        shown = sorted(newest, key=lambda job: rank.get(job.state, 2))[:ROWS]
        made = Table(header_style="bold", caption=Text(self.summary()))
        for heading, side in (("job", "left"), ("state", "left"), ("epoch", "right"), ("accuracy %", "right")):
            made.add_column(heading, justify=side)
        for job in shown:
            epoch = f"{job.epoch}/{job.epochs}" if job.epoch else MISSING
            made.add_row(*map(Text, (job.spec.label, job.state, epoch, percent(job.accuracy))))
        return made
