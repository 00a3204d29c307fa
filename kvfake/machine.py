"""The machine's clocks, for waiting and measuring: nothing moves them.

Law: it knows no other time; the times in data come from `kvfake.world.clock`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

# Not time.monotonic and time.time where there is another way: freezegun may have replaced them already. Users hold the first in a
# class attribute, as freezegun also replaces what modules hold.
machine_seconds: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_MONOTONIC) if hasattr(time, "clock_gettime") else time.monotonic
)
machine_time: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_REALTIME) if hasattr(time, "clock_gettime") else partial(time.time)
)
"""Seconds since 1970, which freezegun does not move."""
