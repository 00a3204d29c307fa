"""Connections: many that are idle, busy, slow or reset, while another client is served.

Law: they are all opened from this process, against a server in a process of its own.
"""

from __future__ import annotations

import os
import resource
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

from tests.soak.attacks import KV, NICENESS
from tests.soak.fairness import MAX_HEALTH_SECONDS, MAX_P99_SECONDS
from tests.soak.probe import Probe, probing
from tests.soak.table import Row, milliseconds
from tests.support.process import ROOT, asked, served

IDLE, BUSY, SLOW_HEADS, RESETS = 1_000, 64, 5_000, 33_920
MAX_P99_BESIDE_BUSY_SECONDS = 0.1  # 64 that ask without a pause have their turns, too
_SETTLE_SECONDS = 5.0
_REQUEST = f"GET {KV}small HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer probe\r\n\r\n".encode()
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


def run(minutes: float) -> Iterator[Row]:
    seconds = max(3.0, minutes * 60 / 3)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # here, and in the server that is started from here
    with served() as (server, url):
        port = int(url.rpartition(":")[2])
        asked(f"{url}{KV}small", "PUT", "a small value", {"Authorization": "Bearer probe"})
        asked(f"{url}/_kvfake/health")  # the first loads what control needs
        before = _descriptors(server.process.pid)
        yield from _idle_and_busy(port, seconds)
        yield from _slow_heads(port, seconds)
        yield from _resets(port)
        yield _left(server.process.pid, before)


def _idle_and_busy(port: int, seconds: float) -> Iterator[Row]:
    what = f"{IDLE:,} idle and {BUSY} busy connections"
    with ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 60)) for _ in range(IDLE)]
        idle_before = sum(_is_answered(sock) for sock in idle)
        with probing(port, f"{KV}small") as get, probing(port, "/_kvfake/health", pause=0.02) as health:
            done, wrong = _elsewhere("busy", port, seconds)
        idle_after = sum(_is_answered(sock) for sock in idle)
    yield Row(f"{what}: requests of the busy", f"{done:,} in {seconds:.0f} s, {wrong} wrong", "0 wrong", not wrong)
    yield Row(
        f"{what}: idle ones answered before and after", f"{idle_before}, {idle_after}", "all", idle_before == idle_after == IDLE
    )
    yield from _others(what, get, health, MAX_P99_BESIDE_BUSY_SECONDS)


def _slow_heads(port: int, seconds: float) -> Iterator[Row]:
    """Each sends a byte of its head now and then. More than the server keeps are closed by it."""
    what, opened = f"{SLOW_HEADS:,} slow heads", 0
    with (
        ExitStack() as stack,
        probing(port, f"{KV}small") as get,
        probing(port, "/_kvfake/health", pause=0.02) as health,
        _new_connections(port) as waits,
    ):
        slow = []
        for _ in range(SLOW_HEADS):
            slow.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), 60)))
            slow[-1].setblocking(False)
        end, place = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            for sock in slow:
                with suppress(OSError):
                    sock.send(_REQUEST[place : place + 1])
            place = (place + 1) % 20  # it never comes to its end
            time.sleep(0.5)
        opened = sum(_is_open(sock) for sock in slow)
    yield Row(f"{what}: still open at the end", f"{opened:,}", "told", True)
    yield from _others(what, get, health, MAX_P99_SECONDS)
    longest = max(waits, default=60.0)
    yield Row(
        f"{what}: a new connection is answered",
        f"max {milliseconds(longest)}",
        f"max {milliseconds(MAX_HEALTH_SECONDS)}",
        longest <= MAX_HEALTH_SECONDS,
    )


def _resets(port: int) -> Iterator[Row]:
    what = f"{RESETS:,} resets"
    with probing(port, f"{KV}small") as get, probing(port, "/_kvfake/health", pause=0.02) as health:
        done, _ = _elsewhere("resets", port, 0)
    yield Row(f"{what}: done", f"{done:,}", "all", done == RESETS)
    yield from _others(what, get, health, MAX_P99_SECONDS)


def _left(pid: int, before: int) -> Row:
    """What the server still has open once all are gone."""
    end = time.monotonic() + _SETTLE_SECONDS
    while (now := _descriptors(pid)) > before and time.monotonic() < end:
        time.sleep(0.1)
    return Row("file descriptors of the server before and after all", f"{before}, {now}", "the same", now <= before)


def _others(what: str, get: Probe, health: Probe, bound: float) -> Iterator[Row]:
    wrong = get.wrong or health.wrong
    figure = f"p50 {milliseconds(get.figures.median)}, p99 {milliseconds(get.figures.p99)}, max {milliseconds(get.figures.longest)}"
    yield Row(f"{what}: GET of another", wrong or figure, f"p99 {milliseconds(bound)}", not wrong and get.figures.p99 <= bound)
    longest = health.figures.longest
    yield Row(
        "... health", f"max {milliseconds(longest)}", f"max {milliseconds(MAX_HEALTH_SECONDS)}", longest <= MAX_HEALTH_SECONDS
    )


@contextmanager
def _new_connections(port: int) -> Iterator[list[float]]:
    """How long another client waits on a new connection, again and again; 60 seconds where there is no answer."""
    waits, stop = list[float](), Event()

    def ask() -> None:
        while not stop.wait(0.1):
            began, is_answered = time.monotonic(), False
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 60) as sock:
                is_answered = _is_answered(sock)
            waits.append(time.monotonic() - began if is_answered else 60.0)

    asking = Thread(target=ask)
    asking.start()
    try:
        yield waits
    finally:
        stop.set()
        asking.join()


def _is_answered(sock: socket.socket) -> bool:
    try:
        sock.sendall(_REQUEST)
        return sock.recv(65_536).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


def _is_open(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1))
    except BlockingIOError:
        return True
    except OSError:
        return False


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _elsewhere(what: str, port: int, seconds: float) -> tuple[int, int]:
    """Done by another process, which leaves the machine's cores to those that are measured."""
    command = [sys.executable, "-m", "tests.soak.connections", what, str(port), str(seconds)]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=seconds + 600).stdout
    done, wrong = map(int, out.split())
    return done, wrong


def _keep_busy(port: int, seconds: float) -> tuple[int, int]:
    """64 connections that ask without a pause: how many requests were answered, and how many not as they should."""
    counts, end = [0, 0], time.monotonic() + seconds

    def ask() -> None:
        with socket.create_connection(("127.0.0.1", port), 60) as sock:
            while time.monotonic() < end:
                counts[not _is_answered(sock)] += 1

    threads = [Thread(target=ask) for _ in range(BUSY)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts[0], counts[1]


def _reset(port: int, _: float) -> tuple[int, int]:
    """In the midst of a head, of a body, of an answer: how many, and how many could not be begun."""
    counts, begun = [0, 0], (_REQUEST[:30], _REQUEST[:-2] + b"Content-Length: 9\r\n\r\n12", _REQUEST * 3)
    for number in range(RESETS):
        try:
            with socket.create_connection(("127.0.0.1", port), 60) as sock:
                sock.send(begun[number % len(begun)])
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                counts[0] += 1
        except OSError:
            counts[1] += 1
    return counts[0], counts[1]


if __name__ == "__main__":
    os.nice(NICENESS)
    do = {"busy": _keep_busy, "resets": _reset}[sys.argv[1]]
    sys.stdout.write("{} {}\n".format(*do(int(sys.argv[2]), float(sys.argv[3]))))
