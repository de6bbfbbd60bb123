"""Repeated timing of a call, with warm-up."""

import math
from collections.abc import Callable
from time import perf_counter

WARMUP = 10
ITERATIONS = 40


def repeat(call: Callable[[], object], warmup: int = WARMUP, iterations: int = ITERATIONS) -> list[float]:
    """Return the seconds of each timed call, sorted, after `warmup` untimed calls."""
    for _ in range(warmup):
        call()
    seconds = []
    for _ in range(iterations):
        start = perf_counter()
        call()
        seconds.append(perf_counter() - start)
    return sorted(seconds)


def percentile(ordered: list[float], share: float) -> float:
    """Return the nearest-rank percentile of sorted values; `share` in 0..1."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
