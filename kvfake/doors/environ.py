"""Requests as WSGI's environ, both ways: what a server hands over, and what an application is handed.

Law: it translates, and decides nothing.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

from kvfake.doors.body import MAX_BODY_BYTES, UNEXPECTED_END
from kvfake.services.gorules import BadEscape, unescape
from kvfake.services.message import Request, Response
from kvfake.world.answers import passed_on

StartResponse = Callable[..., Any]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

_IN_A_PATH = "/!$&'()*+,;=:@~"
_READ_BYTES = 1 << 20


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
    while left > 0 and (piece := stream.read(min(left, _READ_BYTES))):
        body += piece[: MAX_BODY_BYTES + 1 - len(body)]
        left -= len(piece)
    return bytes(body), UNEXPECTED_END if length and left > 0 else ""


def reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def call(app: Application, request: Request, base: bytes, path: bytes, query: bytes, extra: Mapping[str, Any]) -> Response:
    """Have an application answer a request; ``base`` is where it lies, ``path`` what is below, both decoded. Raises what it
    raises, and ``ValueError`` for an answer that cannot be sent.
    """
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": base.decode("latin-1"),
        "PATH_INFO": path.decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": str(len(request.body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **{
            f"HTTP_{name.decode('latin-1').upper().replace('-', '_')}": value.decode("latin-1")
            for name, value in request.headers.items()
        },
        **extra,
    }
    environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE", "")
    for framing in ("HTTP_CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING"):  # the body is whole here
        environ.pop(framing, None)
    started: list[Any] = []
    written: list[bytes] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Callable[[bytes], None]:
        started[:] = [int(status.split(" ", 1)[0]), headers]
        return written.append

    chunks = app(environ, start_response)
    try:
        written.extend(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    status, headers = started
    return passed_on(status, headers, b"".join(written))
