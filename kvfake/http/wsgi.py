"""The site as a WSGI application, for any server: werkzeug's, gunicorn, waitress.

Law: it translates, and decides nothing. Chunks, connections and malformed heads are for the server around it. A fault on the wire
uses the socket that the server lends, where it lends one.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from kvfake.http.connection import (
    SO_LINGER_RESET,
    WITHOUT_LENGTH,
    Hang,
    Reset,
    Wait,
    apply_wire_fault,
    in_pieces,
    message_of,
    reason_phrase,
)
from kvfake.http.parser import MAX_BODY_BYTES, UNEXPECTED_END
from kvfake.http.router import Router
from kvfake.services.go import BadEscape, unescape
from kvfake.services.messages import FIDELITY_HEADER, Request, Response, WireFault, error_response

_UNQUOTED_IN_PATHS = "/!$&'()*+,;=:@~"  # RFC 3986, pchar and "/"
_BODY_READ_BYTES = 1 << 20
_DRAIN_READ_BYTES = 65_536
_LENT_SOCKETS = ("werkzeug.socket", "gunicorn.socket")  # where servers put the connection's socket


class WsgiApp:
    """The application. One call is one request; any number of threads may call it."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        is_head = environ["REQUEST_METHOD"] == "HEAD"
        answer = self._router.answer(request_of(environ), base_of(environ))
        response = answer if isinstance(answer, Response) else answer()
        wire_fault = response.wire_fault
        if wire_fault is not None and wire_fault.sever is not None:
            lent = next((environ[name] for name in _LENT_SOCKETS if name in environ), None)
            if lent is not None:  # the exception tells the server that the connection is gone
                _carry_out(lent, wire_fault, response, is_head)
                raise ConnectionResetError(errno.ECONNRESET, f"a fault: sever={wire_fault.sever.value!r}")
            text = f"this WSGI server lends no socket: the fault sever={wire_fault.sever.value!r} cannot be carried out behind it"
            response, wire_fault = error_response(502, text), None
        if wire_fault is not None:
            time.sleep(wire_fault.delay)
        headers, body = list(response.headers), b""
        if response.status not in WITHOUT_LENGTH:
            headers.append(("Content-Length", str(len(response.body))))
            body = b"" if is_head else response.body
        if response.rows:
            headers.append((FIDELITY_HEADER, ", ".join(response.rows)))
        start_response(f"{response.status} {reason_phrase(response.status)}", headers)
        return _slowly(body, wire_fault.over) if wire_fault is not None else [body]


# ----------------------------------------------------------------------------------------------------------------- requests


def request_of(environ: Mapping[str, Any]) -> Request:
    """The request that a server has put into an environ."""
    headers = {
        name[5:].replace("_", "-").lower().encode(): value.encode("latin-1")
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    if environ.get("CONTENT_TYPE"):
        headers[b"content-type"] = environ["CONTENT_TYPE"].encode("latin-1")
    return Request(environ["REQUEST_METHOD"], _target(environ), headers, *_body(environ))


def base_of(environ: Mapping[str, Any]) -> bytes:
    """Where the application lies, as the server around it says."""
    return _quoted(environ.get("SCRIPT_NAME", "").encode("latin-1"))


def _target(environ: Mapping[str, Any]) -> bytes:
    """The raw target below the application, where the server has kept it; else one that decodes to the same path."""
    path = environ.get("PATH_INFO", "").encode("latin-1")
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    if raw.startswith("/") and not environ.get("SCRIPT_NAME"):
        target: bytes = raw.encode("latin-1", "replace")
        try:
            if _as_werkzeug(unescape(target.partition(b"?")[0])) == _as_werkzeug(path):
                return target
        except BadEscape:
            return target
    query: str = environ.get("QUERY_STRING", "")
    return _quoted(path) + (b"?" + query.encode("latin-1") if query else b"")


def _quoted(path: bytes) -> bytes:
    from urllib.parse import quote_from_bytes

    return quote_from_bytes(path, _UNQUOTED_IN_PATHS).encode()


def _as_werkzeug(path: bytes) -> str:
    """A path as werkzeug's server leaves it: bytes that are not UTF-8 are lost."""
    return path.decode("utf-8", "replace")


def _body(environ: Mapping[str, Any]) -> tuple[bytes, str]:
    """The body, and why it has no end. What is too long is read and dropped, so that the connection can go on."""
    stream, length = environ["wsgi.input"], environ.get("CONTENT_LENGTH")
    is_terminated = environ.get("wsgi.input_terminated")
    if is_terminated and "HTTP_TRANSFER_ENCODING" in environ:
        length = None  # M28: chunked wins
    left = int(length) if length else sys.maxsize if is_terminated else 0
    body = bytearray()
    while left > 0 and (piece := stream.read(min(left, _BODY_READ_BYTES))):
        body += piece[: MAX_BODY_BYTES + 1 - len(body)]
        left -= len(piece)
    return bytes(body), UNEXPECTED_END if length and left > 0 else ""


# ------------------------------------------------------------------------------------------------------ faults on the wire


def _slowly(body: bytes, seconds: float) -> Iterator[bytes]:
    for piece in in_pieces(body, seconds):
        if isinstance(piece, Wait):
            time.sleep(piece.seconds)
        else:
            yield piece


def _carry_out(lent: socket.socket, wire_fault: WireFault, response: Response, is_head: bool) -> None:
    """Carry the fault out on the server's own socket, and end the connection."""
    body = b"" if is_head else response.body
    with suppress(OSError):  # the client is gone
        for action in apply_wire_fault(wire_fault, message_of(response, body, keep_alive=False), body, response.body):
            if isinstance(action, bytes):
                lent.sendall(action)
            elif isinstance(action, Wait):
                time.sleep(action.seconds)
            elif isinstance(action, Hang):
                lent.settimeout(action.seconds)
                while lent.recv(_DRAIN_READ_BYTES):
                    pass
            elif isinstance(action, Reset):
                _reset(lent)
            else:
                lent.shutdown(socket.SHUT_RDWR)


def _reset(lent: socket.socket) -> None:
    """Close the connection with RST, now: a server's own way of closing begins with FIN. The server is left with a socket that has
    ended.
    """
    lent.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, SO_LINGER_RESET)
    ended, other = socket.socketpair()
    other.close()
    os.dup2(ended.fileno(), lent.fileno(), inheritable=False)
    ended.close()
