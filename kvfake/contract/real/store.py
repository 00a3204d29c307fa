"""The values that a real server holds, as a store: what the mappings of a test read and write where it runs against one.

Law: it asks the server as an app would, with the token of the owner, and remembers what it set. What the real service cannot do
is `Lacking`, and said so; nothing is made up in its place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from threading import Lock
from typing import Any, NoReturn
from urllib.parse import quote_from_bytes

from kvfake.services import mattermost, persist
from kvfake.services.messages import Request, Response
from kvfake.stores import Entry, Namespace
from kvfake.world.clock import Clock, microseconds

_WHO = (b"authorization", b"cookie", b"x-csrf-token", b"x-requested-with")  # what says who asks (M10, M26)
_SETS = ("PUT", "POST")
_NO_ANSWER = 502  # and more: the server may have done it

Ask = Callable[[Request, bytes], Response]
Lacks = Callable[[str], NoReturn]
"""Remembers what is lacking, and raises it."""


class Lacking(Exception):
    """The real service has no such power, or nobody gave what it needs; the text says what."""


class RealError(RuntimeError):
    """The real server did not do what a test asked of a mapping; the text says what it answered."""


class Made:
    """The way to the real server, which remembers what was set there, as requests that delete it."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._lock = Lock()
        self._made: dict[tuple[bytes, tuple[tuple[bytes, bytes], ...]], bool] = {}  # and whether it may be there

    def send(self, request: Request, target: bytes) -> Response:
        """Ask, and keep in mind what the request is about to set, if it sets."""
        if request.method not in _SETS or target.partition(b"?")[0].endswith(b"/mget"):
            return self._ask(request, target)
        made = (target, tuple((name, value) for name, value in request.headers.items() if name in _WHO))
        with self._lock:
            was_there = self._made.get(made, False)
            self._made[made] = True
        response = self._ask(request, target)
        if 400 <= response.status < _NO_ANSWER:
            self._made[made] = was_there
        return response

    def delete(self) -> None:
        """Delete all of it. Raises `RealError` where the server does not, or does not answer."""
        while self._made:
            made, may_be_there = next(iter(self._made.items()))
            response = self._ask(Request("DELETE", made[0], dict(made[1])), made[0])
            if response.status >= 300 and may_be_there:
                raise RealError(f"{len(self._made)} keys may be left: DELETE {_text(made[0])} was answered {_said(response)}")
            with self._lock:
                self._made.pop(made, None)


class RealStore:
    """A store on the other side of the wire. ``token`` gives an owner's, or says what is lacking."""

    def __init__(self, made: Made, token: Callable[[str, str], bytes], lacks: Lacks) -> None:
        self._made, self._token, self._lacks = made, token, lacks

    def get(self, namespace: Namespace, key: bytes) -> Entry | None:
        response = self._send("GET", namespace, _path(namespace, key), ok=(200, 404))
        if response.status == 404 or (namespace[0] == mattermost.NAME and response.body in mattermost.SAYS_NOTHING):
            return None
        return Entry(response.body, 0) if namespace[0] == mattermost.NAME else _entry(response)

    def set(self, namespace: Namespace, key: bytes, entry: Entry) -> None:
        value = entry.value
        body = value if namespace[0] == mattermost.NAME else json.dumps({"value": value.decode()}).encode()
        self._send("PUT", namespace, _path(namespace, key), body)

    def delete(self, namespace: Namespace, key: bytes) -> bool:
        was_there = self.get(namespace, key) is not None  # no answer to a delete says so
        self._send("DELETE", namespace, _path(namespace, key))
        return was_there

    def keys(self, namespace: Namespace, begins: bytes = b"") -> list[bytes]:
        if namespace[0] == mattermost.NAME:
            self._lacks("no request lists Mattermost's keys")
        query = b"?begins=" + quote_from_bytes(begins, "").encode() if begins else b""
        response = self._send("GET", namespace, persist.API.encode() + b"/persist/kv" + query)
        keys = _json(response)
        if not isinstance(keys, list):
            raise RealError(f"expected a list of keys, got {_said(response)}")
        return sorted(str(key).encode("utf-8", "surrogateescape") for key in keys)

    def count(self, namespace: Namespace) -> int:
        return len(self.keys(namespace))

    def namespaces(self) -> Iterable[Namespace]:
        self._lacks("no request lists whose values there are")

    def clear(self) -> None:
        """Take away what was set through here; nothing else is this test's."""
        self._made.delete()

    def checkpoint(self) -> int:
        self._lacks("the real service has no checkpoints")

    def rollback(self, number: int) -> None:
        self._lacks("the real service has no checkpoints")

    def _send(self, method: str, namespace: Namespace, target: bytes, body: bytes = b"", ok: tuple[int, ...] = (200,)) -> Response:
        token = self._token(namespace[0], namespace[1])
        headers = {b"authorization": b"Bearer " + token, b"content-type": b"application/json"}
        request = Request(method, target, headers, body)
        response = self._made.send(request, target)
        if response.status not in ok:
            raise RealError(f"{method} {_text(target)} was answered {_said(response)}")
        return response


class RealClock(Clock):
    """The real service's clock is its own."""

    __slots__ = ("_lacks",)

    def __init__(self, lacks: Lacks) -> None:
        super().__init__()
        self._lacks = lacks

    def freeze(self) -> None:
        self._lacks("the real service's clock cannot be set")

    def move_to(self, moment: object) -> None:
        self._lacks("the real service's clock cannot be set")

    def shift(self, by: object) -> None:
        self._lacks("the real service's clock cannot be set")


def _path(namespace: Namespace, key: bytes) -> bytes:
    service, _, prefix = namespace
    quoted = quote_from_bytes(key, "").encode()
    if service == persist.NAME:
        return persist.API.encode() + b"/persist/kv/" + quoted
    below = quote_from_bytes(prefix, "").encode() + b"/" if prefix.strip() else b""
    return mattermost.KV.encode() + b"/" + below + quoted


def _entry(response: Response) -> Entry:
    record = _json(response)
    try:
        updated = datetime.fromisoformat(record["updated"].replace("Z", "+00:00"))
        return Entry(record["value"].encode(), microseconds(updated))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise RealError(f"expected a record of Persist's, got {_said(response)}") from None


def _json(response: Response) -> Any:
    try:
        return json.loads(response.body)
    except ValueError:
        return None


def _said(response: Response) -> str:
    return f"{response.status} {response.body[:200].decode('utf-8', 'backslashreplace').strip()!r}"


def _text(target: bytes) -> str:
    return mattermost.redact_query(target).decode("utf-8", "backslashreplace")
