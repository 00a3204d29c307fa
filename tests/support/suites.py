"""Suites that a test writes with pytester, and how they are run: with kvfake's plugin and no other that they do not name.

Law: in this process, where a suite does nothing to it. A process costs ten times as much, and is for suites that raise signals,
have workers (``-n``), look at memory or at what is loaded.
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
    """A plugin of such a suite: it notes what is loaded at the end, but for the suite's own files."""

    loaded: ClassVar[dict[str, ModuleType]] = {}

    def __init__(self, suite: Path) -> None:
        self._suite = str(suite)

    def pytest_unconfigure(self) -> None:
        for name, module in sys.modules.items():
            if not (getattr(module, "__file__", None) or "").startswith(self._suite):
                self.loaded.setdefault(name, module)


def restore_modules() -> None:
    """pytester forgets every module that a suite was the first to import, at the end of the suite and of the test. A library that
    would be loaded a second time would have every class twice.
    """
    sys.modules.update(_Modules.loaded)


def _plugin() -> Any:
    """The plugin itself: by its name pytest would look for it anew, and warn that it cannot rewrite what is loaded already."""
    (found,) = entry_points(group="pytest11", name="kvfake")
    return found.load()


def run(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    """In this process; with workers of pytest-xdist, where ``-n`` asks for them, in one of its own."""
    if any(arg.startswith("-n") for arg in args):
        return run_process(pytester, "-p", "xdist", *args)
    with pytest.MonkeyPatch.context() as environment, warnings.catch_warnings():
        environment.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        warnings.resetwarnings()  # here every warning is an error
        # Without pytest's own faulthandler plugin: it stops the timer of the outer session, the watchdog's, when a test fails.
        words = (*QUIET, "-p", "no:faulthandler", *args)
        result = pytester.runpytest_inprocess(*words, plugins=[_plugin(), _Modules(pytester.path)])
    restore_modules()
    return result


def run_process(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    """In a process of its own."""
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
