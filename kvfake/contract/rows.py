"""All checks of the contract.

Law: it names the files that hold them, and nothing else does.
"""

from __future__ import annotations

from kvfake.contract import (  # noqa: F401  (they register their checks)
    rows_below,
    rows_json,
    rows_paths,
    rows_persist,
    rows_persist_keys,
    rows_persist_refused,
    rows_refused,
    rows_values,
    rows_who,
)
from kvfake.contract.checks import CHECKS, Check
from kvfake.services.fidelity import ROWS


def checks() -> list[Check]:
    """In the order of their rows."""
    places = list(ROWS)
    return sorted(CHECKS, key=lambda check: places.index(check.row))
