"""The pytest plugin: a double of its own for every test, and a section in the report of a failed test.

Law: fixtures, options, markers, warnings and reports; doubles and what they know are `kvfake.session`'s. Loading it loads nothing
else: werkzeug, httptools and the rest of kvfake are loaded with the first test that uses a double.
"""

from __future__ import annotations

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
    from kvfake.contract.live_backend import LiveBackend
    from kvfake.session import DoubleFactory


_SETTINGS = of(SERVER, WORLD, REAL)
_NAMES = ", ".join(setting.name for setting in of(WORLD))
_FAULT = (
    "kvfake_fault(status=None, *, delay=0, sever=None, times=1, after=0, every=1, rate=1, seed=0, service=None, method=None, "
    "key=None, owner=None, when=None, body=None, headers=None, before=None, stale=False, limit=None, per=None, start=None, "
    "end=None): make requests of this test fail; the arguments are those of kvfake.faults.add. A test can have several."
)
_FACTORY: pytest.StashKey[DoubleFactory] = pytest.StashKey()
_KINDER: pytest.StashKey[KinderWarnings] = pytest.StashKey()
_HAS_DOUBLE: pytest.StashKey[bool] = pytest.StashKey()  # of a test that uses the fixture
_REQUESTS_AFTER_END: pytest.StashKey[list[str]] = pytest.StashKey()
_TOO_WIDE = r"ScopeMismatch: .* fixture kvfake(_env)? with"


# ------------------------------------------------------------------------------------------------------------------- settings


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kvfake", "a double of the Mattermost Apps key-value store and of Beep Boop Persist")
    for setting in _SETTINGS:
        flag, dest = "--kvfake-" + setting.flag[2:], "kvfake_" + setting.name
        meaning = f"{setting.meaning} (default: on)" if setting.name == "strict" else setting.meaning
        if setting.is_switch:
            off = ("--kvfake-no-" + setting.flag[2:], "--no" + flag[1:])
            group.addoption(flag, dest=dest, default=None, action="store_true", help=meaning)
            group.addoption(*off, dest=dest, default=None, action="store_false", help=f"the opposite of {flag}")
        else:
            action = "append" if setting.is_list else "store"
            metavar = "|".join(setting.choices) or setting.metavar
            group.addoption(flag, dest=dest, default=None, action=action, metavar=metavar, help=meaning)
        kind: Literal["linelist", "string"] = "linelist" if setting.is_list else "string"
        parser.addini(setting.ini, meaning, type=kind, default=None)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"kvfake(**settings): settings for the services of this test: {_NAMES}.")
    config.addinivalue_line("markers", _FAULT)
    config.stash[_KINDER] = KinderWarnings()
    try:
        settings = _session_settings(config, {})
        for number in range(config.getoption("numprocesses", None) or 0) if settings.get("against") else ():
            _live_tokens(f"gw{number}")  # a worker of pytest-xdist
    except ValueError as wrong:
        raise pytest.UsageError(f"kvfake: {wrong}") from None


def _live_tokens(worker: str) -> dict[str, str]:
    from kvfake.contract.live_backend import tokens_from

    return tokens_from(os.environ, worker)


def _live_backend(config: pytest.Config, settings: dict[str, Any]) -> LiveBackend | None:
    """The real server that the session runs against, if there is one."""
    if not settings.get("against"):
        return None
    from kvfake.contract.live_backend import live_backend
    from kvfake.errors import CommandError

    with _failing_on("kvfake", ValueError, CommandError):
        given = _live_tokens(getattr(config, "workerinput", {}).get("workerid", ""))
        return live_backend(settings["against"], settings.get("ca_file"), bool(settings.get("insecure")), given)


def _sigterm_ends_session() -> AbstractContextManager[None]:
    """SIGTERM lets the running test end, so that what it set on the real server is deleted."""
    from kvfake.signals import SIGNAL_EXIT_CODE, sigterm_calls

    return sigterm_calls(lambda number: pytest.exit("SIGTERM", returncode=SIGNAL_EXIT_CODE + number))


def _session_settings(config: pytest.Config, override: dict[str, Any]) -> dict[str, Any]:
    """The settings of the whole session: by flag, variable, ``kvfake_settings`` (``override``), ini option."""
    return {
        **from_ini({setting.name: _ini_value(config, setting) for setting in _SETTINGS}),
        **override,
        **from_environment(os.environ, SERVER, WORLD, REAL, without=PORT_OF_SERVE_ONLY),
        **from_flags({setting.name: config.getoption("kvfake_" + setting.name) for setting in _SETTINGS}, "--kvfake-"),
    }


def _ini_value(config: pytest.Config, setting: Setting) -> Any:
    """The value in the ini file. The path of a file is relative to the folder of the ini file."""
    value = config.getini(setting.ini)
    return str(config.rootpath / value) if setting.is_file and value else value


def pytest_report_header(config: pytest.Config) -> str | None:
    settings = _session_settings(config, {})
    if not settings:
        return None
    from kvfake.lines import printable
    from kvfake.world.redaction import shown_url

    hidden = {"token": f"{len(settings.get('token', ()))} declared", "control_token": "given"}
    shown = {name: hidden.get(name) or shown_url(str(value)) for name, value in settings.items()}
    return printable("kvfake: " + ", ".join(f"{name}={value}" for name, value in sorted(shown.items())))


# ------------------------------------------------------------------------------------------------------------------- fixtures


@pytest.fixture(scope="session")
def kvfake_settings() -> dict[str, Any]:
    """The settings for all tests, by name. Override this fixture in a conftest.py; flags and variables override its settings."""
    return {}


@pytest.fixture(scope="session")
def kvfake_factory(pytestconfig: pytest.Config, kvfake_settings: dict[str, Any]) -> Iterator[DoubleFactory]:
    """Makes services for a module, a session, or a second app: ``kvfake_factory(**settings)`` returns a `kvfake.Double`, which ends
    with the session, or when you call its ``close()``.
    """
    from kvfake.session import DoubleFactory

    with _failing_on("kvfake_settings", TypeError, ValueError):
        settings = _session_settings(pytestconfig, from_keywords(kvfake_settings, SERVER, WORLD))
    live = _live_backend(pytestconfig, settings)
    factory = DoubleFactory(settings, live, pytestconfig.stash[_KINDER].warn)
    pytestconfig.stash[_FACTORY] = factory
    with _sigterm_ends_session() if live is not None else nullcontext():
        yield factory
    with _failing_on("kvfake", RuntimeError):
        factory.close()


@contextmanager
def _failing_on(where: str, *kinds: type[Exception]) -> Iterator[None]:
    """An exception of these kinds fails the test with its text, without a traceback; ``where`` says what was wrong."""
    try:
        yield
    except kinds as wrong:
        raise pytest.fail.Exception(f"{where}: {wrong}", pytrace=False) from None


@pytest.fixture
def kvfake(request: pytest.FixtureRequest, kvfake_factory: DoubleFactory) -> Iterator[Double]:
    """Each test that uses this fixture gets its own empty services, with tokens of their own: a `kvfake.Double`."""
    request.node.stash[_HAS_DOUBLE] = True
    settings: dict[str, Any] = {}
    for marker in request.node.iter_markers("kvfake"):
        if marker.args:
            pytest.fail(f"@pytest.mark.kvfake takes settings by name ({_NAMES}), got {marker.args[0]!r}", pytrace=False)
        settings = {**marker.kwargs, **settings}
    with _failing_on("@pytest.mark.kvfake", TypeError, ValueError), _failing_on("kvfake", RuntimeError):
        double = kvfake_factory(**settings)
    try:
        for marker in reversed(list(request.node.iter_markers("kvfake_fault"))):
            with _failing_on("@pytest.mark.kvfake_fault", TypeError, ValueError):
                double.faults.add(*marker.args, **marker.kwargs)
        yield double
    finally:
        with _failing_on("kvfake", RuntimeError):
            double.close()


@pytest.fixture
def kvfake_env(kvfake: Double, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Sets the environment variables with which an app finds the services of this test, and returns them."""
    for name, value in kvfake.env.items():
        monkeypatch.setenv(name, value)
    return kvfake.env


# -------------------------------------------------------------------------------------------------------------------- reports


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    factory = item.config.stash.get(_FACTORY, None)
    if factory is not None:
        factory.begin_test()
    item.config.stash[_KINDER].begin(item)
    with _skipping_unsupported(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Where warnings are errors, those of a test are raised at its end, unless it failed by itself."""
    __tracebackhide__ = True  # what it raises is about the test
    try:
        with _skipping_unsupported(item):
            outcome = yield
    except BaseException:
        with suppress(Warning):  # where it is an error, the test's own comes first
            _warn_of_idle_markers(item)
        raise
    _warn_of_idle_markers(item)
    item.config.stash[_KINDER].raise_first()
    return outcome


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Answers of the teardown count for the test, too; after it nobody is warned."""
    item.config.stash[_KINDER].raised.clear()  # they have failed the test, or it failed by itself
    try:
        outcome = yield
        item.config.stash[_KINDER].raise_first()
    finally:
        item.config.stash[_KINDER].end()
    return outcome


class KinderWarnings:
    """Warns of answers that were kinder than the service's, at the place of the test that is running, and before they go out: so
    ``pytest.warns`` around the request sees it. Warnings come on a server's thread, where an error would reach no test.
    """

    def __init__(self) -> None:
        self._item: pytest.Item | None = None
        self.raised: list[Warning] = []

    def begin(self, item: pytest.Item) -> None:
        self._item = item
        self.raised.clear()

    def end(self) -> None:
        self._item = None

    def warn(self, text: str) -> None:
        """Called on any thread. Between two tests nobody is warned."""
        item = self._item
        if item is not None:
            path, line, _ = item.reportinfo()
            module = getattr(getattr(item, "module", None), "__name__", None)
            try:
                warnings.warn_explicit(text, library.FidelityWarning, os.fspath(path), (line or 0) + 1, module)
            except library.FidelityWarning as error:
                self.raised.append(error)

    def raise_first(self) -> None:
        """Raise what a filter made an error of, on the thread of the test."""
        __tracebackhide__ = True
        if self.raised:
            raise self.raised[0].with_traceback(None)


def _warn_of_idle_markers(item: pytest.Item) -> None:
    """A marker of the test itself, and not of its class or module, is a mistake where the test does not use the fixture."""
    names = [marker.name for marker in item.own_markers if marker.name in ("kvfake", "kvfake_fault")]
    if names and not item.stash.get(_HAS_DOUBLE, False):
        __tracebackhide__ = True
        text = f"@pytest.mark.{names[0]} has no effect: the test does not use the fixture kvfake"
        item.warn(pytest.PytestWarning(text))


@contextmanager
def _skipping_unsupported(item: pytest.Item) -> Iterator[None]:
    """Against a real server, a test that fails because the server cannot do something is skipped, and says what."""
    try:
        yield
    except Exception as wrong:
        factory = item.config.stash.get(_FACTORY, None)
        reasons = factory.unsupported_in(wrong) if factory is not None else []
        if reasons:
            pytest.skip(f"kvfake against a real server: {reasons[0]}")
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    factory = item.config.stash.get(_FACTORY, None)
    if report.failed:
        lines = list(factory.failure_report()) if factory is not None else []
        if re.search(_TOO_WIDE, report.longreprtext):
            lines = ["kvfake is a double for one test; for a wider scope use the fixture kvfake_factory: kvfake_factory()"]
        if lines:
            report.sections.append(("kvfake", "\n".join(lines)))
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    factory = session.config.stash.get(_FACTORY, None)
    output = getattr(session.config, "workeroutput", None)  # of pytest-xdist, where this is one of its workers
    if factory is not None and output is not None:
        output["kvfake_requests_after_end"] = factory.requests_after_end


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    requests = getattr(node, "workeroutput", {}).get("kvfake_requests_after_end", [])
    node.config.stash.setdefault(_REQUESTS_AFTER_END, []).extend(requests)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    factory = config.stash.get(_FACTORY, None)
    requests = config.stash.get(_REQUESTS_AFTER_END, []) + (factory.requests_after_end if factory is not None else [])
    if requests:
        from kvfake.session import listed

        terminalreporter.section("kvfake")
        title = "asked of doubles whose test had ended, and refused (a thread that outlived its test?):"
        for line in listed(title, requests):
            terminalreporter.line(line)
