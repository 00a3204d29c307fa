"""Which sockets have something to read, or room to write, now.

Law: file descriptors and those who wait for them, on the system's own call: epoll, or poll where there is none. It reads nothing.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any, Generic, TypeVar

READ, WRITE = select.POLLIN, select.POLLOUT  # epoll's are the same numbers

_MILLISECONDS = 1000  # in which poll counts; epoll counts seconds
_BEST: Callable[[], Any] = getattr(select, "epoll", select.poll)

Waiter = TypeVar("Waiter")


class Readiness(Generic[Waiter]):
    """Who waits for which file descriptor. The standard library's ``selectors`` does the same, and takes twice the time."""

    def __init__(self, poller: Callable[[], Any] = _BEST) -> None:
        self._poller = poller()
        self._unit = _MILLISECONDS if poller is select.poll else 1
        self._waiters: dict[int, Waiter] = {}

    def watch(self, fd: int, mask: int, waiter: Waiter) -> None:
        """From now on the waiter waits for one of `READ` and `WRITE`, or for nothing."""
        if not mask:
            del self._waiters[fd]
            self._poller.unregister(fd)
        elif fd in self._waiters:
            self._poller.modify(fd, mask)
        else:
            self._poller.register(fd, mask)
            self._waiters[fd] = waiter

    def wait(self, seconds: float | None) -> list[Waiter]:
        """Those whose time has come, after so many seconds at most; also those whose other side is gone."""
        waiters = self._waiters
        return [waiters[fd] for fd, _ in self._poller.poll(None if seconds is None else seconds * self._unit)]

    def close(self) -> None:
        self._waiters.clear()
        if self._unit == 1:
            self._poller.close()
