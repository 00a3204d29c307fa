"""Answers that a user writes: status, headers and body, checked.

Law: values in, values out, or ``ValueError`` with what was expected.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from kvfake.services.message import JSON, Headers, Response
from kvfake.world.matching import Wanted
from kvfake.world.routes import Route

WITHOUT_BODY = (204, 205, 304)  # RFC 9110, 15.3.5, 15.3.6, 15.4.5
FRAMING = ("connection", "content-length", "transfer-encoding")  # how a message ends is the door's
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_TEXT: Headers = (("Content-Type", "text/plain; charset=utf-8"),)


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
    if not isinstance(name, str) or not _NAME.fullmatch(name) or not isinstance(value, str) or not _VALUE.fullmatch(value):
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
    if method is not None and (not isinstance(method, str) or not _NAME.fullmatch(method)):
        raise ValueError(f"method: expected such as GET, or None for any, got {method!r}")
    kind = JSON if json is not None else _TEXT if isinstance(body, str) else ()
    content = (body_of(body)[0] if json is None else json_of(json)) or b""
    if content and status in WITHOUT_BODY:
        raise ValueError(f"status: an answer of {status} has no body")
    return Route(method.upper() if method else None, path, Response(status, headers_of(headers, kind), content))
