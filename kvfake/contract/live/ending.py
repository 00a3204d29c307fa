"""Ctrl-C and SIGTERM, for a command that has something to put away before it ends.

Law: signals only; what is put away is the command's. A signal waits, but where the command lets it come.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from kvfake.cli.running import BY_SIGNAL, ENDING


class Ended(BaseException):
    """A signal came, and was let come."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = BY_SIGNAL + number


class Ending:
    """While it is entered, the first signal raises `Ended` where signals may come, and waits where they may not; once it was
    raised, no other is. A signal that this process ignores stays ignored.
    """

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._number: int | None = None
        self._may_come = False

    def __enter__(self) -> Ending:
        if threading.current_thread() is threading.main_thread():  # nowhere else is a handler taken, or called
            for number in ENDING:
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._come)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _come(self, number: int, frame: FrameType | None) -> None:
        if self._number is None:
            self._number = number
        self._let_come()

    def _let_come(self) -> None:
        if self._may_come and self._number is not None:
            self._may_come = False
            raise Ended(self._number)

    @contextmanager
    def coming(self) -> Iterator[None]:
        """In this block signals may come; so may one that waited for it."""
        self._may_come = True
        self._let_come()
        try:
            yield
        finally:
            self._may_come = False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """In this block, inside `coming`, they wait for its end."""
        self._may_come = False
        yield
        self._may_come = True
        self._let_come()


@contextmanager
def sigterm_calls(call: Callable[[int], object]) -> Iterator[None]:
    """In this block SIGTERM calls that, unless somebody else has asked for it, or this is not the main thread."""
    is_ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if is_ours:
        signal.signal(signal.SIGTERM, lambda number, frame: call(number))
    try:
        yield
    finally:
        if is_ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
