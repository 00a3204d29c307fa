"""With no socket: kvfake's transports for httpx and requests beside mocks of those clients.

Law: one process, the same clients and the same requests for all; what differs is what answers (`bench.mocks`).
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from statistics import median

import kvfake
from bench.measure import Goal, Scale, Section, compare, in_turn
from bench.mocks import ADAPTER, MOCK_TRANSPORT, RESPX, TRANSPORT, WSGI_TRANSPORT, AsyncWay, Mocks, Way
from bench.peers import ASKS, BOT, GET, PUT, VALUES
from bench.process import on_its_own_core
from bench.running import Running

GOALS = {MOCK_TRANSPORT: Goal(1.1), RESPX: Goal(0.5)}
OURS = (TRANSPORT, ADAPTER)
BATCH = 150


def inprocess(scale: Scale, running: Running) -> Section:
    """Clients of Python, sync and async."""
    double = kvfake.Double(token=f"{BOT['Authorization'].split()[1]}=app/bot")
    double.mattermost.raw["read"] = VALUES[0].encode()
    mocks = Mocks(running, double)
    for ours, name in ((TRANSPORT, "httpx_transport"), (ADAPTER, "requests_adapter")):
        if not hasattr(double, name):
            yield f"{ours}: not there yet"
    with on_its_own_core():
        for operation in (GET, PUT):
            yield from _compared(operation, {way: _sync(make, operation) for way, make in mocks.sync(operation).items()}, scale)
            ways = {way: _asynchronous(make, operation) for way, make in mocks.asynchronous(operation).items()}
            yield from _compared(f"{operation}, async", ways, scale)


def _compared(what: str, ways: dict[str, Callable[[], float]], scale: Scale) -> Section:
    """Ours beside theirs; what can be had today where ours are not there yet."""
    found = in_turn(ways, scale.rounds)
    ours = [way for way in OURS if way in found] or [way for way in found if way == WSGI_TRANSPORT]
    for own in ours:
        for way in found:
            if way not in (*OURS, own):
                yield compare(f"{own}, {what}", found[own], way, found[way], GOALS.get(way) if own in OURS else None)
    if RESPX in found:  # what a constant takes: nothing that httpx carries can be below it
        yield compare(f"{MOCK_TRANSPORT}, {what}", found[MOCK_TRANSPORT], RESPX, found[RESPX])


def _sync(way: Way, operation: str) -> Callable[[], float]:
    def figure() -> float:
        found = []
        with way() as ask:
            for body in itertools.islice(itertools.cycle(ASKS[operation].bodies), BATCH):
                began = time.perf_counter()
                answer = ask(body)
                found.append(time.perf_counter() - began)
                assert answer.status_code == 200
        return median(found)

    return figure


def _asynchronous(way: AsyncWay, operation: str) -> Callable[[], float]:
    async def batch() -> float:
        found = []
        async with way() as ask:
            for body in itertools.islice(itertools.cycle(ASKS[operation].bodies), BATCH):
                began = time.perf_counter()
                answer = await ask(body)
                found.append(time.perf_counter() - began)
                assert answer.status_code == 200
        return median(found)

    return lambda: asyncio.run(batch())
