"""Suites that a test writes with pytester, and how they are run: with kvfake's plugin and no other that they do not name.

Law: in this process, where a suite does nothing to it. A process costs ten times as much, and is for suites that raise signals,
have workers (``-n``), look at memory or at what is loaded.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest

BOUND_SECONDS = 60  # for one suite in a process of its own
ALONE = ("-p", "kvfake")
QUIET = ("-p", "no:cacheprovider", "-p", "no:randomly")  # in the order in which it is written
INI = """
    [pytest]
"""


class _Modules:
    """A plugin of such a suite: it knows which modules are loaded at the end."""

    loaded: ClassVar[dict[str, ModuleType]] = {}

    def pytest_unconfigure(self) -> None:
        self.loaded.update(sys.modules)


def restore_modules(suites: Path) -> None:
    """pytester forgets every module that a suite was the first to import. It may do so with the suite's own, which lie in this
    folder: a library that is loaded a second time has every class twice.
    """
    for name, module in _Modules.loaded.items():
        if not (getattr(module, "__file__", None) or "").startswith(str(suites)):
            sys.modules.setdefault(name, module)
    _Modules.loaded.clear()


def run(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    """In this process; with workers of pytest-xdist, where ``-n`` asks for them, in one of its own."""
    if any(arg.startswith("-n") for arg in args):
        return run_process(pytester, "-p", "xdist", *args)
    with pytest.MonkeyPatch.context() as environment, warnings.catch_warnings():
        environment.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        warnings.resetwarnings()  # here every warning is an error
        # Without pytest's own faulthandler plugin: it stops the timer of the outer session, the watchdog's, when a test fails.
        words = (*ALONE, *QUIET, "-p", "no:faulthandler", *args)
        return pytester.runpytest_inprocess(*words, plugins=[_Modules()])


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
