"""The page ``docs/fidelity.md``: ``python -m tests.rows.page`` prints it."""

from __future__ import annotations

import sys

from kvfake.contract.explain import shown_by
from kvfake.services.facts import ROWS, SAME, SOURCES, Row


def page() -> str:
    sources = "; ".join(f"*{word}*, {meaning}" for word, meaning in SOURCES.items())
    lines = ["# What each service does", "", "Made from `kvfake/services/facts.md`; a test holds them together."]
    lines += ["An empty cell: the profile does what the row says. " + f"Sources: {sources}.", ""]
    lines += ["| row | what the service does | from | `documented` | `plugin-1.2` |", "|---|---|---|---|---|"]
    lines += [_table_line(row) for row in ROWS.values()]
    lines += ["", "## The tests that show it", ""]
    lines += [
        "A name that begins with a row is a case of `tests/test_rows.py::test_the_row_holds`, for every way in and both profiles.",
        "",
    ]
    lines += [f"- {id}: {', '.join(f'`{_case(test) or test}`' for test in tests)}" for id, tests in shown_by().items()]
    return "\n".join(lines) + "\n"


def _case(test: str) -> str:
    """What stands in the brackets of a test with parameters; empty for another."""
    return test.partition("[")[2].removesuffix("]")


def _table_line(row: Row) -> str:
    marked = "" if row.mark is None else f"; the reply names {row.mark}"
    documented = "" if row.documented == SAME else row.documented + marked
    plugin = "" if row.plugin == SAME else row.plugin + (marked if row.plugin == row.documented else "")
    cells = (row.id, row.sentence, row.source, documented, plugin)
    return "| " + " | ".join(cell.replace("``", "`").replace("|", r"\|") for cell in cells) + " |"


if __name__ == "__main__":
    sys.stdout.write(page())
