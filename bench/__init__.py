"""The benchmark: kvfake and its peers in one run, as ratios. `make bench` runs it; bench/README.md says how to read it.

Law: it measures what is installed in the bench's own environment, never the checkout around it: that is taken off the path.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
