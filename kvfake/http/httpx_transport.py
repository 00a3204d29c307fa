"""A double as a transport of httpx and of httpx2, its successor, with no socket: for ``Client`` and ``AsyncClient``.

Law: it translates, and decides nothing. A response with a wire fault is read by h11, the parser that both use. The classes of the
two have the same names, and are not the same: a request tells by its class whose response its client understands.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from kvfake.http.connection import sent_body
from kvfake.http.in_process import RequestBuilder, next_bytes, reason_and_headers, wait_for_job, wire_actions
from kvfake.http.router import Router
from kvfake.services.messages import Request, Response

_LIBRARIES: list[ModuleType] = []
for _name in ("httpx", "httpx2"):
    with suppress(ModuleNotFoundError):
        _LIBRARIES.append(import_module(_name))
if not _LIBRARIES:
    raise ModuleNotFoundError("httpx_transport() needs httpx or httpx2: pip install httpx")

import anyio  # noqa: E402 - they come with either library
import anyio.to_thread  # noqa: E402
import h11  # noqa: E402

if TYPE_CHECKING:
    import httpx
    import httpx2

    class _Transport(httpx.BaseTransport, httpx.AsyncBaseTransport, httpx2.BaseTransport, httpx2.AsyncBaseTransport):
        def handle_request(self, request: Any) -> Any: ...
        async def handle_async_request(self, request: Any) -> Any: ...

    class _Stream(httpx.SyncByteStream, httpx.AsyncByteStream, httpx2.SyncByteStream, httpx2.AsyncByteStream): ...
else:

    def _bases(*names: str) -> list[type]:
        """These classes of each library, once: ``httpx2.alias_httpx()`` makes the two one."""
        return list(dict.fromkeys(getattr(library, name) for library in _LIBRARIES for name in names))

    class _Transport(*_bases("BaseTransport", "AsyncBaseTransport")): ...

    class _Stream(*_bases("SyncByteStream", "AsyncByteStream")): ...


class HttpxTransport(_Transport):
    """``httpx.Client(transport=double.httpx_transport())``; every host is the double."""

    def __init__(self, router: Router) -> None:
        self._router, self._builder = router, RequestBuilder()

    def handle_request(self, request: Any) -> Any:
        """The response, of the request's library."""
        library, timeout = _library_of(request), _timeout(request)
        incoming = self._incoming(request, request.read())
        response = self._router.answer(incoming)
        if not isinstance(response, Response):
            with _errors_of(library):
                response = wait_for_job(response, timeout)
        steps = _steps(library, incoming, response, timeout)
        while not isinstance(step := next(steps), library.Response):
            time.sleep(step)
        return step

    async def handle_async_request(self, request: Any) -> Any:
        """The response, of the request's library."""
        library, timeout = _library_of(request), _timeout(request)
        incoming = self._incoming(request, await request.aread())
        response = self._router.answer(incoming)
        if not isinstance(response, Response):
            with _errors_of(library):
                response = await anyio.to_thread.run_sync(wait_for_job, response, timeout, abandon_on_cancel=True)
        steps = _steps(library, incoming, response, timeout)
        while not isinstance(step := next(steps), library.Response):
            await anyio.sleep(step)
        return step

    def _incoming(self, request: Any, body: bytes) -> Request:
        target = request.extensions.get("target") or request.url.raw_path
        return self._builder.request(request.method, target, request.headers.raw, body)


def _library_of(request: Any) -> Any:
    return next(library for library in _LIBRARIES if isinstance(request, library.Request))


def _timeout(request: Any) -> Any:
    """How many seconds the client waits for bytes; ``None`` for ever."""
    return request.extensions.get("timeout", {}).get("read")


def _steps(library: Any, incoming: Request, response: Response, timeout: float | None) -> Iterator[Any]:
    """The seconds to wait until the response begins, in one or more steps, and then the response."""
    if response.wire_fault is None:
        reason, headers = reason_and_headers(incoming, response)
        stream, extensions = library.ByteStream(sent_body(incoming.method, response)), {"reason_phrase": reason}
        yield library.Response(response.status, headers=headers, stream=stream, extensions=extensions)
    else:
        events = _events(library, incoming, response, timeout)
        while not isinstance(head := next(events), h11.Response):
            yield head
        extensions = {"reason_phrase": head.reason}
        yield library.Response(head.status_code, headers=head.headers.raw_items(), stream=_Body(events), extensions=extensions)


def _events(library: Any, incoming: Request, response: Response, timeout: float | None) -> Iterator[Any]:
    """The seconds to wait, the head of the response, and pieces of its body, in the order in which they come."""
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method=incoming.method, target="/", headers=[("Host", "kvfake")]))
    parser.send(h11.EndOfMessage())
    actions = iter(wire_actions(incoming, response, keep_alive=True))
    with _errors_of(library):
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
def _errors_of(library: Any) -> Iterator[None]:
    """Raise the errors of the library in place of those of a socket and of h11."""
    try:
        yield
    except TimeoutError as error:
        raise library.ReadTimeout(str(error)) from error
    except ConnectionError as error:
        raise library.ReadError(str(error)) from error
    except h11.RemoteProtocolError as error:
        raise library.RemoteProtocolError(str(error)) from error


class _Body(_Stream):
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
