"""Eight connections at once, with wrk.

Law: wrk has one core and the servers the other, one core each; it reads wrk's report and asks nothing itself.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

from bench.measure import Goal, Row, Scale, Section, compare, duration, per_second
from bench.peers import GET, HTTPSERVER, KVFAKE, NGINX, OTHERS, WIREMOCK, tool
from bench.process import NotHad, environment, on_its_own_core
from bench.running import Running, Server

CONNECTIONS = 8
GOALS = {NGINX: Goal(0.35, at_least=True), WIREMOCK: Goal(3, at_least=True), HTTPSERVER: Goal(12, at_least=True)}
NO_WORSE = Goal(1)
ROUNDS, QUICK_ROUNDS = 5, 3

_RATE = re.compile(r"Requests/sec: *([0-9.]+)")
_P99 = re.compile(r"99% +([0-9.]+)(us|ms|s)")
_ERRORS = re.compile(r"(Socket errors: .*|Non-2xx.*)")
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def concurrent(scale: Scale, running: Running) -> Section:
    """Requests a second and the slowest of a hundred, of GET."""
    try:
        wrk = tool("wrk")
    except NotHad as why:
        yield f"eight connections: left out, {why}"
        return
    with on_its_own_core():
        servers = [one for one in running.those(KVFAKE, NGINX, HTTPSERVER, WIREMOCK, *OTHERS) if GET in one.peer.asks]
        for server in servers:
            seconds = scale.warm_up_seconds if server.name == WIREMOCK else 0.5
            _load(wrk, server, seconds)
        rates: dict[str, list[float]] = {server.name: [] for server in servers}
        slowest: dict[str, list[float]] = {server.name: [] for server in servers}
        errors: dict[str, str] = {}
        for turn in range(QUICK_ROUNDS if scale.quick else ROUNDS):
            for server in reversed(servers) if turn % 2 else servers:
                rate, p99, error = _load(wrk, server, scale.load_seconds)
                rates[server.name].append(rate)
                slowest[server.name].append(p99)
                if error:
                    errors[server.name] = error
        yield from _rows(rates, "GET, 8 connections", per_second, GOALS.get)
        yield from _rows(
            slowest, "GET, 8 connections, p99", duration, lambda name: NO_WORSE if name in (WIREMOCK, HTTPSERVER) else None
        )
    for name, error in errors.items():
        yield f"wrk on {name}: {error}"


def _rows(found: dict[str, list[float]], what: str, show: Callable[[float], str], goal: Callable[[str], Goal | None]) -> list[Row]:
    return [compare(what, found[KVFAKE], name, found[name], goal(name), show) for name in found if name != KVFAKE]


def _load(wrk: str, server: Server, seconds: float) -> tuple[float, float, str]:
    """Requests a second, the p99 in seconds, and what went wrong. wrk counts in whole seconds, so less than one is one."""
    ask = server.peer.asks[GET]
    headers = [word for name, value in ask.headers.items() for word in ("-H", f"{name}: {value}")]
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--latency", *headers]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{server.port}{ask.target}"],
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        env=environment(),
        check=False,
    )
    rate, p99, errors = _RATE.search(done.stdout), _P99.search(done.stdout), _ERRORS.search(done.stdout)
    if rate is None or p99 is None:
        raise RuntimeError(f"wrk on {server.name} said: {done.stdout[-200:]}{done.stderr[-200:]}")
    return float(rate[1]), float(p99[1]) * _UNITS[p99[2]], errors[1] if errors else ""
