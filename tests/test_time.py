"""``updated`` is the moment of the last set, by a clock that a test may hold."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import freezegun
import pytest
import time_machine

import kvfake
from kvfake.services.persist import updated
from tests.support.doors import DOORS, Door, opened


def set_and_read(door: Door, key: str) -> str:
    door.send("PUT", f"/persist/kv/{key}", door.double.persist.headers, b'{"value":"v"}')
    answer = door.send("GET", f"/persist/kv/{key}", door.double.persist.headers).json()["updated"]
    assert isinstance(answer, str)
    return answer


@pytest.mark.parametrize("door", DOORS)
def test_freezegun_decides_what_time_it_is(door: str) -> None:
    """At a whole second too, and when it ticks or is moved, back as well."""
    with opened(door) as one, freezegun.freeze_time("2016-09-09 23:16:43") as frozen:
        assert set_and_read(one, "a") == "2016-09-09T23:16:43.000000Z"
        frozen.tick(timedelta(microseconds=970_809))
        assert set_and_read(one, "a") == "2016-09-09T23:16:43.970809Z"
        frozen.move_to("2000-01-01")
        assert set_and_read(one, "a") == "2000-01-01T00:00:00.000000Z"
        assert one.double.persist.updated("a") == datetime(2000, 1, 1, tzinfo=timezone.utc)
        one.double.persist["b"] = "v"
        assert one.double.persist.updated("b") == one.double.persist.updated("a")


@pytest.mark.parametrize("door", DOORS)
def test_time_machine_decides_what_time_it_is(door: str) -> None:
    """Likewise."""
    with opened(door) as one, time_machine.travel("1999-12-31 23:59:59Z", tick=False) as traveller:
        assert set_and_read(one, "a") == "1999-12-31T23:59:59.000000Z"
        traveller.shift(1)
        assert set_and_read(one, "a") == "2000-01-01T00:00:00.000000Z"


def test_a_server_that_starts_in_frozen_time_serves() -> None:
    """Waiting uses real time, also where everything was imported while time stood still."""
    with freezegun.freeze_time("2020-01-01"), opened("socket") as door:
        assert set_and_read(door, "a") == "2020-01-01T00:00:00.000000Z"


def test_sets_are_in_order() -> None:
    """What is set later is not older."""
    double = kvfake.Double()
    moments = []
    for number in range(200):
        double.persist["k"] = str(number)
        moments.append(double.persist.updated("k"))
    assert moments == sorted(moments)


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (1_473_463_003_970_809, "2016-09-09T23:16:43.970809Z"),
        (-62_135_596_800_000_000, "0001-01-01T00:00:00.000000Z"),
        (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_six_decimals_always(moment: int, shown: str) -> None:
    """From the first to the last moment that Python knows."""
    assert updated(moment) == shown
