"""What many files share; pytester: suites that run inside a test."""

from __future__ import annotations

import os

import pytest

from tests.support.process import steers_kvfake

pytest_plugins = ["pytester"]


@pytest.fixture
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the shell's steers kvfake."""
    for name in [name for name in os.environ if steers_kvfake(name)]:
        monkeypatch.delenv(name)
