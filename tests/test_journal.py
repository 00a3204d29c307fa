"""The journal: what was asked of a world and what it answered, bounded, and without tokens."""

from __future__ import annotations

import base64
import gc
import json
import math
import os
import re
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import RLock
from typing import Any

import freezegun
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kvfake
from kvfake.double import world_of
from kvfake.machine import machine_seconds, machine_time
from kvfake.services.mattermost import KV
from kvfake.services.messages import JSON, Operation, RedactedHeaders, Request, Response
from kvfake.world import journal as journal_module
from kvfake.world.faults import SeverWord
from kvfake.world.journal import MAX_BYTES, Exchange, Journal, JournalTotal, Wait
from kvfake.world.matching import Matcher
from kvfake.world.redaction import CUT_HEADER
from tests.support.doors import DOORS, Door, opened

TOKEN = "a-secret-token-of-some-length"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def everything(exchange: Exchange) -> str:
    """All that an exchange can be made to say."""
    return repr([exchange, exchange.path, exchange.request, exchange.response, exchange.owner, exchange.key])


@pytest.mark.parametrize("door", DOORS)
def test_an_exchange_is_recorded_with_what_is_known_of_it(door: str) -> None:
    """Service, verb, method, path, key, owner, status, both messages, rows, duration."""
    with opened(door, token=["t=app/bot", "p=project:first"]) as one:
        one.send("PUT", f"{KV}/my-app/a%20b", {"Authorization": "Bearer t", "X-More": "y"}, b'{"a":1}')
        one.send("GET", "/persist/kv?begins=x", {"Authorization": "Bearer p"})
        put, listed = one.double.journal
        assert (put.service, put.verb, put.method, put.key, put.owner, put.status) == (
            "mattermost",
            "set",
            "PUT",
            "a b",
            "app/bot",
            200,
        )
        assert (put.request.json(), put.response.json(), put.rows) == ({"a": 1}, {"changed": True}, ("M15",))
        assert put.request.headers["x-more"] == "y"
        assert put.response.headers == {"content-type": "application/json"}
        assert put.duration >= 0
        assert put.path == f"{KV}/my-app/a%20b"
        assert (listed.service, listed.verb, listed.owner, listed.path) == ("persist", "list", "first", "/persist/kv?begins=x")
        assert repr(listed) == "<GET /persist/kv?begins=x by first: 200>"


@pytest.mark.parametrize("door", DOORS)
def test_refused_requests_are_recorded_too(door: str) -> None:
    """With as much as was known when it was; what nobody answers belongs to no service."""
    with opened(door) as one:
        one.send("GET", f"{KV}/k")
        one.send("PUT", "/persist/kv/k", {"Authorization": "Bearer x"}, b"nope")
        one.send("GET", "/api/v4/posts")
        assert [(e.service, e.verb, e.key, e.status) for e in one.double.journal] == [
            ("mattermost", None, None, 401),
            ("persist", None, None, 400),
            (None, None, None, 404),
        ]
        assert one.double.journal[0].owner is None
        assert str(one.double.journal[1].owner).startswith("anonymous-")
        assert [exchange.unmatched for exchange in one.double.journal] == [False, False, True]
        assert one.double.journal.unmatched == [one.double.journal[2]]


@pytest.mark.parametrize("door", DOORS)
def test_no_token_is_kept(door: str) -> None:
    """Wherever it was sent; a long one shows its beginning, so that two can be told apart."""
    with opened(door) as one:
        one.send("GET", f"{KV}/k", BEARER)
        one.send("GET", f"{KV}/k", {"Authorization": f"token {TOKEN}"})
        one.send("GET", f"{KV}/k", {"Authorization": TOKEN})
        one.send("GET", f"{KV}/k", {"Cookie": f"MMAUTHTOKEN={TOKEN}; a=b", "X-CSRF-Token": f"csrf-{TOKEN}"})
        one.send("GET", f"{KV}/k?x=1&access%5Ftoken={TOKEN}&%zz=1")
        one.send("GET", f"/elsewhere?access_token={TOKEN}")
        one.send("GET", "/persist/kv", {"Authorization": "Bearer short"})
        for exchange in one.double.journal:
            assert TOKEN not in everything(exchange)
            assert "short" not in everything(exchange)
        shown = [exchange.request.headers.get("authorization") for exchange in one.double.journal]
        assert shown == ["Bearer a-se...", "token a-se...", "...", None, None, None, "Bearer ..."]
        assert one.double.journal[4].path == f"{KV}/k?x=1&access%5Ftoken=...&%zz=1"


@pytest.mark.parametrize("door", DOORS)
def test_a_path_is_below_the_address_of_its_world(door: str) -> None:
    """So what is asked of a world at any address reads the same."""
    with opened(door, site_path="/mm") as one:
        world = one.double._backend.open({})
        one.send("GET", f"/mm{KV}/k?a=b", BEARER)
        one.send("GET", f"/mm/~{world.id}{KV}/k?a=b", BEARER)
        one.send("GET", f"/mm/~{world.id}/elsewhere", BEARER)
        assert [exchange.path for exchange in one.double.journal] == [f"{KV}/k?a=b"]
        assert [exchange.path for exchange in world.journal] == [f"{KV}/k?a=b", "/elsewhere"]


@pytest.mark.parametrize("sever", ["before", "after", "reset", "garbage"])
def test_an_exchange_without_a_response_has_no_status(sever: SeverWord) -> None:
    """Whether it was done or not: nothing was seen of it."""
    with opened("site") as one:
        one.double.faults.add(sever=sever)
        one.send("PUT", f"{KV}/k", BEARER, b"1")
        (lost,) = one.double.journal
        assert (lost.status, lost.response, lost.key) == (None, ({}, b""), "k")
        assert repr(lost).endswith(": no answer>")


# ------------------------------------------------------------------------------------------------------------------- sequence


def fill(door: Door, count: int, body: bytes = b"1") -> None:
    for number in range(count):
        door.send("PUT", f"{KV}/{number}", BEARER, body)


def keys_of(exchanges: Any) -> list[str]:
    return [exchange.key for exchange in exchanges]


def test_the_journal_is_a_sequence() -> None:
    """Oldest first; a slice is a list; clearing it leaves nothing, and what comes then is numbered on."""
    with opened("site") as one:
        fill(one, 5)
        journal = one.double.journal
        assert (len(journal), journal[0].key, journal[-1].key) == (5, "0", "4")
        assert keys_of(journal[1:3]) == ["1", "2"]
        assert keys_of(reversed(journal)) == ["4", "3", "2", "1", "0"]
        with pytest.raises(IndexError, match=r"^the journal has no exchange 5: it holds 5$"):
            journal[5]
        journal.clear()
        with pytest.raises(IndexError, match=r"^the journal has no exchange -1: it holds none$"):
            journal[-1]
        assert (list(journal), journal.dropped, journal.seen) == ([], 0, 5)
        fill(one, 1)
        assert [exchange.number for exchange in journal] == [6]


def test_a_test_asks_for_what_came_since() -> None:
    """A number is a place in all that there ever was."""
    with opened("site", journal_exchanges=3) as one:
        fill(one, 2)
        seen = one.double.journal.seen
        fill(one, 2)
        assert keys_of(one.double.journal.since(seen)) == ["0", "1"]
        assert keys_of(one.double.journal.since(0)) == ["1", "0", "1"]
        assert one.double.journal.since(one.double.journal.seen) == []


def test_exchanges_since_a_checkpoint_can_be_dropped() -> None:
    """As if it had not come; what was crowded out by it is dropped all the same."""
    with opened("site", journal_exchanges=3) as one:
        journal = one.double.journal
        fill(one, 2)
        mark = journal.mark()
        fill(one, 1)
        journal.rollback(mark)
        assert (keys_of(journal), journal.dropped) == (["0", "1"], 0)
        fill(one, 2)
        journal.rollback(mark)
        assert (keys_of(journal), journal.dropped) == (["1"], 1)
        fill(one, 9)
        journal.rollback(mark)
        assert (keys_of(journal), journal.dropped) == ([], 2)


# --------------------------------------------------------------------------------------------------------------------- bounds


def test_the_journal_is_bounded_in_number() -> None:
    """And says how many were dropped."""
    with opened("site", journal_exchanges=3) as one:
        fill(one, 5)
        journal = one.double.journal
        assert (keys_of(journal), journal.dropped, journal.seen) == (["2", "3", "4"], 2, 5)


def test_the_journal_can_be_switched_off() -> None:
    """With no exchange to keep nothing is recorded; but a listener hears all the same."""
    heard: list[Exchange] = []
    with opened("site", journal_exchanges=0) as one:
        fill(one, 2)
        assert (list(one.double.journal), one.double.journal.seen, one.double.journal.is_on) == ([], 0, False)
        one.double._backend.listen(lambda world, exchange: heard.append(exchange))
        fill(one, 2)
        one.send("GET", "/elsewhere")
        assert (list(one.double.journal), one.double.journal.dropped) == ([], 3)
        assert [exchange.path for exchange in heard] == [f"{KV}/0", f"{KV}/1", "/elsewhere"]


def test_the_journal_is_bounded_in_bytes() -> None:
    """Long bodies are cut, and all exchanges together have a bound: 16 MiB."""
    with opened("site") as one:
        one.double.persist["large"] = "x" * 262_144
        for _ in range(300):
            one.send("GET", "/persist/kv/large", one.double.persist.headers)
        journal = one.double.journal
        assert {len(exchange.response.body) for exchange in journal} == {65_536}
        assert MAX_BYTES - 70_000 < journal.bytes <= MAX_BYTES
        assert (len(journal), journal.dropped) == (251, 49)


def test_how_much_of_a_body_is_kept_is_a_setting() -> None:
    """Of requests and of answers; with 0 nothing of them."""
    with opened("site", journal_body_bytes=4) as one:
        one.send("PUT", f"{KV}/k", BEARER, b"1234567")
        assert (one.double.journal[0].request.body, one.double.journal[0].response.body) == (b"1234", b'{"ch')
    with opened("site", journal_body_bytes=0) as one:
        one.send("PUT", "/persist/kv/k", BEARER, b'{"value": "v"}')
        assert (one.double.journal[0].request.body, one.double.journal[0].response.body) == (b"", b"")
        assert one.double.journal[0].key == "k"


def test_one_exchange_that_is_larger_than_the_journal_is_cut_to_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the bound holds, and the exchanges before it may stay. What is missing of the headers is told."""
    monkeypatch.setattr(journal_module, "MAX_BYTES", 1 << 20)
    many = tuple((f"X-{number}", "v") for number in range(20_000))
    journal = Journal(10, 1 << 24, RLock())
    headers = {name.lower().encode(): value.encode() for name, value in many}
    large = Request("PUT", b"/", headers, b"q" * (1 << 24), path=b"/" + b"p" * (1 << 21), query=b"a=" + b"b" * (1 << 21))
    record(journal, b"1", b"2", ())
    journal.record("persist", None, "owner", large, Response(200, many, b"a" * (1 << 24)), 0.0)
    assert journal.bytes <= 1 << 20
    first, last = journal
    assert (first.request.body, last.request.body[:3], last.response.body[:3], last.path[:4]) == (b"1", b"qqq", b"aaa", "/ppp")
    kept = len(last.request.headers) - 1
    assert last.request.headers[CUT_HEADER] == f"{20_000 - kept} of 20000 headers are not kept"
    assert last.response.headers[CUT_HEADER].endswith(" of 20000 headers are not kept")


@pytest.mark.parametrize(
    ("requests", "headers", "value_bytes"), [(100, 1000, 800), (10, 20_000, 2)], ids=["0.8 MB of headers", "20,000 small ones"]
)
def test_requests_with_many_headers_stay_within_the_bound(requests: int, headers: int, value_bytes: int) -> None:
    """The memory that the process takes for the journal is less than the journal counts."""
    journal = Journal(1000, 65_536, RLock())
    with traced_memory() as taken:
        for _ in range(requests):
            sent = {b"x-%d" % number: b"v" * value_bytes for number in range(headers)}
            journal.record(None, None, None, Request("GET", b"/", sent), Response(404), 0.0)
        del sent
        assert taken() < journal.bytes <= MAX_BYTES
    assert len(journal) == requests


def test_bodies_and_paths_count() -> None:
    """The memory that the process takes for them is less than the journal counts."""
    journal = Journal(20_000, 65_536, RLock())
    shared = RedactedHeaders()
    shared.size = 0
    with traced_memory() as taken:
        for number in range(20_000):
            path = b"/persist/kv/" + b"k" * 20 + b"%d" % number
            request = Request("PUT", path, {}, b'{"value":"%d"}' % number, redacted_headers=shared, path=path)
            asked = Operation("set", "owner", ("s", "owner", b""), key=path[12:])
            journal.record("persist", asked, "owner", request, Response(200, JSON, b'{"key":"%d"}' % number), number / 3)
        del path, request, asked
        assert taken() < journal.bytes
    assert len(journal) == 20_000


def test_requests_of_one_connection_share_their_headers() -> None:
    """They count once, however many requests there are, and as long as one of them is kept."""
    journal = Journal(3, 100, RLock())
    first, other = RedactedHeaders({b"a": b"b"}), RedactedHeaders({b"c": b"d"})
    first.size, other.size = 1000, 500
    sizes = []
    for headers in (first, first, other, other, other, first):
        request = Request("GET", b"/", {}, redacted_headers=headers, path=b"/")
        journal.record(None, None, None, request, Response(404), 0.0)
        sizes.append(journal.bytes - sum(exchange.size for exchange in journal))
    assert sizes == [1000, 1000, 1500, 1500, 500, 1500]
    journal.rollback((5, 5))
    assert journal.bytes - sum(exchange.size for exchange in journal) == 500
    assert journal.clear() == 2
    assert journal.bytes == 0


def test_whoever_asks_for_many_small_exchanges_gets_them() -> None:
    """The bound in bytes is at least what so many exchanges take without their bodies."""
    journal = Journal(40_000, 0, RLock())
    for _ in range(40_000):
        journal.record("persist", None, None, Request("GET", b"/", {}), Response(200, JSON), 0.0)
    assert (len(journal), journal.dropped) == (40_000, 0)
    assert journal.bytes > MAX_BYTES


def test_keys_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are kept to be asked for, when the body that named them is cut: an ``mget`` may name thousands."""
    monkeypatch.setattr(journal_module, "MAX_BYTES", 12_000)
    with opened("site", journal_body_bytes=0, journal_exchanges=3) as one:
        for number in range(3):
            body = json.dumps({"keys": [f"{number}" * 3000, "x" * 3000]}).encode()
            one.send("POST", "/persist/mget", one.double.persist.headers, body)
        assert len(one.double.journal) == 1
        one.double.journal.assert_requested(key="2" * 3000)


def test_an_exchange_is_itself_whenever_it_is_read() -> None:
    """The journal makes it anew; it is equal to itself and to no other."""
    with opened("site") as one:
        one.send("GET", f"{KV}/k", BEARER)
        one.send("GET", f"{KV}/k", BEARER)
        first, second = one.double.journal
        assert first == one.double.journal[0] != second
        assert {first, one.double.journal[0], second} == {first, second}


def record(journal: Journal, request: bytes, response: bytes, keys: tuple[bytes, ...]) -> None:
    asked = Operation("mget", "owner", ("s", "owner", b""), keys=keys) if keys else None
    journal.record("persist", asked, "owner", Request("POST", b"/", {}, request, path=b"/"), Response(200, (), response), 0.0)


@contextmanager
def traced_memory() -> Iterator[Callable[[], int]]:
    """How many bytes of Python objects were added since it began."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]

        def taken() -> int:
            gc.collect()
            return tracemalloc.get_traced_memory()[0] - before

        yield taken
    finally:
        tracemalloc.stop()


SIZES = st.integers(0, 60)
STEPS = st.lists(
    st.tuples(st.just("add"), SIZES, SIZES, SIZES) | st.tuples(st.sampled_from(["mark", "forget", "clear"]), *[st.just(0)] * 3)
)


@given(steps=STEPS, max_exchanges=st.integers(0, 5), max_body_bytes=st.integers(0, 50))
def test_the_journal_keeps_its_bounds_under_any_calls(
    steps: list[tuple[str, int, int, int]], max_exchanges: int, max_body_bytes: int
) -> None:
    """It is the end of all that came, and none of it is counted twice or lost."""
    journal = Journal(0, max_body_bytes, RLock())
    journal._max_exchanges, journal._max_bytes = max_exchanges, 2000
    came: list[int] = []  # numbers of those that were neither cleared nor forgotten
    mark, kept_at_mark = journal.mark(), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_module, "MAX_BYTES", 2000)
        for step, request, response, keys in steps:
            if step == "add":
                record(journal, b"q" * request, b"a" * response, (b"k" * keys,))
                came.append(journal.seen)
            elif step == "mark":
                mark, kept_at_mark = journal.mark(), len(came)
            elif step == "forget":
                journal.rollback(mark)
                del came[kept_at_mark:]
            else:
                journal.clear()
                came.clear()
                mark, kept_at_mark = journal.mark(), 0
            assert [exchange.number for exchange in journal] == came[len(came) - len(journal) :]
            assert len(journal) + journal.dropped == len(came)
            assert len(journal) <= max_exchanges
            assert journal.bytes <= 2000
            assert journal.bytes or not len(journal)
            assert all(len(body) <= max_body_bytes for each in journal for body in (each.request.body, each.response.body))


# --------------------------------------------------------------------------------------------------- all journals of a server


def filled(total: JournalTotal, count: int, bytes_each: int, lock: RLock | None = None) -> Journal:
    journal = Journal(1_000_000, 1 << 20, lock or RLock())
    total.add(journal)
    for _ in range(count):
        record(journal, b"q" * bytes_each, b"", ())
    return journal


def test_the_journals_of_a_server_have_a_bound_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over it the largest give up their oldest exchanges; a small one keeps what it has."""
    monkeypatch.setattr(journal_module, "MAX_TOTAL_BYTES", 1_000_000)
    total = JournalTotal()
    small, large = filled(total, 1, 5000), filled(total, 80, 10_000)
    grown = filled(total, 40, 10_000)
    assert small.bytes + large.bytes + grown.bytes <= 1_000_000 + 4096 * 3
    assert (len(small), small.dropped) == (1, 0)
    assert large.dropped > 0
    assert grown[-1].number == 40


@pytest.mark.parametrize("count", [60, 92], ids=["half of all", "nearly all"])
def test_a_world_that_is_busy_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Then the journal that grows gives up its own."""
    monkeypatch.setattr(journal_module, "MAX_TOTAL_BYTES", 1_000_000)
    total, lock, is_busy, done = JournalTotal(), RLock(), threading.Event(), threading.Event()
    large = filled(total, count, 10_000, lock)

    def hold() -> None:
        with lock:
            is_busy.set()
            assert done.wait(30)

    busy = threading.Thread(target=hold)
    busy.start()
    assert is_busy.wait(30)
    grown = filled(total, 60, 10_000)
    done.set()
    busy.join()
    assert (len(large), large.dropped) == (count, 0)
    assert grown.dropped > 0
    assert large.bytes + grown.bytes <= 1_000_000 + 4096 * 2


def test_what_was_cleared_or_has_ended_counts_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """So others need not give up theirs."""
    monkeypatch.setattr(journal_module, "MAX_TOTAL_BYTES", 1_000_000)
    with opened("wsgi") as one:
        backend = one.double._backend
        ended, cleared, last = (backend.open({}) for _ in range(3))
        for world in (ended, cleared, last):
            for _ in range(60):
                record(world.journal, b"q" * 10_000, b"", ())
            if world is ended:
                backend.end(world)
                backend.end(world)
            if world is cleared:
                world.reset()
        record(ended.journal, b"q" * 10_000, b"", ())
        assert [(len(world.journal), world.journal.dropped) for world in (ended, cleared, last)] == [(61, 0), (0, 0), (60, 0)]


def test_an_exchange_that_is_recorded_while_its_world_ends_counts_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever records it settles with a total that knows the journal no more."""
    monkeypatch.setattr(journal_module, "MAX_TOTAL_BYTES", 1_000_000)
    total = JournalTotal()
    ended = filled(total, 60, 10_000)
    total.remove(ended)
    total.settle(ended)
    last = filled(total, 60, 10_000)
    assert (len(ended), len(last), last.dropped) == (60, 60, 0)


# ------------------------------------------------------------------------------------------------------------- one moment


@pytest.mark.parametrize(
    "question",
    [
        lambda journal: (len(journal), journal.dropped),
        lambda journal: (journal.dropped, len(journal))[::-1],
        lambda journal: (len(list(journal)), journal.dropped),
        lambda journal: (len(journal[:]), journal.dropped),
        lambda journal: (len(journal.filter()), journal.dropped),
        lambda journal: (len(journal.since(0)), journal.dropped),
        lambda journal: (len(journal.unmatched), journal.dropped),
        lambda journal: (journal[0].number, journal.dropped),
        lambda journal: (len(journal.snapshot().exchanges), journal.snapshot().dropped),
        lambda journal: (journal.clear(), 1),
    ],
)
def test_a_question_is_answered_from_one_moment(question: Callable[[Journal], tuple[int, int]]) -> None:
    """While an exchange is being recorded, whoever asks waits, and then sees all of it. The journal keeps two here; inside of
    `record`, before the oldest is dropped, there are three.
    """
    lock, answers, asking = RLock(), [], threading.Event()
    journal = Journal(2, 100, lock)

    def ask() -> None:
        asking.set()
        answers.append(question(journal))

    def listener(exchange: Exchange) -> None:
        if exchange.number == 3:
            other.start()
            assert asking.wait(30)
            other.join(0.1)  # without a lock it would have answered by now

    other = threading.Thread(target=ask)
    journal.listen(listener)
    for _ in range(3):
        with lock:
            journal.record(None, None, None, Request("GET", b"/", {}), Response(404), 0.0)
    other.join(30)
    assert answers == [(2, 1)]


def test_a_snapshot_stays_as_it_is() -> None:
    """What comes later is in the next one."""
    journal = Journal(1, 100, RLock())
    record(journal, b"", b"", ())
    exchanges, dropped, seen, are_all = journal.snapshot()
    record(journal, b"", b"", ())
    assert ([exchange.number for exchange in exchanges], dropped, seen, are_all) == ([1], 0, 1, True)
    assert journal.snapshot()[1:] == (1, 2, False)


def test_listeners_hear_in_their_order_and_each_of_its_own_exchanges() -> None:
    """One that wants only answers that were kinder than the service hears of no other, whoever else listens."""
    heard: list[tuple[str, tuple[str, ...]]] = []
    with opened("site") as one:
        one.double._backend.listen(lambda world, exchange: heard.append(("kinder", exchange.rows)), only_kinder=True)
        one.double._backend.listen(lambda world, exchange: heard.append(("every", exchange.rows)))
        one.send("GET", f"{KV}/k", one.double.mattermost.headers)
        one.send("GET", f"{KV}/k", {"Authorization": "Bearer unknown"})
    assert heard == [("every", ()), ("kinder", ("M11",)), ("every", ("M11",))]


def test_a_listener_that_fails_does_not_hurt_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """Its traceback is on stderr; the exchange is kept, and the next one is heard."""
    heard: list[int] = []

    def listener(world: object, exchange: Exchange) -> None:
        heard.append(exchange.number)
        raise OSError("disk full")

    with opened("wsgi") as one:
        one.double._backend.listen(listener)
        assert one.send("GET", f"{KV}/k", BEARER).status == 200
        assert one.send("GET", f"{KV}/k", BEARER).status == 200
        assert (heard, len(one.double.journal)) == ([1, 2], 2)
    assert "OSError: disk full" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------------------ questions


def asked_of(one: Door) -> kvfake.Double:
    """A double that was asked a little of everything."""
    persist = one.double.persist.headers
    one.send("PUT", f"{KV}/name?x=1", one.double.mattermost.headers, b'"Ada"')
    one.send("GET", f"{KV}/name", one.double.mattermost.headers)
    one.send("PUT", "/persist/kv/convo", persist, b'{"value":"1"}')
    one.send("POST", "/persist/mget", persist, b'{"keys":["convo","other"]}')
    one.send("GET", "/persist/kv?begins=co", persist)
    one.send("GET", "/api/v4/posts")
    return one.double


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"service": "mattermost"}, [1, 2]),
        ({"verb": "set"}, [1, 3]),
        ({"method": "PUT"}, [1, 3]),
        ({"method": "put"}, [1, 3]),
        ({"method": re.compile("P(U|OS)T")}, [1, 3, 4]),
        ({"owner": "project"}, [3, 4, 5]),
        ({"status": 404}, [6]),
        ({"service": "persist", "method": "GET"}, [5]),
        ({"path": f"{KV}/name"}, [1, 2]),
        ({"path": f"{KV}/name?x=1"}, [1]),
        ({"path": re.compile("/name$")}, [1, 2]),
        ({"path": re.compile("x=1")}, [1]),
        ({"path": "/name"}, []),
        ({"key": "name"}, [1, 2]),
        ({"key": "convo"}, [3, 4]),
        ({"key": "other"}, [4]),
        ({"key": re.compile("^o")}, [4]),
        ({"key": "co"}, [5]),
        ({"key": re.compile("")}, [1, 2, 3, 4, 5]),
        ({"key": None, "status": None}, [1, 2, 3, 4, 5, 6]),
    ],
)
def test_exchanges_are_selected_by_their_fields(wanted: dict[str, Any], numbers: list[int]) -> None:
    """An exact value, or a pattern of which a part is found; a path with or without its query, each key of an ``mget``."""
    with opened("site") as one:
        journal = asked_of(one).journal
        assert [exchange.number for exchange in journal.filter(**wanted)] == numbers


def test_a_method_is_compared_without_regard_to_case() -> None:
    """Also one that a client wrote small."""
    with opened("site") as one:
        one.send("get", "/persist/kv", one.double.persist.headers)
        one.double.journal.assert_requested("GET", status=405, times=1)
        one.double.journal.assert_requested("gEt", status=405, times=1)
        one.double.journal.assert_requested(re.compile("get"), times=1)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"status": "200"}, "status: expected a number such as 200, got '200'"),
        ({"status": True}, "status: expected a number such as 200, got True"),
        ({"key": 5}, "key: expected a text or a compiled pattern of text, got 5"),
        ({"owner": re.compile(b"x")}, "owner: expected a text or a compiled pattern of text, got re.compile(b'x')"),
    ],
)
def test_a_value_that_no_field_can_have_is_refused(wanted: dict[str, Any], words: str) -> None:
    """Or a question would be answered with nothing, for ever."""
    with pytest.raises(ValueError, match=re.escape(words)):
        kvfake.Double().journal.filter(**wanted)


def test_a_name_that_is_no_field_is_refused() -> None:
    """By Python itself, and by a type checker before."""
    journal = kvfake.Double().journal
    for ask in (journal.filter, journal.assert_requested, journal.assert_not_requested, journal.wait_for):
        with pytest.raises(TypeError, match="unexpected keyword argument 'kye'"):
            ask(kye="a")  # type: ignore[call-arg]


def test_requests_can_be_asserted() -> None:
    """That it was, how often, or that it was not."""
    with opened("site") as one:
        journal = asked_of(one).journal
        journal.assert_requested("PUT")
        journal.assert_requested("PUT", times=2)
        journal.assert_requested("PUT", key="name", times=1)
        journal.assert_requested("DELETE", times=0)
        journal.assert_not_requested("DELETE")
        journal.assert_not_requested("PUT", key="nobody")
        journal.assert_requested()


def words_of(assertion: Callable[..., object], *wanted: Any, **more: Any) -> list[str]:
    with pytest.raises(AssertionError) as failed:
        assertion(*wanted, **more)
    return str(failed.value).splitlines()


def test_a_failure_shows_the_nearest_misses() -> None:
    """Those that differ in the fewest fields come first, and each says in which."""
    with opened("site") as one:
        journal = asked_of(one).journal
        assert words_of(journal.assert_requested, "PUT", key="nmae", service="mattermost") == [
            "expected at least one request with method='PUT', key='nmae', service='mattermost'; there were 0 of 6 exchanges",
            "the nearest misses:",
            f"  <PUT {KV}/name?x=1 by app/bot: 200>: key is 'name', not 'nmae'",
            f"  <GET {KV}/name by app/bot: 200>: method is 'GET', not 'PUT'; key is 'name', not 'nmae'",
            "  <PUT /persist/kv/convo by project: 200>: key is 'convo', not 'nmae'; service is 'persist', not 'mattermost'",
            "  <POST /persist/mget by project: 200>: method is 'POST', not 'PUT'; key is 'convo', 'other', not 'nmae'; "
            "service is 'persist', not 'mattermost'",
            "  <GET /persist/kv?begins=co by project: 200>: method is 'GET', not 'PUT'; key is 'co', not 'nmae'; "
            "service is 'persist', not 'mattermost'",
        ]


def test_the_nearest_is_not_the_first() -> None:
    """Where several differ in as many fields the older comes first."""
    with opened("site") as one:
        lines = words_of(asked_of(one).journal.assert_requested, "GET", key="convo", service="persist")
        assert [line.partition(" by ")[0].strip() for line in lines[2:]] == [
            "<PUT /persist/kv/convo",
            "<POST /persist/mget",
            "<GET /persist/kv?begins=co",
            f"<GET {KV}/name",
            "<GET /api/v4/posts",
        ]


def test_a_failure_says_what_a_pattern_was() -> None:
    """And what was there instead, also nothing."""
    with opened("site") as one:
        one.send("GET", "/api/v4/posts")
        assert words_of(one.double.journal.assert_requested, key=re.compile("^a"), status=200) == [
            "expected at least one request with key=re.compile('^a'), status=200; there were 0 of 1 exchanges",
            "the nearest misses:",
            "  <GET /api/v4/posts by None: 404>: key is None, not re.compile('^a'); status is 404, not 200",
        ]


def test_a_failure_does_not_show_every_key_of_a_long_mget() -> None:
    """Five are enough to recognize it."""
    with opened("site") as one:
        keys = [str(number) for number in range(9)]
        one.send("POST", "/persist/mget", one.double.persist.headers, json.dumps({"keys": keys}).encode())
        *_, miss = words_of(one.double.journal.assert_requested, key="x")
        assert miss.endswith(": key is '0', '1', '2', '3', '4' and 4 more, not 'x'")


def test_a_failure_in_number_shows_those_that_were_there() -> None:
    """With too few the nearest misses too; with too many these alone."""
    with opened("site") as one:
        journal = asked_of(one).journal
        first = f"  <PUT {KV}/name?x=1 by app/bot: 200>"
        too_few = words_of(journal.assert_requested, "PUT", key="name", times=2)
        assert too_few[:3] == [
            "expected 2 requests with method='PUT', key='name'; there were 1 of 6 exchanges",
            first,
            "the nearest misses:",
        ]
        assert words_of(journal.assert_requested, "PUT", times=1) == [
            "expected 1 request with method='PUT'; there were 2 of 6 exchanges",
            first,
            "  <PUT /persist/kv/convo by project: 200>",
        ]
        assert words_of(journal.assert_not_requested, "PUT", key="name") == [
            "expected no request with method='PUT', key='name'; there were 1 of 6 exchanges",
            first,
        ]


def test_an_assertion_without_conditions_that_fails() -> None:
    """Where nothing was said of the request there is nothing to differ in."""
    with opened("site") as one:
        assert words_of(one.double.journal.assert_requested) == [
            "expected at least one request with anything; there were 0 of 0 exchanges"
        ]
        fill(one, 7)
        assert (
            words_of(one.double.journal.assert_not_requested)[0] == "expected no request with anything; there were 7 of 7 exchanges"
        )
        assert len(words_of(one.double.journal.assert_not_requested)) == 1 + 5
        assert words_of(one.double.journal.assert_requested, times=8) == [
            "expected 8 requests with anything; there were 7 of 7 exchanges",
            *[f"  <PUT {KV}/{number} by {one.double.journal[0].owner}: 200>" for number in range(5)],
        ]


# -------------------------------------------------------------------------------------------------------------------- waiting


def wait_in_a_thread(journal: Journal, **wanted: Any) -> Callable[[], list[Exchange]]:
    """Begin to wait; returns when the thread waits, with a function that waits for its result."""
    found: list[list[Exchange]] = []
    thread = threading.Thread(target=lambda: found.append(journal.wait_for("PUT", timeout=20, **wanted)))
    thread.start()
    while not journal._waiting:
        time.sleep(0.001)

    def result() -> list[Exchange]:
        thread.join(20)
        return found[0]

    return result


@pytest.mark.parametrize("door", DOORS)
def test_a_test_waits_for_what_is_done_in_the_background(door: str) -> None:
    """As soon as it is there; other requests do not end the wait. All that match come back, in their order."""
    with opened(door) as one:
        result = wait_in_a_thread(one.double.journal, key="k", times=2)
        one.send("GET", f"{KV}/k", BEARER)
        one.send("PUT", f"{KV}/another", BEARER, b"1")
        one.send("PUT", f"{KV}/k", BEARER, b"1")
        one.send("PUT", f"{KV}/k", BEARER, b"2")
        assert [exchange.number for exchange in result()] == [3, 4]
        assert not one.double.journal._waiting


def test_what_is_there_already_is_not_waited_for() -> None:
    """More than were wanted may come back; ``timeout=0`` looks once."""
    with opened("site") as one:
        journal = asked_of(one).journal
        assert keys_of(journal.wait_for("PUT", timeout=0)) == ["name", "convo"]
        assert journal.wait_for("GET", service="mattermost", path=f"{KV}/name", owner="app/bot", status=200, verb="get")


def test_a_wait_in_vain_is_a_failure_with_the_nearest_misses() -> None:
    """After the time, which is said, and not before; freezegun does not hold it."""
    with opened("site") as one, freezegun.freeze_time("2020-01-01"):
        journal = asked_of(one).journal
        began = machine_seconds()
        assert words_of(journal.wait_for, "PUT", key="name", times=2, timeout=0.05)[:3] == [
            "expected at least 2 requests with method='PUT', key='name' within 0.05 s; there were 1 of 6 exchanges",
            f"  <PUT {KV}/name?x=1 by app/bot: 200>",
            "the nearest misses:",
        ]
        assert machine_seconds() - began >= 0.05


def test_a_wait_goes_on_where_it_stopped() -> None:
    """At a later look, what was dropped for newer exchanges counts no more."""
    with opened("site", journal_exchanges=2) as one:
        journal, wait = one.double.journal, Wait(Matcher(method="PUT"), 2)
        for methods, found in (("PUT", ["k"]), ("GET GET", []), ("PUT PUT", ["k", "k"])):
            for method in methods.split():
                one.send(method, f"{KV}/k", BEARER, b"1" if method == "PUT" else b"")
            assert journal.wait_for_matches(wait, 0) == (len(found) == 2)
            assert keys_of(journal.found_by(wait)) == found


def test_a_wait_compares_all_that_is_there() -> None:
    """In several turns, where there is much."""
    with opened("site") as one:
        for _ in range(150):
            one.send("PUT", f"{KV}/k", BEARER, b"1")
        assert len(one.double.journal.wait_for("PUT", times=150, timeout=0)) == 150


def test_what_was_cleared_or_dropped_meanwhile_counts_no_more() -> None:
    """So many must be there at the end."""
    with opened("site", journal_exchanges=2) as one:
        journal = one.double.journal
        result = wait_in_a_thread(journal, times=2)
        one.send("PUT", f"{KV}/cleared", BEARER, b"1")
        while journal[-1] not in (journal.wait_for("PUT")):
            pass
        time.sleep(0.05)
        journal.clear()
        one.send("PUT", f"{KV}/dropped", BEARER, b"1")
        one.send("GET", f"{KV}/k", BEARER)
        one.send("GET", f"{KV}/k", BEARER)
        one.send("PUT", f"{KV}/a", BEARER, b"1")
        one.send("PUT", f"{KV}/b", BEARER, b"1")
        assert keys_of(result()) == ["a", "b"]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"timeout": -1}, "timeout: expected a number from 0 to 300, got -1"),
        ({"timeout": math.nan}, "timeout: expected a number from 0 to 300, got nan"),
        ({"timeout": None}, "timeout: expected a number from 0 to 300, got None"),
        ({"times": 0}, "times: expected a whole number from 1 to 2, got 0"),
        ({"times": 3}, "times: expected a whole number from 1 to 2, got 3"),
    ],
)
def test_a_wait_that_is_not_possible_is_refused(wanted: dict[str, Any], words: str) -> None:
    """At once. A journal that keeps two exchanges never has three, and one that keeps none never has one."""
    with pytest.raises(ValueError, match=re.escape(words)):
        kvfake.Double(journal_exchanges=2).journal.wait_for(**wanted)
    with pytest.raises(ValueError, match="journal_exchanges=0 keeps no exchange"):
        kvfake.Double(journal_exchanges=0).journal.wait_for("PUT")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_beside_a_wait_does_not_hang() -> None:
    """In the child exchanges are recorded, and can be waited for, too."""
    with opened("site") as one:
        journal = one.double.journal
        result = wait_in_a_thread(journal, key="k")
        child = os.fork()
        if not child:
            one.send("PUT", f"{KV}/k", BEARER, b"1")
            os._exit(len(journal.wait_for("PUT", key="k")))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
        one.send("PUT", f"{KV}/k", BEARER, b"1")
        assert len(result()) == 1


def test_assertions_do_not_trust_a_journal_that_dropped_exchanges() -> None:
    """Then nobody can say that a request did not come, or how often; that one came can be said."""
    with opened("site", journal_exchanges=2) as one:
        fill(one, 3)
        one.double.journal.assert_requested(key="2")
        assert words_of(one.double.journal.assert_not_requested, key="0")[0] == (
            "expected no request with key='0'; there were 0 of 2 exchanges (1 older ones were dropped)"
        )
        assert words_of(one.double.journal.assert_requested, key="2", times=1)[0] == (
            "expected 1 request with key='2'; there were 1 of 2 exchanges (1 older ones were dropped)"
        )
        one.double.journal.clear()
        one.double.journal.assert_not_requested(key="0")
    with opened("site", journal_exchanges=0) as one:
        fill(one, 1)
        assert words_of(one.double.journal.assert_not_requested, key="x") == [
            "expected no request with key='x'; there were 0 of 0 exchanges (journal_exchanges=0 keeps none)"
        ]


# ------------------------------------------------------------------------------------------------------------------- as JSON


@pytest.mark.parametrize("door", DOORS)
def test_an_exchange_as_json(door: str) -> None:
    """Every field, in the order in which one reads it."""
    with opened(door, token=["t=app/bot"]) as one:
        one.double.faults.add(status=503, method="PUT", body={"error": "busy"})
        one.send("PUT", f"{KV}/a%20b?x=1", {"Authorization": "Bearer t", "X-More": "y"}, b'{"a":1}')
        shown = one.double.journal[0].to_dict()
        assert isinstance(shown.pop("duration"), float)
        came = datetime.fromisoformat(shown.pop("time").replace("Z", "+00:00"))
        assert abs(came - one.double.journal[0].time) < timedelta(seconds=0.01)
        assert abs(came.timestamp() - machine_time()) < 60
        assert shown.pop("request")["headers"].items() >= {"authorization": "Bearer ...", "x-more": "y"}.items()
        assert shown == {
            "number": 1,
            "service": "mattermost",
            "verb": "set",
            "method": "PUT",
            "path": f"{KV}/a%20b?x=1",
            "key": "a b",
            "owner": "app/bot",
            "status": 503,
            "response": {
                "headers": {"x-content-type-options": "nosniff", "content-type": "application/json"},
                "body": '{"error": "busy"}',
            },
            "fault": "on PUT: answer 503, body {'error': 'busy'}, once",
            "rows": [],
        }
        assert list(one.double.journal[0].to_dict()) == [
            *["number", "time", "service", "verb", "method", "path", "key", "owner", "status", "request", "response", "fault"],
            *["rows", "duration"],
        ]


def test_unknown_fields_are_null_in_json() -> None:
    """Of a request that nobody answers."""
    with opened("site") as one:
        one.send("GET", "/elsewhere")
        shown = json.loads(json.dumps(one.double.journal[0].to_dict()))
        assert [name for name, value in shown.items() if value is None] == ["service", "verb", "key", "owner", "fault"]
        assert shown["request"]["body"] == ""


def test_json_is_of_whole_characters() -> None:
    """A body that is no text is in base64; a byte of a key or a path that is none is escaped."""
    with opened("site") as one:
        one.double.faults.add(status=500, key="\udcff", body=b"\xff")
        one.send("PUT", f"{KV}/%FF", one.double.mattermost.headers, b'"\xff"')
        shown = one.double.journal[0].to_dict()
        assert (shown["key"], shown["path"], shown["fault"]) == (
            "\\udcff",
            f"{KV}/%FF",
            "on any request, key='\\udcff': answer 500, body b'\\xff', once",
        )
        assert base64.b64decode(shown["request"]["body_base64"]) == b'"\xff"'
        assert base64.b64decode(shown["response"]["body_base64"]) == b"\xff"
        assert "body" not in shown["request"]
        assert json.dumps(shown, ensure_ascii=False).encode()


def test_json_hides_the_tokens_that_the_world_knows() -> None:
    """Wherever an app, or a neighbour, has put them: into a body of any kind, a path, a header."""
    with opened("site") as one:
        token = one.double.mattermost.token
        one.double.respond("POST", "/login", body="in", headers={"Token": token})
        one.send("POST", "/login", {"X-Mine": token}, json.dumps(one.double.mattermost.context()).encode())
        one.send("PUT", f"{KV}/{token}", one.double.mattermost.headers, b'"\xff' + token.encode() + b'"')
        shown = [exchange.to_dict() for exchange in one.double.journal]
        assert token not in json.dumps(shown)
        assert base64.b64decode(shown[1]["request"]["body_base64"]) == b'"\xff' + token[:4].encode() + b'..."'
        assert (shown[0]["request"]["headers"]["x-mine"], shown[0]["response"]["headers"]["token"]) == (token[:4] + "...", "...")
        assert (shown[1]["key"], shown[1]["path"]) == (token[:4] + "...", f"{KV}/{token[:4]}...")


# ---------------------------------------------------------------------------------------------------------- what is not in it


def test_mappings_and_control_are_not_recorded() -> None:
    """Only what an app asks of a service, or of nobody."""
    with opened("wsgi") as one:
        one.double.mattermost["k"] = 1
        one.send("GET", "/_kvfake/health")
        assert len(one.double.journal) == 0


def test_worlds_have_journals_of_their_own() -> None:
    """And a reset clears one of them."""
    with opened("wsgi") as one:
        world = one.double._backend.open({})
        one.send("GET", world.url.removeprefix(one.double.url) + f"{KV}/k", BEARER)
        one.send("GET", world.url.removeprefix(one.double.url) + "/elsewhere", BEARER)
        assert (len(world.journal), len(one.double.journal)) == (2, 0)
        one.double.reset()
        assert len(world.journal) == 2
        world.reset()
        assert len(world.journal) == 0


def test_a_report_shows_the_values() -> None:
    """By service, owner and prefix."""
    double = kvfake.Double()
    double.mattermost["b"] = double.mattermost["a"] = 1
    double.mattermost.with_prefix("my-app")["k"] = 1
    double.persist["x"] = "v"
    assert world_of(double).holdings() == [
        ("mattermost", "app/bot", ["a", "b"]),
        ("mattermost", "app/bot below 'my-app'", ["k"]),
        ("persist", "project", ["x"]),
    ]
