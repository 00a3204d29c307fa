"""The server: sockets that are slow, broken, many, or gone."""

from __future__ import annotations

import errno
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

import kvfake
from kvfake.double import Double
from kvfake.http import server as server_module
from kvfake.http.connection import Connection
from kvfake.http.server import Server
from kvfake.services.messages import Job, Lane, Request, Response
from tests.support.doors import serving
from tests.support.missing import unavailable
from tests.support.process import PATIENCE_SECONDS, ROOT, environment
from tests.support.served import server_of
from tests.support.wire import Wire, request_bytes

LIST = request_bytes("GET", "/persist/kv", {"Authorization": "Bearer t"})


@pytest.fixture
def double() -> Iterator[Double]:
    with kvfake.start() as started:
        yield started


def port_of(double: Double) -> int:
    return int(double.url.rpartition(":")[2])


def until(condition: object) -> bool:
    assert callable(condition)
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return bool(condition())


def test_a_taken_port_is_an_exception_in_the_caller(double: Double) -> None:
    """Binding happens before ``start`` returns."""
    with pytest.raises(OSError, match="in use"):
        kvfake.start(port=port_of(double))


def test_a_port_can_be_used_again_at_once() -> None:
    """Also after a connection on it was cut by the server."""
    with kvfake.start() as first:
        port = port_of(first)
        wire = Wire(port)
        wire.ask(LIST)
    wire.close()
    with kvfake.start(port=port) as second:
        assert port_of(second) == port


def test_stopping_closes_what_is_open_and_leaves_no_thread() -> None:
    """Idle connections, half-sent requests and all."""
    before = threading.active_count()
    double = kvfake.start()
    wires = [Wire(port_of(double)) for _ in range(20)]
    for wire in wires[:10]:
        wire.ask(LIST)
    wires[-1].send(LIST[:10])
    double.close()
    double.close()
    assert all(wire.is_closed() for wire in wires)
    assert threading.active_count() == before
    for wire in wires:
        wire.close()
    with pytest.raises(ConnectionRefusedError):
        Wire(port_of(double))


def test_a_server_that_never_served_can_be_stopped() -> None:
    """Its port is free again; serving after that does nothing."""
    server = Server(lambda: Connection(lambda _: Response(200)), "127.0.0.1", 0)
    server.stop()
    server.serve()
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        Wire(server.port)


def test_a_name_that_is_no_address_cannot_be_bound() -> None:
    """It is an ``OSError`` too."""
    with pytest.raises(OSError, match=r"."):
        kvfake.start(host="no such host")


def test_ipv6() -> None:
    """The URL says it in brackets."""
    try:
        double = kvfake.start(host="::1")
    except OSError:
        unavailable("this machine has no IPv6 loopback")
    with double:
        assert double.url.startswith("http://[::1]:")
        with socket.create_connection(("::1", port_of(double))) as sock:
            sock.sendall(LIST)
            assert sock.recv(100).startswith(b"HTTP/1.1 200")


def test_a_client_that_reads_slowly_gets_everything(double: Double) -> None:
    """And is in nobody's way meanwhile."""
    value = "x" * 262_144
    double.persist["large"] = value
    get = request_bytes("GET", "/persist/kv/large", double.persist.headers)
    with Wire(port_of(double)) as slow, Wire(port_of(double)) as quick:
        slow.send(*[get] * 60)
        assert quick.ask(get).json()["value"] == value
        time.sleep(0.05)
        assert quick.ask(get).json()["value"] == value
        assert [slow.reply().json()["value"] == value for _ in range(60)] == [True] * 60


def test_a_client_that_resets_does_not_disturb_others(double: Double) -> None:
    """Load generators end so."""
    for message in (b"", LIST[:20], LIST * 100):
        wire = Wire(port_of(double))
        wire.send(message)
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wire.close()
    with Wire(port_of(double)) as wire:
        assert wire.ask(LIST).status == 200


def test_an_early_response_reaches_a_client_that_is_still_sending(double: Double) -> None:
    """The end of the connection waits until it has been read, or for a while."""
    with Wire(port_of(double)) as wire:
        wire.send(b"nonsense\r\n\r\n")
        for _ in range(50):
            wire.send(b"x" * 10_000)
        assert wire.reply().status == 400
        wire.end_of_sending()
        assert wire.is_closed()


def test_a_client_that_closes_in_time_is_closed_once(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound of its last words passes unnoticed."""
    monkeypatch.setattr(server_module, "_LINGER_SECONDS", 0.05)
    with Wire(port_of(double)) as wire:
        wire.send(b"nonsense\r\n\r\n")
        assert wire.reply().status == 400
    time.sleep(0.1)
    with Wire(port_of(double)) as wire:
        assert wire.ask(LIST).status == 200


def test_a_socket_that_turns_out_to_have_no_bytes(double: Double) -> None:
    """The system may be mistaken; the connection stays."""
    server = server_of(double)
    with Wire(port_of(double)) as wire:
        assert wire.ask(LIST).status == 200
        (peer,) = server._peers
        server._serve(peer)
        assert wire.ask(LIST).status == 200


def test_an_endless_request_is_cut_off(double: Double) -> None:
    """A client that goes on sending after its answer has two seconds to read it."""
    with Wire(port_of(double)) as wire:
        wire.send(b"nonsense\r\n\r\n")
        assert wire.reply().status == 400
        assert wire.is_closed()

        def speak() -> bool:
            try:
                wire.send(b"x")
            except OSError:
                return True
            return False

        assert until(speak)


NEVER_CLOSED = """
import socket, threading, kvfake
double, has_begun = kvfake.start(), threading.Event()
double.faults.add(before=lambda: (has_begun.set(), threading.Event().wait()))
client = socket.create_connection(("127.0.0.1", int(double.url.rpartition(":")[2])))
path = double.mattermost.url_for("key").removeprefix(double.url)
client.sendall(f"GET {path} HTTP/1.1\\r\\nHost: x\\r\\nAuthorization: Bearer {double.mattermost.token}\\r\\n\\r\\n".encode())
assert has_begun.wait(10)
print("the end of the script")
"""


def test_a_script_that_never_closes_its_double_ends() -> None:
    """Neither the thread of the server nor that of a job keeps the process."""
    done = subprocess.run(
        [sys.executable, "-c", NEVER_CLOSED],
        env=environment({}), cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "the end of the script\n", "")


def test_idle_connections_are_closed_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every wait has a bound."""
    monkeypatch.setattr(server_module, "MAX_PEER_SECONDS", 0.05)
    monkeypatch.setattr(server_module, "_SWEEP_SECONDS", 0.05)
    with kvfake.start() as double, Wire(port_of(double)) as wire:
        wire.send(LIST[:10])
        assert wire.is_closed()


def test_a_server_without_file_descriptors_waits_for_some(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections stay in the queue and are accepted later."""
    refusals = [OSError(errno.EMFILE, "Too many open files"), ConnectionAbortedError()]
    server = Server(lambda: Connection(lambda _: Response(200, body=b"late")), "127.0.0.1", 0)
    listener = server._listener

    class Failing:
        def accept(self) -> tuple[socket.socket, object]:
            if refusals:
                raise refusals.pop(0)
            return listener.accept()

        def fileno(self) -> int:
            return listener.fileno()

        def close(self) -> None:
            listener.close()

    monkeypatch.setattr(server, "_listener", Failing())
    server.start()
    try:
        with Wire(server.port) as wire:
            assert wire.ask(LIST).text == "late"
    finally:
        server.stop()
    assert refusals == []


def test_a_long_queue_of_clients_is_served() -> None:
    """Also one that is longer than what is accepted at a time."""
    server = Server(lambda: Connection(lambda _: Response(200)), "127.0.0.1", 0)
    wires = [Wire(server.port) for _ in range(150)]
    server.start()
    try:
        assert {wire.ask(LIST).status for wire in wires} == {200}
    finally:
        server.stop()
        for wire in wires:
            wire.close()


def test_many_clients_at_once(double: Double) -> None:
    """Eight threads, each with a connection, each sees its own writes."""
    failures: list[object] = []

    def work(number: int) -> None:
        with Wire(port_of(double)) as wire:
            for turn in range(50):
                body = b'{"value":"%d"}' % turn
                put = wire.ask(request_bytes("PUT", f"/persist/kv/{number}", double.persist.headers, body))
                got = wire.ask(request_bytes("GET", f"/persist/kv/{number}", double.persist.headers))
                if put.status != 200 or got.json()["value"] != str(turn):
                    failures.append((number, turn, put, got))

    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(double.persist) == 8


def test_a_blocking_job_does_not_hold_up_others() -> None:
    """A job runs on a thread of its own; the loop answers others meanwhile, and a client that left is forgotten."""
    begun, may_end = threading.Event(), threading.Event()

    def answer(request: Request) -> object:
        def job() -> Response:
            begun.set()
            may_end.wait(5)
            return Response(200, body=b"late")

        return Job(job, Lane.OTHER) if request.target == b"/slow" else Response(200, body=b"quick")

    with serving(kvfake.Double(), lambda _: answer) as door:
        slow, gone = Wire(door.port), Wire(door.port)
        slow.send(request_bytes("GET", "/slow"))
        gone.send(request_bytes("GET", "/slow"))
        assert begun.wait(5)
        gone.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.close()
        assert door.send("GET", "/quick").text == "quick"
        may_end.set()
        assert slow.reply().text == "late"
        assert door.send("GET", "/quick").text == "quick"
        slow.close()


def test_a_server_stops_while_jobs_run_and_wait() -> None:
    """What was begun ends; what waits for a thread is dropped."""
    may_end = threading.Event()
    before = threading.active_count()
    handed_out: list[Request] = []

    def job() -> Response:
        may_end.wait(5)
        return Response(200)

    def answer(request: Request) -> object:
        handed_out.append(request)
        return Job(job, Lane.OTHER)

    with serving(kvfake.Double(), lambda _: answer) as door:
        wires = [Wire(door.port) for _ in range(20)]
        for wire in wires:
            wire.send(LIST)
        assert until(lambda: len(handed_out) == 20 and threading.active_count() >= before + 16)
        threading.Timer(0.2, may_end.set).start()
    for wire in wires:
        wire.close()
    assert until(lambda: threading.active_count() == before)
