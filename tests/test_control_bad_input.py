"""Bad input of every kind: control refuses it in JSON, with words, and goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import kvfake
from kvfake.control.handlers import CLOCK_FIELDS, FAULT_FIELDS, ROUTE_FIELDS, WORLD_FIELDS
from kvfake.control.routes import ROUTES
from kvfake.services.messages import Request, Response
from kvfake.world.matching import FIELDS
from tests.support.served import server_of
from tests.support.wire import Wire, request_bytes

NAMES_OF: dict[str, tuple[str, ...]] = {
    "/worlds": WORLD_FIELDS,
    "/data": ("mattermost", "persist", "raw", "tokens"),
    "/faults": FAULT_FIELDS,
    "/clock": CLOCK_FIELDS,
    "/routes": ROUTE_FIELDS,
}
START_OF: dict[str, dict[str, Any]] = {"/data": {"kvfake": 1}, "/faults": {"status": 503}, "/routes": {"path": "/p"}}
BELOW = ("app/bot", "", "p", "k", "project", "value", "updated", "matches", "over", "median", "sigma")
IN_A_QUERY = ("service", "owner", "prefix", "key", *FIELDS, "since")
POSSIBLE: tuple[Any, ...] = (
    *(0, 1, -1, 0.5, 1e308, 204, 503, 10**400, -(10**400), "1e999", True, None),
    *("app/bot", "t=app/bot", "t=project:p", "GET", "before", "truncate", "mattermost", "persist"),
    *("", "http://[", "/\x00", "\ud800"),
    *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2016-02-30", "2016-12-31T23:59:60Z", "eyJhIjoxfQ==", "plugin-1.2"),
    *([], {}, [0, 1], [1, 0], {"over": 1}, {"median": 1, "sigma": 99}, {"a\r\n": "b"}, {"Content-Length": "1"}, {"X": "\u0100"}),
    *({"matches": "("}, {"matches": "a{99999999999}"}, {"matches": "(" * 5000}, {"matches": 1}, {"matches": "[[a]--b]"}),
)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.sampled_from(POSSIBLE),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(BELOW) | st.text(), inner, max_size=4),
    max_leaves=10,
)
deep = st.builds(lambda opening, times: opening * times, st.sampled_from([b"[", b'{"a":', b'[{"a":', b'"[']), st.integers(1, 5000))
methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "post", "X-!#", "%", "é"])
queries = st.binary() | st.lists(
    st.tuples(st.sampled_from(IN_A_QUERY) | st.text("%a"), st.text("%&=+.0F9é") | st.sampled_from(["%ff", "%", "9" * 5000])),
    max_size=3,
).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs).encode())
headers = st.dictionaries(
    st.sampled_from([b"content-type", b"origin", b"authorization", b"upgrade", b"connection", b"x-forwarded-host", b"cookie"]),
    st.binary()
    | st.sampled_from([b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=", b"websocket", b"Upgrade"]),
    max_size=2,
)


def bodies(path: str) -> st.SearchStrategy[bytes]:
    """Of this path's names with any values; of any value; of no JSON."""
    some = st.dictionaries(st.sampled_from(NAMES_OF.get(path, BELOW)), st.sampled_from(POSSIBLE) | values, max_size=4)
    started = some.map(lambda asked: {**START_OF.get(path, {}), **asked})
    return st.binary() | deep | (some | started | values).map(lambda value: json.dumps(value).encode())


def targets(path: str) -> st.SearchStrategy[str]:
    """The path with something in the place of its number; or with more behind it."""
    odd = st.text("%/~.?#;=+aZ09é\x00 ") | st.sampled_from(["9" * 5000, "ID", "ID9", "ID-1", "%2e%2e", "١", "%D9%A1"])
    number = st.sampled_from(["1", "2"]) | odd
    plain = number.map(lambda one: path.replace("<id>", one).replace("<int:number>", one).replace("<int:mark>", one))
    return plain | st.tuples(plain, odd).map("".join)


requests = st.one_of([st.tuples(st.just(route.method) | methods, targets(route.path), bodies(route.path)) for route in ROUTES])


def answered(double: kvfake.Double, request: Request) -> Response:
    answer = double._router.answer(request)
    return answer if isinstance(answer, Response) else answer()


pytestmark = pytest.mark.usefixtures("no_settings_from_outside")


@given(request=requests, query=st.just(b"") | queries, headers=st.just({}) | headers, needs_socket=st.booleans())
@example(("POST", "/faults", b'{"status": 503, "key": {"matches": "[[a]--b]"}}'), b"", {}, False)
@settings(max_examples=500)
def test_any_request_is_done_or_refused_in_json(
    request: tuple[str, str, bytes], query: bytes, headers: dict[bytes, bytes], needs_socket: bool
) -> None:
    """It is done or refused, in JSON; nobody else's page is told; the journal is empty; and the next request works."""
    method, path, body = request
    double = kvfake.Double()
    double._world.checkpoint()
    double.faults.add(503)
    id = double._world.id
    base = f"/~{double._backend.open({}).id}" if needs_socket else ""
    target = f"{base}/_kvfake{path.replace('ID', id)}".encode() + (b"?" + query if query else b"")
    reply = answered(double, Request(method, target, {b"host": b"localhost", **headers}, body))
    assert 200 <= reply.status < 500
    named = {name.lower(): value for name, value in reply.headers}
    assert named["content-type"] == "application/json"
    assert not [name for name in named if name.startswith("access-control")]
    if method.upper() != "HEAD":
        answer = json.loads(reply.body)
        assert isinstance(answer, dict)
        assert reply.status < 400 or (answer.keys() == {"error"} and answer["error"])
    assert not any(world.journal for world in (double._backend.own_world, *double._backend.worlds.values()))
    again = answered(double, Request("GET", b"/_kvfake/health", {b"host": b"localhost"}, b""))
    assert (again.status, json.loads(again.body)["status"]) == (200, "ok")


@given(host=st.binary(), origin=st.binary(), is_known=st.booleans())
@example(host=b":80:80", origin=b"", is_known=True)
def test_any_host_and_origin_is_answered_or_refused(host: bytes, origin: bytes, is_known: bool) -> None:
    """A name that means nothing is refused as one that is foreign."""
    named = b"localhost" + host if is_known else host
    reply = answered(kvfake.Double(), Request("GET", b"/_kvfake/health", {b"host": named, b"origin": origin}, b""))
    assert reply.status in (200, 400, 403)
    assert reply.status == 200 or json.loads(reply.body).keys() == {"error"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/faults", b'{"status": 1e999}'),
        ("POST", "/faults", b'{"body": ' + b"[" * 100_000),
        ("POST", "/clock", b'{"shift": ' + b"9" * 5000 + b"}"),
        ("PUT", "/data", b"\x00" * 100_000),
        ("GET", "/data?key=%zz%", b""),
        ("GET", "/data%zz", b""),
        ("DELETE", "/checkpoints/" + "9" * 5000 + "/rollback", b""),
        ("GET", "/worlds/~%2f%00%ff", b""),
        ("BREW", "/worlds", b"coffee"),
    ],
)
def test_a_refused_request_keeps_the_connection(method: str, path: str, body: bytes) -> None:
    """What is refused costs nobody the connection."""
    with kvfake.start(allow_host=["double.example"]) as double, Wire(server_of(double).port) as wire:
        for _ in range(2):
            reply = wire.ask(request_bytes(method, "/_kvfake" + path, {}, body))
            assert 400 <= reply.status < 500
            assert reply.json().keys() == {"error"}
        assert wire.ask(request_bytes("GET", "/_kvfake/health")).status == 200
