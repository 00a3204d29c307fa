"""``python -m tests.soak [SECTION ...] [--minutes N]``: every promise under load for minutes, and a table of the figures.

Law: it shares the minutes out to the sections, and its exit code is 1 where one figure is out of its bound.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.soak import connections, fairness, growth, lives, load, machines, streams
from tests.soak.table import Row, Table


class Section(NamedTuple):
    run: Callable[[float], Iterator[Row]]
    share: float  # of the minutes; lives and growth take what they take, about so much


SECTIONS = {
    "machines": Section(machines.run, 0.08),
    "load": Section(load.run, 0.45),
    "streams": Section(streams.run, 0.15),
    "fairness": Section(fairness.run, 0.16),
    "connections": Section(connections.run, 0.05),
    "lives": Section(lives.run, 0.08),
    "growth": Section(growth.run, 0.03),
}
DEFAULT_MINUTES = 14.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all of them, if none is named")
    parser.add_argument("--minutes", type=float, default=DEFAULT_MINUTES, help="for all that is run, about (%(default)g)")
    options = parser.parse_args()
    unknown = [name for name in options.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"there is no section {unknown[0]!r}: expected some of {', '.join(SECTIONS)}")
    _prepare()
    names, table = options.sections or list(SECTIONS), Table()
    shares = sum(SECTIONS[name].share for name in names)
    for name in names:
        section = SECTIONS[name]
        try:
            for row in section.run(options.minutes * section.share / shares):
                table.add(name, row)
        except Exception as failed:  # the others are still to be measured
            traceback.print_exc()
            table.add(name, Row("the section itself", repr(failed)[:100], "to its end", False))
    table.print()
    return 0 if table.ok else 1


def _prepare() -> None:
    """As a shell's own job would begin, with as many file descriptors as the machine allows."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background has it ignored
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
