"""A world's clock: what time its data say that it is, which a test decides."""

from __future__ import annotations

import math
import re
from datetime import date, datetime, timedelta, timezone
from typing import Any

import freezegun
import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

import kvfake
from kvfake.world.clock import FIRST, LAST, Clock, moment_of
from tests.support.doors import DOORS, Door, opened

UTC = timezone.utc
NEW_YEAR = datetime(2017, 1, 1, tzinfo=UTC)
TODAY = "2016-09-09 23:16:43.970809Z"


def set_and_read(door: Door, key: str = "k") -> str:
    """``updated``, as the wire shows it."""
    put = door.send("PUT", f"/persist/kv/{key}", door.double.persist.headers, b'{"value":"v"}').json()
    got = door.send("GET", f"/persist/kv/{key}", door.double.persist.headers).json()
    assert put == got
    return str(got["updated"])


# ------------------------------------------------------------------------------------------------------------- over the wire


@pytest.mark.parametrize("door", DOORS)
def test_an_app_sees_the_time_that_a_test_has_set(door: str) -> None:
    """Frozen at a moment, moved over the turn of the year, moved back, and let go."""
    with opened(door) as one:
        clock = one.double.clock
        clock.freeze()
        clock.move_to("2016-12-31T23:59:59.5Z")
        assert [set_and_read(one), set_and_read(one)] == ["2016-12-31T23:59:59.500000Z"] * 2
        clock.shift(0.5)
        assert set_and_read(one) == "2017-01-01T00:00:00.000000Z"
        assert one.double.persist.updated("k") == NEW_YEAR
        clock.shift(-timedelta(days=366))
        assert set_and_read(one) == "2016-01-01T00:00:00.000000Z"
        one.double.persist["k"] = "set beside the app"
        assert one.double.persist.updated("k") == datetime(2016, 1, 1, tzinfo=UTC)
        clock.resume()
        assert set_and_read(one) > "2026"


@pytest.mark.parametrize("door", DOORS)
def test_moving_the_clock_leaves_earlier_timestamps(door: str) -> None:
    """A clock that is moved moves no data."""
    with opened(door) as one:
        one.double.clock.move_to(0)
        one.double.clock.freeze()
        before = set_and_read(one, "a")
        one.double.clock.move_to("2017-01-01")
        set_and_read(one, "b")
        assert one.send("GET", "/persist/kv/a", one.double.persist.headers).json()["updated"] == before


def test_every_world_has_a_clock_of_its_own() -> None:
    """Moving one moves no other."""
    one, two = kvfake.Double(), kvfake.Double()
    one.clock.move_to(0)
    assert one.clock.time.year == 1970
    assert two.clock.time.year > 1970


# ----------------------------------------------------------------------------------------------------------- what it can do


def test_a_clock_is_the_machines_until_it_is_set() -> None:
    """Also when it is let go again."""
    with time_machine.travel(TODAY, tick=False):
        clock = Clock()
        assert clock.time == datetime(2016, 9, 9, 23, 16, 43, 970809, tzinfo=UTC)
        clock.move_to(NEW_YEAR)
        clock.freeze()
        clock.resume()
        assert clock.time == datetime(2016, 9, 9, 23, 16, 43, 970809, tzinfo=UTC)
        assert not clock.is_frozen


def test_a_frozen_clock_stands_still() -> None:
    """However the machine's goes on; it can be moved even so, and stands still there."""
    with time_machine.travel(TODAY, tick=False) as machine:
        clock = Clock()
        clock.freeze()
        machine.shift(3600)
        assert (clock.is_frozen, clock.time.hour) == (True, 23)
        clock.move_to(NEW_YEAR)
        clock.shift(1)
        machine.shift(3600)
        assert clock.time == NEW_YEAR + timedelta(seconds=1)


def test_a_clock_is_frozen_at_a_moment() -> None:
    """Named as for ``move_to``; nothing else was done to it, and it goes on when it is let go."""
    clock = Clock()
    for moment in (NEW_YEAR, "2017-01-01", NEW_YEAR.timestamp(), datetime(2017, 1, 1)):  # noqa: DTZ001
        clock.freeze(moment)
        assert (clock.time, clock.is_frozen) == (NEW_YEAR, True)
    clock.freeze()
    assert clock.time == NEW_YEAR
    with pytest.raises(ValueError, match="expected a datetime, a text such as"):
        clock.freeze("tomorrow")
    clock.resume()
    assert clock.time > NEW_YEAR


def test_a_clock_says_its_time_and_whether_it_is_frozen() -> None:
    """Where it is printed."""
    double = kvfake.Double()
    double.clock.freeze("2017-01-01T00:00:00.5")
    assert repr(double.clock) == "<kvfake.Clock 2017-01-01T00:00:00.500000+00:00, frozen>"
    double.clock.resume()
    assert repr(double.clock).endswith("+00:00, running>")


def test_a_moved_clock_goes_on_from_there() -> None:
    """As fast as the machine's."""
    with time_machine.travel(TODAY, tick=False) as machine:
        clock = Clock()
        clock.move_to(NEW_YEAR)
        assert clock.time == NEW_YEAR
        machine.shift(3600)
        assert clock.time == NEW_YEAR + timedelta(hours=1)
        clock.freeze()
        machine.shift(3600)
        assert clock.time == NEW_YEAR + timedelta(hours=1)


def test_a_shifted_clock_goes_on_from_there() -> None:
    """Ahead and back; what was shifted before counts."""
    with time_machine.travel(NEW_YEAR, tick=False) as machine:
        clock = Clock()
        clock.shift(timedelta(days=1))
        clock.shift(-0.000001)
        machine.shift(60)
        assert clock.time == datetime(2017, 1, 2, 0, 0, 59, 999999, tzinfo=UTC)


def test_freezegun_and_time_machine_move_it() -> None:
    """A clock that was moved keeps its distance from them; a frozen one does not see them."""
    clock, moved, frozen = Clock(), Clock(), Clock()
    with freezegun.freeze_time("2016-01-01") as machine:
        moved.move_to("2020-01-01")
        frozen.freeze()
        machine.tick(timedelta(days=1))
        assert [str(one.time.date()) for one in (clock, moved, frozen)] == ["2016-01-02", "2020-01-02", "2016-01-01"]
    with time_machine.travel("2016-01-03 00:00Z", tick=False):
        assert [str(one.time.date()) for one in (clock, moved, frozen)] == ["2016-01-03", "2020-01-03", "2016-01-01"]


# ------------------------------------------------------------------------------------------------------------ how to name it


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        (datetime(2016, 12, 31, 23, 59, 59, 500000, tzinfo=UTC), "2016-12-31 23:59:59.500000+00:00"),
        (datetime(2017, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), "2017-01-01 00:00:00+00:00"),
        (datetime(2017, 1, 1), "2017-01-01 00:00:00+00:00"),  # noqa: DTZ001
        ("2016-12-31T23:59:59Z", "2016-12-31 23:59:59+00:00"),
        ("2016-12-31T23:59:59z", "2016-12-31 23:59:59+00:00"),
        ("2016-12-31 23:59:59", "2016-12-31 23:59:59+00:00"),
        (" 2016-12-31T23:59\n", "2016-12-31 23:59:00+00:00"),
        ("2016-12-31", "2016-12-31 00:00:00+00:00"),
        ("2016-12-31t23:59:59+0000", "2016-12-31 23:59:59+00:00"),
        ("2016-12-31T23:59:59-05:30", "2017-01-01 05:29:59+00:00"),
        ("2016-12-31T23:59:59.5Z", "2016-12-31 23:59:59.500000+00:00"),
        ("2016-12-31T23:59:59.12", "2016-12-31 23:59:59.120000+00:00"),
        ("2016-12-31T23:59:59.1234+00:00", "2016-12-31 23:59:59.123400+00:00"),
        ("2016-12-31T23:59:59.970809Z", "2016-12-31 23:59:59.970809+00:00"),
        ("2016-12-31T23:59:59.999999999Z", "2016-12-31 23:59:59.999999+00:00"),
        ("0001-01-01T00:00:00Z", "0001-01-01 00:00:00+00:00"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31 23:59:59.999999+00:00"),
        (0, "1970-01-01 00:00:00+00:00"),
        (-0.000001, "1969-12-31 23:59:59.999999+00:00"),
        (1_473_463_003.5, "2016-09-09 23:16:43.500000+00:00"),
    ],
)
def test_a_moment_has_several_forms(moment: Any, shown: str) -> None:
    """A datetime, its text, or seconds since 1970; what names no zone is UTC."""
    clock = Clock()
    clock.freeze()
    clock.move_to(moment)
    assert str(clock.time) == shown


EXPECTED = "expected a datetime, a text such as 2016-12-31T23:59:59.5Z, or seconds since 1970, within the years 1 to 9999"


@pytest.mark.parametrize(
    "moment",
    [
        "",
        "tomorrow",
        "2016-13-01",
        "2016-12-31T23:59:59.Z",
        "2016-12-31T23:59:60Z",
        "2016-12-31T23:59:59 +01:00",
        "2016-12-31T23:59:59+24:00",
        "2016-12-31.5",
        "2016-12-31Z",
        "1473463003",
        "2016-12-31T23:59:59.5 o'clock",
        "0000-12-31",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-00:01",
        math.nan,
        math.inf,
        1e12,
        -1e12,
        10**400,
        None,
        True,
        [2016],
        b"2016-12-31",
        date(2016, 12, 31),
    ],
)
def test_a_value_that_is_no_moment_is_refused(moment: Any) -> None:
    """With what was expected and what came; the clock stays as it was."""
    clock = Clock()
    clock.freeze()
    before = clock.state()
    with pytest.raises(ValueError, match=re.escape(f"{EXPECTED}; got {moment!r}")):
        clock.move_to(moment)
    assert clock.state() == before


@pytest.mark.parametrize("by", [math.nan, math.inf, 1e12, -1e12, 10**400, None, "1", True, timedelta.max, timedelta(days=-999_999)])
def test_a_value_that_is_no_span_is_refused(by: Any) -> None:
    """Likewise."""
    clock = Clock()
    clock.move_to("2016-01-01")
    before = clock.state()
    words = f"expected a timedelta or seconds that stay within the years 1 to 9999, got {by!r}"
    with pytest.raises(ValueError, match=re.escape(words)):
        clock.shift(by)
    assert clock.state() == before


# --------------------------------------------------------------------------------------------------------------------- bounds


def test_a_clock_does_not_run_past_the_last_moment() -> None:
    """It stays there; from there it can be moved, and shifted back, to the microsecond."""
    with time_machine.travel(TODAY, tick=False) as machine:
        clock = Clock()
        clock.move_to(LAST)
        machine.shift(3600)
        assert clock.time == LAST
        with pytest.raises(ValueError, match="9999"):
            clock.shift(0.000001)
        clock.shift(-1)
        assert clock.time == LAST - timedelta(seconds=1)
        machine.shift(3600)
        clock.move_to(NEW_YEAR)
        assert clock.time == NEW_YEAR
        machine.shift(1)
        assert clock.time == NEW_YEAR + timedelta(seconds=1)


def test_a_clock_does_not_run_back_past_the_first_moment() -> None:
    """Where the machine's own is set back."""
    with time_machine.travel(TODAY, tick=False) as machine:
        clock = Clock()
        clock.move_to(FIRST)
        machine.shift(-1)
        assert clock.time == FIRST
        clock.freeze()
        assert clock.time == FIRST


MOMENTS = st.datetimes(timezones=st.just(UTC))


@given(moments=st.lists(MOMENTS, min_size=1), by=st.timedeltas(), is_frozen=st.booleans())
def test_a_clock_can_be_moved_to_any_moment(moments: list[datetime], by: timedelta, is_frozen: bool) -> None:
    """Anywhere in the years 1 to 9999, from anywhere; shifting is refused where it would lead out of them, and only there."""
    with time_machine.travel(TODAY, tick=False):
        clock = Clock()
        if is_frozen:
            clock.freeze()
        for moment in moments:
            clock.move_to(moment)
            assert clock.time == moment == moment_of(clock.now())
            clock.move_to(moment.isoformat())
            assert clock.time == moment
        if FIRST - moment <= by <= LAST - moment:
            clock.shift(by)
            assert clock.time == moment + by
        else:
            with pytest.raises(ValueError, match="years 1 to 9999"):
                clock.shift(by)


def test_the_state_of_a_clock_can_be_restored() -> None:
    """A frozen clock stands where it stood; one that goes ahead of the machine's is as far ahead as it was."""
    with time_machine.travel(NEW_YEAR, tick=False) as machine:
        clock = Clock()
        clock.shift(60)
        ahead = clock.state()
        clock.freeze()
        standing = clock.state()
        clock.resume()
        machine.shift(3600)
        clock.restore(standing)
        assert (clock.time, clock.is_frozen) == (NEW_YEAR + timedelta(seconds=60), True)
        clock.restore(ahead)
        assert (clock.time, clock.is_frozen) == (NEW_YEAR + timedelta(seconds=3660), False)
