"""What becomes of the answer to a request that meets a fault.

Law: it checks what was asked for, and makes a response of it; it neither counts nor chooses, and it does not wait.

=====

One fault: the requests that it means, when their turn is, and what befalls them.

Law: it counts for itself; it knows neither the other faults nor the world. What becomes of an answer is
`kvfake.world.faults`'s.

=====

The faults of one world, and which of them a request meets.

Law: it keeps and chooses; what a fault means and does is `kvfake.world.faults`'s, loaded with the first one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from random import Random
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any

from kvfake.services import mattermost, persist
from kvfake.services.messages import GARBAGE, SEVERS, TRUNCATE, Response, WireFault
from kvfake.world.journal import Asked
from kvfake.world.matching import Matcher, shown
from kvfake.world.routes import WITHOUT_BODY, body_of, checked_number, headers_of, merged

if TYPE_CHECKING:
    from kvfake.world.journal import Asked
    from kvfake.world.matching import Wanted


MAX_DELAY_SECONDS = 300.0
_RETRY_AFTER_SECONDS = "1"
_NOTHING_DONE = ("before", "reset", "silence", GARBAGE)
_GARBAGE = b"\x16\x03\x01\x00 this is not HTTP\r\n\r\n"


class FaultAction:
    """What a fault does. Raises ``ValueError`` for what is not possible."""

    def __init__(
        self, status: int | None, delay: Any, sever: str | None, seed: int, body: Any, headers: Any, does_nothing: bool
    ) -> None:
        if status is not None:
            checked_number("status", status, int, 200, 599)
        if sever is not None and (not isinstance(sever, str) or sever not in SEVERS):
            raise ValueError(f"sever: expected one of {', '.join(SEVERS)}, got {sever!r}")
        self.status, self._sever, self._delay = status, sever or "", _delay(delay)
        self._body, kind = body_of(body)
        self._headers = headers_of(headers, kind)
        self.random = Random(checked_number("seed", seed, int, -math.inf))
        is_slow = isinstance(delay, Mapping) and "over" in delay
        is_seen = status is not None or headers or is_slow or (body is not None and sever != GARBAGE)
        if self._sever not in ("", TRUNCATE) and is_seen:
            raise ValueError(f"sever={sever!r} lets no answer out: status, body, headers and delay over would not be seen")
        if status in WITHOUT_BODY and (self._body or sever == TRUNCATE):
            raise ValueError(f"status: an answer of {status} has no body")
        if does_nothing and (status, sever, body) == (None, None, None) and not headers and not delay:
            raise ValueError("this fault does nothing: expected a status, delay, sever, body, headers or before")

    @property
    def acknowledges(self) -> bool:
        """Whether it answers what the service would, and nothing is done."""
        return self.status is not None and self.status < 300

    @property
    def is_done(self) -> bool:
        """Whether the service does what was asked."""
        return self.status is None and self._sever not in _NOTHING_DONE

    def answer(self, response: Response | None, failure: Callable[[int, str], Response]) -> Response:
        """What goes out instead of ``response``; ``None`` is where the service was not asked."""
        if self.status is not None and (response is None or not self.acknowledges):
            response = failure(self.status, _reason(self.status))
        elif response is None:
            response = Response(500, body=_GARBAGE)
        elif self.status is not None:
            response = response.replace(status=self.status)
        if self.status == HTTPStatus.TOO_MANY_REQUESTS:
            response = response.replace(headers=merged(response.headers, (("Retry-After", _RETRY_AFTER_SECONDS),)))
        if self._body is not None:
            response = response.replace(body=self._body)
        if response.status in WITHOUT_BODY:
            response = response.replace(body=b"")
        seconds, over = self._delay(self.random)
        wire_fault = WireFault(min(seconds, MAX_DELAY_SECONDS), over, self._sever)
        return response.replace(headers=merged(response.headers, self._headers), wire_fault=wire_fault)


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase.lower()
    except ValueError:
        return f"status {status}"


def _delay(delay: Any) -> Callable[[Random], tuple[float, float]]:
    """Draws the seconds before the first byte, and those from it to the last."""
    if isinstance(delay, Mapping) and set(delay) == {"over"}:
        over = checked_number("delay over", delay["over"], float, 0, MAX_DELAY_SECONDS)
        return lambda random: (0.0, over)
    if isinstance(delay, Mapping) and set(delay) == {"median", "sigma"}:
        median = checked_number("delay median", delay["median"], float, 0, MAX_DELAY_SECONDS)
        sigma = checked_number("delay sigma", delay["sigma"], float, 0, 10)
        return lambda random: (median * random.lognormvariate(0, sigma), 0.0)
    if isinstance(delay, tuple | list) and len(delay) == 2:
        least, most = (checked_number("delay", seconds, float, 0, MAX_DELAY_SECONDS) for seconds in delay)
        if least > most:
            raise ValueError(f"delay: expected (least, most), got {delay!r}")
        return lambda random: (random.uniform(least, most), 0.0)
    if isinstance(delay, Mapping | tuple | list):
        raise ValueError(
            f'delay: expected seconds, (least, most), {{"median": seconds, "sigma": s}} or {{"over": seconds}}, got {delay!r}'
        )
    seconds = checked_number("delay", delay, float, 0, MAX_DELAY_SECONDS)
    return lambda random: (seconds, 0.0)


def checked_function(name: str, function: Any) -> Any:
    """The function, or ``None``; ``ValueError`` for what cannot be called, or would be awaited."""
    if function is not None:
        import inspect

        if not callable(function) or inspect.iscoroutinefunction(function):
            raise ValueError(f"{name}: expected a function that is not async, got {function!r}")
    return function


def takes_an_argument(function: Callable[..., object]) -> bool:
    """Whether it must be called with one."""
    import inspect

    try:
        inspect.signature(function).bind()
    except TypeError:
        return True
    except ValueError:  # some builtin functions do not say
        return False
    return False


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
        self.action = FaultAction(**what, does_nothing=given["before"] is None)
        self._matcher = Matcher(**{name: given[name] for name in ("service", "method", "key", "owner")})
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
        return self._matcher.meets(asked) and (self.when is None or bool(self.when(asked)))

    def comes_due(self) -> bool:
        """Count one more request; whether it is its turn."""
        self._seen += 1
        place = self._seen - self._after
        is_due = place > 0 and place % self._every == 0
        return is_due and bool(self._rate == 1 or self.action.random.random() < self._rate)

    def state(self) -> tuple[Any, ...]:
        """For `restore`."""
        return self.hits, self._seen, self.action.random.getstate()

    def restore(self, state: tuple[Any, ...]) -> None:
        """Count on from there, and draw what was drawn then."""
        self.hits, self._seen, random = state
        self.action.random.setstate(random)

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


MAX_FAULTS = 1000
_MAX_GONE = 1000  # how many are remembered of those that strike no more


FaultsState = list[tuple["Fault", tuple[Any, ...]]]


class Faults:
    """The faults of one world. A request meets the first of them whose turn it is; each counts every request that it means."""

    __slots__ = ("_gone", "_lock", "_made", "active")

    def __init__(self) -> None:
        self._lock = Lock()
        self.active: tuple[Fault, ...] = ()  # those that can still strike, oldest first
        self._made = 0
        self._gone: list[Fault] = []

    def add(
        self,
        status: int | None = None,
        *,
        delay: float | tuple[float, float] | Mapping[str, float] = 0,
        sever: str | None = None,
        times: int | None = 1,
        after: int = 0,
        every: int = 1,
        rate: float = 1,
        seed: int = 0,
        service: str | None = None,
        method: Wanted | None = None,
        key: Wanted | None = None,
        owner: Wanted | None = None,
        when: When | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        before: Before | None = None,
    ) -> Fault:
        """Let requests to the services go wrong.

        What happens. ``status`` answers in place of the service, in its form, and nothing is done: a 2xx is what it would have
        answered. ``body`` and ``headers`` stand in place of what would be sent. ``delay`` holds the answer back: seconds,
        ``(least, most)``, ``{"median": seconds, "sigma": s}`` (lognormal), or ``{"over": seconds}``: its bytes come over that
        time. ``sever`` cuts it: one of `kvfake.services.messages.SEVERS`. ``before`` is called at that moment, before anything is
        done; it may take the request.

        Which requests. ``service``; ``method``, ``key``, ``owner``: exact, or a compiled pattern; ``when`` is asked with the
        request.

        When. The first ``times`` (``None``: until it is removed), not before ``after`` of them came, each ``every``-th, at a
        ``rate`` of 0 to 1; what is drawn repeats with ``seed``.

        Raises ``ValueError`` for what is not possible, or does nothing.
        """
        given = locals()
        from kvfake.world.faults import DEFAULTS, Fault

        with self._lock:
            if len(self.active) >= MAX_FAULTS:
                raise ValueError(f"there are {MAX_FAULTS} faults: remove some, or faults.clear()")
            fault = Fault(self.remove, self._made + 1, {name: given[name] for name in DEFAULTS})
            self._made += 1
            self.active = (*self.active, fault)
        return fault

    @property
    def call_out(self) -> bool:
        """Whether one of them calls a user's function, which may take its time."""
        return any(fault.when is not None or fault.before is not None for fault in self.active)

    def due(self, asked: Asked) -> Fault | None:
        """The fault that the request meets, counted."""
        struck: Fault | None = None
        meant = [fault for fault in self.active if fault.means(asked)]  # a user's function may use the world: no lock
        with self._lock:
            for fault in meant:
                if fault in self.active and fault.comes_due() and struck is None:
                    struck = fault
            if struck is not None:
                struck.hits += 1
                if struck.hits == struck.times:
                    self._take_out(struck)
        return struck

    def remove(self, fault: Fault) -> None:
        with self._lock:
            self._take_out(fault)

    def _take_out(self, fault: Fault) -> None:
        if fault in self.active:
            self.active = tuple(other for other in self.active if other is not fault)
            self._gone = [*self._gone[1 - _MAX_GONE :], fault]

    def clear(self) -> None:
        """Remove them all, and forget them."""
        with self._lock:
            self.active = ()
            self._gone.clear()

    def state(self) -> FaultsState:
        """For `restore`."""
        return [(fault, fault.state()) for fault in self.active]

    def restore(self, state: FaultsState) -> None:
        """Those that could strike then can strike again, and have counted what they had; all others are forgotten."""
        with self._lock:
            for fault, counted in state:
                fault.restore(counted)
            self.active = tuple(fault for fault, _ in state)
            self._gone.clear()

    @property
    def known(self) -> list[Fault]:
        """Those that strike no more, as far as they are remembered, and those that can."""
        return [*self._gone, *self.active]

    @property
    def unused(self) -> list[Fault]:
        """Those that no request met, also those that were removed."""
        return [fault for fault in self.known if not fault.hits]

    def assert_all_used(self) -> None:
        """``AssertionError``, with their names, where a fault never struck."""
        unused = self.unused
        if unused:
            raise AssertionError("these faults never struck:\n" + "\n".join(f"  {fault}" for fault in unused))

    def __iter__(self) -> Iterator[Fault]:
        return iter(self.active)

    def __len__(self) -> int:
        return len(self.active)
