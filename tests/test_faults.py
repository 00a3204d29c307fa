"""Faults: which requests meet them, when, and what is answered and done."""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests

import kvfake
from kvfake.http.workers import MAX_WORKERS
from kvfake.services.mattermost import KV
from kvfake.services.messages import Lane
from kvfake.world import faults as faults_module
from kvfake.world.faults import FaultArguments
from kvfake.world.matching import IncomingRequest
from tests.support.doors import DOORS, Door, SocketDoor, WsgiDoor, opened
from tests.support.served import doubles_of, server_of
from tests.support.troubled import SEVERS
from tests.support.wire import Reply, Wire, request_bytes
from tests.test_server import until

THROUGH_A_SERVER = [name for name in DOORS if name != "site"]  # those that see to a user's function that raises


def kv(door: Door, method: str, key: str = "k", body: bytes = b"") -> Reply:
    return door.send(method, f"{KV}/{key}", door.double.mattermost.headers, body)


def persist(door: Door, method: str, path: str, body: bytes = b"") -> Reply:
    return door.send(method, f"/persist{path}", door.double.persist.headers, body)


def statuses(door: Door, count: int) -> list[int]:
    return [kv(door, "GET").status for _ in range(count)]


# -------------------------------------------------------------------------------------------------------- what is answered


@pytest.mark.parametrize("door", DOORS)
def test_a_store_that_is_down_for_a_while(door: str) -> None:
    """So many requests fail and do nothing; the next is served. The journal says which fault it was."""
    with opened(door) as one:
        fault = one.double.faults.add(status=503, times=2)
        assert [kv(one, "PUT", body=b"1").status for _ in range(2)] == [503, 503]
        assert one.double.mattermost == {}
        assert kv(one, "PUT", body=b"1").status == 200
        assert one.double.mattermost == {"k": 1}
        assert [(exchange.status, exchange.fault) for exchange in one.double.journal] == [(503, fault), (503, fault), (200, None)]


@pytest.mark.parametrize("door", DOORS)
def test_a_failure_has_the_services_own_form(door: str) -> None:
    """Its words where it has some for that status, else those of the status."""
    with opened(door) as one:
        one.double.faults.add(status=503, times=2)
        one.double.faults.add(status=401, times=2)
        one.double.faults.add(status=599, times=2)
        assert [(kv(one, "GET").text, persist(one, "GET", "/kv").json()) for _ in range(3)] == [
            ("service unavailable\n", {"error": "service unavailable"}),
            ("user ID is required: unauthorized\n", {"error": "the token is not known to this project or its service"}),
            ("status 599\n", {"error": "status 599"}),
        ]
        one.double.faults.add(status=500, times=2)
        assert kv(one, "GET").headers["Content-Type"] == "text/plain; charset=utf-8"
        assert persist(one, "GET", "/kv").headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("door", DOORS)
def test_a_body_and_headers_of_ones_own(door: str) -> None:
    """A text, bytes, or what becomes JSON, which a header says; headers stand in place of those of the same name."""
    with opened(door) as one:
        one.double.faults.add(status=418, body={"error": "no coffee"}, headers={"X-Pot": "tea"})
        one.double.faults.add(status=418, body="kännchen", headers={"content-TYPE": "text/x-pot"})
        one.double.faults.add(status=418, body=bytearray(b"\xff"))
        json, text, data = [kv(one, "GET") for _ in range(3)]
        assert (json.status, json.json(), json.headers["X-Pot"]) == (418, {"error": "no coffee"}, "tea")
        assert json.headers["Content-Type"] == "application/json"
        assert (text.text, text.headers["content-TYPE"]) == ("kännchen", "text/x-pot")
        assert (data.body, data.headers["Content-Type"]) == (b"\xff", "text/plain; charset=utf-8")
        assert "Content-Type" not in text.headers


@pytest.mark.parametrize("door", DOORS)
def test_a_body_alone_changes_what_is_answered_and_not_what_is_done(door: str) -> None:
    """Status and headers are the service's."""
    with opened(door) as one:
        one.double.faults.add(body="{", headers={"X-From": "a proxy"})
        reply = kv(one, "PUT", body=b"1")
        assert (reply.status, reply.text, reply.headers["X-From"]) == (200, "{", "a proxy")
        assert reply.headers["Content-Type"] == "application/json"
        assert one.double.mattermost == {"k": 1}


@pytest.mark.parametrize("door", DOORS)
def test_a_fault_with_a_2xx_acknowledges_and_changes_nothing(door: str) -> None:
    """A 2xx answers what the service would have answered, and changes nothing; what is read is right."""
    with opened(door) as one:
        one.double.mattermost["k"] = one.double.persist.json["k"] = 1
        one.double.faults.add(status=200, times=None)
        assert kv(one, "PUT", body=b"2").json() == {"changed": True}
        assert kv(one, "DELETE").status == 200
        assert persist(one, "PUT", "/kv/k", b'{"value":"2"}').json()["value"] == "2"
        assert persist(one, "DELETE", "/kv/k").status == 200
        assert kv(one, "GET").text == "1"
        assert persist(one, "GET", "/kv").json() == ["k"]
        assert persist(one, "POST", "/mget", b'{"keys":["k"]}').json()[0]["value"] == "1"
        assert (one.double.mattermost, one.double.persist) == ({"k": 1}, {"k": "1"})


@pytest.mark.parametrize("door", DOORS)
def test_a_fault_with_a_2xx_acknowledges_a_refused_request_too(door: str) -> None:
    """With the status that was asked for, and no words of a refusal."""
    with opened(door) as one:
        one.double.faults.add(status=202, times=None)
        reply = kv(one, "PUT", body=b"no json")
        assert (reply.status, reply.body) == (202, b"")
        assert kv(one, "PUT", body=b"2").json() == {"changed": True}
        assert one.double.mattermost == {}


@pytest.mark.parametrize(("status", "done"), [(200, True), (299, True), (300, False), (399, False)])
def test_only_a_2xx_is_an_acknowledgement(status: int, done: bool) -> None:
    """From 300 on the answer is the service's error of that status, not what it says of a set that it did."""
    with opened("site") as one:
        one.double.faults.add(status=status, times=2)
        reply = kv(one, "PUT", body=b"2")
        assert (reply.status, b"changed" in reply.body) == (status, done)
        reply = persist(one, "PUT", "/kv/k", b'{"value":"2"}')
        assert (reply.status, sorted(reply.json())) == (status, ["key", "updated", "value"] if done else ["error"])


@pytest.mark.parametrize("status", [204, 205, 304])
@pytest.mark.parametrize("door", DOORS)
def test_an_answer_that_has_no_body_has_none(door: str, status: int) -> None:
    """Nor has it a length, unless it must; the next answer on the connection is right."""
    with opened(door) as one:
        one.double.mattermost["k"] = 1
        one.double.faults.add(status=status)
        reply = kv(one, "GET", body=b"")
        assert (reply.status, reply.body) == (status, b"")
        assert reply.headers.get("Content-Length") == ("0" if status == 205 and door != "site" else None)
        assert kv(one, "GET").text == "1"


@pytest.mark.parametrize("door", DOORS)
def test_a_429_has_a_retry_after(door: str) -> None:
    """In a second, or when the fault says."""
    with opened(door) as one:
        one.double.faults.add(status=429)
        one.double.faults.add(status=429, headers={"retry-after": "7"})
        replies = [kv(one, "GET") for _ in range(2)]
        assert [reply.status for reply in replies] == [429, 429]
        assert [reply.headers.get("Retry-After") for reply in replies] == ["1", None]
        assert replies[1].headers["retry-after"] == "7"


def test_a_fault_that_only_delays_changes_nothing() -> None:
    """A refusal is one, and a kind answer says in what it was kind."""
    with opened("wsgi") as one:
        one.double.faults.add(delay=0.01, times=None)
        assert kv(one, "PUT", body=b"no json").status == 400
        assert kv(one, "PUT", "my-app/k", b"1").headers["Kvfake-Rows"] == "M15"


# ---------------------------------------------------------------------------------------------------------------------- when


@pytest.mark.parametrize(
    ("given", "turns"),
    [
        ({}, "x......."),
        ({"times": 3}, "xxx....."),
        ({"times": None}, "xxxxxxxx"),
        ({"after": 2}, "..x....."),
        ({"every": 3, "times": None}, "..x..x.."),
        ({"after": 1, "every": 2, "times": 2}, "..x.x..."),
        ({"rate": 0, "times": None}, "........"),
        ({"rate": 1.0, "times": 2}, "xx......"),
    ],
)
@pytest.mark.parametrize("door", DOORS)
def test_which_requests_a_fault_hits(door: str, given: dict[str, Any], turns: str) -> None:
    """The first ``times``, not before ``after`` of them came, each ``every``-th."""
    with opened(door) as one:
        fault = one.double.faults.add(status=503, **given)
        assert "".join("x" if status == 503 else "." for status in statuses(one, 8)) == turns
        assert fault.hits == turns.count("x")


def test_a_rate_repeats_with_its_seed() -> None:
    """Exactly; another seed is another sequence."""

    def drawn(seed: int) -> list[int]:
        with opened("site") as one:
            one.double.faults.add(status=503, rate=0.5, seed=seed, times=None)
            return statuses(one, 40)

    assert drawn(1) == drawn(1) != drawn(2)
    assert set(drawn(1)) == {200, 503}


def test_the_first_fault_that_is_due_hits_while_each_counts() -> None:
    """So two faults can be said to follow one another."""
    with opened("wsgi") as one:
        first = one.double.faults.add(status=503, times=2)
        second = one.double.faults.add(status=500, after=2)
        passed = one.double.faults.add(status=418, every=2)
        assert statuses(one, 5) == [503, 503, 500, 418, 200]
        assert (first.hits, second.hits, passed.hits) == (2, 1, 1)


def test_hits_are_exact_however_many_ask_at_once() -> None:
    """``times`` is a promise also to threads."""
    double = kvfake.Double()
    fault = double.faults.add(status=503, times=50)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.extend(statuses(WsgiDoor(double), 50))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (fault.hits, found.count(503), found.count(200)) == (50, 50, 150)


# ---------------------------------------------------------------------------------------------------------------------- which

REQUESTS: dict[str, Callable[[Door], Reply]] = {
    "kv get name": lambda door: kv(door, "GET", "name"),
    "kv put name": lambda door: kv(door, "PUT", "name", b"1"),
    "kv get other": lambda door: kv(door, "GET", "other"),
    "kv put no json": lambda door: kv(door, "PUT", "name", b"no json"),
    "kv get as ada": lambda door: door.send("GET", f"{KV}/name", door.double.mattermost.as_user("ada").headers),
    "kv get by nobody": lambda door: door.send("GET", f"{KV}/name"),
    "persist get name": lambda door: persist(door, "GET", "/kv/name"),
    "persist list na": lambda door: persist(door, "GET", "/kv?begins=na"),
    "persist list": lambda door: persist(door, "GET", "/kv"),
    "persist mget": lambda door: persist(door, "POST", "/mget", b'{"keys":["other","name"]}'),
}
OF_KV = {name for name in REQUESTS if name.startswith("kv")}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({}, set(REQUESTS)),
        ({"service": "mattermost"}, OF_KV),
        ({"service": "persist"}, set(REQUESTS) - OF_KV),
        ({"method": "put"}, {"kv put name", "kv put no json"}),
        ({"method": re.compile("^P")}, {"kv put name", "kv put no json", "persist mget"}),
        ({"key": "name"}, {"kv get name", "kv put name", "kv get as ada", "persist get name", "persist mget"}),
        ({"key": "na"}, {"persist list na"}),
        ({"key": re.compile("^o")}, {"kv get other", "persist mget"}),
        ({"key": re.compile("e$"), "service": "persist", "method": "GET"}, {"persist get name"}),
        ({"owner": "app/ada"}, {"kv get as ada"}),
        ({"owner": re.compile("^app/")}, OF_KV - {"kv get by nobody"}),
        ({"when": lambda asked: asked.verb == "list"}, {"persist list na", "persist list"}),
        ({"when": lambda asked: asked.request.body == b"no json"}, {"kv put no json"}),
        ({"when": lambda asked: asked.owner is None}, {"kv get by nobody"}),
        ({"key": "name", "when": lambda asked: asked.operation.value}, {"kv put name"}),
    ],
)
@pytest.mark.parametrize("door", DOORS)
def test_which_requests_are_meant(door: str, given: dict[str, Any], meant: set[str]) -> None:
    """Exact values, patterns of which a part must be found, one of an mget's keys, a predicate that is asked last."""
    with opened(door) as one:
        fault = one.double.faults.add(status=418, times=None, **given)
        assert {name for name, send in REQUESTS.items() if send(one).status == 418} == meant
        assert fault.hits == len(meant)


def test_requests_beside_the_stores_meet_no_fault() -> None:
    """Control, a neighbour, what nobody answers, and the user's own hands."""
    with opened("socket") as one:
        one.double.respond("GET", "/api/v4/posts")
        one.double.faults.add(status=418, times=None)
        assert [one.send("GET", path).status for path in ("/api/v4/posts", "/nothing")] == [200, 404]
        assert isinstance(one, SocketDoor)
        assert one.raw(b"GET /_kvfake/health HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 200
        one.double.mattermost["k"] = 1
        assert one.double.mattermost == {"k": 1}
        assert statuses(one, 1) == [418]


def test_a_fault_applies_to_one_world_alone() -> None:
    """On the same server."""
    with kvfake.start() as main:
        one, other = doubles_of(main).open({}), doubles_of(main).open({})
        one.faults.add(status=503, times=None)
        assert [kv(WsgiDoor(double), "GET").status for double in (main, one, other)] == [200, 503, 200]


# ----------------------------------------------------------------------------------------------------------------- the faults


def test_a_fault_can_be_removed() -> None:
    """Twice, too; also one that has struck for the last time."""
    with opened("wsgi") as one:
        fault = one.double.faults.add(status=503, times=None)
        assert statuses(one, 1) == [503]
        fault.remove()
        fault.remove()
        assert statuses(one, 1) == [200]
        assert (fault.hits, len(one.double.faults)) == (1, 0)


def test_a_fault_is_a_context_manager() -> None:
    """It strikes inside, and is removed at the end, whatever happened."""
    with opened("wsgi") as one:
        with one.double.faults.add(status=503, times=None) as fault:
            assert statuses(one, 2) == [503, 503]
        assert statuses(one, 1) == [200]
        with pytest.raises(KeyError), one.double.faults.add(status=503):
            raise KeyError
        assert (fault.hits, list(one.double.faults)) == (2, [])


def test_the_active_faults() -> None:
    """Oldest first; one that has struck for the last time is gone."""
    with opened("wsgi") as one:
        faults = one.double.faults
        first, second, third = (faults.add(status=status) for status in (500, 501, 502))
        assert (list(faults), len(faults), faults.active) == ([first, second, third], 3, (first, second, third))
        second.remove()
        assert statuses(one, 1) == [500]
        assert list(faults) == [third]
        faults.clear()
        assert list(faults) == []
        assert statuses(one, 1) == [200]


def test_faults_that_never_hit_are_reported() -> None:
    """By what they were asked to do, also those that were removed; not those that struck, nor what was cleared."""
    with opened("wsgi") as one:
        faults = one.double.faults
        used = faults.add(status=503)
        waiting = faults.add(status=500, key=re.compile("^convo"), times=None)
        with faults.add(sever="after", method="PUT") as removed:
            assert statuses(one, 1) == [503]
        assert set(faults.unused) == {waiting, removed}
        assert used.hits == 1
        with pytest.raises(AssertionError) as told:
            faults.assert_all_used()
        first, *lines = str(told.value).splitlines()
        assert first == "these faults never struck:"
        assert sorted(lines) == [
            "  on PUT: lose the acknowledgement, once",
            "  on any request, key=re.compile('^convo'): answer 500, until removed",
        ]
        faults.clear()
        faults.assert_all_used()


def test_the_repr_of_a_fault() -> None:
    """A sentence, and how often it struck."""
    fault = kvfake.Double().faults.add(503, times=2, delay=(0.1, 0.2), body={"a": 1}, method="put", key="k")
    assert str(fault) == "on PUT, key='k': delay (0.1, 0.2), answer 503, body {'a': 1}, 2 times"
    assert repr(fault) == f"<fault {fault}; 0 hits>"


def test_rolling_back_removes_what_was_added_since() -> None:
    """And leaves what was there."""
    with opened("wsgi") as one:
        before = one.double.faults.add(status=500, times=None, key="k")
        mark = one.double.checkpoint()
        one.double.faults.add(status=501, key="other")
        one.double.rollback(mark)
        assert list(one.double.faults) == [before]
        assert statuses(one, 1) == [500]
        one.double.faults.assert_all_used()
        one.double.reset()
        assert len(one.double.faults) == 0


def test_the_number_of_faults_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that adds them for ever is told."""
    monkeypatch.setattr(faults_module, "MAX_FAULTS", 2)
    faults = kvfake.Double().faults
    faults.add(status=500)
    second = faults.add(status=500)
    with pytest.raises(ValueError, match=r"there are 2 faults: remove some, or faults\.clear\(\)"):
        faults.add(status=500)
    second.remove()
    faults.add(status=500)


# ------------------------------------------------------------------------------------------------------- what is not possible


async def asynchronous(*_: object) -> None: ...


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"status": None}, "this fault does nothing: expected a status, delay, sever, body, headers, before, stale or limit"),
        ({"status": None, "headers": {}, "delay": 0.0, "times": 5}, "this fault does nothing"),
        ({"status": 199}, "status: expected a whole number from 200 to 599, got 199"),
        ({"status": 600}, "status: expected a whole number from 200 to 599, got 600"),
        ({"status": "503"}, "status: expected a whole number from 200 to 599, got '503'"),
        ({"status": 503.0}, "status: expected a whole number from 200 to 599, got 503.0"),
        ({"status": True}, "status: expected a whole number from 200 to 599, got True"),
        ({"status": 204, "body": "x"}, "status: an answer of 204 has no body"),
        ({"status": 304, "sever": "truncate"}, "status: an answer of 304 has no body"),
        ({"sever": "sideways"}, f"sever: expected one of {', '.join(SEVERS)}, got 'sideways'"),
        ({"sever": ""}, f"sever: expected one of {', '.join(SEVERS)}, got ''"),
        ({"sever": ["before"]}, f"sever: expected one of {', '.join(SEVERS)}, got ['before']"),
        ({"sever": "before"}, "sever='before' lets no answer out: status, body, headers, stale and delay over would not be seen"),
        ({"status": None, "sever": "after", "body": "x"}, "sever='after' lets no answer out"),
        ({"status": None, "sever": "silence", "headers": {"a": "b"}}, "sever='silence' lets no answer out"),
        ({"status": None, "sever": "garbage", "delay": {"over": 1}}, "sever='garbage' lets no answer out"),
        ({"delay": -1}, "delay: expected a number from 0 to 300, got -1"),
        ({"delay": 301}, "delay: expected a number from 0 to 300, got 301"),
        ({"delay": float("nan")}, "delay: expected a number from 0 to 300, got nan"),
        ({"delay": "1"}, "delay: expected a number from 0 to 300, got '1'"),
        ({"delay": None}, "delay: expected a number from 0 to 300, got None"),
        ({"delay": (2, 1)}, "delay: expected (least, most), got (2, 1)"),
        ({"delay": (1, 301)}, "delay: expected a number from 0 to 300, got 301"),
        ({"delay": (1,)}, 'delay: expected seconds, (least, most), {"median": seconds, "sigma": s} or {"over": seconds}, got (1,)'),
        ({"delay": {"median": 1}}, "delay: expected seconds, (least, most), {"),
        ({"delay": {"median": -1, "sigma": 1}}, "delay median: expected a number from 0 to 300, got -1"),
        ({"delay": {"median": 1, "sigma": 11}}, "delay sigma: expected a number from 0 to 10, got 11"),
        ({"delay": {"over": "long"}}, "delay over: expected a number from 0 to 300, got 'long'"),
        ({"times": 0}, "times: expected a whole number of at least 1, got 0"),
        ({"times": 1.5}, "times: expected a whole number of at least 1, got 1.5"),
        ({"after": -1}, "after: expected a whole number of at least 0, got -1"),
        ({"every": 0}, "every: expected a whole number of at least 1, got 0"),
        ({"rate": 1.5}, "rate: expected a number from 0 to 1, got 1.5"),
        ({"seed": "x"}, "seed: expected a whole number, got 'x'"),
        ({"service": "redis"}, "service: expected one of mattermost, persist, got 'redis'"),
        ({"service": re.compile("m")}, "service: expected one of mattermost, persist, got re.compile('m')"),
        ({"method": 5}, "method: expected a text or a compiled pattern of text, got 5"),
        ({"key": b"k"}, "key: expected a text or a compiled pattern of text, got b'k'"),
        ({"key": re.compile(b"k")}, "key: expected a text or a compiled pattern of text, got re.compile(b'k')"),
        ({"owner": 5}, "owner: expected a text or a compiled pattern of text, got 5"),
        ({"when": "always"}, "when: expected a function that is not async, got 'always'"),
        ({"when": asynchronous}, "when: expected a function that is not async, got <function asynchronous"),
        ({"before": 5}, "before: expected a function that is not async, got 5"),
        ({"before": asynchronous}, "before: expected a function that is not async, got <function asynchronous"),
        ({"body": object()}, "body: expected bytes, a text, or what JSON can hold: Object of type object is not JSON serializable"),
        ({"body": float("nan")}, "body: expected bytes, a text, or what JSON can hold: Out of range float values"),
        ({"headers": ["a"]}, "headers: expected names and values, got ['a']"),
        ({"headers": {"a b": "c"}}, "headers: expected a name, and a value of Latin-1 on one line, got 'a b': 'c'"),
        ({"headers": {"a": 5}}, "headers: expected a name, and a value of Latin-1 on one line, got 'a': 5"),
        ({"headers": {5: "a"}}, "headers: expected a name, and a value of Latin-1 on one line, got 5: 'a'"),
        ({"headers": {"a": "b\r\nc: d"}}, "headers: expected a name, and a value of Latin-1 on one line, got 'a': 'b\\r\\nc: d'"),
        ({"headers": {"a": "€"}}, "headers: expected a name, and a value of Latin-1 on one line, got 'a': '€'"),
        ({"headers": {"Content-length": "5"}}, "headers: Content-length says how a message ends, which is not for a user to say"),
    ],
)
def test_impossible_arguments_are_refused(given: dict[str, Any], words: str) -> None:
    """With what was expected, and nothing is added."""
    faults = kvfake.Double().faults
    with pytest.raises(ValueError, match="^" + re.escape(words)):
        faults.add(**{"status": 503, **given})
    assert (len(faults), faults.unused) == (0, [])


def test_the_signature_has_every_name_once() -> None:
    """What `Fault` takes by default is what ``add`` takes by default; another name is a ``TypeError``."""
    faults = kvfake.Double().faults
    assert {
        name: parameter.default for name, parameter in inspect.signature(faults.add).parameters.items()
    } == FaultArguments._field_defaults
    with pytest.raises(TypeError):
        faults.add(stauts=503)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"status": 99}, "status: expected a whole number from 200 to 599, got 99"),
        ({"json": 1, "body": "x"}, "json, body: expected one of them, got both"),
        ({"body": {"a": 1}}, "body: expected bytes or a text, got {'a': 1}; json= takes what JSON can hold"),
        ({"json": {1, 2}}, "body: expected bytes, a text, or what JSON can hold"),
        ({"method": "G E T"}, "method: expected such as GET, or None for any, got 'G E T'"),
        ({"method": 5}, "method: expected such as GET, or None for any, got 5"),
        ({"headers": {"Connection": "close"}}, "headers: Connection says how a message ends"),
        ({"status": 204, "json": {}}, "status: an answer of 204 has no body"),
    ],
)
def test_an_answer_beside_the_stores_is_checked_alike(given: dict[str, Any], words: str) -> None:
    """It is a user's answer too."""
    with pytest.raises(ValueError, match="^" + re.escape(words)):
        kvfake.Double().respond(**{"method": "GET", "path": "/api/v4/posts", **given})


def test_an_answer_beside_the_stores_says_what_it_is() -> None:
    """JSON, a text, or bytes, of which only the user knows."""
    with opened("socket") as one:
        one.double.respond("get", "/json", json={"a": 1}, headers={"X": "y"})
        one.double.respond(None, "/text", 201, body="ä")
        one.double.respond("GET", "/bytes", body=b"\xff")
        one.double.respond("GET", "/none", 204)
        json, text, data, none = [one.send("GET", path) for path in ("/json", "/text", "/bytes", "/none")]
        assert (json.json(), json.headers["Content-Type"], json.headers["X"]) == ({"a": 1}, "application/json", "y")
        assert (text.status, text.text, text.headers["Content-Type"]) == (201, "ä", "text/plain; charset=utf-8")
        assert (data.body, "Content-Type" in data.headers) == (b"\xff", False)
        assert (none.status, set(none.headers)) == (204, {"Date"})
        assert one.send("GET", "/json").json() == {"a": 1}


# ---------------------------------------------------------------------------------------------------------- a user's functions


@pytest.mark.parametrize("door", DOORS)
def test_before_runs_before_anything_is_done(door: str) -> None:
    """Alone it changes nothing of what is done and answered."""
    with opened(door) as one:
        one.double.mattermost["k"] = 1
        found: list[Any] = []
        one.double.faults.add(before=lambda: found.append(one.double.mattermost["k"]), method="PUT")
        assert kv(one, "PUT", body=b"2").json() == {"changed": True}
        assert (found, one.double.mattermost) == ([1], {"k": 2})


@pytest.mark.parametrize("door", DOORS)
def test_before_may_take_the_request(door: str) -> None:
    """Where it must be called with one; and goes together with everything else that a fault does."""
    with opened(door) as one:
        asked: list[IncomingRequest] = []
        one.double.faults.add(status=503, before=asked.append, times=2)
        one.double.faults.add(before=lambda request, more=None: asked.append(request))
        one.double.faults.add(before=lambda *nothing, more=None: asked.extend(nothing), after=3)
        assert statuses(one, 4) == [503, 503, 200, 200]
        assert [(each.service, each.verb, each.key) for each in asked] == [("mattermost", "get", "k")] * 3


def test_before_may_be_a_function_that_does_not_say_what_it_takes() -> None:
    """As some of Python's own: it is called with nothing."""
    with opened("site") as one:
        fault = one.double.faults.add(before=dict)
        assert statuses(one, 1) == [200]
        assert fault.hits == 1


def test_a_lost_update_without_sleeps() -> None:
    """Between an app's read and its write another app writes, over the same server: what it wrote is gone."""
    with opened("socket") as one:
        assert isinstance(one, SocketDoor)
        port, headers = one.port, one.double.mattermost.headers

        def append(wire: Wire, word: str) -> None:
            words = wire.ask(request_bytes("GET", f"{KV}/words", headers)).json() or []
            body = b'["%b"]' % b'", "'.join(each.encode() for each in [*words, word])
            assert wire.ask(request_bytes("PUT", f"{KV}/words", headers, body)).status == 200

        def other_app() -> None:
            with Wire(port) as wire:
                append(wire, "other")

        one.double.faults.add(before=other_app, method="PUT", key="words")
        append(one.wire, "mine")
        assert one.double.mattermost["words"] == ["mine"]
        assert [exchange.request.json() for exchange in one.double.journal.filter("PUT")] == [["other"], ["mine"]]


def test_functions_that_send_requests_of_their_own_do_not_wait_for_one_another() -> None:
    """Twenty clients at once, each of whose requests sends another that a function is asked about too."""
    with opened("socket") as one:
        assert isinstance(one, SocketDoor)
        port, headers = one.port, one.double.mattermost.headers
        together = threading.Barrier(20)

        def ask(key: str) -> int:
            with Wire(port) as wire:
                return wire.ask(request_bytes("GET", f"{KV}/{key}", headers)).status

        def inner() -> None:
            together.wait(10)
            assert ask("inner") == 200

        one.double.faults.add(before=inner, key="outer", times=None)
        found: list[int] = []
        threads = [threading.Thread(target=lambda: found.append(ask("outer"))) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [200] * 20
        assert len(one.double.journal.filter(key="inner")) == 20


@pytest.mark.parametrize("name", ["when", "before"])
@pytest.mark.parametrize("door", THROUGH_A_SERVER)
def test_a_function_that_raises(door: str, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """It is a 500 that is in the journal, nothing is done, its traceback is on stderr, and the next request is served."""

    def broken(_: IncomingRequest) -> None:
        raise LookupError("the user's own mistake")

    function: dict[str, Any] = {name: broken}
    with opened(door) as one:
        with one.double.faults.add(status=418, **function):
            reply = kv(one, "PUT", body=b"1")
        words = "a function of a fault (when= or before=) raised an exception: its traceback is on stderr\n"
        assert (reply.status, reply.text) == (500, words)
        assert "LookupError: the user's own mistake" in capfd.readouterr().err
        assert (one.double.journal[-1].status, one.double.mattermost) == (500, {})
        assert statuses(one, 1) == [200]


def test_a_test_that_fails_inside_before(capfd: pytest.CaptureFixture[str]) -> None:
    """On the server's thread it is told on stderr, and the client is answered; on the test's own it fails the test."""

    def failing() -> None:
        pytest.fail("this must not be asked")

    with opened("socket") as one:
        one.double.faults.add(before=failing)
        assert statuses(one, 2) == [500, 200]
        assert "Failed: this must not be asked" in capfd.readouterr().err
    with opened("wsgi") as one:
        one.double.faults.add(before=failing)
        with pytest.raises(pytest.fail.Exception, match="this must not be asked"):
            statuses(one, 1)
        assert statuses(one, 1) == [200]


def test_a_function_may_change_the_faults() -> None:
    """What it removes while it is asked does not strike."""
    with opened("wsgi") as one:
        faults = one.double.faults

        def clear(_: IncomingRequest) -> bool:
            faults.clear()
            return True

        faults.add(status=503, when=clear)
        assert statuses(one, 2) == [200, 200]
        faults.add(status=503, times=None, before=faults.clear)
        assert statuses(one, 2) == [503, 200]


def test_a_server_stops_while_functions_run_and_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once: the one that runs is left to itself, the others are forgotten."""
    monkeypatch.setitem(MAX_WORKERS, Lane.OTHER, 1)
    begun, may_end = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        assert may_end.wait(10)

    with kvfake.start() as double:
        server = server_of(double)
        fault = double.faults.add(before=slow, times=None)
        wires = [Wire(server.port) for _ in range(3)]
        for wire in wires:
            wire.send(request_bytes("GET", f"{KV}/k", double.mattermost.headers))
        assert begun.wait(10)
        assert until(lambda: server._workers._lanes[Lane.OTHER].waiting.qsize() == 2)
    assert not may_end.is_set()
    worker = next(thread for thread in threading.enumerate() if thread.name.startswith(f"kvfake-{server.port}-job"))
    may_end.set()
    worker.join(10)
    assert not worker.is_alive()
    for wire in wires:
        wire.close()
    assert fault.hits == 1


def test_a_function_may_close_the_double() -> None:
    """The server ends, and the request with it."""
    with kvfake.start() as double:
        double.faults.add(before=double.close)
        with pytest.raises(requests.ConnectionError):
            requests.get(double.mattermost.url_for("k"), headers=double.mattermost.headers, timeout=10)


def test_a_journal_that_is_off_stays_off() -> None:
    """A fault strikes all the same."""
    with opened("wsgi", journal_exchanges=0) as one:
        one.double.faults.add(status=503)
        assert statuses(one, 2) == [503, 200]
        assert len(one.double.journal) == 0
