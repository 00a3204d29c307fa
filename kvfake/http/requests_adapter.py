"""A double as an adapter of requests, with no socket: ``session.mount(double.url, double.requests_adapter())``.

Law: it translates, and decides nothing. Whatever is more than a plain answer is read by requests itself, as from a socket.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPHeaderDict
from urllib3.connection import HTTPConnection
from urllib3.response import HTTPResponse
from urllib3.util.request import body_to_chunks

from kvfake.http.connection import Action, Job
from kvfake.http.in_process import RequestBuilder, actions_of, body_of, done, head_of, hear
from kvfake.http.router import Router
from kvfake.services.messages import Request, Response

_READ_BYTES = 1 << 16


class RequestsAdapter(HTTPAdapter):
    """Every host that it is mounted for is the double."""

    def __init__(self, router: Router) -> None:
        super().__init__()
        self._router, self._builder = router, RequestBuilder()

    def send(self, request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:
        asked = self._asked(request)
        answer = self._router.answer(asked)
        if isinstance(answer, Response) and answer.wire_fault is None:
            raw = _whole(asked, answer)
            if "set-cookie" not in raw.headers:  # requests looks for it where only a parser would have put it
                return self.build_response(request, raw)
        return _Wired(_Line(asked, answer)).send(request, *args, **more)

    def _asked(self, request: requests.PreparedRequest) -> Request:
        host = urlsplit(request.url or "").netloc.rpartition("@")[2]
        said = [*request.headers.items(), ("Host", host)]
        return self._builder.request(request.method or "", request.path_url.encode(), said, _body(request))


def _body(request: requests.PreparedRequest) -> bytes:
    body: Any = request.body
    if body is None or isinstance(body, bytes):
        return body or b""
    chunks: Any = body_to_chunks(body, request.method or "", _READ_BYTES).chunks
    return b"".join(chunk.encode() if isinstance(chunk, str) else chunk for chunk in chunks)


def _whole(asked: Request, response: Response) -> HTTPResponse:
    reason, headers = head_of(response)
    return HTTPResponse(
        io.BytesIO(body_of(asked, response)),
        HTTPHeaderDict([(name.decode(), value.decode("latin-1")) for name, value in headers]),
        response.status,
        version=11,
        reason=reason.decode(),
        preload_content=False,
        request_method=asked.method,
    )


class _Line(io.RawIOBase):
    """Stands where a socket would. What is said into it was heard before."""

    def __init__(self, asked: Request, answer: Response | Job) -> None:
        self._asked, self._answer = asked, answer
        self._actions = self._coming()
        self._left = b""

    def _coming(self) -> Iterator[Action]:
        answer = self._answer
        yield from actions_of(self._asked, answer if isinstance(answer, Response) else done(answer, self._patience))

    def settimeout(self, seconds: float | None) -> None:
        self._patience = seconds

    def sendall(self, _: bytes) -> None:
        pass

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def close(self) -> None:
        """What came is still read."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            seconds, heard = hear(self._actions, self._patience)
            time.sleep(seconds)
            if isinstance(heard, OSError):
                raise heard
            self._left = heard
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count


class _Connection(HTTPConnection):
    def __init__(self, host: str, *, line: _Line, **more: Any) -> None:
        super().__init__(host, **more)
        self._line: Any = line

    def connect(self) -> None:
        self.sock = self._line


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _Wired(HTTPAdapter):
    """The adapter of requests itself, with a line for a connection."""

    def __init__(self, line: _Line) -> None:
        super().__init__()
        self._pool = _Pool("kvfake", line=line)

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> HTTPConnectionPool:
        return self._pool
