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
from kvfake.world.owners import LEAST_BYTES_TO_SHOW, SHOWN_BYTES, shortened

_SECRET = (b"cookie", b"x-csrf-token")
_SCHEMES = (b"bearer", b"token", b"basic")
_HIDDEN = b"..."
_BEARER = b"Bearer "
_SHOWN, _LONG = len(_BEARER) + SHOWN_BYTES, len(_BEARER) + LEAST_BYTES_TO_SHOW


class Message(NamedTuple):
    """The headers, names in lower case, and the body of a request or a response."""

    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Asked:
    """One request to a world, as a fault's ``when`` sees it. ``service`` is who deals with it (``mattermost``, ``persist``,
    ``respond``, ``mount``, ``fallback``), or ``None``. ``verb``, ``key`` and ``owner`` are ``None`` where it was refused before
    they were known.
    """

    __slots__ = ("_operation", "_path", "_query", "_request", "owner", "service")

    def __init__(
        self, service: str | None, operation: Operation | None, owner: str | None, request: Request, path: bytes, query: bytes
    ) -> None:
        self.service, self.owner = service, owner
        self._operation, self._request, self._path, self._query = operation, request, path, query

    def answered(self, response: Response, duration: float, fault: object) -> Exchange:
        """The record of it, once it is answered."""
        return Exchange(
            self.service, self._operation, self.owner, self._request, self._path, self._query, response, duration, fault
        )

    @property
    def operation(self) -> Operation | None:
        """What is asked of the service; ``None`` where it refuses."""
        return self._operation

    @property
    def verb(self) -> str | None:
        """``get``, ``set``, ``delete``, ``list``, ``mget``."""
        return None if self._operation is None else self._operation.verb

    @property
    def method(self) -> str:
        return self._request.method

    @property
    def path(self) -> str:
        """Below the world's address, with its query, as it was sent; without the value of an ``access_token``."""
        target = self._path + b"?" + self._query if self._query else self._path
        return without_token(target).decode("utf-8", "backslashreplace")

    @property
    def key(self) -> str | None:
        """The one key that is meant; a list's is what the keys begin with."""
        return None if self._operation is None or self._operation.verb == "mget" else _text(self._operation.key)

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key that is meant."""
        if self._operation is None:
            return ()
        return tuple(map(_text, self._operation.keys)) if self._operation.verb == "mget" else (_text(self._operation.key),)

    @property
    def request(self) -> Message:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self._request.headers.items()}
        return Message(headers, self._request.body)

    def __repr__(self) -> str:
        return f"<{self.method} {self.path} by {self.owner}>"


class Exchange(Asked):
    """A request and its answer. ``number`` counts those of its world; ``duration`` is in seconds, with a fault's delay; ``size`` is
    in bytes of bodies, of keys, and of a value that was written differently, as they are kept.

    The request's headers are this record's from now on: tokens are cut out of them.
    """

    __slots__ = ("_response", "duration", "fault", "number", "size")

    def __init__(
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
        headers, body = request.headers, request.body
        authorization = headers.get(b"authorization")
        if authorization is not None:
            headers[b"authorization"] = _cut(authorization)
        if b"cookie" in headers or b"x-csrf-token" in headers:
            headers.update((name, _HIDDEN) for name in _SECRET if name in headers)
        if query:
            query = without_token(b"?" + query)[1:]
            request = request._replace(target=path)
        self.service, self.owner, self.duration, self.fault = service, owner, duration, fault
        self._operation, self._request, self._path, self._query = operation, request, path, query
        self._response = response
        self.size = len(body) + len(response.body)
        if operation is not None and operation.value is not body:
            self.size += len(operation.value) + sum(map(len, operation.keys))
        self.number = 0

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

    def cut_bodies(self, limit: int) -> None:
        """Keep so many bytes of each body."""
        self._request = self._request._replace(body=self._request.body[:limit])
        self._response = self._response._replace(body=self._response.body[:limit])
        self.size = len(self._request.body) + len(self._response.body)
        if self._operation is not None:
            self._operation = self._operation._replace(value=b"")
            self.size += sum(map(len, self._operation.keys))

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
    if len(value) >= _LONG and value.startswith(_BEARER):  # as nearly all of them are
        return value[:_SHOWN] + _HIDDEN
    scheme, _, token = value.partition(b" ")
    if scheme.lower() not in _SCHEMES:
        return _HIDDEN
    return scheme + b" " + shortened(token)
