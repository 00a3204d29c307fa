"""The pytest plugin for a checkout of kvfake: ``-p conftest_plugin``, or ``pytest_plugins = ["conftest_plugin"]`` in a conftest.

It names `kvfake.pytest_plugin` and holds nothing. Where kvfake is installed, pytest has that plugin already and would refuse to
register it once more. So it is registered here only where it is missing. A project that has a ``conftest_plugin.py`` of its own
names ``kvfake.pytest_plugin`` instead.
"""

from __future__ import annotations

import pytest

from kvfake import pytest_plugin


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    if not pluginmanager.is_registered(pytest_plugin) and not pluginmanager.is_blocked("kvfake"):
        is_taken = pluginmanager.has_plugin("kvfake")  # by the package: ``-p kvfake`` where kvfake is not installed
        pluginmanager.register(pytest_plugin, None if is_taken else "kvfake")
