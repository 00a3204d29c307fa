"""Every way into a double: over a socket, through WSGI as different servers call it, with no door at all, and as the transport
of a client.
"""

from __future__ import annotations

import io
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

import anyio
import httpx
import requests
from requests.adapters import BaseAdapter

import kvfake
from kvfake.double import Double
from kvfake.http.connection import Connection, Handler
from kvfake.http.server import Server
from kvfake.services.messages import Request, Response
from tests.support.wire import Reply, Wire, request_bytes

TOKENS = (
    "bot-token=app-one/bot",
    "user-token=app-one/user",
    "user-token-again=app-one/user",
    "other-app-token=app-two/user",
    "plain-user-token=/user",
    "project-token=project:first",
    "project-token-again=project:first",
    "other-project-token=project:second",
)


class Door(Protocol):
    double: Double

    def send(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"", chunked: bool = False
    ) -> Reply: ...


class SocketDoor:
    """A real socket. ``wire`` is the connection; ``port`` is there for those who want another."""

    name = "socket"

    def __init__(self, double: Double, port: int) -> None:
        self.double, self.port = double, port
        self.wire = Wire(port)

    def send(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"", chunked: bool = False
    ) -> Reply:
        return self.wire.ask(request_bytes(method, target, headers, body, chunked))

    def raw(self, message: bytes) -> Reply:
        """The first answer to these bytes, on a connection of their own."""
        with Wire(self.port) as wire:
            wire.send(message)
            return wire.reply(message.split(b" ", 1)[0].decode("latin-1"))


class SiteDoor:
    """No door: the site is asked itself."""

    name = "site"

    def __init__(self, double: Double) -> None:
        self.double = double

    def send(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"", chunked: bool = False
    ) -> Reply:
        lower = {name.lower().encode(): value.encode("latin-1") for name, value in {"Host": "localhost", **(headers or {})}.items()}
        answer = self.double._router.answer(Request(method, target.encode(), lower, body))
        response = answer if isinstance(answer, Response) else answer()
        return Reply(response.status, dict(response.headers), response.body if method != "HEAD" else b"")


class WsgiDoor:
    """The WSGI application, called as the specification says: no raw target, an input that ends."""

    name = "wsgi"

    def __init__(self, double: Double) -> None:
        self.double = double

    def environ(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        path, _, query = target.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": headers.get("Content-Type", ""),
            "wsgi.input": io.BytesIO(body),
        }
        environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items() if name != "Content-Type"}
        return environ

    def send(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"", chunked: bool = False
    ) -> Reply:
        started: list[Any] = []
        environ = self.environ(method, target, {"Host": "localhost", **(headers or {})}, body)
        body = b"".join(self.double.wsgi_app(environ, lambda status, headers: started.extend([status, headers])))
        status, reason = started[0].split(" ", 1)
        return Reply(int(status), dict(started[1]), body, reason)


class RawWsgiDoor(WsgiDoor):
    """The same, as gunicorn calls it: with the raw target."""

    name = "wsgi with a raw target"

    def environ(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        return {
            **super().environ(method, target, headers, body),
            "RAW_URI": target,
            "CONTENT_LENGTH": "",
            "wsgi.input_terminated": True,
        }


DOORS: dict[str, Any] = {door.name: door for door in (SocketDoor, SiteDoor, WsgiDoor, RawWsgiDoor)}


class HttpxDoor:
    """A client of httpx. It is made to send targets and methods as they are written. With ``transport`` it goes another way."""

    name = "httpx"
    library: Any = httpx

    def __init__(self, double: Double, transport: Callable[[], Any] | None = None) -> None:
        self.double = double
        self.client = self.library.Client(transport=(transport or double.httpx_transport)(), trust_env=False)

    def send(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"", chunked: bool = False
    ) -> Reply:
        extensions = {"target": target.encode()}
        content = pieces(body) if chunked else body
        request = self.client.build_request(method, self.double.url, headers=headers, content=content, extensions=extensions)
        request.method = method
        return reply_of(self.client.send(request))


class AsyncHttpxDoor:
    """An asynchronous one: another for each request, and another loop."""

    name = "httpx async"
    library: Any = httpx

    def __init__(self, double: Double, transport: Callable[[], Any] | None = None) -> None:
        self.double = double
        self._transport: Callable[[], Any] = transport or double.httpx_transport

    def client(self) -> Any:
        return self.library.AsyncClient(transport=self._transport(), trust_env=False)

    def send(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"", chunked: bool = False
    ) -> Reply:
        return anyio.run(self._send, method, target, headers, body, chunked)

    async def _send(self, method: str, target: str, headers: Mapping[str, str] | None, body: bytes, chunked: bool) -> Reply:
        extensions = {"target": target.encode()}
        content = apieces(body) if chunked else body
        async with self.client() as client:
            request = client.build_request(method, self.double.url, headers=headers, content=content, extensions=extensions)
            request.method = method
            return reply_of(await client.send(request))


class RequestsDoor:
    """A session of requests, made to do the same."""

    name = "requests"

    def __init__(self, double: Double, adapter: Callable[[], BaseAdapter] | None = None) -> None:
        self.double = double
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.mount("http://", (adapter or double.requests_adapter)())

    def send(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"", chunked: bool = False
    ) -> Reply:
        asked: Any = requests.Request(method, self.double.url, headers, data=pieces(body) if chunked else body)
        request = self.session.prepare_request(asked)
        request.method, request.url = method, self.double.url + target
        response = self.session.send(request, allow_redirects=False)
        return Reply(response.status_code, dict(response.headers), response.content, response.reason)


def pieces(body: bytes, size: int = 1000) -> Iterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def apieces(body: bytes) -> AsyncIterator[bytes]:
    for piece in pieces(body):
        yield piece


def reply_of(response: Any) -> Reply:
    """Of httpx, or of httpx2."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in response.headers.raw}
    return Reply(response.status_code, headers, response.content, response.reason_phrase)


CLIENT_DOORS: dict[str, Any] = {door.name: door for door in (HttpxDoor, AsyncHttpxDoor, RequestsDoor)}

if sys.version_info >= (3, 11):  # as httpx2 needs it
    import httpx2

    class Httpx2Door(HttpxDoor):
        """The same of httpx2, the successor of httpx."""

        name = "httpx2"
        library = httpx2

    class AsyncHttpx2Door(AsyncHttpxDoor):
        name = "httpx2 async"
        library = httpx2

    CLIENT_DOORS |= {door.name: door for door in (Httpx2Door, AsyncHttpx2Door)}


@contextmanager
def serving(double: Double, wrong: Any = None, wrong_wire: Any = None) -> Iterator[SocketDoor]:
    """A double behind a socket; ``wrong`` changes what its site answers, ``wrong_wire`` what is heard and said."""
    answer: Handler = double._router.answer
    if wrong is not None:
        answer = wrong(answer)
    reads = double._router.body_bytes
    connect = (lambda: wrong_wire(answer)) if wrong_wire is not None else (lambda: Connection(answer, None, reads))
    server = Server(connect, "127.0.0.1", 0)
    server.start()
    door = SocketDoor(double, server.port)
    try:
        yield door
    finally:
        door.wire.close()
        server.stop()


@contextmanager
def opened(door: str, **settings: Any) -> Iterator[Door]:
    """A fresh double, through that door."""
    double = kvfake.Double(**settings)
    if door == SocketDoor.name:
        with serving(double) as socket_door:
            yield socket_door
    else:
        yield (DOORS | CLIENT_DOORS)[door](double)
