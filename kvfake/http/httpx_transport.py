"""A double as a transport of httpx, with no socket: for ``httpx.Client`` and ``httpx.AsyncClient``.

Law: it translates, and decides nothing. What a fault leaves of a response is read by h11, the parser that httpx uses.
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

from kvfake.http.in_process import RequestBuilder, next_bytes, reason_and_headers, sent_body, wait_for_job, wire_actions
from kvfake.http.router import Router
from kvfake.services.messages import Request, Response


class HttpxTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """``httpx.Client(transport=double.httpx_transport())``; every host is the double."""

    def __init__(self, router: Router) -> None:
        self._router, self._builder = router, RequestBuilder()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        incoming = self._incoming(request, request.read())
        response = self._router.answer(incoming)
        if not isinstance(response, Response):
            with _as_httpx():
                response = wait_for_job(response, _timeout(request))
        if response.wire_fault is None:
            return _whole(incoming, response)
        events = _events(incoming, response, _timeout(request))
        while not isinstance(step := next(events), h11.Response):
            time.sleep(step)
        return _streamed(step, events)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        incoming = self._incoming(request, await request.aread())
        response = self._router.answer(incoming)
        if not isinstance(response, Response):
            with _as_httpx():
                response = await anyio.to_thread.run_sync(wait_for_job, response, _timeout(request), abandon_on_cancel=True)
        if response.wire_fault is None:
            return _whole(incoming, response)
        events = _events(incoming, response, _timeout(request))
        while not isinstance(step := next(events), h11.Response):
            await anyio.sleep(step)
        return _streamed(step, events)

    def _incoming(self, request: httpx.Request, body: bytes) -> Request:
        target = request.extensions.get("target") or request.url.raw_path
        return self._builder.request(request.method, target, request.headers.raw, body)


def _timeout(request: httpx.Request) -> Any:
    return request.extensions.get("timeout", {}).get("read")


def _whole(incoming: Request, response: Response) -> httpx.Response:
    reason, headers = reason_and_headers(response)
    stream, extensions = httpx.ByteStream(sent_body(incoming, response)), {"reason_phrase": reason}
    return httpx.Response(response.status, headers=headers, stream=stream, extensions=extensions)


def _streamed(head: h11.Response, events: Iterator[Any]) -> httpx.Response:
    stream, extensions = _Body(events), {"reason_phrase": head.reason}
    return httpx.Response(head.status_code, headers=head.headers.raw_items(), stream=stream, extensions=extensions)


def _events(incoming: Request, response: Response, timeout: float | None) -> Iterator[Any]:
    """Seconds to wait, the head of the response, and pieces of its body, in the order in which they come."""
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method=incoming.method, target="/", headers=[("Host", "kvfake")]))
    parser.send(h11.EndOfMessage())
    actions = iter(wire_actions(incoming, response))
    with _as_httpx():
        while not isinstance(event := parser.next_event(), (h11.EndOfMessage, h11.PAUSED)):
            if event is h11.NEED_DATA:
                seconds, data = next_bytes(actions, timeout)
                yield seconds
                if isinstance(data, OSError):
                    raise data
                if not data and parser.their_state is h11.SEND_RESPONSE:
                    raise h11.RemoteProtocolError("Server disconnected without sending a response.")
                parser.receive_data(data)
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
    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events

    def __iter__(self) -> Iterator[bytes]:
        for step in self._events:
            if isinstance(step, bytes):
                yield step
            else:
                time.sleep(step)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for step in self._events:
            if isinstance(step, bytes):
                yield step
            else:
                await anyio.sleep(step)
