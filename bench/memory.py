"""What keys and worlds weigh.

Law: each figure comes from a process of its own; see ``children/memory.py``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.measure import Goal, Scale, Section, alone
from bench.peers import CHILDREN
from bench.process import environment
from bench.running import Running

A_KEY = Goal(300, "bytes")
A_WORLD = Goal(4096, "bytes")
SECONDS = 240


def memory(scale: Scale, running: Running) -> Section:
    """Bytes of the process, as the system counts them."""
    if not Path("/proc/self/statm").exists():
        yield "memory: left out, this system does not say what a process holds (/proc/self/statm)"
        return
    for count in (100_000, scale.keys):
        figure = _weighed("keys", count, running)
        yield alone(f"a key beyond key and value, {count:,} keys, after a list", figure, f"{figure:.0f} bytes", A_KEY)
    figure = _weighed("worlds", scale.worlds, running)
    yield alone(f"an empty world, of {scale.worlds:,} opened over HTTP", figure, f"{figure:.0f} bytes", A_WORLD)
    figure = _weighed("doubles", scale.worlds, running)
    yield alone(f"an empty world, of {scale.worlds:,} doubles of tests, with the double", figure, f"{figure:.0f} bytes", A_WORLD)


def _weighed(what: str, count: int, running: Running) -> float:
    done = subprocess.run(
        [sys.executable, str(CHILDREN / "memory.py"), what, str(count)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd=running.folder,
        env=environment(),
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"memory.py {what}: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}")
    return float(json.loads(done.stdout))
