"""What a loop waits for: file descriptors that are ready, and time.

Law: it knows numbers and calls; nothing of sockets, clients or jobs. Time is the machine's monotonic clock, which no test moves.
"""

from __future__ import annotations

import heapq
import select
import selectors
from collections.abc import Callable
from typing import Any

from kvfake.machine import machine_seconds

READ, WRITE = 1, 4  # as epoll and poll have them


class Selector:
    """What epoll does, in twice the time, on a selector of the standard library: kqueue, poll or select, whichever is there."""

    def __init__(self, kind: Callable[[], selectors.BaseSelector] | None = None) -> None:
        self._selector = (kind or selectors.DefaultSelector)()

    def register(self, fd: int, mask: int) -> None:
        """Raises ``ValueError`` for one that select cannot wait for: it has a bound, of 1,023 or less."""
        self._selector.register(fd, _EVENTS[mask])
        if isinstance(self._selector, selectors.SelectSelector):
            try:
                self._selector.select(0)
            except ValueError:
                self._selector.unregister(fd)
                raise

    def modify(self, fd: int, mask: int) -> None:
        self._selector.modify(fd, _EVENTS[mask])

    def unregister(self, fd: int) -> None:
        self._selector.unregister(fd)

    def poll(self, seconds: float | None) -> list[tuple[int, int]]:
        return [(key.fd, events) for key, events in self._selector.select(seconds)]

    def close(self) -> None:
        self._selector.close()


_EVENTS = {READ: selectors.EVENT_READ, WRITE: selectors.EVENT_WRITE}


class Poller:
    """Waits until file descriptors can be read or written, with epoll, or with what the system has in its place."""

    kind: Callable[[], Any] = staticmethod(getattr(select, "epoll", Selector))

    def __init__(self) -> None:
        self._poller = self.kind()
        self._calls: dict[int, Callable[[], None]] = {}

    def watch(self, fd: int, mask: int, call: Callable[[], None]) -> None:
        """From now on wait for `READ` or `WRITE` of the file descriptor; a mask of 0 ends that. `wait` returns ``call``."""
        if not mask:
            if self._calls.pop(fd, None) is not None:
                self._poller.unregister(fd)
        elif fd in self._calls:
            self._poller.modify(fd, mask)
        else:
            self._poller.register(fd, mask)
            self._calls[fd] = call

    def wait(self, seconds: float | None) -> list[Callable[[], None]]:
        """The calls of the file descriptors that are ready, after so many seconds at most. One whose peer has closed is ready,
        too.
        """
        calls = self._calls
        return [calls[fd] for fd, _ in self._poller.poll(seconds) if fd in calls]

    def close(self) -> None:
        self._calls.clear()
        self._poller.close()


class Timers:
    """Calls at a later time, on one thread. ``moment`` is when `run` last read the clock; ``seconds`` are from there to the next
    call, ``None`` if there is none.
    """

    now = staticmethod(machine_seconds)

    def __init__(self) -> None:
        self.moment = self.now()
        self.seconds: float | None = None
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._added = 0  # orders two of the same time

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Have the call made so many seconds after `moment`."""
        self._added += 1
        heapq.heappush(self._waiting, (self.moment + seconds, self._added, call))
        self.seconds = self._waiting[0][0] - self.moment

    def run(self) -> None:
        """Make the calls that are due."""
        self.moment = self.now()
        while self._waiting and self._waiting[0][0] <= self.moment:
            heapq.heappop(self._waiting)[2]()
        self.seconds = self._waiting[0][0] - self.moment if self._waiting else None
