"""Any bytes: streams of requests, structured and mutated, whole and split at random places.

Law: it counts them; what they are and what must be so stands in tests/support/streams.py.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec

from tests.soak.table import Row

STREAMS = 1_000_000
_AT_ONCE = 2_000


def run(minutes: float) -> Iterator[Row]:
    if find_spec("tests.support.streams") is None:
        yield Row("streams", "no tests/support/streams.py here", "none fails", True)
        return
    support = import_module("tests.support.streams")
    checker = support.StreamChecker()
    end, seed, count, difference = time.monotonic() + minutes * 60, time.time_ns(), 0, ""
    while count < STREAMS and time.monotonic() < end and not difference:
        for stream, cuts in support.streams(seed + count, _AT_ONCE):
            try:
                checker.check(stream, cuts)
            except Exception as failed:  # an AssertionError, or whatever the connection raises
                traceback.print_exc()
                difference = f"; seed {seed + count}: {failed!r}"[:120]
        count += _AT_ONCE
    yield Row("streams, whole and split", f"{count:,}{difference}", f"{STREAMS:,}, or the time is over; none fails", not difference)
