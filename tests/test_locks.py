"""What two threads may not do at the same moment, a lock each: where one is missing, they meet inside, and something is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from kvfake.double import settings_of
from kvfake.services.mattermost import KV
from kvfake.stores import Entry, Namespace
from kvfake.stores.memory import MemoryStore
from kvfake.world.backend import Backend
from kvfake.world.faults import Fault, Faults
from kvfake.world.journal import Journal
from tests.support.doors import opened
from tests.support.process import PATIENCE_SECONDS

MOMENT_SECONDS = 0.2  # how long the first waits for the second, which a lock keeps away


class Meeting:
    """A place inside of what a lock protects. Who comes waits for a second thread, once for a moment."""

    def __init__(self) -> None:
        self._barrier = threading.Barrier(2)
        self.has_happened = False

    def come(self) -> None:
        with suppress(threading.BrokenBarrierError):
            self._barrier.wait(MOMENT_SECONDS)
            self.has_happened = True


def at_once(*calls: Callable[[], object]) -> None:
    """Make the calls, a thread each."""
    threads = [threading.Thread(target=call, daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


def test_two_worlds_that_are_opened_at_once_are_two() -> None:
    """Each has an id of its own."""
    meeting = Meeting()

    class MetBackend(Backend):
        @property
        def _serial(self) -> int:
            serial = self.kept_serial
            meeting.come()
            return serial

        @_serial.setter
        def _serial(self, serial: int) -> None:
            self.kept_serial = serial

    backend = MetBackend("http://double.example", settings_of({}))
    at_once(lambda: backend.open({}), lambda: backend.open({}))
    assert len(backend.worlds) == 2


@pytest.mark.parametrize("fault", [{}, {"status": 503, "key": "another"}], ids=["no fault", "a fault"])
def test_one_operation_is_done_at_a_time(fault: dict[str, Any]) -> None:
    """And recorded before the next begins: the journal has the order in which the store was changed."""
    meeting, stored = Meeting(), list[bytes]()

    class MetStore(MemoryStore):
        def set(self, namespace: Namespace, key: bytes, entry: Entry) -> None:
            stored.append(entry.value)
            meeting.come()
            super().set(namespace, key, entry)

    with opened("wsgi") as one:
        one.double._world.store = MetStore()
        if fault:
            one.double.faults.add(**fault)
        headers = one.double.mattermost.headers
        at_once(*(lambda value=value: one.send("PUT", f"{KV}/k", headers, value) for value in (b"1", b"2")))
        assert not meeting.has_happened
        assert [exchange.request.body for exchange in one.double.journal] == stored


def test_one_exchange_is_recorded_at_a_time() -> None:
    """Also of those that no service answers: no number is given twice."""
    meeting = Meeting()

    class MetJournal(Journal):
        @property
        def seen(self) -> int:
            seen = self.kept_seen
            meeting.come()
            return seen

        @seen.setter
        def seen(self, seen: int) -> None:
            self.kept_seen = seen

    with opened("wsgi") as one:
        one.double._world.journal = journal = MetJournal(1000, 1000, one.double._world.lock)
        at_once(lambda: one.send("GET", "/a"), lambda: one.send("GET", "/b"))
        assert [exchange.number for exchange in journal] == [1, 2]


# ------------------------------------------------------------------------------------------------------------------ faults


def test_a_fault_that_strikes_once_strikes_one_of_two_requests() -> None:
    """Two that come at the same moment are counted one after the other."""
    meeting = Meeting()

    class MetNumber(int):
        def __rmod__(self, other: int) -> int:
            meeting.come()
            return other % int(self)

    with opened("wsgi") as one:
        one.double.faults.add(status=503, times=1, every=MetNumber(1))
        headers, got = one.double.mattermost.headers, list[int]()
        at_once(*[lambda: got.append(one.send("GET", f"{KV}/k", headers).status)] * 2)
        assert sorted(got) == [200, 503]


class MetFaults(Faults):
    """Faults of which ``reading`` is called by who has read which are active, and goes on from there."""

    def __init__(self, reading: Callable[[], object]) -> None:
        self.reading: Callable[[], object] = bool
        super().__init__()
        self.old = self.add(503), self.add(503)
        self.reading = reading

    @property
    def active(self) -> tuple[Fault, ...]:
        active = self.kept_active
        self.reading()
        return active

    @active.setter
    def active(self, active: tuple[Fault, ...]) -> None:
        self.kept_active = active


def test_faults_that_are_added_or_removed_at_once_are_all_added_or_removed() -> None:
    """None of two is lost, and each has a number of its own."""
    faults = MetFaults(Meeting().come)
    at_once(lambda: faults.add(500), lambda: faults.add(500))
    assert [fault.number for fault in faults] == [1, 2, 3, 4]
    faults.reading = Meeting().come
    at_once(*(old.remove for old in faults.old))
    assert [fault.number for fault in faults] == [3, 4]


@pytest.mark.parametrize("forget", [Faults.clear, lambda faults: faults.restore([])], ids=["clear", "rollback"])
def test_faults_that_are_forgotten_stay_so(forget: Callable[[Faults], None]) -> None:
    """While another thread adds one: it may be there afterwards, the old ones are not."""
    is_reading, is_forgotten = threading.Event(), threading.Event()
    reads: list[None] = []

    def reading() -> None:
        reads.append(None)
        if len(reads) == 2:  # the first looks whether there are too many
            is_reading.set()
            is_forgotten.wait(MOMENT_SECONDS)

    def forget_meanwhile() -> None:
        assert is_reading.wait(PATIENCE_SECONDS)
        forget(faults)
        is_forgotten.set()

    faults = MetFaults(reading)
    at_once(lambda: faults.add(500), forget_meanwhile)
    assert not {*faults.old} & {*faults}
