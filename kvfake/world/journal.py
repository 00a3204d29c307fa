"""What was asked of one world and what it answered: a bounded record.

Law: it records and shows, and decides nothing. No token stays in it: what a request said to show who it is is cut short before
it is kept.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, overload

from kvfake.services.mattermost import without_token
from kvfake.services.message import Operation, Request, Response
from kvfake.world.owners import shortened

MAX_EXCHANGES = 1000
MAX_BODY_BYTES = 64 * 1024  # of one body; what is longer is cut
MAX_BYTES = 16 * 1024 * 1024  # of all bodies together

_SECRET = (b"authorization", b"cookie", b"x-csrf-token")
_SCHEMES = (b"bearer", b"token", b"basic")
_HIDDEN = b"..."


class Message(NamedTuple):
    """The headers, names in lower case, and the body of a request or a response."""

    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Exchange:
    """One request and its answer. ``verb``, ``key`` and ``owner`` are ``None`` where it was refused before they were known.

    The request's headers are this record's from now on: tokens are cut out of them.
    """

    __slots__ = ("_key", "_request", "_response", "duration", "owner", "service", "verb")

    def __init__(
        self,
        service: str | None,
        operation: Operation | None,
        owner: str | None,
        request: Request,
        response: Response,
        duration: float,
    ) -> None:
        if len(request.body) > MAX_BODY_BYTES or len(response.body) > MAX_BODY_BYTES:
            request = request._replace(body=request.body[:MAX_BODY_BYTES])
            response = response._replace(body=response.body[:MAX_BODY_BYTES])
        if b"?" in request.target:
            request = request._replace(target=without_token(request.target))
        headers = request.headers
        for name in _SECRET:
            if name in headers:
                headers[name] = _cut(headers[name])
        self.service, self.owner, self.duration = service, owner, duration
        self._request, self._response = request, response
        self.verb: str | None = None if operation is None else operation.verb
        self._key: bytes | None = None if operation is None else operation.key

    @property
    def method(self) -> str:
        return self._request.method

    @property
    def path(self) -> str:
        """The target as it was sent, without the value of an ``access_token``."""
        return self._request.target.decode("utf-8", "backslashreplace")

    @property
    def key(self) -> str | None:
        return None if self._key is None else self._key.decode("utf-8", "surrogateescape")

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def rows(self) -> tuple[str, ...]:
        """The facts in which the answer was kinder than the service."""
        return self._response.rows

    @property
    def request(self) -> Message:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self._request.headers.items()}
        return Message(headers, self._request.body)

    @property
    def response(self) -> Message:
        return Message({name.lower(): value for name, value in self._response.headers}, self._response.body)

    @property
    def size(self) -> int:
        """Bytes of both bodies, as they are kept."""
        return len(self._request.body) + len(self._response.body)

    def __repr__(self) -> str:
        return f"<{self.method} {self.path} by {self.owner}: {self.status}>"


class Journal(Sequence[Exchange]):
    """The exchanges of one world, oldest first. ``dropped`` says how many older ones there were."""

    __slots__ = ("_bytes", "_exchanges", "dropped")

    def __init__(self) -> None:
        self._exchanges: deque[Exchange] = deque()
        self._bytes = 0
        self.dropped = 0

    def add(self, exchange: Exchange) -> None:
        self._exchanges.append(exchange)
        self._bytes += exchange.size
        while len(self._exchanges) > MAX_EXCHANGES or self._bytes > MAX_BYTES:
            self._bytes -= self._exchanges.popleft().size
            self.dropped += 1

    @overload
    def __getitem__(self, place: int) -> Exchange: ...
    @overload
    def __getitem__(self, place: slice) -> list[Exchange]: ...
    def __getitem__(self, place: int | slice) -> Exchange | list[Exchange]:
        return list(self._exchanges)[place] if isinstance(place, slice) else self._exchanges[place]

    def __iter__(self) -> Iterator[Exchange]:
        return iter(list(self._exchanges))

    def __len__(self) -> int:
        return len(self._exchanges)

    @property
    def seen(self) -> int:
        """How many exchanges there were, also those that were dropped."""
        return len(self._exchanges) + self.dropped

    def since(self, seen: int) -> list[Exchange]:
        """Those that came after so many, as far as they are still here."""
        return list(self._exchanges)[max(0, seen - self.dropped) :]

    def clear(self) -> None:
        self._exchanges.clear()
        self._bytes = self.dropped = 0


def _cut(value: bytes) -> bytes:
    """What a header that holds a token may show: its scheme, and the beginning of a token that is not known by that."""
    scheme, _, token = value.partition(b" ")
    if scheme.lower() not in _SCHEMES:
        return _HIDDEN
    return scheme + b" " + shortened(token)
