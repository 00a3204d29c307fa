"""The pytest plugin of kvfake: a double of its own for every test, and a report that says what was asked of it.

Law: fixtures, options, markers and report sections; what they hold is `kvfake`'s. Loading it loads nothing else: werkzeug,
httptools and the rest of kvfake come with the first test that asks for a double.
"""

from __future__ import annotations

import argparse
import os
import re
import warnings
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Literal

import pytest

import kvfake as library
from kvfake.settings import (
    PORT_OF_SERVE_ONLY,
    REAL,
    SERVER,
    WORLD,
    Setting,
    from_environment,
    from_flags,
    from_ini,
    from_keywords,
    of,
)

if TYPE_CHECKING:
    from kvfake import Double
    from kvfake.contract.real.worlds import RealService
    from kvfake.session import Factory


_SETTINGS = of(SERVER, WORLD, REAL)
_NAMES = ", ".join(setting.name for setting in of(WORLD))
_FAULT = (
    "kvfake_fault(status=None, *, delay=0, sever=None, times=1, after=0, every=1, rate=1, seed=0, service=None, method=None, "
    "key=None, owner=None, when=None, body=None, headers=None, before=None): a fault of the double of this test, as "
    "kvfake.faults.add takes it; may stand several times."
)
_SESSION: pytest.StashKey[Factory] = pytest.StashKey()
_LATE: pytest.StashKey[list[str]] = pytest.StashKey()
_TOO_WIDE = r"ScopeMismatch: .* fixture kvfake(_env)? with"


# ------------------------------------------------------------------------------------------------------------------- settings


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kvfake", "a double of the Mattermost Apps key-value store and of Beep Boop Persist")
    for setting in _SETTINGS:
        flag, dest = "--kvfake-" + setting.flag[2:], "kvfake_" + setting.name
        if setting.is_switch:
            group.addoption(flag, dest=dest, default=None, action=argparse.BooleanOptionalAction, help=setting.meaning)
        else:
            action = "append" if setting.is_list else "store"
            metavar = "|".join(setting.choices) or setting.metavar
            group.addoption(flag, dest=dest, default=None, action=action, metavar=metavar, help=setting.meaning)
        kind: Literal["linelist", "string"] = "linelist" if setting.is_list else "string"
        parser.addini(setting.ini, setting.meaning, type=kind, default=None)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"kvfake(**settings): settings of the double of this test: {_NAMES}.")
    config.addinivalue_line("markers", _FAULT)
    try:
        asked = _asked_for(config, {})
        for worker in range(config.getoption("numprocesses", None) or 0) if asked.get("against") else ():
            _tokens_of(f"gw{worker}")  # of pytest-xdist
    except ValueError as wrong:
        raise pytest.UsageError(f"kvfake: {wrong}") from None


def _tokens_of(worker: str) -> dict[str, str]:
    from kvfake.contract.real.session import tokens_of

    return tokens_of(os.environ, worker)


def _real_service(config: pytest.Config, asked: dict[str, Any]) -> RealService | None:
    """The real server that the session runs against, if it does."""
    if not asked.get("against"):
        return None
    from kvfake.contract.real.session import real_service
    from kvfake.trouble import Failed

    with _telling("kvfake", ValueError, Failed):
        given = _tokens_of(getattr(config, "workerinput", {}).get("workerid", ""))
        return real_service(asked["against"], asked.get("ca_file"), bool(asked.get("insecure")), given)


def _ending_tidily() -> AbstractContextManager[None]:
    """On SIGTERM the running test comes to its end: so it deletes what it set."""
    from kvfake.signals import SIGNAL_EXIT_CODE, sigterm_calls

    return sigterm_calls(lambda number: pytest.exit("SIGTERM", returncode=SIGNAL_EXIT_CODE + number))


def _asked_for(config: pytest.Config, overridden: dict[str, Any]) -> dict[str, Any]:
    """Every setting that was set for the whole session: flag, variable, ``kvfake_settings``, ini option."""
    return {
        **from_ini({setting.name: _ini(config, setting) for setting in _SETTINGS}),
        **overridden,
        **from_environment(os.environ, SERVER, WORLD, REAL, without=PORT_OF_SERVE_ONLY),
        **from_flags({setting.name: config.getoption("kvfake_" + setting.name) for setting in _SETTINGS}, "--kvfake-"),
    }


def _ini(config: pytest.Config, setting: Setting) -> Any:
    """What stands in the ini file; a file's name there begins at the ini file."""
    value = config.getini(setting.ini)
    return str(config.rootpath / value) if setting.is_file and value else value


def pytest_report_header(config: pytest.Config) -> str | None:
    asked = _asked_for(config, {})
    if not asked:
        return None
    hidden = {"token": f"{len(asked.get('token', ()))} named", "control_token": "given"}
    shown = {name: hidden.get(name, value) for name, value in asked.items()}
    return "kvfake: " + ", ".join(f"{name}={value}" for name, value in sorted(shown.items()))


# ------------------------------------------------------------------------------------------------------------------- fixtures


@pytest.fixture(scope="session")
def kvfake_settings() -> dict[str, Any]:
    """Settings of every double of the session, by name. Override it in a conftest; flags and variables win over it."""
    return {}


@pytest.fixture(scope="session")
def kvfake_factory(pytestconfig: pytest.Config, kvfake_settings: dict[str, Any]) -> Iterator[Factory]:
    """Make doubles for any scope: ``kvfake_factory(**settings)`` is a `kvfake.Double` that lives as long as the session."""
    from kvfake.session import Factory

    with _telling("kvfake_settings", TypeError, ValueError):
        asked = _asked_for(pytestconfig, from_keywords(kvfake_settings, SERVER, WORLD))
    real = _real_service(pytestconfig, asked)
    factory = Factory(asked, real)
    pytestconfig.stash[_SESSION] = factory
    with _ending_tidily() if real is not None else nullcontext():
        yield factory
    with _telling("kvfake", RuntimeError):
        factory.close()


@contextmanager
def _telling(where: str, *kinds: type[Exception]) -> Iterator[None]:
    """What goes wrong there, and is of these kinds, fails the test in its own words, without a traceback."""
    try:
        yield
    except kinds as wrong:
        raise pytest.fail.Exception(f"{where}: {wrong}", pytrace=False) from None


@pytest.fixture
def kvfake(request: pytest.FixtureRequest, kvfake_factory: Factory) -> Iterator[Double]:
    """Both services, empty, with fresh tokens, for this test alone: a `kvfake.Double`."""
    settings: dict[str, Any] = {}
    for marker in request.node.iter_markers("kvfake"):
        if marker.args:
            pytest.fail(f"@pytest.mark.kvfake takes settings by name ({_NAMES}), got {marker.args[0]!r}", pytrace=False)
        settings = {**marker.kwargs, **settings}
    with _telling("@pytest.mark.kvfake", TypeError, ValueError), _telling("kvfake", RuntimeError):
        double = kvfake_factory(**settings)
    for marker in reversed(list(request.node.iter_markers("kvfake_fault"))):
        with _telling("@pytest.mark.kvfake_fault", TypeError, ValueError):
            double.faults.add(*marker.args, **marker.kwargs)
    yield double
    with _telling("kvfake", RuntimeError):
        double.close()


@pytest.fixture
def kvfake_env(kvfake: Double, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables with which an app finds the double of this test, set in the environment."""
    for name, value in kvfake.env.items():
        monkeypatch.setenv(name, value)
    return kvfake.env


# -------------------------------------------------------------------------------------------------------------------- reports


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    factory = item.config.stash.get(_SESSION, None)
    if factory is not None:
        factory.begin_test()
    with _skipping_what_is_lacking(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A test that ends hears, in its own thread, where a double was kinder than the service: once a row."""
    try:
        with _skipping_what_is_lacking(item):
            outcome = yield
    except BaseException:
        with suppress(library.FidelityWarning):  # where it is an error, the test's own comes first
            _warn_of_kindness(item)
        raise
    _warn_of_kindness(item)
    return outcome


@contextmanager
def _skipping_what_is_lacking(item: pytest.Item) -> Iterator[None]:
    """Against a real server, a test that fails for want of a power is skipped, and says which."""
    try:
        yield
    except Exception as wrong:
        factory = item.config.stash.get(_SESSION, None)
        lacking = [*factory.lacking, *_lacking_in(wrong)] if factory is not None else []
        if lacking:
            pytest.skip(f"kvfake against a real server: {lacking[0]}")
        raise


def _lacking_in(wrong: Exception) -> list[str]:
    """What it wants for: a fixture of a wider scope may have failed for it before this test began, and fails again."""
    from kvfake.contract.real.store import Lacking

    return [str(wrong)] if isinstance(wrong, Lacking) else []


def _warn_of_kindness(item: pytest.Item) -> None:
    factory = item.config.stash.get(_SESSION, None)
    asked = factory.exchanges().values() if factory is not None else ()
    rows = {row: exchange for exchanges in asked for exchange in exchanges for row in exchange.rows}
    for row, exchange in sorted(rows.items()):
        text = f"{row}: {exchange.method} {exchange.path} would have been refused by the plugin, or answered otherwise"
        warnings.warn(text + "; --kvfake-profile plugin-1.2 answers as it does", library.FidelityWarning, stacklevel=1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    factory = item.config.stash.get(_SESSION, None)
    if report.failed:
        lines = list(factory.story()) if factory is not None else []
        if re.search(_TOO_WIDE, report.longreprtext):
            lines = ["kvfake is a double for one test; for a wider scope ask for kvfake_factory, and call it: kvfake_factory()"]
        if lines:
            report.sections.append(("kvfake", "\n".join(lines)))
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    factory = session.config.stash.get(_SESSION, None)
    output = getattr(session.config, "workeroutput", None)  # of pytest-xdist, where this is one of its workers
    if factory is not None and output is not None:
        output["kvfake_late"] = factory.late


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    late = getattr(node, "workeroutput", {}).get("kvfake_late", [])
    node.config.stash.setdefault(_LATE, []).extend(late)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    factory = config.stash.get(_SESSION, None)
    late = config.stash.get(_LATE, []) + (factory.late if factory is not None else [])
    if late:
        from kvfake import story

        terminalreporter.section("kvfake")
        title = "asked of doubles whose test had ended, and refused (a thread that outlived its test?):"
        for line in story.late_ones(title, late):
            terminalreporter.line(line)
