"""What is to be done later, by real time.

Law: it knows the machine's monotonic clock, and nothing of a world's. One thread uses it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from kvfake.world.clock import machine_seconds


class Timers:
    """Calls that wait for their time. ``moment`` is when `run` last looked at the clock."""

    _now = staticmethod(machine_seconds)

    def __init__(self) -> None:
        self.moment = 0.0
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._made = 0  # tells two of the same time apart

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        self._made += 1
        heapq.heappush(self._waiting, (self._now() + seconds, self._made, call))

    def run(self) -> float | None:
        """Do what is due; the seconds until the next, or ``None`` where nothing waits."""
        self.moment = self._now()
        while self._waiting and self._waiting[0][0] <= self.moment:
            heapq.heappop(self._waiting)[2]()
        return self._waiting[0][0] - self.moment if self._waiting else None
