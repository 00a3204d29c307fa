"""What was asked, and what was answered: the record of one exchange.

Law: it records and shows, and decides nothing. No token stays in it: what a request said to show who it is is cut short once it
is answered.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from kvfake.services.mattermost import without_token
from kvfake.services.message import Operation, Request, Response
from kvfake.world.owners import shortened

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
        return without_token(target).decode("utf-8", "backslashreplace")

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
        mishap = self._response.mishap
        return mishap is not None and mishap.is_unanswered

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


def shown_headers(headers: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
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
