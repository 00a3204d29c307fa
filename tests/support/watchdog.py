"""The watchdog: a test that hangs is ended, together with its process.

Law: a pytest plugin that knows no test and nothing of kvfake, and relies on nothing that a hanging test can hold. Its timer is that
of `faulthandler`: a thread of C that needs no lock, no signal and no interpreter. It writes the stacks of all threads to stderr and
ends the process. pytest-xdist then reports the test by name ("worker 'gw0' crashed while running ...") and starts a new worker.

Why not pytest-timeout: its alarm raises an exception in whatever code is running. Where that code had just taken a lock, the lock
stayed locked: coverage's `Collector.lock_data` did, and then waited for ever at the next file that it had not yet measured. And
Hypothesis takes the exception for a failing example and runs the test again, now without an alarm. pytest-timeout's other method
is a thread of Python: coverage measures it too, and it waits for the same lock.
"""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Generator

import pytest

DEFAULT_SECONDS = 120
"""For one test with its fixtures, on a busy machine. `@pytest.mark.timeout(seconds)` gives a test another bound."""

EXIT_SECONDS = 60
"""From the end of the session to the end of the process."""


class Watchdog:
    """Ends the process in so many seconds, unless it is started anew or stopped before."""

    def __init__(self, stderr: int) -> None:
        self._stderr = stderr

    def start(self, seconds: float) -> None:
        faulthandler.dump_traceback_later(seconds, file=self._stderr, exit=True)

    def stop(self) -> None:
        faulthandler.cancel_dump_traceback_later()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        mark = item.get_closest_marker("timeout")
        self.start(mark.args[0] if mark is not None else DEFAULT_SECONDS)
        try:
            return (yield)
        finally:
            self.stop()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """The timer goes on until the process has ended, which a thread may prevent. A worker of pytest-xdist stays for as long as
        the others work: it is ended by the process that started it.
        """
        self.start(EXIT_SECONDS)
        try:
            return (yield)
        finally:
            if hasattr(session.config, "workerinput"):
                self.stop()

    def pytest_enter_pdb(self) -> None:
        self.stop()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"timeout(seconds): the bound of a test; {DEFAULT_SECONDS} seconds without this mark.")
    stderr = os.dup(2)  # capturing begins later: this one leads to the terminal
    faulthandler.enable(stderr)  # here and not in pytest's own plugin, which stops the timer when a test fails
    config.pluginmanager.register(Watchdog(stderr), "watchdog")
