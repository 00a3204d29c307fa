"""Runs a suite that a test has written with pytester: with kvfake's plugin, and no other that the test does not name.

Law: `run` works in this process, which costs a tenth of a new one. `run_process` is for suites that would disturb this process or
be disturbed by it: those that send signals, have workers, or look at memory and at what is loaded.
"""

from __future__ import annotations

import sys
import warnings
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

BOUND_SECONDS = 60  # for one suite in a process of its own
ALONE = ("-p", "kvfake")
QUIET = ("-p", "no:cacheprovider", "-p", "no:randomly")  # in the order in which it is written
INI = """
    [pytest]
"""


class _Modules:
    """A plugin for `run`: it remembers which modules are loaded when the suite ends, but for the suite's own files."""

    loaded: ClassVar[dict[str, ModuleType]] = {}

    def __init__(self, suite: Path) -> None:
        self._suite = str(suite)

    def pytest_unconfigure(self) -> None:
        for name, module in sys.modules.items():
            if not (getattr(module, "__file__", None) or "").startswith(self._suite):
                self.loaded.setdefault(name, module)


def restore_modules() -> None:
    """pytester drops from ``sys.modules`` what a suite was the first to import, at the end of the suite and of the test. The next
    import would load a second copy of the library, whose classes are not those of the first.
    """
    sys.modules.update(_Modules.loaded)


def _plugin() -> Any:
    """kvfake's plugin as an object: for ``-p kvfake`` pytest would warn that it cannot rewrite a module that is loaded already."""
    (found,) = entry_points(group="pytest11", name="kvfake")
    return found.load()


def run(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    """Run the suite in this process; with ``-n``, for pytest-xdist, in one of its own."""
    if any(arg.startswith("-n") for arg in args):
        return run_process(pytester, "-p", "xdist", *args)
    with pytest.MonkeyPatch.context() as environment, warnings.catch_warnings():
        environment.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        warnings.resetwarnings()  # the outer session makes an error of every warning
        # Without pytest's own faulthandler plugin: it stops the timer of the outer session, the watchdog's, when a test fails.
        words = (*QUIET, "-p", "no:faulthandler", *args)
        result = pytester.runpytest_inprocess(*words, plugins=[_plugin(), _Modules(pytester.path)])
    restore_modules()
    return result


def run_process(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    """Run the suite in a process of its own."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        return pytester.runpytest_subprocess(*ALONE, *QUIET, *args, timeout=BOUND_SECONDS)


def text_of(result: pytest.RunResult) -> str:
    return result.stdout.str() + result.stderr.str()


def section_of(result: pytest.RunResult) -> list[str]:
    """The lines of the one section ``kvfake`` of a failing test's report."""
    lines = result.stdout.lines
    begins = [number for number, line in enumerate(lines) if line.strip("- ") == "kvfake" and line.startswith("-")]
    assert len(begins) == 1, text_of(result)
    rest = lines[begins[0] + 1 :]
    return rest[: next(number for number, line in enumerate(rest) if line.startswith(("---", "===", "___")))]
