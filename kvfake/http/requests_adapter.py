"""A double as an adapter of requests, with no socket: ``session.mount(double.url, double.requests_adapter())``.

Law: it translates, and decides nothing. A response with a wire fault, a cookie or a job is read by requests itself, as from a
socket.
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

from kvfake.http.connection import Action, sent_body
from kvfake.http.in_process import RequestBuilder, next_bytes, reason_and_headers, wait_for_job, wire_actions
from kvfake.http.router import Router
from kvfake.services.messages import Job, Request, Response

_READ_BYTES = 1 << 16


class RequestsAdapter(HTTPAdapter):
    """Every host that it is mounted for is the double."""

    def __init__(self, router: Router) -> None:
        super().__init__()
        self._router, self._builder = router, RequestBuilder()

    def send(self, request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:
        incoming = self._incoming(request)
        answer = self._router.answer(incoming)
        if isinstance(answer, Response) and answer.wire_fault is None:
            raw = _whole(incoming, answer)
            if "set-cookie" not in raw.headers:  # requests reads cookies only from a response that http.client has parsed
                return self.build_response(request, raw)
        return _SocketAdapter(_FakeSocket(incoming, answer)).send(request, *args, **more)

    def _incoming(self, request: requests.PreparedRequest) -> Request:
        host = urlsplit(request.url or "").netloc.rpartition("@")[2]
        lines = [*request.headers.items(), ("Host", host)]
        return self._builder.request(request.method or "", request.path_url.encode(), lines, _body(request))


def _body(request: requests.PreparedRequest) -> bytes:
    body: Any = request.body
    if body is None or isinstance(body, bytes):
        return body or b""
    chunks: Any = body_to_chunks(body, request.method or "", _READ_BYTES).chunks
    return b"".join(chunk.encode() if isinstance(chunk, str) else chunk for chunk in chunks)


def _whole(incoming: Request, response: Response) -> HTTPResponse:
    reason, headers = reason_and_headers(incoming, response)
    return HTTPResponse(
        io.BytesIO(sent_body(incoming.method, response)),
        HTTPHeaderDict([(name.decode(), value.decode("latin-1")) for name, value in headers]),
        response.status,
        version=11,
        reason=reason.decode(),
        preload_content=False,
        request_method=incoming.method,
    )


class _FakeSocket(io.RawIOBase):
    """What requests takes for its socket. The request is known already, so what is sent into it is dropped."""

    def __init__(self, incoming: Request, answer: Response | Job) -> None:
        self._request, self._answer = incoming, answer
        self._actions = self._wire_actions()
        self._left = b""

    def _wire_actions(self) -> Iterator[Action]:
        answer = self._answer
        response = answer if isinstance(answer, Response) else wait_for_job(answer, self._timeout)
        yield from wire_actions(self._request, response, keep_alive=True)

    def settimeout(self, seconds: float | None) -> None:
        self._timeout = seconds

    def sendall(self, _: bytes) -> None:
        pass

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def close(self) -> None:
        """What is left can still be read."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            seconds, data = next_bytes(self._actions, self._timeout)
            time.sleep(seconds)
            if isinstance(data, OSError):
                raise data
            self._left = data
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count


class _Connection(HTTPConnection):
    def __init__(self, host: str, *, socket: Any, **more: Any) -> None:
        super().__init__(host, **more)
        self._socket = socket

    def connect(self) -> None:
        self.sock = self._socket


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SocketAdapter(HTTPAdapter):
    """The adapter of requests itself, on a socket that is given."""

    def __init__(self, socket: _FakeSocket) -> None:
        super().__init__()
        self._pool = _Pool("kvfake", socket=socket)

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> HTTPConnectionPool:
        return self._pool
