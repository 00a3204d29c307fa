"""All checks of the contract.

Law: it names the files that hold them, and nothing else does.
"""

from __future__ import annotations

from kvfake.contract.checks import CHECKS, Check
from kvfake.contract.rows import (  # noqa: F401  (they register their checks)
    below,
    paths,
    persist,
    persist_keys,
    persist_refused,
    refused,
    valid_json,
    values,
    who,
)
from kvfake.services.facts import ROWS


def checks() -> list[Check]:
    """In the order of their rows."""
    places = list(ROWS)
    return sorted(CHECKS, key=lambda check: places.index(check.row))
