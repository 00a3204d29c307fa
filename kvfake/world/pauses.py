"""Pauses in work that takes long, so that other threads go first: one of them serves every client.

Law: it knows time and threads, and nothing of the work. Python hands its interpreter over every 5 ms, and a thread that waits for a
socket asks for it several times a request; a thread that sleeps hands it over at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kvfake.fork import new_lock
from kvfake.machine import machine_seconds

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


class SharedReading:
    """What threads share that read from other servers. Reading computes, so only the one that has the turn goes on, and lets it go
    while it waits for bytes: many that could all go on would leave the loop hardly any of the interpreter.

    ``held_bytes`` is what all of them hold together; whoever changes it has the turn.
    """

    __slots__ = ("_turn", "held_bytes")

    def __init__(self) -> None:
        self._turn, self.held_bytes = new_lock(), 0

    def __enter__(self) -> SharedReading:
        self._turn.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._turn.release()

    @contextmanager
    def without_turn(self) -> Iterator[None]:
        """For what waits, in a thread that has the turn."""
        self._turn.release()
        try:
            yield
        finally:
            self._turn.acquire()
