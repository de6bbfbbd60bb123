"""Progress callbacks of long computations."""

from collections.abc import Callable

Progress = Callable[[int, int], None]  # called with the finished and the total number of steps


def no_progress(done: int, total: int) -> None:
    """Report nothing: the default of parameters of type Progress."""
