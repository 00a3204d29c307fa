"""What time it is: for data, which a test may hold, and for waiting and measuring, which it may not.

Law: the clock for data is read at each call and never remembered, so that freezegun and time-machine move it; the machine's own
cannot be moved.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)

# Not time.monotonic where there is another way: freezegun may have replaced it already. Hold it in a class: freezegun also
# replaces what modules hold.
machine_seconds: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_MONOTONIC) if hasattr(time, "clock_gettime") else time.monotonic
)


class Clock:
    """A world's clock."""

    __slots__ = ()

    def now(self) -> int:
        """Microseconds since 1970, UTC."""
        return (datetime.now(timezone.utc) - EPOCH) // _MICROSECOND
