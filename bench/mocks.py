"""Ways to answer httpx and requests within the process: kvfake's, and those of others.

Law: each way is a context in which one operation can be asked for; nothing is measured here. What is not installed is left out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from importlib import import_module
from io import BytesIO
from typing import Any

from bench.peers import ANSWERS, ASKS
from bench.running import Running

TRANSPORT, ADAPTER = "Double.httpx_transport()", "Double.requests_adapter()"
MOCK_TRANSPORT, WSGI_TRANSPORT, RESPX = "httpx MockTransport", "wsgi_app in httpx's WSGITransport", "respx"
CONSTANT_ADAPTER, RESPONSES, REQUESTS_MOCK = "a constant in requests", "responses", "requests-mock"

_HOST = "http://bench.test"
_PACKAGES = {"httpx": "httpx", "requests": "requests", RESPX: "respx", RESPONSES: "responses", REQUESTS_MOCK: "requests_mock"}

Way = Callable[[], AbstractContextManager[Callable[[bytes], Any]]]
"""In its context a body can be sent; the answer has a ``status_code``."""
AsyncWay = Callable[[], AbstractAsyncContextManager[Callable[[bytes], Awaitable[Any]]]]


class Mocks:
    """Every way that can be had, for a double."""

    def __init__(self, running: Running, double: Any) -> None:
        self._double = double
        self._packages: dict[str, Any] = {}
        for name, module in _PACKAGES.items():
            reason = running.place.reason(name)
            if reason is None:
                self._packages[name] = import_module(module)
            else:
                running.left_out[name] = reason

    def sync(self, operation: str) -> dict[str, Way]:
        made: dict[str, Way] = {}
        if "httpx" in self._packages:
            httpx = self._packages["httpx"]
            made[MOCK_TRANSPORT] = lambda: self._httpx(operation, httpx.MockTransport(self._constant(operation)))
            made[WSGI_TRANSPORT] = lambda: self._httpx(operation, httpx.WSGITransport(app=self._double.wsgi_app))
            if hasattr(self._double, "httpx_transport"):
                made[TRANSPORT] = lambda: self._httpx(operation, self._double.httpx_transport())
            if RESPX in self._packages:
                made[RESPX] = lambda: self._respx(operation)
        if "requests" in self._packages:
            made[CONSTANT_ADAPTER] = lambda: self._adapter(operation, _Constant(self._packages["requests"], ANSWERS[operation]))
            if hasattr(self._double, "requests_adapter"):
                made[ADAPTER] = lambda: self._adapter(operation, self._double.requests_adapter())
            if RESPONSES in self._packages:
                made[RESPONSES] = lambda: self._responses(operation)
            if REQUESTS_MOCK in self._packages:
                made[REQUESTS_MOCK] = lambda: self._requests_mock(operation)
        return made

    def asynchronous(self, operation: str) -> dict[str, AsyncWay]:
        made: dict[str, AsyncWay] = {}
        if "httpx" in self._packages and hasattr(self._double, "httpx_transport"):
            httpx = self._packages["httpx"]
            made[TRANSPORT] = lambda: self._async_httpx(operation, self._double.httpx_transport())
            made[MOCK_TRANSPORT] = lambda: self._async_httpx(operation, httpx.MockTransport(self._constant(operation)))
            if RESPX in self._packages:
                made[RESPX] = lambda: self._async_respx(operation)
        return made

    # ---------------------------------------------------------------------------------------------------------- httpx

    def _constant(self, operation: str) -> Callable[[Any], Any]:
        httpx, answer = self._packages["httpx"], ANSWERS[operation].encode()
        return lambda request: httpx.Response(200, headers={"Content-Type": "application/json"}, content=answer)

    @contextmanager
    def _httpx(self, operation: str, transport: Any) -> Iterator[Callable[[bytes], Any]]:
        ask = ASKS[operation]
        with self._packages["httpx"].Client(transport=transport, trust_env=False) as client:
            yield lambda body: client.request(ask.method, _HOST + ask.target, headers=ask.headers, content=body)

    @asynccontextmanager
    async def _async_httpx(self, operation: str, transport: Any) -> AsyncIterator[Callable[[bytes], Awaitable[Any]]]:
        ask = ASKS[operation]
        async with self._packages["httpx"].AsyncClient(transport=transport, trust_env=False) as client:
            yield lambda body: client.request(ask.method, _HOST + ask.target, headers=ask.headers, content=body)

    @contextmanager
    def _routed(self, operation: str) -> Iterator[None]:
        with self._packages[RESPX].mock(assert_all_called=False) as router:
            router.request(ASKS[operation].method, _HOST + ASKS[operation].target).respond(200, text=ANSWERS[operation])
            yield

    @contextmanager
    def _respx(self, operation: str) -> Iterator[Callable[[bytes], Any]]:
        with self._routed(operation), self._httpx(operation, None) as ask:
            yield ask

    @asynccontextmanager
    async def _async_respx(self, operation: str) -> AsyncIterator[Callable[[bytes], Awaitable[Any]]]:
        with self._routed(operation):
            async with self._async_httpx(operation, None) as ask:
                yield ask

    # ------------------------------------------------------------------------------------------------------- requests

    @contextmanager
    def _session(self, operation: str) -> Iterator[tuple[Any, Callable[[bytes], Any]]]:
        ask = ASKS[operation]
        with self._packages["requests"].Session() as session:
            session.trust_env = False
            yield session, lambda body: session.request(ask.method, _HOST + ask.target, headers=ask.headers, data=body or None)

    @contextmanager
    def _adapter(self, operation: str, adapter: Any) -> Iterator[Callable[[bytes], Any]]:
        with self._session(operation) as (session, ask):
            session.mount(_HOST, adapter)
            yield ask

    @contextmanager
    def _responses(self, operation: str) -> Iterator[Callable[[bytes], Any]]:
        mock = self._packages[RESPONSES].RequestsMock(assert_all_requests_are_fired=False)
        with mock, self._session(operation) as (_, ask):
            mock.add(ASKS[operation].method, _HOST + ASKS[operation].target, body=ANSWERS[operation])
            yield ask

    @contextmanager
    def _requests_mock(self, operation: str) -> Iterator[Callable[[bytes], Any]]:
        with self._packages[REQUESTS_MOCK].Mocker() as mock, self._session(operation) as (_, ask):
            mock.request(ASKS[operation].method, _HOST + ASKS[operation].target, text=ANSWERS[operation])
            yield ask


class _Constant:
    """The least that requests takes for an adapter: what httpx's MockTransport is there."""

    def __init__(self, requests: Any, answer: str) -> None:
        self._requests, self._answer = requests, answer.encode()

    def send(self, request: Any, **options: Any) -> Any:
        response = self._requests.Response()
        response.status_code, response.url, response.request = 200, request.url, request
        response.headers["Content-Type"] = "application/json"
        response.raw = BytesIO(self._answer)
        return response

    def close(self) -> None:
        """Nothing is open."""
