"""A client on a raw socket: as little as possible between the clock and the server.

Law: it sends bytes that were made before and counts what comes back; it knows when an answer of HTTP/1.1 is whole, and its
status, and nothing else. Loopback only.
"""

from __future__ import annotations

import itertools
import re
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

HOST = "127.0.0.1"
SECONDS = 20  # that one call of the system may take
READ_BYTES = 1 << 18

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_TIMEOUT = struct.pack("ll", SECONDS, 0)  # the system's own; a timeout of Python's would cost a call each time

Message = bytes


class Unanswered(Exception):
    """No answer, a broken one, or one that is not 200."""


class Ask(NamedTuple):
    """One request, or several that differ in their bodies and are sent in turn."""

    method: str
    target: str
    headers: Mapping[str, str] = {}
    bodies: tuple[bytes, ...] = (b"",)

    def messages(self) -> list[Message]:
        """As a usual client would write them."""
        usual = {
            "Host": HOST,
            "User-Agent": "bench",
            "Accept-Encoding": "gzip, deflate",
            "Accept": "*/*",
            "Connection": "keep-alive",
        }
        return [self._message({**usual, **self.headers}, body) for body in self.bodies]

    def _message(self, headers: Mapping[str, str], body: bytes) -> Message:
        framed = {**headers, "Content-Length": str(len(body))} if body else headers
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in framed.items()), "", ""]
        return "\r\n".join(lines).encode() + body


class Line:
    """A connection to a port, made when it is needed, and again where the server ends it after each answer."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None
        self._expected = -1  # the length of the last answer, head and all: the next is most often as long

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def ask(self, message: Message) -> bytes:
        """The answer, head and all, once it is whole. Raises `Unanswered` where it is not 200 or 201, ``OSError`` too."""
        sock = self._socket
        if sock is None:
            sock = self._socket = self._connect()
        sock.sendall(message)
        data = sock.recv(READ_BYTES)
        if len(data) != self._expected:
            data = self._rest(sock, data)
        if data[9:11] != b"20":
            raise Unanswered(repr(data[:200]))
        return data

    def _connect(self) -> socket.socket:
        sock = socket.create_connection((HOST, self._port), SECONDS)
        sock.settimeout(None)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEOUT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def _rest(self, sock: socket.socket, data: bytes) -> bytes:
        while (end := data.find(b"\r\n\r\n") + 4) < 4:
            data += self._more(sock)
        head = data[:end]
        length = _LENGTH.search(head)
        if length is not None:
            data = self._read(sock, data, end + int(length[1]))
        elif _CHUNKED.search(head):
            while not data.endswith(b"\r\n0\r\n\r\n"):
                data += self._more(sock)
        else:
            raise Unanswered(f"no length: {data[:200]!r}")
        if _CLOSES.search(head) or head.startswith(b"HTTP/1.0"):
            self.close()
        else:
            self._expected = len(data)
        return data

    def _read(self, sock: socket.socket, data: bytes, total: int) -> bytes:
        pieces, left = [data], total - len(data)
        while left > 0:
            pieces.append(self._more(sock))
            left -= len(pieces[-1])
        return b"".join(pieces)

    @staticmethod
    def _more(sock: socket.socket) -> bytes:
        more = sock.recv(READ_BYTES)
        if not more:
            raise Unanswered("the connection was ended within an answer")
        return more


def body_of(answer: bytes) -> bytes:
    """What follows the head."""
    return answer.partition(b"\r\n\r\n")[2]


def times(line: Line, messages: Sequence[Message], count: int, seconds: float = 1.0, anew: bool = False) -> list[float]:
    """Seconds of each of ``count`` requests, one after the other, fewer where they take longer than ``seconds`` together.
    The connection is new (some servers end one that was idle), and was used once before; ``anew``: each request has one of its own,
    which is made and ended within its time.
    """
    clock = time.perf_counter
    found: list[float] = []
    line.close()
    if not anew:
        line.ask(messages[0])
    deadline = clock() + seconds
    for message in itertools.islice(itertools.cycle(messages), count):
        began = clock()
        line.ask(message)
        if anew:
            line.close()
        ended = clock()
        found.append(ended - began)
        if ended > deadline:
            break
    return found
