"""Faults by the world's clock and by the past: a window, a quota, answers that are behind; and whose requests they strike."""

from __future__ import annotations

import re
import threading
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import requests

import kvfake
from kvfake import stores
from kvfake.services.mattermost import KV
from kvfake.stores import Entry, PreviousEntries
from kvfake.world.clock import Moment
from tests.support.doors import DOORS, Door, WsgiDoor, opened
from tests.test_faults import kv, persist, statuses

NOON = "2026-01-01T12:00:00Z"


def frozen(double: kvfake.Double, moment: Moment = NOON) -> None:
    double.clock.freeze()
    double.clock.move_to(moment)


# ------------------------------------------------------------------------------------------------------------------- a window


@pytest.mark.parametrize("door", DOORS)
def test_a_fault_of_an_afternoon(door: str) -> None:
    """From its start on, and no longer at its end, to the microsecond."""
    with opened(door) as one:
        frozen(one.double)
        end = datetime(2026, 1, 1, 18, tzinfo=timezone.utc)
        one.double.faults.add(status=503, times=None, start="2026-01-01T13:00:00Z", end=end)
        struck = {}
        for moment in ("12:00:00Z", "12:59:59.999999Z", "13:00:00Z", "17:59:59.999999Z", "18:00:00Z"):
            one.double.clock.move_to(f"2026-01-01T{moment}")
            struck[moment] = statuses(one, 1)
        assert struck == {
            "12:00:00Z": [200],
            "12:59:59.999999Z": [200],
            "13:00:00Z": [503],
            "17:59:59.999999Z": [503],
            "18:00:00Z": [200],
        }


def test_requests_outside_the_window_are_not_counted() -> None:
    """So the second request of the window is the second that counts."""
    with opened("site") as one:
        frozen(one.double)
        fault = one.double.faults.on("GET").between(start="2026-01-01T13:00").nth(2).answer(503)
        assert statuses(one, 3) == [200] * 3
        one.double.clock.shift(timedelta(hours=1))
        assert statuses(one, 3) == [200, 503, 200]
        assert fault.hits == 1


@pytest.mark.parametrize(
    ("start", "end", "now", "struck"),
    [
        (datetime(2026, 1, 1, 12), None, NOON, True),  # noqa: DTZ001  # without a zone it is UTC, as for the clock
        ("2026-01-01", None, NOON, True),
        (1_767_268_800, None, NOON, True),
        (1_767_268_800.5, None, NOON, False),
        (None, "2026-01-01T13:00+01:00", NOON, False),
        (None, "2026-01-01T14:00+01:00", NOON, True),
        (None, 0, "1969-12-31T23:59:59Z", True),
    ],
    ids=str,
)
def test_a_moment_is_written_as_for_the_clock(start: Moment | None, end: Moment | None, now: str, struck: bool) -> None:
    """A datetime, ISO 8601, or seconds since 1970; start and end may each be left out."""
    with opened("site") as one:
        frozen(one.double, now)
        one.double.faults.add(status=503, start=start, end=end)
        assert statuses(one, 1) == [503 if struck else 200]


def test_a_window_over_http() -> None:
    """The clock and the fault are both set from outside."""
    with kvfake.start() as double:
        control = double.url + "/_kvfake"
        assert requests.post(control + "/clock", json={"freeze": True, "move_to": NOON}, timeout=10).ok
        sentence = {"on": "GET", "answer": 503, "start": "2026-01-01T13:00:00Z", "end": "2026-01-01T14:00:00Z"}
        assert requests.post(control + "/faults", json=sentence, timeout=10).json().items() >= {
            ("start", "2026-01-01T13:00:00Z"),
            ("end", "2026-01-01T14:00:00Z"),
        }

        def status() -> int:
            return requests.get(double.mattermost.url_for("k"), headers=double.mattermost.headers, timeout=10).status_code

        assert status() == 200
        requests.post(control + "/clock", json={"shift": 3600}, timeout=10)
        assert [status(), status()] == [503, 503]


# -------------------------------------------------------------------------------------------------------------------- a quota


def asked(door: Door, count: int) -> list[tuple[int, str | None]]:
    replies = [kv(door, "PUT", body=b"1") for _ in range(count)]
    return [(reply.status, reply.headers.get("Retry-After")) for reply in replies]


@pytest.mark.parametrize("door", DOORS)
def test_a_quota_answers_429_until_there_is_room(door: str) -> None:
    """In any window of so many seconds so many pass; ``Retry-After`` says when the next one does."""
    with opened(door) as one:
        frozen(one.double)
        fault = one.double.faults.add(limit=2, per=60, method="PUT")
        assert asked(one, 1) == [(200, None)]
        one.double.clock.shift(10)
        assert asked(one, 3) == [(200, None), (429, "50"), (429, "50")]
        one.double.clock.shift(49.5)
        assert asked(one, 1) == [(429, "1")]
        assert statuses(one, 3) == [200] * 3  # other requests have no quota
        one.double.clock.shift(0.5)
        assert asked(one, 2) == [(200, None), (429, "10")]
        assert fault.hits == 4
        fault.remove()
        assert asked(one, 3) == [(200, None)] * 3


def test_the_seconds_of_a_quota_are_whole_microseconds() -> None:
    """2.01 is a little less in binary; there is room after 2.01 seconds, and not a microsecond before."""
    with opened("site") as one:
        one.double.clock.freeze(0.0)
        one.double.faults.on("GET").limit(1, per=2.01)
        assert kv(one, "GET").status == 200
        one.double.clock.shift(2.009999)
        assert kv(one, "GET").status == 429
        one.double.clock.shift(0.000001)
        assert kv(one, "GET").status == 200


def test_what_a_quota_refuses_does_nothing() -> None:
    """It is a 429 in the service's form, and the value is as it was."""
    with opened("site") as one:
        frozen(one.double)
        one.double.faults.on(service="persist").limit(1, per=1)
        assert persist(one, "PUT", "/kv/k", b'{"value":"1"}').status == 200
        refused = persist(one, "PUT", "/kv/k", b'{"value":"2"}')
        assert (refused.status, refused.json()) == (429, {"error": "too many requests"})
        assert one.double.persist["k"] == "1"
        assert one.double.journal[-1].fault is one.double.faults.active[0]


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ({"status": 503}, [200, 503, 503]),
        ({"body": "slow down"}, [200, 429, 429]),
        ({"after": 1}, [200, 200, 429]),
        ({"every": 2}, [200, 200, 200]),
        ({"times": None}, [200, 429, 429]),
        ({"delay": 0.01}, [200, 429, 429]),
    ],
    ids=str,
)
def test_a_quota_goes_together_with_other_arguments(given: dict[str, Any], seen: list[int]) -> None:
    """What happens beyond it, and which of the requests it counts."""
    with opened("wsgi") as one:
        frozen(one.double)
        one.double.faults.add(limit=1, per=60, **given)
        assert statuses(one, 3) == seen


def test_a_quota_may_cut_the_connection() -> None:
    """Then there is no answer."""
    with kvfake.start() as double:
        double.faults.add(limit=1, per=60, sever="before")
        assert requests.get(double.mattermost.url_for("k"), headers=double.mattermost.headers, timeout=10).ok
        with pytest.raises(requests.ConnectionError):
            requests.get(double.mattermost.url_for("k"), headers=double.mattermost.headers, timeout=10)


def test_a_clock_that_is_moved_back_makes_room() -> None:
    """What was counted at a later moment has not happened yet; nobody waits for years."""
    with opened("site") as one:
        frozen(one.double, "2030-01-01")
        one.double.faults.add(limit=1, per=60)
        assert statuses(one, 2) == [200, 429]
        one.double.clock.move_to("2020-01-01")
        assert statuses(one, 2) == [200, 429]


@pytest.mark.parametrize("turns", range(2))
def test_a_rollback_gives_back_what_a_quota_has_counted(turns: int) -> None:
    """As often as one likes, also where nothing was counted since the checkpoint."""
    with opened("site") as one:
        frozen(one.double)
        fault = one.double.faults.add(limit=3, per=60)
        assert statuses(one, 2) == [200, 200]
        mark = one.double.checkpoint()
        for _ in range(turns + 1):
            assert statuses(one, 3) == [200, 429, 429]
            one.double.rollback(mark)
            assert fault.hits == 0
        assert one.double.checkpoint() == mark + 1
        assert statuses(one, 2) == [200, 429]


def test_a_quota_is_exact_however_many_ask_at_once() -> None:
    """On a running clock too."""
    double = kvfake.Double()
    double.faults.add(limit=50, per=3600)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.extend(statuses(WsgiDoor(double), 40))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (found.count(200), found.count(429)) == (50, 110)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"limit": 1}, "limit, per: expected both, such as limit=10, per=60 (10 requests in 60 seconds), or neither"),
        ({"status": 503, "per": 1}, "limit, per: expected both, such as limit=10, per=60 (10 requests in 60 seconds), or neither"),
        ({"limit": 0, "per": 1}, "limit: expected a whole number from 1 to 10000, got 0"),
        ({"limit": 10_001, "per": 1}, "limit: expected a whole number from 1 to 10000, got 10001"),
        ({"limit": 1, "per": 0}, "per: expected a number from 0.001 to "),
        ({"limit": 1, "per": "minute"}, "per: expected a number from 0.001 to "),
        ({"limit": 1, "per": 1, "times": 2}, "times: a quota (limit=, per=) stands until it is removed, so expected none, got 2"),
        (
            {"status": 503, "start": "soon"},
            "start: expected a datetime, a text such as 2016-12-31T23:59:59.5Z, or ",
        ),
        ({"status": 503, "end": [2026]}, "end: expected a datetime, a text such as "),
        ({"status": 503, "start": NOON, "end": NOON}, f"end: expected a moment after {NOON}, got {NOON}"),
        ({"stale": "yes"}, "stale: expected true or false, got 'yes'"),
        ({"stale": True, "status": 200}, "stale: the answer is the service's own, so expected no status, body or limit"),
        ({"stale": True, "body": "x"}, "stale: the answer is the service's own, so expected no status, body or limit"),
        ({"stale": True, "limit": 1, "per": 1}, "stale: the answer is the service's own, so expected no status, body or limit"),
        ({"stale": True, "sever": "before"}, "sever='before' lets no answer out: "),
        ({"status": 503, "owner": ""}, "owner: expected app/user, /user or a user's name (Mattermost), "),
        (
            {"status": 503, "owner": "a/b/c", "service": "mattermost"},
            "owner: expected app/user, /user or a user's name (Mattermost)",
        ),
        (
            {"status": 503, "owner": "app/", "service": "mattermost"},
            "owner: expected app/user, /user or a user's name (Mattermost)",
        ),
    ],
    ids=str,
)
def test_what_is_not_possible_is_refused(given: dict[str, Any], words: str) -> None:
    """With what is expected; nothing is added."""
    faults = kvfake.Double().faults
    with pytest.raises(ValueError, match="^" + re.escape(words)):
        faults.add(**given)
    assert len(faults) == 0


# ------------------------------------------------------------------------------------------------------------ whose requests


@pytest.mark.parametrize(
    ("owner", "struck"),
    [
        ("ada", ["app/ada", "/ada", "project ada"]),
        ("app/ada", ["app/ada"]),
        ("/ada", ["/ada"]),
        ("bot", ["app/bot"]),
        ("project:ada", ["project ada"]),
        ("project", ["project project"]),
        ("project:project", ["project project"]),
        ("a", []),
        (re.compile("^ada$"), ["project ada"]),
        (re.compile("^app/"), ["app/ada", "app/bot"]),
    ],
    ids=str,
)
def test_an_owner_may_be_named_by_a_name_alone(owner: Any, struck: list[str]) -> None:
    """``ada`` is that user, of the app or of none, and that project. In full it is one owner; a pattern sees the whole owner."""
    with opened("wsgi", token=["session=/ada"]) as one:
        double = one.double
        headers = {
            "app/ada": double.mattermost.as_user("ada").headers,
            "/ada": {"Authorization": "Bearer session"},
            "app/bot": double.mattermost.headers,
            "project ada": double.persist.project("ada").headers,
            "project project": double.persist.headers,
        }
        double.faults.add(status=418, times=None, owner=owner)
        paths = {name: "/persist/kv/k" if name.startswith("project") else f"{KV}/k" for name in headers}
        assert [name for name in headers if one.send("GET", paths[name], headers[name]).status == 418] == struck


def test_an_unknown_token_has_its_own_name() -> None:
    """As the journal shows it."""
    with opened("site") as one:
        stranger = {"Authorization": "Bearer whoever"}
        one.send("GET", f"{KV}/k", stranger)
        name = one.double.journal[-1].owner
        assert name is not None
        assert name.startswith("anonymous-")
        one.double.faults.add(status=418, times=None, owner=name)
        assert one.send("GET", f"{KV}/k", stranger).status == 418
        assert statuses(one, 1) == [200]


def test_the_journal_is_asked_by_the_same_names() -> None:
    """What strikes a fault is found by the same words."""
    with opened("site") as one:
        one.send("GET", f"{KV}/k", one.double.mattermost.as_user("ada").headers)
        one.double.journal.assert_requested("GET", owner="ada", times=1)
        one.double.journal.assert_not_requested("GET", owner="bob")


# ------------------------------------------------------------------------------------------------------ answers that are behind


@pytest.mark.parametrize("door", DOORS)
def test_a_read_is_answered_with_the_value_before(door: str) -> None:
    """That before the last change; what was not changed is as it is, and the next read is right."""
    with opened(door) as one:
        one.double.mattermost["k"] = 1
        one.double.faults.on("GET", key="k").stale(times=2)
        assert kv(one, "GET").text == "1"
        for value in (b"2", b"3", b"3"):
            kv(one, "PUT", body=value)
        assert [kv(one, "GET").text for _ in range(2)] == ["2", "3"]
        assert one.double.mattermost["k"] == 3


def test_a_stale_answer_knows_what_was_not_there_and_what_still_was() -> None:
    """A key that was set is missing, a key that was deleted is there: by itself, in a list and in an mget."""
    with opened("site") as one:
        one.double.persist.update({"kept": "1", "gone": "2", "changed": "3"})
        one.double.faults.on(service="persist").stale(times=None)
        assert persist(one, "PUT", "/kv/new", b'{"value":"4"}').status == 200
        assert persist(one, "PUT", "/kv/changed", b'{"value":"5"}').status == 200
        for key in ("gone", "never"):
            persist(one, "DELETE", f"/kv/{key}")
        assert persist(one, "GET", "/kv/new").status == 404
        assert persist(one, "GET", "/kv/gone").json()["value"] == "2"
        assert persist(one, "GET", "/kv").json() == ["changed", "gone", "kept"]
        assert persist(one, "GET", "/kv?begins=k").json() == ["kept"]
        found = persist(one, "POST", "/mget", b'{"keys":["changed","new","kept"]}').json()
        assert [entry and entry["value"] for entry in found] == ["3", None, "1"]
        assert dict(one.double.persist) == {"changed": "5", "kept": "1", "new": "4"}


def test_a_stale_fault_strikes_reads_alone() -> None:
    """A PUT is done and acknowledged, and is not one of those that it counts."""
    with opened("site") as one:
        fault = one.double.faults.add(stale=True, delay=0.001)
        assert kv(one, "PUT", body=b"1").json() == {"changed": True}
        assert fault.hits == 0
        assert (kv(one, "GET").text, fault.hits) == ("{}", 1)


def test_what_a_stale_answer_shows_begins_with_the_fault() -> None:
    """What was changed before, and between two such faults, is not known; clearing and rolling back forget it too."""
    with opened("site") as one:
        faults = one.double.faults
        kv(one, "PUT", body=b"1")
        kv(one, "PUT", body=b"2")
        faults.on("GET").stale()
        mark = one.double.checkpoint()
        assert kv(one, "GET").text == "2"
        kv(one, "PUT", body=b"3")
        faults.on("GET").stale()
        assert kv(one, "GET").text == "3"
        one.double.rollback(mark)
        kv(one, "PUT", body=b"4")
        assert kv(one, "GET").text == "2"
        faults.clear()
        kv(one, "PUT", body=b"5")
        with faults.on("GET").stale(), faults.on("GET", key="other").stale():
            kv(one, "PUT", body=b"6")
            assert kv(one, "GET").text == "5"
        mark = one.double.checkpoint()
        one.double.rollback(mark)
        assert kv(one, "GET").text == "6"


def test_what_is_kept_for_stale_answers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What changed first is forgotten first, and is read as it is."""
    monkeypatch.setattr(stores, "MAX_PREVIOUS_BYTES", 2_000)
    with opened("site") as one:
        one.double.faults.on("GET").stale(times=None)
        for _ in range(2):
            for number in range(20):
                persist(one, "PUT", f"/kv/{number}", b'{"value":"v"}')
        found = [persist(one, "GET", f"/kv/{number}").status for number in range(20)]
        assert found == [200] * 14 + [404] * 6


def test_nothing_is_kept_once_no_fault_gives_stale_answers() -> None:
    """Also while other faults stay: after its last answer, which shows what was kept, and after it was removed."""
    with opened("site") as one:
        faults = one.double.faults
        faults.add(status=503, key="another", times=None)
        kv(one, "PUT", body=b"1")
        for times in (1, None):
            fault = faults.on("GET").stale(times=times)
            kv(one, "PUT", body=b"2")
            assert kv(one, "GET").text == "1"
            fault.remove()
            assert faults._previous is None
            kv(one, "PUT", body=b"1")


def test_an_owner_of_whom_nothing_is_kept_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any token may be one."""
    monkeypatch.setattr(stores, "MAX_PREVIOUS_BYTES", 2_000)
    previous = PreviousEntries()
    for number in range(100):
        previous.keep(("persist", f"owner-{number}", b""), b"k", None)
    assert len(previous.entries) == 6


def test_what_is_kept_of_one_key_is_kept_once() -> None:
    """However often it changes."""
    previous = PreviousEntries()
    for number in range(100):
        previous.keep(("persist", "p", b""), b"k", Entry(b"x" * 1_000_000, number))
    assert previous.entries == {("persist", "p", b""): {b"k": Entry(b"x" * 1_000_000, 99)}}
