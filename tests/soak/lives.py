"""Lives: starts and stops, signals, kills in the midst of an export, Ctrl-C from the first millisecond on.

Law: real processes, as a shell or a supervisor would start and end them. Nothing is left, and exit codes say what came.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.soak.table import Row
from tests.support.process import KVFAKE, ROOT, asked, environment, served

STARTS, SIGNALS, KILLS, MILLISECONDS = 1_000, 200, 40, 300
_AT_ONCE = 4  # processes
_GIVE_UP_SECONDS = 30

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
    if "Traceback" in errors:
        return "a traceback"
    # Before kvfake is there, the system ends the process; `serve` was asked to end and does; `run` says how its command ended.
    fitting = (-number, 128 + number, 0) if words[0] == "serve" else (-number, 128 + number)
    return "" if process.returncode in fitting else f"exit code {process.returncode} for {signal.Signals(number).name}"


def _all_at_once(end: Callable[[Any], str], each: Iterable[Any]) -> str:
    """What went wrong, and how often; nothing where all ended well."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        wrong = Counter(text for text in pool.map(end, each) if text)
    return ", ".join(f"{count}x {text}" for text, count in wrong.most_common(3))


def _signals(name: str, words: list[str], numbers: tuple[int, ...], seconds: float) -> Row:
    draw = random.Random(name)
    moments = [(draw.choice(numbers), draw.uniform(0, seconds)) for _ in range(SIGNALS // 2)]
    wrong = _all_at_once(lambda moment: _end(words, *moment), moments)
    return Row(
        f"{SIGNALS // 2} signals to {name} at random moments", wrong or "all ended at once, as asked", "none wrong", not wrong
    )


def _first_milliseconds() -> Row:
    wrong = _all_at_once(lambda place: _end(["serve", "--port", "0"], signal.SIGINT, place / 1000), range(MILLISECONDS))
    what = f"SIGINT at each of the first {MILLISECONDS} milliseconds"
    return Row(what, wrong or "ended at once, without a traceback", "none wrong", not wrong)


def _kills() -> Row:
    """The file holds one whole generation of values: the one that was exported last, or the one before."""
    with TemporaryDirectory() as folder:
        wrong = _all_at_once(lambda place: _kill_in_an_export(Path(folder) / f"values-{place}.json", place), range(KILLS))
    return Row(f"{KILLS} kill -9 in the midst of an export", wrong or "each file whole, old or new", "none wrong", not wrong)


def _kill_in_an_export(file: Path, place: int) -> str:
    with served("--export", str(file)) as (running, url):
        for generation in range(1_000):
            values = {f"key-{number}": f"{generation} " + "v" * 500 for number in range(2_000)}
            asked(f"{url}/_kvfake/data", "PUT", {"kvfake": 1, "persist": {"project": values}})
            if generation < 1:
                asked(f"{url}/_kvfake/data/export", "POST")
                continue
            killer = subprocess.Popen([sys.executable, "-S", "-c", _KILL, str(running.process.pid), str(place % 20 / 200)])
            with suppress(OSError, ValueError):  # killed while it answers
                asked(f"{url}/_kvfake/data/export", "POST")
            killer.wait()
            break
    try:
        held = json.loads(file.read_bytes())["persist"]["project"]
    except ValueError:
        return "the file is no JSON"
    found = {record["value"].split(" ")[0] for record in held.values()}
    return "" if len(held) == 2_000 and len(found) == 1 else f"{len(held)} values of generations {found}"


_KILL = "import os, sys, time; time.sleep(float(sys.argv[2])); os.kill(int(sys.argv[1]), 9)"
