"""A client that sends exactly the bytes it is told to, and shows exactly what comes back."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple

_DATE = re.compile(rb"Date: [A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT\r\n")
KEPT = ("Content-Type", "X-Content-Type-Options", "Location", "Allow")


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes
    reason: str = ""

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def kept(self) -> dict[str, str]:
        """The four headers that the recorded answers hold."""
        return {name: self.headers[name] for name in KEPT if name in self.headers}

    def json(self) -> Any:
        return json.loads(self.body)


def without_date(answers: bytes) -> bytes:
    """The answers without their ``Date``, to compare them with others of another second."""
    return _DATE.sub(b"", answers)


def chunks(body: bytes, size: int = 1000) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def request_bytes(
    method: str, target: str | bytes, headers: Mapping[str, str] | None = None, body: bytes = b"", chunked: bool = False
) -> bytes:
    lines = [
        f"{method} ".encode() + (target.encode() if isinstance(target, str) else target) + b" HTTP/1.1",
        b"Host: double.example",
    ]
    lines += [f"{name}: {value}".encode("latin-1") for name, value in (headers or {}).items()]
    if chunked:
        lines.append(b"Transfer-Encoding: chunked")
        body = chunks(body)
    elif body:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body])


class Wire:
    """One connection."""

    def __init__(self, port: int, timeout: float = 10) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.socket.sendall(piece)

    def end_of_sending(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def reply(self, to: str = "GET") -> Reply:
        """The next answer. Without a length it goes to the end of the connection."""
        line = self._file.readline()
        if not line:
            raise ConnectionError("the server closed the connection without an answer")
        _, status, reason = line.decode("latin-1").rstrip("\r\n").split(" ", 2)
        headers: dict[str, str] = {}
        while (line := self._file.readline()) not in (b"\r\n", b""):
            name, value = line.decode("latin-1").rstrip("\r\n").split(": ", 1)
            headers[name] = value
        if to == "HEAD" or status in ("100", "204", "304"):
            body = b""
        elif "Content-Length" in headers:
            body = self._file.read(int(headers["Content-Length"]))
        else:
            body = self._file.read()
        return Reply(int(status), headers, body, reason)

    def ask(self, message: bytes) -> Reply:
        self.send(message)
        return self.reply(message.split(b" ", 1)[0].decode())

    def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        return self._file.read()

    def is_closed(self) -> bool:
        try:
            return self._file.read(1) == b""
        except ConnectionError:
            return True
