"""Nobody waits for what another client does: turns in the loop are short, and jobs have threads of their lane."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

import kvfake
from kvfake.http.connection import Action, Connection, Yield
from kvfake.http.workers import MAX_WORKERS
from kvfake.services.messages import Job, Lane, Request, Response
from tests.support.doors import serving
from tests.support.served import server_of
from tests.support.troubled_servers import listening, silent
from tests.support.wire import Wire, request_bytes

QUICK = request_bytes("GET", "/quick")
HEALTH, CLOCK = (b"GET /_kvfake/%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path for path in (b"health", b"clock"))
LARGE_BYTES = 64 << 20


def test_a_pipeline_without_end_is_nobodys_wait() -> None:
    """Its connection has a turn of a few milliseconds, and then the others have theirs."""
    served: list[bytes] = []

    def answer(request: Request) -> Response:
        served.append(request.target)
        if request.target == b"/":
            time.sleep(0.0002)
        return Response(200)

    def requests_before_another() -> int:
        with serving(kvfake.Double(), lambda _: answer) as door, Wire(door.port) as endless:
            served.clear()
            door.send("GET", "/before")
            endless.send(request_bytes("GET", "/") * 1000)
            while len(served) < 20:
                time.sleep(0.001)
            before = len(served)
            door.send("GET", "/other")
            return served.index(b"/other") - before

    assert min(requests_before_another() for _ in range(5)) < 100


def test_a_pipeline_has_all_its_answers_in_their_order() -> None:
    """However many turns it takes."""
    with (
        serving(kvfake.Double(), lambda _: lambda request: Response(200, body=bytes(request.target))) as door,
        Wire(door.port) as wire,
    ):
        sending = threading.Thread(target=wire.send, args=[b"".join(request_bytes("GET", f"/{n}") for n in range(20_000))])
        sending.start()
        assert [wire.reply().text for _ in range(20_000)] == [f"/{n}" for n in range(20_000)]
        sending.join()


def test_a_large_answer_is_nobodys_wait() -> None:
    """It goes in slices; between them others are answered."""
    body = b"x" * LARGE_BYTES
    large = Response(200, body=body)
    with serving(kvfake.Double(), lambda _: lambda request: large if request.target == b"/large" else Response(200)) as door:
        replies: list[bytes] = []

        def read() -> None:
            with Wire(door.port) as wire:
                replies.append(wire.ask(request_bytes("GET", "/large")).body)

        reading = threading.Thread(target=read)
        reading.start()
        answered = 0
        while reading.is_alive():
            assert door.send("GET", "/quick").status == 200
            answered += 1
        assert replies == [body]
        assert answered >= 60  # of the 256 slices


def test_a_connection_that_lets_others_go_first_goes_on_after_them() -> None:
    """As often as it does so; a long body is read in pieces that way."""
    may_end = threading.Event()

    class Hesitant(Connection):
        is_slow = False

        def receive(self, data: bytes) -> tuple[Action, ...]:
            self.is_slow = b"/slow" in data
            return super().receive(data)

        def advance(self) -> tuple[Action, ...]:
            return (Yield(),) if self.is_slow and not may_end.is_set() else super().advance()

    with serving(kvfake.Double(), lambda _: lambda request: Response(200), Hesitant) as door, Wire(door.port) as slow:
        slow.send(request_bytes("GET", "/slow"))
        for _ in range(10):
            assert door.send("GET", "/quick").status == 200
        may_end.set()
        assert slow.reply().status == 200


def test_health_and_control_do_not_wait_for_a_silent_fallback() -> None:
    """Nor for as many requests as there are threads for it, and more."""
    with listening(silent) as port, kvfake.start(fallback=f"http://127.0.0.1:{port}") as double, ExitStack() as open_ones:
        own = server_of(double).port
        waiting = [open_ones.enter_context(Wire(own)) for _ in range(MAX_WORKERS[Lane.OTHER] + 8)]
        for wire in waiting:
            wire.send(request_bytes("GET", "/api/v4/posts"))
        with Wire(own) as wire:
            for message in (HEALTH, CLOCK):
                assert wire.ask(message).status == 200


@pytest.mark.parametrize("lane", [lane for lane in Lane if lane not in (Lane.HEALTH, Lane.WAITING)])
def test_no_lane_waits_for_another(lane: Lane) -> None:
    """All threads of one are at work, and more of its jobs wait; a job of each other lane is done. None is lost."""
    may_end = threading.Event()

    def slow() -> Response:
        assert may_end.wait(10)
        return Response(200)

    jobs = {other.value.encode(): Job(lambda: Response(200), other) for other in Lane} | {b"slow": Job(slow, lane)}
    with serving(kvfake.Double(), lambda _: lambda request: jobs[request.target[1:]]) as door, ExitStack() as open_ones:
        waiting = [open_ones.enter_context(Wire(door.port)) for _ in range(MAX_WORKERS[lane] + 3)]
        for wire in waiting:
            wire.send(request_bytes("GET", "/slow"))
        for other in Lane:
            if other is not lane:
                assert door.send("GET", f"/{other.value}").status == 200
        names = [thread.name for thread in threading.enumerate() if thread.name.startswith(f"kvfake-{door.port}-job-{lane.value}-")]
        assert len(names) <= MAX_WORKERS[lane]
        may_end.set()
        assert {wire.reply().status for wire in waiting} == {200}


def test_an_idle_thread_is_used_again() -> None:
    """One after the other needs one thread."""
    with kvfake.start() as double, Wire(server_of(double).port) as wire:
        assert {wire.ask(HEALTH).status for _ in range(20)} == {200}
        names = [thread.name for thread in threading.enumerate()]
        assert [name for name in names if name.startswith(f"kvfake-{server_of(double).port}-job")] == [
            f"kvfake-{server_of(double).port}-job-health-0"
        ]


def test_what_a_job_held_is_not_kept() -> None:
    """The thread that did it waits for the next one without it."""
    import gc
    import weakref

    class Large:
        """What a job holds: its request, say."""

    kept: list[weakref.ref[Large]] = []

    def job() -> Job:
        large = Large()
        kept.append(weakref.ref(large))
        call: Callable[[], Response] = lambda: Response(200) if large else Response(500)  # noqa: E731
        return Job(call, Lane.OTHER)

    with serving(kvfake.Double(), lambda _: lambda request: job()) as door:
        assert door.send("GET", "/").status == 200
        assert door.send("GET", "/").status == 200
        gc.collect()
        assert kept[0]() is None
