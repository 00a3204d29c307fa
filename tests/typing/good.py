"""What users write, and no type checker finds anything in it. `tests/test_types.py` runs mypy and pyright over it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import kvfake
from kvfake import Clock, Double, DoubleFactory, Exchange, Fault, Faults, FidelityWarning, Journal, Mattermost, Persist


@pytest.fixture(scope="module")
def shared(kvfake_factory: DoubleFactory) -> Iterator[Double]:
    with kvfake_factory(profile="plugin-1.2", strict=True, token={"mine": "app/ada"}, seed=Path("values.json")) as double:
        yield double


def test_parts(kvfake: Double) -> None:
    faults: Faults = kvfake.faults
    journal: Journal = kvfake.journal
    clock: Clock = kvfake.clock
    values: Mattermost = kvfake.mattermost.as_user("ada").with_prefix("p")
    plain: Persist = kvfake.persist.project("other")
    assert (len(faults), len(journal), clock.is_frozen, dict(values), dict(plain)) == (0, 0, False, {}, {})


def test_values(kvfake: Double) -> None:
    kvfake.mattermost["name"] = {"first": "Ada"}
    kvfake.persist["step"] = "2"
    kvfake.persist.json["convo"] = {"step": 2}
    kvfake.persist.raw["bytes"] = b"\xff"
    text: str = kvfake.persist["step"]
    moment: datetime = kvfake.persist.updated("step")
    assert (text, moment.tzinfo is not None) == ("2", True)
    assert kvfake.mattermost.call("/submit", {"dish": 1}, acting_user=None)["path"] == "/submit"


def test_faults(kvfake: Double) -> None:
    with kvfake.faults.add(status=503, times=None, key=re.compile("^convo"), delay=(0.1, 0.2)) as fault:
        assert fault.hits == 0
    kvfake.faults.add(sever="after", delay={"median": 0.1, "sigma": 0.5})
    kvfake.faults.add(delay={"over": 1}, when=lambda request: request.key == "k", before=lambda: None)
    lost: Fault = kvfake.faults.on("PUT", key="k").nth(3).lose_acknowledgement()
    kvfake.faults.on(service="persist").every(2).times(None).answer(503, headers={"Retry-After": "1"})
    kvfake.faults.on().delay(0.2).remove()
    assert lost.hits == 0


def test_journal(kvfake: Double) -> None:
    last: Exchange = kvfake.journal[-1]
    assert last.fault is None or last.fault.hits == 1
    hits: int = kvfake.journal[-1].fault.hits
    assert hits == 1
    found: list[Exchange] = kvfake.journal.filter("PUT", key=re.compile("^a"), status=200)
    kvfake.journal.assert_requested("PUT", key="a", owner="app/bot", times=1)
    kvfake.journal.assert_not_requested(service="persist", verb="delete")
    assert found == kvfake.journal.wait_for("PUT", key="a", times=1, timeout=5)


def test_clock(kvfake: Double) -> None:
    kvfake.clock.freeze("2026-01-01")
    kvfake.clock.shift(timedelta(days=1))
    kvfake.clock.move_to(1_000_000.5)


def test_warning(kvfake: Double) -> None:
    with pytest.warns(kvfake.FidelityWarning, match="M15"):
        kvfake.mattermost.with_prefix("long")
    assert issubclass(FidelityWarning, UserWarning)


def without_pytest() -> None:
    with kvfake.start(port=0, allow_host=["double.example"], mattermost_missing="404", journal_exchanges=10) as double:
        double.respond("POST", re.compile("/api/.*"), 201, json={"id": "a"})
        mark: int = double.checkpoint()
        double.rollback(mark)
    other = Double(profile="documented", token=["a=app/bot", "b=project:b"])
    other.load(double.dump())
    other.mount("/app", kvfake.wsgi_app)
