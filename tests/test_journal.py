"""The journal: what was asked of a world and what it answered, bounded, and without tokens."""

from __future__ import annotations

import pytest

import kvfake
from kvfake.world import journal as journal_module
from kvfake.world.exchange import Exchange
from tests.rows.app import KV
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
def test_what_was_refused_is_recorded_too(door: str) -> None:
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


def fill(door: Door, count: int, body: bytes = b"1") -> None:
    for number in range(count):
        door.send("PUT", f"{KV}/{number}", BEARER, body)


def test_it_is_a_sequence() -> None:
    """Oldest first; a slice is a list; clearing it leaves nothing."""
    with opened("site") as one:
        fill(one, 5)
        journal = one.double.journal
        assert (len(journal), journal[0].key, journal[-1].key) == (5, "0", "4")
        assert [exchange.key for exchange in journal[1:3]] == ["1", "2"]
        assert [exchange.key for exchange in reversed(journal)] == ["4", "3", "2", "1", "0"]
        journal.clear()
        assert (list(journal), journal.dropped) == ([], 0)


def test_it_is_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """And says how many were dropped."""
    monkeypatch.setattr(journal_module, "MAX_EXCHANGES", 3)
    with opened("site") as one:
        fill(one, 5)
        assert ([exchange.key for exchange in one.double.journal], one.double.journal.dropped) == (["2", "3", "4"], 2)


def test_it_is_bounded_in_bytes() -> None:
    """Long bodies are cut, and all bodies together have a bound."""
    with opened("site") as one:
        one.double.persist["large"] = "x" * 262_144
        for _ in range(300):
            one.send("GET", "/persist/kv/large", one.double.persist.headers)
        journal = one.double.journal
        assert {len(exchange.response.body) for exchange in journal} == {65_536}
        assert (len(journal), journal.dropped) == (256, 44)


def test_mappings_and_control_are_not_recorded() -> None:
    """Only what an app asks of a service, or of nobody."""
    with opened("wsgi") as one:
        one.double.mattermost["k"] = 1
        one.send("GET", "/_kvfake/health")
        assert len(one.double.journal) == 0


def test_worlds_have_journals_of_their_own() -> None:
    """And a reset clears one of them."""
    with opened("wsgi") as one:
        world = one.double._fake.open({})
        one.send("GET", world.url.removeprefix(one.double.url) + f"{KV}/k", BEARER)
        one.send("GET", world.url.removeprefix(one.double.url) + "/elsewhere", BEARER)
        assert (len(world.journal), len(one.double.journal)) == (2, 0)
        one.double.reset()
        assert len(world.journal) == 2
        world.reset()
        assert len(world.journal) == 0


def test_what_the_stores_hold() -> None:
    """By service, owner and prefix."""
    double = kvfake.Double()
    double.mattermost["b"] = double.mattermost["a"] = 1
    double.mattermost.with_prefix("my-app")["k"] = 1
    double.persist["x"] = "v"
    assert double.holdings() == [
        ("mattermost", "app/bot", ["a", "b"]),
        ("mattermost", "app/bot below 'my-app'", ["k"]),
        ("persist", "project", ["x"]),
    ]
