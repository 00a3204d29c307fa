"""Whose turn it is: which of the requests that a fault matches it strikes, by their number, at random, by the time, or by a quota.

Law: it counts; it knows neither requests nor what happens to them. The moment comes from the caller.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from kvfake.errors import is_refusal
from kvfake.world.clock import Moment, microseconds_at
from kvfake.world.matching import checked_number

if TYPE_CHECKING:
    from random import Random

__tracebackhide__ = is_refusal

MAX_LIMIT = 10_000  # requests of a quota: the moment of each is kept, also by checkpoints
MAX_PER_SECONDS = 31_536_000.0  # of a quota: a year


class Turns:
    """Which of the requests that match have their turn: ``times`` of them, not the first ``after``, each ``every``-th, what the
    ``rate`` draws, from ``start`` on and before ``end``. With a quota, which lets ``limit`` requests pass in any ``per`` seconds,
    those of them for which it has no room.

    Raises ``ValueError`` for what is not possible.
    """

    __slots__ = ("_after", "_end", "_every", "_matched", "_quota", "_random", "_rate", "_start", "needs_time", "times")

    def __init__(
        self, times: int | None, after: int, every: int, rate: float, start: Moment | None, end: Moment | None,
        limit: int | None, per: float | None, random: Random,
    ) -> None:  # fmt: skip
        if times is not None:
            checked_number("times", times, int, 1)
        if limit is not None and times not in (None, 1):
            raise ValueError(f"times: a quota (limit=, per=) stands until it is removed, so expected none, got {times}")
        self.times = times if limit is None else None
        """How many may have their turn; ``None``: all. The caller counts them."""
        self._after: int = checked_number("after", after, int, 0)
        self._every: int = checked_number("every", every, int, 1)
        self._rate: float = checked_number("rate", rate, float, 0, 1)
        self._start, self._end = _microseconds("start", start), _microseconds("end", end)
        if self._start is not None and self._end is not None and self._start >= self._end:
            raise ValueError(f"end: expected a moment after {start}, got {end}")
        if (limit is None) != (per is None):
            raise ValueError("limit, per: expected both, such as limit=10, per=60 (10 requests in 60 seconds), or neither")
        self._quota = None if limit is None else _Quota(limit, per)
        self._random, self._matched = random, 0
        self.needs_time = (self._start, self._end, self._quota) != (None, None, None)
        """Whether `count` looks at the moment."""

    def count(self, moment: int) -> bool:
        """Count one more request that matches, at that moment; whether it has its turn."""
        if (self._start is not None and moment < self._start) or (self._end is not None and moment >= self._end):
            return False
        self._matched += 1
        position = self._matched - self._after
        if position <= 0 or position % self._every or (self._rate != 1 and self._random.random() >= self._rate):
            return False
        return self._quota is None or self._quota.is_full(moment)

    def seconds_until_room(self, now: Callable[[], int]) -> int:
        """The whole seconds until a full quota has room, at least 1, as without a quota. ``now`` is the clock's."""
        return 1 if self._quota is None else self._quota.seconds_until_room(now())

    def state(self) -> tuple[int, tuple[int, ...]]:
        """What has been counted so far, for `restore`. What is drawn is the caller's."""
        return self._matched, () if self._quota is None else self._quota.state()

    def restore(self, state: tuple[int, tuple[int, ...]]) -> None:
        self._matched, passed = state
        if self._quota is not None:
            self._quota.restore(passed)


class _Quota:
    """Lets ``limit`` requests through in any ``per`` seconds, and keeps their moments."""

    __slots__ = ("_limit", "_moments", "_per", "_room_at", "_state")

    def __init__(self, limit: object, per: object) -> None:
        self._limit: int = checked_number("limit", limit, int, 1, MAX_LIMIT)
        self._per = round(checked_number("per", per, float, 0.001, MAX_PER_SECONDS) * 1_000_000)
        self._moments: deque[int] = deque()  # of those that were let through, in microseconds, ascending
        self._state: tuple[int, ...] | None = ()  # the same, which checkpoints share; ``None`` once it is another
        self._room_at = 0

    def is_full(self, moment: int) -> bool:
        """Whether there is no room at that moment; where there is, one more is let through."""
        moments = self._moments
        while moments and moments[-1] > moment:  # the clock was moved back: what came later has not been yet
            moments.pop()
        while moments and moments[0] <= moment - self._per:
            moments.popleft()
        if len(moments) >= self._limit:
            self._room_at = moments[0] + self._per
            return True
        moments.append(moment)
        self._state = None
        return False

    def seconds_until_room(self, moment: int) -> int:
        return max(1, -((moment - self._room_at) // 1_000_000))

    def state(self) -> tuple[int, ...]:
        if self._state is None:
            self._state = tuple(self._moments)
        return self._state

    def restore(self, state: tuple[int, ...]) -> None:
        self._moments, self._state = deque(state), state


def _microseconds(name: str, moment: Moment | None) -> int | None:
    """The moment as a clock counts it; ``ValueError`` for what `Clock.move_to` does not take."""
    if moment is None:
        return None
    try:
        return microseconds_at(moment)
    except ValueError as wrong:
        raise ValueError(f"{name}: {wrong}") from None
