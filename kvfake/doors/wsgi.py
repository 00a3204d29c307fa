"""The site as a WSGI application, for any server: werkzeug's, gunicorn, waitress.

Law: it translates, and decides nothing. Chunks, connections and malformed heads are the affair of the server around it; a fault
of the connection uses the socket which that server lends.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, NoReturn

from kvfake.doors.actions import Reset, Silence, Wait
from kvfake.doors.connection import WITHOUT_LENGTH, message_of
from kvfake.doors.environ import StartResponse, base_of, reason, request_of
from kvfake.doors.mishaps import RESET_AT_ONCE, befall, in_pieces
from kvfake.doors.replies import refusal
from kvfake.doors.site import Site
from kvfake.services.message import ROWS, Mishap, Response

_LENT_SOCKETS = ("werkzeug.socket", "gunicorn.socket")
_READ_BYTES = 65_536


class WsgiApp:
    """The door. One call is one request; any number of threads may call."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        is_head = environ["REQUEST_METHOD"] == "HEAD"
        answer = self._site.answer(request_of(environ), base_of(environ))
        response = answer if isinstance(answer, Response) else answer()
        mishap = response.mishap
        if mishap is not None and mishap.sever:
            lent = next((environ[name] for name in _LENT_SOCKETS if name in environ), None)
            if lent is not None:
                _carry_out(lent, mishap, response, is_head)
            response, mishap = _no_socket(mishap), None
        if mishap is not None:
            time.sleep(mishap.delay)
        headers, body = list(response.headers), b""
        if response.status not in WITHOUT_LENGTH:
            headers.append(("Content-Length", str(len(response.body))))
            body = b"" if is_head else response.body
        if response.rows:
            headers.append((ROWS, ", ".join(response.rows)))
        start_response(f"{response.status} {reason(response.status)}", headers)
        return _slowly(body, mishap.over) if mishap is not None else [body]


def _slowly(body: bytes, over: float) -> Iterator[bytes]:
    for piece in in_pieces(body, over):
        if isinstance(piece, Wait):
            time.sleep(piece.seconds)
        else:
            yield piece


def _no_socket(mishap: Mishap) -> Response:
    text = f"this WSGI server lends no socket: the fault sever={mishap.sever!r} cannot be carried out behind it"
    return refusal(502, text)


def _carry_out(lent: socket.socket, mishap: Mishap, response: Response, is_head: bool) -> NoReturn:
    """On the server's own socket. It raises what tells the server that the connection is gone."""
    body = b"" if is_head else response.body
    with suppress(OSError):  # the client is gone
        for action in befall(mishap, message_of(response, body, keep_alive=False), body, response.body):
            if isinstance(action, bytes):
                lent.sendall(action)
            elif isinstance(action, Wait):
                time.sleep(action.seconds)
            elif isinstance(action, Silence):
                lent.settimeout(action.seconds)
                while lent.recv(_READ_BYTES):
                    pass
            elif isinstance(action, Reset):
                _reset(lent)
            else:
                lent.shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError(errno.ECONNRESET, f"a fault: sever={mishap.sever!r}")


def _reset(lent: socket.socket) -> None:
    """Close the connection with RST, now: a server's own way of closing it begins with FIN. What the server is left with has
    ended.
    """
    lent.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_ONCE)
    ended, other = socket.socketpair()
    other.close()
    os.dup2(ended.fileno(), lent.fileno(), inheritable=False)
    ended.close()
