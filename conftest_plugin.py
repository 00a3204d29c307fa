"""The pytest plugin of kvfake: a double of its own for every test, and a report that says what was asked of it.

Law: fixtures, options, markers and report sections; what they hold is `kvfake`'s. Loading it loads nothing else: werkzeug,
httptools and the rest of kvfake come with the first test that asks for a double.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, Literal

import pytest

import kvfake as library
from kvfake.settings import SERVER, SETTINGS, WORLD, from_environment, from_flags, from_keywords, of, resolve

if TYPE_CHECKING:
    from kvfake import Double
    from kvfake.double import Started
    from kvfake.world.journal import Exchange

MAX_SHOWN_EXCHANGES = 30
MAX_SHOWN_BODY = 200
MAX_SHOWN_KEYS = 20
MAX_SHOWN_LATE = 20

_NOT_FROM_THE_SHELL = frozenset({"port"})  # every session and every worker takes a free one
_DOUBLES: pytest.StashKey[list[Double]] = pytest.StashKey()
_SESSION: pytest.StashKey[Factory] = pytest.StashKey()
_LATE: pytest.StashKey[list[str]] = pytest.StashKey()


# ------------------------------------------------------------------------------------------------------------------- settings


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kvfake", "a double of the Mattermost Apps key-value store and of Beep Boop Persist")
    for setting in SETTINGS:
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
    names = ", ".join(setting.name for setting in of(WORLD))
    config.addinivalue_line("markers", f"kvfake(**settings): settings of the double of this test: {names}.")
    try:
        _asked_for(config, {})
    except ValueError as wrong:
        raise pytest.UsageError(f"kvfake: {wrong}") from None


def _from_ini(config: pytest.Config) -> dict[str, Any]:
    given = {setting: config.getini(setting.ini) for setting in SETTINGS}
    found = {}
    for setting, value in given.items():
        if value:
            try:
                found[setting.name] = setting.read(value)
            except ValueError as wrong:
                raise ValueError(f"{setting.ini}: {wrong}") from None
    return found


def _asked_for(config: pytest.Config, overridden: dict[str, Any]) -> dict[str, Any]:
    """Every setting that was set for the whole session: flag, variable, ``kvfake_settings``, ini option."""
    flags = from_flags({setting.name: config.getoption("kvfake_" + setting.name) for setting in SETTINGS})
    environment = from_environment(os.environ, SERVER, WORLD, without=_NOT_FROM_THE_SHELL)
    return {**_from_ini(config), **overridden, **environment, **flags}


def pytest_report_header(config: pytest.Config) -> str | None:
    asked = _asked_for(config, {})
    if not asked:
        return None
    shown = {name: f"{len(value)} named" if name == "token" else value for name, value in asked.items()}
    return "kvfake: " + ", ".join(f"{name}={value}" for name, value in sorted(shown.items()))


# ------------------------------------------------------------------------------------------------------------------- fixtures


class Factory:
    """Makes doubles on one server, which the first of them starts."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._started: Started | None = None
        self._made: list[Double] = []

    def __call__(self, **settings: Any) -> Double:
        """A double with a world of its own; world settings are keywords. It ends with the session, or when it is closed."""
        double = self.make(settings)
        self._made.append(double)
        return double

    def make(self, settings: dict[str, Any]) -> Double:
        checked = from_keywords(settings, WORLD)
        if self._started is None:
            from kvfake.double import Started

            started = Started(resolve(self._settings, {"port": 0}, scopes=(SERVER, WORLD)))
            started.server.start()
            self._started = started
        return self._started.beside(checked)

    @property
    def late(self) -> list[str]:
        return self._started.late if self._started is not None else []

    def close(self) -> None:
        for double in self._made:
            double.close()
        if self._started is not None:
            self._started.close()


@pytest.fixture(scope="session")
def kvfake_settings() -> dict[str, Any]:
    """Settings of every double of the session, by name. Override it in a conftest; flags and variables win over it."""
    return {}


@pytest.fixture(scope="session")
def kvfake_factory(pytestconfig: pytest.Config, kvfake_settings: dict[str, Any]) -> Iterator[Factory]:
    """Make doubles for any scope: ``kvfake_factory(**settings)`` is a `kvfake.Double` that lives as long as the session."""
    try:
        factory = Factory(_asked_for(pytestconfig, from_keywords(kvfake_settings, SERVER, WORLD)))
    except (TypeError, ValueError) as wrong:
        raise pytest.UsageError(f"kvfake_settings: {wrong}") from None
    pytestconfig.stash[_SESSION] = factory
    yield factory
    factory.close()


@pytest.fixture
def kvfake(request: pytest.FixtureRequest, kvfake_factory: Factory) -> Iterator[Double]:
    """Both services, empty, with fresh tokens, for this test alone: a `kvfake.Double`."""
    settings: dict[str, Any] = {}
    for marker in request.node.iter_markers("kvfake"):
        if marker.args:
            raise pytest.UsageError(f"@pytest.mark.kvfake takes settings by name, got {marker.args[0]!r}")
        settings = {**marker.kwargs, **settings}
    try:
        double = kvfake_factory.make(settings)
    except (TypeError, ValueError) as wrong:
        raise pytest.UsageError(f"@pytest.mark.kvfake: {wrong}") from None
    request.node.stash.setdefault(_DOUBLES, []).append(double)
    yield double
    double.close()


@pytest.fixture
def kvfake_env(kvfake: Double, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables with which an app finds the double of this test, set in the environment."""
    for name, value in kvfake.env.items():
        monkeypatch.setenv(name, value)
    return kvfake.env


# -------------------------------------------------------------------------------------------------------------------- reports


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A test that ends hears, in its own thread, where the double was kinder than the service: once a row."""
    outcome = yield
    rows = {row: exchange for double in item.stash.get(_DOUBLES, []) for exchange in double.journal for row in exchange.rows}
    for row, exchange in sorted(rows.items()):
        text = f"{row}: {exchange.method} {exchange.path} would have been refused by the plugin, or answered otherwise"
        warnings.warn(text + "; --kvfake-profile plugin-1.2 answers as it does", library.FidelityWarning, stacklevel=1)
    return outcome


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        doubles = item.stash.get(_DOUBLES, [])
        if doubles and report.when == "call":
            report.sections.append(("kvfake", "\n".join(line for double in doubles for line in _story(double))))
        elif report.when == "setup" and "ScopeMismatch" in report.longreprtext and "fixture kvfake" in report.longreprtext:
            advice = "kvfake is a double for one test; for a wider scope ask for kvfake_factory, and call it: kvfake_factory()"
            report.sections.append(("kvfake", advice))
    return report


def _story(double: Double) -> Iterator[str]:
    """What was refused or unmatched, every exchange in its order, and what the stores hold at the end."""
    exchanges = list(double.journal)
    refused = [exchange for exchange in exchanges if exchange.service is None or exchange.status in (401, 404, 405, 410)]
    if refused:
        yield "refused or unmatched:"
        yield from _lines(refused)
    if exchanges:
        yield f"{len(exchanges) + double.journal.dropped} exchanges:"
        yield from _lines(exchanges)
    else:
        yield "no request came"
    for name, owner, keys in double.holdings():
        shown = ", ".join(keys[:MAX_SHOWN_KEYS])
        yield f"{name} of {owner} holds {len(keys)}: {shown}" + (", ..." if len(keys) > MAX_SHOWN_KEYS else "")


def _lines(exchanges: list[Exchange]) -> Iterator[str]:
    left_out = len(exchanges) - MAX_SHOWN_EXCHANGES
    if left_out > 0:
        yield f"  ({left_out} earlier ones)"
    for exchange in exchanges[-MAX_SHOWN_EXCHANGES:]:
        who = exchange.owner or ("a token that is not known" if "authorization" in exchange.request.headers else "no token")
        rows = f" [kinder than the plugin: {', '.join(exchange.rows)}]" if exchange.rows else ""
        yield f"  {exchange.method} {exchange.path} by {who}: {exchange.status}{rows}"
        for arrow, body in ((">", exchange.request.body), ("<", exchange.response.body)):
            if body:
                text = body[:MAX_SHOWN_BODY].decode("utf-8", "backslashreplace").rstrip("\n")
                yield f"    {arrow} {text}" + ("..." if len(body) > MAX_SHOWN_BODY else "")


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
        terminalreporter.section("kvfake")
        terminalreporter.line("asked of doubles whose test had ended, and refused (a thread that outlived its test?):")
        for line in late[:MAX_SHOWN_LATE]:
            terminalreporter.line(f"  {line}")
