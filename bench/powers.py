"""What the powers over a world cost: the journal a request, a checkpoint a world.

Law: what is not there yet is said so, and not measured.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import kvfake
from bench.measure import Goal, Scale, Section, alone, compare, duration, in_turn
from bench.peers import ASKS, GET, KVFAKE
from bench.process import on_its_own_core
from bench.running import Running
from bench.wire import Ask, Line, Message, body_of, times
from kvfake import settings

JOURNAL = Goal(1.05)
PAIRS = 21
WITHOUT_JOURNAL = "journal_exchanges"
CHECKPOINT = Goal(2)
SMALL, LARGE = 100, 100_000
ROUND_SECONDS = 0.3


def journal(scale: Scale, running: Running) -> Section:
    """A GET in a world with its journal, and in one without, of one server."""
    if WITHOUT_JOURNAL not in settings.BY_NAME:
        yield f"the journal's cost: the setting {WITHOUT_JOURNAL} is not there yet"
        return
    with on_its_own_core():
        port = running.those(KVFAKE)[0].port
        with Line(port) as line:
            kept, none = _opened(line, {}), _opened(line, {WITHOUT_JOURNAL: 0})
            subjects = {
                "with": lambda: median(times(line, kept, scale.requests, ROUND_SECONDS)),
                "without": lambda: median(times(line, none, scale.requests, ROUND_SECONDS)),
            }
            times(line, kept, 2000)
            times(line, none, 2000)
            found = in_turn(subjects, PAIRS)
            yield compare(f"GET with a journal, p50, {PAIRS} pairs", found["with"], "without", found["without"], JOURNAL)


def _opened(line: Line, asked: dict[str, object]) -> list[Message]:
    """A new world with a value, as the GET that asks for it."""
    opened = body_of(line.ask(Ask("POST", "/_kvfake/worlds", bodies=(json.dumps(asked).encode(),)).messages()[0]))
    headers = {"Authorization": f"Bearer {json.loads(opened)['tokens']['mattermost']}"}
    line.ask(Ask("PUT", ASKS[GET].target, headers, (b'"' + b"a" * 118 + b'"',)).messages()[0])
    return Ask("GET", ASKS[GET].target, headers).messages()


def checkpoint(scale: Scale, running: Running) -> Section:
    """A checkpoint, and the first write after it, with little and with much stored."""
    if not hasattr(kvfake.Double, "checkpoint"):
        yield "checkpoints: Double.checkpoint is not there yet"
        return
    small, large = _filled(SMALL), _filled(LARGE)
    steps: dict[str, Callable[[kvfake.Double], float]] = {
        "a checkpoint": lambda double: _taken(double)[0],
        "the first write after a checkpoint": lambda double: _taken(double)[1],
    }
    for what, step in steps.items():
        subjects = {"large": partial(step, large), "small": partial(step, small)}
        found = in_turn(subjects, scale.pairs)
        yield compare(f"{what}, {LARGE:,} keys", found["large"], f"{SMALL} keys", found["small"], CHECKPOINT)
    for shown, double in ((SMALL, small), (LARGE, large)):
        back = median(_taken(double)[2] for _ in range(scale.pairs))
        yield alone(f"rolling back one write, {shown:,} keys", back, duration(back))


def _filled(count: int) -> kvfake.Double:
    double = kvfake.Double()
    for number in range(count):
        double.persist.raw[f"key-{number:07d}"] = b"%0120d" % number
    return double


def _taken(double: kvfake.Double) -> tuple[float, float, float]:
    """Seconds of a checkpoint, the first write after it, and the way back."""
    clock = time.perf_counter
    raw = double.persist.raw
    began = clock()
    mark = double.checkpoint()
    taken = clock()
    raw["key-0000001"] = b"other"
    written = clock()
    double.rollback(mark)
    back = clock()
    return taken - began, written - taken, back - written
