"""The HTTP client: what bounds it in time, and what it makes of servers that do not behave."""

from __future__ import annotations

import gc
import socket
import sys
import threading
import time

import pytest

from kvfake.http_client import ClientRequest, HttpClient, NoAnswer, control_request
from tests.support.troubled_servers import answer, listening


def dripping(connection: socket.socket) -> None:
    """Says a byte now and then, and is never done."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        connection.sendall(b" ")
        time.sleep(0.02)


def test_a_whole_exchange_with_control_is_bounded() -> None:
    """Not each silence of it, which a server that drips never has."""
    with listening(dripping) as port, pytest.raises(NoAnswer, match=r"^timed out$"):
        control_request(f"http://127.0.0.1:{port}", "/_kvfake/health", 0.3)


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
