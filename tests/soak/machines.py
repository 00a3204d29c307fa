"""Truth under any sequence: the machines of tests/support/machines.py, with new examples each time.

Law: it counts sequences; what they do and what must be so stands with the machines.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.soak.table import Row
from tests.support import machines

_EXAMPLES, _STEPS = 50, 60


def run(minutes: float) -> Iterator[Row]:
    for way in machines.WAYS_IN:
        count, end, difference = 0, time.monotonic() + minutes * 60 / len(machines.WAYS_IN), ""
        with TemporaryDirectory() as folder:
            while time.monotonic() < end and not difference:
                try:
                    machines.run(way, Path(folder), _EXAMPLES, _STEPS, is_random=True)
                except Exception as failed:  # an AssertionError, or a group of them
                    traceback.print_exc()
                    difference = f"; {failed!r}"[:100]
                count += _EXAMPLES
        figure = f"{count:,} of up to {_STEPS} steps{difference}"
        yield Row(f"sequences through {way}", figure, "no difference to the model", not difference)
