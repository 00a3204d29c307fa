"""Asking another server: the one that a world falls back to, or a real one in the double's place.

Law: a request in, what that server answers out, or 502 where it gives no answer that can be sent on. It follows nothing, uses no
proxy, keeps nothing, and is bounded in bytes and in time. It is loaded with the first request that it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote_from_bytes, urlsplit

from kvfake.services.messages import Request, Response, error_response
from kvfake.world.routes import forwarded_response

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse
    from ssl import SSLContext


MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_HANG_SECONDS = 30.0
MAX_ANSWER_SECONDS = 300.0  # Mattermost's ServiceSettings.WriteTimeout
VIA = b"via"

_READ_BYTES = 65_536
_OF_ONE_HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}  # RFC 9110, 7.6.1
_OUR_OWN = {"host", "content-length", "expect", VIA.decode()}  # the connection to the fallback has its own
_WITH_A_BODY = ("POST", "PUT", "PATCH")
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))
_FOLD = re.compile(r"[ \t]*\r?\n[ \t]*")


def fetch(
    url: str,
    request: Request,
    target: bytes,
    via: str,
    seconds: Callable[[], float],
    timeout: float | None = None,
    context: SSLContext | None = None,
    who: str = "the fallback",
) -> Response:
    """What the server at the URL answers to the request, for the target below it. ``context`` says how its certificate is checked,
    if not as the system does; ``who`` it is called where it does not answer.
    """
    from http.client import HTTPException

    parts = urlsplit(url)
    headers = _of_every_hop((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.items())
    headers = [(name, value) for name, value in headers if name not in _OUR_OWN]
    if request.body or request.method in _WITH_A_BODY:
        headers.append(("content-length", str(len(request.body))))
    if via:
        headers.append((VIA.decode(), via))
    connection = _connection(parts, timeout or MAX_HANG_SECONDS, context)
    try:
        connection.putrequest(request.method, quote_from_bytes(parts.path.encode() + target, _VISIBLE), skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders(request.body or None)
        answer = connection.getresponse()
        body = _whole_body(answer, seconds)
        return forwarded_response(answer.status, _of_every_hop(answer.getheaders()), body)
    except (OSError, HTTPException, ValueError) as failed:
        return error_response(502, f"{who} {url} did not answer: {str(failed) or type(failed).__name__}")
    finally:
        connection.close()


def _connection(parts: SplitResult, timeout: float, context: SSLContext | None) -> HTTPConnection:
    from http.client import HTTPConnection, HTTPSConnection

    if parts.scheme == "https":
        return HTTPSConnection(parts.hostname or "", parts.port, timeout=timeout, context=context)
    return HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)


def _of_every_hop(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Without those that are about one connection."""
    headers = list(headers)
    named = {word.strip().lower() for name, value in headers if name.lower() == "connection" for word in value.split(",")}
    return [(name, _FOLD.sub(" ", value)) for name, value in headers if name.lower() not in _OF_ONE_HOP | named]


def _whole_body(answer: HTTPResponse, seconds: Callable[[], float]) -> bytes:
    """Raises ``ValueError`` for one that is too long, too slow, or cut off."""
    body, end = bytearray(), seconds() + MAX_ANSWER_SECONDS
    while piece := answer.read1(_READ_BYTES):
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            raise ValueError(f"more than {MAX_ANSWER_BYTES} bytes")
        if seconds() > end:
            raise ValueError(f"not whole after {MAX_ANSWER_SECONDS:g} seconds")
    if answer.length:
        raise ValueError(f"it ended {answer.length} bytes early")
    return bytes(body)
