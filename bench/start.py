"""From nothing to the first answer; what importing costs; what the plugin costs a suite that does not use it.

Law: whole processes, on every core there is, as a user meets them. A start is by the wall's clock; a cost is the difference of the
processor's time of paired runs (one thread that waits for nothing: on a quiet machine the same).
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import entry_points
from pathlib import Path
from statistics import median

from bench.measure import Goal, Scale, Section, alone, compare, duration, in_turn
from bench.peers import HTTPSERVER, KVFAKE, NGINX, OTHERS, WIREMOCK
from bench.process import NotHad, environment
from bench.running import Running

OF_HTTPSERVER, OF_WIREMOCK = Goal(0.6), Goal(0.1)
IMPORT = Goal(15, "ms")
PLUGIN = Goal(3, "ms")
SLOW_STARTS = 3  # of those that take seconds
RUN_SECONDS = 60


def start(scale: Scale, running: Running) -> Section:
    """A server's process to its first answer."""
    for names, rounds in (
        ((KVFAKE, HTTPSERVER, NGINX), scale.starts),
        ((KVFAKE, WIREMOCK, *OTHERS), min(SLOW_STARTS, scale.starts)),
    ):
        there = [name for name in names if _can_start(running, name)]
        found = in_turn({name: _first_answer(running, name) for name in there}, rounds)
        for name in there:
            if name != KVFAKE:
                goal = {HTTPSERVER: OF_HTTPSERVER, WIREMOCK: OF_WIREMOCK}.get(name)
                yield compare("serve to first answer", found[KVFAKE], name, found[name], goal)


def _can_start(running: Running, name: str) -> bool:
    """Also compiles, and fills the system's caches."""
    try:
        _first_answer(running, name)()
    except NotHad as why:
        running.left_out.setdefault(name, str(why))
        return False
    return True


def _first_answer(running: Running, name: str) -> Callable[[], float]:
    def begin() -> float:
        with ExitStack() as stack:
            began = time.perf_counter()
            running.anew(name, stack)
            return time.perf_counter() - began

    return begin


def importing(scale: Scale, running: Running) -> Section:
    """Importing, over bare Python."""
    subjects = {
        "import kvfake": ("import kvfake", IMPORT),
        "import kvfake; kvfake.start": ("import kvfake; kvfake.start", None),
    }
    for what, (code, goal) in subjects.items():
        found = in_turn({"with": _python("-c", code), "without": _python("-c", "pass")}, scale.pairs)
        cost = median(own - bare for own, bare in zip(found["with"], found["without"], strict=True)) * 1000
        yield alone(f"{what}, over bare Python", cost, f"{cost:+.1f} ms", goal)


def plugin(scale: Scale, running: Running) -> Section:
    """What a plugin adds to ``pytest --co`` of a suite of one file that does not use it."""
    folder = running.folder / "suite"
    folder.mkdir(exist_ok=True)
    (folder / "test_nothing.py").write_text("def test_nothing(): pass\n")
    there = {entry.name for entry in entry_points(group="pytest11")}
    for name in ("kvfake", "pytest_httpserver"):
        if name not in there:
            yield f"the plugin {name}: it is not installed"
            continue
        others = [option for other in sorted(there - {name}) for option in ("-p", f"no:{other}")]
        command = ("-m", "pytest", "--co", "-q", "-p", "no:cacheprovider", *others)
        subjects = {"with": _python(*command, folder=folder), "without": _python(*command, "-p", f"no:{name}", folder=folder)}
        found = in_turn(subjects, scale.pairs * 3)  # a process takes some 100 times as long as what is looked for
        cost = median(own - bare for own, bare in zip(found["with"], found["without"], strict=True)) * 1000
        what = f"the plugin {name} on pytest --co ({duration(median(found['without']))})"
        yield alone(what, cost, f"{cost:+.1f} ms", PLUGIN if name == "kvfake" else None)


def _python(*words: str, folder: Path | None = None) -> Callable[[], float]:
    """The processor's seconds of a run of Python; the first one, which compiles, is not counted."""
    env = environment()

    def run() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, *words], check=True, capture_output=True, cwd=folder or os.sep, env=env, timeout=RUN_SECONDS
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    run()
    return run
