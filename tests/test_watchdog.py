"""The watchdog of these tests: whatever a test does, the run ends and names the test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BOUND_SECONDS = 50  # for one run; the watchdog inside it ends a test after one second

pytestmark = pytest.mark.once

HANGS = """
    import signal, threading, time
    import pytest
    from hypothesis import given, strategies

    pytestmark = pytest.mark.timeout(1)

    def wait_for_ever():
        lock = threading.Lock()
        lock.acquire()
        while True:  # no exception from outside ends this
            try:
                lock.acquire()
            except BaseException:
                pass
"""
SUITES = {
    "a lock": """
    def test_it():
        wait_for_ever()
""",
    "Hypothesis": """
    @given(strategies.integers())
    def test_it(number):
        wait_for_ever()
""",
    "the teardown of a test that failed": """
    @pytest.fixture
    def slow():
        yield
        wait_for_ever()

    def test_it(slow):
        assert 0
""",
    "a loop that never lets go of the interpreter": """
    def test_it():
        all(0 == 0 for _ in iter(int, 1))
""",
}


@pytest.fixture(autouse=True)
def _a_suite_of_its_own(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run has the watchdog, and no other plugin that a test does not name."""
    for name in [name for name in os.environ if name.startswith(("COVERAGE", "PYTEST_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeini("[pytest]\naddopts = -p no:faulthandler -p no:cacheprovider -p tests.support.watchdog")


def run(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess(*args, timeout=BOUND_SECONDS)


@pytest.mark.parametrize("where", ["a lock", "Hypothesis"])
def test_a_test_that_hangs_is_ended(pytester: pytest.Pytester, where: str) -> None:
    """Its process ends, and the stack on stderr names the test."""
    pytester.makepyfile(test_suite=HANGS + SUITES[where])
    result = run(pytester)
    assert result.ret == 1
    result.stderr.fnmatch_lines(["Timeout (0:00:01)!", "*test_suite.py* in test_it"])


def test_a_test_that_hangs_in_a_worker_is_named(pytester: pytest.Pytester) -> None:
    """pytest-xdist names the test wherever it hangs, and runs the other tests in another worker."""
    others = "    @pytest.mark.parametrize('number', range(4))\n    def test_other(number):\n        pass\n"
    pytester.makepyfile(**{f"test_{number}": HANGS + suite + others for number, suite in enumerate(SUITES.values())})
    result = run(pytester, "-p", "xdist", "-n2")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    for number in range(len(SUITES)):
        assert f"crashed while running 'test_{number}.py::test_it'" in result.stdout.str()
    result.stdout.fnmatch_lines([f"*{4 * len(SUITES)} passed*"])


def test_a_process_that_does_not_end_is_ended(pytester: pytest.Pytester) -> None:
    """Also where all tests have passed, and a thread of theirs goes on."""
    pytester.makeconftest("import tests.support.watchdog as watchdog\n\nwatchdog.EXIT_SECONDS = 1\n")
    pytester.makepyfile("import threading\n\ndef test_it():\n    threading.Thread(target=threading.Event().wait).start()\n")
    result = run(pytester)
    result.assert_outcomes(passed=1)
    assert result.ret == 1
    result.stderr.fnmatch_lines(["Timeout (0:00:01)!", "*threading.py*"])
