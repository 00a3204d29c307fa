"""A fault: it makes some requests fail, or be answered late or differently. And the faults of one world.

Law: a fault counts the requests that it matches, and makes a response; it neither waits nor touches a socket (`kvfake.http` carries
out its wire fault). `Faults` keeps and chooses them; it knows no world.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from types import EllipsisType, ModuleType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict

from kvfake.errors import is_refusal
from kvfake.fork import new_lock
from kvfake.services import mattermost, persist
from kvfake.services.messages import Lane, Response, Sever, Wire, WireFault
from kvfake.stores import PreviousEntries, RememberingStore, StaleStore, StoreReader
from kvfake.world.clock import Moment
from kvfake.world.matching import MAX_STEPS_IN_LOOP, Matcher, Wanted, check_function, check_owner, checked_number, in_python
from kvfake.world.redaction import BY_NAME
from kvfake.world.routes import WITHOUT_BODY, checked_headers, encoded_body, merged_headers
from kvfake.world.turns import Turns

if TYPE_CHECKING:
    from random import Random

    from kvfake.world.matching import IncomingRequest

__tracebackhide__ = is_refusal

MAX_FAULTS = 1000
MAX_DELAY_SECONDS = 300.0
_MAX_SHOWN_FAULTS = 5  # in the text that `Faults` shows of itself
_MAX_REMOVED_FAULTS = 1000  # kept of those that were removed or struck for the last time, for reports
_GARBAGE = b"\x16\x03\x01\x00 this is not HTTP\r\n\r\n"
TOO_MANY = HTTPStatus.TOO_MANY_REQUESTS.value
_SERVICES = (mattermost.NAME, persist.NAME)
_SEVERS = {sever.value: sever for sever in Sever}
_REASONS = {status.value: status.phrase.lower() for status in HTTPStatus}
_LASTING = ("every", "rate", "start", "end")  # with one of these a sentence is about many requests, so its fault stays
_READS = ("get", "list", "mget")  # the verbs of operations that change nothing


class LognormalDelay(TypedDict):
    """A lognormal delay, drawn for each answer. ``median`` is in seconds; ``sigma`` is the spread."""

    median: float
    sigma: float


class SlowDelay(TypedDict):
    """The bytes of the answer are spread ``over`` so many seconds."""

    over: float


SeverWord = Literal["before", "after", "reset", "reset-after", "silence", "silence-after", "garbage", "truncate"]
"""The values of `Sever`."""
Delay = float | tuple[float, float] | LognormalDelay | SlowDelay
When = Callable[["IncomingRequest"], object]
Before = Callable[[], object] | Callable[["IncomingRequest"], object]
FaultsState = list[tuple["Fault", tuple[Any, ...]]]
Times = int | EllipsisType | None  # ``None``: until it is removed; ``...``: as the builder has it


class FaultArguments(NamedTuple):
    """The arguments of `Faults.add`, which documents each."""

    status: int | None = None
    delay: Delay = 0
    sever: SeverWord | None = None
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
    stale: bool = False
    limit: int | None = None
    per: float | None = None
    start: Moment | None = None
    end: Moment | None = None

    @property
    def given(self) -> dict[str, Any]:
        """Those that differ from their defaults."""
        return {name: value for name, value in self._asdict().items() if value != self._field_defaults[name]}

    @property
    def requests(self) -> str:
        """Which requests, in words: ``on PUT, key='k', after the first 2``."""
        named = {"service": self.service, "key": self.key, "owner": self.owner}
        method = self.method.upper() if isinstance(self.method, str) else in_python(self.method)
        parts = (
            "on any request" if self.method is None else f"on {method}",
            *(f"{name}={in_python(value)}" for name, value in named.items() if value is not None),
            f"when {in_python(self.when)}" if self.when is not None else "",
            "after the first" if self.after == 1 else f"after the first {self.after}" if self.after else "",
            f"one of every {self.every}" if self.every != 1 else "",
            f"at a rate of {self.rate} (seed {self.seed})" if self.rate != 1 else "",
            f"from {self.start}" if self.start is not None else "",
            f"until {self.end}" if self.end is not None else "",
        )
        return ", ".join(filter(None, parts))

    @property
    def sentence(self) -> str:
        """The whole, in words: ``on PUT, key='k': answer 503, 2 times``."""
        is_quota = self.limit is not None
        status = TOO_MANY if is_quota and self.status is None and self.sever is None else self.status
        parts = (
            f"call {in_python(self.before)}" if self.before is not None else "",
            f"delay {in_python(self.delay)}" if self.delay else "",
            f"{'pretend with' if status < 300 else 'answer'} {status}" if status is not None else "",
            "stale" if self.stale else "",
            f"body {self.body!r}" if self.body is not None else "",
            f"headers {dict(self.headers)}" if self.headers else "",
            _SEVER_WORDS[self.sever] if self.sever is not None else "",
            "until removed" if is_quota or self.times is None else "once" if self.times == 1 else f"{self.times} times",
        )
        quota = f"beyond {self.limit} in {self.per} seconds " if is_quota else ""
        return f"{self.requests}: {quota}{', '.join(filter(None, parts))}"


FUNCTIONS = ("when", "before")  # the arguments that only Python can give
_SEVER_WORDS: Mapping[str, str] = {
    "before": "cut", "after": "lose the acknowledgement", "reset": "reset", "reset-after": "reset after it was done",
    "silence": "hang", "silence-after": "hang after it was done", "garbage": "garble", "truncate": "truncate",
}  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ what happens


class FaultAction:
    """What a fault does to a request. Raises ``ValueError`` for impossible arguments, and for a fault without any effect."""

    def __init__(self, arguments: FaultArguments) -> None:
        from random import Random

        status, sever, body = arguments.status, arguments.sever, arguments.body
        if status is not None:
            checked_number("status", status, int, 200, 599)
        if sever is not None and (not isinstance(sever, str) or sever not in _SEVERS):
            raise ValueError(f"sever: expected one of {', '.join(_SEVERS)}, got {sever!r}")
        if not isinstance(arguments.stale, bool):
            raise ValueError(f"stale: expected true or false, got {arguments.stale!r}")
        self._sever, self._draw_delay = _SEVERS[sever] if sever else None, _random_delay(arguments.delay)
        self._body, content_type = encoded_body(body)
        self._headers = checked_headers(arguments.headers, content_type)
        self.random = Random(checked_number("seed", arguments.seed, int, -math.inf))
        self._check_together(arguments)
        if arguments.limit is not None and status is None and sever is None:
            status = TOO_MANY
        self.is_stale, self._status = arguments.stale, status
        self.answers_as_if_done = status is not None and status < 300
        """Whether it answers as if the service had done the operation, and nothing is done."""
        self.is_done = status is None and (self._sever is None or self._sever.is_done)
        """Whether the service does the operation."""

    def _check_together(self, arguments: FaultArguments) -> None:
        """``ValueError`` for arguments that make no sense together."""
        status, delay, sever, body, headers = arguments.status, arguments.delay, arguments.sever, arguments.body, arguments.headers
        wire = self._sever.wire if self._sever is not None else None
        is_slow = isinstance(delay, Mapping) and "over" in delay
        is_seen = status is not None or headers or is_slow or arguments.stale or (body is not None and wire is not Wire.GARBAGE)
        if wire not in (None, Wire.TRUNCATE) and is_seen:
            raise ValueError(f"sever={sever!r} lets no answer out: status, body, headers, stale and delay over would not be seen")
        if status in WITHOUT_BODY and (self._body or wire is Wire.TRUNCATE):
            raise ValueError(f"status: an answer of {status} has no body")
        if arguments.stale and (status, body, arguments.limit) != (None, None, None):
            raise ValueError("stale: the answer is the service's own, so expected no status, body or limit")
        if (status, sever, body, arguments.before, arguments.limit) == (None,) * 5 and not (headers or delay or arguments.stale):
            raise ValueError("this fault does nothing: expected a status, delay, sever, body, headers, before, stale or limit")

    def response(self, response: Response | None, service: ModuleType, retry_seconds: int = 1) -> Response:
        """What goes out in place of the service's ``response``, which is ``None`` where the service was not called. A 429 says that
        the client may ask again after ``retry_seconds``.
        """
        if self._status is not None and not self.answers_as_if_done:
            response = service.error_for(self._status, _REASONS.get(self._status, f"status {self._status}"))
        elif response is None:
            response = Response(500, body=_GARBAGE)
        status, headers = self._status or response.status, response.headers
        if self._status == TOO_MANY:
            headers = merged_headers(headers, (("Retry-After", str(retry_seconds)),))
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
    """A fault. ``hits`` counts the requests that it struck. As a context manager it is removed at the end."""

    def __init__(self, remove: Callable[[Fault], None], number: int, arguments: FaultArguments) -> None:
        """Raises ``ValueError`` for what is not possible."""
        self.number, self.arguments, self.hits = number, arguments, 0
        self._remove, self.action = remove, FaultAction(arguments)
        if arguments.service not in (None, *_SERVICES):
            raise ValueError(f"service: expected one of {', '.join(_SERVICES)}, got {arguments.service!r}")
        self._matcher = Matcher(service=arguments.service, method=arguments.method, key=arguments.key, owner=arguments.owner)
        check_function("when", arguments.when)
        check_function("before", arguments.before)
        check_owner(arguments.service, arguments.owner)
        self.turns = Turns(
            arguments.times, arguments.after, arguments.every, arguments.rate,
            arguments.start, arguments.end, arguments.limit, arguments.per, self.action.random,
        )  # fmt: skip
        self.calls_functions = arguments.when is not None or arguments.before is not None
        """Whether it calls a function of the user's, which may take its time."""
        self.size = self._matcher.size
        """How many steps a character of a request costs at most."""
        self._last_state: object = None  # of what is drawn: 24 KB, which checkpoints share until something is drawn

    def matches(self, request: IncomingRequest) -> bool:
        """Whether the fault is about that request. ``when`` is called last."""
        is_meant = self._matcher.matches(request) and (not self.action.is_stale or request.verb in _READS)
        return is_meant and (self.arguments.when is None or bool(self.arguments.when(request)))

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
        return self.hits, self.turns.state(), self._last_state

    def restore(self, state: tuple[Any, ...]) -> None:
        """Go on from that state."""
        self.hits, turns, drawn = state
        self.turns.restore(turns)
        self.action.random.setstate(drawn)

    def remove(self) -> None:
        """Remove the fault: it strikes no more. Removing it twice does nothing."""
        self._remove(self)

    def __enter__(self) -> Fault:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def __str__(self) -> str:
        """The fault as a sentence: ``on PUT, key='k': answer 503, 2 times``. Without what goes by the name of a secret."""
        return BY_NAME.redact_text(self.arguments.sentence)

    def __repr__(self) -> str:
        return f"<fault {self}; {self.hits} hits>"

    def __dir__(self) -> list[str]:
        """What is for users; the rest is the library's own."""
        return ["arguments", "hits", "number", "remove"]


# ------------------------------------------------------------------------------------------------------ a fault as a sentence


class FaultBuilder:
    """The beginning of a sentence about a fault: which requests, and when. An action, such as `answer`, ends it and adds the fault.

    ``faults.on("PUT", key="k").nth(3).answer(503)``: the third PUT of ``k`` is answered with 503.

    A builder never changes: `nth`, `after` and the like return a new one, so one builder can begin several faults. Nothing happens
    until an action is called. A fault strikes once, unless `times` says otherwise; with `every`, `rate` or `between` it
    strikes until it is removed. Each action takes ``times`` as well, and returns the `Fault`, which is a context manager. An action
    raises ``ValueError`` for impossible arguments.
    """

    __slots__ = ("_add", "_arguments")

    def __init__(self, add: Callable[[FaultArguments], Fault], arguments: Mapping[str, Any]) -> None:
        """``arguments`` are some of `Faults.add`, by their names."""
        self._add, self._arguments = add, arguments

    def _with(self, **more: Any) -> FaultBuilder:
        return FaultBuilder(self._add, {**self._arguments, **more})

    def _do(self, times: Times = ..., **action: Any) -> Fault:
        """Add the fault. ``...`` for ``times``: what `times` has set, else once, or until it is removed."""
        is_lasting = any(self._arguments.get(name) is not None for name in _LASTING)
        default = {"times": None if is_lasting else 1}
        return self._add(FaultArguments(**{**default, **self._arguments, **action, **({} if times is ... else {"times": times})}))

    def nth(self, number: int) -> FaultBuilder:
        """Only the ``number``-th of these requests, counted from 1: the same as ``after(number - 1).times(1)``."""
        return self._with(after=checked_number("nth", number, int, 1) - 1, every=1, times=1)

    def after(self, count: int) -> FaultBuilder:
        """Not the first ``count`` of these requests."""
        return self._with(after=count)

    def every(self, count: int) -> FaultBuilder:
        """Every ``count``-th of these requests: with 2 the second, the fourth, ..."""
        return self._with(every=count)

    def rate(self, rate: float, seed: int = 0) -> FaultBuilder:
        """A random part of these requests, with a probability from 0 to 1. The same ``seed`` chooses the same ones again."""
        return self._with(rate=rate, seed=seed)

    def times(self, count: int | None) -> FaultBuilder:
        """At most so many of these requests; ``None``: all of them, until the fault is removed."""
        return self._with(times=count)

    def between(self, start: Moment | None = None, end: Moment | None = None) -> FaultBuilder:
        """Only requests from ``start`` on and before ``end``, on the world's clock. Both are as for `Clock.move_to`."""
        return self._with(start=start, end=end)

    def answer(self, status: int, body: Any = None, headers: Mapping[str, str] | None = None, *, times: Times = ...) -> Fault:
        """The service answers with that status, in its own form or with your body and headers, and nothing is done."""
        return self._do(times, status=status, body=body, headers=headers)

    def lose_acknowledgement(self, *, times: Times = ...) -> Fault:
        """The operation is done, and the connection is closed without an answer."""
        return self._do(times, sever="after")

    def pretend(self, *, times: Times = ...) -> Fault:
        """The service answers as if the operation had been done, and nothing is done."""
        return self._do(times, status=200)

    def cut(self, *, times: Times = ...) -> Fault:
        """The connection is closed without an answer, and nothing is done."""
        return self._do(times, sever="before")

    def reset(self, *, times: Times = ...) -> Fault:
        """The connection is reset (RST), and nothing is done."""
        return self._do(times, sever="reset")

    def hang(self, *, times: Times = ...) -> Fault:
        """Nothing comes until the client gives up (at most 300 seconds), and nothing is done."""
        return self._do(times, sever="silence")

    def delay(self, delay: Delay, *, times: Times = ...) -> Fault:
        """The answer comes later: by so many seconds, or in another form that `Faults.add` describes."""
        return self._do(times, delay=delay)

    def truncate(self, *, times: Times = ...) -> Fault:
        """The operation is done, and the answer ends before the length that it announces."""
        return self._do(times, sever="truncate")

    def garble(self, *, times: Times = ...) -> Fault:
        """The client gets bytes that are not HTTP, and nothing is done."""
        return self._do(times, sever="garbage")

    def stale(self, *, times: Times = ...) -> Fault:
        """A read is answered with the values before their last change, as `Faults.add` describes."""
        return self._do(times, stale=True)

    def limit(self, requests: int, *, per: float) -> Fault:
        """At most so many requests in any ``per`` seconds of the world's clock; more are answered with 429 until there is room."""
        return self._do(limit=requests, per=per)

    def call(self, function: Before, *, times: Times = ...) -> Fault:
        """The function is called before the operation. It may take the request as an argument."""
        return self._do(times, before=function)

    def __repr__(self) -> str:
        return f"<{BY_NAME.redact_text(FaultArguments(**self._arguments).requests)}: no action yet, so nothing happens>"


# ------------------------------------------------------------------------------------------------------- those of one world


class Faults:
    """The faults of one world. Only the oldest that is due strikes a request; each fault counts the requests it matches."""

    __slots__ = ("_added", "_lock", "_previous", "_removed", "_to_read", "active")

    def __init__(self) -> None:
        self._lock = new_lock()
        self.active: tuple[Fault, ...] = ()  # those that can still strike, oldest first
        self._added = 0
        self._removed: deque[Fault] = deque(maxlen=_MAX_REMOVED_FAULTS)
        self._previous: PreviousEntries | None = None  # for stale answers: filled while a fault that gives them is active
        self._to_read = 0  # stale answers of faults that have struck, and whose read is still to come

    def on(
        self, method: Wanted | None = None, *, key: Wanted | None = None, service: str | None = None,
        owner: Wanted | None = None, when: When | None = None,
    ) -> FaultBuilder:  # fmt: skip
        """Begin a sentence about requests: ``faults.on("PUT", key="k").answer(503, times=2)``. With no argument: any request. Each
        argument is as `add` describes it; what follows is described by `FaultBuilder`.
        """
        named = {"method": method, "key": key, "service": service, "owner": owner, "when": when}
        return FaultBuilder(self._add, {name: value for name, value in named.items() if value is not None})

    def add(
        self,
        status: int | None = None,
        *,
        delay: Delay = 0,
        sever: SeverWord | None = None,
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
        stale: bool = False,
        limit: int | None = None,
        per: float | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> Fault:
        """Make requests to the services fail, or be answered late or differently.

        What happens. ``status`` is answered in place of the service, in its form, and nothing is done; with a 2xx the client gets
        the usual response of the service. ``body`` and ``headers`` replace those of the answer. ``delay`` makes the answer come
        later: by seconds, ``(least, most)``, ``{"median": seconds, "sigma": s}`` (lognormal), or ``{"over": seconds}``: its bytes
        are spread over that time. ``sever`` cuts the connection: a value of `kvfake.services.messages.Sever`. ``before`` is called
        before the operation; it may take the request as an argument. ``stale`` strikes only reads (GET of a key, list, mget) and
        answers each key with the value before its last change by a request since the fault was added. A key that was not changed
        has its current value, and so has every key if a real server answers.

        ``limit`` and ``per`` are a quota: in any ``per`` seconds so many of the requests pass, and the fault strikes the others.
        The default is a 429 whose ``Retry-After`` says when the next request can pass. It strikes until it is removed.

        Which requests. ``service``; ``method``, ``key``, ``owner``: exact, or a compiled pattern; ``when`` is called with the
        request and returns whether the fault applies. An ``owner`` is ``app/user``, ``/user`` or ``project:NAME``, or a name alone:
        ``ada`` is the user ``ada`` of any Mattermost app or of none, and the project ``ada``.

        When. It strikes at most ``times`` requests (``None``: until it is removed), not the first ``after`` of them, only every
        ``every``-th, and at random with the probability ``rate``; the same ``seed`` chooses the same ones. It strikes only from
        ``start`` on, and before ``end``, on the world's clock (both as for `Clock.move_to`); requests outside are not counted.

        Raises ``ValueError`` for impossible arguments, and for a fault without any effect.
        """
        return self._add(FaultArguments(
            status, delay, sever, times, after, every, rate, seed, service, method, key, owner, when, body, headers, before,
            stale, limit, per, start, end,
        ))  # fmt: skip

    def _add(self, arguments: FaultArguments) -> Fault:
        with self._lock:
            if len(self.active) >= MAX_FAULTS:
                raise ValueError(f"there are {MAX_FAULTS} faults: remove some, or faults.clear()")
            fault = Fault(self.remove, self._added + 1, arguments)
            self._added += 1
            self._previous = self._previous or (PreviousEntries() if fault.action.is_stale else None)
            self.active = (*self.active, fault)
        return fault

    def lane(self, request: IncomingRequest) -> Lane | None:
        """The lane of the job that answers the request; ``None`` where a server's loop can wait for `match` and the fault."""
        if any(fault.calls_functions for fault in self.active):
            return Lane.OTHER
        return Lane.SERVICE if request.characters * sum(fault.size for fault in self.active) > MAX_STEPS_IN_LOOP else None

    def match(self, request: IncomingRequest, now: Callable[[], int]) -> Fault | None:
        """The fault that strikes the request, its hit counted. ``now`` is the world's clock, asked where a fault needs the time."""
        struck: Fault | None = None
        matching = [fault for fault in self.active if fault.matches(request)]  # without the lock: ``when`` may use the world
        with self._lock:
            active = set(self.active) if matching else ()
            moment = now() if any(fault.turns.needs_time for fault in matching) else 0  # with the lock: moments ascend
            for fault in matching:
                if fault in active and fault.turns.count(moment) and struck is None:
                    struck = fault
            if struck is not None:
                struck.hits += 1
                self._to_read += struck.action.is_stale
                if struck.hits == struck.turns.times:
                    self.remove(struck)
        return struck

    def view(self, store: StoreReader, fault: Fault | None) -> StoreReader:
        """The store as an operation sees it that this fault strikes; ``None``: no fault. The caller holds the world's lock."""
        previous = self._previous
        if fault is None or not fault.action.is_stale:
            return store if previous is None else RememberingStore(store, previous)
        with self._lock:
            self._to_read -= 1
            self._forget_previous()
        return store if previous is None else StaleStore(store, previous)

    def _forget_previous(self) -> None:
        """Forget earlier values once no fault gives stale answers. The caller holds the lock."""
        if self._to_read <= 0 and not (self._previous and any(fault.action.is_stale for fault in self.active)):
            self._previous, self._to_read = None, 0

    def remove(self, fault: Fault) -> None:
        """Remove the fault: it strikes no more. Removing it twice does nothing."""
        with self._lock:
            if fault in self.active:
                place = self.active.index(fault)
                self.active = self.active[:place] + self.active[place + 1 :]
                self._removed.append(fault)
                self._forget_previous()

    def clear(self) -> None:
        """Remove all faults, and forget them."""
        with self._lock:
            self.active, self._previous, self._to_read = (), None, 0
            self._removed.clear()

    def state(self) -> FaultsState:
        """The faults that can strike and what each has counted, for `restore`."""
        with self._lock:
            return [(fault, fault.state()) for fault in self.active]

    def restore(self, state: FaultsState) -> None:
        """Go back to that state. All other faults are forgotten."""
        with self._lock:
            for fault, counted in state:
                fault.restore(counted)
            self.active = tuple(fault for fault, _ in state)
            self._previous = PreviousEntries() if any(fault.action.is_stale for fault in self.active) else None
            self._removed.clear()

    @property
    def known(self) -> list[Fault]:
        """Those that strike no more, as far as they are remembered, and those that can."""
        return [*self._removed, *self.active]

    @property
    def unused(self) -> list[Fault]:
        """The faults that never struck, including removed ones."""
        return [fault for fault in self.known if not fault.hits]

    def assert_all_used(self) -> None:
        """Raises ``AssertionError``, which lists them, if some faults never struck."""
        if unused := self.unused:
            raise AssertionError("these faults never struck:\n" + "\n".join(f"  {fault}" for fault in unused))

    def __iter__(self) -> Iterator[Fault]:
        return iter(self.active)

    def __len__(self) -> int:
        return len(self.active)

    def __repr__(self) -> str:
        """How many can strike, and the first of them."""
        more = f" and {len(self) - _MAX_SHOWN_FAULTS} more" if len(self) > _MAX_SHOWN_FAULTS else ""
        return f"<kvfake.Faults {', '.join(map(repr, self.active[:_MAX_SHOWN_FAULTS])) or 'none'}{more}>"

    def __dir__(self) -> list[str]:
        """What is for users; the rest is the library's own."""
        return ["active", "add", "assert_all_used", "clear", "on", "remove", "unused"]
