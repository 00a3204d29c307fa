"""``python -m bench [--quick] [--only NAME ...] [--list] [--beside FOLDER]``: the whole table, or parts of it.

Law: it chooses, shows and counts; what is measured stands in the files of the parts. Whatever happens, also Ctrl-C, no process of
the bench outlives it.
"""

from __future__ import annotations

import argparse
import platform
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from bench import ROOT, concurrent, fixtures, growth, inprocess, memory, powers, sequential, start
from bench.install import Place
from bench.measure import QUICK, Row, Scale, Section, table
from bench.process import CORES
from bench.running import Running

PARTS: dict[str, Callable[[Scale, Running], Section]] = {
    "start": start.start,
    "import": start.importing,
    "plugin": start.plugin,
    "fixtures": fixtures.fixtures,
    "memory": memory.memory,
    "inprocess": inprocess.inprocess,
    "checkpoint": powers.checkpoint,
    "keys": growth.keys,
    "worlds": growth.worlds,
    "sequential": sequential.sequential,
    "floors": sequential.floors,
    "tail": sequential.tail,
    "anew": sequential.anew,
    "large": sequential.large,
    "journal": powers.journal,
    "concurrent": concurrent.concurrent,
}
LIMIT_SECONDS, QUICK_LIMIT_SECONDS = 30 * 60, 10 * 60  # of a whole run; it is ended then


def main() -> int:
    options = _options()
    scale = QUICK if options.quick else Scale()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGALRM, _stop)
    signal.alarm(QUICK_LIMIT_SECONDS if options.quick else LIMIT_SECONDS)
    began = time.monotonic()
    rows: list[Row] = []
    failed = 0
    say(_headline(options.quick))
    with tempfile.TemporaryDirectory(prefix="kvfake-bench-") as folder, Running(Place(options.beside), Path(folder)) as running:
        for name in options.only or PARTS:
            found, is_whole = _found(PARTS[name], scale, running)
            failed += not is_whole
            say(f"\n## {name}: {(PARTS[name].__doc__ or '').replace('``', '').strip()}\n")
            rows += table(found, say)
        if running.left_out:
            say("\n## left out\n")
        for peer, why in running.left_out.items():
            say(f"* {peer}: {why}")
    held = sum(row.verdict == "holds" for row in rows)
    missed = [row for row in rows if row.verdict not in ("", "holds")]
    say(f"\n## goals: {held} hold, {len(missed)} missed; {time.monotonic() - began:.0f} seconds\n")
    for row in missed:
        beside = f" beside {row.peer}" if row.peer else ""
        say(f"* {row.what}{beside}: {row.ratio or row.ours} ({row.goal})")
    return 1 if failed else 0


def _found(part: Callable[[Scale, Running], Section], scale: Scale, running: Running) -> tuple[list[Row | str], bool]:
    """What a part finds, as far as it comes; one that fails ends no other. Whether it came to its end."""
    found: list[Row | str] = []
    try:
        found.extend(part(scale, running))  # as far as it comes
    except Exception as wrong:
        traceback.print_exc()
        return [*found, f"this part failed: {type(wrong).__name__}: {wrong}"], False
    return found, True


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "make bench", description="kvfake and its peers in one run; bench/README.md says how to read it."
    )
    parser.add_argument("--quick", action="store_true", help="less of everything: to see that it works, and for a first guess")
    parser.add_argument(
        "--only", action="append", choices=tuple(PARTS), metavar="PART", help=f"a part (repeatable): {', '.join(PARTS)}"
    )
    parser.add_argument("--beside", type=Path, default=ROOT / ".bench", metavar="FOLDER", help="where the peers are installed")
    return parser.parse_args()


def _headline(is_quick: bool) -> str:
    from kvfake import __version__

    where = f"{CORES[0]} for the client, {CORES[1]} for the servers" if CORES else "not chosen: read no ratio below"
    kind = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}; cores: {where}"
    return (
        f"# kvfake {__version__}, {time.strftime('%Y-%m-%d')}, {kind}{'; quick: read the verdicts as a hint' if is_quick else ''}"
    )


def _stop(number: int, frame: object) -> NoReturn:
    sys.exit(f"bench: ended by {signal.Signals(number).name}")


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
