"""The journal of one world: a bounded record of its exchanges (a request and its response), and questions about it.

Law: it records, shows and compares, and decides nothing. Credential headers are truncated before an exchange is recorded; what
else is secret is redacted when an exchange is read, so nothing that is shown holds it. Every question is answered from one moment;
`Journal.wait_for` asks until the time is over, and nothing else here waits.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timezone
from itertools import takewhile
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple, overload

from kvfake.errors import is_refusal, log_exception
from kvfake.fork import new_lock
from kvfake.lines import counted
from kvfake.machine import machine_seconds, machine_time
from kvfake.services.messages import JSON, Operation, RedactedHeaders, Request, Response
from kvfake.world.clock import shown_time
from kvfake.world.matching import Matcher, Message, RequestFields, Text, checked_number
from kvfake.world.pauses import Pauses
from kvfake.world.redaction import BY_NAME, HIDDEN, MAX_HEADERS_BYTES, Redactor, cut_headers, header_bytes

if TYPE_CHECKING:
    from threading import RLock

    from kvfake.world.faults import Fault

__tracebackhide__ = is_refusal

MAX_BYTES = 16 * 1024 * 1024  # of the exchanges of one world, as `Exchange.size` and `header_bytes` count them
MAX_TOTAL_BYTES = 256 * 1024 * 1024  # of all worlds of one server
EXCHANGE_BYTES = 600  # of an exchange, beside its bodies and texts: a tuple, a response, their parts, a place in the journal
KEY_BYTES = 50  # of a key of an mget, beside its characters
_SETTLE_BYTES = 4096  # by so much a journal may have grown before the server's total knows it
_PARTS_THAT_FIT = 8  # of an exchange that is larger than its journal may be, each part is cut to this part of the bound
MAX_WAIT_SECONDS = 300.0  # for an exchange
_COMPARED_AT_ONCE = 64  # exchanges, by a wait; then another one has its turn
_MAX_SHOWN_EXCHANGES = 5  # in the message of an assertion


_Recorded = tuple[
    int, int, str | None, str | None, bytes | None, tuple[bytes, ...], str | None, str,
    RedactedHeaders, bytes, bytes, bytes, Response, float, "Fault | None", float,
]  # fmt: skip
"""What is kept of an exchange: number, size, service, verb, key, keys, owner, method, headers, body, path, query, response,
duration, fault, began. A plain tuple, the cheapest thing to make: one is made for every request, and most are never read.
"""
_HEADERS: Final = 8  # the place of the headers in it


class Exchange(RequestFields):
    """A request and its answer, as the journal keeps them, without tokens. The fields of the request are those of
    `IncomingRequest`. ``number`` counts the exchanges of its world; ``duration`` is in seconds and includes a fault's delay;
    ``size`` is about how many bytes it takes in memory, without the headers of its request.
    """

    __slots__ = ("_began", "_recorded", "_redactor", "_response", "duration", "fault", "number", "size")

    def __init__(self, recorded: _Recorded, redactor: Callable[[], Redactor]) -> None:
        super().__init__(*recorded[2:12])
        self._recorded, self._redactor = recorded, redactor
        self.number, self.size = recorded[:2]
        self.fault: Fault | Any  # Any: where a test knows that there is one, it need not say so before `.hits`
        self._response, self.duration, self.fault, self._began = recorded[12:]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Exchange) and self._recorded is other._recorded

    def __hash__(self) -> int:
        return id(self._recorded)

    @property
    def time(self) -> datetime:
        """When the request came, to the millisecond, in UTC, by the machine's clock and not by the world's."""
        seconds = machine_time() - (machine_seconds() - self._began)
        return datetime.fromtimestamp(round(seconds, 3), timezone.utc)

    @property
    def status(self) -> int | None:
        """The status of the answer; ``None`` if a fault prevented the answer."""
        return None if self._is_unanswered else self._response.status

    @property
    def unmatched(self) -> bool:
        """Whether no service, route, mount or fallback answered the request."""
        return self.service is None

    @property
    def rows(self) -> tuple[str, ...]:
        """The rows of `kvfake.services.facts` in which the answer was kinder than the service's."""
        return self._response.rows

    @property
    def request(self) -> Message:
        return self._message(self._headers.items(), self._body)

    @property
    def response(self) -> Message:
        if self._is_unanswered:
            return Message({}, b"")
        headers = [(name.lower().encode("latin-1"), _latin_1(value)) for name, value in self._response.headers]
        return self._message(headers, self._response.body)

    def _message(self, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> Message:
        """The body of an operation of a store is a user's value: there only tokens are hidden."""
        redactor = self._redactor()
        shown = {name.decode("latin-1"): redactor.header(name, value).decode("latin-1") for name, value in headers}
        if self.verb is not None:
            return Message(shown, redactor.redact_bytes(body))
        is_plain = shown.get("content-encoding", "identity").strip().lower() == "identity"  # else nobody can see what is in it
        return Message(shown, redactor.redact_message(body) if is_plain else HIDDEN.encode())

    @property
    def _is_unanswered(self) -> bool:
        wire_fault = self._response.wire_fault
        return wire_fault is not None and wire_fault.is_unanswered

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold, in whole characters."""
        redactor = self._redactor()
        return {
            "number": self.number,
            "time": shown_time(self.time),
            "service": self.service,
            "verb": self.verb,
            "method": self.method,
            "path": redactor.without_tokens(self.path),
            "key": None if self.key is None else redactor.without_tokens(_characters(self.key)),
            "owner": self.owner,
            "status": self.status,
            "request": _message_to_dict(self.request),
            "response": _message_to_dict(self.response),
            "fault": None if self.fault is None else redactor.redact_text(_characters(str(self.fault))),
            "rows": list(self.rows),
            "duration": round(self.duration, 6),
        }

    def __repr__(self) -> str:
        return self._redactor().redact(f"<{self.method} {self.path} by {self.owner}: {self.status or 'no answer'}>")


def _message_to_dict(message: Message) -> dict[str, Any]:
    try:
        return {"headers": message.headers, "body": message.body.decode()}
    except UnicodeDecodeError:
        return {"headers": message.headers, "body_base64": base64.b64encode(message.body).decode()}


def _latin_1(text: str) -> bytes:
    return text.encode("latin-1", "backslashreplace")


def _characters(text: str) -> str:
    """The text, with an escape for what is not a character: a byte of a key that is not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


class JournalTotal:
    """The journals of one server, which have a bound together. Over it the largest give up their oldest exchanges.

    Its lock is taken inside that of a world; of another world's lock it only tries whether it is free.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._journals: dict[int, Journal] = {}
        self._bytes = 0

    def add(self, journal: Journal) -> None:
        with self._lock:
            self._journals[id(journal)] = journal
            journal.total = self

    def remove(self, journal: Journal) -> None:
        """It counts no more: its world has ended."""
        with self._lock:
            if self._journals.pop(id(journal), None) is not None:
                self._bytes -= journal.settled
                journal.total, journal.settled = None, 0

    def settle(self, journal: Journal) -> None:
        """Count what the journal has now. The caller holds its lock."""
        with self._lock:
            if journal.total is self:
                self._count(journal)
                if self._bytes > MAX_TOTAL_BYTES:
                    self._shrink()

    def _count(self, journal: Journal) -> None:
        self._bytes += journal.bytes - journal.settled
        journal.settled = journal.bytes

    def _shrink(self) -> None:
        """A sixteenth is given up at once, so that this is seldom done. A journal gives up its older half at most, and nothing if
        another thread holds its lock.
        """
        excess = self._bytes - MAX_TOTAL_BYTES * 15 // 16
        for journal in sorted(self._journals.values(), key=lambda one: one.settled, reverse=True):
            if excess > 0 and journal.lock.acquire(blocking=False):
                try:
                    excess -= journal.give_up(min(excess, journal.bytes // 2))
                    self._count(journal)
                finally:
                    journal.lock.release()


class Snapshot(NamedTuple):
    """What a journal held at one moment. ``are_all``: none that came is missing."""

    exchanges: list[Exchange]
    dropped: int
    seen: int
    are_all: bool


class Wait:
    """A wait for ``times`` exchanges, after the first ``since``, that match. It may have several looks: each exchange is compared
    once. ``began`` is of `machine_seconds`.
    """

    __slots__ = ("began", "coming", "forgotten", "found", "looked", "matcher", "since", "times")

    def __init__(self, matcher: Matcher, times: int, since: int = 0) -> None:
        self.matcher, self.times, self.since, self.began = matcher, times, since, machine_seconds()
        self.found: deque[_Recorded] = deque()
        self.coming: deque[_Recorded] = deque()  # not compared yet
        self.looked, self.forgotten = since, -1  # as far as the journal was looked through; what it had forgotten then


class StillWaiting(Exception):
    """The exchanges of a wait have not come yet, and there is time left."""

    def __init__(self, wait: Wait) -> None:
        super().__init__(wait)
        self.wait = wait


_comparing, _pause = new_lock(), Pauses()
"""Only one wait compares at a time, and it pauses now and then: many at once would keep a server's loop from running."""


class Journal(Sequence[Exchange]):
    """The exchanges of one world, oldest first. It is bounded: ``dropped`` counts old exchanges dropped for newer ones."""

    __slots__ = (
        "_forgotten", "_large_bytes", "_listeners", "_max_body_bytes", "_max_bytes", "_max_exchanges", "_records", "_redactor",
        "_row_listeners", "_waiting", "bytes", "is_on", "lock", "seen", "settled", "total",
    )  # fmt: skip
    _now = staticmethod(machine_seconds)

    def __init__(
        self, max_exchanges: int, max_body_bytes: int, lock: RLock, redactor: Callable[[], Redactor] = lambda: BY_NAME
    ) -> None:
        """``lock`` is the world's; the caller of `record` holds it. ``redactor`` gives the one that knows the world's tokens."""
        self._max_exchanges, self._max_body_bytes, self.lock, self._redactor = max_exchanges, max_body_bytes, lock, redactor
        self._large_bytes = MAX_BYTES // 2  # of one exchange
        self._max_bytes = max(MAX_BYTES, max_exchanges * EXCHANGE_BYTES)  # whoever asks for a million small exchanges gets them
        self._records: deque[_Recorded] = deque()
        self.bytes = 0  # of all exchanges; the headers that requests of one connection share count once
        self._forgotten = 0  # how many were cleared or rolled back, and so do not count as dropped
        self.seen = 0  # how many were ever recorded
        self.is_on = max_exchanges > 0
        self._listeners: tuple[Callable[[Exchange], None], ...] = ()  # of every exchange
        self._row_listeners: tuple[Callable[[Exchange], None], ...] = ()  # of those that have rows: these, and others
        self._waiting: list[Lock] = []  # of each `wait_for` one that it waits to take
        self.total: JournalTotal | None = None
        self.settled = 0  # how many of the bytes the total knows

    def listen(self, listener: Callable[[Exchange], None], only_kinder: bool = False) -> None:
        """Call the listener, after earlier ones, with every exchange from now on, also where none is kept, before it is answered;
        with ``only_kinder`` with those that have rows. It must not block; what it raises is written to stderr.
        """
        self._row_listeners += (listener,)
        if not only_kinder:
            self._listeners += (listener,)
        self.is_on = True

    def record(
        self,
        service: str | None,
        operation: Operation | None,
        owner: str | None,
        request: Request,
        response: Response,
        duration: float,
        fault: Fault | None = None,
        began: float = 0.0,
    ) -> None:
        """Keep an exchange, which ``began`` at that moment of `machine_seconds`. The caller holds the world's lock."""
        body, path, query, records, number = request.body, request.path, request.query, self._records, self.seen + 1
        headers, size = request.redacted_headers or BY_NAME.headers(request.headers), len(body) + len(response.body)
        verb, key, keys = (None, None, ()) if operation is None else (operation.verb, operation.key, operation.keys)
        if size > self._max_body_bytes:
            body, response = self._cut(body, self._max_body_bytes), self._with_cut_body(response, self._max_body_bytes)
            size = len(body) + len(response.body)
        size += EXCHANGE_BYTES + 2 * len(path) + len(query)  # a key is a part of the path
        if response.headers is not JSON:
            size += header_bytes(response.headers)
        if keys:
            size += sum(map(len, keys)) + KEY_BYTES * len(keys)
        if size > self._large_bytes:
            body, path, query, response = self._fitted(body, path, query, response)
            size = EXCHANGE_BYTES + sum(map(len, (body, path, path, query, response.body, *keys)))
            size += header_bytes(response.headers) + KEY_BYTES * len(keys)
        record: _Recorded = (
            number, size, service, verb, key, keys, owner, request.method,
            headers, body, path, query, response, duration, fault, began,
        )  # fmt: skip
        if not records or records[-1][_HEADERS] is not headers:
            size += headers.size
        records.append(record)
        self.seen = number
        self.bytes = size = self.bytes + size
        if self._waiting:
            self._wake()
        for listener in self._row_listeners if response.rows else self._listeners:
            try:
                listener(Exchange(record, self._redactor))
            except Exception:  # the answer does not depend on who listens
                log_exception()
        if len(records) > self._max_exchanges:
            self._drop(records.popleft(), 0)
        if size > self._max_bytes:
            self.give_up(self.bytes - self._max_bytes)
        if size - self.settled > _SETTLE_BYTES:
            self._settle()

    def _wake(self) -> None:
        """Wake every wait, so that it looks again. The caller holds the lock, so no other thread does this meanwhile."""
        for came in self._waiting:
            if came.locked():
                came.release()

    def _drop(self, record: _Recorded, neighbour: int) -> None:
        """Count a record no more that was taken out, with its headers unless the one that was beside it shares them."""
        self.bytes -= record[1]
        if not self._records or self._records[neighbour][_HEADERS] is not record[_HEADERS]:
            self.bytes -= record[_HEADERS].size

    def give_up(self, size: int) -> int:
        """Drop the oldest exchanges, so many bytes of them or a little more. Returns how many. The caller holds the lock."""
        before = self.bytes
        while self._records and before - self.bytes < size:
            self._drop(self._records.popleft(), 0)
        return before - self.bytes

    def _cut(self, body: bytes, length: int) -> bytes:
        return body if len(body) <= length else self._redactor().cut(body, length)

    def _with_cut_body(self, response: Response, length: int) -> Response:
        return response if len(response.body) <= length else response.replace(body=self._cut(response.body, length))

    def _fitted(self, body: bytes, path: bytes, query: bytes, response: Response) -> tuple[bytes, bytes, bytes, Response]:
        """The parts of a large exchange, cut so that it is smaller than the bound of its journal. (The service bounds the keys.)"""
        length = MAX_BYTES // _PARTS_THAT_FIT
        if header_bytes(response.headers) > MAX_HEADERS_BYTES:
            response = response.replace(headers=tuple(cut_headers(response.headers, str)))
        body, path, query = (self._cut(part, length) for part in (body, path, query))
        return body, path, query, self._with_cut_body(response, length)

    # ------------------------------------------------------------------------------------------------------------ one moment

    def snapshot(self) -> Snapshot:
        """What it holds now."""
        with self.lock:
            records, seen = list(self._records), self.seen
            dropped = seen - self._forgotten - len(records)
        exchanges = [Exchange(record, self._redactor) for record in records]
        return Snapshot(exchanges, dropped, seen, self._max_exchanges > 0 and not dropped)

    @overload
    def __getitem__(self, place: int) -> Exchange: ...
    @overload
    def __getitem__(self, place: slice) -> list[Exchange]: ...
    def __getitem__(self, place: int | slice) -> Exchange | list[Exchange]:
        if isinstance(place, slice):
            return self.snapshot().exchanges[place]
        with self.lock:
            try:
                return Exchange(self._records[place], self._redactor)
            except IndexError:
                raise IndexError(f"the journal has no exchange {place}: it holds {len(self._records) or 'none'}") from None

    def __iter__(self) -> Iterator[Exchange]:
        return iter(self.snapshot().exchanges)

    def __len__(self) -> int:
        with self.lock:
            return len(self._records)

    def since(self, seen: int) -> list[Exchange]:
        """The exchanges after the first ``seen``, as far as they are still kept."""
        return [exchange for exchange in self if exchange.number > seen]

    @property
    def dropped(self) -> int:
        """How many older exchanges were dropped for newer ones."""
        with self.lock:
            return self.seen - self._forgotten - len(self._records)

    def mark(self) -> tuple[int, int]:
        """For `rollback`. The caller holds the lock."""
        return self.seen, self.seen - self._forgotten

    def rollback(self, mark: tuple[int, int]) -> None:
        """Forget the exchanges after the mark. Older ones that were dropped for them stay dropped."""
        seen, count = mark
        with self.lock:
            dropped = self.dropped  # without those that are forgotten now, nor, after `clear`, those that were cleared
            while self._records and self._records[-1][0] > seen:
                self._drop(self._records.pop(), -1)
            self._forgotten = self.seen - len(self) - min(dropped, count - len(self))
            self._settle()

    def clear(self) -> int:
        """Remove every exchange. Returns how many there were."""
        with self.lock:
            count = len(self._records)
            self._records.clear()
            self.bytes, self._forgotten = 0, self.seen
            self._settle()
        return count

    def _settle(self) -> None:
        total = self.total
        if total is not None:
            total.settle(self)

    # ------------------------------------------------------------------------------------------------------- questions

    @property
    def unmatched(self) -> list[Exchange]:
        """The exchanges that no service, route, mount or fallback answered."""
        return [exchange for exchange in self if exchange.unmatched]

    def filter(
        self,
        method: Text | None = None,
        *,
        key: Text | None = None,
        service: Text | None = None,
        verb: Text | None = None,
        path: Text | None = None,
        owner: Text | None = None,
        status: int | None = None,
    ) -> list[Exchange]:
        """The exchanges that match all given fields. A string must equal the field; a compiled pattern is searched in it. Raises
        ``ValueError`` for a value that no field can have.
        """
        matcher = Matcher(method=method, key=key, service=service, verb=verb, path=path, owner=owner, status=status)
        return [exchange for exchange in self if matcher.matches(exchange)]

    def assert_requested(
        self,
        method: Text | None = None,
        *,
        times: int | None = None,
        key: Text | None = None,
        service: Text | None = None,
        verb: Text | None = None,
        path: Text | None = None,
        owner: Text | None = None,
        status: int | None = None,
    ) -> None:
        """Raises ``AssertionError``, with the nearest misses, unless there was such an exchange (see `filter`). With ``times``
        there must be exactly that many, and no exchange may have been dropped.
        """
        __tracebackhide__ = True
        self._check(Matcher(method=method, key=key, service=service, verb=verb, path=path, owner=owner, status=status), times)

    def assert_not_requested(
        self,
        method: Text | None = None,
        *,
        key: Text | None = None,
        service: Text | None = None,
        verb: Text | None = None,
        path: Text | None = None,
        owner: Text | None = None,
        status: int | None = None,
    ) -> None:
        """Raises ``AssertionError`` if there was such an exchange, or if older ones, which may have matched, were dropped."""
        __tracebackhide__ = True
        self._check(Matcher(method=method, key=key, service=service, verb=verb, path=path, owner=owner, status=status), 0)

    def wait_for(
        self,
        method: Text | None = None,
        *,
        times: int = 1,
        timeout: float = 5.0,
        key: Text | None = None,
        service: Text | None = None,
        verb: Text | None = None,
        path: Text | None = None,
        owner: Text | None = None,
        status: int | None = None,
    ) -> list[Exchange]:
        """Wait until at least ``times`` exchanges match (see `filter`), and return them. Earlier exchanges count, too. ``timeout``
        is in seconds of real time, even if the clock is frozen: 0 looks once, 300 is the maximum. In an async test write
        ``await asyncio.to_thread(journal.wait_for, ...)``, so that the event loop goes on.

        Raises ``AssertionError``, with the nearest misses, if they do not come in time, and ``ValueError`` for impossible
        arguments.
        """
        __tracebackhide__ = True
        checked_number("timeout", timeout, float, 0, MAX_WAIT_SECONDS)
        matcher = Matcher(method=method, key=key, service=service, verb=verb, path=path, owner=owner, status=status)
        wait = Wait(matcher, times)
        if not self.wait_for_matches(wait, timeout):
            raise AssertionError(self.missing(matcher, times, timeout))
        return self.found_by(wait)

    def found_by(self, wait: Wait) -> list[Exchange]:
        return [Exchange(record, self._redactor) for record in wait.found]

    def wait_for_matches(self, wait: Wait, seconds: float) -> bool:
        """Whether there are so many exchanges that match: as soon as there are, or when the time is over. Raises ``ValueError``
        where the journal can never hold so many.
        """
        if not self._max_exchanges:
            raise ValueError("journal_exchanges=0 keeps no exchange: expected a journal that keeps some, to wait for one")
        checked_number("times", wait.times, int, 1, self._max_exchanges)
        end = self._now() + seconds
        came = Lock()
        came.acquire()  # `record` releases it
        with self.lock:
            self._waiting.append(came)
        try:
            while True:
                with _comparing:
                    self._look(wait)
                left, are_enough = end - self._now(), len(wait.found) >= wait.times
                if not wait.coming and (are_enough or left <= 0):
                    return are_enough
                if not wait.coming:
                    came.acquire(timeout=left)
        finally:
            with self.lock:
                self._waiting.remove(came)

    def _look(self, wait: Wait) -> None:
        """Take what has come since the last look, and compare some of it."""
        with self.lock:
            if wait.forgotten != self._forgotten:  # some were cleared or rolled back
                wait.found.clear()
                wait.coming.clear()
                wait.looked, wait.forgotten = wait.since, self._forgotten
            newest_first = takewhile(lambda record: record[0] > wait.looked, reversed(self._records))
            wait.coming.extend([*newest_first][::-1])
            wait.looked, oldest = max(wait.looked, self.seen), self._records[0][0] if self._records else self.seen + 1
        for records in (wait.found, wait.coming):
            while records and records[0][0] < oldest:  # dropped for newer ones
                records.popleft()
        for _ in range(min(len(wait.coming), _COMPARED_AT_ONCE)):
            record = wait.coming.popleft()
            if wait.matcher.matches(Exchange(record, self._redactor)):
                wait.found.append(record)
            _pause()

    def missing(self, matcher: Matcher, times: int, seconds: float) -> str:
        """Why a wait for so many exchanges failed, with the nearest misses."""
        expected = f"at least {counted(times, 'request')}"
        with _comparing:
            return self._message(matcher, expected, f" within {seconds:g} s", self.snapshot(), shows_misses=True)

    def _check(self, matcher: Matcher, times: int | None) -> None:
        __tracebackhide__ = True
        held = self.snapshot()
        count = sum(map(matcher.matches, held.exchanges))
        if not (count if times is None else held.are_all and count == times):
            expected = "at least one request" if times is None else counted(times, "request") if times else "no request"
            raise AssertionError(self._message(matcher, expected, "", held, shows_misses=times is None or count < times))

    def _message(self, matcher: Matcher, expected: str, within: str, held: Snapshot, shows_misses: bool) -> str:
        exchanges, dropped, _, are_all = held
        found = [exchange for exchange in exchanges if matcher.matches(exchange)]
        lines = [f"expected {expected} with {str(matcher) or 'anything'}{within}"]
        lines[0] += f"; there were {len(found)} of {len(exchanges)} exchanges"
        if not are_all:
            lines[0] += f" ({f'{dropped} older ones were dropped' if dropped else 'journal_exchanges=0 keeps none'})"
        lines += [f"  {exchange!r}" for exchange in found[:_MAX_SHOWN_EXCHANGES]]
        if shows_misses:
            missed = [(count, exchange) for exchange in exchanges if (count := len(matcher.differing(exchange)))]
            missed.sort(key=lambda pair: pair[0])
            lines += ["the nearest misses:"] if missed else []
            lines += [f"  {one!r}: {'; '.join(matcher.mismatches(one))}" for _, one in missed[:_MAX_SHOWN_EXCHANGES]]
        return "\n".join(map(self._redactor().redact, lines))

    def __repr__(self) -> str:
        """How many exchanges there are, and the newest."""
        exchanges, dropped, _, _ = self.snapshot()
        newest = f", the newest {exchanges[-1]!r}" if exchanges else ""
        return f"<kvfake.Journal of {len(exchanges)}, {dropped} older ones dropped{newest}>"
