"""Every row of the fact list holds, through every door and under both profiles; and each check would see it if it did not."""

from __future__ import annotations

import pytest

import kvfake
from tests.rows import http, mattermost, persist
from tests.rows.app import CHECKS, App, Check
from tests.rows.wrong import WRONG, Wrong
from tests.support.doors import CLIENT_DOORS, DOORS, TOKENS, SocketDoor, opened, serving

PROFILES = ("documented", "plugin-1.2")
ROWS = [f"M{number:02d}" for number in range(1, 29)] + [f"P{number:02d}" for number in range(1, 16)]
MODULES = (http, mattermost, persist)  # importing them registers their checks


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("door", [*DOORS, *CLIENT_DOORS])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_the_row_holds(check: Check, door: str, profile: str) -> None:
    """The double does what the row says."""
    if check.socket_only and door != SocketDoor.name:
        pytest.skip("decided below the double: by a server, or by a client")
    with opened(door, profile=profile, strict=True, token=TOKENS) as opened_door:
        check.check(App(opened_door, profile))


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.row}-{wrong.what}")
def test_a_wrong_service_is_seen(wrong: Wrong) -> None:
    """A check of the row fails on a service that is wrong in it."""
    assert any(fails(check, wrong, profile) for check in CHECKS if check.row == wrong.row for profile in PROFILES)


def fails(check: Check, wrong: Wrong, profile: str) -> bool:
    double = kvfake.Double(profile=profile, strict=True, token=TOKENS)
    with serving(double, wrong.answer, wrong.wire) as door:
        try:
            check.check(App(door, profile))
        except Exception:
            return True
        return False


def test_every_row_has_a_check_and_a_wrong_service() -> None:
    """No row is without either."""
    assert sorted({check.row for check in CHECKS}) == ROWS
    assert sorted({wrong.row for wrong in WRONG}) == ROWS
