"""Bodies at a real double: each is read as far as whoever answers reads it, and a client that waits for 100 is not kept waiting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kvfake.http.parser import MAX_BODY_BYTES, MAX_UNREAD_BYTES
from kvfake.services.mattermost import KV, MAX_VALUE_BYTES
from tests.support.doors import TOKENS, Door, SocketDoor, opened
from tests.support.wire import Wire

LARGE = 10_000_000
BOT = b"Authorization: Bearer bot-token\r\n"
PROJECT = b"Authorization: Bearer project-token\r\n"
UPLOAD = b"x" * 1_000_000


@pytest.fixture
def door() -> Iterator[Door]:
    with opened(SocketDoor.name, profile="plugin-1.2", token=TOKENS, strict=True) as one:
        yield one


def head(method: str, path: str, lines: bytes = b"", length: int = LARGE) -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n".encode() + lines + b"\r\n"


UNREAD: dict[str, tuple[str, str, int]] = {
    "a get": ("GET", f"{KV}/k", 200),
    "a delete": ("DELETE", f"{KV}/k", 200),
    "a path that is not there": ("PUT", f"{KV}/a/b/c", 404),
    "a path that is not clean": ("PUT", f"{KV}//k", 301),
    "another method": ("PATCH", f"{KV}/k", 405),
    "a list": ("GET", "/persist/kv", 401),
    "Persist, a token that is not known": ("PUT", "/persist/kv/k", 401),
    "Persist, another method": ("POST", "/persist/kv/k", 405),
    "Persist, a path that is not there": ("POST", "/persist/nosuch", 404),
    "nothing": ("POST", "/api/v4/posts", 404),
    "no world": ("PUT", "/~nobody/persist/kv/k", 404),
    "a bad escape": ("PUT", f"{KV}/%zz", 400),
}


@pytest.mark.parametrize("what", UNREAD)
@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"], ids=["no expectation", "expects 100"])
def test_a_body_that_nobody_reads(door: SocketDoor, what: str, expect: bytes) -> None:
    """The answer comes at once, with no 100 before it and no byte of the body sent, and the connection ends."""
    method, path, status = UNREAD[what]
    with Wire(door.port) as wire:
        wire.send(head(method, path, BOT + expect))
        reply = wire.reply(method)
        assert (reply.status, reply.headers["Connection"]) == (status, "close")
        assert wire.is_closed()


def test_of_a_value_one_byte_more_than_the_limit_is_read(door: SocketDoor) -> None:
    """Then M14 is the answer, before anything else is known of the request; the rest is not waited for."""
    with Wire(door.port) as wire:
        wire.send(head("PUT", f"{KV}/k", b"Expect: 100-continue\r\n"))
        assert wire.reply().status == 100
        wire.send(b"x" * MAX_VALUE_BYTES, b"x")
        reply = wire.reply()
        assert (reply.status, reply.body, reply.headers["Connection"]) == (500, b"size limit of 8Kb exceeded\n", "close")
    (exchange,) = door.double.journal
    assert len(exchange.request.body) == MAX_VALUE_BYTES + 1


def test_a_client_that_sends_everything_first_still_gets_its_answer(door: SocketDoor) -> None:
    """The server goes on reading for a while after it has answered."""
    with Wire(door.port) as wire:
        wire.send(head("PUT", f"{KV}/k", BOT), b"x" * LARGE)
        assert wire.reply().status == 500


def test_a_short_body_that_nobody_reads_is_kept_for_the_journal(door: SocketDoor) -> None:
    """And the connection is kept, too."""
    for _ in range(2):
        reply = door.send("POST", "/api/v4/posts", {"Content-Type": "text/plain"}, b"hello")
        assert (reply.status, "Connection" in reply.headers) == (404, False)
    assert [exchange.request.body for exchange in door.double.journal] == [b"hello"] * 2


def upload(door: SocketDoor, method: str, path: str, lines: bytes, body: bytes = UPLOAD) -> Any:
    """The answer to a body that is sent once the server asks for it."""
    with Wire(door.port) as wire:
        wire.send(head(method, path, lines + b"Expect: 100-continue\r\n", len(body)))
        assert wire.reply().status == 100
        wire.send(body)
        return wire.reply()


def test_whoever_reads_a_long_body_gets_all_of_it(door: SocketDoor) -> None:
    """Persist, control, a route, a mounted application, beside each other."""
    value = b'{"value": "v", "pad": "%b"}' % UPLOAD
    assert upload(door, "PUT", "/persist/kv/k", PROJECT, value).status == 200
    assert upload(door, "POST", "/persist/mget", PROJECT, b'{"keys": ["k"], "pad": "%b"}' % UPLOAD).json()[0]["value"] == "v"
    assert "error" in upload(door, "POST", "/_kvfake/data", b"").json()
    door.double.respond("POST", "/file", 201)
    assert upload(door, "POST", "/file", b"").status == 201
    assert len(door.double.journal[-1].request.body) == 65_536  # journal_body_bytes
    door.double.mount("/app", application)
    assert upload(door, "POST", "/app", b"").body == b"1000000"
    assert upload(door, "POST", "/elsewhere", b"").status == 404


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"%d" % len(environ["wsgi.input"].read())]


def test_a_body_of_more_than_64_mib_is_answered_before_its_end(door: SocketDoor) -> None:
    """By whoever would read it; the rest is not waited for."""
    with Wire(door.port) as wire:
        wire.send(head("PUT", "/persist/kv/k", PROJECT, MAX_BODY_BYTES + 1 + MAX_UNREAD_BYTES), bytes(MAX_BODY_BYTES + 1))
        reply = wire.reply()
        assert (reply.status, reply.headers["Connection"]) == (400, "close")
        assert b"at most 2097152 bytes" in reply.body


def test_a_world_that_has_ended_reads_nothing(door: SocketDoor) -> None:
    """410 comes at once."""
    with Wire(door.port) as wire:
        world = wire.ask(head("POST", "/_kvfake/worlds", length=0)).json()
        assert wire.ask(head("DELETE", f"/_kvfake/worlds/{world['id']}", length=0)).status == 200
        wire.send(head("PUT", world["address"].removeprefix(door.double.url) + "/persist/kv/k"))
        assert wire.reply().status == 410


def test_a_long_head_is_read_in_steps_and_answered(door: SocketDoor) -> None:
    """Over a socket, with a pipeline behind it."""
    long = b"GET /x HTTP/1.1\r\nHost: x\r\n" + b"".join(b"x%x: y\r\n" % number for number in range(50_000)) + b"\r\n"
    with Wire(door.port) as wire:
        wire.send(long + head("GET", "/y", length=0) * 200)
        assert [wire.reply().status for _ in range(201)] == [404] * 201
