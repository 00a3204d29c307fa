"""The site as a WSGI application, for any server: werkzeug's, gunicorn, waitress.

Law: it translates, and decides nothing. The server that calls it reads chunks and heads, and keeps connections. A wire fault uses
the socket of that server, if it lends one.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from io import BytesIO
from typing import Any

from kvfake.http.connection import (
    SO_LINGER_RESET,
    Action,
    Hang,
    Reset,
    Wait,
    final_headers,
    in_pieces,
    reason_phrase,
    sent_body,
    sent_length,
)
from kvfake.http.in_process import wire_actions
from kvfake.http.parser import MAX_BODY_BYTES, UNEXPECTED_END
from kvfake.http.router import Router
from kvfake.machine import machine_seconds
from kvfake.services.go import BadEscape, unescape
from kvfake.services.messages import Refusal, Request, Response, error_response

_UNQUOTED_IN_PATHS = "/!$&'()*+,;=:@~"  # RFC 3986, pchar and "/"
_BODY_READ_BYTES = 1 << 20
_DRAIN_READ_BYTES = 65_536
_LENT_SOCKETS = ("werkzeug.socket", "gunicorn.socket")  # the names under which servers pass the connection's socket


_ASGI = "asgi.scope"  # a2wsgi passes it; what it passes as input comes to an end
_NO_LENGTH = error_response(
    411, "this WSGI server does not say where a chunked body ends (wsgi.input_terminated): send it with a Content-Length"
)


class WsgiApp:
    """The application. One call is one request; any number of threads may call it."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            request = request_of(environ)
        except Refusal as refusal:
            return _sent(environ["REQUEST_METHOD"], refusal.response, start_response)
        answer = self._router.answer(request, _quoted(environ.get("SCRIPT_NAME", "").encode("latin-1")))
        response = answer if isinstance(answer, Response) else answer()
        wire_fault = response.wire_fault
        if wire_fault is not None and wire_fault.sever is not None:
            lent = next((environ[name] for name in _LENT_SOCKETS if name in environ), None)
            if lent is not None:  # the exception tells the server that the connection is gone
                _carry_out(lent, wire_actions(request, response, keep_alive=False))
                raise ConnectionResetError(errno.ECONNRESET, f"a fault: sever={wire_fault.sever.value!r}")
            text = f"this WSGI server lends no socket: the fault sever={wire_fault.sever.value!r} cannot be carried out behind it"
            response, wire_fault = error_response(502, text), None
        if wire_fault is not None:
            time.sleep(wire_fault.delay)
        return _sent(request.method, response, start_response, wire_fault.over if wire_fault is not None else 0.0)


def _sent(method: str, response: Response, start_response: Callable[..., Any], seconds: float = 0.0) -> Iterable[bytes]:
    """Begin the response to a request with that method; returns its body, which takes so many seconds."""
    headers = list(final_headers(response.headers, response.rows, date=""))  # every server adds the date
    body, length = sent_body(method, response), sent_length(method, response)
    if length is not None:
        headers.append(("Content-Length", str(length)))
    start_response(f"{response.status} {reason_phrase(response.status)}", headers)
    return _slowly(body, seconds) if seconds else [body]


# ----------------------------------------------------------------------------------------------------------------- requests


def request_of(environ: Mapping[str, Any]) -> Request:
    """The request that a server has put into the environ. Raises `Refusal` for a body whose end cannot be known."""
    headers = {
        name[5:].replace("_", "-").lower().encode(): value.encode("latin-1")
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    if environ.get("CONTENT_TYPE"):
        headers[b"content-type"] = environ["CONTENT_TYPE"].encode("latin-1")
    return Request(environ["REQUEST_METHOD"], _target(environ), headers, *_body(environ))


def _target(environ: Mapping[str, Any]) -> bytes:
    """The raw target below the application, if the server passes it; else one that decodes to the same path."""
    path = environ.get("PATH_INFO", "").encode("latin-1")
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    if raw.startswith("/") and not environ.get("SCRIPT_NAME"):
        target: bytes = raw.encode("latin-1", "replace")
        try:  # werkzeug's server passes a path without those bytes that are not UTF-8, cheroot one with its %2F
            decoded = unescape(target.partition(b"?")[0]).decode("utf-8", "replace")
            if decoded in (path.decode("utf-8", "replace"), path.replace(b"%2F", b"/").decode("utf-8", "replace")):
                return target
        except BadEscape:
            return target
    query: str = environ.get("QUERY_STRING", "")
    return _quoted(path) + (b"?" + query.encode("latin-1") if query else b"")


def _quoted(path: bytes) -> bytes:
    from urllib.parse import quote_from_bytes

    return quote_from_bytes(path, _UNQUOTED_IN_PATHS).encode()


def _body(environ: Mapping[str, Any]) -> tuple[bytes, str]:
    """The body, and why it has no end, ``""`` if it has. Of a body that is too long the rest is read and dropped, so that the
    connection can go on.
    """
    stream, length = environ["wsgi.input"], environ.get("CONTENT_LENGTH") or None
    has_end = bool(environ.get("wsgi.input_terminated")) or isinstance(stream, BytesIO) or _ASGI in environ
    if environ.get("HTTP_TRANSFER_ENCODING"):
        if not has_end:
            raise Refusal(_NO_LENGTH)
        length = None  # M28: chunked wins
    if length is not None and not (length.isascii() and length.isdigit()):
        raise Refusal(error_response(400, f"Content-Length is {length!r}: expected a number of bytes"))
    left = int(length) if length is not None else sys.maxsize if has_end else 0
    body = bytearray()
    while left > 0 and (piece := stream.read(min(left, _BODY_READ_BYTES))):
        body += piece[: MAX_BODY_BYTES + 1 - len(body)]
        left -= len(piece)
    return bytes(body), UNEXPECTED_END if length is not None and left > 0 else ""


# -------------------------------------------------------------------------------------------------------------- wire faults


def _slowly(body: bytes, seconds: float) -> Iterator[bytes]:
    for piece in in_pieces(body, seconds):
        if isinstance(piece, Wait):
            time.sleep(piece.seconds)
        else:
            yield piece


class _Machine:
    seconds = staticmethod(machine_seconds)


def _carry_out(lent: socket.socket, actions: Iterable[Action]) -> None:
    """Carry the actions out on the server's own socket. The last of them ends the connection."""
    with suppress(OSError):  # the client is gone
        for action in actions:
            if isinstance(action, bytes):
                lent.sendall(action)
            elif isinstance(action, Wait):
                time.sleep(action.seconds)
            elif isinstance(action, Hang):
                end = _Machine.seconds() + action.seconds
                while (left := end - _Machine.seconds()) > 0:
                    lent.settimeout(left)
                    if not lent.recv(_DRAIN_READ_BYTES):
                        break
            elif isinstance(action, Reset):
                _reset(lent)
            else:
                lent.shutdown(socket.SHUT_RDWR)


def _reset(lent: socket.socket) -> None:
    """Close the connection with RST now: the server itself would close it with FIN. The server keeps a socket that has ended."""
    lent.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, SO_LINGER_RESET)
    ended, other = socket.socketpair()
    other.close()
    os.dup2(ended.fileno(), lent.fileno(), inheritable=False)
    ended.close()
