"""One connection to the server that is asked, and what goes wrong on it.

Law: bytes out, answers in, bounded in bytes and in time; a request goes out as it is written. It does not know which server that
is, nor what was to be expected.
"""

from __future__ import annotations

import io
import socket
import ssl
import time
from contextlib import suppress
from http.client import BadStatusLine, HTTPException, HTTPResponse, IncompleteRead, RemoteDisconnected
from typing import Any, cast

from kvfake import __version__
from kvfake.contract.call import Answer, Call, Differs

MAX_BODY_BYTES = 64 * 1024 * 1024
LEAST_SECONDS = 0.001  # zero would mean something else to a socket
_READ_BYTES = 65_536
_CHUNK_BYTES = 4096
_WITH_A_BODY = ("POST", "PUT", "PATCH")
_MAX_SHOWN_CHARACTERS = 60


class _Incoming(io.RawIOBase):
    """What comes over a socket, until a moment."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self.end = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._socket.settimeout(max(LEAST_SECONDS, self.end - time.monotonic()))
        return self._socket.recv_into(buffer)


class _Kept(io.BufferedReader):
    """The same with a buffer, which outlives each answer: to ``HTTPResponse`` it is a socket, and its file."""

    def makefile(self, *_: object) -> _Kept:
        return self

    def close(self) -> None: ...


class HttpTalk:
    """One connection. `send` and `answer` are its whole conversation."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._socket, self._seconds = connection, seconds
        self._incoming = _Incoming(connection)
        self._file = _Kept(self._incoming)
        self._sent = bytearray()
        self.is_over = False

    def send(self, data: bytes) -> None:
        """What goes wrong shows when an answer is expected; one may be waiting."""
        self._sent += data
        self._socket.settimeout(max(LEAST_SECONDS, self._seconds))
        with suppress(OSError):
            self._socket.sendall(data)

    def answer(self, method: str = "GET") -> Answer:
        call = Call(method, "", {}, bytes(self._sent))
        self._sent.clear()
        try:
            return self.answer_to(call)
        except (OSError, HTTPException) as failed:
            raise Differs(f"expected an answer, but the server {what_happened(failed, self._seconds)}") from None

    def answer_to(self, call: Call) -> Answer:
        """The next answer. Raises ``OSError`` and ``HTTPException``."""
        self._incoming.end = time.monotonic() + self._seconds
        with self._begun(call.method) as response:
            body = bytearray()
            while piece := response.read(_READ_BYTES):
                body += piece
                if len(body) > MAX_BODY_BYTES:
                    raise _TooLong
            if response.length:
                raise _TooShort
            self.is_over = response.will_close
            headers: dict[str, str] = {}
            for name, value in response.getheaders():
                name = name.lower()
                headers[name] = f"{headers[name]}, {value}" if name in headers else value
            return Answer(call, response.status, headers, bytes(body))

    def _begun(self, method: str) -> HTTPResponse:
        """The final answer; those before it (100, 103) say nothing."""
        while True:
            response = HTTPResponse(cast(socket.socket, self._file), method=method)
            response.begin()
            if response.status >= 200:
                return response

    def is_closed(self) -> bool:
        self._incoming.end = time.monotonic() + self._seconds
        try:
            return self._file.read(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        self._socket.close()


def written(call: Call, authority: str) -> bytes:
    """The request as it goes out. Of a target a surrogate is a byte that is no UTF-8."""
    headers = {"Host": authority, "User-Agent": f"kvfake/{__version__}", **call.headers}
    body = call.body
    if call.chunked:
        headers["Transfer-Encoding"] = "chunked"
        pieces = [body[start : start + _CHUNK_BYTES] for start in range(0, len(body), _CHUNK_BYTES)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])
    elif body or call.method in _WITH_A_BODY:
        headers["Content-Length"] = str(len(body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{call.method} {call.target} HTTP/1.1\r\n".encode("utf-8", "surrogateescape") + lines.encode("latin-1") + b"\r\n" + body


class _TooLong(HTTPException): ...


class _TooShort(HTTPException): ...


def what_happened(failed: Exception, seconds: float) -> str:
    """What the server did instead of answering, as the rest of a sentence that begins with its name."""
    match failed:
        case TimeoutError():
            return f"did not answer within {seconds:g} seconds"
        case ssl.SSLCertVerificationError():
            return f"has a certificate that is not trusted: {failed.verify_message} (--ca-file adds one, --insecure looks at none)"
        case ssl.SSLError():
            return f"does not speak TLS as it should: {(failed.reason or str(failed)).lower().replace('_', ' ')}"
        case RemoteDisconnected():
            return "ended the connection without an answer"
        case ConnectionResetError() | BrokenPipeError():
            return "cut the connection"
        case OSError():
            return f"cannot be reached: {failed.strerror or failed}"
        case _TooLong():
            return f"answers more than {MAX_BODY_BYTES} bytes"
        case BadStatusLine():
            return f"does not speak HTTP: it began with {str(failed)[:_MAX_SHOWN_CHARACTERS]!r}"
        case _TooShort() | IncompleteRead():
            return "ended the connection in the middle of an answer"
        case _:
            return f"does not speak HTTP as it should: {type(failed).__name__}"
