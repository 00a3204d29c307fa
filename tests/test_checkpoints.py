"""Checkpoints: a world as it was, again and again, at the cost of what was changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest

import kvfake
from kvfake.double import Double, world_of
from kvfake.services.mattermost import KV
from kvfake.stores.memory import MAX_CHECKPOINTS
from tests.support.doors import DOORS, opened
from tests.support.served import doubles_of


@pytest.mark.parametrize("door", DOORS)
def test_changes_of_an_app_are_undone(door: str) -> None:
    """Set, replaced and deleted, of every owner; what was there has the moment that it had."""
    with opened(door) as one:
        double = one.double
        double.clock.freeze()
        double.clock.move_to("2016-01-01")
        double.mattermost["kept"] = double.mattermost["replaced"] = 1
        double.persist["deleted"] = "v"
        mark = double.checkpoint()
        double.clock.shift(60)
        one.send("PUT", f"{KV}/replaced", double.mattermost.headers, b"2")
        one.send("PUT", f"{KV}/p/new", double.mattermost.as_user("ada").headers, b"3")
        one.send("PUT", "/persist/kv/new", double.persist.project("other").headers, b'{"value":"v"}')
        one.send("DELETE", "/persist/kv/deleted", double.persist.headers)
        double.rollback(mark)
        assert world_of(double).holdings() == [("mattermost", "app/bot", ["kept", "replaced"]), ("persist", "project", ["deleted"])]
        assert one.send("GET", f"{KV}/replaced", double.mattermost.headers).text == "1"
        assert double.persist.updated("deleted") == datetime(2016, 1, 1, tzinfo=timezone.utc)


def test_changes_of_a_test_are_undone() -> None:
    """Through mappings, by a file of values, by clearing: as if an app had."""
    double = kvfake.Double()
    double.mattermost.update({str(number): number for number in range(10)})
    mark = double.checkpoint()
    before = double.dump()
    for change in (
        double.mattermost.clear,
        lambda: double.mattermost.pop("3"),
        lambda: double.persist.json.update({"k": [1, 2]}),
        lambda: double.load({"kvfake": 1, "mattermost": {"app/bot": {"": {"3": "three"}}}}, replace=True),
    ):
        change()
        assert double.dump() != before
        double.rollback(mark)
        assert double.dump() == before


def test_the_clock_is_as_it_was() -> None:
    """Frozen where it stood, or running as it ran."""
    double = kvfake.Double()
    running = double.checkpoint()
    double.clock.freeze()
    double.clock.move_to("2016-12-31T23:59:59Z")
    frozen = double.checkpoint()
    double.clock.shift(1)
    double.rollback(frozen)
    assert double.clock.time == datetime(2016, 12, 31, 23, 59, 59, tzinfo=timezone.utc)
    double.rollback(running)
    assert not double.clock.is_frozen
    assert double.clock.time.year > 2016


def test_faults_are_rolled_back() -> None:
    """A fault that came since is gone, one that was there strikes on."""
    with opened("site") as one:
        double = one.double
        standing = double.faults.add(status=503, method="PUT", times=None)
        mark = double.checkpoint()
        double.faults.add(status=500, method="GET", times=None)
        assert one.send("GET", f"{KV}/k", double.mattermost.headers).status == 500
        double.rollback(mark)
        assert list(double.faults) == [standing]
        assert one.send("GET", f"{KV}/k", double.mattermost.headers).status == 200
        assert one.send("PUT", f"{KV}/k", double.mattermost.headers, b"1").status == 503


@pytest.mark.parametrize("fault", [{"rate": 0.5}, {"every": 3, "after": 1, "times": 4}], ids=repr)
def test_a_fault_goes_on_from_where_it_was(fault: dict[str, Any]) -> None:
    """After a rollback the same requests are struck as after the checkpoint: it counts and draws what it did then."""
    with opened("site") as one:
        one.double.faults.add(**{"status": 503, "times": None, "seed": 1, **fault})

        def struck() -> list[bool]:
            return [one.send("GET", f"{KV}/k", one.double.mattermost.headers).status == 503 for _ in range(30)]

        struck()
        mark = one.double.checkpoint()
        first = struck()
        one.double.rollback(mark)
        assert struck() == first


@pytest.mark.parametrize("door", DOORS)
def test_the_journal_is_as_it_was(door: str) -> None:
    """What came since is forgotten; numbers go on, so that none is given twice."""
    with opened(door) as one:
        one.send("GET", "/before")
        mark = one.double.checkpoint()
        one.send("GET", "/since")
        one.double.rollback(mark)
        one.send("GET", "/after")
        assert [(exchange.number, exchange.path) for exchange in one.double.journal] == [(1, "/before"), (3, "/after")]
        one.double.journal.assert_not_requested(path="/since")


def test_a_journal_that_overflowed_is_sure_again() -> None:
    """What was crowded out since the mark was not there then."""
    with opened("site", journal_exchanges=3) as one:
        mark = one.double.checkpoint()
        for _ in range(5):
            one.send("GET", "/since")
        assert one.double.journal.dropped == 2
        one.double.rollback(mark)
        one.double.journal.assert_not_requested()


def test_tokens_routes_and_settings_stay() -> None:
    """They are what a world is, not what happened to it."""
    with opened("site", strict=True) as one:
        mark = one.double.checkpoint()
        one.double.token("late", "app/ada")
        one.double.respond("GET", "/api/v4/users/me", json={"id": "x"})
        issued = one.double.mattermost.as_user("ben").token
        one.double.rollback(mark)
        assert one.send("GET", f"{KV}/k", {"Authorization": "Bearer late"}).status == 200
        assert one.send("GET", f"{KV}/k", {"Authorization": f"Bearer {issued}"}).status == 200
        assert one.send("GET", "/api/v4/users/me").json() == {"id": "x"}


def test_there_may_be_several_checkpoints() -> None:
    """Any of them can be gone back to, more than once; those that came after it are gone then."""
    double = kvfake.Double()
    marks = []
    for number in range(4):
        double.mattermost["k"] = number
        marks.append(double.checkpoint())
    double.mattermost["k"] = "last"
    for back in (3, 3, 1, 1):
        double.rollback(marks[back])
        assert double.mattermost == {"k": back}
        assert double._world.checkpoints == marks[: back + 1]
        double.mattermost["k"] = "changed"
    newer = double.checkpoint()
    assert newer not in marks
    double.rollback(marks[0])
    assert double.mattermost == {"k": 0}


def words_of(double: Double, mark: Any) -> str:
    with pytest.raises(ValueError, match="is no checkpoint of this world") as refused:
        double.rollback(mark)
    return str(refused.value)


def test_a_checkpoint_that_is_gone_is_refused() -> None:
    """With those that are there; nothing is changed."""
    double = kvfake.Double()
    assert words_of(double, 1) == "1 is no checkpoint of this world, or was rolled back over; there are: none"
    marks = [double.checkpoint() for _ in range(3)]
    double.mattermost["k"] = 1
    assert words_of(double, 9) == "9 is no checkpoint of this world, or was rolled back over; there are: 1, 2, 3"
    assert words_of(double, "1").startswith("'1' is no checkpoint")
    assert double.mattermost == {"k": 1}
    double.rollback(marks[1])
    assert words_of(double, marks[2]).endswith("there are: 1, 2")
    double.reset()
    assert words_of(double, marks[0]).endswith("there are: none")
    assert double.checkpoint() not in marks


def test_the_newest_thousand_checkpoints_are_kept() -> None:
    """An error names the last of them."""
    double = kvfake.Double()
    marks = []
    for number in range(MAX_CHECKPOINTS + 2):
        double.persist["k"] = str(number)
        marks.append(double.checkpoint())
    assert double._world.checkpoints == marks[2:]
    assert re.search(r"there are: 998, 999, 1000, 1001, 1002$", words_of(double, marks[1]))
    double.rollback(marks[2])
    assert double.persist == {"k": "2"}


def test_checkpoints_belong_to_one_world() -> None:
    """Another one has its own, and is left alone."""
    with kvfake.start() as one:
        two = doubles_of(one).open({})
        one.mattermost["k"] = two.mattermost["k"] = 1
        mark = one.checkpoint()
        one.mattermost["k"] = two.mattermost["k"] = 2
        words_of(two, mark)
        one.rollback(mark)
        assert (one.mattermost, two.mattermost) == ({"k": 1}, {"k": 2})


# ----------------------------------------------------------------------------------------- an expensive set-up, shared by tests


@pytest.fixture(scope="module", name="filled")
def _filled() -> Iterator[tuple[Double, int]]:
    """A world that was filled once."""
    with kvfake.start() as double:
        double.mattermost.update({str(number): number for number in range(1000)})
        yield double, double.checkpoint()


@pytest.fixture(name="double")
def _double(filled: tuple[Double, int]) -> Double:
    """Each test begins from there."""
    double, mark = filled
    double.rollback(mark)
    return double


@pytest.mark.parametrize("number", range(5))
def test_each_test_begins_from_there(double: Double, number: int) -> None:
    """In whatever order they run, and whatever the one before it did."""
    assert double.mattermost == {str(other): other for other in range(1000)}
    assert (list(double.journal), list(double.faults), double.clock.is_frozen) == ([], [], False)
    double.mattermost.clear()
    double.mattermost[str(number)] = "changed"
    double.faults.add(status=500)
    double.clock.freeze()
    double.checkpoint()


def test_checkpoints_share_what_faults_have_drawn() -> None:
    """It is 24 KB for each fault: a thousand faults and a thousand checkpoints would take 24 GB."""
    double = kvfake.Double()
    fault = double.faults.add(status=503, rate=0.5, times=None)
    states = [fault.state()[-1] for _ in range(2)]
    assert states[0] is states[1]
