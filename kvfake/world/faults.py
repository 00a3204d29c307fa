"""A fault: it makes some requests fail, or be answered late or differently. And the faults of one world.

Law: a fault counts the requests that it matches, and makes a response; it neither waits nor touches a socket (`kvfake.http` carries
out its wire fault). `Faults` keeps and chooses them; it knows no world.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from kvfake.fork import new_lock
from kvfake.services import mattermost, persist
from kvfake.services.messages import Lane, Response, Sever, Wire, WireFault
from kvfake.world.matching import MAX_STEPS_IN_LOOP, Matcher, Wanted, in_python
from kvfake.world.redaction import BY_NAME
from kvfake.world.routes import WITHOUT_BODY, checked_headers, checked_number, encoded_body, merged_headers

if TYPE_CHECKING:
    from random import Random

    from kvfake.world.matching import IncomingRequest

MAX_FAULTS = 1000
MAX_DELAY_SECONDS = 300.0
_MAX_REMOVED_FAULTS = 1000  # kept of those that were removed or struck for the last time, for reports
_RETRY_AFTER_SECONDS = "1"
_GARBAGE = b"\x16\x03\x01\x00 this is not HTTP\r\n\r\n"
_SERVICES = (mattermost.NAME, persist.NAME)
_SEVERS = {sever.value: sever for sever in Sever}
_REASONS = {status.value: status.phrase.lower() for status in HTTPStatus}

Delay = float | tuple[float, float] | Mapping[str, float]
When = Callable[["IncomingRequest"], object]
Before = Callable[[], object] | Callable[["IncomingRequest"], object]


class FaultArguments(NamedTuple):
    """The arguments of `Faults.add`, which documents each."""

    status: int | None = None
    delay: Delay = 0
    sever: str | None = None
    times: int | None = 1
    after: int = 0
    every: int = 1
    rate: float = 1
    seed: int = 0
    service: str | None = None
    method: Wanted | None = None
    key: Wanted | None = None
    owner: Wanted | None = None
    when: When | None = None
    body: Any = None
    headers: Mapping[str, str] | None = None
    before: Before | None = None

    @property
    def given(self) -> dict[str, Any]:
        """Those that differ from their defaults."""
        defaults = self._field_defaults
        return {name: value for name, value in self._asdict().items() if value != defaults[name]}


FUNCTIONS = ("when", "before")
"""The arguments that only Python can give."""


# ------------------------------------------------------------------------------------------------------------ what happens


class FaultAction:
    """What a fault does to a request. Raises ``ValueError`` for impossible arguments, and for a fault without any effect."""

    def __init__(self, arguments: FaultArguments) -> None:
        from random import Random

        status, delay, sever = arguments.status, arguments.delay, arguments.sever
        body, headers = arguments.body, arguments.headers
        if status is not None:
            checked_number("status", status, int, 200, 599)
        if sever is not None and (not isinstance(sever, str) or sever not in _SEVERS):
            raise ValueError(f"sever: expected one of {', '.join(_SEVERS)}, got {sever!r}")
        self._status, self._sever, self._draw_delay = status, _SEVERS[sever] if sever else None, _random_delay(delay)
        self.answers_as_if_done = status is not None and status < 300
        """Whether it answers as if the service had done the operation, and nothing is done."""
        self.is_done = status is None and (self._sever is None or self._sever.is_done)
        """Whether the service does the operation."""
        self._body, content_type = encoded_body(body)
        self._headers = checked_headers(headers, content_type)
        self.random = Random(checked_number("seed", arguments.seed, int, -math.inf))
        wire = self._sever.wire if self._sever is not None else None
        is_slow = isinstance(delay, Mapping) and "over" in delay
        is_seen = status is not None or headers or is_slow or (body is not None and wire is not Wire.GARBAGE)
        if wire not in (None, Wire.TRUNCATE) and is_seen:
            raise ValueError(f"sever={sever!r} lets no answer out: status, body, headers and delay over would not be seen")
        if status in WITHOUT_BODY and (self._body or wire is Wire.TRUNCATE):
            raise ValueError(f"status: an answer of {status} has no body")
        if (status, sever, body, arguments.before) == (None, None, None, None) and not headers and not delay:
            raise ValueError("this fault does nothing: expected a status, delay, sever, body, headers or before")

    def response(self, response: Response | None, service: ModuleType) -> Response:
        """What goes out in place of the service's ``response``, which is ``None`` where the service was not called."""
        if self._status is not None and not self.answers_as_if_done:
            response = service.error_for(self._status, _REASONS.get(self._status, f"status {self._status}"))
        elif response is None:
            response = Response(500, body=_GARBAGE)
        status, headers = self._status or response.status, response.headers
        if self._status == HTTPStatus.TOO_MANY_REQUESTS:
            headers = merged_headers(headers, (("Retry-After", _RETRY_AFTER_SECONDS),))
        body = response.body if self._body is None else self._body
        delay, over = self._draw_delay(self.random)
        return response.replace(
            status=status,
            headers=merged_headers(headers, self._headers),
            body=b"" if status in WITHOUT_BODY else body,
            wire_fault=WireFault(min(delay, MAX_DELAY_SECONDS), over, self._sever),
        )


def _random_delay(delay: Any) -> Callable[[Random], tuple[float, float]]:
    """A function that draws the seconds before the first byte, and those from the first byte to the last."""
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


# ---------------------------------------------------------------------------------------------- which requests, and when


class Fault:
    """An action, and the requests that it strikes. ``hits`` counts these. As a context manager it is removed at the end."""

    def __init__(self, remove: Callable[[Fault], None], number: int, arguments: FaultArguments) -> None:
        """Raises ``ValueError`` for what is not possible."""
        self.number, self.arguments, self.hits = number, arguments, 0
        self._remove = remove
        self.action = FaultAction(arguments)
        self._matcher = Matcher(service=arguments.service, method=arguments.method, key=arguments.key, owner=arguments.owner)
        _check_function("when", arguments.when)
        _check_function("before", arguments.before)
        if arguments.service not in (None, *_SERVICES):
            raise ValueError(f"service: expected one of {', '.join(_SERVICES)}, got {arguments.service!r}")
        if arguments.times is not None:
            checked_number("times", arguments.times, int, 1)
        checked_number("after", arguments.after, int, 0)
        checked_number("every", arguments.every, int, 1)
        checked_number("rate", arguments.rate, float, 0, 1)
        self.calls_functions = arguments.when is not None or arguments.before is not None
        """Whether it calls a function of the user's, which may take its time."""
        self.size = self._matcher.size
        """How many steps a character of a request costs at most."""
        self._matched = 0  # requests so far
        self._last_state: object = None  # of what is drawn: 24 KB, which checkpoints share until something is drawn

    def matches(self, request: IncomingRequest) -> bool:
        """Whether the fault is about that request. ``when`` is called last."""
        when = self.arguments.when
        return self._matcher.matches(request) and (when is None or bool(when(request)))

    def count_match(self) -> bool:
        """Count one more request that matches; whether it is one that the fault strikes."""
        self._matched += 1
        position, rate = self._matched - self.arguments.after, self.arguments.rate
        is_due = position > 0 and position % self.arguments.every == 0
        return is_due and bool(rate == 1 or self.action.random.random() < rate)

    def call_before(self, request: IncomingRequest) -> None:
        """Call the function ``before``, if there is one, with the request where it takes an argument."""
        before: Callable[..., object] | None = self.arguments.before
        if before is None:
            return
        import inspect

        arguments: tuple[IncomingRequest, ...] = ()
        try:
            inspect.signature(before).bind()
        except TypeError:
            arguments = (request,)
        except ValueError:  # some builtin functions have no signature
            pass
        before(*arguments)

    def state(self) -> tuple[Any, ...]:
        """What has been counted and drawn so far, for `restore`."""
        drawn = self.action.random.getstate()
        if drawn != self._last_state:
            self._last_state = drawn
        return self.hits, self._matched, self._last_state

    def restore(self, state: tuple[Any, ...]) -> None:
        """Go on from that state."""
        self.hits, self._matched, random = state
        self.action.random.setstate(random)

    def remove(self) -> None:
        """Remove the fault: it strikes no more. Removing it twice does nothing."""
        self._remove(self)

    def __enter__(self) -> Fault:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def __str__(self) -> str:
        """Its arguments, as they would be written in Python, without what goes by the name of a secret."""
        return BY_NAME.redact_text(", ".join(f"{name}={in_python(value)}" for name, value in self.arguments.given.items()))

    def __repr__(self) -> str:
        return f"<fault {self}: {self.hits} hits>"


def _check_function(name: str, function: object) -> None:
    """``ValueError`` for what cannot be called, or would have to be awaited."""
    if function is not None:
        import inspect

        if not callable(function) or inspect.iscoroutinefunction(function):
            raise ValueError(f"{name}: expected a function that is not async, got {function!r}")


# ------------------------------------------------------------------------------------------------------- those of one world

FaultsState = list[tuple[Fault, tuple[Any, ...]]]


class Faults:
    """The faults of one world. Only the oldest that is due strikes a request; each counts every request that it matches."""

    __slots__ = ("_added", "_lock", "_removed", "active")

    def __init__(self) -> None:
        self._lock = new_lock()
        self.active: tuple[Fault, ...] = ()  # those that can still strike, oldest first
        self._added = 0
        self._removed: deque[Fault] = deque(maxlen=_MAX_REMOVED_FAULTS)

    def add(
        self,
        status: int | None = None,
        *,
        delay: Delay = 0,
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

        What happens. ``status`` answers in place of the service, in its form, and nothing is done; with a 2xx the client gets the
        usual response of the service. ``body`` and ``headers`` replace what would be sent. ``delay`` holds the answer back:
        seconds, ``(least, most)``, ``{"median": seconds, "sigma": s}`` (lognormal), or ``{"over": seconds}``: its bytes come over
        that time. ``sever`` cuts it off: a value of `kvfake.services.messages.Sever`. ``before`` is called first, before anything
        is done; it may take the request.

        Which requests. ``service``; ``method``, ``key``, ``owner``: exact, or a compiled pattern; ``when`` is called with the
        request and returns whether the fault applies.

        When. The first ``times`` of them (``None``: until it is removed), skipping the first ``after``, each ``every``-th, at a
        ``rate`` of 0 to 1; what is drawn repeats with ``seed``.

        Raises ``ValueError`` for impossible arguments, and for a fault without any effect.
        """
        arguments = FaultArguments(
            status, delay, sever, times, after, every, rate, seed, service, method, key, owner, when, body, headers, before
        )
        with self._lock:
            if len(self.active) >= MAX_FAULTS:
                raise ValueError(f"there are {MAX_FAULTS} faults: remove some, or faults.clear()")
            fault = Fault(self.remove, self._added + 1, arguments)
            self._added += 1
            self.active = (*self.active, fault)
        return fault

    def lane(self, request: IncomingRequest) -> Lane | None:
        """The lane of the job that answers the request; ``None`` where a server's loop can wait for `match` and the fault."""
        if any(fault.calls_functions for fault in self.active):
            return Lane.OTHER
        steps = request.characters * sum(fault.size for fault in self.active)
        return Lane.SERVICE if steps > MAX_STEPS_IN_LOOP else None

    def match(self, request: IncomingRequest) -> Fault | None:
        """The fault that strikes the request, its hit counted."""
        struck: Fault | None = None
        matching = [fault for fault in self.active if fault.matches(request)]  # without the lock: ``when`` may use the world
        with self._lock:
            active = set(self.active) if matching else ()
            for fault in matching:
                if fault in active and fault.count_match() and struck is None:
                    struck = fault
            if struck is not None:
                struck.hits += 1
                if struck.hits == struck.arguments.times:
                    self.remove(struck)
        return struck

    def remove(self, fault: Fault) -> None:
        """Remove the fault: it strikes no more. Removing it twice does nothing."""
        with self._lock:
            active = self.active
            if fault in active:
                place = active.index(fault)
                self.active = active[:place] + active[place + 1 :]
                self._removed.append(fault)

    def clear(self) -> None:
        """Remove them all, and forget them."""
        with self._lock:
            self.active = ()
            self._removed.clear()

    def state(self) -> FaultsState:
        """The faults that can strike and what each has counted, for `restore`."""
        return [(fault, fault.state()) for fault in self.active]

    def restore(self, state: FaultsState) -> None:
        """Go back to that state. All other faults are forgotten."""
        with self._lock:
            for fault, counted in state:
                fault.restore(counted)
            self.active = tuple(fault for fault, _ in state)
            self._removed.clear()

    @property
    def known(self) -> list[Fault]:
        """Those that strike no more, as far as they are remembered, and those that can."""
        return [*self._removed, *self.active]

    @property
    def unused(self) -> list[Fault]:
        """Those that struck no request, also those that were removed."""
        return [fault for fault in self.known if not fault.hits]

    def assert_all_used(self) -> None:
        """``AssertionError``, with their arguments, where a fault never struck."""
        unused = self.unused
        if unused:
            raise AssertionError("these faults never struck:\n" + "\n".join(f"  {fault}" for fault in unused))

    def __iter__(self) -> Iterator[Fault]:
        return iter(self.active)

    def __len__(self) -> int:
        return len(self.active)
