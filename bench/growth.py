"""What grows with what is stored, and what does not: one key and a million, one world and ten thousand.

Law: servers that were filled before, asked in turn over a raw socket; requests go to keys all over, so that memory is cold.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from bench.measure import Goal, Scale, Section, compare, in_turn
from bench.peers import CHILDREN, JSON
from bench.process import free_port, on_its_own_core, process, wait_for
from bench.running import Running
from bench.wire import Ask, Line, Message, times

FLAT = Goal(1.3)
BEGINS = Goal(3)
LINEAR = Goal(1.3)
FEW_KEYS = 1000
MGET_KEYS, MGET_ROUNDS = 10_000, 7
ROUND_SECONDS = 0.3
SPREAD = 5000  # so many different keys are asked for
FILLING_SECONDS = 240
KV = "/api/v1/persist/kv/"


class Grown:
    """A server that holds so many keys and worlds."""

    def __init__(self, keys: int, worlds: int, running: Running, stack: ExitStack) -> None:
        folder = Path(tempfile.mkdtemp(dir=running.folder))
        said, port = folder / "filled.json", free_port()
        command = [sys.executable, str(CHILDREN / "grown.py"), str(port), str(keys), str(worlds), str(said)]
        child = stack.enter_context(process(command, folder))
        wait_for(said.exists, child, folder, FILLING_SECONDS)
        filled: dict[str, Any] = json.loads(said.read_text())
        self.line = stack.enter_context(Line(port))
        self.worlds: list[dict[str, str]] = filled["worlds"]
        self.token: str = filled["token"]
        self._random = random.Random(7)
        self.keys = keys

    def message(self, method: str, target: str, payload: object = None, token: str = "", **headers: str) -> Message:
        body = b"" if payload is None else json.dumps(payload).encode()
        headers = {"Authorization": f"Bearer {token or self.token}", **JSON, **headers}
        return Ask(method, target, headers, (body,)).messages()[0]

    def some(self) -> list[str]:
        return [f"key-{self._random.randrange(self.keys):07d}" for _ in range(min(SPREAD, self.keys))]

    def p50(self, messages: list[Message], count: int) -> Callable[[], float]:
        return lambda: median(times(self.line, messages, count, ROUND_SECONDS))


def keys(scale: Scale, running: Running) -> Section:
    """From one key to a million; lists of ten; `mget`."""
    with on_its_own_core(), ExitStack() as stack:
        one, few, many = [Grown(count, 0, running, stack) for count in (1, FEW_KEYS, scale.keys)]
        yield from _first_list(many, scale)
        shown, beside = f"{scale.keys:,} keys", "1 key"
        gets = {grown: [grown.message("GET", KV + key) for key in grown.some()] for grown in (one, many)}
        puts = {grown: [grown.message("PUT", KV + key, {"value": "y" * 120}) for key in grown.some()] for grown in (one, many)}
        for what, messages in (("GET", gets), ("PUT", puts)):
            subjects = {shown: many.p50(messages[many], scale.requests), beside: one.p50(messages[one], scale.requests)}
            found = in_turn(subjects, scale.rounds)
            yield compare(f"{what}, {shown}, p50", found[shown], beside, found[beside], FLAT)
        found = in_turn({shown: _new_keys(many, 200), beside: _new_keys(one, 200)}, scale.rounds)
        yield compare(f"PUT of a new key, {shown}, p50", found[shown], beside, found[beside], FLAT)
        yield from _lists(few, many, scale)
        yield from _mget(many, scale)


def _first_list(many: Grown, scale: Scale) -> Section:
    names = [b"key-%07d" % number for number in range(scale.keys)]
    random.Random(7).shuffle(names)
    began = time.perf_counter()
    sorted(names)
    bare = time.perf_counter() - began
    began = time.perf_counter()
    many.line.ask(many.message("GET", KV[:-1] + "?begins=key-000001"))
    yield compare(f"the first list after {scale.keys:,} sets, once", [time.perf_counter() - began], "sorting them shuffled", [bare])


def _new_keys(grown: Grown, count: int) -> Callable[[], float]:
    """A key is put and deleted again, so that there are always as many; the PUT is measured."""

    def figure() -> float:
        found = []
        for number in random.Random(7).sample(range(grown.keys, grown.keys + 9_000_000), count):
            put = grown.message("PUT", f"{KV}key-{number % 10_000_000:07d}-new", {"value": "y" * 120})
            began = time.perf_counter()
            grown.line.ask(put)
            found.append(time.perf_counter() - began)
            grown.line.ask(grown.message("DELETE", f"{KV}key-{number % 10_000_000:07d}-new"))
        return median(found)

    return figure


def _lists(few: Grown, many: Grown, scale: Scale) -> Section:
    shown, beside = f"{many.keys:,} keys", f"{few.keys:,}"
    lists = {
        grown: [grown.message("GET", f"{KV[:-1]}?begins={key[:-1]}") for key in (grown.some() * 5)[:500]] for grown in (few, many)
    }
    subjects = {shown: many.p50(lists[many], 200), beside: few.p50(lists[few], 200)}
    found = in_turn(subjects, scale.rounds)
    yield compare(f"begins with 10 answered, {shown}, p50", found[shown], beside, found[beside], BEGINS)
    for method in ("PUT", "DELETE"):
        subjects = {shown: _after(method, many, lists[many]), beside: _after(method, few, lists[few])}
        found = in_turn(subjects, scale.rounds)
        what = {"PUT": "set", "DELETE": "delete"}[method]
        yield compare(f"begins with 10 answered, a {what} before each, {shown}", found[shown], beside, found[beside], BEGINS)


def _after(method: str, grown: Grown, lists: list[Message]) -> Callable[[], float]:
    """One set or delete before every list; the list is measured."""
    put = grown.message("PUT", KV + "other", {"value": "y"})
    delete = grown.message("DELETE", KV + "other")
    before = (delete, put) if method == "PUT" else (put, delete)  # what makes the other one possible, and the one that counts

    def figure() -> float:
        found = []
        for message in lists[:100]:
            for one in before:
                grown.line.ask(one)
            began = time.perf_counter()
            grown.line.ask(message)
            found.append(time.perf_counter() - began)
        return median(found)

    return figure


def _mget(many: Grown, scale: Scale) -> Section:
    """The same 10,000 keys, asked for in one request or in many."""
    names = [f"key-{number:07d}" for number in random.Random(7).sample(range(many.keys), MGET_KEYS)]

    def a_key(count: int) -> Callable[[], float]:
        parts = [names[start : start + count] for start in range(0, MGET_KEYS, count)]
        messages = [many.message("POST", "/api/v1/persist/mget", {"keys": part}) for part in parts]
        return lambda: sum(times(many.line, messages, len(messages), seconds=60)) / MGET_KEYS

    found = in_turn({f"of {count:,}": a_key(count) for count in (MGET_KEYS, 1000, 100, 10)}, min(scale.rounds, MGET_ROUNDS))
    whole = f"of {MGET_KEYS:,}"
    for part in found:
        if part != whole:
            yield compare(f"mget {whole}, a key", found[whole], part, found[part], LINEAR)


def worlds(scale: Scale, running: Running) -> Section:
    """From one world to ten thousand: found by token, by address, and the server's own beside them."""
    with on_its_own_core(), ExitStack() as stack:
        none, one, many = [Grown(1, count, running, stack) for count in (0, 1, scale.worlds)]
        shown = f"{scale.worlds:,} worlds"
        for what, by_address in (("by token", False), ("by address", True)):
            for method, payload in (("GET", None), ("PUT", {"value": "y" * 120})):
                subjects = {
                    name: grown.p50(_in_each(grown, method, payload, by_address), scale.requests)
                    for name, grown in ((shown, many), ("1", one))
                }
                found = in_turn(subjects, scale.rounds)
                yield compare(f"{method} {what}, {shown} beside the server's own, p50", found[shown], "1 beside", found["1"], FLAT)
        subjects = {
            name: grown.p50([grown.message("GET", KV + "key-0000000")], scale.requests)
            for name, grown in ((shown, many), ("0", none))
        }
        found = in_turn(subjects, scale.rounds)
        yield compare(f"GET in the server's own, {shown} beside, p50", found[shown], "none beside", found["0"], FLAT)


def _in_each(grown: Grown, method: str, payload: object, by_address: bool) -> list[Message]:
    """Requests of which no two have the same head: one world's would be read faster than another's that follows it."""
    worlds = random.Random(7).sample(grown.worlds, min(SPREAD, len(grown.worlds)))
    found = []
    for number in range(SPREAD):
        world = worlds[number % len(worlds)]
        target = f"{world['path'] if by_address else ''}{KV}key-0000000"
        found.append(grown.message(method, target, payload, world["token"], Number=str(number)))
    return found
