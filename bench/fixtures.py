"""What a test pays for its double: a fixture's life, and ending a server, also with connections open.

Law: in this process, through what the pytest plugin itself calls.
"""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from statistics import median

import kvfake
from bench.measure import Goal, Scale, Section, alone, compare, duration, in_turn
from bench.running import Running
from bench.wire import HOST, Line
from kvfake.session import DoubleFactory

LIVES, QUICK_LIVES = 4000, 1000
LIFE = Goal(0.1, "ms")
STOP = Goal(5, "ms")
STOP_OF_BARE = Goal(2)
CONNECTIONS = 100


def fixtures(scale: Scale, running: Running) -> Section:
    """A double of a test, from its set-up to its end."""
    factory = DoubleFactory({})
    factory().close()  # starts the server
    lives = [_life(factory) for _ in range(QUICK_LIVES if scale.quick else LIVES)]
    factory.close()
    life = median(lives) * 1000
    yield alone("a fixture's life: set-up, both mappings, env, tear-down", life, duration(life / 1000), LIFE)
    found = in_turn({"stop": lambda: _stop(0), "open": lambda: _stop(CONNECTIONS), "bare": _bare}, scale.pairs)
    stop = median(found["stop"]) * 1000
    yield alone("ending a server, one connection open", stop, duration(stop / 1000), STOP)
    stop = median(found["open"]) * 1000
    yield alone(f"ending a server, {CONNECTIONS} open", stop, duration(stop / 1000), STOP)
    yield compare(f"ending a server, {CONNECTIONS} open", found["open"], "closing them bare", found["bare"], STOP_OF_BARE)


def _life(factory: DoubleFactory) -> float:
    began = time.perf_counter()
    factory.begin_test()
    double = factory()
    double.mattermost["key"] = 1
    double.persist["key"] = "value"
    _ = double.env
    double.close()
    return time.perf_counter() - began


def _stop(connections: int) -> float:
    """Seconds that ending a server takes, which has answered, and has so many connections besides that were heard of."""
    double = kvfake.start()
    with ExitStack() as stack:
        port = int(double.url.rpartition(":")[2])
        lines = [stack.enter_context(Line(port)) for _ in range(connections + 1)]
        for line in lines:
            line.ask(b"GET /api/v1/persist/kv HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer bench\r\n\r\n")
        began = time.perf_counter()
        double.close()
        return time.perf_counter() - began


def _bare() -> float:
    """Seconds that closing as many accepted sockets takes, and the one that listens."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((HOST, 0), backlog=CONNECTIONS + 1))
        accepted = []
        for _ in range(CONNECTIONS + 1):
            client = stack.enter_context(socket.create_connection(listener.getsockname()))
            accepted.append(listener.accept()[0])
            client.sendall(b"asked" * 20)
            accepted[-1].recv(100)
            accepted[-1].sendall(b"answered" * 20)
        began = time.perf_counter()
        for sock in accepted:
            sock.close()
        listener.close()
        return time.perf_counter() - began
