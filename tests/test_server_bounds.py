"""What clients keep of a server is bounded, in number, time and bytes; over a bound one of them pays, and the others are served."""

from __future__ import annotations

import errno
import resource
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

import kvfake
from kvfake.http import server as server_module
from kvfake.http.connection import Connection
from kvfake.http.poller import WRITE
from kvfake.http.server import Server
from kvfake.services.messages import Job, Lane, Request, Response
from tests.support.doors import serving
from tests.support.process import Running, served
from tests.support.wire import Wire, request_bytes

QUICK = request_bytes("GET", "/quick")
CHUNKED = b"PUT /quick HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
HALF_A_HEAD = QUICK[:-2]
LARGE_BYTES = 8 << 20  # more than the buffers of two sockets take


def head_of_put(length: int) -> bytes:
    return b"PUT /quick HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length


class Slow(Server):
    """Its /slow waits for ``may_end``, and its /large is larger than what sockets keep."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        super().__init__(lambda: Connection(self._answer), "127.0.0.1", 0)

    def _answer(self, request: Request) -> Response | Job:
        if request.target == b"/slow":
            return Job(self._slow, Lane.OTHER)
        return Response(200, body=b"x" * LARGE_BYTES if request.target == b"/large" else b"quick")

    def _slow(self) -> Response:
        assert self.may_end.wait(10)
        return Response(200, body=b"slow")


@contextmanager
def started() -> Iterator[Slow]:
    server = Slow()
    server.start()
    try:
        yield server
    finally:
        server.may_end.set()
        server.stop()


def until(condition: object) -> bool:
    assert callable(condition)
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return bool(condition())


# ------------------------------------------------------------------------------------------------------------- connections


def test_the_connection_that_waits_longest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """First an idle one, then one with half a request, then the oldest of the others; never one at work, nor one that was just
    answered.
    """
    monkeypatch.setattr(server_module, "MAX_CONNECTIONS", 4)
    monkeypatch.setattr(server_module, "_NEW_SECONDS", 0.4)
    with started() as server, ExitStack() as open_ones:
        working, half, idle, busy = (open_ones.enter_context(Wire(server.port)) for _ in range(4))
        working.send(request_bytes("GET", "/slow"))
        half.send(HALF_A_HEAD)
        assert idle.ask(QUICK).status == busy.ask(QUICK).status == 200
        time.sleep(0.5)
        assert busy.ask(QUICK).status == 200
        waiting = [idle, half]
        for _ in range(3):
            waiting.append(open_ones.enter_context(Wire(server.port)))
            assert waiting[-1].ask(QUICK).status == 200
            assert waiting.pop(0).is_closed()
            assert busy.ask(QUICK).status == 200
        server.may_end.set()
        assert working.reply().text == "slow"


def test_a_client_that_does_not_take_its_answer_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """For those that do: clients that only ask cannot lock out others."""
    monkeypatch.setattr(server_module, "MAX_CONNECTIONS", 2)
    monkeypatch.setattr(server_module, "_NEW_SECONDS", 0.1)
    with started() as server, Wire(server.port) as deaf, Wire(server.port) as busy:
        deaf.send(request_bytes("GET", "/large"))
        assert until(lambda: any(peer.mask == WRITE for peer in server._peers))
        time.sleep(0.2)
        assert busy.ask(QUICK).status == 200
        with Wire(server.port) as newcomer:
            assert newcomer.ask(QUICK).status == 200
            assert busy.ask(QUICK).status == 200
        assert received(deaf) < LARGE_BYTES


def test_where_every_connection_is_at_work_a_new_one_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It can come again; those at work get their answers."""
    monkeypatch.setattr(server_module, "MAX_CONNECTIONS", 2)
    with started() as server, Wire(server.port) as one, Wire(server.port) as other:
        for wire in (one, other):
            wire.send(request_bytes("GET", "/slow"))
        assert until(lambda: sum(not peer.mask for peer in server._peers) == 2)
        with Wire(server.port) as newcomer:
            assert newcomer.is_closed()
        server.may_end.set()
        assert one.reply().text == other.reply().text == "slow"
        with Wire(server.port) as newcomer:
            assert newcomer.ask(QUICK).text == "quick"


def test_where_every_connection_waits_for_long_the_one_that_waits_longest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients whose answers are delayed, or made by somebody slow, cannot lock out others. The one that has just come is served."""
    monkeypatch.setattr(server_module, "MAX_CONNECTIONS", 2)
    monkeypatch.setattr(server_module, "_NEW_SECONDS", 0.05)
    with started() as server, Wire(server.port) as first, Wire(server.port) as second:
        for wire in (first, second):
            wire.send(request_bytes("GET", "/slow"))
            time.sleep(0.1)
        with Wire(server.port) as newcomer:
            assert newcomer.ask(QUICK).text == "quick"
            assert first.is_closed()
        server.may_end.set()
        assert second.reply().text == "slow"


def test_an_answer_that_a_fault_delays_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that its client does not take."""
    monkeypatch.setattr(server_module, "MAX_UNSENT_BYTES", 1_100_000)  # room for five of the six, with their heads
    double = kvfake.Double()
    double.persist["large"] = "v" * 200_000
    double.faults.add(delay=30, times=None)
    with serving(double) as door, ExitStack() as open_ones:
        wires = [open_ones.enter_context(Wire(door.port)) for _ in range(6)]
        for wire in wires:
            wire.send(request_bytes("GET", "/persist/kv/large", double.persist.headers))
        ended, _, _ = select.select([wire.socket for wire in wires], [], [], 10)
        assert len(ended) == 1


def test_where_the_system_has_no_more_descriptors_an_idle_connection_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The new one is served at once."""
    errors = [OSError(errno.EMFILE, "Too many open files")]
    with started() as server, Wire(server.port) as idle:
        assert idle.ask(QUICK).status == 200
        monkeypatch.setattr(server, "_listener", Listener(server._listener, errors))
        with Wire(server.port) as newcomer:
            assert newcomer.ask(QUICK).status == 200
        assert idle.is_closed()


def test_where_making_room_is_in_vain_the_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may take what one makes free: one connection is closed for it at a time, and not all of them."""
    errors = [OSError(errno.ENFILE, "Too many open files in system") for _ in range(2)]
    with started() as server, ExitStack() as open_ones:
        wires = [open_ones.enter_context(Wire(server.port)) for _ in range(5)]
        assert {wire.ask(QUICK).status for wire in wires} == {200}
        monkeypatch.setattr(server, "_listener", Listener(server._listener, errors))
        with Wire(server.port) as newcomer:
            assert newcomer.ask(QUICK).status == 200
        assert len(server._peers) in (4, 5)  # the newcomer may be gone already


class Listener:
    """Fails to accept with these errors first."""

    def __init__(self, listener: socket.socket, errors: list[OSError]) -> None:
        self._listener, self._errors = listener, errors

    def accept(self) -> object:
        if self._errors:
            raise self._errors.pop()
        return self._listener.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listener, name)


# The command, where it may open so many files, or may allow itself so many.
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({}, {}))
from kvfake.cli import main
sys.exit(main())
"""


@contextmanager
def limited(soft: int, hard: int) -> Iterator[int]:
    """The port of ``kvfake serve`` with these limits of open files."""
    program = (sys.executable, "-c", LIMITED.format(soft, hard))
    with Running("serve", "--port", "0", program=program) as process:
        yield int(process.line().rpartition(":")[2])


def test_more_connections_than_the_process_may_open_files() -> None:
    """Each new one is served, and so is one that is busy all the time."""
    with limited(64, 64) as port, ExitStack() as open_ones:
        busy = open_ones.enter_context(Wire(port))
        for _ in range(150):
            assert busy.ask(QUICK).status == 404
            assert open_ones.enter_context(Wire(port)).ask(QUICK).status == 404


def test_serve_opens_as_many_files_as_it_may() -> None:
    """The soft limit is there for old programs; the hard one counts."""
    with limited(64, 1024) as port, ExitStack() as open_ones:
        wires = [open_ones.enter_context(Wire(port)) for _ in range(200)]
        assert {wire.ask(QUICK).status for wire in wires} == {404}


def test_a_thousand_idle_connections_and_64_busy_ones() -> None:
    """All are kept, and all are served."""
    with served() as (_, url), many_open_files(), ExitStack() as open_ones:
        port = int(url.rpartition(":")[2])
        idle = [open_ones.enter_context(Wire(port)) for _ in range(1000)]
        busy = [open_ones.enter_context(Wire(port)) for _ in range(64)]
        for _ in range(20):
            for wire in busy:
                wire.send(QUICK)
            assert {wire.reply().status for wire in busy} == {404}
        assert {wire.ask(QUICK).status for wire in idle} == {404}


@pytest.mark.once
def test_five_thousand_slow_heads() -> None:
    """Nobody waits for them, and they are served when they come whole."""
    with served() as (_, url), many_open_files(), ExitStack() as open_ones:
        port = int(url.rpartition(":")[2])
        slow = [open_ones.enter_context(Wire(port)) for _ in range(5000)]
        with Wire(port) as quick:
            for wire in slow:
                wire.send(HALF_A_HEAD)
                assert quick.ask(QUICK).status == 404
        for wire in slow:
            wire.send(b"\r\n")
        assert {wire.reply().status for wire in slow} == {404}


@contextmanager
def many_open_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 6000)), hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# -------------------------------------------------------------------------------------------------------------------- time


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_PEER_SECONDS", 0.4)
    monkeypatch.setattr(server_module, "_SWEEP_SECONDS", 0.02)


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("begin", [b"", head_of_put(1000), CHUNKED + b"1;"], ids=["head", "body", "chunk"])
def test_a_request_that_drips_is_cut_off(begin: bytes) -> None:
    """The time is that of the whole request: bytes that keep coming do not prolong it."""
    with started() as server, Wire(server.port) as wire:
        wire.send(begin)

        def drip() -> bool:
            try:
                wire.send(b"x")
            except OSError:
                return True
            return False

        assert until(drip)


@pytest.mark.usefixtures("short_waits")
def test_a_connection_that_is_used_is_kept() -> None:
    """For longer than one request may take, also with half of the next one each time."""
    with started() as server, Wire(server.port) as wire:
        wire.send(QUICK[:10])
        end = time.monotonic() + 1
        while time.monotonic() < end:
            wire.send(QUICK[10:] + QUICK[:10])
            assert wire.reply().status == 200
            time.sleep(0.01)


@pytest.mark.usefixtures("short_waits")
def test_an_answer_that_nobody_takes_is_cut_off() -> None:
    """So its bytes are not kept for ever."""
    with started() as server, Wire(server.port) as wire:
        wire.send(request_bytes("GET", "/large"))
        assert until(lambda: server._unsent)
        assert until(lambda: not server._unsent)
        assert received(wire) < LARGE_BYTES


def received(wire: Wire) -> int:
    """How many bytes still come."""
    count = 0
    with suppress(ConnectionError):
        while data := wire.socket.recv(1 << 20):
            count += len(data)
    return count


# ------------------------------------------------------------------------------------------------------------------- bytes


def test_over_the_bound_of_unfinished_requests_the_largest_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 503, and its connection ends; what it sent is not kept. The others go on."""
    monkeypatch.setattr(server_module, "MAX_HELD_BYTES", 300_000)
    with started() as server, Wire(server.port) as large, Wire(server.port) as small, Wire(server.port) as other:
        small.send(head_of_put(200) + b"x" * 100)
        large.send(head_of_put(400_000) + b"x" * 250_000)
        assert until(lambda: server._held > 250_000)
        other.send(head_of_put(200_000) + b"x" * 100_000)
        assert large.reply().status == 503
        assert large.is_closed()
        small.send(b"x" * 100)
        other.send(b"x" * 100_000)
        assert small.reply().status == other.reply().status == 200
        assert until(lambda: server._held == 0)


def test_a_body_counts_until_its_job_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is kept for so long. One whose job runs cannot be refused any more, so the next one is."""
    monkeypatch.setattr(server_module, "MAX_HELD_BYTES", 300_000)
    with started() as server, Wire(server.port) as working, Wire(server.port) as next_one:
        working.send(head_of_put(280_000).replace(b"quick", b"slow") + b"x" * 280_000)
        assert until(lambda: any(not peer.mask for peer in server._peers))
        next_one.send(head_of_put(200_000) + b"x" * 100_000)
        assert next_one.reply().status == 503
        server.may_end.set()
        assert working.reply().text == "slow"
        assert until(lambda: server._held == 0)


def test_what_is_sent_behind_a_request_at_work_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is not refused: it is read when the job is done."""
    monkeypatch.setattr(server_module, "MAX_HELD_BYTES", 100)
    with started() as server, Wire(server.port) as wire:
        wire.send(request_bytes("GET", "/slow") + QUICK + QUICK * 10)
        assert until(lambda: server._held > 100)
        server.may_end.set()
        assert [wire.reply().text for _ in range(12)] == ["slow"] + ["quick"] * 11
        assert until(lambda: server._held == 0)


def test_what_is_sent_behind_a_large_answer_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is said in the middle of that answer."""
    monkeypatch.setattr(server_module, "MAX_HELD_BYTES", 100)
    with started() as server, Wire(server.port) as wire:
        wire.send(request_bytes("GET", "/large") + QUICK * 10)
        assert until(lambda: server._held > 100)
        assert [len(wire.reply().body) for _ in range(11)] == [LARGE_BYTES] + [len("quick")] * 10
        assert until(lambda: server._held == 0)


def test_over_the_bound_of_answers_the_client_that_took_nothing_for_longest_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another gets its answer whole."""
    monkeypatch.setattr(server_module, "MAX_UNSENT_BYTES", LARGE_BYTES * 3 // 2)
    large = request_bytes("GET", "/large")
    with started() as server, Wire(server.port) as first, Wire(server.port) as second:
        assert until(lambda: len(server._peers) == 2)
        for count, wire in enumerate((first, second), 1):
            wire.send(large)
            assert until(lambda count=count: sum(peer.mask == WRITE for peer in server._peers) == count or len(server._peers) == 1)
        assert len(second.reply().body) == LARGE_BYTES
        with pytest.raises(ConnectionResetError):
            first.rest()


def test_one_answer_may_be_larger_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody else waits for one."""
    monkeypatch.setattr(server_module, "MAX_UNSENT_BYTES", 1000)
    with started() as server, Wire(server.port) as wire:
        wire.send(request_bytes("GET", "/large"))
        assert until(lambda: any(peer.mask == WRITE for peer in server._peers))
        assert len(wire.reply().body) == LARGE_BYTES
        assert until(lambda: server._unsent == 0)


def test_what_is_counted_for_a_client_that_goes_is_counted_no_more() -> None:
    """Half a request, or an answer that it did not take."""
    with started() as server:
        for message in (head_of_put(100) + b"x", request_bytes("GET", "/large")):
            with Wire(server.port) as wire:
                wire.send(message)
                assert until(lambda: server._held + server._unsent)
            assert until(lambda: (server._held, server._unsent) == (0, 0))
