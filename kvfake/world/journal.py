"""What was asked, and what was answered: the record of one exchange.

Law: it records and shows, and decides nothing. No token stays in it: what a request said to show who it is is cut short once it
is answered.

=====

What was asked of one world and what it answered: a bounded record, and questions about it.

Law: it keeps and compares; what one exchange says is `kvfake.world.journal`'s.
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


_AUTHORIZATION = b"authorization"
_SECRET = (b"cookie", b"x-csrf-token")
_SCHEMES = (b"bearer", b"token", b"basic")
_HIDDEN = b"..."


class Message(NamedTuple):
    """The headers, names in lower case, and the body of a request or a response."""

    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


Record = tuple[
    int, int, str | None, str | None, bytes | None, tuple[bytes, ...], str | None, str,
    Mapping[bytes, bytes], bytes, bytes, bytes, Response, float, object,
]  # fmt: skip
"""What is kept of an exchange: number, size, service, verb, key, keys, owner, method, headers, body, path, query, response,
duration, fault. A plain tuple: one is made for every request, and most are never read.
"""


class _Described:
    """What an exchange says of its request, whether or not it is answered yet."""

    __slots__ = ()

    method: str
    owner: str | None
    verb: str | None
    _headers: Mapping[bytes, bytes]
    _body: bytes
    _path: bytes
    _query: bytes
    _key: bytes | None
    _keys: tuple[bytes, ...]

    @property
    def path(self) -> str:
        """Below the world's address, with its query, as it was sent; without the value of an ``access_token``."""
        target = self._path + b"?" + self._query if self._query else self._path
        return redact_query(target).decode("utf-8", "backslashreplace")

    @property
    def key(self) -> str | None:
        """The one key that is meant; a list's is what the keys begin with."""
        return None if self._key is None or self.verb == "mget" else _text(self._key)

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key that is meant."""
        return () if self._key is None else tuple(map(_text, self._keys if self.verb == "mget" else (self._key,)))

    @property
    def request(self) -> Message:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self._headers.items()}
        return Message(headers, self._body)

    def __repr__(self) -> str:
        return f"<{self.method} {self.path} by {self.owner}>"


class Asked(_Described):
    """One request to a world, as a fault's ``when`` sees it. ``service`` is who deals with it (``mattermost``, ``persist``,
    ``respond``, ``mount``, ``fallback``), or ``None``; ``verb`` is ``get``, ``set``, ``delete``, ``list`` or ``mget``. ``verb``,
    ``key`` and ``owner`` are ``None`` where it was refused before they were known.
    """

    __slots__ = (
        "_body", "_headers", "_key", "_keys", "_path", "_query", "_request", "method", "operation", "owner", "service", "verb"
    )  # fmt: skip

    def __init__(
        self, service: str | None, operation: Operation | None, owner: str | None, request: Request, path: bytes, query: bytes
    ) -> None:
        self.service, self.operation, self.owner = service, operation, owner
        self._request, self._path, self._query = request, path, query
        self.method, self._headers, self._body = request.method, request.headers, request.body
        if operation is None:
            self.verb, self._key, self._keys = None, None, ()
        else:
            self.verb, self._key, self._keys = operation.verb, operation.key, operation.keys

    @property
    def parts(self) -> tuple[str | None, Operation | None, str | None, Request, bytes, bytes]:
        """What it was made of."""
        return self.service, self.operation, self.owner, self._request, self._path, self._query


class Exchange(_Described):
    """A request and its answer, as the journal has kept them. The fields are those of `Asked`, without tokens; ``number`` counts
    those of its world; ``duration`` is in seconds, with a fault's delay; ``size`` is in bytes of bodies and keys, as they are kept.
    """

    __slots__ = (
        "_body", "_headers", "_key", "_keys", "_path", "_query", "_record", "_response",
        "duration", "fault", "method", "number", "owner", "service", "size", "verb",
    )  # fmt: skip

    def __init__(self, record: Record) -> None:
        self._record = record
        (
            self.number, self.size, self.service, self.verb, self._key, self._keys, self.owner, self.method,
            self._headers, self._body, self._path, self._query, self._response, self.duration, self.fault,
        ) = record  # fmt: skip

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Exchange) and self._record is other._record

    def __hash__(self) -> int:
        return id(self._record)

    @property
    def status(self) -> int | None:
        """What was answered; ``None`` where a fault let no answer out."""
        return None if self._is_unanswered else self._response.status

    @property
    def unmatched(self) -> bool:
        """Whether nobody deals with such a request."""
        return self.service is None

    @property
    def rows(self) -> tuple[str, ...]:
        """The facts in which the answer was kinder than the service."""
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

    def as_json(self, hide: Callable[[str], str] = str) -> dict[str, Any]:
        """For JSON, in whole characters; ``hide`` cuts tokens out."""
        return {
            "number": self.number,
            "service": self.service,
            "verb": self.verb,
            "method": self.method,
            "path": hide(self.path),
            "key": None if self.key is None else hide(_characters(self.key)),
            "owner": self.owner,
            "status": self.status,
            "request": _message_as_json(self.request, hide),
            "response": _message_as_json(self.response, hide),
            "fault": None if self.fault is None else hide(_characters(str(self.fault))),
            "rows": list(self.rows),
            "duration": round(self.duration, 6),
        }

    def __repr__(self) -> str:
        return f"<{self.method} {self.path} by {self.owner}: {self.status or 'no answer'}>"


def redact_headers(headers: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The headers of a request as they can be kept: with every token cut short."""
    shown = dict(headers)
    if _AUTHORIZATION in shown:
        shown[_AUTHORIZATION] = _cut(shown[_AUTHORIZATION])
    shown.update((name, _HIDDEN) for name in _SECRET if name in shown)
    return shown


def _message_as_json(message: Message, hide: Callable[[str], str]) -> dict[str, Any]:
    text = hide(_text(message.body))
    try:
        text.encode()
        body = {"body": text}
    except UnicodeEncodeError:
        body = {"body_base64": base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()}
    return {"headers": {name: hide(value) for name, value in message.headers.items()}, **body}


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _characters(text: str) -> str:
    """The text, with an escape for what is no character: a byte of a key that is no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def _cut(value: bytes) -> bytes:
    """What a header that holds a token may show: its scheme, and the beginning of a token that is not known by that."""
    scheme, _, token = value.partition(b" ")
    if scheme.lower() not in _SCHEMES:
        return _HIDDEN
    return scheme + b" " + shortened(token)


MAX_BYTES = 16 * 1024 * 1024  # of all exchanges together
_MAX_SHOWN_MISSES = 5  # nearest misses


class Journal(Sequence[Exchange]):
    """The exchanges of one world, oldest first. ``dropped`` says how many older ones there were."""

    __slots__ = ("_bytes", "_forgotten", "_listener", "_lock", "_max_body_bytes", "_max_exchanges", "_records", "is_on", "seen")

    def __init__(self, max_exchanges: int, max_body_bytes: int, lock: RLock) -> None:
        """``lock`` is the world's, which whoever adds holds."""
        self._max_exchanges, self._max_body_bytes, self._lock = max_exchanges, max_body_bytes, lock
        self._records: deque[Record] = deque()
        self._bytes = 0
        self._forgotten = 0  # those that do not count any more
        self.seen = 0  # all that there ever were
        self.is_on = max_exchanges > 0
        self._listener: Callable[[Exchange], None] | None = None

    def listen(self, listener: Callable[[Exchange], None]) -> None:
        """Be told of every exchange, also where none is kept."""
        self._listener, self.is_on = listener, True

    def record(
        self,
        service: str | None,
        operation: Operation | None,
        owner: str | None,
        request: Request,
        path: bytes,
        query: bytes,
        response: Response,
        duration: float,
        fault: object = None,
    ) -> None:
        """Keep an exchange, without tokens. Whoever records holds the world's lock."""
        body, records, number = request.body, self._records, self.seen + 1
        headers, size = request.shown or redact_headers(request.headers), len(body) + len(response.body)
        verb, key, keys = (None, None, ()) if operation is None else (operation.verb, operation.key, operation.keys)
        if size > self._max_body_bytes:
            body, response = body[: self._max_body_bytes], response.replace(body=response.body[: self._max_body_bytes])
            size = len(body) + len(response.body)
        if keys:
            size += sum(map(len, keys))
        if query:
            query = redact_query(b"?" + query)[1:]
        records.append(
            (number, size, service, verb, key, keys, owner, request.method, headers, body, path, query, response, duration, fault)
        )
        self.seen = number
        self._bytes += size
        if self._listener is not None:
            self._listener(Exchange(records[-1]))
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
        """Those that came after so many, as far as they are still here."""
        return [exchange for exchange in self if exchange.number > seen]

    def mark(self) -> tuple[int, int]:
        """For `forget_since`."""
        return self.seen, self.dropped + len(self)

    def forget_since(self, mark: tuple[int, int]) -> None:
        """As if those that came after the mark had not come; what they have crowded out is dropped."""
        seen, count = mark
        with self._lock:
            while self._records and self._records[-1][0] > seen:
                self._bytes -= self._records.pop()[1]
            self._forgotten = self.seen - len(self) - min(self.dropped, count - len(self))

    def clear(self) -> None:
        with self._lock:
            self._records.clear()
            self._bytes, self._forgotten = 0, self.seen

    @property
    def dropped(self) -> int:
        """How many older ones made room."""
        return self.seen - self._forgotten - len(self._records)

    # ------------------------------------------------------------------------------------------------------- questions

    @property
    def unmatched(self) -> list[Exchange]:
        """What nobody answers."""
        return [exchange for exchange in self if exchange.unmatched]

    def filter(self, method: Wanted | None = None, **wanted: Wanted | None) -> list[Exchange]:
        """The exchanges of which all this holds: ``service``, ``verb``, ``method``, ``path``, ``key``, ``owner``, ``status``;
        exact values, or compiled patterns, of which a part must be found.
        """
        matcher = Matcher(method=method, **wanted)
        return [exchange for exchange in self if matcher.meets(exchange)]

    def assert_requested(self, method: Wanted | None = None, *, times: int | None = None, **wanted: Wanted | None) -> None:
        """``AssertionError``, with the nearest misses, unless there was such an exchange (see `filter`), or just so many: then
        none may have been dropped.
        """
        self._check(Matcher(method=method, **wanted), times)

    def assert_not_requested(self, method: Wanted | None = None, **wanted: Wanted | None) -> None:
        """``AssertionError``, with the exchanges, where there was such a one, or may have been: some were dropped."""
        self._check(Matcher(method=method, **wanted), 0)

    def _check(self, matcher: Matcher, times: int | None) -> None:
        exchanges = list(self)
        found = [exchange for exchange in exchanges if matcher.meets(exchange)]
        are_all = self._max_exchanges > 0 and not self.dropped
        if found if times is None else are_all and len(found) == times:
            return
        lines = [f"expected {_times(times)} with {str(matcher) or 'anything'}"]
        lines[0] += f"; there were {len(found)} of {len(exchanges)} exchanges"
        if not are_all:
            lines[0] += f" ({f'{self.dropped} older ones were dropped' if self.dropped else 'journal_exchanges=0 keeps none'})"
        lines += [f"  {exchange!r}" for exchange in found[:_MAX_SHOWN_MISSES]]
        if times is None or len(found) < times:
            lines += self._nearest(matcher, exchanges)
        raise AssertionError("\n".join(lines))

    @staticmethod
    def _nearest(matcher: Matcher, exchanges: list[Exchange]) -> Iterator[str]:
        missed = [(mismatches, exchange) for exchange in exchanges if (mismatches := matcher.mismatches(exchange))]
        missed.sort(key=lambda pair: len(pair[0]))
        if missed:
            yield "the nearest misses:"
        for mismatches, exchange in missed[:_MAX_SHOWN_MISSES]:
            yield f"  {exchange!r}: {'; '.join(mismatches)}"


def _times(times: int | None) -> str:
    return "at least one request" if times is None else "no request" if times == 0 else f"{times} request{'s'[: times > 1]}"
