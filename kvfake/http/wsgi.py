"""Requests as WSGI's environ, both ways: what a server hands over, and what an application is handed.

Law: it translates, and decides nothing.

=====

The site as a WSGI application, for any server: werkzeug's, gunicorn, waitress.

Law: it translates, and decides nothing. Chunks, connections and malformed heads are the affair of the server around it; a fault
of the connection uses the socket which that server lends.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NoReturn

from kvfake.http.connection import RESET_AT_ONCE, WITHOUT_LENGTH, Hang, Reset, Wait, apply_wire_fault, in_pieces, message_of, reason
from kvfake.http.parser import MAX_BODY_BYTES, UNEXPECTED_END
from kvfake.http.router import Router, StartResponse
from kvfake.services.go import BadEscape, unescape
from kvfake.services.messages import ROWS, Request, Response, WireFault, error_response

_IN_A_PATH = "/!$&'()*+,;=:@~"
_BODY_READ_BYTES = 1 << 20


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
            if _text(unescape(target.partition(b"?")[0])) == _text(path):
                return target
        except BadEscape:
            return target
    query: str = environ.get("QUERY_STRING", "")
    return _quoted(path) + (b"?" + query.encode("latin-1") if query else b"")


def _quoted(path: bytes) -> bytes:
    from urllib.parse import quote_from_bytes

    return quote_from_bytes(path, _IN_A_PATH).encode()


def _text(path: bytes) -> str:
    """A path as werkzeug's server leaves it: what is no UTF-8 is lost."""
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


_LENT_SOCKETS = ("werkzeug.socket", "gunicorn.socket")
_READ_BYTES = 65_536


class WsgiApp:
    """The door. One call is one request; any number of threads may call."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        is_head = environ["REQUEST_METHOD"] == "HEAD"
        answer = self._router.answer(request_of(environ), base_of(environ))
        response = answer if isinstance(answer, Response) else answer()
        wire_fault = response.wire_fault
        if wire_fault is not None and wire_fault.sever:
            lent = next((environ[name] for name in _LENT_SOCKETS if name in environ), None)
            if lent is not None:
                _carry_out(lent, wire_fault, response, is_head)
            response, wire_fault = _no_socket(wire_fault), None
        if wire_fault is not None:
            time.sleep(wire_fault.delay)
        headers, body = list(response.headers), b""
        if response.status not in WITHOUT_LENGTH:
            headers.append(("Content-Length", str(len(response.body))))
            body = b"" if is_head else response.body
        if response.rows:
            headers.append((ROWS, ", ".join(response.rows)))
        start_response(f"{response.status} {reason(response.status)}", headers)
        return _slowly(body, wire_fault.over) if wire_fault is not None else [body]


def _slowly(body: bytes, over: float) -> Iterator[bytes]:
    for piece in in_pieces(body, over):
        if isinstance(piece, Wait):
            time.sleep(piece.seconds)
        else:
            yield piece


def _no_socket(wire_fault: WireFault) -> Response:
    text = f"this WSGI server lends no socket: the fault sever={wire_fault.sever!r} cannot be carried out behind it"
    return error_response(502, text)


def _carry_out(lent: socket.socket, wire_fault: WireFault, response: Response, is_head: bool) -> NoReturn:
    """On the server's own socket. It raises what tells the server that the connection is gone."""
    body = b"" if is_head else response.body
    with suppress(OSError):  # the client is gone
        for action in apply_wire_fault(wire_fault, message_of(response, body, keep_alive=False), body, response.body):
            if isinstance(action, bytes):
                lent.sendall(action)
            elif isinstance(action, Wait):
                time.sleep(action.seconds)
            elif isinstance(action, Hang):
                lent.settimeout(action.seconds)
                while lent.recv(_READ_BYTES):
                    pass
            elif isinstance(action, Reset):
                _reset(lent)
            else:
                lent.shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError(errno.ECONNRESET, f"a fault: sever={wire_fault.sever!r}")


def _reset(lent: socket.socket) -> None:
    """Close the connection with RST, now: a server's own way of closing it begins with FIN. What the server is left with has
    ended.
    """
    lent.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_ONCE)
    ended, other = socket.socketpair()
    other.close()
    os.dup2(ended.fileno(), lent.fileno(), inheritable=False)
    ended.close()
