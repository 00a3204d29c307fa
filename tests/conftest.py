"""What many files share; pytester: suites that run inside a test; the watchdog: no test hangs."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from tests.support.process import steers_kvfake

pytest_plugins = ["pytester", "tests.support.watchdog"]

# The same examples at each run, and none is failed for its time: machines differ. --hypothesis-profile=explore looks further.
settings.register_profile("explore", settings.get_profile("ci"), derandomize=False, max_examples=2000)
settings.load_profile("ci")


@pytest.fixture
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the shell's steers kvfake."""
    for name in [name for name in os.environ if steers_kvfake(name)]:
        monkeypatch.delenv(name)
