"""The HTTP client: what bounds it in time, and what it makes of servers that do not behave."""

from __future__ import annotations

import gc
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from kvfake import http_client
from kvfake.http_client import ClientRequest, HttpClient, NoAnswer, control_request, wait
from kvfake.services.messages import Request, error_response
from kvfake.world.pauses import SharedReading
from tests.support.troubled_servers import Converse, answer, listening, saying


def dripping(connection: socket.socket) -> None:
    """Says a byte now and then, and is never done."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        connection.sendall(b" ")
        time.sleep(0.02)


def saying_again_and_again(first: bytes, piece: bytes) -> Converse:
    """Begins an answer, and goes on with it without end, slowly."""

    def converse(connection: socket.socket) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(piece)
            time.sleep(0.02)

    return converse


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WITHOUT_END = {
    "a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b" "),
    "a first line": (b"", b"H"),
    "a header": (b"HTTP/1.1 200 OK\r\nName: ", b"a"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"Name: a\r\n"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "early hints": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "chunks": (CHUNKED, b"1\r\n \r\n"),
    "the size of a chunk": (CHUNKED, b"0"),
    "trailers": (CHUNKED + b"0\r\n", b"Name: a\r\n"),
}


@pytest.mark.parametrize("kind", WITHOUT_END)
def test_a_whole_exchange_with_control_is_bounded(kind: str) -> None:
    """Not each silence of it, which a server that drips never has; and so is waiting for such a server."""
    with listening(saying_again_and_again(*WITHOUT_END[kind])) as port:
        with pytest.raises(NoAnswer, match=r"^timed out$"):
            control_request(f"http://127.0.0.1:{port}", "/_kvfake/health", 0.3)
        with pytest.raises(NoAnswer, match=r"^timed out$"):
            wait(f"http://127.0.0.1:{port}", 0.3)


@pytest.mark.parametrize("record", [b"", b"\x16\x03\x03\x40\x00"], ids=["no TLS", "a record without end"])
def test_a_handshake_is_part_of_the_whole(record: bytes) -> None:
    """However slowly the server goes on with it."""
    with listening(saying_again_and_again(record, b"\x16")) as port, pytest.raises(NoAnswer):
        control_request(f"https://127.0.0.1:{port}", "/_kvfake/health", 0.3)


@pytest.mark.parametrize("kind", ["interim answers", "trailers", "the size of a chunk"])
def test_what_surrounds_a_body_is_bounded_in_bytes(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a server that goes on fast."""
    monkeypatch.setattr(http_client, "MAX_HEAD_BYTES", 100_000)
    monkeypatch.setattr(http_client, "MAX_RESPONSE_BYTES", 100_000)
    first, piece = WITHOUT_END[kind]
    with listening(saying_again_and_again(first, piece * 50_000)) as port:
        with pytest.raises(NoAnswer, match=r"the answer has more bytes than it can need|something else answers there"):
            control_request(f"http://127.0.0.1:{port}", "/_kvfake/health", 10, limit=10)
        with HttpClient(f"http://127.0.0.1:{port}", 10) as http:
            response = http.forward(Request("GET", b"/", {}), b"/")
    assert response.status == 502


def test_the_answers_on_their_way_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that goes over the bound is given up, and says so; then there is room again."""
    monkeypatch.setattr(http_client, "MAX_INCOMING_BYTES", 1000)
    reading = SharedReading()
    with (
        listening(saying(answer("200 OK", b"x" * 100))) as port,
        HttpClient(f"http://127.0.0.1:{port}", 10, reading=reading) as http,
    ):
        with reading:
            reading.held_bytes += 901  # by others
        assert http.forward(Request("GET", b"/", {}), b"/") == error_response(
            502,
            f"the real server http://127.0.0.1:{port} did not answer: "
            "more than 1000 bytes in all the answers that are being read here; try again",
        )
        assert reading.held_bytes == 901
        with reading:
            reading.held_bytes -= 1
        assert http.forward(Request("GET", b"/", {}), b"/").body == b"x" * 100
        assert reading.held_bytes == 900


def test_a_server_that_is_silent_keeps_no_other_answer_waiting() -> None:
    """Though one thread at a time reads what the servers say: while it waits for them, it is another's turn."""
    reading, begun, done = SharedReading(), threading.Event(), threading.Event()

    def hesitating(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nla")
        begun.set()
        done.wait(10)
        connection.sendall(b"te")

    with (
        listening(hesitating) as slow,
        listening(saying(answer("200 OK", b"quick"))) as fast,
        ThreadPoolExecutor() as pool,
        HttpClient(f"http://127.0.0.1:{slow}", 5, reading=reading) as slow_http,
        HttpClient(f"http://127.0.0.1:{fast}", 5, reading=reading) as fast_http,
    ):
        late = pool.submit(slow_http.forward, Request("GET", b"/", {}), b"/")
        begun.wait(10)
        assert fast_http.forward(Request("GET", b"/", {}), b"/").body == b"quick"
        done.set()
        assert late.result().body == b"late"


class Names:
    """What the system knows of names: ``slow`` takes longer than anybody waits, ``many`` has two addresses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.found, self._look_up = threading.Event(), socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self.look_up)

    def look_up(self, host: str, port: int, *, type: int, flags: int = 0) -> list[Any]:
        if host[0].isdigit() or flags:
            return list(self._look_up(host, port, type=type, flags=flags))
        if host == "unknown":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if host == "slow":
            self.found.wait(20)
        addresses = {"many": ("127.0.0.2", "127.0.0.1"), "none": ()}.get(host, ())
        return [found for address in addresses for found in self._look_up(address, port, type=type)]


@pytest.fixture(name="names")
def _names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    names = Names(monkeypatch)
    yield names
    names.found.set()


def test_looking_up_a_name_is_part_of_the_whole(names: Names) -> None:
    """The system may take minutes for it."""
    with pytest.raises(NoAnswer, match=r"^timed out$"):
        control_request("http://slow:1", "/_kvfake/health", 0.2)


def test_each_address_of_a_name_is_tried(names: Names) -> None:
    """The first that takes the connection answers."""
    with listening(saying(answer("200 OK", b"{}"))) as port:
        assert control_request(f"http://many:{port}", "/") == {}
    with pytest.raises(NoAnswer, match="that host has no address"):
        control_request("http://none:1", "/")


def test_a_name_that_nobody_knows(names: Names) -> None:
    """The system's own words say so."""
    with pytest.raises(NoAnswer, match="Name or service not known"):
        control_request("http://unknown:1", "/")


def test_a_name_where_there_is_no_thread_to_be_had(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it cannot be looked up, and that is said."""

    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    with pytest.raises(NoAnswer, match="can't start new thread"):
        control_request("http://many:1", "/")


def test_an_interrupted_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever interrupts it."""
    monkeypatch.setattr(socket.socket, "connect", interrupted)
    with HttpClient("http://127.0.0.1:1", 5) as http, pytest.raises(KeyboardInterrupt):
        http.send(ClientRequest("GET", "/", {}))


def test_a_whole_exchange_with_a_server_is_bounded() -> None:
    """The text says how long it was waited for."""
    with (
        listening(dripping) as port,
        HttpClient(f"http://127.0.0.1:{port}", 0.3) as http,
        pytest.raises(NoAnswer, match=f"^http://127.0.0.1:{port} did not answer within 0.3 seconds$"),
    ):
        http.send(ClientRequest("GET", "/", {}))


def test_a_response_may_come_before_the_request_is_whole() -> None:
    """As that of a server that refuses a large body, and reads no more of it."""

    done = threading.Event()

    def refusing(connection: socket.socket) -> None:
        connection.sendall(answer("413 Content Too Large", b"too large"))
        connection.shutdown(socket.SHUT_WR)
        done.wait(10)

    with listening(refusing) as port, HttpClient(f"http://127.0.0.1:{port}", 0.3) as http:
        response = http.send(ClientRequest("PUT", "/", {}, bytes(10_000_000)))
        done.set()
        assert (response.status, response.body) == (413, b"too large")


def test_a_failed_exchange_is_collected_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of it, when an error keeps it alive in a circle, is already closed: Python 3.13 would complain."""
    complaints: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    with listening(lambda connection: None) as port:
        for _ in range(10):
            with HttpClient(f"http://127.0.0.1:{port}", 5) as http, pytest.raises(NoAnswer) as failed:
                http.send(ClientRequest("GET", "/", {}))
            failed.value.args = (failed.value,)
            del http, failed
            gc.collect()
    assert complaints == []


def test_an_interrupted_exchange_leaves_no_connection_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next request goes out on a new one."""

    def once(connection: socket.socket) -> None:
        while connection.recv(65_536):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with listening(once) as port, HttpClient(f"http://127.0.0.1:{port}", 10) as http:
        http.send(ClientRequest("GET", "/", {}))
        with monkeypatch.context() as patch:
            patch.setattr("kvfake.http_client.RawConnection.receive", interrupted)
            with pytest.raises(KeyboardInterrupt):
                http.send(ClientRequest("GET", "/", {}))
        assert http.send(ClientRequest("GET", "/", {})).body == b"{}"


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
