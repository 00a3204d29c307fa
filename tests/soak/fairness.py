"""Fairness: while one client does the worst that it may, others do not wait.

Law: the server, the client that attacks, the client that asks for a small value and the one that asks for the health are a process
each. The bounds are those of docs/reliability.md.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from tests.soak.attacks import ATTACKS, FLAGS, KV
from tests.soak.probe import Figures, probing
from tests.soak.table import Row, milliseconds
from tests.support.process import ROOT, asked, served

MAX_P99_SECONDS = 0.020
MAX_HEALTH_SECONDS = 0.5
_LONGEST_TIME_SECONDS = 30  # of one time that the attack does it
_BACKLOG = 128


class Measured(NamedTuple):
    get: Figures
    health: Figures
    wrong: str
    times: str


def measure(attack: str, seconds: float, scale: float = 1.0) -> Measured:
    """How long others wait while the attack goes on for so long, and until what it does then is done."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as silent,  # accepts, and says nothing
        served(*FLAGS, "--fallback", f"http://127.0.0.1:{silent.getsockname()[1]}") as (server, url),
    ):
        port = int(url.rpartition(":")[2])
        asked(f"{url}{KV}small", "PUT", "a small value", {"Authorization": "Bearer probe"})
        asked(f"{url}/_kvfake/health")  # the first loads what control needs
        command = [sys.executable, "-m", "tests.soak.attacks", attack, str(port), str(seconds), str(scale)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as attacker:
            assert attacker.stdout is not None
            assert attacker.stdout.readline() == "ready\n"
            with probing(port, f"{KV}small") as get, probing(port, "/_kvfake/health", pause=0.02) as health:
                times = "not done once"
                with suppress(subprocess.TimeoutExpired):
                    times = attacker.communicate(timeout=seconds + _LONGEST_TIME_SECONDS)[0].strip()
                attacker.kill()
        server.process.kill()
    return Measured(get.figures, health.figures, get.wrong or health.wrong, times)


def run(minutes: float) -> Iterator[Row]:
    for attack in ATTACKS:
        get, health, wrong, times = measure(attack, max(2.0, minutes * 60 / len(ATTACKS)))
        figure = f"p50 {milliseconds(get.median)}, p99 {milliseconds(get.p99)}, max {milliseconds(get.longest)}"
        is_quick = not wrong and get.p99 <= MAX_P99_SECONDS
        yield Row(f"{attack} ({times}): GET", wrong or figure, f"p99 {milliseconds(MAX_P99_SECONDS)}", is_quick)
        is_quick = health.longest <= MAX_HEALTH_SECONDS
        yield Row("... health", f"max {milliseconds(health.longest)}", f"max {milliseconds(MAX_HEALTH_SECONDS)}", is_quick)
