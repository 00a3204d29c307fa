"""The double as a transport of httpx and an adapter of requests: a client is answered, and feels, what it would over a socket."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from functools import partial
from http.cookies import SimpleCookie
from typing import Any, NamedTuple, TypeVar

import anyio
import httpx
import pytest
import requests
import responses
from requests.adapters import HTTPAdapter
from urllib3 import Retry, Timeout

import kvfake
from kvfake.double import Double
from kvfake.services.mattermost import KV
from kvfake.services.persist import API
from kvfake.world.faults import SeverWord
from tests.support.doors import CLIENT_DOORS, TOKENS, AsyncHttpxDoor, HttpxDoor, RequestsDoor, reply_of
from tests.support.process import PATIENCE_SECONDS, ROOT, environment
from tests.support.served import doubles_of
from tests.support.troubled import SEVERS
from tests.support.wire import Reply
from tests.test_server import until


def sockets(client: str) -> Callable[[], Any]:
    """What makes the client's own way, over sockets."""
    if client == "requests":
        return HTTPAdapter
    library = CLIENT_DOORS[client].library
    transport = library.AsyncHTTPTransport if "async" in client else library.HTTPTransport
    return partial(transport, verify=False)  # to read certificates takes longer than a test


LONG = 60  # seconds that no test waits for
SHORT = 0.1  # those that a client waits for them
ENOUGH = 10

ClientDoor = HttpxDoor | AsyncHttpxDoor | RequestsDoor
Found = TypeVar("Found")


@pytest.fixture(params=CLIENT_DOORS)
def client(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def door(client: str) -> ClientDoor:
    """A double of its own, through that client."""
    made: ClientDoor = CLIENT_DOORS[client](kvfake.Double())
    return made


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class Both(NamedTuple):
    """Two doubles that were made alike: one in this process, one over a socket, through the same client."""

    here: ClientDoor
    there: ClientDoor

    def each(self, do: Callable[[ClientDoor], Found]) -> list[Found]:
        """What is found through either. They wait at the same time."""
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(do, self))


@contextmanager
def both(client: str, **settings: Any) -> Iterator[Both]:
    settings = {"token": TOKENS, "strict": True, **settings}
    with kvfake.start(**settings) as started:
        doors = Both(CLIENT_DOORS[client](kvfake.Double(**settings)), CLIENT_DOORS[client](started, sockets(client)))
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


def request(door: ClientDoor, method: str, url: str, **how: Any) -> Any:
    """As an app would, with whatever its client takes; the client's own response."""
    if isinstance(door, RequestsDoor):
        return door.session.request(method, url, **{"allow_redirects": False, **how})
    if isinstance(door, HttpxDoor):
        return door.client.request(method, url, **how)

    async def requested() -> Any:
        async with door.client() as client:
            return await client.request(method, url, **how)

    return anyio.run(requested)


def ask(door: ClientDoor, method: str, path: str, **how: Any) -> Reply:
    response = request(door, method, door.double.url + path, **how)
    if isinstance(response, requests.Response):
        return Reply(response.status_code, dict(response.headers), response.content, response.reason)
    return reply_of(response)


def errors_of(door: ClientDoor) -> Any:
    return requests.RequestException if isinstance(door, RequestsDoor) else door.library.HTTPError


def whole(reply: Reply) -> tuple[int, str, list[tuple[str, str]], bytes]:
    """Everything, but for what ends a connection, as there is none here, and the date, as it may be another second."""
    headers = [header for header in reply.headers.items() if header[0] not in ("Connection", "Date")]
    return reply.status, reply.reason, headers, reply.body


def recorded(double: Double) -> list[Any]:
    """What was heard and done, but for whose double it was."""
    return [
        (exchange.to_dict() | {"time": "", "duration": 0, "fault": exchange.fault is not None})
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
        assert recorded(doors.here.double) == recorded(doors.there.double)


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


def taken_by(client: str) -> dict[str, Callable[[], dict[str, Any]]]:
    return TAKEN[client.replace("httpx2", "httpx")]  # both take the same


async def later(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        await anyio.sleep(0)
        yield piece


@pytest.mark.parametrize(("client", "what"), [(client, what) for client in CLIENT_DOORS for what in taken_by(client)])
def test_responses_are_as_over_a_socket(client: str, what: str) -> None:
    """Bodies of every kind, with the headers that the client makes for them."""
    with both(client, strict=False) as doors:
        for path in (f"{KV}/é b", f"{API}/persist/kv/é b"):
            here, there = [whole(ask(door, "PUT", path, **taken_by(client)[what]())) for door in doors]
            assert here == there
        assert recorded(doors.here.double) == recorded(doors.there.double)
        assert len(doors.here.double.journal) == 2


# ------------------------------------------------------------------------------------------------------------- faults, felt


def feel(door: ClientDoor, method: str, path: str, **how: Any) -> Any:
    """What an app gets of it: an answer, or an error, with the errors inside it."""
    headers = door.double.persist.headers if path.startswith(API) else door.double.mattermost.headers
    try:
        return whole(ask(door, method, path, headers=headers, **how))
    except errors_of(door) as error:
        return type(error), words(door, error)


def words(door: ClientDoor, error: BaseException) -> Any:
    """What it says, where that does not depend on how sockets are waited for, or on the port."""
    if isinstance(door, HttpxDoor):
        return str(error)
    return [type(part) for part in error.args if isinstance(part, Exception)] if isinstance(door, RequestsDoor) else None


def answered_within(client: str, seconds: float | None) -> Any:
    """A client's patience with an answer: to be connected to it may have to wait where a machine is busy."""
    if seconds is None:
        return None
    return (ENOUGH, seconds) if client == "requests" else CLIENT_DOORS[client].library.Timeout(ENOUGH, read=seconds)


class Case(NamedTuple):
    fault: dict[str, Any]
    timeout: float | None = ENOUGH
    method: str = "PUT"
    path: str = f"{KV}/k"
    body: bytes = b'"' + b"x" * 500 + b'"'


FAULTS = {
    **{f"{sever}": Case({"sever": sever}, SHORT if "silence" in sever else ENOUGH) for sever in SEVERS},
    **{f"late, then {sever}": Case({"sever": sever, "delay": 0.05}, 0.2 if "silence" in sever else ENOUGH) for sever in SEVERS},
    **{f"too late, then {sever}": Case({"sever": sever, "delay": LONG}, SHORT) for sever in SEVERS},
    "late": Case({"delay": 0.05}),
    "late, no timeout": Case({"delay": 0.05}, None),
    "late and cut, no timeout": Case({"delay": 0.05, "sever": "truncate"}, None),
    "too late": Case({"delay": LONG}, SHORT),
    "slow": Case({"delay": {"over": 0.1}}),
    "slow, with a patience for each part": Case({"delay": {"over": 0.5}}, 0.4),
    "too slow": Case({"delay": {"over": LONG}}, SHORT),
    "too slow after its head": Case({"delay": {"over": 4 * LONG}}, 0.4, "GET", f"{API}/persist/kv/large"),
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
    "garbage with two lengths": Case({"sever": "garbage", "body": b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab"}),
    "garbage that is nothing": Case({"sever": "garbage", "body": b""}),
    "a function": Case({"before": lambda: None, "sever": "after"}),
    "a slow function": Case({"before": lambda: time.sleep(0.05)}),
    "a function that raises": Case({"before": lambda: 1 / 0}),
}


@pytest.mark.parametrize("what", FAULTS)
def test_faults_are_as_over_a_socket(client: str, what: str) -> None:
    """The same answer or the same error; the same was done, and the next request is served."""
    case = FAULTS[what]

    def ask_twice(door: ClientDoor) -> Any:
        door.double.mattermost["k"] = 1
        door.double.persist["large"] = "x" * 200_000
        door.double.faults.add(**case.fault)
        body = {} if case.method != "PUT" else {"data" if client == "requests" else "content": case.body}
        felt = feel(door, case.method, case.path, timeout=answered_within(client, case.timeout), **body)
        after = feel(CLIENT_DOORS[client](door.double), "GET", f"{KV}/k")
        statuses = [exchange.status for exchange in door.double.journal]
        return felt, after, dict(door.double.mattermost), dict(door.double.persist), statuses

    with both(client) as doors:
        here, there = doors.each(ask_twice)
        assert here == there
        assert here[1][0] == 200


def timeouts(client: str) -> list[tuple[Any, Any]]:
    """One that is too short and one that is not, in each way in which the client takes it: what it waits for is the second."""
    if client == "requests":
        return [(SHORT, ENOUGH), (Timeout(connect=ENOUGH, read=SHORT), Timeout(ENOUGH)), ((ENOUGH, SHORT), (None, None))]
    made = CLIENT_DOORS[client].library.Timeout
    return [(SHORT, ENOUGH), (made(ENOUGH, read=SHORT), made(ENOUGH)), ((ENOUGH, SHORT, ENOUGH, ENOUGH), None)]


def read_timeout(client: str) -> Any:
    return requests.ReadTimeout if client == "requests" else CLIENT_DOORS[client].library.ReadTimeout


@pytest.mark.parametrize("way", range(3), ids=["seconds", "an object", "a tuple"])
def test_a_timeout_in_every_way_to_say_it(client: str, way: int) -> None:
    """One that is too short for the fault, and one that is not."""
    short, enough = timeouts(client)[way]

    def ask_thrice(door: ClientDoor) -> Any:
        door.double.faults.add(delay=LONG, after=1)
        door.double.faults.add(delay=0.02, times=None)
        return [feel(door, "GET", f"{KV}/k", timeout=timeout) for timeout in (enough, short, enough)]

    with both(client) as doors:
        here, there = doors.each(ask_thrice)
        assert here == there
        assert here[0] == here[2] == (200, "OK", [("Content-Type", "application/json"), ("Content-Length", "2")], b"{}")
        assert here[1][0] is read_timeout(client)


def test_a_function_that_takes_too_long(client: str) -> None:
    """The client gives up; what it asked for is done when the function comes to its end. Likewise a mounted application."""

    def ask_both(door: ClientDoor) -> Any:
        gate = threading.Event()
        door.double.faults.add(before=lambda: gate.wait(LONG))
        door.double.mount("/slow", lambda environ, start: hello(environ, start) if gate.wait(LONG) else [])
        felt = [feel(door, "DELETE", path, timeout=answered_within(client, SHORT)) for path in (f"{KV}/k", "/slow")]
        assert len(door.double.journal) == 0
        gate.set()
        assert until(lambda: len(door.double.journal) == 2)
        return felt, sorted(exchange.path for exchange in door.double.journal)

    with both(client) as doors:
        here, there = doors.each(ask_both)
        assert here == there
        assert here[0][0][0] is read_timeout(client)


def hello(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    start("200 OK", [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    return [f"hello {environ['PATH_INFO']} ".encode(), environ["wsgi.input"].read()]


def test_a_function_that_calls_pytest_fail(door: ClientDoor, capfd: pytest.CaptureFixture[str]) -> None:
    """Pytest's own way to fail, in a function: the client is answered even so, and the test's output shows it."""
    door.double.faults.add(before=lambda: pytest.fail("as the user says"))
    assert [feel(door, "GET", f"{KV}/k")[0] for _ in range(2)] == [500, 200]
    assert "as the user says" in capfd.readouterr().err


# ----------------------------------------------------------------------------------------------------- answers, piece by piece


class Piece(NamedTuple):
    moment: float
    data: bytes


def stream(door: ClientDoor, path: str, timeout: Any = ENOUGH) -> tuple[list[Piece], Any]:
    """What came, and the error that it ended with."""
    came: list[Piece] = []
    url = door.double.url + path
    how: dict[str, Any] = {"headers": door.double.persist.headers, "timeout": timeout}
    try:
        if isinstance(door, RequestsDoor):
            with door.session.get(url, stream=True, **how) as answer:
                came.extend(Piece(time.monotonic(), data) for data in answer.iter_content(1000))
        elif isinstance(door, HttpxDoor):
            with door.client.stream("GET", url, **how) as response:
                came.extend(Piece(time.monotonic(), data) for data in response.iter_raw(1000))
        else:
            anyio.run(astream, door, url, how, came)
    except errors_of(door) as error:
        return came, (type(error), words(door, error))
    return came, None


async def astream(door: AsyncHttpxDoor, url: str, how: dict[str, Any], came: list[Piece]) -> None:
    async with door.client() as client, client.stream("GET", url, **how) as response:
        async for data in response.aiter_raw(1000):
            came.append(Piece(time.monotonic(), data))  # noqa: PERF401  (what came before an error counts)


STREAMED: dict[str, dict[str, Any]] = {
    "whole": {},
    "late": {"delay": 0.05},
    "slow": {"delay": {"over": 0.1}},
    "too slow": {"delay": {"over": 4 * LONG}},
    "truncate": {"sever": "truncate"},
    "slow and cut": {"sever": "truncate", "delay": {"over": 0.1}},
    "reset": {"sever": "reset"},
    "nothing": {"status": 204, "delay": 0.01},
}


@pytest.mark.parametrize("what", STREAMED)
def test_an_answer_in_pieces(client: str, what: str) -> None:
    """As much of it comes as over a socket, before it ends in the same way."""

    def read(door: ClientDoor) -> Any:
        door.double.persist["large"] = "x" * 262_144
        if STREAMED[what]:
            door.double.faults.add(**STREAMED[what])
        came, error = stream(door, f"{API}/persist/kv/large", answered_within(client, 0.4 if what == "too slow" else ENOUGH))
        return b"".join(piece.data for piece in came), error

    with both(client) as doors:
        here, there = doors.each(read)
        assert here == there
        assert (here[1] is not None) == (what in ("too slow", "truncate", "slow and cut", "reset"))


def test_a_slow_answer_comes_bit_by_bit(door: ClientDoor) -> None:
    """An app that reads it so can begin at once."""
    door.double.persist["large"] = "x" * 100_000
    door.double.faults.add(delay={"over": 1})
    came, _ = stream(door, f"{API}/persist/kv/large")
    assert came[-1].moment - came[0].moment > 0.2


def test_an_answer_that_nobody_reads(door: ClientDoor) -> None:
    """Is given up in peace, and the next is right."""
    door.double.persist["large"] = "x" * 100_000
    door.double.faults.add(delay={"over": LONG})
    url, headers = door.double.persist.url_for("large"), door.double.persist.headers

    async def give_up(door: AsyncHttpxDoor) -> None:
        async with door.client() as client, client.stream("GET", url, headers=headers) as response:
            assert response.status_code == 200

    if isinstance(door, RequestsDoor):
        door.session.get(url, headers=headers, stream=True).close()
    elif isinstance(door, HttpxDoor):
        with door.client.stream("GET", url, headers=headers) as response:
            assert response.status_code == 200
    else:
        anyio.run(give_up, door)
    assert feel(door, "GET", f"{API}/persist/kv")[0] == 200


def test_a_response_has_its_time_request_and_state(client: str, door: ClientDoor) -> None:
    """How long it took, what it was asked, that all of it was read."""
    response = request(door, "GET", door.double.url)
    assert response.elapsed.total_seconds() >= 0
    assert str(response.request.url).rstrip("/") == door.double.url
    if client == "requests":
        assert (response.raw.version, response.raw.status, response.raw.read()) == (11, 404, b"")
    else:
        assert (response.http_version, response.num_bytes_downloaded) == ("HTTP/1.1", len(response.content))
        assert response.is_closed


# ------------------------------------------------------------------------------------------------------------ what lies there


def text(door: ClientDoor, url: str, method: str = "GET", **how: Any) -> str:
    found: str = request(door, method, url, **{"headers": door.double.mattermost.headers, **how}).text
    return found


def test_every_host_is_the_double(door: ClientDoor) -> None:
    """Whatever addresses an app has, also with ``https``; requests must be told which. Faults find them too."""
    if isinstance(door, RequestsDoor):
        door.session.mount("https://", door.double.requests_adapter())
    door.double.mattermost["k"] = 1
    door.double.faults.add(delay=0.01, times=None, after=3)
    for origin in ("https://mattermost.example:8065", "http://user:word@127.0.0.1", "http://[::1]:1") * 2:
        assert text(door, f"{origin}{KV}/k", headers={"Cookie": f"MMAUTHTOKEN={door.double.mattermost.token}"}) == "1"
    hosts = [exchange.request.headers["host"] for exchange in door.double.journal]
    assert hosts == ["mattermost.example:8065", "127.0.0.1", "[::1]:1"] * 2


def test_a_host_header_of_the_app(door: ClientDoor) -> None:
    """A ``Host`` that the app sets is the one that is heard."""
    text(door, door.double.url, headers={"Host": "elsewhere"})
    assert door.double.journal[-1].request.headers["host"] == "elsewhere"


def test_no_socket_is_opened(door: ClientDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is asked, whatever befalls it."""
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a socket"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("a name"))
    door.double.faults.add(delay=0.01)
    door.double.faults.add(before=lambda: None)
    assert [feel(door, "GET", f"{KV}/k")[0] for _ in range(3)] == [200, 200, 200]
    assert request(door, "GET", door.double.url + "/_kvfake/health").status_code == 200


def test_a_session_reaches_other_hosts_over_the_network() -> None:
    """It is mounted for one address."""
    double = kvfake.Double()
    with requests.Session() as session:
        session.mount(double.url, double.requests_adapter())
        assert session.get(double.mattermost.url_for("k"), headers=double.mattermost.headers).json() == {}
        assert type(session.get_adapter("http://elsewhere.example")) is HTTPAdapter


def test_worlds_have_addresses(client: str) -> None:
    """A double beside others on one server is at the root of its own transport; each is below its address on every transport."""
    with kvfake.start() as server:
        one, two = (doubles_of(server).open({}) for _ in range(2))
        one.mattermost["k"], two.mattermost["k"] = 1, 2
        doors = [CLIENT_DOORS[client](double) for double in (server, one, two)]
        assert [text(door, f"http://x{KV}/k") for door in doors] == ["{}", "1", "2"]
        below = two.url.removeprefix(server.url)
        assert [text(door, f"http://x{below}{KV}/k", headers=two.mattermost.headers) for door in doors] == ["2"] * 3
        two.close()
        assert [request(door, "GET", f"http://x{below}{KV}/k").status_code for door in doors] == [410] * 3


def test_control_is_there_for_the_doubles_own_name(door: ClientDoor) -> None:
    """And for no other host, as on a port: what one asks there is done."""
    health = door.double.url + "/_kvfake/health"
    assert request(door, "GET", health).json()["kvfake"] == kvfake.__version__
    door.double.mattermost["k"] = 1
    assert request(door, "POST", door.double.url + "/_kvfake/reset").status_code == 200
    assert door.double.mattermost == {}
    assert request(door, "GET", "http://elsewhere.example/_kvfake/health").status_code == 403
    assert len(door.double.journal) == 0


def test_routes_and_mounts(door: ClientDoor) -> None:
    """Single answers, and mounted applications, whose function may ask the double itself."""
    door.double.respond("POST", "/api/v4/posts", 201, json={"id": "p"}, headers={"X": "é"})
    door.double.respond("DELETE", "/api/v4/posts/p", 204)
    door.double.mount("/app", hello)
    door.double.mount("/again", lambda environ, start: [*hello(environ, start), text(door, f"{door.double.url}/app/x").encode()])
    created = request(door, "POST", door.double.url + "/api/v4/posts")
    assert (created.status_code, created.json(), created.headers["X"]) == (201, {"id": "p"}, "é")
    deleted = request(door, "DELETE", door.double.url + "/api/v4/posts/p")
    assert (deleted.status_code, deleted.content, [name.lower() for name in deleted.headers]) == (204, b"", ["date"])
    assert text(door, door.double.url + "/app/there?x", "PUT", json=[1]).replace(" ", "") == "hello/there[1]"
    assert text(door, door.double.url + "/again") == "hello  hello /x "
    assert request(door, "HEAD", door.double.url + "/app").content == b""


def test_cookies_are_kept(client: str) -> None:
    """Those of an answer, and both of a mounted application; the next request brings them."""
    paths = ("/login", "/app", f"{KV}/k")

    def log_in(door: ClientDoor) -> Any:
        door.double.respond("GET", "/login", headers={"Set-Cookie": f"MMAUTHTOKEN={door.double.mattermost.token}; Path=/"})
        door.double.mount("/app", hello)

        async def asked() -> list[int]:
            assert isinstance(door, AsyncHttpxDoor)
            async with door.client() as client:
                return [(await client.get(door.double.url + path)).status_code for path in paths]

        if isinstance(door, AsyncHttpxDoor):
            codes = anyio.run(asked)
        else:
            codes = [request(door, "GET", door.double.url + path).status_code for path in paths]
        return codes, SimpleCookie(door.double.journal[1].request.headers["cookie"]).keys(), door.double.journal[2].owner

    with both(client) as doors:
        here, there = doors.each(log_in)
        assert here == there
        assert here[0] == [200, 200, 200]


def test_a_redirect_is_followed(client: str, door: ClientDoor) -> None:
    """M21: the clean path, on the same way."""
    door.double.mattermost["k"] = 1
    follow = {"allow_redirects": True} if client == "requests" else {"follow_redirects": True}
    response = request(door, "GET", f"{door.double.url}{KV}/%2Fk", headers=door.double.mattermost.headers, **follow)
    assert (response.text, [step.status_code for step in response.history]) == ("1", [301])


def test_a_store_that_breaks(door: ClientDoor, capfd: pytest.CaptureFixture[str]) -> None:
    """P11, also where a function is called on the way."""
    world, store = door.double._world, door.double._world.store
    del world.store
    before = feel(door, "GET", f"{API}/persist/kv/k")
    door.double.faults.add(before=lambda: None)
    assert [before[0], feel(door, "GET", f"{API}/persist/kv/k")[0]] == [500, 500]
    assert capfd.readouterr().err.count("AttributeError") == 2
    world.store = store
    assert feel(door, "GET", f"{API}/persist/kv/k")[0] == 404


# ------------------------------------------------------------------------------------------------------ what HTTPAdapter takes


class Retried(NamedTuple):
    fault: dict[str, Any]
    retry: Any
    statuses: list[int | None]  # in the journal
    came: Any  # the status, or the error

    def ask(self, door: ClientDoor) -> Any:
        """What an app gets in the end, and what the double was asked for it."""
        door.double.faults.add(**self.fault)
        with requests.Session() as session:
            session.trust_env = False
            url, headers = door.double.mattermost.url_for("k"), door.double.mattermost.headers
            over_sockets = door.session.get_adapter(url).__class__ is HTTPAdapter  # type: ignore[union-attr]
            adapter = HTTPAdapter(max_retries=self.retry) if over_sockets else door.double.requests_adapter(max_retries=self.retry)
            session.mount(door.double.url, adapter)
            try:
                came: Any = session.put(url, b"1", headers=headers, timeout=(ENOUGH, 0.2)).status_code
            except requests.RequestException as error:
                came = type(error)
        return came, [exchange.status for exchange in door.double.journal]


AT_ONCE: dict[str, Any] = {"backoff_factor": 0, "status_forcelist": [503]}
RETRIED = {
    "two failures": Retried({"status": 503, "times": 2}, Retry(3, **AT_ONCE), [503, 503, 200], 200),
    "nothing to retry": Retried({"status": 500}, Retry(3, **AT_ONCE), [500], 500),
    "too many failures": Retried({"status": 503, "times": 9}, Retry(1, **AT_ONCE), [503, 503], requests.exceptions.RetryError),
    "the last failure": Retried({"status": 503, "times": 9}, Retry(1, raise_on_status=False, **AT_ONCE), [503, 503], 503),
    "as the answer says": Retried({"status": 429, "headers": {"Retry-After": "0"}}, Retry(3), [429, 200], 200),
    "a late failure": Retried({"status": 503, "delay": 0.01}, Retry(3, **AT_ONCE), [503, 200], 200),
    "a reset": Retried({"sever": "reset", "times": 2}, Retry(3, **AT_ONCE), [None, None, 200], 200),
    "too many resets": Retried({"sever": "reset", "times": 9}, Retry(1, **AT_ONCE), [None] * 2, requests.ConnectionError),
    "a late answer": Retried({"delay": LONG}, Retry(3, **AT_ONCE), [200, 200], 200),
    "a number": Retried({"sever": "reset"}, 3, [None, 200], 200),
    "none": Retried({"sever": "reset"}, 0, [None], requests.ConnectionError),
}


@pytest.mark.parametrize("what", RETRIED)
def test_a_retry_policy_runs(what: str) -> None:
    """As with requests' own adapter over a socket: each attempt is a request of its own."""
    case = RETRIED[what]
    with both("requests") as doors:
        here, there = doors.each(case.ask)
    assert here == there
    assert here == (case.came, case.statuses)


def test_everything_that_an_adapter_of_requests_takes() -> None:
    """By name, and in the order of ``HTTPAdapter``."""
    double = kvfake.Double()
    double.faults.add(status=503, times=None)
    for adapter in (
        double.requests_adapter(5, 5, Retry(2, **AT_ONCE), True),
        double.requests_adapter(pool_block=True, max_retries=None),
    ):
        with requests.Session() as session:
            session.mount(double.url, adapter)
            with suppress(requests.exceptions.RetryError):
                session.get(double.mattermost.url_for("k"), headers=double.mattermost.headers)
    assert len(double.journal) == 3 + 1


def test_responses_beside_the_adapter() -> None:
    """The ``responses`` package is active for other hosts, and refuses what it does not know, but not the double."""
    double = kvfake.Double()
    double.faults.add(status=503, delay=0.01)
    double.respond("GET", "/login", headers={"Set-Cookie": "a=b"})
    with responses.RequestsMock() as mock, requests.Session() as session:
        mock.add("GET", "http://elsewhere.example/", "hello")
        session.mount(double.url, double.requests_adapter())
        key = [session.get(double.mattermost.url_for("k"), headers=double.mattermost.headers).status_code for _ in range(2)]
        assert key == [503, 200]
        assert session.get(f"{double.url}/_kvfake/health").json()["status"] == "ok"
        assert session.get(f"{double.url}/login").cookies["a"] == "b"
        assert session.get("http://elsewhere.example/").text == "hello"


LACKING = """
import sys
for name in {missing!r}:
    sys.modules[name] = None
import kvfake
double = kvfake.Double()
try:
    double.{call}
except ImportError as error:
    print(error)
else:
    print("there")
"""


HTTPX_NEEDED = "httpx_transport() needs httpx or httpx2: pip install httpx"
REQUESTS_NEEDED = "requests_adapter() needs requests 2.32.2 and urllib3 2, or newer: pip install 'requests>=2.32.2' 'urllib3>=2'"


@pytest.mark.parametrize(
    ("call", "missing", "said"),
    [
        ("httpx_transport()", ["httpx", "httpx2"], HTTPX_NEEDED),
        ("httpx_transport()", ["httpx", "httpx2", "anyio", "h11"], HTTPX_NEEDED),
        ("httpx_transport()", ["httpx2"], "there"),
        ("requests_adapter()", ["requests"], REQUESTS_NEEDED),
        ("requests_adapter()", ["urllib3.util.request"], REQUESTS_NEEDED),
    ],
)
def test_a_client_library_that_is_not_there(call: str, missing: list[str], said: str) -> None:
    """One sentence says which is needed. Either of httpx and httpx2 is enough."""
    done = subprocess.run(
        [sys.executable, "-c", LACKING.format(call=call, missing=missing)],
        env=environment({}), cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{said}\n", "")


# ------------------------------------------------------------------------------------------------------------- many at once


@pytest.mark.anyio
async def test_a_late_answer_leaves_the_loop_to_others() -> None:
    """As does a function of a fault, and a mounted application: all of them wait at once."""
    double = kvfake.Double()
    met = threading.Barrier(3)
    double.faults.add(delay=0.5, key="late", times=None)
    double.faults.add(before=lambda: met.wait(ENOUGH), key="held", times=None)
    double.mount("/app", lambda environ, start: hello(environ, start) if met.wait(ENOUGH) < 3 else [])
    came: list[str] = []

    async def get(path: str) -> None:
        response = await web.get(double.url + path, headers=double.mattermost.headers)
        assert response.status_code == 200
        came.append(path)

    async with httpx.AsyncClient(transport=double.httpx_transport()) as web, anyio.create_task_group() as group:
        began = time.monotonic()
        for path in [*[f"{KV}/late"] * 10, f"{KV}/held", f"{KV}/held", f"{KV}/k"]:
            group.start_soon(get, path)
        while not came:
            await anyio.sleep(0.005)
        assert came == [f"{KV}/k"]
        group.start_soon(get, "/app")
    assert time.monotonic() - began < 10 * 0.5  # they waited side by side
    assert len(came) == 14


@pytest.mark.anyio
async def test_a_task_that_is_cancelled() -> None:
    """By the app, and not by a timeout: it does so at once, from a late answer, a slow one, a function."""
    double = kvfake.Double()
    double.persist["large"] = "x" * 100_000
    gate = threading.Event()
    async with httpx.AsyncClient(transport=double.httpx_transport(), headers=double.persist.headers, timeout=None) as client:
        for fault in ({"delay": LONG}, {"delay": {"over": LONG}}, {"before": lambda: gate.wait(LONG)}):
            double.faults.add(**fault)
            with anyio.move_on_after(SHORT) as scope:
                await client.get(double.persist.url_for("large"))
            assert scope.cancelled_caught
    gate.set()
    assert until(lambda: len(double.journal) == 3)


@pytest.mark.anyio
@pytest.mark.parametrize("sever", SEVERS)
async def test_a_severed_response_on_every_event_loop(sever: SeverWord) -> None:
    """The same error on each."""
    double = kvfake.Double()
    double.faults.add(sever=sever)
    async with httpx.AsyncClient(transport=double.httpx_transport(), timeout=SHORT) as client:
        with pytest.raises(
            httpx.ReadTimeout if "silence" in sever else httpx.ReadError if "reset" in sever else httpx.RemoteProtocolError
        ):
            await client.get(double.mattermost.url_for("k"), headers=double.mattermost.headers)
        assert (await client.get(double.mattermost.url_for("k"), headers=double.mattermost.headers)).json() == {}


NEVER_RETURNS = """
import threading, httpx, requests, kvfake
double = kvfake.Double()
double.faults.add(before=threading.Event().wait, times=None)
url, headers = double.mattermost.url_for("key"), double.mattermost.headers
session = requests.Session()
session.mount(double.url, double.requests_adapter())
for client, error in ((httpx.Client(transport=double.httpx_transport()), httpx.TimeoutException), (session, requests.Timeout)):
    try:
        client.get(url, headers=headers, timeout=0.05)
    except error:
        print("timed out")
"""


def test_a_function_that_never_returns_does_not_keep_the_process() -> None:
    """The client has given up, the script is at its end: it ends."""
    done = subprocess.run(
        [sys.executable, "-c", NEVER_RETURNS],
        env=environment({}), cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "timed out\ntimed out\n", "")


def test_many_threads(door: ClientDoor) -> None:
    """One client, used by many at once, some of whose answers are late."""
    door.double.faults.add(delay=0.01, every=3, times=None)

    def put(number: int) -> None:
        headers = door.double.persist.headers
        request(door, "PUT", door.double.persist.url_for(f"{number}"), headers=headers, json={"value": f"{number}"})

    threads = [threading.Thread(target=put, args=[number]) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert door.double.persist == {f"{number}": f"{number}" for number in range(20)}


# ------------------------------------------------------------------------------------------------------- heads of the answers


def reason_of(response: Any) -> str:
    return str(response.reason if isinstance(response, requests.Response) else response.reason_phrase)


def test_the_words_of_a_status(door: ClientDoor) -> None:
    """Those that a server sends, and not what the client calls the status; also of one that has no name, and of a late answer."""
    url = f"{door.double.url}/there"
    for status, words_of_it in ((201, "Created"), (299, "Unknown"), (418, "I'm a Teapot")):
        door.double.respond("GET", "/there", status)
        assert reason_of(request(door, "GET", url)) == words_of_it
    door.double.faults.add(status=599, delay=0.01)
    late = request(door, "GET", f"{door.double.url}{KV}/k", headers=door.double.mattermost.headers)
    assert (late.status_code, reason_of(late)) == (599, "Unknown")


def test_the_date_of_an_answer(door: ClientDoor) -> None:
    """Each has one, the machine's, whatever a test does to the world's clock; one that an answer brings along stays."""
    door.double.clock.freeze()
    door.double.clock.move_to("2016-09-09T23:16:43Z")
    door.double.faults.add(delay=0.01, after=1)
    for _ in range(2):
        sent = request(door, "GET", f"{door.double.url}{KV}/k", headers=door.double.mattermost.headers).headers["Date"]
        assert abs(parsedate_to_datetime(sent).timestamp() - time.time()) < ENOUGH
    door.double.respond("GET", "/there", headers={"date": "Thu, 01 Jan 1970 00:00:00 GMT"})
    assert request(door, "GET", f"{door.double.url}/there").headers["Date"] == "Thu, 01 Jan 1970 00:00:00 GMT"


def test_the_length_of_an_answer_to_head(door: ClientDoor) -> None:
    """Of what a GET would bring, where an answer says it."""
    door.double.respond("HEAD", "/there", headers={"Content-Length": "1000"})
    answered = request(door, "HEAD", f"{door.double.url}/there")
    assert (answered.headers["Content-Length"], answered.content) == ("1000", b"")


@pytest.mark.parametrize("client", [name for name in CLIENT_DOORS if name != "requests"])
def test_a_token_in_the_second_line_of_cookies(door: ClientDoor) -> None:
    """Both lines are one header."""
    double = kvfake.Double(strict=True)
    cookies = [("Cookie", "a=b"), ("Cookie", f"MMAUTHTOKEN={double.mattermost.token}")]
    assert request(CLIENT_DOORS[door.name](double), "GET", f"{double.url}{KV}/k", headers=cookies).status_code == 200
