"""Pauses in work that takes long, so that other threads go first: one of them serves every client.

Law: it knows time, and nothing else. Python hands its interpreter over every 5 ms, and a thread that waits for a socket asks for it
several times a request; a thread that sleeps hands it over at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from kvfake.world.clock import machine_seconds

_WORK_SECONDS = 0.001
_PAUSE_SECONDS = 0.0005


class Pauses:
    """A `kvfake.services.messages.Pause` for one piece of long work: sleeps for a moment whenever the work has run for a while."""

    __slots__ = ("_end",)
    _now = staticmethod(machine_seconds)
    _sleep: Callable[[float], None] = staticmethod(time.sleep)

    def __init__(self) -> None:
        self._end = self._now() + _WORK_SECONDS

    def __call__(self) -> None:
        if self._now() >= self._end:
            self._sleep(_PAUSE_SECONDS)
            self._end = self._now() + _WORK_SECONDS
