"""The tests that show each row, as pytest collects them: ``python -m tests.rows.names`` prints ``kvfake/services/shown_by.json``.

Checks of a row come first, then the tests that are marked: ``@pytest.mark.shows("P13")``.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Generator, Iterable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

CHECKS = "test_the_row_holds"
MARK = "shows"

TESTS = Path(__file__).parents[1]
COLLECTED = pytest.StashKey[list[pytest.Item]]()
"""Where a run keeps what it has collected, in its order and before anything is deselected."""


class Collected:
    """A pytest plugin that keeps the collected tests."""

    def __init__(self) -> None:
        self.items: list[pytest.Item] = []

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
        self.items = [*items]
        config.stash[COLLECTED] = self.items
        return (yield)


def names_of_this_run(config: pytest.Config) -> dict[str, list[str]] | None:
    """The names, if this run has collected every test: to collect them again takes seconds. Else ``None``."""
    has_all = {Path(arg).resolve() for arg in config.args} <= {TESTS, TESTS.parent} and not config.getoption("lf", False)
    items = config.stash[COLLECTED]
    return names(items) if has_all else None


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
        failed = pytest.main(["--collect-only", "-qq", "-p", "no:randomly", "tests"], [collected])
    if not failed:
        sys.stdout.write(json.dumps(names(collected.items), indent=2) + "\n")
    return failed


if __name__ == "__main__":
    sys.exit(main())
