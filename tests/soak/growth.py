"""Growth: tests/test_growth*.py, where they exist: every dimension of an input doubled costs at most 2.5 times.

Law: it runs them, and tells how many held.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from tests.soak.table import Row
from tests.support.process import ROOT


def run(minutes: float) -> Iterator[Row]:
    files = sorted(map(str, (ROOT / "tests").glob("test_growth*.py")))
    if not files:
        yield Row("dimensions of what comes from outside", "no tests/test_growth*.py here", "none fails", True)
        return
    command = [sys.executable, "-m", "pytest", "-q", *files]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.stderr.write(ended.stdout)
    yield Row("dimensions of what comes from outside", ended.stdout.strip().rpartition("\n")[2], "none fails", not ended.returncode)
