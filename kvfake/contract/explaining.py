"""The rows, for whoever reads them: at a terminal, and as the page ``docs/fidelity.md``.

Law: rows in, text out. The tests that show a row are names that were written beside this file when it was built.
"""

from __future__ import annotations

import json
import shutil
import textwrap
from argparse import ArgumentParser, Namespace
from pathlib import Path

from kvfake.contract import write_text
from kvfake.services.fidelity import ROWS, SAME, SOURCES, Row
from kvfake.services.message import ROWS as MARKS
from kvfake.trouble import Failed

_SHOWN_BY = Path(__file__).with_name("shown_by.json")
_COLUMNS_OF_A_PIPE, _FEWEST_COLUMNS = 100, 40
_LEFT, _LABEL = 5, 12  # columns: the width of a row's id, and of what a line is about, with the blanks behind them
_UNKNOWN = 2  # the exit code, as of any wrong word on the command line


def command(parser: ArgumentParser, options: Namespace) -> int:
    """``kvfake explain``: the rows that are named, or all of them."""
    rows = _named(options.rows) if options.rows else list(ROWS.values())
    columns = max(shutil.get_terminal_size((_COLUMNS_OF_A_PIPE, 0)).columns, _FEWEST_COLUMNS)
    tests = shown_by()
    parts = [_explained(row, tests[row.id], columns) for row in rows]
    if not options.rows:
        parts.append("Sources\n" + "".join(_lines(f"{word:{_LABEL}}", meaning, columns) for word, meaning in SOURCES.items()))
    write_text("\n".join(parts))
    return 0


def shown_by() -> dict[str, list[str]]:
    """For each row the tests that show it. Each stands for all doors and profiles, or all parameters, that it is run with."""
    tests: dict[str, list[str]] = json.loads(_SHOWN_BY.read_bytes())
    return tests


def _named(ids: list[str]) -> list[Row]:
    unknown = [id for id in ids if id.upper() not in ROWS]
    if unknown:
        of_mattermost, of_persist = ([id for id in ROWS if id[0] == letter] for letter in "MP")
        known = f"M01 to {of_mattermost[-1]} (Mattermost), P01 to {of_persist[-1]} (Persist)"
        raise Failed(f"no row is called {', '.join(unknown)}; there are {known}", _UNKNOWN)
    return [ROWS[id.upper()] for id in ids]


def _explained(row: Row, tests: list[str], columns: int) -> str:
    about = {"source": [row.source], "documented": [row.documented], "plugin-1.2": [row.plugin]}
    if row.mark is not None:
        about["marked"] = [f"{MARKS}: {row.mark} on a reply kinder than the plugin's; the journal names it too"]
    about["shown by"] = tests
    text = _lines(f"{row.id:{_LEFT}}", row.sentence, columns)
    for label, items in about.items():
        for number, item in enumerate(items):
            text += _lines(" " * _LEFT + f"{'' if number else label:{_LABEL}}", item, columns)
    return text


def _lines(label: str, text: str, columns: int) -> str:
    """The text behind its label, and below itself where it is longer than a line. A word is never parted."""
    lines = textwrap.wrap(
        text.replace("``", "`"),
        columns,
        initial_indent=label,
        subsequent_indent=" " * len(label),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines) + "\n"


# --------------------------------------------------------------------------------------------------------------- the page


def page() -> str:
    """What ``docs/fidelity.md`` says."""
    lines = ["# What each service does", "", "Made from `kvfake/services/fidelity.py`; a test holds them together."]
    lines += ["An empty cell: the profile does what the row says. " + _in_words(SOURCES), ""]
    lines += ["| row | what the service does | from | `documented` | `plugin-1.2` |", "|---|---|---|---|---|"]
    lines += [_table_line(row) for row in ROWS.values()]
    lines += ["", "## The tests that show it", ""]
    lines += ["What begins with a row is a case of `tests/test_rows.py::test_the_row_holds`, for every door and both profiles.", ""]
    lines += [f"- {id}: {', '.join(f'`{_case(test) or test}`' for test in tests)}" for id, tests in shown_by().items()]
    return "\n".join(lines) + "\n"


def _case(test: str) -> str:
    return test.partition("[")[2].removesuffix("]")


def _in_words(sources: dict[str, str]) -> str:
    return "Sources: " + "; ".join(f"*{word}*, {meaning}" for word, meaning in sources.items()) + "."


def _table_line(row: Row) -> str:
    marked = "" if row.mark is None else f"; the reply names {row.mark}"
    documented = "" if row.documented == SAME else row.documented + marked
    plugin = "" if row.plugin == SAME else row.plugin
    cells = (row.id, row.sentence, row.source, documented, plugin)
    return "| " + " | ".join(cell.replace("``", "`").replace("|", r"\|") for cell in cells) + " |"
