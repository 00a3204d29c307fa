"""Truth under load: tests/support/load.py for minutes.

Law: it tells figures; what is asked and what must be so stands with the load.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from tests.soak.table import Row
from tests.support import load

OPERATIONS = 10_000_000


def run(minutes: float) -> Iterator[Row]:
    outcome = load.run(OPERATIONS, minutes * 60)
    if outcome.wrong:
        sys.stderr.write(load.complaint(outcome.wrong) + "\n")
    wrong, clients = len(outcome.wrong), f"{load.PROCESSES} processes x {load.THREADS} threads"
    yield Row(
        f"operations of {clients}", f"{outcome.done:,} in {outcome.seconds:,.0f} s", f"{OPERATIONS:,}, or the time is over", True
    )
    yield Row("answers that were wrong, lost or mixed", str(wrong), "0", not wrong)
    yield Row(
        "operations on shared keys, in linearizable histories", f"{outcome.shared:,} in {outcome.histories}", "all", not wrong
    )
    yield Row("looks at the journal meanwhile", f"{outcome.looks_at_the_journal:,}", "some", outcome.looks_at_the_journal > 0)
