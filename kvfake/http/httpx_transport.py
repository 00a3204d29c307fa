"""A double as a transport of httpx, with no socket: for ``httpx.Client`` and ``httpx.AsyncClient``.

Law: it translates, and decides nothing. What a fault leaves of an answer is read by the parser that httpx uses.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.to_thread
import h11
import httpx

from kvfake.http.in_process import RequestBuilder, actions_of, body_of, done, head_of, hear
from kvfake.http.router import Router
from kvfake.services.messages import Request, Response


class HttpxTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """``httpx.Client(transport=double.httpx_transport())``; every host is the double."""

    def __init__(self, router: Router) -> None:
        self._router, self._builder = router, RequestBuilder()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        asked = self._asked(request, request.read())
        response = self._router.answer(asked)
        if not isinstance(response, Response):
            with _as_httpx():
                response = done(response, _patience(request))
        if response.wire_fault is None:
            return _whole(asked, response)
        coming = _coming(asked, response, _patience(request))
        while not isinstance(step := next(coming), h11.Response):
            time.sleep(step)
        return _begun(step, coming)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        asked = self._asked(request, await request.aread())
        response = self._router.answer(asked)
        if not isinstance(response, Response):
            with _as_httpx():
                response = await anyio.to_thread.run_sync(done, response, _patience(request), abandon_on_cancel=True)
        if response.wire_fault is None:
            return _whole(asked, response)
        coming = _coming(asked, response, _patience(request))
        while not isinstance(step := next(coming), h11.Response):
            await anyio.sleep(step)
        return _begun(step, coming)

    def _asked(self, request: httpx.Request, body: bytes) -> Request:
        target = request.extensions.get("target") or request.url.raw_path
        return self._builder.request(request.method, target, request.headers.raw, body)


def _patience(request: httpx.Request) -> Any:
    return request.extensions.get("timeout", {}).get("read")


def _whole(asked: Request, response: Response) -> httpx.Response:
    reason, headers = head_of(response)
    stream, extensions = httpx.ByteStream(body_of(asked, response)), {"reason_phrase": reason}
    return httpx.Response(response.status, headers=headers, stream=stream, extensions=extensions)


def _begun(head: h11.Response, coming: Iterator[Any]) -> httpx.Response:
    stream, extensions = _Body(coming), {"reason_phrase": head.reason}
    return httpx.Response(head.status_code, headers=head.headers.raw_items(), stream=stream, extensions=extensions)


def _coming(asked: Request, response: Response, patience: float | None) -> Iterator[Any]:
    """Seconds to wait, the head of the answer, and pieces of its body."""
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method=asked.method, target="/", headers=[("Host", "kvfake")]))
    parser.send(h11.EndOfMessage())
    actions = iter(actions_of(asked, response))
    with _as_httpx():
        while not isinstance(event := parser.next_event(), (h11.EndOfMessage, h11.PAUSED)):
            if event is h11.NEED_DATA:
                seconds, heard = hear(actions, patience)
                yield seconds
                if isinstance(heard, OSError):
                    raise heard
                if not heard and parser.their_state is h11.SEND_RESPONSE:
                    raise h11.RemoteProtocolError("Server disconnected without sending a response.")
                parser.receive_data(heard)
            elif isinstance(event, h11.Response):
                yield event
            elif isinstance(event, h11.Data):
                yield bytes(event.data)


@contextmanager
def _as_httpx() -> Iterator[None]:
    try:
        yield
    except TimeoutError as late:
        raise httpx.ReadTimeout(str(late)) from late
    except ConnectionError as broken:
        raise httpx.ReadError(str(broken)) from broken
    except h11.RemoteProtocolError as wrong:
        raise httpx.RemoteProtocolError(str(wrong)) from wrong


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    def __init__(self, coming: Iterator[Any]) -> None:
        self._coming = coming

    def __iter__(self) -> Iterator[bytes]:
        for step in self._coming:
            if isinstance(step, bytes):
                yield step
            else:
                time.sleep(step)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for step in self._coming:
            if isinstance(step, bytes):
                yield step
            else:
                await anyio.sleep(step)
