"""One client, one request after the other: on a kept connection, on a new one each, and with large values.

Law: the client has one core and the servers the other; what is shown is the median request (p50), and ratios within a round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median

from bench import peers
from bench.measure import Goal, Scale, Section, compare, in_turn, percentile
from bench.peers import BIG_GET, BIG_PUT, FLOORS, GET, HTTPSERVER, KVFAKE, NGINX, OTHERS, PERSIST_GET, PERSIST_PUT, PUT, WIREMOCK
from bench.process import on_its_own_core
from bench.running import Running, Server
from bench.wire import times

OF_NGINX = {GET: Goal(1.5), PUT: Goal(1.75), PERSIST_GET: Goal(1.65), PERSIST_PUT: Goal(1.85)}
OF_HTTPSERVER = Goal(0.16)
ANEW_OF_HTTPSERVER = Goal(0.8)
BIG_OF_NGINX = Goal(3)
WARM_UP_REQUESTS = 20_000


def sequential(scale: Scale, running: Running) -> Section:
    """Requests one after the other, connection kept."""
    with on_its_own_core():
        for operation, goal in OF_NGINX.items():
            servers = _that_answer(operation, running.those(KVFAKE, NGINX, HTTPSERVER, WIREMOCK, *OTHERS))
            for server in servers:
                seconds = scale.warm_up_seconds if server.name == WIREMOCK and operation == GET else 0.3
                times(server.line, server.messages(operation), WARM_UP_REQUESTS, seconds)
            found = in_turn({server.name: _p50(server, operation, scale) for server in servers}, scale.rounds)
            goals = {NGINX: goal, HTTPSERVER: OF_HTTPSERVER}
            for name in found:
                if name != KVFAKE:
                    yield compare(f"{operation}, p50", found[KVFAKE], name, found[name], goals.get(name))


def floors(scale: Scale, running: Running) -> Section:
    """What stands below a GET: kvfake's own doors with nothing behind them, and the least that Python can do."""
    with on_its_own_core():
        servers = running.those(KVFAKE, NGINX, *FLOORS)
        found = in_turn({server.name: _p50(server, GET, scale) for server in servers}, scale.rounds)
        for floor in found if NGINX in found else ():
            if floor in FLOORS:
                yield compare(f"{KVFAKE}, GET, p50", found[KVFAKE], floor, found[floor])
                yield compare(f"{floor}, p50", found[floor], NGINX, found[NGINX])


def tail(scale: Scale, running: Running) -> Section:
    """The slowest of a hundred and the mean, of GET."""
    with on_its_own_core():
        servers = running.those(KVFAKE, NGINX, HTTPSERVER)
        shown: Mapping[str, Callable[[list[float]], float]] = {
            "p99": lambda found: percentile(found, 0.99),
            "mean": lambda found: sum(found) / len(found),
        }
        for what, figure in shown.items():
            found = in_turn({server.name: _figure(server, GET, scale, figure) for server in servers}, scale.rounds)
            for name in found:
                if name != KVFAKE:
                    yield compare(f"{GET}, {what}", found[KVFAKE], name, found[name])


def anew(scale: Scale, running: Running) -> Section:
    """A new connection for each request."""
    with on_its_own_core():
        servers = running.those(KVFAKE, NGINX, HTTPSERVER)
        found = in_turn({server.name: _p50(server, GET, scale, anew=True) for server in servers}, scale.rounds)
        for name in found:
            if name != KVFAKE:
                goal = ANEW_OF_HTTPSERVER if name == HTTPSERVER else None
                yield compare("GET on a new connection, p50", found[KVFAKE], name, found[name], goal)


def large(scale: Scale, running: Running) -> Section:
    """Persist values of 256 KiB, against nginx sending the same bytes from a file, and taking them to the last."""
    with on_its_own_core():
        servers = running.those(KVFAKE, NGINX)
        for operation in (BIG_GET, BIG_PUT):
            found = in_turn({server.name: _p50(server, operation, scale) for server in servers}, scale.rounds)
            if NGINX in found:
                yield compare(f"{operation}, p50", found[KVFAKE], NGINX, found[NGINX], BIG_OF_NGINX)
        kvfake = running.those(KVFAKE)[0]
        quoted = kvfake.peer.asks[BIG_PUT]._replace(bodies=peers.wrapped(peers.BIG_JSON)).messages()
        subjects = {
            "plain": _p50(kvfake, BIG_PUT, scale),
            "quoted": lambda: median(times(kvfake.line, quoted, scale.requests, scale.round_seconds)),
        }
        found = in_turn(subjects, scale.rounds)
        yield compare(f"{BIG_PUT}, of JSON", found["quoted"], "kvfake, of plain text", found["plain"])


def _that_answer(operation: str, servers: list[Server]) -> list[Server]:
    return [server for server in servers if operation in server.peer.asks]


def _p50(server: Server, operation: str, scale: Scale, anew: bool = False) -> Callable[[], float]:
    return _figure(server, operation, scale, median, anew)


def _figure(
    server: Server, operation: str, scale: Scale, figure: Callable[[list[float]], float], anew: bool = False
) -> Callable[[], float]:
    messages = server.messages(operation)
    return lambda: figure(times(server.line, messages, scale.requests, scale.round_seconds, anew))
