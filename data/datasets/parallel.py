"""Measure many images in threads, in order, with progress."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from utils.system.environment import usable_cores
from utils.system.progress import Progress, no_progress

Item, Result = TypeVar("Item"), TypeVar("Result")


def map_threads(
    function: Callable[[Item], Result], items: Sequence[Item], progress: Progress = no_progress
) -> list[Result]:
    """Apply a function to every item, one thread per core: decoders, OpenCV and NumPy release the GIL.

    BLAS gets one thread per item: with more, small matrix products wait for each other.
    """
    from threadpoolctl import threadpool_limits

    results = []
    with threadpool_limits(1), ThreadPoolExecutor(usable_cores()) as pool:
        for result in pool.map(function, items):
            results.append(result)
            progress(len(results), len(items))
    return results
