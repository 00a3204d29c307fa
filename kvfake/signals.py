"""Signals: for a command that serves until one comes, and for a command that must clean up before it ends.

Law: signals only. The commands decide what a signal does.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNAL_EXIT_CODE = 128
"""The exit code of a command that was ended by a signal is this plus the signal's number, as in a shell."""

_CAN_HOLD = hasattr(signal, "pthread_sigmask") and hasattr(signal, "sigwait")
_LOOK_SECONDS = 0.1


def end_signals() -> tuple[int, ...]:
    """The signals that end a command: Ctrl-C sends the first, a supervisor the second, a terminal that is closed the third, unless
    that is ignored, as under ``nohup``.
    """
    hangs_up = hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN  # Windows has none
    return (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hangs_up else []))


def hold_signals(numbers: Collection[int]) -> Collection[int]:
    """From now on these signals wait for `wait_for_signal`, also in threads that are started later, and until the process has
    ended: one that comes late changes no exit code. Returns the previous signal mask. On Windows no signal can wait: it does
    nothing.
    """
    if not _CAN_HOLD:
        return ()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)
    return mask


def wait_for_signal(numbers: Collection[int]) -> int:
    """Wait for one of these signals, which `hold_signals` has held; which one it is. Only on the main thread."""
    if _CAN_HOLD:
        return signal.sigwait(numbers)
    came: list[int] = []
    for number in numbers:
        signal.signal(number, lambda number, _: came.append(number))
    while not came:
        time.sleep(_LOOK_SECONDS)
    return came[0]


def drop_pending(numbers: Collection[int]) -> None:  # pragma: no cover - in a forked child, of which exec leaves no record
    """Drop those of these signals that wait: the system does so when they are ignored."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
        signal.signal(number, signal.SIG_DFL)


def end_this_process() -> None:
    """Send this process the signal that ends a command. Safe on any thread."""
    os.kill(os.getpid(), signal.SIGTERM)


class Interrupted(BaseException):
    """A signal came in a block of `DeferredSignals.allowed`. ``code`` is the exit code for it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = SIGNAL_EXIT_CODE + number


class DeferredSignals:
    """A context in which the first of `end_signals` raises `Interrupted` inside `allowed`, and waits outside of it. Later signals
    raise nothing. A signal that this process ignores stays ignored.
    """

    def __init__(self) -> None:
        self._handlers: dict[int, Any] = {}  # the previous ones
        self._number: int | None = None
        self._is_allowed = self._is_raised = False

    def __enter__(self) -> DeferredSignals:
        if threading.current_thread() is threading.main_thread():  # Python runs handlers nowhere else
            for number in end_signals():
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._handlers[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._number is None:
            self._number = number
        if self._is_allowed:
            self.check()

    def check(self) -> None:
        """Raises `Interrupted` if a signal waits."""
        if self._number is not None and not self._is_raised:
            self._is_raised = True
            raise Interrupted(self._number)

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """In this block a signal raises `Interrupted`; one that waits raises it at once."""
        self._is_allowed = True
        try:
            self.check()
            yield
        finally:
            self._is_allowed = False


@contextmanager
def sigterm_calls(call: Callable[[int], object]) -> Iterator[None]:
    """In this block SIGTERM calls ``call`` with its number; not outside of the main thread, nor where SIGTERM has a handler
    already.
    """
    is_ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if is_ours:
        signal.signal(signal.SIGTERM, lambda number, frame: call(number))
    try:
        yield
    finally:
        if is_ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
