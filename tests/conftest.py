"""What many files share; pytester: suites that run inside a test; the watchdog: no test hangs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import configuration, settings

from tests.rows.names import Collected
from tests.support.process import steers_kvfake
from tests.support.suites import restore_modules

pytest_plugins = ["pytester", "tests.support.watchdog"]

# The same examples at each run, and none is failed for its time: machines differ. --hypothesis-profile=explore looks further.
settings.register_profile("explore", settings.get_profile("ci"), derandomize=False, max_examples=2000)
settings.load_profile("ci")
configuration.set_hypothesis_home_dir(Path(__file__).parents[1] / ".venv" / "cache" / "hypothesis")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Collected())


@pytest.fixture(autouse=True)
def _processes_of_what_runs_once_are_not_measured(request: pytest.FixtureRequest) -> Iterator[None]:
    """coverage makes each process slower by half, and these run what is measured in other tests, too."""
    with pytest.MonkeyPatch.context() as environment:
        if request.node.get_closest_marker("once") is not None:
            environment.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_signal_is_ignored() -> Iterator[None]:
    """A job in the background of a shell begins with SIGINT and SIGQUIT ignored, and so does every process that it starts."""
    defaults: dict[signal.Signals, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGQUIT: signal.SIG_DFL}
    ignored = [number for number in defaults if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, defaults[number])
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the shell's steers kvfake."""
    for name in [name for name in os.environ if steers_kvfake(name)]:
        monkeypatch.delenv(name)


@pytest.fixture
def _modules_stay_loaded() -> Iterator[None]:
    yield
    restore_modules()


@pytest.fixture
def pytester(_modules_stay_loaded: None, pytester: pytest.Pytester) -> pytest.Pytester:
    """pytest's own fixture. It ends, and drops the modules that its suites loaded, before they are put back."""
    return pytester
