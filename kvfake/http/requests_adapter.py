"""A double as an adapter of requests, with no socket: ``session.mount(double.url, double.requests_adapter())``.

Law: it translates, and decides nothing. A response with a wire fault, a cookie or a job is read by urllib3, as from a socket, and
urllib3 also retries. It never sends through ``HTTPAdapter``: the ``responses`` package replaces the method that does so, and
an old requests would open a socket there.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from kvfake.http.connection import Action, sent_body
from kvfake.http.in_process import RequestBuilder, next_bytes, reason_and_headers, wait_for_job, wire_actions
from kvfake.http.router import Router
from kvfake.services.messages import Job, Request, Response

try:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3 import HTTPConnectionPool, HTTPHeaderDict, Retry, Timeout
    from urllib3.connection import HTTPConnection
    from urllib3.exceptions import InvalidHeader, MaxRetryError, ProtocolError, ReadTimeoutError, ResponseError
    from urllib3.response import HTTPResponse
    from urllib3.util.request import body_to_chunks
except ImportError as error:  # an old urllib3 lacks some of these names
    _NEEDED = "requests_adapter() needs requests 2.32.2 and urllib3 2, or newer: pip install 'requests>=2.32.2' 'urllib3>=2'"
    raise ImportError(_NEEDED) from error

_READ_BYTES = 1 << 16


class RequestsAdapter(HTTPAdapter):
    """Every host that it is mounted for is the double. It takes what ``requests.adapters.HTTPAdapter`` takes; of that only
    ``max_retries`` changes what it does, as there is no connection to keep.
    """

    def __init__(
        self, router: Router, pool_connections: int, pool_maxsize: int, max_retries: Retry | int | None, pool_block: bool
    ) -> None:
        super().__init__(pool_connections, pool_maxsize, max_retries, pool_block)
        self._router, self._builder = router, RequestBuilder()

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """The response of the double, read as far as its headers."""
        incoming = self._incoming(request)
        answer = self._router.answer(incoming)
        if isinstance(answer, Response) and answer.wire_fault is None:
            raw = _whole(incoming, answer)
            is_retried = self.max_retries.is_retry(incoming.method, answer.status, "retry-after" in raw.headers)
            if not is_retried and "set-cookie" not in raw.headers:  # requests reads cookies from what http.client has parsed
                return self.build_response(request, raw)
        pool = _Pool("kvfake", sockets=self._sockets(incoming, answer))
        return self.build_response(request, self._read(pool, request, _timeout(timeout)))

    def _read(self, pool: _Pool, request: requests.PreparedRequest, timeout: Timeout) -> Any:
        """The response, with the errors of requests in place of those of urllib3."""
        try:
            return pool.urlopen(
                request.method or "",
                request.path_url,
                redirect=False,
                assert_same_host=False,
                preload_content=False,
                decode_content=False,
                retries=self.max_retries,
                timeout=timeout,
            )
        except MaxRetryError as error:
            kind = requests.exceptions.RetryError if isinstance(error.reason, ResponseError) else requests.ConnectionError
            raise kind(error, request=request) from error
        except (ProtocolError, OSError) as error:
            raise requests.ConnectionError(error, request=request) from error
        except ReadTimeoutError as error:
            raise requests.ReadTimeout(error, request=request) from error
        except InvalidHeader as error:
            raise requests.exceptions.InvalidHeader(error, request=request) from error

    def _sockets(self, incoming: Request, answer: Response | Job) -> Iterator[_FakeSocket]:
        """One for each attempt. The first is answered already."""
        while True:
            yield _FakeSocket(incoming, answer)
            answer = self._router.answer(incoming)

    def _incoming(self, request: requests.PreparedRequest) -> Request:
        host = urlsplit(request.url or "").netloc.rpartition("@")[2]
        lines = [*request.headers.items(), ("Host", host)]
        return self._builder.request(request.method or "", request.path_url.encode(), lines, _body(request))


def _timeout(timeout: Any) -> Timeout:
    """What ``timeout=`` of requests means: seconds for each of connecting and reading, a pair of them, or one of urllib3's."""
    if isinstance(timeout, Timeout):
        return timeout
    connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
    return Timeout(connect=connect, read=read)


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
    """Connects to the next of the sockets. None is used twice: each attempt of a retry is a request of its own."""

    is_connected = False

    def __init__(self, host: str, *, sockets: Iterator[_FakeSocket], **more: Any) -> None:
        super().__init__(host, **more)
        self._sockets = sockets

    def connect(self) -> None:
        self.sock = next(self._sockets)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection
