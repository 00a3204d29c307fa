"""``kvfake explain``: the rows of `kvfake.services.facts` as text for a terminal.

Law: rows in, text out. Which tests show a row is read from ``kvfake/services/shown_by.json``, which ``make names`` writes.
"""

from __future__ import annotations

import json
import shutil
import textwrap
from argparse import Namespace
from importlib.resources import files

from kvfake.contract import write_text
from kvfake.errors import CommandError
from kvfake.services.facts import ROWS, SOURCES, Row
from kvfake.services.messages import FIDELITY_HEADER

_PIPE_COLUMNS, _MIN_COLUMNS = 100, 40  # the width where stdout is no terminal; the least width
_ID_COLUMNS, _LABEL_COLUMNS = 5, 12  # with the spaces after them
_USAGE_ERROR = 2  # the exit code of argparse for a wrong argument


def command(options: Namespace) -> int:
    """Print the rows that are named, or all of them."""
    rows = _named(options.rows) if options.rows else list(ROWS.values())
    columns = max(shutil.get_terminal_size((_PIPE_COLUMNS, 0)).columns, _MIN_COLUMNS)
    tests = shown_by()
    parts = [_row_text(row, tests[row.id], columns) for row in rows]
    if not options.rows:
        sources = (_wrapped(f"{word:{_LABEL_COLUMNS}}", meaning, columns) for word, meaning in SOURCES.items())
        parts.append("Sources\n" + "".join(sources))
    write_text("\n".join(parts))
    return 0


def shown_by() -> dict[str, list[str]]:
    """The tests that show each row, by its id. A test that runs with several parameters is named once."""
    tests: dict[str, list[str]] = json.loads(files("kvfake.services").joinpath("shown_by.json").read_bytes())
    return tests


def _named(ids: list[str]) -> list[Row]:
    unknown = [id for id in ids if id.upper() not in ROWS]
    if unknown:
        known: dict[str, list[str]] = {}
        for row in ROWS.values():
            known.setdefault(row.service, []).append(row.id)
        ranges = ", ".join(f"{rows[0]} to {rows[-1]} ({service.title()})" for service, rows in known.items())
        raise CommandError(f"no row is called {', '.join(unknown)}; there are {ranges}", _USAGE_ERROR)
    return [ROWS[id.upper()] for id in ids]


def _row_text(row: Row, tests: list[str], columns: int) -> str:
    details = {"source": [row.source], "documented": [row.documented], "plugin-1.2": [row.plugin]}
    if row.mark is not None:
        details["marked"] = [f"{FIDELITY_HEADER}: {row.mark} on a reply kinder than the service's; the journal names it too"]
    details["shown by"] = tests
    text = _wrapped(f"{row.id:{_ID_COLUMNS}}", row.sentence, columns)
    for label, items in details.items():
        for number, item in enumerate(items):
            text += _wrapped(" " * _ID_COLUMNS + f"{'' if number else label:{_LABEL_COLUMNS}}", item, columns)
    return text


def _wrapped(label: str, text: str, columns: int) -> str:
    """The text after its label, wrapped and indented. A word that is longer than a line is not split."""
    lines = textwrap.wrap(
        text.replace("``", "`"),
        columns,
        initial_indent=label,
        subsequent_indent=" " * len(label),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines) + "\n"
