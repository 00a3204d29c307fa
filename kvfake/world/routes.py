"""Answers that a user writes: status, headers and body, checked.

Law: values in, values out, or ``ValueError`` with what was expected.

=====

What else lies on a world's site, beside the stores: single answers, and whole applications below a path.

Law: a table. It finds who answers a path, and runs nothing.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from kvfake.services import mattermost, persist
from kvfake.services.messages import JSON, Headers, Response
from kvfake.world.matching import Wanted, checked, shown

WITHOUT_BODY = (204, 205, 304)  # RFC 9110, 15.3.5, 15.3.6, 15.4.5
FRAMING = ("connection", "content-length", "transfer-encoding")  # how a message ends is the door's
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_TEXT_HEADERS: Headers = (("Content-Type", "text/plain; charset=utf-8"),)


def checked_number(name: str, value: object, kind: type, least: float, most: float = math.inf) -> Any:
    """The number; ``ValueError`` where it is none, or too small, or too large."""
    is_number = isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
    if not is_number or not least <= value <= most:  # type: ignore[operator]
        bounds = "" if least == -math.inf else f" of at least {least:g}" if most == math.inf else f" from {least:g} to {most:g}"
        raise ValueError(f"{name}: expected {'a whole' if kind is int else 'a'} number{bounds}, got {value!r}")
    return value


def body_of(body: Any) -> tuple[bytes | None, Headers]:
    """The bytes of bytes, of a text, or of what becomes JSON; and the header that says so of JSON."""
    if body is None or isinstance(body, bytes | bytearray):
        return (None if body is None else bytes(body)), ()
    if isinstance(body, str):
        return body.encode("utf-8", "surrogatepass"), ()
    return json_of(body), JSON


def json_of(value: Any) -> bytes:
    try:
        return json.dumps(value, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as wrong:
        raise ValueError(f"body: expected bytes, a text, or what JSON can hold: {wrong}") from None


def headers_of(headers: Any, more: Headers) -> Headers:
    """Names and values, in place of those of ``more``."""
    if headers is None:
        return more
    if not isinstance(headers, Mapping):
        raise ValueError(f"headers: expected names and values, got {headers!r}")
    for name, value in headers.items():
        _check_header(name, value)
        if name.lower() in FRAMING:
            raise ValueError(f"headers: {name} says how a message ends, which is not for a user to say")
    return merged(more, tuple(headers.items()))


def _check_header(name: object, value: object) -> None:
    if (
        not isinstance(name, str)
        or not _HEADER_NAME.fullmatch(name)
        or not isinstance(value, str)
        or not _HEADER_VALUE.fullmatch(value)
    ):
        raise ValueError(f"headers: expected a name, and a value of Latin-1 on one line, got {name!r}: {value!r}")


def passed_on(status: int, headers: Iterable[tuple[str, str]], body: bytes) -> Response:
    """What another program answered, as it can be sent on."""
    checked_number("status", status, int, 200, 599)
    for name, value in headers:
        _check_header(name, value)
    return Response(status, tuple((name, value) for name, value in headers if name.lower() not in FRAMING), body)


def merged(headers: Headers, more: Headers) -> Headers:
    """Later ones stand in place of earlier ones of the same name."""
    names = {name.lower() for name, _ in more}
    return tuple(pair for pair in headers if pair[0].lower() not in names) + more


def route(method: str | None, path: Wanted, status: int, json: Any, body: Any, headers: Any) -> Route:
    """One answer beside the stores."""
    checked_number("status", status, int, 200, 599)
    if json is not None and body is not None:
        raise ValueError("json, body: expected one of them, got both")
    if not isinstance(body, str | bytes | bytearray | None):
        raise ValueError(f"body: expected bytes or a text, got {body!r}; json= takes what JSON can hold")
    if method is not None and (not isinstance(method, str) or not _HEADER_NAME.fullmatch(method)):
        raise ValueError(f"method: expected such as GET, or None for any, got {method!r}")
    kind = JSON if json is not None else _TEXT_HEADERS if isinstance(body, str) else ()
    content = (body_of(body)[0] if json is None else json_of(json)) or b""
    if content and status in WITHOUT_BODY:
        raise ValueError(f"status: an answer of {status} has no body")
    return Route(method.upper() if method else None, path, Response(status, headers_of(headers, kind), content))


MAX_ROUTES = 1000

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Route(NamedTuple):
    """One answer. ``method`` is ``None`` for any; ``path`` is exact, or a pattern that must match the whole path."""

    method: str | None
    path: Wanted
    response: Response

    def meets(self, method: str, path: str) -> bool:
        if self.method not in (None, method):
            return False
        return self.path.fullmatch(path) is not None if isinstance(self.path, re.Pattern) else path == self.path

    def __str__(self) -> str:
        return f"{self.method or 'any method'} {self.path if isinstance(self.path, str) else shown(self.path)}"


class Routes:
    """The neighbours of one world."""

    __slots__ = ("mounts", "routes")

    def __init__(self) -> None:
        self.routes: tuple[Route, ...] = ()
        self.mounts: dict[str, Application] = {}

    def respond(self, route: Route) -> None:
        """Of two that meet a request, the later answers. Raises ``ValueError`` for a path of the stores, or too many."""
        if isinstance(checked("path", route.path), str):
            _check_path(route.path)
        others = [other for other in self.routes if other[:2] != route[:2]]
        if len(others) >= MAX_ROUTES:
            raise ValueError(f"there are {MAX_ROUTES} routes: mount a WSGI application instead")
        self.routes = (route, *others)

    def mount(self, path: str, app: Application) -> None:
        """The application answers whatever lies at or below the path. Raises ``ValueError`` for a path of the stores."""
        if not callable(app):
            raise ValueError(f"expected a WSGI application, got {app!r}")
        _check_path(path)
        path = path.rstrip("/")
        self.mounts = dict(sorted({**self.mounts, path: app}.items(), key=lambda pair: -len(pair[0])))

    def clear(self) -> None:
        """Nothing lies beside the stores."""
        self.routes, self.mounts = (), {}

    def answer(self, method: str, path: str) -> Response | None:
        """The single answer for the path, which is decoded."""
        return next((route.response for route in self.routes if route.meets(method, path)), None)

    def mounted(self, path: str) -> tuple[str, Application] | None:
        """The application with the longest path that the request lies at or below, and that path."""
        return next(((at, app) for at, app in self.mounts.items() if path == at or path.startswith(at + "/")), None)


RESERVED_PATHS = (mattermost.KV, *(path.decode() for path in persist.PATHS), "/_kvfake", "/~")


def _check_path(path: object) -> None:
    if not isinstance(path, str) or not path.startswith("/") or set(path) & set("?#"):
        raise ValueError(f"path: expected one that begins with / and has no query, got {path!r}")
    for ours in RESERVED_PATHS:
        if path == ours or path.startswith(ours if ours == "/~" else ours + "/"):
            raise ValueError(f"path: {path} belongs to kvfake; faults.add(body=...) changes what a store answers")
