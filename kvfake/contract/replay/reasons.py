"""Which rows explain a difference: a table of rules for each service, the nearest first.

Law: a difference in, rows out. What was not the service's own answer is explained by none.
"""

from __future__ import annotations

from kvfake.contract.replay.reasons_mattermost import OF_MATTERMOST
from kvfake.contract.replay.reasons_persist import OF_PERSIST
from kvfake.contract.replay.seen import Seen
from kvfake.services import persist

MAX_ROWS = 3


def rows_of(seen: Seen) -> list[str]:
    """The rows that explain it, at most `MAX_ROWS`; none where it is not explained."""
    if seen.is_no_answer:
        return []
    rules = OF_PERSIST if seen.service is persist else OF_MATTERMOST
    return list(dict.fromkeys(row for row, is_near in rules if is_near(seen)))[:MAX_ROWS]
