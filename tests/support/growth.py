"""How the cost of something grows with its size: twice the input must not cost more than 2.5 times, in time and in memory.

``make(size)`` makes the input, outside of what is measured. ``run(input)`` is measured, and what it returns is dropped. Choose a
size with which ``run`` takes some milliseconds: what is below `_MIN_SECONDS` and `_MIN_BYTES` counts as that much, because a
machine's noise is larger. ``make`` is called again for each measurement, so ``run`` may use its input up.

Time is CPU time of this process, the least of several measurements, because a loaded machine only ever adds to it. Memory is the
peak of what Python allocated during ``run``. A ratio that looks too large is measured again; code that really grows with the
square is too slow each time.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable
from typing import TypeVar

Input = TypeVar("Input")

MAX_RATIO = 2.5
_TRIES = 10  # of which most are needed only beside other programs
_MEASUREMENTS = 3  # of the time, in each try
_MIN_SECONDS = 0.001
_MIN_BYTES = 65_536


def growth(make: Callable[[int], Input], run: Callable[[Input], object], size: int) -> tuple[float, float]:
    """How many times the time and the memory of ``size`` twice as much takes: the best of several tries for either."""
    time_ratio = memory_ratio = float("inf")
    for _ in range(_TRIES):
        if time_ratio > MAX_RATIO:
            time_ratio = min(time_ratio, _seconds(make, run, 2 * size) / _seconds(make, run, size))
        if memory_ratio > MAX_RATIO:
            memory_ratio = min(memory_ratio, _peak_bytes(make, run, 2 * size) / _peak_bytes(make, run, size))
    return time_ratio, memory_ratio


def assert_linear(make: Callable[[int], Input], run: Callable[[Input], object], size: int) -> None:
    """Fail if twice the size costs more than `MAX_RATIO` times the time or the memory."""
    time_ratio, memory_ratio = growth(make, run, size)
    assert time_ratio <= MAX_RATIO, f"twice {size} takes {time_ratio:.1f} times the time"
    assert memory_ratio <= MAX_RATIO, f"twice {size} takes {memory_ratio:.1f} times the memory"


def _seconds(make: Callable[[int], Input], run: Callable[[Input], object], size: int) -> float:
    """The CPU time of ``run``, without the garbage collector, which looks at every object of the test run."""
    measured = []
    for _ in range(_MEASUREMENTS):
        given = make(size)
        gc.disable()
        try:
            began = time.process_time()
            run(given)
            measured.append(time.process_time() - began)
        finally:
            gc.enable()
    return max(_MIN_SECONDS, min(measured))


def _peak_bytes(make: Callable[[int], Input], run: Callable[[Input], object], size: int) -> int:
    """The most that was allocated at once during ``run``, beyond its input. What it returns counts too."""
    given = make(size)
    tracemalloc.start()
    try:
        returned = run(given)
        peak = tracemalloc.get_traced_memory()[1]
        del returned
    finally:
        tracemalloc.stop()
    return max(_MIN_BYTES, peak)
