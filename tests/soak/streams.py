"""Any bytes: streams of requests, structured and mutated, whole and split at random places.

Law: it counts them, in a process for each core; what they are and what must be so stands in tests/support/streams.py.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import count, islice
from multiprocessing import get_context

from tests.soak.table import Row
from tests.support.streams import StreamChecker, streams

STREAMS = 1_000_000
_AT_ONCE = 1_000


def run(minutes: float) -> Iterator[Row]:
    end, processes, done, difference = time.monotonic() + minutes * 60, os.cpu_count() or 1, 0, ""
    seeds = count(time.time_ns())
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        while done < STREAMS and time.monotonic() < end and not difference:
            differences = pool.map(check, islice(seeds, processes * 4))
            difference = next(filter(None, differences), "")
            done += processes * 4 * _AT_ONCE
    yield Row("streams, whole and split", f"{done:,}{difference}", f"{STREAMS:,}, or the time is over; none fails", not difference)


def check(seed: int) -> str:
    """What failed of the streams of that seed, or nothing."""
    checker = StreamChecker()
    for stream, cuts in streams(seed, _AT_ONCE):
        try:
            checker.check(stream, cuts)
        except Exception as failed:  # an AssertionError, or whatever the connection raises
            traceback.print_exc()
            return f"; seed {seed}: {failed!r}"[:120]
    return ""
