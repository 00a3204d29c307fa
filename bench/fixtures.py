"""What the plugin costs: a fixture's life, and a suite that does not use it.

    python bench/fixtures.py [ROUNDS]

Prints the life of one double (a new world, first use of both mappings and ``env``, its end), and the time that loading the
plugin adds to ``pytest --co`` of a suite of one file, in paired and interleaved runs; beside it pytest-httpserver's, where it is
installed. Read the medians of the pairs, not single times.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kvfake.double import Started
from kvfake.settings import SERVER, WORLD, resolve

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 41
LIVES = 2000


def life_of_a_double() -> float:
    """Milliseconds, the median of many."""
    started = Started(resolve({"port": 0}, scopes=(SERVER, WORLD)))
    started.server.start()
    times = []
    for _ in range(LIVES):
        begin = time.perf_counter()
        double = started.beside({})
        double.mattermost["key"] = 1
        double.persist["key"] = "value"
        _ = double.env
        double.close()
        times.append(time.perf_counter() - begin)
    started.close()
    return statistics.median(times) * 1000


def collecting(suite: Path, *options: str) -> float:
    """Milliseconds that ``pytest --co`` takes."""
    command = [sys.executable, "-m", "pytest", "--co", "-q", "-p", "no:cacheprovider", *options, str(suite)]
    compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=suite.parent, env=compiled)
    return (time.perf_counter() - begin) * 1000


def cost_of(plugin: str, suite: Path, others: list[str]) -> float:
    """Milliseconds that a plugin adds: the median of the differences of paired runs, in turn."""
    without = [option for name in (*others, plugin) for option in ("-p", f"no:{name}")]
    with_it = [option for name in others for option in ("-p", f"no:{name}")]
    collecting(suite, *with_it)  # compiles
    pairs = [(collecting(suite, *with_it), collecting(suite, *without)) for _ in range(ROUNDS)]
    return statistics.median(loaded - bare for loaded, bare in pairs)


def main() -> None:
    print(f"a double's life: {life_of_a_double():.4f} ms (goal: 0.1)")
    plugins = ["kvfake"] + (["pytest_httpserver"] if importlib.util.find_spec("pytest_httpserver") else [])
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder) / "test_nothing.py"
        suite.write_text("def test_nothing(): pass\n")
        for plugin in plugins:
            cost = cost_of(plugin, suite, [other for other in plugins if other != plugin])
            print(f"{plugin} adds to pytest --co: {cost:+.1f} ms" + (" (goal: at most 3)" if plugin == "kvfake" else ""))


if __name__ == "__main__":
    main()
