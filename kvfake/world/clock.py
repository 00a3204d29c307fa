"""The clock for the times in data, which a test may set. For waiting and measuring, see `kvfake.machine`.

Law: until it is set, the clock for data reads the machine's time at each call and remembers nothing, so that freezegun and
time-machine move it.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from kvfake.errors import is_refusal

__tracebackhide__ = is_refusal

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
FIRST = datetime(1, 1, 1, tzinfo=timezone.utc)
LAST = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)

Moment = datetime | str | float
"""A moment as `Clock.move_to` takes it."""


def microseconds(moment: datetime) -> int:
    """The microseconds from 1970 to the moment."""
    return (moment - EPOCH) // _MICROSECOND


def moment_of(microseconds: int) -> datetime:
    """The moment so many microseconds after 1970, in UTC."""
    return EPOCH + timedelta(microseconds=microseconds)


def shown_time(moment: datetime) -> str:
    """The moment in UTC, to the millisecond, as logs and journals show it."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


class Clock:
    """A world's clock. It sets the times in the data; waits and delays use real time."""

    __slots__ = ("_frozen", "_shift")

    def __init__(self) -> None:
        self._frozen: int | None = None
        self._shift = 0  # microseconds ahead of the machine's time

    def now(self) -> int:
        """Microseconds since 1970, UTC."""
        frozen = self._frozen
        return self._shifted(_machine_now()) if frozen is None else frozen

    def _shifted(self, machine: int) -> int:
        return min(max(machine + self._shift, _FIRST), _LAST) if self._shift else machine

    @property
    def is_frozen(self) -> bool:
        return self._frozen is not None

    @property
    def time(self) -> datetime:
        """The time, in UTC."""
        return moment_of(self.now())

    def freeze(self, moment: Moment | None = None) -> None:
        """Stop the clock, now or at a moment (see `move_to`), until `resume`. `move_to` and `shift` still move it. Raises
        ``ValueError`` for a moment outside the years 1 to 9999.
        """
        self._frozen = self.now() if moment is None else microseconds_at(moment)

    def move_to(self, moment: Moment) -> None:
        """Set the clock to a datetime, to a time in ISO 8601, or to seconds since 1970. A time without a zone is UTC. A clock that
        is not frozen goes on from there. Raises ``ValueError`` outside the years 1 to 9999.
        """
        self._set(microseconds_at(moment), _machine_now())

    def shift(self, by: timedelta | float) -> None:
        """Move the clock ahead or back, by a timedelta or by seconds. Raises ``ValueError`` outside the years 1 to 9999."""
        machine = _machine_now()
        now = self._shifted(machine) if self._frozen is None else self._frozen
        try:
            moment = moment_of(now) + (by if isinstance(by, timedelta) else timedelta(seconds=_number(by)))
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"expected a timedelta or seconds that stay within the years 1 to 9999, got {by!r}") from None
        self._set(microseconds(moment), machine)

    def resume(self) -> None:
        """Show the machine's time again."""
        self._frozen, self._shift = None, 0

    def _set(self, moment: int, machine: int) -> None:
        if self._frozen is not None:
            self._frozen = moment
        else:
            self._shift = moment - machine

    def __repr__(self) -> str:
        return f"<kvfake.Clock {self.time.isoformat()}, {'frozen' if self.is_frozen else 'running'}>"

    def state(self) -> tuple[int | None, int]:
        """For `restore`."""
        return self._frozen, self._shift

    def restore(self, state: tuple[int | None, int]) -> None:
        self._frozen, self._shift = state


_FIRST, _LAST = microseconds(FIRST), microseconds(LAST)


def _machine_now() -> int:
    return microseconds(datetime.now(timezone.utc))


def _number(seconds: float) -> float:
    """The seconds; ``TypeError`` for a boolean, which is a number in Python."""
    if isinstance(seconds, bool):
        raise TypeError
    return seconds


def microseconds_at(moment: Moment) -> int:
    """The microseconds from 1970 to a moment that a user gave. Raises ``ValueError``."""
    try:
        named = moment_from_text(moment) if isinstance(moment, str) else moment
        if isinstance(named, datetime):
            return microseconds(named.replace(tzinfo=timezone.utc) if named.tzinfo is None else named.astimezone(timezone.utc))
        return microseconds(EPOCH + timedelta(seconds=_number(named)))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            "expected a datetime, a text such as 2016-12-31T23:59:59.5Z, or seconds since 1970, within the years 1 to 9999; "
            f"got {moment!r}"
        ) from None


_DAY, _TIME, _ZONE = r"\d{4}-\d\d-\d\d", r"(\d\d:\d\d)(?::(\d\d)(?:\.(\d+))?)?", r"[Zz]|[+-]\d\d:?\d\d"
_TEXT = re.compile(rf"({_DAY})(?:[Tt ]{_TIME}({_ZONE})?)?", re.ASCII)


def moment_from_text(text: str) -> datetime:
    """The moment that an ISO 8601 text names; ``ValueError`` for any other text. Each version of Python reads other forms of it."""
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    day, minute, second, fraction, zone = match.groups("")
    offset = f"{zone[:3]}:{zone[-2:]}" if zone[1:] else "+00:00"
    return datetime.fromisoformat(f"{day}T{minute or '00:00'}:{second or '00'}.{fraction[:6]:0<6}{offset}")
