"""A double as a transport of httpx, with no socket: for ``httpx.Client`` and ``httpx.AsyncClient``.

Law: it translates, and decides nothing. A response with a wire fault is read by h11, the parser that httpx uses.
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

from kvfake.http.connection import sent_body
from kvfake.http.in_process import RequestBuilder, next_bytes, reason_and_headers, wait_for_job, wire_actions
from kvfake.http.router import Router
from kvfake.services.messages import Request, Response


class HttpxTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """``httpx.Client(transport=double.httpx_transport())``; every host is the double."""

    def __init__(self, router: Router) -> None:
        self._router, self._builder = router, RequestBuilder()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        incoming, timeout = self._incoming(request, request.read()), _timeout(request)
        response = self._router.answer(incoming)
        if not isinstance(response, Response):
            with _as_httpx():
                response = wait_for_job(response, timeout)
        steps = _steps(incoming, response, timeout)
        while not isinstance(step := next(steps), httpx.Response):
            time.sleep(step)
        return step

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        incoming, timeout = self._incoming(request, await request.aread()), _timeout(request)
        response = self._router.answer(incoming)
        if not isinstance(response, Response):
            with _as_httpx():
                response = await anyio.to_thread.run_sync(wait_for_job, response, timeout, abandon_on_cancel=True)
        steps = _steps(incoming, response, timeout)
        while not isinstance(step := next(steps), httpx.Response):
            await anyio.sleep(step)
        return step

    def _incoming(self, request: httpx.Request, body: bytes) -> Request:
        target = request.extensions.get("target") or request.url.raw_path
        return self._builder.request(request.method, target, request.headers.raw, body)


def _timeout(request: httpx.Request) -> Any:
    """How many seconds the client waits for bytes; ``None`` for ever."""
    return request.extensions.get("timeout", {}).get("read")


def _steps(incoming: Request, response: Response, timeout: float | None) -> Iterator[Any]:
    """The seconds to wait until the response begins, in one or more steps, and then the response."""
    if response.wire_fault is None:
        reason, headers = reason_and_headers(incoming, response)
        stream, extensions = httpx.ByteStream(sent_body(incoming.method, response)), {"reason_phrase": reason}
        yield httpx.Response(response.status, headers=headers, stream=stream, extensions=extensions)
    else:
        events = _events(incoming, response, timeout)
        while not isinstance(head := next(events), h11.Response):
            yield head
        extensions = {"reason_phrase": head.reason}
        yield httpx.Response(head.status_code, headers=head.headers.raw_items(), stream=_Body(events), extensions=extensions)


def _events(incoming: Request, response: Response, timeout: float | None) -> Iterator[Any]:
    """The seconds to wait, the head of the response, and pieces of its body, in the order in which they come."""
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method=incoming.method, target="/", headers=[("Host", "kvfake")]))
    parser.send(h11.EndOfMessage())
    actions = iter(wire_actions(incoming, response, keep_alive=True))
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
    """Raise the errors of httpx in place of those of a socket and of h11."""
    try:
        yield
    except TimeoutError as error:
        raise httpx.ReadTimeout(str(error)) from error
    except ConnectionError as error:
        raise httpx.ReadError(str(error)) from error
    except h11.RemoteProtocolError as error:
        raise httpx.RemoteProtocolError(str(error)) from error


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of a response, of the pieces and waits that `_events` yields after its head."""

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
