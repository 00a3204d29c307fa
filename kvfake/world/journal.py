"""The journal of one world: a bounded record of its exchanges (a request and its response), and questions about it.

Law: it records, shows and compares, and decides nothing. No token stays in it: credentials are cut short before an exchange is
recorded.
"""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from kvfake.services.mattermost import redact_query
from kvfake.services.messages import Operation, Request, Response
from kvfake.world.matching import Matcher, Wanted
from kvfake.world.tokens import shortened

if TYPE_CHECKING:
    from threading import RLock

MAX_BYTES = 16 * 1024 * 1024  # of all exchanges together
_MAX_SHOWN_EXCHANGES = 5  # in the message of an assertion

_AUTHORIZATION = b"authorization"
_HIDDEN_HEADERS = (b"cookie", b"x-csrf-token")
_SCHEMES = (b"bearer", b"token", b"basic")
_HIDDEN = b"..."


class Message(NamedTuple):
    """The headers, names in lower case, and the body of a request or a response."""

    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


_Recorded = tuple[
    int, int, str | None, str | None, bytes | None, tuple[bytes, ...], str | None, str,
    Mapping[bytes, bytes], bytes, bytes, bytes, Response, float, object,
]  # fmt: skip
"""What is kept of an exchange: number, size, service, verb, key, keys, owner, method, headers, body, path, query, response,
duration, fault. A plain tuple, the cheapest thing to make: one is made for every request, and most are never read.
"""


class _RequestFields:
    """The fields of a request that faults, journals and users look at."""

    __slots__ = ("_body", "_headers", "_key", "_keys", "_path", "_query", "method", "owner", "service", "verb")

    def __init__(
        self, service: str | None, verb: str | None, key: bytes | None, keys: tuple[bytes, ...], owner: str | None,
        method: str, headers: Mapping[bytes, bytes], body: bytes, path: bytes, query: bytes,
    ) -> None:  # fmt: skip
        self.service, self.verb, self._key, self._keys, self.owner = service, verb, key, keys, owner
        self.method, self._headers, self._body, self._path, self._query = method, headers, body, path, query

    @property
    def path(self) -> str:
        """Below the world's address, with its query, as it was sent. The value of an ``access_token`` is hidden."""
        target = self._path + b"?" + self._query if self._query else self._path
        return redact_query(target).decode("utf-8", "backslashreplace")

    @property
    def key(self) -> str | None:
        """The key of a get, set or delete; of a list, what the keys begin with; ``None`` for an mget."""
        return None if self._key is None or self.verb == "mget" else _text(self._key)

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key: those of an mget, else the one of `key`."""
        return () if self._key is None else tuple(map(_text, self._keys if self.verb == "mget" else (self._key,)))

    @property
    def request(self) -> Message:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self._headers.items()}
        return Message(headers, self._body)

    def __repr__(self) -> str:
        return f"<{self.method} {self.path} by {self.owner}>"


class IncomingRequest(_RequestFields):
    """One request to a world, as a fault's ``when`` sees it. ``service`` is what answers it (``mattermost``, ``persist``,
    ``respond``, ``mount``, ``fallback``), or ``None``; ``verb`` is ``get``, ``set``, ``delete``, ``list`` or ``mget``. ``verb``,
    ``key`` and ``owner`` are ``None`` where the request was refused before they were known.
    """

    __slots__ = ("message", "operation")

    def __init__(self, service: str | None, operation: Operation | None, owner: str | None, request: Request) -> None:
        verb, key, keys = (None, None, ()) if operation is None else (operation.verb, operation.key, operation.keys)
        super().__init__(
            service, verb, key, keys, owner, request.method, request.headers, request.body, request.path, request.query
        )
        self.operation, self.message = operation, request


class Exchange(_RequestFields):
    """A request and its answer, as the journal keeps them. The fields are those of `IncomingRequest`, without tokens. ``number``
    counts the exchanges of its world; ``duration`` is in seconds, with a fault's delay; ``size`` is that of bodies and keys, in
    bytes, as they are kept.
    """

    __slots__ = ("_recorded", "_response", "duration", "fault", "number", "size")

    def __init__(self, recorded: _Recorded) -> None:
        super().__init__(*recorded[2:12])
        self._recorded = recorded
        self.number, self.size = recorded[:2]
        self._response, self.duration, self.fault = recorded[12:]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Exchange) and self._recorded is other._recorded

    def __hash__(self) -> int:
        return id(self._recorded)

    @property
    def status(self) -> int | None:
        """The status of the answer; ``None`` where a fault let no answer out."""
        return None if self._is_unanswered else self._response.status

    @property
    def unmatched(self) -> bool:
        """Whether no service, route, mount or fallback answered the request."""
        return self.service is None

    @property
    def rows(self) -> tuple[str, ...]:
        """The rows of `kvfake.services.facts` in which the answer was kinder than the service."""
        return self._response.rows

    @property
    def response(self) -> Message:
        if self._is_unanswered:
            return Message({}, b"")
        return Message({name.lower(): value for name, value in self._response.headers}, self._response.body)

    @property
    def _is_unanswered(self) -> bool:
        wire_fault = self._response.wire_fault
        return wire_fault is not None and wire_fault.is_unanswered

    def to_dict(self, redact: Callable[[str], str] = str) -> dict[str, Any]:
        """What JSON can hold, in whole characters. ``redact`` takes tokens out of a text."""
        return {
            "number": self.number,
            "service": self.service,
            "verb": self.verb,
            "method": self.method,
            "path": redact(self.path),
            "key": None if self.key is None else redact(_characters(self.key)),
            "owner": self.owner,
            "status": self.status,
            "request": _message_to_dict(self.request, redact),
            "response": _message_to_dict(self.response, redact),
            "fault": None if self.fault is None else redact(_characters(str(self.fault))),
            "rows": list(self.rows),
            "duration": round(self.duration, 6),
        }

    def __repr__(self) -> str:
        return f"<{self.method} {self.path} by {self.owner}: {self.status or 'no answer'}>"


def redact_headers(headers: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The headers of a request, with every token cut short. Of ``Authorization`` a known scheme and the beginning of the token stay
    (`shortened`).
    """
    redacted = dict(headers)
    for name in _HIDDEN_HEADERS:
        if name in redacted:
            redacted[name] = _HIDDEN
    if _AUTHORIZATION in redacted:
        scheme, _, token = redacted[_AUTHORIZATION].partition(b" ")
        redacted[_AUTHORIZATION] = scheme + b" " + shortened(token) if scheme.lower() in _SCHEMES else _HIDDEN
    return redacted


def _message_to_dict(message: Message, redact: Callable[[str], str]) -> dict[str, Any]:
    text = redact(_text(message.body))
    try:
        text.encode()
        body = {"body": text}
    except UnicodeEncodeError:
        body = {"body_base64": base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()}
    return {"headers": {name: redact(value) for name, value in message.headers.items()}, **body}


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _characters(text: str) -> str:
    """The text, with an escape for what is not a character: a byte of a key that is not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


class Journal(Sequence[Exchange]):
    """The exchanges of one world, oldest first. It is bounded: ``dropped`` counts the oldest, which were dropped for newer ones."""

    __slots__ = ("_bytes", "_forgotten", "_listener", "_lock", "_max_body_bytes", "_max_exchanges", "_records", "is_on", "seen")

    def __init__(self, max_exchanges: int, max_body_bytes: int, lock: RLock) -> None:
        """``lock`` is the world's; the caller of `record` holds it."""
        self._max_exchanges, self._max_body_bytes, self._lock = max_exchanges, max_body_bytes, lock
        self._records: deque[_Recorded] = deque()
        self._bytes = 0
        self._forgotten = 0  # how many were cleared or rolled back, and so do not count as dropped
        self.seen = 0  # how many were ever recorded
        self.is_on = max_exchanges > 0
        self._listener: Callable[[Exchange], None] | None = None

    def listen(self, listener: Callable[[Exchange], None]) -> None:
        """Call the listener with every exchange from now on, also where none is kept."""
        self._listener, self.is_on = listener, True

    def record(
        self,
        service: str | None,
        operation: Operation | None,
        owner: str | None,
        request: Request,
        response: Response,
        duration: float,
        fault: object = None,
    ) -> None:
        """Keep an exchange, without tokens. The caller holds the world's lock."""
        body, records, number = request.body, self._records, self.seen + 1
        headers, size = request.redacted_headers or redact_headers(request.headers), len(body) + len(response.body)
        verb, key, keys = (None, None, ()) if operation is None else (operation.verb, operation.key, operation.keys)
        if size > self._max_body_bytes:
            body, response = body[: self._max_body_bytes], response.replace(body=response.body[: self._max_body_bytes])
            size = len(body) + len(response.body)
        if keys:
            size += sum(map(len, keys))
        query = redact_query(b"?" + request.query)[1:] if request.query else b""
        record: _Recorded = (
            number, size, service, verb, key, keys, owner, request.method,
            headers, body, request.path, query, response, duration, fault,
        )  # fmt: skip
        records.append(record)
        self.seen = number
        self._bytes += size
        if self._listener is not None:
            self._listener(Exchange(record))
        while len(records) > self._max_exchanges or self._bytes > MAX_BYTES:
            self._bytes -= records.popleft()[1]

    @overload
    def __getitem__(self, place: int) -> Exchange: ...
    @overload
    def __getitem__(self, place: slice) -> list[Exchange]: ...
    def __getitem__(self, place: int | slice) -> Exchange | list[Exchange]:
        if isinstance(place, slice):
            return [Exchange(record) for record in list(self._records)[place]]
        return Exchange(self._records[place])

    def __iter__(self) -> Iterator[Exchange]:
        return map(Exchange, list(self._records))

    def __len__(self) -> int:
        return len(self._records)

    def since(self, seen: int) -> list[Exchange]:
        """The exchanges after the first ``seen``, as far as they are still kept."""
        return [exchange for exchange in self if exchange.number > seen]

    def mark(self) -> tuple[int, int]:
        """For `rollback`."""
        return self.seen, self.dropped + len(self)

    def rollback(self, mark: tuple[int, int]) -> None:
        """Forget the exchanges after the mark. Older ones that were dropped for them stay dropped."""
        seen, count = mark
        with self._lock:
            dropped = self.dropped  # without those that are forgotten now, nor, after `clear`, those that were cleared
            while self._records and self._records[-1][0] > seen:
                self._bytes -= self._records.pop()[1]
            self._forgotten = self.seen - len(self) - min(dropped, count - len(self))

    def clear(self) -> None:
        with self._lock:
            self._records.clear()
            self._bytes, self._forgotten = 0, self.seen

    @property
    def dropped(self) -> int:
        """How many older exchanges were dropped for newer ones."""
        return self.seen - self._forgotten - len(self._records)

    # ------------------------------------------------------------------------------------------------------- questions

    @property
    def unmatched(self) -> list[Exchange]:
        """The exchanges that no service, route, mount or fallback answered."""
        return [exchange for exchange in self if exchange.unmatched]

    def filter(self, method: Wanted | None = None, **wanted: Wanted | None) -> list[Exchange]:
        """The exchanges that match every field given: ``service``, ``verb``, ``method``, ``path``, ``key``, ``owner``,
        ``status``. A value is exact, or a compiled pattern that must be found somewhere in the field.
        """
        matcher = Matcher(method=method, **wanted)
        return [exchange for exchange in self if matcher.matches(exchange)]

    def assert_requested(self, method: Wanted | None = None, *, times: int | None = None, **wanted: Wanted | None) -> None:
        """``AssertionError``, with the nearest misses, unless there was such an exchange (see `filter`). With ``times`` there must
        be exactly that many, and none may have been dropped.
        """
        self._check(Matcher(method=method, **wanted), times)

    def assert_not_requested(self, method: Wanted | None = None, **wanted: Wanted | None) -> None:
        """``AssertionError``, with the exchanges, where there was one, or where older ones were dropped, which may have matched."""
        self._check(Matcher(method=method, **wanted), 0)

    def _check(self, matcher: Matcher, times: int | None) -> None:
        exchanges = list(self)
        found = [exchange for exchange in exchanges if matcher.matches(exchange)]
        are_all = self._max_exchanges > 0 and not self.dropped
        if found if times is None else are_all and len(found) == times:
            return
        lines = [f"expected {_times(times)} with {str(matcher) or 'anything'}"]
        lines[0] += f"; there were {len(found)} of {len(exchanges)} exchanges"
        if not are_all:
            lines[0] += f" ({f'{self.dropped} older ones were dropped' if self.dropped else 'journal_exchanges=0 keeps none'})"
        lines += [f"  {exchange!r}" for exchange in found[:_MAX_SHOWN_EXCHANGES]]
        if times is None or len(found) < times:
            missed = [(mismatches, exchange) for exchange in exchanges if (mismatches := matcher.mismatches(exchange))]
            missed.sort(key=lambda pair: len(pair[0]))
            lines += ["the nearest misses:"] if missed else []
            lines += [f"  {exchange!r}: {'; '.join(mismatches)}" for mismatches, exchange in missed[:_MAX_SHOWN_EXCHANGES]]
        raise AssertionError("\n".join(lines))


def _times(times: int | None) -> str:
    return "at least one request" if times is None else "no request" if times == 0 else f"{times} request{'s'[: times > 1]}"
