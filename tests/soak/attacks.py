"""The worst that one client may do, again and again.

    python -m tests.soak.attacks NAME PORT SECONDS SCALE     prints "ready" once it has prepared, and at the end how often it did it

Law: each does only what is allowed. A generator: up to its first ``yield`` it prepares, then it yields after each time, the status
of the answer if it has one. ``SCALE`` makes everything smaller, for a quick test.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from typing import Any, NamedTuple

MIB = 1024 * 1024
KV, PERSIST = "/plugins/com.mattermost.apps/api/v1/kv/", "/api/v1/persist/"
PROJECT = "many"
FLAGS = ("--token", f"{PROJECT}=project:{PROJECT}")  # of the server: the token of that name is the project's
_PIECE_KEYS, _PIECE_VALUES = 20_000, 64  # of one load
NICENESS = 10  # the machine's cores are shared: what is measured is the server, not who gets a core
_GIVE_UP_SECONDS = 120


class Target(NamedTuple):
    """The server under attack."""

    port: int
    scale: float

    def count(self, number: int) -> int:
        return max(1, int(number * self.scale))

    def ask(self, method: str, target: str, body: bytes | None = None) -> int:
        """The status of the answer, which is read whole; 0 where none came."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=_GIVE_UP_SECONDS)
        with suppress(OSError, HTTPException):
            connection.request(method, target, body, {"Authorization": f"Bearer {PROJECT}"})
            response = connection.getresponse()
            while response.read(MIB):
                pass
            return response.status
        return 0

    def connect(self, *data: bytes) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), _GIVE_UP_SECONDS)
        for piece in data:
            sock.sendall(piece)
        return sock

    def load(self, values: dict[str, Any], method: str = "POST") -> int:
        return self.ask(method, "/_kvfake/data", json.dumps({"kvfake": 1, "persist": {PROJECT: values}}).encode())

    def load_keys(self, count: int) -> None:
        for start in range(0, count, _PIECE_KEYS):
            assert self.load({f"key-{number:07d}": "v" for number in range(start, min(count, start + _PIECE_KEYS))}) == 200

    def load_large_values(self, count: int, size: int) -> list[str]:
        keys = [f"large-{number}" for number in range(count)]
        for start in range(0, count, _PIECE_VALUES):
            assert self.load(dict.fromkeys(keys[start : start + _PIECE_VALUES], "v" * size)) == 200
        return keys

    def mget(self, keys: list[str]) -> int:
        return self.ask("POST", PERSIST + "mget", json.dumps({"keys": keys}).encode())


def _request(method: str, target: str, lines: str = "") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {PROJECT}\r\n{lines}\r\n".encode()


def nothing(target: Target) -> Iterator[int]:
    """What the machine itself does to the figures."""
    while True:
        yield 0
        time.sleep(0.1)


def large_mget(target: Target) -> Iterator[int]:
    keys = target.load_large_values(target.count(1000), 65_536)
    yield 0
    while True:
        yield target.mget(keys)


def mget_of_many(target: Target) -> Iterator[int]:
    keys = [f"key-{number:07d}" for number in range(target.count(10_000))]
    target.load_keys(len(keys))
    yield 0
    while True:
        yield target.mget(keys)


def listing(target: Target) -> Iterator[int]:
    target.load_keys(target.count(1_000_000))
    yield 0
    while True:
        yield target.ask("GET", PERSIST + "kv")


def deleting(target: Target) -> Iterator[int]:
    count = target.count(1_000_000)
    target.load_keys(count)
    yield 0
    while True:
        yield target.ask("DELETE", "/_kvfake/data?service=persist")
        target.load_keys(count)


def dumping(target: Target) -> Iterator[int]:
    target.load_keys(target.count(1_000_000))
    yield 0
    while True:
        yield target.ask("GET", "/_kvfake/data")


def loading(target: Target) -> Iterator[int]:
    values = {f"large-{number}": "v" * 262_000 for number in range(target.count(240))}
    yield 0
    while True:
        yield target.load(values, "PUT")


def loading_brackets(target: Target) -> Iterator[int]:
    body = b'{"kvfake":1,"mattermost":{"app/bot":{"":{"k":[' + b"[]," * target.count(20 * MIB) + b"[]]}}}}"
    yield 0
    while True:
        yield target.ask("POST", "/_kvfake/data", body)


def pipeline(target: Target) -> Iterator[int]:
    """Sends as fast as answers come, and reads them."""
    request = _request("GET", PERSIST + "kv/k") * 500
    sock = target.connect()
    sock.setblocking(False)
    left = request
    yield 0
    while True:
        with suppress(BlockingIOError):
            left = left[sock.send(left) :] or request
        with suppress(BlockingIOError):
            sock.recv(MIB)
        yield 0


def slow_reader(target: Target) -> Iterator[int]:
    """Asks for large values on many connections, and never reads."""
    keys = target.load_large_values(target.count(240), 262_000)
    body = json.dumps({"keys": keys}).encode()
    request = _request("POST", PERSIST + "mget", f"Content-Length: {len(body)}\r\n") + body
    yield 0
    kept: list[socket.socket] = []
    while True:
        if len(kept) < 16:
            with suppress(OSError):
                kept.append(target.connect(request * 2))
        time.sleep(0.1)
        yield 0


def slow_sender(target: Target) -> Iterator[int]:
    """200 connections, of which each sends a byte a second."""
    text = _request("PUT", PERSIST + "kv/k", "Content-Length: 8000\r\n")
    kept = [target.connect(text[:1]) for _ in range(target.count(200))]
    yield 0
    for place in range(1, 1_000_000):
        for sock in kept:
            with suppress(OSError):
                sock.send(text[place : place + 1] or b"1")
        time.sleep(1)
        yield 0


def pattern(target: Target) -> Iterator[int]:
    """A fault's pattern that a backtracking engine never ends with, and a key for it. It may be refused."""
    fault = {"status": 503, "key": {"matches": "^(a+)+$"}, "times": None}
    yield 0
    target.ask("POST", "/_kvfake/faults", json.dumps(fault).encode())
    while True:
        with suppress(OSError), target.connect(_request("GET", f"{PERSIST}kv/{'a' * 60}!")) as sock:
            sock.settimeout(1)
            sock.recv(1000)
        yield 0


def silent_fallback(target: Target) -> Iterator[int]:
    """64 requests at once that an upstream never answers."""
    request = _request("GET", "/api/v4/posts")
    yield 0
    kept = [target.connect(request) for _ in range(64)]
    while kept:
        time.sleep(0.1)
        yield 0


def large_heads(target: Target) -> Iterator[int]:
    """1 MiB of short headers."""
    count = target.count(95_000)
    head = (
        f"GET {KV}k HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode()
        + b"".join(b"h%d: v\r\n" % number for number in range(count))
        + b"\r\n"
    )
    yield 0
    while True:
        with suppress(OSError), target.connect(head) as sock:
            sock.recv(MIB)
        yield 0


def tiny_chunks(target: Target) -> Iterator[int]:
    """A body of 64 MiB on the wire, a byte in each chunk."""
    head = _request("PUT", PERSIST + "kv/k", "Transfer-Encoding: chunked\r\n")
    chunks = b"1\r\nx\r\n" * (MIB // 6)
    yield 0
    while True:
        with suppress(OSError), target.connect(head, *[chunks] * target.count(64), b"0\r\n\r\n") as sock:
            sock.recv(MIB)
        yield 0


ATTACKS: dict[str, Callable[[Target], Iterator[int]]] = {
    "nothing": nothing,
    "mget of 1,000 values of 64 KiB": large_mget,
    "mget of 10,000 keys": mget_of_many,
    "list of 1,000,000 keys": listing,
    "delete of 1,000,000 keys, loaded anew": deleting,
    "dump of 1,000,000 keys": dumping,
    "load of 60 MiB": loading,
    "load of 60 MiB of [],[],...": loading_brackets,
    "pipeline without end": pipeline,
    "slow reader": slow_reader,
    "slow sender": slow_sender,
    "pattern of a fault": pattern,
    "silent fallback, 64 times": silent_fallback,
    "heads of 1 MiB": large_heads,
    "bodies of 64 MiB of tiny chunks": tiny_chunks,
}


def _main(name: str, port: int, seconds: float, scale: float) -> None:
    os.nice(NICENESS)
    attack = ATTACKS[name](Target(port, scale))
    next(attack)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    end, times, status = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        status = next(attack)
        times += 1
    sys.stdout.write(f"{times:,} times" + (f", answer {status}" if status else "") + "\n")


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
