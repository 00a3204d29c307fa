"""What a machine may lack: a tool, a network, a protocol.

Law: a test that needs it is skipped and says so. With ``CI=true`` everything has to be there, and the test fails.
"""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def unavailable(reason: str) -> NoReturn:
    """Skip for that reason, or fail with it."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def tool(name: str) -> str:
    """Where the program is."""
    return shutil.which(name) or unavailable(f"there is no {name} on the PATH")
