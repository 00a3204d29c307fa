"""Another client: it asks the same again and again, and measures how long each answer takes.

    python -m tests.soak.probe PORT TARGET PAUSE     until its stdin is closed; then it prints what it measured

Law: one connection, kept, in a process of its own. An answer that has not come when it is told to stop counts as long as it waited.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import NamedTuple

from tests.support.process import ROOT

_LOOK_SECONDS = 0.25  # how often one that waits looks whether it is to stop


class Figures(NamedTuple):
    """Seconds."""

    asked: int
    median: float
    p99: float
    longest: float

    @classmethod
    def of(cls, waits: list[float]) -> Figures:
        ordered = sorted(waits) or [0.0]
        return cls(len(waits), ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100], ordered[-1])


def _ask(port: int, target: str, pause: float, stop: Event) -> tuple[list[float], str]:
    """The waits, and what went wrong, if anything did."""
    request = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer probe\r\n\r\n".encode()
    waits: list[float] = []
    with socket.create_connection(("127.0.0.1", port), 60) as sock:
        sock.settimeout(_LOOK_SECONDS)
        while not stop.wait(pause):
            began, heard = time.monotonic(), b""
            sock.sendall(request)
            while not _is_whole(heard) and not stop.is_set():
                try:
                    data = sock.recv(65_536)
                except TimeoutError:
                    continue
                if not data:
                    return waits, "the connection was closed"
                heard += data
            waits.append(time.monotonic() - began)
            if heard and not heard.startswith(b"HTTP/1.1 200 "):
                return waits, heard[:100].decode("latin-1")
    return waits, ""


def _is_whole(heard: bytes) -> bool:
    head, blank, body = heard.partition(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return bool(blank) and len(body) >= int(length or 0)


class Probe:
    """``figures`` and ``wrong`` are there once `probing` has ended."""

    figures = Figures.of([])
    wrong = ""


@contextmanager
def probing(port: int, target: str, pause: float = 0.002) -> Iterator[Probe]:
    """Ask in a process of its own for as long as this block lasts."""
    command = [sys.executable, "-m", "tests.soak.probe", str(port), target, str(pause)]
    probe = Probe()
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "asking\n"
        try:
            yield probe
        finally:
            waits, probe.wrong = json.loads(process.communicate(timeout=60)[0])
            probe.figures = Figures.of(waits)


if __name__ == "__main__":
    stop = Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        stop.set()

    Thread(target=wait_for_the_end, daemon=True).start()
    sys.stdout.write("asking\n")
    sys.stdout.flush()
    json.dump(_ask(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), stop), sys.stdout)
