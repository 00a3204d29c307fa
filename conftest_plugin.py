"""The pytest plugin for a checkout of kvfake: ``-p conftest_plugin``, or ``pytest_plugins = ["conftest_plugin"]`` in a conftest.

It names `kvfake.pytest_plugin` and holds nothing. Where kvfake is installed, pytest has that plugin already, under the name
``kvfake``, and would refuse to register it once more under another name. So it is registered here under the same name, once.
"""

from __future__ import annotations

import pytest

from kvfake import pytest_plugin


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    if not pluginmanager.has_plugin("kvfake") and not pluginmanager.is_blocked("kvfake"):
        pluginmanager.register(pytest_plugin, "kvfake")
