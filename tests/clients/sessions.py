"""The Python clients that apps use, each as a session that keeps its connections open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import httpx
import requests


class Reply(NamedTuple):
    status: int
    text: str


class Session(Protocol):
    connections: set[Any]
    """The client's end of every connection that was used."""

    def ask(self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | Iterable[bytes] = b"") -> Reply:
        """Pieces of a body are sent in chunks."""
        ...


class RequestsSession:
    def __init__(self, session: requests.Session, cookies: Mapping[str, str]) -> None:
        self._session = session
        self._session.trust_env = False
        self._session.cookies.update(cookies)
        self.connections: set[Any] = set()

    def ask(self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | Iterable[bytes] = b"") -> Reply:
        with self._session.request(method, url, headers=headers, data=body, stream=True, timeout=30) as response:
            raw: Any = response.raw
            if _is_kept(response.headers):
                self.connections.add(raw.connection.sock.getsockname())
            return Reply(response.status_code, response.text)


class HttpxSession:
    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self.connections: set[Any] = set()

    def ask(self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | Iterable[bytes] = b"") -> Reply:
        response = self._client.request(method, url, headers=headers, content=body)
        if _is_kept(response.headers):
            self.connections.add(response.extensions["network_stream"].get_extra_info("client_addr"))
        return Reply(response.status_code, response.text)


class AsyncHttpxSession:
    def __init__(self, loop: asyncio.AbstractEventLoop, client: httpx.AsyncClient) -> None:
        self._loop, self._client = loop, client
        self.connections: set[Any] = set()

    def ask(self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | Iterable[bytes] = b"") -> Reply:
        content = body if isinstance(body, bytes) else _slowly(body)
        response = self._loop.run_until_complete(self._client.request(method, url, headers=headers, content=content))
        if _is_kept(response.headers):
            self.connections.add(response.extensions["network_stream"].get_extra_info("client_addr"))
        return Reply(response.status_code, response.text)


def _is_kept(headers: Mapping[str, str]) -> bool:
    """Whether the connection goes on: a client may have closed it already, and then it has no address."""
    return headers.get("Connection") != "close"


async def _slowly(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        await asyncio.sleep(0)
        yield piece


@contextmanager
def _requests(cookies: Mapping[str, str]) -> Iterator[Session]:
    with requests.Session() as session:
        yield RequestsSession(session, cookies)


@contextmanager
def _httpx(cookies: Mapping[str, str]) -> Iterator[Session]:
    with httpx.Client(trust_env=False, cookies=dict(cookies), timeout=30) as client:
        yield HttpxSession(client)


@contextmanager
def _async_httpx(cookies: Mapping[str, str]) -> Iterator[Session]:
    loop = asyncio.new_event_loop()
    client = httpx.AsyncClient(trust_env=False, cookies=dict(cookies), timeout=30)
    try:
        yield AsyncHttpxSession(loop, client)
    finally:
        loop.run_until_complete(client.aclose())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


SESSIONS = {"requests": _requests, "httpx": _httpx, "httpx async": _async_httpx}
