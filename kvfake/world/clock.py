"""What time it is, for data.

Law: for data only; whoever waits uses real time. The clock is read at each call and never remembered, so that freezegun
and time-machine move it.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


class Clock:
    """A world's clock."""

    __slots__ = ()

    def now(self) -> int:
        """Microseconds since 1970, UTC."""
        return (datetime.now(timezone.utc) - EPOCH) // _MICROSECOND
