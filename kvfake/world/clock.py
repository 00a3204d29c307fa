"""What time it is: for data, which a test may hold, and for waiting and measuring, which it may not.

Law: the clock for data is read at each call and never remembered, so that freezegun and time-machine move it, until somebody
sets it; the machine's own cannot be moved.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
FIRST = datetime(1, 1, 1, tzinfo=timezone.utc)
LAST = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)

# Not time.monotonic where there is another way: freezegun may have replaced it already. Hold it in a class: freezegun also
# replaces what modules hold.
machine_seconds: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_MONOTONIC) if hasattr(time, "clock_gettime") else time.monotonic
)


def microseconds(moment: datetime) -> int:
    """Since 1970, UTC."""
    return (moment - EPOCH) // _MICROSECOND


def moment_of(microseconds: int) -> datetime:
    """The moment, UTC."""
    return EPOCH + timedelta(microseconds=microseconds)


class Clock:
    """A world's clock, for the times in its data; waits and delays take real time."""

    __slots__ = ("_frozen", "_shift")

    def __init__(self) -> None:
        self._frozen: int | None = None
        self._shift = 0  # microseconds ahead of the machine's time

    def now(self) -> int:
        """Microseconds since 1970, UTC."""
        if self._frozen is not None:
            return self._frozen
        now = (datetime.now(timezone.utc) - EPOCH) // _MICROSECOND
        return _bounded(now + self._shift) if self._shift else now

    @property
    def is_frozen(self) -> bool:
        return self._frozen is not None

    @property
    def time(self) -> datetime:
        """What time it is."""
        return moment_of(self.now())

    def freeze(self) -> None:
        """Stand still, until `resume`; `move_to` and `shift` move it even so."""
        self._frozen = self.now()

    def move_to(self, moment: datetime | str | float) -> None:
        """Be at that moment: a datetime or its ISO 8601 text (without a zone it is UTC), or seconds since 1970. A clock that is
        not frozen goes on from there. Raises ``ValueError`` outside the years 1 to 9999.
        """
        self._move(microseconds(_read(moment)) - self.now())

    def shift(self, by: timedelta | float) -> None:
        """Go so far ahead, or back: a timedelta, or seconds. Raises ``ValueError`` outside the years 1 to 9999."""
        try:
            span = by if isinstance(by, timedelta) else timedelta(seconds=by)
            _ = self.time + span
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"expected a timedelta or seconds that stay within the years 1 to 9999, got {by!r}") from None
        self._move(span // _MICROSECOND)

    def resume(self) -> None:
        """Be the machine's time again."""
        self._frozen, self._shift = None, 0

    def _move(self, by: int) -> None:
        if self._frozen is not None:
            self._frozen += by
        else:
            self._shift += by

    def state(self) -> tuple[int | None, int]:
        """For `restore`."""
        return self._frozen, self._shift

    def restore(self, state: tuple[int | None, int]) -> None:
        self._frozen, self._shift = state


_FIRST, _LAST = microseconds(FIRST), microseconds(LAST)


def _bounded(moment: int) -> int:
    return min(max(moment, _FIRST), _LAST)


def _read(moment: datetime | str | float) -> datetime:
    expected = "expected a datetime, a text such as 2016-12-31T23:59:59.5Z, or seconds since 1970, within the years 1 to 9999"
    try:
        if isinstance(moment, str):
            text = moment.strip()
            moment = datetime.fromisoformat(_with_six_digits(text[:-1] + "+00:00" if text[-1:] in ("Z", "z") else text))
        if isinstance(moment, datetime):
            return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)
        if isinstance(moment, bool):
            raise TypeError
        return EPOCH + timedelta(seconds=moment)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{expected}; got {moment!r}") from None


def _with_six_digits(text: str) -> str:
    """Python 3.10 reads fractions of three or six digits alone."""
    head, point, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    return f"{head}.{digits[:6].ljust(6, '0')}{rest[len(digits) :]}" if point else text
