"""Whatever is raised in the loop of a server, it goes on: the connection concerned pays, and everybody else is served."""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import kvfake
from kvfake.http import server as server_module
from kvfake.http import workers as workers_module
from kvfake.http.connection import Connection
from kvfake.http.server import TURN_BYTES, Server
from kvfake.services.messages import Job, Lane, Request, Response
from tests.support.doors import serving
from tests.support.process import PATIENCE_SECONDS, Running
from tests.support.served import server_of
from tests.support.wire import Wire, request_bytes

QUICK, LARGE, JOB = (request_bytes("GET", path) for path in ("/quick", "/large", "/job"))
LARGE_BYTES = TURN_BYTES - 1000  # sent at once, as far as the socket takes it


def answer(request: Request) -> Response | Job:
    if request.target == b"/job":
        return Job(lambda: Response(200, body=b"job"), Lane.OTHER)
    return Response(200, body=b"x" * LARGE_BYTES if request.target == b"/large" else b"quick")


class Failing:
    """Stands for another object, of which one method raises these errors first."""

    def __init__(self, target: Any, method: str, errors: list[BaseException]) -> None:
        self._target, self._method, self._errors = target, method, errors

    def __getattr__(self, name: str) -> Any:
        if name == self._method and self._errors:
            return self._fail
        return getattr(self._target, name)

    def _fail(self, *_: object) -> None:
        if self._method == "close":  # as close(2) does it: the descriptor is free also where it fails
            self._target.close()
        raise self._errors.pop()


def fails_at_connection(method: str, server: Server, errors: list[BaseException]) -> None:
    connect = server._connect
    server._connect = lambda: Failing(connect(), method, errors)  # type: ignore[assignment,return-value]


def fails_at_peer(method: str, server: Server, errors: list[BaseException]) -> None:
    class Listener(Failing):
        def accept(self) -> tuple[Any, object]:
            sock, address = self._target.accept()
            return Failing(sock, method, errors), address

    server._listener = Listener(server._listener, "", [])  # type: ignore[assignment]


def fails_at(attribute: str, method: str, server: Server, errors: list[BaseException]) -> None:
    setattr(server, attribute, Failing(getattr(server, attribute), method, errors))


def fails_at_poller(method: str, server: Server, errors: list[BaseException]) -> None:
    server._poller._poller = Failing(server._poller._poller, method, errors)


def fails_at_making_connections(server: Server, errors: list[BaseException]) -> None:
    connect = server._connect

    def failing() -> Connection:
        if errors:
            raise errors.pop()
        return connect()

    server._connect = failing


CONNECTION = ("receive", "advance", "eof", "job_done")
SOCKET = ("setblocking", "setsockopt", "fileno", "recv", "send", "shutdown", "close")
POLLER = ("register", "modify", "unregister", "poll")
PLACES: dict[str, Callable[[Server, list[BaseException]], None]] = {
    "accepting": partial(fails_at, "_listener", "accept"),
    "reading from the socket that wakes": partial(fails_at, "_waker_out", "recv"),
    "the clock": partial(fails_at, "_timers", "run"),
    "the time of a turn": partial(fails_at, "_timers", "now"),
    "handing out a job": partial(fails_at, "_workers", "run"),
    "delivering jobs": partial(fails_at, "_workers", "deliver"),
    "making a connection": fails_at_making_connections,
    **{f"{method} of the connection": partial(fails_at_connection, method) for method in CONNECTION},
    **{f"{method} of a client's socket": partial(fails_at_peer, method) for method in SOCKET},
    **{f"{method} of the poller": partial(fails_at_poller, method) for method in POLLER},
}

ERRORS: list[Callable[[], BaseException]] = [
    lambda: OSError(errno.EIO, "Input/output error"),
    lambda: RuntimeError("can't start new thread"),
    MemoryError,
    lambda: ValueError("I/O operation on closed file"),
    lambda: pytest.fail.Exception("raised by a user's function"),
]


@contextmanager
def started(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        server.stop()


def do_a_bit_of_everything(port: int) -> None:
    """Several requests at once, a job, an answer that fills the socket, a request that is refused, half of one, an end."""
    for message, answers in ((JOB, 1), (QUICK + QUICK + LARGE * 60, 62), (QUICK[:10], 0), (QUICK, 1)):
        with suppress(OSError, ValueError), Wire(port) as wire:
            wire.send(message)
            time.sleep(0.01 if answers > 1 else 0)  # the socket is full by then
            for _ in range(answers):
                wire.reply()
            wire.end_of_sending()
            wire.rest()


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error()).__name__)
@pytest.mark.parametrize("place", PLACES)
def test_whatever_is_raised_others_are_served(place: str, error: Callable[[], BaseException]) -> None:
    """Wherever it is raised, the connection concerned may end; one that was there before, and the next, are served."""
    server = Server(lambda: Connection(answer), "127.0.0.1", 0)
    with started(server), Wire(server.port) as other:
        assert other.ask(QUICK).text == "quick"
        errors = [error()]
        PLACES[place](server, errors)
        do_a_bit_of_everything(server.port)
        do_a_bit_of_everything(server.port)
        assert errors == []
        assert other.ask(QUICK).text == "quick"
        with Wire(server.port) as later:
            assert later.ask(JOB).text == "job"
            assert later.ask(LARGE).body == b"x" * LARGE_BYTES


def test_a_client_whose_request_breaks_the_server_is_told_so() -> None:
    """500, and the end of its connection; the traceback is on stderr."""
    server = Server(lambda: Connection(answer), "127.0.0.1", 0)
    with started(server), Wire(server.port) as wire:
        for place in ("receive of the connection", "advance of the connection", "job_done of the connection"):
            errors: list[BaseException] = [MemoryError()]
            with Wire(server.port) as other:
                assert other.ask(QUICK).text == "quick"
            PLACES[place](server, errors)
            with Wire(server.port) as wire:
                wire.send(JOB)
                reply = wire.reply()
                if place.startswith("advance"):
                    assert reply.text == "job"
                    reply = wire.reply()
                assert (reply.status, reply.json()["error"]) == (500, "unexpected error in kvfake: its traceback is on stderr")
                assert wire.is_closed()


def test_a_client_that_cannot_be_told_so_is_dropped() -> None:
    """The answer fails, too."""
    server = Server(lambda: Connection(answer), "127.0.0.1", 0)
    with started(server):
        errors: list[BaseException] = [MemoryError(), MemoryError()]
        fails_at_connection("receive", server, errors)
        fails_at_peer("send", server, errors)
        with Wire(server.port) as wire:
            wire.send(QUICK)
            assert wire.is_closed()
        assert errors == []
        with Wire(server.port) as wire:
            assert wire.ask(QUICK).text == "quick"


def test_a_refusal_of_too_much_may_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client is told that, and the others are served."""
    monkeypatch.setattr(server_module, "MAX_HELD_BYTES", 5)
    server = Server(lambda: Connection(answer), "127.0.0.1", 0)
    with started(server), Wire(server.port) as other:
        fails_at_connection("overloaded", server, [MemoryError()])
        with Wire(server.port) as wire:
            wire.send(QUICK[:10])
            assert wire.reply().status == 500
        assert other.ask(QUICK).text == "quick"


def test_a_socket_that_turns_out_to_take_no_bytes() -> None:
    """The system may be mistaken; they are sent later."""
    server = Server(lambda: Connection(answer), "127.0.0.1", 0)
    with started(server):
        fails_at_peer("send", server, [BlockingIOError(), BlockingIOError()])
        with Wire(server.port) as wire:
            wire.send(LARGE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert len(wire.reply().body) == LARGE_BYTES
            assert wire.is_closed()


def test_a_server_that_cannot_listen_again_tries_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a pause, because a connection could not be accepted."""
    monkeypatch.setattr(server_module, "_ACCEPT_PAUSE_SECONDS", 0.02)
    server = Server(lambda: Connection(answer), "127.0.0.1", 0)
    errors: list[BaseException] = [OSError(errno.ENOMEM, "Cannot allocate memory")]
    with started(server):
        fails_at("_listener", "accept", server, [RuntimeError("can't start new thread")])
        PLACES["register of the poller"](server, errors)
        with Wire(server.port) as wire:
            assert wire.ask(QUICK).text == "quick"
        assert errors == []


def raising(error: Callable[[], BaseException]) -> Callable[[Any], Callable[[Request], Response | Job]]:
    """A site that raises, in the loop or, for /job, in a job."""

    def fail() -> Response:
        raise error()

    def wrong(request: Request) -> Response | Job:
        return answer(request) if request.target == b"/quick" else Job(fail, Lane.OTHER) if request.target == b"/job" else fail()

    return lambda _: wrong


@pytest.mark.parametrize("stderr", ["closed", "none", "a full pipe", "a pipe without a reader", "broken"])
def test_where_stderr_cannot_be_written_every_request_has_its_answer(stderr: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is raised in the loop or in a job is answered with 500, time after time; the traceback is lost."""
    reader, writer = os.pipe()
    with serving(kvfake.Double(), raising(LookupError)) as door, os.fdopen(writer, "w") as stream:
        if stderr == "closed":
            stream.close()
        elif stderr == "a full pipe":
            os.set_blocking(writer, False)
            with suppress(BlockingIOError):
                while os.write(writer, b"x" * 4096):
                    ...
            os.set_blocking(writer, True)
        elif stderr == "a pipe without a reader":
            os.close(reader)
        monkeypatch.setattr(sys, "stderr", {"none": None, "broken": object()}.get(stderr, stream))
        for _ in range(3):
            for path in ("/job", "/broken"):
                with Wire(door.port, timeout=10) as wire:
                    assert wire.ask(request_bytes("GET", path)).status == 500
        assert door.send("GET", "/quick").text == "quick"
        if stderr == "a full pipe":
            os.read(reader, 1 << 20)  # so that closing the stream does not wait
    if stderr != "a pipe without a reader":
        os.close(reader)


def test_a_traceback_is_written_to_a_pipe_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it, also where it is longer than what a pipe takes at once."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as pipe, os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with serving(kvfake.Double(), raising(lambda: LookupError("x" * 10_000))) as door, Wire(door.port) as wire:
            assert wire.ask(request_bytes("GET", "/job")).status == 500
        stream.close()
        written = pipe.read().decode()
    assert written.startswith("Traceback")
    assert written.endswith("LookupError: " + "x" * 10_000 + "\n")


# ------------------------------------------------------------------------------------------------------------- no threads


class NoThread(threading.Thread):
    def start(self) -> None:
        raise RuntimeError("can't start new thread")


def test_without_a_thread_a_job_is_refused_and_the_next_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a container's limit of processes is reached: 503, in kvfake's form; also for many requests at once."""
    with kvfake.start() as double, Wire(server_of(double).port) as wire:
        health = b"GET /_kvfake/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with monkeypatch.context() as no_threads:
            no_threads.setattr(workers_module, "Thread", NoThread)
            for _ in range(2):
                refusal = wire.ask(health)
                assert (refusal.status, list(refusal.json())) == (503, ["error"])
                assert "could not start a thread" in refusal.json()["error"]
            wire.send(health * 2000)
            assert {wire.reply().status for _ in range(2000)} == {503}
        assert wire.ask(health).status == 200


def test_without_another_thread_a_job_waits_for_the_one_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is done later, and not refused. Another lane has none."""
    begun, may_end = threading.Event(), threading.Event()

    def slow() -> Response:
        begun.set()
        assert may_end.wait(10)
        return Response(200, body=b"slow")

    at_once = Job(lambda: Response(200, body=b"job"), Lane.OTHER)
    jobs = {b"/slow": Job(slow, Lane.OTHER), b"/job": at_once, b"/health": Job(slow, Lane.HEALTH)}
    with (
        serving(kvfake.Double(), lambda _: lambda request: jobs[request.target]) as door,
        Wire(door.port) as other,
        Wire(door.port) as health,
    ):
        door.wire.send(request_bytes("GET", "/slow"))
        assert begun.wait(10)
        monkeypatch.setattr(workers_module, "Thread", NoThread)
        other.send(JOB)
        assert health.ask(request_bytes("GET", "/health")).status == 503
        may_end.set()
        assert (door.wire.reply().text, other.reply().text) == ("slow", "job")


def test_without_a_thread_for_its_loop_a_server_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller is told, and nothing is left."""
    server = Server(lambda: Connection(answer), "127.0.0.1", 0)
    monkeypatch.setattr(server_module, "Thread", NoThread)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        server.start()
    with pytest.raises(ConnectionRefusedError):
        Wire(server.port)


# ---------------------------------------------------------------------------------------------- where it cannot go on at all


def test_a_server_that_cannot_wait_for_its_clients_any_more_closes_everything(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It has tried several times. Nobody waits for it in vain: connections end, and new ones are refused."""
    monkeypatch.setattr(server_module, "_FAILURE_PAUSE_SECONDS", 0.001)
    server = Server(lambda: Connection(answer), "127.0.0.1", 0)
    with started(server), Wire(server.port) as wire:
        assert wire.ask(QUICK).text == "quick"
        PLACES["poll of the poller"](server, [OSError(errno.EBADF, "Bad file descriptor") for _ in range(1000)])
        wire.send(QUICK)
        wire.rest()  # it may have been answered before
        assert isinstance(server.failure, OSError)
        with pytest.raises(ConnectionRefusedError):
            Wire(server.port)
    assert "OSError: [Errno 9] Bad file descriptor" in capfd.readouterr().err


# The command, in a process whose loop breaks once it has served a request.
BREAKING = """
import sys
from kvfake.cli import main
from kvfake.http.poller import Poller
from kvfake.http.connection import Connection
def wait(self, seconds):
    raise OSError(9, "Bad file descriptor")
def receive(self, data, receive=Connection.receive):
    Poller.wait = wait
    return receive(self, data)
Connection.receive = receive
sys.exit(main())
"""


@pytest.mark.parametrize("command", ["serve", "run", "record"])
def test_a_command_whose_server_ends_by_itself_says_so(command: str, tmp_path: Path) -> None:
    """Exit code 1 and one line on stderr, at once. The values are written all the same."""
    file, port = tmp_path / "file", free_port()
    with kvfake.start() as real:
        words = {
            "serve": ["--export", str(file)],
            "run": ["--export", str(file), "--", "sleep", "30"],
            "record": ["--against", real.url, "-o", str(file)],
        }
        with Running(command, "--port", str(port), *words[command], program=(sys.executable, "-c", BREAKING)) as process:
            reach(port)
            ended = process.end()
    assert ended.code == 1
    assert ended.err == "kvfake: the server ended by itself, with every connection: OSError: [Errno 9] Bad file descriptor\n"
    assert file.stat().st_size


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def reach(port: int) -> None:
    """Send a request as soon as somebody listens there."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        with suppress(ConnectionError, TimeoutError), Wire(port) as wire:
            wire.send(QUICK)
            wire.rest()
            return
        time.sleep(0.02)
