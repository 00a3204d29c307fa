"""Lives: starts and stops, signals, kills in the midst of an export, Ctrl-C from the first millisecond on.

Law: real processes, as a shell or a supervisor would start and end them. Nothing is left, and exit codes say what came.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import Any

from tests.soak.table import Row
from tests.support.process import KVFAKE, ROOT, asked, environment, served

STARTS, SIGNALS, KILLS, MILLISECONDS = 1_000, 200, 40, 300
_AT_ONCE = 4  # processes
_GIVE_UP_SECONDS = 30
_VALUES = 2_000  # of an export

_OWN_CODE = str(ROOT / "kvfake") + os.sep
_OF_PYTHON = "a traceback of Python's own start"  # before the first line of kvfake: nothing here can prevent it

_STARTS_AND_STOPS = """
import os, sys, threading, kvfake
def counts():
    return len(os.listdir("/proc/self/fd")), threading.active_count()
kvfake.start().close()
before = counts()
for _ in range(int(sys.argv[1])):
    with kvfake.start() as double:
        double.mattermost["k"] = 1
print(*before, *counts())
"""


def run(minutes: float) -> Iterator[Row]:
    yield _starts_and_stops()
    yield _signals("serve", ["serve", "--port", "0"], (signal.SIGINT, signal.SIGTERM), seconds=0.6)
    yield _signals("run", ["run", "--", "sleep", "60"], (signal.SIGINT, signal.SIGTERM, signal.SIGHUP), seconds=0.6)
    yield _kills()
    yield _first_milliseconds()


def _starts_and_stops() -> Row:
    command = [sys.executable, "-c", _STARTS_AND_STOPS, str(STARTS)]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=600).stdout
    fds, threads, fds_after, threads_after = map(int, out.split())
    figure = f"{fds} to {fds_after} descriptors, {threads} to {threads_after} threads"
    return Row(f"{STARTS:,} starts and stops in one process", figure, "as before", (fds, threads) == (fds_after, threads_after))


def _end(words: list[str], number: int, delay: float) -> str:
    """Start it, send it that signal after so long, and wait for its end. What is wrong with how it ended, or nothing."""
    process = subprocess.Popen(
        [*KVFAKE, *words], cwd=ROOT, env=environment({}), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        time.sleep(delay)
        process.send_signal(number)
        errors = process.communicate(timeout=_GIVE_UP_SECONDS)[1]
    except subprocess.TimeoutExpired:
        return "hangs"
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()
    if "Traceback" in errors or "Fatal Python error" in errors:
        return "a traceback" if _OWN_CODE in errors else _OF_PYTHON
    # Before kvfake is there, the system ends the process; `serve` was asked to end and does; `run` says how its command ended.
    fitting = (-number, 128 + number, 0) if words[0] == "serve" else (-number, 128 + number)
    return "" if process.returncode in fitting else f"exit code {process.returncode} for {signal.Signals(number).name}"


def _all_at_once(end: Callable[[Any], str], each: Iterable[Any], well: str) -> tuple[str, bool]:
    """What went wrong and how often, else that all went well; and whether it did."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = Counter(text for text in pool.map(end, each) if text)
    return ", ".join(f"{count}x {text}" for text, count in found.most_common(4)) or well, not found.keys() - {_OF_PYTHON}


def _signals(name: str, words: list[str], numbers: tuple[int, ...], seconds: float) -> Row:
    draw = random.Random(name)
    moments = [(draw.choice(numbers), draw.uniform(0, seconds)) for _ in range(SIGNALS // 2)]
    figure, ok = _all_at_once(lambda moment: _end(words, *moment), moments, "all ended as asked")
    return Row(
        f"{SIGNALS // 2} signals to {name} at random moments", figure, "no hang, no traceback of kvfake, a fitting exit code", ok
    )


def _first_milliseconds() -> Row:
    moments = range(MILLISECONDS)
    figure, ok = _all_at_once(
        lambda place: _end(["serve", "--port", "0"], signal.SIGINT, place / 1000), moments, "all ended as asked"
    )
    return Row(f"SIGINT at each of the first {MILLISECONDS} milliseconds", figure, "the same", ok)


def _kills() -> Row:
    """The file holds one whole generation of values: the one that was exported last, or the one before."""
    with TemporaryDirectory() as folder:
        files = [Path(folder) / f"values-{place}.json" for place in range(KILLS)]
        figure, ok = _all_at_once(_kill_in_an_export, files, "each file whole, new or as it was")
    return Row(f"{KILLS} kill -9 in the midst of an export", figure, "each file whole, new or as it was", ok)


def _kill_in_an_export(file: Path) -> str:
    with served("--export", str(file)) as (running, url):
        _set_generation(url, "old")
        asked(f"{url}/_kvfake/data/export", "POST")
        _set_generation(url, "new")
        killer = Timer(random.uniform(0, 0.1), running.process.kill)  # about as long as an export takes
        killer.start()
        with suppress(OSError, ValueError, HTTPException):  # killed while it answers
            asked(f"{url}/_kvfake/data/export", "POST")
        killer.join()
    try:
        held = json.loads(file.read_bytes())["persist"]["project"]
    except ValueError:
        return "the file is no JSON"
    generations = {record["value"].split(" ")[0] for record in held.values()}
    return "" if len(held) == _VALUES and len(generations) == 1 else f"{len(held)} values of {generations}"


def _set_generation(url: str, generation: str) -> None:
    values = {f"key-{number}": f"{generation} " + "v" * 500 for number in range(_VALUES)}
    asked(f"{url}/_kvfake/data", "PUT", {"kvfake": 1, "persist": {"project": values}})
