"""One fault: the requests that it means, when their turn is, and what befalls them.

Law: it counts for itself; it knows neither the other faults nor the world. What becomes of an answer is
`kvfake.world.misfortune`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from kvfake.services import mattermost, persist
from kvfake.world.answers import checked_number
from kvfake.world.exchange import Asked
from kvfake.world.matching import Criteria, shown
from kvfake.world.misfortune import Misfortune, checked_function, takes_an_argument

_SERVICES = (mattermost.NAME, persist.NAME)

When = Callable[[Asked], object]
Before = Callable[[], object] | Callable[[Asked], object]

DEFAULTS: dict[str, Any] = {
    "status": None,
    "delay": 0,
    "sever": None,
    "times": 1,
    "after": 0,
    "every": 1,
    "rate": 1,
    "seed": 0,
    "service": None,
    "method": None,
    "key": None,
    "owner": None,
    "when": None,
    "body": None,
    "headers": None,
    "before": None,
}


class Fault:
    """A misfortune, and the requests that meet it. ``hits`` counts them. As a context manager it is removed at the end."""

    def __init__(self, remove: Callable[[Fault], None], number: int, given: Mapping[str, Any]) -> None:
        """``given`` has all of `DEFAULTS`. Raises ``ValueError`` for what is not possible."""
        self.number, self.given, self.hits = number, given, 0
        self._remove = remove
        what = {name: given[name] for name in ("status", "delay", "sever", "seed", "body", "headers")}
        self.misfortune = Misfortune(**what, does_nothing=given["before"] is None)
        self._criteria = Criteria(**{name: given[name] for name in ("service", "method", "key", "owner")})
        self.when: When | None = checked_function("when", given["when"])
        self.before: Before | None = checked_function("before", given["before"])
        if given["service"] not in (None, *_SERVICES):
            raise ValueError(f"service: expected one of {', '.join(_SERVICES)}, got {given['service']!r}")
        self.times: int | None = None if given["times"] is None else checked_number("times", given["times"], int, 1)
        self._after = checked_number("after", given["after"], int, 0)
        self._every = checked_number("every", given["every"], int, 1)
        self._rate = checked_number("rate", given["rate"], float, 0, 1)
        self._seen = 0

    def means(self, asked: Asked) -> bool:
        """Whether the request is one of those; ``when`` is asked last."""
        return self._criteria.meets(asked) and (self.when is None or bool(self.when(asked)))

    def comes_due(self) -> bool:
        """Count one more request; whether it is its turn."""
        self._seen += 1
        place = self._seen - self._after
        is_due = place > 0 and place % self._every == 0
        return is_due and bool(self._rate == 1 or self.misfortune.random.random() < self._rate)

    def state(self) -> tuple[Any, ...]:
        """For `restore`."""
        return self.hits, self._seen, self.misfortune.random.getstate()

    def restore(self, state: tuple[Any, ...]) -> None:
        """Count on from there, and draw what was drawn then."""
        self.hits, self._seen, random = state
        self.misfortune.random.setstate(random)

    def run_before(self, asked: Asked) -> None:
        if self.before is not None:
            self.before(*[asked][: takes_an_argument(self.before)])

    def remove(self) -> None:
        """It strikes no more; removing it twice does nothing."""
        self._remove(self)

    def __enter__(self) -> Fault:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.remove()

    def __str__(self) -> str:
        """What was asked for, as it would be written in Python."""
        return ", ".join(f"{name}={shown(value)}" for name, value in self.given.items() if value != DEFAULTS[name])

    def __repr__(self) -> str:
        return f"<fault {self}: {self.hits} hits>"
