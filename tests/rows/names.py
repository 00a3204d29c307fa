"""The tests that show each row, as pytest collects them: ``python -m tests.rows.names`` prints ``kvfake/services/shown_by.json``.

Checks of a row come first, then the tests that are marked: ``@pytest.mark.shows("P13")``.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from contextlib import redirect_stdout
from typing import Any

import pytest

CHECKS = "test_the_row_holds"
MARK = "shows"


class Collected:
    """A pytest plugin that keeps the collected tests."""

    def __init__(self) -> None:
        self.items: list[pytest.Item] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.items = session.items


def names(items: Iterable[pytest.Item]) -> dict[str, list[str]]:
    """The names of the tests of each row, by its id. A test that runs with several parameters is named once."""
    checks: defaultdict[str, dict[str, None]] = defaultdict(dict)  # a dict keeps the order, and drops a name that comes again
    marked: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for item in items:
        name = item.nodeid.partition("[")[0]
        if isinstance(item, pytest.Function) and item.originalname == CHECKS:
            check: Any = item.callspec.params["check"]
            checks[check.row][f"{name}[{check.name}]"] = None
        for mark in item.iter_markers(MARK):
            for row in mark.args:
                marked[row][name] = None
    return {row: [*checks[row], *marked[row]] for row in sorted({*checks, *marked})}


def main() -> int:
    collected = Collected()
    with redirect_stdout(sys.stderr):
        failed = pytest.main(["--collect-only", "-qq", "-p", "no:randomly", "-p", "no:cacheprovider", "tests"], [collected])
    if not failed:
        sys.stdout.write(json.dumps(names(collected.items), indent=2) + "\n")
    return failed


if __name__ == "__main__":
    sys.exit(main())
