"""The table of the soak: a line for each thing that was measured, as text that can be pasted into a page.

Law: it prints, and says whether everything held. What is measured stands in the sections.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

HEADER = ("section", "what", "figure", "bound", "")


class Row(NamedTuple):
    what: str
    figure: str
    bound: str
    ok: bool


class Table:
    """Rows are printed as they come, so that a run that is broken off has shown something, and all together at the end."""

    def __init__(self) -> None:
        self._lines: list[tuple[str, ...]] = []
        self.ok = True

    def add(self, section: str, row: Row) -> None:
        self.ok = self.ok and row.ok
        line = (section, row.what, row.figure, row.bound, "ok" if row.ok else "FAIL")
        self._lines.append(line)
        _write("  ".join(line))

    def print(self) -> None:
        lines = [HEADER, *self._lines]
        widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
        rule = tuple("-" * max(width, 3) for width in widths)
        _write("")
        for line in (HEADER, rule, *self._lines):
            _write("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms"
