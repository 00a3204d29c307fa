"""What a world answers beside the two services: single responses that a user writes, and whole applications below a path.

Law: a table, and the checks of what goes into it. It finds what answers a path, and runs nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from kvfake.errors import is_refusal
from kvfake.services import mattermost, persist
from kvfake.services.messages import JSON, Headers, Response
from kvfake.world.matching import MAX_CHARACTERS, MAX_STEPS_IN_LOOP, Wanted, checked_number, checked_value, in_python, linear

if TYPE_CHECKING:
    from kvfake.world.patterns import LinearPattern

__tracebackhide__ = is_refusal

MAX_ROUTES = 1000
RESERVED_PATHS = (mattermost.KV, *(path.decode() for path in persist.PATHS), "/_kvfake", "/~")

WITHOUT_BODY = (204, 205, 304)  # RFC 9110, 15.3.5, 15.3.6, 15.4.5
FRAMING_HEADERS = ("connection", "content-length", "transfer-encoding")  # `kvfake.http` says how a message ends
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_TEXT: Headers = (("Content-Type", "text/plain; charset=utf-8"),)

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


# ----------------------------------------------------------------------------------------------- responses that users write


def encoded_body(body: Any) -> tuple[bytes | None, Headers]:
    """The bytes of a body given as bytes, text, or what becomes JSON; for JSON also its content type."""
    if body is None or isinstance(body, bytes | bytearray):
        return (None if body is None else bytes(body)), ()
    if isinstance(body, str):
        return body.encode("utf-8", "surrogatepass"), ()
    return encoded_json(body), JSON


def encoded_json(value: Any) -> bytes:
    """The bytes of a value as JSON; ``ValueError`` for what JSON cannot hold."""
    try:
        return json.dumps(value, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as wrong:
        raise ValueError(f"body: expected bytes, a text, or what JSON can hold: {wrong}") from None


def checked_headers(headers: Any, defaults: Headers, has_length: bool = False) -> Headers:
    """The headers that a user gave, and those of ``defaults`` that they do not name. ``has_length``: they may say how long
    the body is that a GET would bring.
    """
    if headers is None:
        return defaults
    if not isinstance(headers, Mapping):
        raise ValueError(f"headers: expected names and values, got {headers!r}")
    for name, value in headers.items():
        _check_header(name, value)
        if name.lower() in FRAMING_HEADERS and not (has_length and _is_length(name, value)):
            raise ValueError(f"headers: {name} says how a message ends, which is not for a user to say")
    return merged_headers(defaults, tuple(headers.items()))


def _check_header(name: object, value: object) -> None:
    if not isinstance(name, str) or not _TOKEN.fullmatch(name) or not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
        raise ValueError(f"headers: expected a name, and a value of Latin-1 on one line, got {name!r}: {value!r}")


def merged_headers(headers: Headers, more: Headers) -> Headers:
    """Both, where those of ``more`` replace others of the same name."""
    names = {name.lower() for name, _ in more}
    return tuple(pair for pair in headers if pair[0].lower() not in names) + more


def forwarded_response(method: str, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> Response:
    """What another program answered to a request with that method, as it can be sent on. ``ValueError`` for what cannot. The answer
    to a HEAD keeps its length, which is that of what a GET would bring.
    """
    checked_number("status", status, int, 200, 599)
    has_length = method == "HEAD" and not body
    kept: list[tuple[str, str]] = []
    for name, value in headers:
        _check_header(name, value)
        if name.lower() not in FRAMING_HEADERS or (has_length and _is_length(name, value)):
            kept.append((name, value))
    return Response(status, tuple(kept), body)


def _is_length(name: str, value: str) -> bool:
    return name.lower() == "content-length" and value.isdecimal()


# -------------------------------------------------------------------------------------------------------------- the table


class Route(NamedTuple):
    """One response. ``method`` is ``None`` for any; ``path`` is exact, or a pattern that must match the whole path, in its first
    `MAX_CHARACTERS`; ``pattern`` is that pattern as it is matched.
    """

    method: str | None
    path: Wanted
    response: Response
    pattern: LinearPattern | None

    def matches(self, method: str, path: str) -> bool:
        if self.method not in (None, method):
            return False
        return path == self.path if self.pattern is None else self.pattern.fullmatch(path[:MAX_CHARACTERS])

    def __str__(self) -> str:
        return f"{self.method or 'any method'} {self.path if isinstance(self.path, str) else in_python(self.path)}"


class Routes:
    """The single responses and the applications of one world."""

    __slots__ = ("_routes", "mounts")

    def __init__(self) -> None:
        self._routes: dict[tuple[str | None, Wanted], Route] = {}  # by method and path, oldest first
        self.mounts: dict[str, Application] = {}

    def respond(self, method: str | None, path: Wanted, status: int, json: Any, body: Any, headers: Any) -> Route:
        """Answer such requests with that response. Of two that match a request, the later one answers. ``ValueError`` for a path of
        the services, for a response that cannot be, and for too many.
        """
        checked_number("status", status, int, 200, 599)
        if json is not None and body is not None:
            raise ValueError("json, body: expected one of them, got both")
        if not isinstance(body, str | bytes | bytearray | None):
            raise ValueError(f"body: expected bytes or a text, got {body!r}; json= takes what JSON can hold")
        if method is not None and (not isinstance(method, str) or not _TOKEN.fullmatch(method)):
            raise ValueError(f"method: expected such as GET, or None for any, got {method!r}")
        content_type = JSON if json is not None else _TEXT if isinstance(body, str) else ()
        content = (encoded_body(body)[0] if json is None else encoded_json(json)) or b""
        if content and status in WITHOUT_BODY:
            raise ValueError(f"status: an answer of {status} has no body")
        method = method.upper() if method else None
        response = Response(status, checked_headers(headers, content_type, method == "HEAD" and not content), content)
        pattern: LinearPattern | None = None
        path = checked_value("path", path)
        if isinstance(path, re.Pattern):
            pattern = linear("path", path)
        else:
            _check_path(path)
        route = Route(method, path, response, pattern)
        place = route.method, route.path
        if place not in self._routes and len(self._routes) >= MAX_ROUTES:
            raise ValueError(f"there are {MAX_ROUTES} routes: mount a WSGI application instead")
        self._routes.pop(place, None)
        self._routes[place] = route
        return route

    @property
    def routes(self) -> tuple[Route, ...]:
        """The single responses, the latest first: a copy, as another thread may add one."""
        return tuple(reversed(self._routes.values()))

    def mount(self, path: str, app: Application) -> None:
        """The application answers every request at or below the path. ``ValueError`` for a path of the services."""
        if not callable(app):
            raise ValueError(f"expected a WSGI application, got {app!r}")
        _check_path(path)
        path = path.rstrip("/")
        self.mounts = dict(sorted({**self.mounts, path: app}.items(), key=lambda pair: -len(pair[0])))

    def clear(self) -> None:
        """Remove everything."""
        self._routes, self.mounts = {}, {}

    def takes_long(self, characters: int) -> bool:
        """Whether `response_for` may take longer than the loop of a server can wait, for a path of so many characters."""
        return characters * sum(route.pattern.size for route in self.routes if route.pattern) > MAX_STEPS_IN_LOOP

    def response_for(self, method: str, path: str) -> Response | None:
        """The single response for the path, which is decoded."""
        return next((route.response for route in self.routes if route.matches(method, path)), None)

    def mount_for(self, path: str) -> tuple[str, Application] | None:
        """The path, the longest that is this one or above it, at which an application is mounted, and the application."""
        return next(((at, app) for at, app in self.mounts.items() if path == at or path.startswith(at + "/")), None)


def _check_path(path: object) -> None:
    if not isinstance(path, str) or not path.startswith("/") or set(path) & set("?#"):
        raise ValueError(f"path: expected one that begins with / and has no query, got {path!r}")
    for reserved in RESERVED_PATHS:
        if path == reserved or path.startswith(reserved if reserved == "/~" else reserved + "/"):
            raise ValueError(f"path: {path} belongs to kvfake; faults.add(body=...) changes what a store answers")
