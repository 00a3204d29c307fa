"""Control over HTTP: values, faults, journal, clock, checkpoints and neighbours, for one world without touching another."""

from __future__ import annotations

import base64
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote_from_bytes

import pytest

import kvfake
from kvfake.double import DoubleServer, settings_of
from kvfake.http import server as server_module
from kvfake.http.connection import SO_LINGER_RESET
from kvfake.http.workers import MAX_WAITS
from kvfake.services.messages import Request, Response
from kvfake.world import faults as faults_module
from kvfake.world.journal import Exchange
from kvfake.world.matching import Matcher
from tests.support.doors import opened
from tests.support.process import asked
from tests.support.served import server_of
from tests.support.wire import Reply, Wire

KV = "/plugins/com.mattermost.apps/api/v1/kv/"
PERSIST = "/api/v1/persist/kv/"
MOMENT = "2016-12-31T23:59:59.500000Z"


pytestmark = pytest.mark.usefixtures("no_settings_from_outside")


@pytest.fixture(name="double")
def _double() -> Iterator[kvfake.Double]:
    with kvfake.start(strict=True) as double:
        yield double


@pytest.fixture(name="control")
def _control(double: kvfake.Double) -> Callable[..., Reply]:
    """Send a request to the double's control: method, path, body."""
    return lambda method, path, body=None: asked(f"{double.url}/_kvfake{path}", method, body)


Control = Callable[..., Reply]


def words(reply: Reply, status: int = 400) -> str:
    """The error text of a refusal."""
    assert reply.status == status, reply
    assert reply.json().keys() == {"error"}
    return str(reply.json()["error"])


def got(double: kvfake.Double, key: str = "k") -> Reply:
    return asked(double.persist.url_for(key), headers=double.persist.headers)


def put(double: kvfake.Double, value: str = "v", key: str = "k") -> Reply:
    return asked(double.persist.url_for(key), "PUT", {"value": value}, double.persist.headers)


# ------------------------------------------------------------------------------------------------------------ one world, another


@pytest.mark.parametrize(
    ("path", "method", "below", "body"),
    [
        ("/data", "POST", "", {"kvfake": 1, "persist": {"project": {"k": "new"}}}),
        ("/data", "PUT", "", {"kvfake": 1}),
        ("/data", "DELETE", "?service=persist", None),
        ("/data", "POST", "/../reset", None),
        ("/faults", "POST", "", {"status": 503}),
        ("/faults", "DELETE", "", None),
        ("/faults", "DELETE", "/1", None),
        ("/journal", "DELETE", "", None),
        ("/clock", "POST", "", {"shift": 3600}),
        ("/clock", "POST", "", {"resume": True}),
        ("/checkpoints", "POST", "", None),
        ("/checkpoints", "POST", "/1/rollback", None),
        ("/routes", "POST", "", {"path": "/new"}),
        ("/routes", "DELETE", "", None),
    ],
)
def test_a_request_changes_one_world_alone(double: kvfake.Double, path: str, method: str, below: str, body: Any) -> None:
    """Of three equal worlds, a request below the address of one changes that one alone."""
    worlds = [asked(double.url + "/_kvfake/worlds", "POST").json()["address"] for _ in range(2)]
    token = {url: asked(url + "/_kvfake/env").json()["BEEPBOOP_TOKEN"] for url in (double.url, *worlds)}
    for url in token:
        asked(url + "/_kvfake/clock", "POST", {"move_to": MOMENT, "freeze": True})
        asked(url + PERSIST + "k", "PUT", {"value": "old"}, {"Authorization": f"Bearer {token[url]}"})
        for what, made in (
            ("faults", {"delay": 0.001}),
            ("routes", {"path": "/old"}),
            ("checkpoints", None),
            ("checkpoints", None),
        ):
            assert asked(f"{url}/_kvfake/{what}", "POST", made).status == 201

    def shown(url: str) -> Any:
        return asked(f"{url}/_kvfake{path}").json()

    before = {url: shown(url) for url in token}
    target = "/reset" if below.startswith("/..") else path + below
    assert asked(f"{worlds[0]}/_kvfake{target}", method, body).status in (200, 201)
    assert {url for url in token if shown(url) != before[url]} == {worlds[0]}


def test_faults_and_routes_of_one_world_apply_in_no_other(double: kvfake.Double) -> None:
    """A world's faults and routes apply at its address, and where a token is that world's alone."""
    world = asked(double.url + "/_kvfake/worlds", "POST").json()
    asked(world["address"] + "/_kvfake/faults", "POST", {"status": 503, "times": None})
    asked(world["address"] + "/_kvfake/routes", "POST", {"path": "/api/v4/posts", "json": "theirs"})
    headers = {"Authorization": f"Bearer {world['tokens']['persist']}"}
    for base in (world["address"], double.url):
        assert asked(base + PERSIST + "k", headers=headers).status == 503
    assert asked(world["address"] + "/api/v4/posts").json() == "theirs"
    assert got(double).status == 404
    assert asked(double.url + "/api/v4/posts").status == 404
    assert [exchange.path for exchange in double.journal] == ["/api/v1/persist/kv/k", "/api/v4/posts"]


# ------------------------------------------------------------------------------------------------------------------------- data


@pytest.fixture(name="filled")
def _filled(double: kvfake.Double) -> kvfake.Double:
    """Values of two owners of each service, at one moment."""
    double.clock.freeze()
    double.clock.move_to(MOMENT)
    double.mattermost["name"] = "Ada"
    double.mattermost.with_prefix("p")["k"] = 1
    double.mattermost.as_user("ada")["k"] = {"a": None}
    double.persist["k"] = "v"
    double.persist.project("other")["é/"] = "w"
    return double


def record(value: str) -> dict[str, str]:
    return {"value": value, "updated": MOMENT}


BOTS = {"": {"name": "Ada"}, "p": {"k": 1}}
ADAS = {"": {"k": {"a": None}}}
PROJECTS = {"k": record("v")}
OTHERS = {"é/": record("w")}


@pytest.mark.parametrize(
    ("query", "mattermost", "persist"),
    [
        ("", {"app/ada": ADAS, "app/bot": BOTS}, {"other": OTHERS, "project": PROJECTS}),
        ("service=persist", {}, {"other": OTHERS, "project": PROJECTS}),
        ("service=mattermost", {"app/ada": ADAS, "app/bot": BOTS}, {}),
        ("owner=app%2Fbot", {"app/bot": BOTS}, {}),
        ("owner=other", {}, {"other": OTHERS}),
        ("key=k", {"app/ada": ADAS, "app/bot": {"p": {"k": 1}}}, {"project": PROJECTS}),
        ("key=%C3%A9%2F", {}, {"other": OTHERS}),
        ("prefix=p", {"app/bot": {"p": {"k": 1}}}, {}),
        ("service=mattermost&owner=app/bot&prefix=p&key=k", {"app/bot": {"p": {"k": 1}}}, {}),
        ("service=mattermost&owner=app/bot&key=k", {}, {}),
        ("service=persist&owner=project&prefix=&key=k", {}, {"project": PROJECTS}),
        ("owner=nobody", {}, {}),
    ],
)
def test_values_are_named_by_the_query(
    filled: kvfake.Double, control: Control, query: str, mattermost: dict[str, Any], persist: dict[str, Any]
) -> None:
    """GET shows the selected values as a file of values, and DELETE with the same query deletes exactly these."""
    shown = control("GET", f"/data?{query}")
    assert shown.json() == {"kvfake": 1, "mattermost": mattermost, "persist": persist}
    everything = control("GET", "/data").json()
    count = sum(len(keys) for owner in mattermost.values() for keys in owner.values()) + sum(map(len, persist.values()))
    assert control("DELETE", f"/data?{query}").json() == {"deleted": count}
    assert control("GET", f"/data?{query}").json() == {"kvfake": 1, "mattermost": {}, "persist": {}}
    control("POST", "/data", shown.body)
    assert control("GET", "/data").json() == everything


def test_a_key_of_any_bytes_is_named_by_the_query(double: kvfake.Double, control: Control) -> None:
    """Also a key that is not UTF-8."""
    key = b"\xff\xe9"
    double.persist[key.decode("utf-8", "surrogateescape")] = "v"
    assert control("GET", f"/data?key={quote_from_bytes(key)}").json()["persist"]["project"].keys() == {"\udcff\udce9"}
    assert control("DELETE", f"/data?key={quote_from_bytes(key)}").json() == {"deleted": 1}


def test_values_are_added(filled: kvfake.Double, control: Control) -> None:
    """Values with other keys stay."""
    more = {"kvfake": 1, "mattermost": {"app/bot": {"": {"name": "Grace", "more": [1]}}}, "persist": {"project": {"new": "x"}}}
    assert control("POST", "/data", more).json() == {"loaded": 3}
    assert dict(filled.mattermost) == {"name": "Grace", "more": [1]}
    assert dict(filled.persist) == {"k": "v", "new": "x"}


def test_values_are_replaced(filled: kvfake.Double, control: Control) -> None:
    """The values of every owner are deleted first."""
    assert control("PUT", "/data", {"kvfake": 1, "persist": {"project": {"new": "x"}}}).json() == {"loaded": 1}
    assert control("GET", "/data?owner=project&service=persist&key=new").json()["persist"] == {"project": {"new": record("x")}}
    assert dict(filled.mattermost) == dict(filled.persist.project("other")) == {}


def test_a_whole_world_is_deleted(filled: kvfake.Double, control: Control) -> None:
    """All its values, but not its checkpoints."""
    mark = control("POST", "/checkpoints").json()["checkpoint"]
    assert control("DELETE", "/data").json() == {"deleted": 5}
    assert dict(filled.persist) == {}
    control("POST", f"/checkpoints/{mark}/rollback")
    assert dict(filled.persist) == {"k": "v"}


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "the body: line 1, column 1: Expecting value"),
        (b"{\n 1}", "the body: line 2, column 2: Expecting property name enclosed in double quotes"),
        ([], "the data: it is an array: expected an object"),
        ({}, "kvfake: it is missing: expected 1"),
        ({"kvfake": 2}, "kvfake: it is 2: expected 1"),
        ({"kvfake": 1, "colour": {}}, "the data: 'colour' is not known here: expected kvfake, mattermost, persist, raw, tokens"),
        ({"kvfake": 1, "persist": {"project": {"k": 1}}}, "persist / project / k: value is a number: expected a string"),
        ({"kvfake": 1, "tokens": {"t": "nobody"}}, "tokens / ...: 'nobody' is not an owner: expected app/user (Mattermost), "),
        (b"[" * 100_000, "the body: it is nested more than 504 levels deep"),
    ],
)
def test_a_file_that_is_not_right(filled: kvfake.Double, control: Control, method: str, body: Any, error: str) -> None:
    """The refusal says where and why, and no value is loaded or deleted."""
    before = control("GET", "/data").json()
    assert words(control(method, "/data", body)).startswith(error)
    assert control("GET", "/data").json() == before


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("service=mongo", "service: expected one of mattermost, persist, got 'mongo'"),
        ("service=persist&prefix=p", "prefix: expected none with the service persist, got 'p'"),
        ("colour=red", "'colour' is not known in the query: expected service, owner, prefix, key"),
        ("key=%zz", 'bad percent-encoding in the query: "%zz"'),
        ("key=100%", 'bad percent-encoding in the query: "%"'),
    ],
)
def test_a_query_without_names_is_refused(filled: kvfake.Double, control: Control, method: str, query: str, error: str) -> None:
    """It is refused, rather than taken as a query for everything."""
    assert words(control(method, f"/data?{query}")) == error
    assert control("DELETE", "/data").json() == {"deleted": 5}


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/data"), ("POST", "/data"), ("POST", "/reset"), ("DELETE", "/faults"), ("DELETE", "/journal"), ("DELETE", "/routes")],
)
def test_a_route_that_takes_no_query(filled: kvfake.Double, control: Control, method: str, path: str) -> None:
    """A route that deletes or replaces everything refuses a filter, which it would ignore."""
    assert words(control(method, f"{path}?key=k", {"kvfake": 1})) == "'key' is not known in the query: expected no names"
    assert dict(filled.persist) == {"k": "v"}


@pytest.mark.parametrize(
    ("sent", "part", "step"),
    [
        (("DELETE", "/data"), "store", "drop"),
        (("POST", "/clock", {"freeze": True}), "clock", "freeze"),
    ],
)
def test_the_world_is_locked_during_a_control_request(
    filled: kvfake.Double, control: Control, monkeypatch: pytest.MonkeyPatch, sent: tuple[Any, ...], part: str, step: str
) -> None:
    """The world is locked during the steps of one request."""
    world = filled._world
    kind = type(getattr(world, part))
    original, could_enter = getattr(kind, step), []

    def others_enter() -> bool:
        entered = world.lock.acquire(blocking=False)
        if entered:
            world.lock.release()
        return entered

    def observed(*args: Any, **kwargs: Any) -> Any:
        with ThreadPoolExecutor(1) as pool:
            could_enter.append(pool.submit(others_enter).result())
        return original(*args, **kwargs)

    monkeypatch.setattr(kind, step, observed)
    assert control(*sent).status == 200
    assert could_enter
    assert not any(could_enter)


def test_the_world_is_not_locked_while_its_journal_is_written(
    filled: kvfake.Double, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large journal takes long to write: meanwhile the world answers others."""
    world, original, could_enter = filled._world, Exchange.to_dict, []
    world.journal.record(None, None, None, Request("GET", b"/", {}), Response(404), 0.0)

    def enter() -> bool:
        with world.lock:
            return True

    def observed(exchange: Exchange) -> dict[str, Any]:
        with ThreadPoolExecutor(1) as pool:
            could_enter.append(pool.submit(enter).result(30))
        return original(exchange)

    monkeypatch.setattr(Exchange, "to_dict", observed)
    assert control("GET", "/journal").status == 200
    assert could_enter == [True]


def test_a_prefix_that_is_not_possible(control: Control) -> None:
    """It is refused, as the service refuses it."""
    assert "prefix" in words(control("POST", "/data", {"kvfake": 1, "mattermost": {"app/bot": {"..": {"k": 1}}}}))


@pytest.fixture(name="exporting")
def _exporting(tmp_path: Path) -> Iterator[tuple[kvfake.Double, Path]]:
    """A server that was started with --export FILE."""
    file = tmp_path / "values.json"
    with DoubleServer({**settings_of({}), "export": str(file)}) as server:
        server.server.start()
        yield server.own, file


def test_values_are_exported(exporting: tuple[kvfake.Double, Path]) -> None:
    """Each request replaces the content of the file."""
    double, file = exporting
    for value in ("one", "two"):
        double.persist["k"] = value
        assert asked(double.url + "/_kvfake/data/export", "POST").json() == {"written": str(file)}
        assert json.loads(file.read_text())["persist"]["project"]["k"]["value"] == value


def test_the_file_is_of_the_servers_own_world(exporting: tuple[kvfake.Double, Path]) -> None:
    """No other world's values are written to it."""
    double, file = exporting
    world = asked(double.url + "/_kvfake/worlds", "POST").json()["address"]
    error = words(asked(world + "/_kvfake/data/export", "POST"), 409)
    assert error == f"{file} is for the server's own world; GET /_kvfake/data shows this one"
    assert not file.exists()


def test_a_file_that_cannot_be_written(exporting: tuple[kvfake.Double, Path]) -> None:
    """The response has the reason, and the next request works."""
    double, file = exporting
    file.mkdir()
    assert words(asked(double.url + "/_kvfake/data/export", "POST"), 500) == f"cannot write {file}: Is a directory"
    assert asked(double.url + "/_kvfake/health").status == 200


def test_there_is_no_file_to_export_to(control: Control) -> None:
    """The refusal names the flag that sets one."""
    assert words(control("POST", "/data/export"), 409) == "there is no file to write: start the server with --export FILE"


def test_a_world_begins_with_the_servers_seed(tmp_path: Path) -> None:
    """If the file is gone, no world is opened."""
    seed = tmp_path / "seed.json"
    seed.write_text('{"kvfake": 1, "persist": {"project": {"k": "seeded"}}}')
    with kvfake.start(seed=str(seed)) as double:
        world = asked(double.url + "/_kvfake/worlds", "POST").json()
        assert asked(world["address"] + "/_kvfake/data").json()["persist"]["project"]["k"]["value"] == "seeded"
        seed.unlink()
        error = words(asked(double.url + "/_kvfake/worlds", "POST"), 409)
        assert error == f"seed: cannot read {seed}: No such file or directory"
        assert len(asked(double.url + "/_kvfake/worlds").json()["worlds"]) == 2


# ----------------------------------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"status": 429, "times": None, "headers": {"Retry-After": "7"}},
        {"status": 500, "body": {"error": "é"}},
        {"status": 200, "body": "not what was asked for"},
        {"body": ["what", "the", "service", "would", "not", "say"]},
        {"headers": {"X-Odd": "yes"}},
        {"delay": 0.01},
        {"delay": [0.01, 0.02]},
        {"delay": {"median": 0.01, "sigma": 0.5}},
        {"delay": {"over": 0.02}},
        {"status": 503, "delay": 0.01},
        *({"sever": sever} for sever in ("before", "after", "reset", "truncate", "garbage")),
        {"status": 503, "service": "persist", "method": "get", "key": "k", "owner": "project"},
        {"status": 503, "method": {"matches": "GET|PUT"}, "key": {"matches": "^k$"}, "owner": {"matches": "proj"}},
        {"status": 503, "times": 3, "every": 2, "after": 4, "rate": 0.5, "seed": 7},
    ],
    ids=json.dumps,
)
def test_a_fault_is_shown_as_it_was_added(double: kvfake.Double, control: Control, fault: dict[str, Any]) -> None:
    """The arguments of the request, with number, hits, whether it can still strike, and a sentence; by itself and in the list."""
    made = control("POST", "/faults", fault)
    assert made.status == 201
    text = made.json()["text"]
    assert made.json() == {"id": 1, "hits": 0, "active": True, "text": text, **fault}
    assert text == str(double.faults.active[0])
    assert control("GET", "/faults").json() == {"faults": [made.json()]}
    assert control("GET", "/faults/1").json() == made.json()


def test_null_is_not_given(control: Control) -> None:
    """``null`` is the default, except for `times`, where it means: until the fault is removed."""
    made = control("POST", "/faults", {"status": 503, "sever": None, "key": None, "body": None, "headers": None, "times": None})
    text = "on any request: answer 503, until removed"
    assert made.json() == {"id": 1, "hits": 0, "active": True, "text": text, "status": 503, "times": None}


def test_a_fault_with_a_status(double: kvfake.Double, control: Control) -> None:
    """`times` requests get the service's own form of the status. Then the fault is shown as no longer active."""
    control("POST", "/faults", {"status": 503, "times": 2, "key": {"matches": "^convo::"}})
    assert [got(double, key).status for key in ("convo::1", "k", "convo::2", "convo::3")] == [503, 404, 503, 404]
    assert control("GET", "/faults/1").json() == {
        "id": 1,
        "hits": 2,
        "active": False,
        "text": "on any request, key=re.compile('^convo::'): answer 503, 2 times",
        "status": 503,
        "times": 2,
        "key": {"matches": "^convo::"},
    }
    assert double.journal[0].response.json() == {"error": "service unavailable"}


@pytest.mark.parametrize(
    ("delay", "least"), [(0.2, 0.2), ([0.2, 0.3], 0.2), ({"median": 0.2, "sigma": 0}, 0.2), ({"over": 0.2}, 0.1)], ids=str
)
def test_a_fault_with_a_delay(double: kvfake.Double, control: Control, delay: Any, least: float) -> None:
    """In each form that a delay may have."""
    control("POST", "/faults", {"delay": delay})
    began = time.monotonic()
    assert got(double).status == 404
    assert time.monotonic() - began >= least


def test_an_acknowledgement_is_lost(double: kvfake.Double, control: Control) -> None:
    """The value is stored, and the client gets no response."""
    control("POST", "/faults", {"sever": "after"})
    with pytest.raises(ConnectionError):
        put(double, "done")
    assert double.persist["k"] == "done"


def test_a_fault_with_a_body_and_headers(double: kvfake.Double, control: Control) -> None:
    """The body is a text or JSON, and headers can be given."""
    control("POST", "/faults", {"status": 418, "body": {"short": "stout"}, "headers": {"X-Pot": "tea"}})
    control("POST", "/faults", {"body": "not JSON"})
    teapot = got(double)
    assert (teapot.status, teapot.json(), teapot.headers["X-Pot"]) == (418, {"short": "stout"}, "tea")
    assert got(double).text == "not JSON"


def test_a_whole_number_may_have_a_point(control: Control) -> None:
    """JSON has one kind of number, and some languages write 503 as 503.0. 503.5 is refused."""
    fault = control(
        "POST", "/faults", b'{"status": 503.0, "times": 2.0, "after": 1e1, "every": 3.0, "seed": 7.0, "body": 1.0}'
    ).json()
    assert [(fault[name], type(fault[name])) for name in ("status", "times", "after", "every", "seed")] == [
        *((503, int), (2, int), (10, int), (3, int), (7, int))
    ]
    assert (fault["body"], type(fault["body"])) == (1, float)
    route = control("POST", "/routes", b'{"path": "/p", "status": 201.0}')
    assert (route.status, route.json()["status"]) == (201, 201)
    assert control("POST", "/worlds", {"journal_exchanges": 5.0}).status == 201
    assert "expected a whole number" in words(control("POST", "/faults", {"status": 503.5}))
    assert "expected a number from" in words(control("POST", "/worlds", {"journal_exchanges": 5.5}))


def test_faults_are_removed(double: kvfake.Double, control: Control) -> None:
    """One that is removed is still shown with its hits. After all are removed, none is shown."""
    for status in (500, 502, 503):
        control("POST", "/faults", {"status": status, "times": None})
    assert got(double).status == 500
    text = "on any request: answer 500, until removed"
    removed = {"id": 1, "hits": 1, "active": False, "text": text, "status": 500, "times": None}
    for _ in range(2):
        assert control("DELETE", "/faults/1").json() == removed
    assert got(double).status == 502
    assert [fault["active"] for fault in control("GET", "/faults").json()["faults"]] == [False, True, True]
    assert control("DELETE", "/faults").json() == {"removed": 2}
    assert control("GET", "/faults").json() == {"faults": []}
    assert got(double).status == 404


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_fault_that_is_not_there(control: Control, method: str) -> None:
    """The refusal names the path that lists them."""
    assert words(control(method, "/faults/7"), 404) == "there is no fault 7; GET /_kvfake/faults lists them"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({}, "this fault does nothing: expected a status, delay, sever, body, headers, before, stale or limit"),
        ({"status": 99}, "status: expected a whole number from 200 to 599, got 99"),
        ({"status": "503"}, "status: expected a whole number from 200 to 599, got '503'"),
        ({"status": True}, "status: expected a whole number from 200 to 599, got True"),
        ({"status": 503.5}, "status: expected a whole number from 200 to 599, got 503.5"),
        ({"delay": "soon"}, "delay: expected a number from 0 to 300, got 'soon'"),
        ({"delay": 301}, "delay: expected a number from 0 to 300, got 301"),
        ({"delay": None}, "delay: expected a number from 0 to 300, got None"),
        ({"delay": [2, 1]}, "delay: expected (least, most), got [2, 1]"),
        ({"delay": [1]}, "delay: expected seconds, (least, most), "),
        ({"delay": {"sigma": 1}}, "delay: expected seconds, (least, most), "),
        ({"delay": {"median": 1, "sigma": 11}}, "delay sigma: expected a number from 0 to 10, got 11"),
        ({"delay": {"over": -1}}, "delay over: expected a number from 0 to 300, got -1"),
        ({"sever": "sometimes"}, "sever: expected one of before, after, "),
        ({"sever": ["before"]}, "sever: expected one of before, after, "),
        ({"sever": "before", "status": 503}, "sever='before' lets no answer out: "),
        ({"status": 503, "times": 0}, "times: expected a whole number of at least 1, got 0"),
        ({"status": 503, "after": -1}, "after: expected a whole number of at least 0, got -1"),
        ({"status": 503, "every": 0}, "every: expected a whole number of at least 1, got 0"),
        ({"status": 503, "rate": 2}, "rate: expected a number from 0 to 1, got 2"),
        ({"status": 503, "seed": 0.5}, "seed: expected a whole number, got 0.5"),
        ({"status": 503, "service": "mongo"}, "service: expected one of mattermost, persist, got 'mongo'"),
        ({"status": 503, "service": {"matches": "p"}}, "service: expected "),
        ({"status": 503, "key": 1}, "key: expected a text or a compiled pattern of text, got 1"),
        ({"status": 503, "key": {"matches": "("}}, "key: '(' is no regular expression: missing ), unterminated subpattern"),
        (
            {"status": 503, "key": {"matches": "(?=a)"}},
            "key: '(?=a)' looks ahead or behind, which kvfake's linear matching cannot do",
        ),
        ({"status": 503, "key": {"matches": "a{9999}"}}, "key: 'a{9999}' is too large: expected at most 4096 nodes"),
        ({"status": 503, "key": {"like": "x"}}, 'key: expected a text or {"matches": "<regular expression>"}, got '),
        ({"status": 503, "owner": {"matches": 1}}, 'owner: expected a text or {"matches": "<regular expression>"}, got '),
        ({"status": 503, "method": []}, "method: expected "),
        ({"headers": {"a b": "c"}}, "headers: expected a name, and a value of Latin-1 on one line, got 'a b': 'c'"),
        ({"headers": {"Content-Length": "1"}}, "headers: Content-Length says how a message ends"),
        ({"headers": ["X: y"]}, "headers: expected names and values, got ['X: y']"),
        ({"status": 204, "body": "x"}, "status: an answer of 204 has no body"),
        (
            {"status": 503, "colour": "red"},
            "'colour' is not known here: expected status, delay, sever, times, after, every, rate, ",
        ),
        ({"before": "print()"}, "'before' is not known here: expected status, "),
        ({"when": "always"}, "'when' is not known here: expected status, "),
        ([{"status": 503}], "the body is an array: expected an object with status, delay, "),
    ],
    ids=json.dumps,
)
def test_a_fault_that_is_not_possible(control: Control, fault: Any, error: str) -> None:
    """The refusal says what is possible, and no fault is added."""
    assert words(control("POST", "/faults", fault)).startswith(error)
    assert control("GET", "/faults").json() == {"faults": []}


def test_a_pattern_that_python_warns_of(control: Control) -> None:
    """It is a refusal where warnings are errors, as in this suite."""
    assert words(control("POST", "/faults", {"status": 503, "key": {"matches": "[[a]"}})).startswith("Possible nested set")


def test_faults_without_end(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a limit for a world's faults."""
    monkeypatch.setattr(faults_module, "MAX_FAULTS", 2)
    for _ in range(2):
        assert control("POST", "/faults", {"status": 503}).status == 201
    assert words(control("POST", "/faults", {"status": 503})) == "there are 2 faults: remove some, or faults.clear()"


def test_a_fault_from_python_is_shown_too(double: kvfake.Double, control: Control) -> None:
    """What JSON cannot hold is shown as text."""
    double.faults.add(
        delay=MappingProxyType({"over": 0.01}),  # type: ignore[arg-type]  # a mapping of any class is read
        headers=MappingProxyType({"X": "y"}),
        body=b"\xff",
        when=bool,
        key=re.compile("k"),
    )
    double.faults.add(body=bytearray(b"x"), before=time.monotonic, start=datetime(2026, 1, 2, tzinfo=timezone.utc))
    one, other = control("GET", "/faults").json()["faults"]
    shown = {"delay": {"over": 0.01}, "headers": {"X": "y"}, "body": "b'\\xff'", "when": "<class 'bool'>", "key": {"matches": "k"}}
    what = "delay mappingproxy({'over': 0.01}), body b'\\xff', headers {'X': 'y'}, once"
    text = f"on any request, key=re.compile('k'), when bool: {what}"
    assert one == {"id": 1, "hits": 0, "active": True, "text": text, **shown}
    assert (other["body"], other["before"]) == ("bytearray(b'x')", "<built-in function monotonic>")
    assert other["start"] == "2026-01-02 00:00:00+00:00"


# ---------------------------------------------------------------------------------------------------------------------- journal


def test_an_exchange_is_shown(double: kvfake.Double, control: Control) -> None:
    """The whole request and response."""
    control("POST", "/faults", {"status": 503})
    put(double)
    (exchange,) = control("GET", "/journal").json()["exchanges"]
    assert exchange.pop("duration") >= 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", exchange.pop("time"))
    assert exchange["request"].pop("headers").items() >= {"accept-encoding": "identity"}.items()
    assert exchange == {
        "number": 1,
        "service": "persist",
        "verb": "set",
        "method": "PUT",
        "path": "/api/v1/persist/kv/k",
        "key": "k",
        "owner": "project",
        "status": 503,
        "request": {"body": '{"value": "v"}'},
        "response": {"headers": {"content-type": "application/json"}, "body": '{"error":"service unavailable"}'},
        "fault": "on any request: answer 503, once",
        "rows": [],
    }


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", [1, 2, 3, 4, 5]),
        ("service=persist", [1, 2, 3]),
        ("service=mattermost", [4]),
        ("verb=get", [2, 4]),
        ("method=put", [1]),
        ("method=GET", [2, 3, 4, 5]),
        ("key=k", [1, 2]),
        ("key=a%20b", [4]),
        ("key=a+b", [4]),
        ("key=", [3]),
        ("owner=app/bot", [4]),
        ("status=404", [2, 5]),
        ("path=/api/v4/posts", [5]),
        ("since=3", [4, 5]),
        ("since=1&service=persist&verb=get", [2]),
        ("since=9", []),
        ("since=-1", [1, 2, 3, 4, 5]),
        ("owner=nobody", []),
    ],
)
def test_the_journal_is_read(double: kvfake.Double, control: Control, query: str, numbers: list[int]) -> None:
    """The query selects exchanges by their fields, and those after a number."""
    put(double)
    double.persist.clear()
    got(double)
    asked(double.persist.url + "/persist/kv", headers=double.persist.headers)
    asked(double.mattermost.url_for("a b"), headers=double.mattermost.headers)
    asked(double.url + "/api/v4/posts?page=1")
    shown = control("GET", f"/journal?{query}").json()
    assert [exchange["number"] for exchange in shown["exchanges"]] == numbers
    assert (shown["dropped"], shown["seen"]) == (0, 5)


def test_a_question_that_no_exchange_answers_is_refused(control: Control) -> None:
    """A service that there is not: the answer would be empty, as if nobody had asked."""
    refused = words(control("GET", "/journal?service=mongo"))
    assert refused == "service: expected one of mattermost, persist, respond, mount, fallback, got 'mongo'"


def test_the_journal_says_what_it_dropped(control: Control) -> None:
    """In a world that keeps two exchanges."""
    world = control("POST", "/worlds", {"journal_exchanges": 2}).json()["address"]
    for _ in range(5):
        asked(world + PERSIST + "k")
    shown = asked(world + "/_kvfake/journal").json()
    assert ([exchange["number"] for exchange in shown["exchanges"]], shown["dropped"], shown["seen"]) == ([4, 5], 3, 5)


def test_the_journal_is_cleared(double: kvfake.Double, control: Control) -> None:
    """The numbers of later exchanges go on from there."""
    got(double)
    got(double)
    assert control("DELETE", "/journal").json() == {"forgotten": 2}
    assert control("GET", "/journal").json() == {"exchanges": [], "dropped": 0, "seen": 2}
    got(double)
    assert [exchange["number"] for exchange in control("GET", "/journal?since=2").json()["exchanges"]] == [3]


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("status=ok", "status: expected a whole number, got 'ok'"),
        ("since=yesterday", "since: expected a whole number, got 'yesterday'"),
        ("since=", "since: expected a whole number, got ''"),
        ("since=" + "9" * 5000, "since: expected a whole number, got '9999"),
        ("times=", "times: expected a whole number, got ''"),
        ("times=0&wait=1", "times: expected a whole number of at least 1, got 0"),
        ("wait=soon", "wait: expected seconds from 0 to 300, got 'soon'"),
        ("wait=-1", "wait: expected a number from 0 to 300, got -1.0"),
        ("wait=301", "wait: expected a number from 0 to 300, got 301.0"),
        ("wait=nan", "wait: expected a number from 0 to 300, got nan"),
        (
            "colour=red",
            "'colour' is not known in the query: expected service, verb, method, path, key, owner, status, since, wait, times",
        ),
    ],
)
def test_a_query_that_is_not_possible(control: Control, query: str, error: str) -> None:
    """The refusal says what is possible."""
    assert words(control("GET", f"/journal?{query}")).startswith(error)


def test_tokens_are_hidden(double: kvfake.Double, control: Control) -> None:
    """In headers, bodies and paths of requests, and where a response repeats them."""
    double.token("of-the-app-itself", "app/bot")
    tokens = [double.mattermost.token, double.persist.token, "of-the-app-itself"]
    for token in tokens:
        for url, body in ((double.mattermost.url_for("k"), f'"{token}"'), (double.persist.url_for("k"), f'{{"value": "{token}"}}')):
            headers = {"Authorization": f"Bearer {token}"}
            asked(url, "PUT", body.encode(), headers)
            asked(url, headers=headers)
    asked(f"{double.url}{KV}k?access_token={double.mattermost.token}")
    journal = control("GET", "/journal")
    assert len(journal.json()["exchanges"]) == 13
    for token in tokens:
        assert token not in journal.text


def test_a_body_that_is_no_text_is_shown_in_base64(double: kvfake.Double, control: Control) -> None:
    """A body that is not UTF-8 is shown with all its bytes."""
    body = b'"\xff\xfe"'
    asked(double.mattermost.url_for("k"), "PUT", body, double.mattermost.headers)
    asked(double.mattermost.url_for("k"), headers=double.mattermost.headers)
    put_it, got_it = control("GET", "/journal").json()["exchanges"]
    assert base64.b64decode(put_it["request"]["body_base64"]) == base64.b64decode(got_it["response"]["body_base64"]) == body
    assert (put_it["response"]["body"], got_it["request"]["body"]) == ('{"changed":true}\n', "")


def in_a_thread(call: Callable[[], Reply]) -> Callable[[], Reply]:
    """Begin the call; returns a function that waits for its result."""
    replies: list[Reply] = []
    thread = threading.Thread(target=lambda: replies.append(call()))
    thread.start()

    def result() -> Reply:
        thread.join(20)
        return replies[0]

    return result


def until_waiting(double: kvfake.Double, count: int = 1) -> None:
    """Return when so many wait for an exchange of the double's."""
    while len(double.journal._waiting) != count:
        time.sleep(0.005)


def test_a_wait_is_answered_as_soon_as_the_exchange_is_there(double: kvfake.Double, control: Control) -> None:
    """For one, or for as many as are wanted; what does not match does not end it. The answer is that without ``wait``."""
    reply = in_a_thread(lambda: control("GET", "/journal?wait=20&times=2&method=PUT&key=k"))
    until_waiting(double)
    got(double)
    put(double, key="another")
    put(double)
    put(double)
    assert reply().status == 200
    assert reply().json() == control("GET", "/journal?method=PUT&key=k").json()
    assert [exchange["number"] for exchange in reply().json()["exchanges"]] == [3, 4]


def test_a_wait_for_what_is_there_already_is_answered_at_once(double: kvfake.Double, control: Control) -> None:
    """``since`` counts, too: what came before is not waited for."""
    put(double)
    assert control("GET", "/journal?wait=20&key=k").status == 200
    assert control("GET", "/journal?times=1").status == 200
    assert control("GET", "/journal?wait=0&since=1").status == 404


def test_a_wait_in_vain_says_what_came_near(double: kvfake.Double, control: Control) -> None:
    """When its time is over, and not before; also when it is longer than a second."""
    put(double, key="k1")
    began = time.monotonic()
    assert words(control("GET", "/journal?wait=1.2&times=2&method=PUT&key=k2"), 404).splitlines() == [
        "expected at least 2 requests with method='PUT', key='k2' within 1.2 s; there were 0 of 1 exchanges",
        "the nearest misses:",
        "  <PUT /api/v1/persist/kv/k1 by project: 200>: key is 'k1', not 'k2'",
    ]
    assert time.monotonic() - began >= 1.2


def test_a_long_wait_compares_each_exchange_once(double: kvfake.Double, control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it looks whether its client is still there. Its refusal compares each once more."""
    compared: list[int] = []
    matches = Matcher.matches
    put(double, key="k1")
    put(double, key="k2")

    def counted(matcher: Matcher, exchange: Exchange) -> bool:
        compared.append(exchange.number)
        return matches(matcher, exchange)

    monkeypatch.setattr(Matcher, "matches", counted)
    assert control("GET", "/journal?wait=1.2&key=k3").status == 404
    assert compared == [1, 2, 1, 2]


def test_waits_compare_one_after_the_other(double: kvfake.Double, control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many that could all go on would leave the server hardly any of the interpreter."""
    inside: list[int] = []
    most: list[int] = []

    def slow_comparison(_: Matcher, exchange: Exchange) -> bool:
        inside.append(exchange.number)
        most.append(len(inside))
        time.sleep(0.02)
        inside.pop()
        return True

    replies = [in_a_thread(lambda: control("GET", "/journal?wait=20&method=PUT")) for _ in range(5)]
    until_waiting(double, 5)
    monkeypatch.setattr(Matcher, "matches", slow_comparison)
    put(double)
    assert {reply().status for reply in replies} == {200}
    assert most == [1] * 5


def test_a_wait_ends_with_its_world(control: Control) -> None:
    """Soon after; the answer is that of any request to a world that has ended."""
    world = control("POST", "/worlds").json()
    reply = in_a_thread(lambda: asked(world["address"] + "/_kvfake/journal?wait=60"))
    time.sleep(0.1)
    assert control("DELETE", f"/worlds/{world['id']}").status == 200
    assert words(reply(), 410) == f"the world {world['id']} has ended"


def test_more_than_a_journal_keeps_is_not_waited_for(control: Control) -> None:
    """It can never be there."""
    world = control("POST", "/worlds", {"journal_exchanges": 2}).json()["address"]
    refused = words(asked(world + "/_kvfake/journal?wait=20&times=3"), 409)
    assert refused == "times: expected a whole number from 1 to 2, got 3"
    world = control("POST", "/worlds", {"journal_exchanges": 0}).json()["address"]
    assert words(asked(world + "/_kvfake/journal?wait=20"), 409).startswith("journal_exchanges=0 keeps no exchange")


def test_a_wait_keeps_nobody_waiting(double: kvfake.Double, control: Control) -> None:
    """As many as may wait do; another one is refused; services, health and control answer. Then all have what they waited for."""
    replies = [in_a_thread(lambda: control("GET", "/journal?wait=60&key=k")) for _ in range(MAX_WAITS)]
    until_waiting(double, MAX_WAITS)
    assert words(control("GET", "/journal?wait=60"), 429) == "there are 64 waits: try again when one of them has ended"
    assert {control("GET", path).status for path in ("/health", "/clock", "/journal")} == {200}
    time.sleep(1.1)  # each has begun to wait anew
    put(double)
    assert {reply().status for reply in replies} == {200}
    assert control("GET", "/journal?wait=60&key=k").status == 200


@pytest.mark.parametrize(
    "ends",
    [
        "client",
        "reset",
        pytest.param("pipeline", marks=pytest.mark.skipif(not server_module._HUNG_UP, reason="the system does not say so")),
        "server",
    ],
)
def test_a_wait_ends_with_its_client_and_with_its_server(
    double: kvfake.Double, control: Control, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Soon after, whether the client closes its connection, also behind its next request, or resets it."""
    if ends == "client":
        monkeypatch.setattr(server_module, "_HUNG_UP", 0)  # as on a system that does not say so
    with Wire(server_of(double).port) as wire:
        message = b"GET /_kvfake/journal?wait=300 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        wire.send(message)
        until_waiting(double)
        if ends == "pipeline":  # the server does not read it before the first is answered
            wire.send(message)
        if ends == "server":
            double.close()
        if ends == "reset":
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, SO_LINGER_RESET)
    looks: list[int] = []
    while any(looks[-20:]) or len(looks) < 20:  # between two looks of its own it is for a moment not among them
        time.sleep(0.01)
        looks.append(len(double.journal._waiting))


@pytest.mark.parametrize("system_says", [True, False])
def test_a_request_behind_a_wait_ends_no_wait(double: kvfake.Double, monkeypatch: pytest.MonkeyPatch, system_says: bool) -> None:
    """Both are answered, in their order, as long as the client is there; also on a system that does not say who has gone."""
    if not system_says:
        monkeypatch.setattr(server_module, "_HUNG_UP", 0)
    with Wire(server_of(double).port) as wire:
        first, second = (b"GET /_kvfake/%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path for path in (b"journal?wait=20", b"health"))
        wire.send(first)
        until_waiting(double)
        wire.send(second)
        time.sleep(1.1)  # it has looked whether the client is there
        put(double)
        assert "exchanges" in wire.reply().json()
        assert wire.reply().json()["status"] == "ok"


def test_a_wait_through_another_server(double: kvfake.Double) -> None:
    """It has the thread of that server for itself."""
    with opened("wsgi") as door:
        reply = in_a_thread(lambda: door.send("GET", "/_kvfake/journal?wait=20"))
        until_waiting(door.double)
        door.send("GET", "/persist/kv/k")
        assert reply().status == 200
        assert door.send("GET", "/_kvfake/journal?wait=0.01&key=k").status == 404


# ------------------------------------------------------------------------------------------------------------------------ clock


def parsed(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def test_the_clock_is_the_machines(control: Control) -> None:
    """As long as it is not set."""
    shown = control("GET", "/clock").json()
    assert abs(parsed(shown["time"]) - datetime.now(timezone.utc)) < timedelta(seconds=30)
    assert shown["frozen"] is False


@pytest.mark.parametrize("moment", ["2016-12-31T23:59:59.5Z", "2017-01-01T00:59:59.500+01:00", 1483228799.5])
def test_a_frozen_clock_is_moved_over_midnight(double: kvfake.Double, control: Control, moment: Any) -> None:
    """The clock is frozen half a second before it, and then moved by one second."""
    assert control("POST", "/clock", {"move_to": moment, "freeze": True}).json() == {"time": MOMENT, "frozen": True}
    assert put(double).json()["updated"] == MOMENT
    assert control("POST", "/clock", {"shift": 1}).json() == {"time": "2017-01-01T00:00:00.500000Z", "frozen": True}
    assert put(double).json()["updated"] == "2017-01-01T00:00:00.500000Z"
    assert control("GET", "/clock").json() == {"time": "2017-01-01T00:00:00.500000Z", "frozen": True}


@pytest.mark.parametrize(
    ("moment", "shown"), [(MOMENT, MOMENT), ("2016-12-31", "2016-12-31T00:00:00.000000Z"), (0, "1970-01-01T00:00:00.000000Z")]
)
def test_a_clock_is_frozen_at_a_moment(control: Control, moment: Any, shown: str) -> None:
    """As ``move_to`` takes it; then it stands still."""
    for _ in range(2):
        assert control("POST", "/clock", {"freeze": moment}).json() == {"time": shown, "frozen": True}
        assert control("GET", "/clock").json() == {"time": shown, "frozen": True}


def test_the_clock_is_moved_and_goes_on(control: Control) -> None:
    """A clock that is not frozen goes on from the new time. Seconds may be negative, and fractions."""
    moved = parsed(control("POST", "/clock", {"move_to": "2000-01-01", "shift": -0.5}).json()["time"])
    assert timedelta() <= moved - datetime(1999, 12, 31, 23, 59, 59, 500_000, timezone.utc) < timedelta(seconds=30)
    assert parsed(control("GET", "/clock").json()["time"]) > moved


def test_the_clock_is_the_machines_again(control: Control) -> None:
    """`resume` is carried out before the other moves of the same request."""
    control("POST", "/clock", {"move_to": "2000-01-01", "freeze": True})
    shown = control("POST", "/clock", {"freeze": True, "shift": 3600, "resume": True}).json()
    ahead = parsed(shown["time"]) - datetime.now(timezone.utc)
    assert shown["frozen"] is True
    assert timedelta(minutes=59) < ahead < timedelta(minutes=61)
    assert control("POST", "/clock", {"resume": True}).json()["frozen"] is False


@pytest.mark.parametrize(
    ("asked_for", "error"),
    [
        ({}, "expected at least one of resume, freeze, move_to, shift"),
        ({"stop": True}, "'stop' is not known here: expected resume, freeze, move_to, shift"),
        ({"freeze": False}, "freeze: expected true, or a time as for move_to, got False"),
        ({"freeze": None}, "freeze: expected true, or a time as for move_to, got None"),
        ({"freeze": "noon"}, "expected a datetime, a text such as 2016-12-31T23:59:59.5Z, or seconds since 1970, "),
        ({"resume": 1}, "resume: expected true, got 1"),
        ({"move_to": "noon"}, "expected a datetime, a text such as 2016-12-31T23:59:59.5Z, or seconds since 1970, "),
        ({"move_to": 1e300}, "expected a datetime, a text such as 2016-12-31T23:59:59.5Z, or seconds since 1970, "),
        ({"move_to": True}, "expected a datetime, a text such as 2016-12-31T23:59:59.5Z, or seconds since 1970, "),
        ({"move_to": None}, "expected a datetime, a text such as 2016-12-31T23:59:59.5Z, or seconds since 1970, "),
        ({"shift": "an hour"}, "expected a timedelta or seconds that stay within the years 1 to 9999, got 'an hour'"),
        ({"shift": 10**400}, "expected a timedelta or seconds that stay within the years 1 to 9999, got 1000"),
        ({"shift": True}, "expected a timedelta or seconds that stay within the years 1 to 9999, got True"),
        ({"shift": {}}, "expected a timedelta or seconds that stay within the years 1 to 9999, got {}"),
        ({"resume": True, "move_to": "2000-01-01", "shift": 1e300}, "expected a timedelta or seconds that stay within "),
    ],
    ids=lambda value: json.dumps(value)[:50],
)
def test_a_time_that_is_not_possible(control: Control, asked_for: dict[str, Any], error: str) -> None:
    """None of the moves is carried out: the clock is as it was."""
    control("POST", "/clock", {"move_to": MOMENT, "freeze": True})
    assert words(control("POST", "/clock", asked_for)).startswith(error)
    assert control("GET", "/clock").json() == {"time": MOMENT, "frozen": True}


# ------------------------------------------------------------------------------------------------------------------ checkpoints


def test_a_world_is_rolled_back(double: kvfake.Double, control: Control) -> None:
    """Values, clock, faults and journal are as they were at the checkpoint, each time."""
    double.persist["k"] = "before"
    control("POST", "/clock", {"move_to": MOMENT, "freeze": True})
    mark = control("POST", "/checkpoints")
    assert mark.status == 201
    number = mark.json()["checkpoint"]
    for _ in range(2):
        put(double, "after")
        control("POST", "/clock", {"resume": True})
        control("POST", "/faults", {"status": 503})
        assert control("POST", f"/checkpoints/{number}/rollback").json() == {"checkpoint": number}
        assert double.persist["k"] == "before"
        assert control("GET", "/clock").json() == {"time": MOMENT, "frozen": True}
        assert control("GET", "/faults").json() == {"faults": []}
        assert control("GET", "/journal").json()["exchanges"] == []


def test_a_rollback_deletes_later_checkpoints(control: Control) -> None:
    """A rollback deletes the later checkpoints; a reset deletes all."""
    one, two, three = (control("POST", "/checkpoints").json()["checkpoint"] for _ in range(3))
    assert control("GET", "/checkpoints").json() == {"checkpoints": [one, two, three]}
    control("POST", f"/checkpoints/{two}/rollback")
    assert control("GET", "/checkpoints").json() == {"checkpoints": [one, two]}
    error = words(control("POST", f"/checkpoints/{three}/rollback"), 404)
    assert error == f"{three} is no checkpoint of this world, or was rolled back over; there are: {one}, {two}"
    control("POST", "/reset")
    assert words(control("POST", f"/checkpoints/{one}/rollback"), 404).endswith("there are: none")


# ------------------------------------------------------------------------------------------------------------------- neighbours


def test_a_route_answers(double: kvfake.Double, control: Control) -> None:
    """For requests to the same site outside the stores: JSON, a text, headers, a status."""
    made = control("POST", "/routes", {"method": "post", "path": "/api/v4/posts", "status": 201, "json": {"id": "é"}})
    assert (made.status, made.json()) == (201, {"method": "POST", "path": "/api/v4/posts", "status": 201})
    control("POST", "/routes", {"path": "/ping", "body": "pong", "headers": {"X-Pong": "1"}})
    post = asked(double.url + "/api/v4/posts", "POST", {"message": "hi"})
    assert (post.status, post.json(), post.headers["Content-Type"]) == (201, {"id": "é"}, "application/json")
    assert asked(double.url + "/api/v4/posts").status == 404
    ping = asked(double.url + "/ping", "DELETE")
    assert (ping.status, ping.text, ping.headers["X-Pong"]) == (200, "pong", "1")
    assert [exchange["service"] for exchange in control("GET", "/journal").json()["exchanges"]] == ["respond", None, "respond"]


def test_a_route_answers_for_many_paths(double: kvfake.Double, control: Control) -> None:
    """A pattern must match the whole path. Of two routes that match, the later one answers."""
    control("POST", "/routes", {"path": {"matches": "/api/v4/users/[a-z]+"}, "json": []})
    control("POST", "/routes", {"method": "GET", "path": "/api/v4/users/ada", "status": 204})
    assert control("GET", "/routes").json() == {
        "routes": [
            {"method": "GET", "path": "/api/v4/users/ada", "status": 204},
            {"method": None, "path": {"matches": "/api/v4/users/[a-z]+"}, "status": 200},
        ],
        "mounts": [],
    }
    assert [asked(f"{double.url}/api/v4/users/{who}").status for who in ("ada", "grace", "Grace", "ada/more")] == [
        204,
        200,
        404,
        404,
    ]


def test_a_large_response_of_a_route(double: kvfake.Double, control: Control) -> None:
    """Its JSON may have thousands of objects and arrays."""
    posts = [{"id": number, "props": {}} for number in range(5000)]
    assert control("POST", "/routes", {"path": "/posts", "json": posts}).status == 201
    assert asked(double.url + "/posts").json() == posts


def test_routes_are_removed(double: kvfake.Double, control: Control) -> None:
    """Mounts from Python are listed, and are removed too."""
    double.mount("/app", double.wsgi_app)
    control("POST", "/routes", {"path": "/ping"})
    assert control("GET", "/routes").json()["mounts"] == ["/app"]
    assert control("DELETE", "/routes").json() == {"removed": 1}
    assert control("GET", "/routes").json() == {"routes": [], "mounts": []}
    assert asked(double.url + "/ping").status == 404


@pytest.mark.parametrize(
    ("route", "error"),
    [
        ({}, 'path: expected a path, or {"matches": "<regular expression>"}'),
        ({"path": None}, 'path: expected a path, or {"matches": "<regular expression>"}'),
        ({"path": ["/a"]}, 'path: expected a path, or {"matches": "<regular expression>"}'),
        ({"path": "ping"}, "path: expected one that begins with / and has no query, got 'ping'"),
        ({"path": "/ping?x"}, "path: expected one that begins with / and has no query, got '/ping?x'"),
        ({"path": {"matches": "["}}, "path: '[' is no regular expression: unterminated character set at position 0"),
        ({"path": {"matches": "(?!a)"}}, "path: '(?!a)' looks ahead or behind, which kvfake"),
        ({"path": {"is": "/"}}, 'path: expected a text or {"matches": "<regular expression>"}, got '),
        ({"path": PERSIST + "k"}, f"path: {PERSIST}k belongs to kvfake; "),
        ({"path": "/_kvfake/health"}, "path: /_kvfake/health belongs to kvfake; "),
        ({"path": "/p", "method": "GET IT"}, "method: expected such as GET, or None for any, got 'GET IT'"),
        ({"path": "/p", "method": 1}, "method: expected such as GET, or None for any, got 1"),
        ({"path": "/p", "status": 600}, "status: expected a whole number from 200 to 599, got 600"),
        ({"path": "/p", "json": 1, "body": "x"}, "json, body: expected one of them, got both"),
        ({"path": "/p", "body": {"a": 1}}, "body: expected bytes or a text, got {'a': 1}; json= takes what JSON can hold"),
        ({"path": "/p", "json": float("inf")}, "the body: Infinity is not JSON: expected an object of JSON with method, path, "),
        ({"path": "/p", "status": 204, "body": "x"}, "status: an answer of 204 has no body"),
        ({"path": "/p", "headers": {"X": "é\n"}}, "headers: expected a name, and a value of Latin-1 on one line"),
        ({"path": "/p", "colour": "red"}, "'colour' is not known here: expected method, path, status, json, body, headers"),
    ],
    ids=json.dumps,
)
def test_a_route_that_is_not_possible(control: Control, route: dict[str, Any], error: str) -> None:
    """The refusal says what is possible, and no route is added."""
    assert words(control("POST", "/routes", route)).startswith(error)
    assert control("GET", "/routes").json() == {"routes": [], "mounts": []}


# ------------------------------------------------------------------------------------------------------------------------ reset


def test_a_reset_deletes_all_but_routes(double: kvfake.Double, control: Control) -> None:
    """Values, faults, journal and checkpoints are gone, the clock is the machine's; routes stay."""
    put(double)
    for path, body in (
        ("/faults", {"status": 503}),
        ("/clock", {"move_to": MOMENT, "freeze": True}),
        ("/checkpoints", None),
        ("/routes", {"path": "/p"}),
    ):
        control("POST", path, body)
    assert control("POST", "/reset").status == 200
    assert control("GET", "/data").json()["persist"] == {}
    assert control("GET", "/faults").json()["faults"] == control("GET", "/journal").json()["exchanges"] == []
    assert control("GET", "/checkpoints").json()["checkpoints"] == []
    assert control("GET", "/clock").json()["frozen"] is False
    assert len(control("GET", "/routes").json()["routes"]) == 1
