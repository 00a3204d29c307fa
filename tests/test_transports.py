"""The double as a transport of httpx and an adapter of requests: a client is answered, and feels, what it would over a socket."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, NamedTuple

import anyio
import httpx
import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3 import Timeout

import kvfake
from kvfake.double import Double
from kvfake.services.message import SEVERS
from tests.rows.app import API, KV
from tests.support.doors import CLIENT_DOORS, TOKENS, AsyncHttpxDoor, HttpxDoor, RequestsDoor, reply_of
from tests.support.wire import Reply
from tests.test_server import until

SOCKETS: dict[str, Any] = {
    "httpx": lambda: httpx.HTTPTransport(verify=False),  # to read certificates takes longer than a test
    "httpx async": lambda: httpx.AsyncHTTPTransport(verify=False),
    "requests": HTTPAdapter,
}
LONG = 60  # seconds that no test waits for
SHORT = 0.1  # those that a client waits for them
ENOUGH = 10

ClientDoor = HttpxDoor | AsyncHttpxDoor | RequestsDoor


@pytest.fixture(params=CLIENT_DOORS)
def client(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def door(client: str) -> ClientDoor:
    """A double of its own, through that client."""
    made: ClientDoor = CLIENT_DOORS[client](kvfake.Double())
    return made


@pytest.fixture(params=["asyncio", pytest.param("trio", marks=pytest.mark.skipif(not find_spec("trio"), reason="there is no trio"))])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class Both(NamedTuple):
    """Two doubles that were made alike: one in this process, one over a socket, through the same client."""

    here: ClientDoor
    there: ClientDoor


@contextmanager
def both(client: str, **settings: Any) -> Iterator[Both]:
    settings = {"token": TOKENS, "strict": True, **settings}
    with kvfake.start(**settings) as started:
        doors = Both(CLIENT_DOORS[client](kvfake.Double(**settings)), CLIENT_DOORS[client](started, SOCKETS[client]))
        for door in doors:
            door.double.clock.freeze()
            door.double.clock.move_to("2016-09-09T23:16:43Z")
        try:
            yield doors
        finally:
            if isinstance(doors.there, HttpxDoor):
                doors.there.client.close()
            elif isinstance(doors.there, RequestsDoor):
                doors.there.session.close()


def ask(door: ClientDoor, method: str, path: str, **how: Any) -> Reply:
    """As an app would, with whatever its client takes."""
    url = door.double.url + path
    if isinstance(door, RequestsDoor):
        response = door.session.request(method, url, **{"allow_redirects": False, **how})
        return Reply(response.status_code, dict(response.headers), response.content, response.reason)
    if isinstance(door, HttpxDoor):
        return reply_of(door.client.request(method, url, **how))

    async def asked() -> Reply:
        async with door.client() as client:
            return reply_of(await client.request(method, url, **how))

    return anyio.run(asked)


def whole(reply: Reply) -> tuple[int, str, list[tuple[str, str]], bytes]:
    """Everything, but for what ends a connection: there is none here."""
    return reply.status, reply.reason, [header for header in reply.headers.items() if header[0] != "Connection"], reply.body


def recorded(double: Double) -> list[Any]:
    """What was heard and done, but for whose double it was."""
    return [
        (exchange.as_json() | {"duration": 0, "fault": exchange.fault is not None})
        | {"request": ({**exchange.request.headers, "host": ""}, exchange.request.body)}
        for exchange in double.journal
    ]


# ---------------------------------------------------------------------------------------------------------- the same answers

BOT = {"Authorization": "Bearer bot-token"}
PROJECT = {"Authorization": "Bearer project-token"}


class Asked(NamedTuple):
    method: str
    target: str
    headers: Mapping[str, str] = BOT
    body: bytes = b""
    chunked: bool = False


VALUE = b'{"value": "v"}'
REQUESTS = {
    "set and get": [
        Asked("PUT", f"{KV}/k", body=b' {"a": "\xc3\xa9"}\r\n'),
        Asked("GET", f"{KV}/k"),
        Asked("POST", f"{KV}/k", body=b"1"),
        Asked("DELETE", f"{KV}/k"),
        Asked("GET", f"{KV}/k"),
    ],
    "rows": [
        Asked("PUT", f"{KV}/my-app/k", body=b"1"),
        Asked("PUT", f"{KV}/my-app/k", body=b"1"),
        Asked("GET", f"{KV}/my-app/k"),
    ],
    "chunks": [
        Asked("PUT", f"{KV}/k", body=b"[" + b"1," * 2000 + b"1]", chunked=True),
        Asked("GET", f"{KV}/k"),
        Asked("PUT", f"{KV}/k", body=b'"' + b"x" * 9000 + b'"', chunked=True),
        Asked("PUT", f"{API}/persist/kv/k", PROJECT, VALUE, chunked=True),
    ],
    "redirects": [
        *[
            Asked(method, f"{KV}/{rest}")
            for rest in ("/a", "p/../a", "./a", "%2E%2E/a", "a/%2F", "x//%C3%A9!'()*?x=1&access_token=t")
            for method in ("GET", "PUT", "HEAD")
        ],
    ],
    "keys": [
        *[
            Asked(method, f"{KV}/{key}", body=b"1" if method == "PUT" else b"")
            for key in ("a%2Fb", "a%2520b", "caf%C3%A9", "a+b", "a%2Bb", "%00", "%FF", "a;b=c", "a:b@c", "a%0Ab", "%25", "'()*!")
            for method in ("PUT", "GET")
        ],
        *[
            Asked(method, f"{API}/persist/kv/{key}", PROJECT, VALUE if method == "PUT" else b"")
            for key in ("users:U1", "a/b//c", "..", "a/", "/", "%FF", "%F0%9F%98%80", "")
            for method in ("PUT", "GET")
        ],
    ],
    "queries": [
        Asked("GET", f"{KV}/k?access_token=bot-token", {}),
        Asked("GET", f"{KV}/k?a=b&access%5Ftoken=bot%2Dtoken", {}),
        *[Asked("PUT", f"{API}/persist/kv/{key}", PROJECT, VALUE) for key in ("a%20b", "a%25", "b", "%C3%A9")],
        *[Asked("GET", f"{API}/persist/kv{query}", PROJECT) for query in ("", "?begins=", "?begins=a+", "?begins=a%25&x", "?x=?")],
        Asked("POST", f"{API}/persist/mget", PROJECT, b'{"keys": ["b", "none"]}'),
    ],
    "refusals": [
        Asked("GET", f"{KV}/k", {}),
        Asked("GET", f"{KV}/k", {"Authorization": "Bearer plain-user-token"}),
        Asked("PUT", f"{KV}/k", body=b"no json"),
        Asked("GET", f"{KV}/a/b/c"),
        Asked("GET", KV),
        Asked("GET", "/"),
        Asked("GET", "/nothing?here"),
        Asked("PUT", f"{API}/persist/kv/k", PROJECT, b'{"value": "one", "pad": "' + b"x" * 3_000_000 + b'"}'),
        Asked("GET", f"{API}/persist/kv/none", PROJECT),
        Asked("GET", f"{API}/persist/kv/none", {}),
        Asked("GET", f"{API}/persist/nothing", PROJECT),
        Asked("GET", "/~nobody/persist/kv", PROJECT),
    ],
    "methods": [
        *[Asked(method, f"{KV}/k") for method in ("HEAD", "OPTIONS", "PATCH", "TRACE", "get", "Put", "PURGE")],
        *[Asked(method, f"{API}/persist/kv", PROJECT) for method in ("HEAD", "OPTIONS", "PATCH", "get", "PUT")],
        *[Asked(method, f"{API}/persist/mget", PROJECT, b'{"keys": []}') for method in ("HEAD", "POST", "GET")],
    ],
    "cookies": [
        Asked("PUT", f"{KV}/k", {"Cookie": "a=b; MMAUTHTOKEN=bot-token"}, b"1"),
        Asked("PUT", f"{KV}/k", {"Cookie": "MMAUTHTOKEN=bot-token", "X-CSRF-Token": "csrf-bot-token"}, b"1"),
        Asked("GET", f"{KV}/k", {"Cookie": "MMAUTHTOKEN=bot-token"}),
    ],
}


@pytest.mark.parametrize("profile", ["documented", "plugin-1.2"])
@pytest.mark.parametrize("what", REQUESTS)
def test_every_answer_is_that_over_a_socket(client: str, what: str, profile: str) -> None:
    """Status, its words, headers in their order, every byte; for requests as they stand. So is what was heard."""
    with both(client, profile=profile) as doors:
        for asked in REQUESTS[what]:
            here, there = [door.send(*asked) for door in doors]
            assert whole(here) == whole(there), asked
        here, there = [recorded(door.double) for door in doors]
        assert here == there


BODIES: dict[str, Callable[[], dict[str, Any]]] = {
    "json": lambda: {"json": {"value": "é"}},
    "a form": lambda: {"data": {"a": "é", "b": ["1", "2"]}},
    "a query": lambda: {"params": {"a": "é &+", "b": ["1", "2"]}},
}
HTTPX_BODIES: dict[str, Callable[[], dict[str, Any]]] = {
    "bytes": lambda: {"content": '{"value": "é"}'.encode()},
    "a text": lambda: {"content": '{"value": "é"}'},
    "a header twice": lambda: {"headers": [("X", "1"), ("Cookie", "a=b"), ("X", "2"), ("Cookie", "c=d")]},
}
SYNC_BODIES: dict[str, Callable[[], dict[str, Any]]] = {
    "a file": lambda: {"content": io.BytesIO('{"value": "é"}'.encode())},
    "a generator": lambda: {"content": iter([b'{"value"', b"", b': "v"}'])},
}
ASYNC_BODIES: dict[str, Callable[[], dict[str, Any]]] = {
    "a generator": lambda: {"content": later([b'{"value"', b"", b': "v"}'])},
}
REQUESTS_BODIES: dict[str, Callable[[], dict[str, Any]]] = {
    "bytes": lambda: {"data": '{"value": "é"}'.encode()},
    "a text": lambda: {"data": '{"value": "é"}'},
    "a bytearray": lambda: {"data": bytearray('{"value": "é"}'.encode())},
    "a file": lambda: {"data": io.BytesIO('{"value": "é"}'.encode())},
    "a file of text": lambda: {"data": io.StringIO('{"value": "e"}')},
    "a generator": lambda: {"data": iter([b'{"value"', b"", b': "v"}'])},
    "a generator of texts": lambda: {"data": iter(['{"value"', ': "é"}'])},
    "blanks around a header": lambda: {"headers": {"X": "1 \t", "Y": b"2"}},
}
TAKEN = {
    "httpx": BODIES | HTTPX_BODIES | SYNC_BODIES,
    "httpx async": BODIES | HTTPX_BODIES | ASYNC_BODIES,
    "requests": BODIES | REQUESTS_BODIES,
}


async def later(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        await anyio.sleep(0)
        yield piece


@pytest.mark.parametrize(("client", "what"), [(client, what) for client, taken in TAKEN.items() for what in taken])
def test_whatever_a_client_takes_is_heard_as_over_a_socket(client: str, what: str) -> None:
    """Bodies of every kind, with the headers that the client makes for them."""
    with both(client, strict=False) as doors:
        for path in (f"{KV}/é b", f"{API}/persist/kv/é b"):
            replies = [whole(ask(door, "PUT", path, **TAKEN[client][what]())) for door in doors]
            assert replies[0] == replies[1]
        assert recorded(doors.here.double) == recorded(doors.there.double)
        assert len(doors.here.double.journal) == 2


# ------------------------------------------------------------------------------------------------------------- faults, felt


def feel(door: ClientDoor, method: str, path: str, **how: Any) -> Any:
    """What an app gets of it: an answer, or an error, with the errors inside it."""
    headers = door.double.persist.headers if path.startswith(API) else door.double.mattermost.headers
    try:
        return whole(ask(door, method, path, headers=headers, **how))
    except (httpx.HTTPError, requests.RequestException) as error:
        return type(error), words(door, error)


def words(door: ClientDoor, error: BaseException) -> Any:
    """What it says, where that does not depend on how sockets are waited for, or on the port."""
    if isinstance(door, HttpxDoor):
        return str(error)
    return [type(part) for part in error.args if isinstance(part, Exception)] if isinstance(door, RequestsDoor) else None


def outcome(double: Double) -> Any:
    """What was done, and what the journal says of it."""
    return dict(double.mattermost), dict(double.persist), [exchange.status for exchange in double.journal]


class Case(NamedTuple):
    fault: dict[str, Any]
    timeout: float | None = ENOUGH
    method: str = "PUT"
    path: str = f"{KV}/k"
    body: bytes = b'"' + b"x" * 500 + b'"'


FAULTS = {
    **{f"{sever}": Case({"sever": sever}, SHORT if "silence" in sever else ENOUGH) for sever in SEVERS},
    **{f"{sever}, no timeout": Case({"sever": sever}, None) for sever in SEVERS if "silence" not in sever},
    **{f"late, then {sever}": Case({"sever": sever, "delay": 0.05}, 0.2 if "silence" in sever else ENOUGH) for sever in SEVERS},
    **{f"too late, then {sever}": Case({"sever": sever, "delay": LONG}, SHORT) for sever in SEVERS},
    "late": Case({"delay": 0.05}),
    "late, no timeout": Case({"delay": 0.05}, None),
    "too late": Case({"delay": LONG}, SHORT),
    "slow": Case({"delay": {"over": 0.1}}),
    "slow, with a patience for each part": Case({"delay": {"over": 0.6}}, 0.4),
    "too slow": Case({"delay": {"over": LONG}}, SHORT),
    "too slow after its head": Case({"delay": {"over": LONG}}, SHORT, "GET", f"{API}/persist/kv/large"),
    "slow and cut": Case({"delay": {"over": 0.1}, "sever": "truncate"}),
    "nothing, cut": Case({"sever": "truncate"}, ENOUGH, "DELETE"),
    "a head, cut": Case({"sever": "truncate"}, ENOUGH, "HEAD"),
    "a late head": Case({"delay": 0.05}, ENOUGH, "HEAD"),
    "a slow list": Case({"delay": {"over": 0.1}}, ENOUGH, "GET", f"{API}/persist/kv"),
    "a failure": Case({"status": 503}),
    "a failure of one's own": Case({"status": 418, "body": "kännchen", "headers": {"X-Pot": "é"}}),
    "a failure without a name": Case({"status": 599, "delay": 0.01}),
    "too many": Case({"status": 429, "delay": {"over": 0.05}}),
    "a late 204": Case({"status": 204, "delay": 0.01}),
    "a slow 304": Case({"status": 304, "delay": {"over": 0.02}}),
    "a 205": Case({"status": 205}),
    "a lie": Case({"status": 200, "delay": 0.01}),
    "a body that is not what it says": Case({"headers": {"Content-Encoding": "gzip"}, "delay": 0.01}),
    "somebody else's garbage": Case({"sever": "garbage", "body": b"SSH-2.0-OpenSSH_9.9\r\n"}),
    "garbage that is HTTP after all": Case({"sever": "garbage", "body": b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nto the end"}),
    "garbage that goes on": Case({"sever": "garbage", "body": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"}),
    "garbage that is nothing": Case({"sever": "garbage", "body": b""}),
    "a function": Case({"before": lambda: None, "sever": "after"}),
    "a slow function": Case({"before": lambda: time.sleep(0.05)}),
    "a function that raises": Case({"before": lambda: 1 / 0}),
}


@pytest.mark.parametrize("what", FAULTS)
@pytest.mark.filterwarnings("ignore::kvfake.FidelityWarning")
def test_a_fault_is_felt_as_over_a_socket(client: str, what: str) -> None:
    """The same answer or the same error; the same was done, and the next request is served."""
    case = FAULTS[what]
    with both(client) as doors:
        felt = []
        for door in doors:
            door.double.mattermost["k"] = 1
            door.double.persist["large"] = "x" * 200_000
            door.double.faults.add(**case.fault)
            body = {} if case.method != "PUT" else {"data" if client == "requests" else "content": case.body}
            felt.append((feel(door, case.method, case.path, timeout=case.timeout, **body), feel(door, "GET", f"{KV}/k")))
        assert felt[0] == felt[1]
        assert outcome(doors.here.double) == outcome(doors.there.double)
