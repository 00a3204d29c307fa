"""The doubles of one session of tests, on one server: what each test asked of them, and the report of a test that failed.

Law: it knows doubles, their journals, and where one test ends and the next begins; nothing of a test runner. Every line of a report
can be shown on a terminal, every number of lines has a bound, and no token is shown whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from kvfake.double import Double, DoubleServer, world_of
from kvfake.errors import BIND_ERRORS, cannot_listen, is_refusal
from kvfake.lines import counted, printable
from kvfake.settings import SERVER, WORLD, WorldSettings, from_keywords, resolve
from kvfake.world.backend import SERVICES, local_world
from kvfake.world.journal import Exchange
from kvfake.world.redaction import shown_url
from kvfake.world.tokens import TokenIssuer
from kvfake.world.world import BOT, World

if TYPE_CHECKING:
    from typing_extensions import Unpack

__tracebackhide__ = is_refusal

# --------------------------------------------------------------------------------------------------------------- the report

MAX_EXCHANGES = 30
MAX_CHARACTERS = 200  # of a body, a path, a key
MAX_KEYS = 20
_UNAUTHORIZED = 401
MAX_LINES = 20  # of stores, of faults, of requests after the end


def exchanges_of(double: Double, exchanges: list[Exchange]) -> Iterator[str]:
    """The exchanges that were not refused, in their order; what the stores hold at the end; the faults that no request met."""
    others = [exchange for exchange in exchanges if not _is_refused(exchange)]
    other = "" if len(others) == len(exchanges) else "other "
    yield from _exchange_lines(double, f"{counted(len(others), f'{other}exchange')}:", others)
    if not exchanges:
        yield "no request came"
    holdings = world_of(double).holdings()
    for name, owner, keys in holdings[:MAX_LINES]:
        more = ", ..." if len(keys) > MAX_KEYS else ""
        shown = ", ".join(_shown(double, key) for key in keys[:MAX_KEYS])
        yield f"{name} of {_shown(double, owner)} holds {len(keys)}: {shown}{more}"
    if len(holdings) > MAX_LINES:
        yield f"({len(holdings) - MAX_LINES} more stores)"
    yield from listed("faults that never struck:", [world_of(double).redact(str(fault)) for fault in double.faults.unused])


def listed(title: str, lines: list[str]) -> Iterator[str]:
    """The title and the lines, or nothing where there are no lines."""
    if lines:
        yield title
        yield from (f"  {short(line)}" for line in lines[:MAX_LINES])
        if len(lines) > MAX_LINES:
            yield f"  (and {len(lines) - MAX_LINES} more)"


def _exchange_lines(double: Double, title: str, exchanges: list[Exchange]) -> Iterator[str]:
    if exchanges:
        yield title
    if len(exchanges) > MAX_EXCHANGES:
        yield f"  ({len(exchanges) - MAX_EXCHANGES} earlier ones)"
    for exchange in exchanges[-MAX_EXCHANGES:]:
        credential = _credential(exchange)
        who = exchange.owner or (f"a token that is not known ({credential})" if credential else "no token")
        rows = f" [kinder than the service: {', '.join(exchange.rows)}]" if exchange.rows else ""
        fault = f" [fault: {_shown(double, str(exchange.fault))}]" if exchange.fault is not None else ""
        path, who = _shown(double, exchange.path), _shown(double, who)
        yield f"  {exchange.method} {path} by {who}: {exchange.status or 'no answer'}{rows}{fault}"
        for arrow, body in ((">", exchange.request.body), ("<", exchange.response.body)):
            if body:
                yield f"    {arrow} {short(body.decode('utf-8', 'backslashreplace').rstrip())}"


def _is_refused(exchange: Exchange) -> bool:
    """Whether nothing answered it, or a service did not take it for one of its operations."""
    return exchange.unmatched or (exchange.service in SERVICES and exchange.verb is None)


def kinder_text(request: str, row: str, service: str | None) -> str:
    """What a warning says of a request whose answer was kinder than the service in that row of `kvfake.services.facts`."""
    asked = f"{row}: {short(request)}"
    if service is not None and row == SERVICES[service].UNKNOWN_TOKEN_ROW:
        return (
            f"{asked} had an unknown token, which the service would have refused; see kvfake explain {row}; "
            "strict, the default in tests, refuses it"
        )
    from kvfake.services.facts import ROWS

    does = ROWS[row].sentence.partition(". ")[0].rstrip(".").replace("``", "")
    return (
        f"{asked}: the plugin answers otherwise: {does}; see kvfake explain {row}; --kvfake-profile plugin-1.2 answers as it does"
    )


def _credential(exchange: Exchange) -> str:
    """The credential of the request, truncated, as the journal keeps it. Empty if it has none."""
    headers = exchange.request.headers
    if "authorization" in headers:
        return headers["authorization"]
    return "a cookie" if "cookie" in headers else "access_token" if "access_token" in exchange.path else ""


def _advice(exchanges: list[Exchange]) -> Iterator[str]:
    """What to do where a service refused a token that it does not know."""
    for service in SERVICES:
        if any(
            one.service == service and one.owner is None and one.status == _UNAUTHORIZED and _credential(one) for one in exchanges
        ):
            yield (
                f"{service} refused a token that it does not know: give the app kvfake.{service}.token, or declare its own with "
                "token= or --kvfake-token TOKEN=OWNER (strict=False accepts any)"
            )


def _ways_to_answer(double: Double, exchanges: list[Exchange]) -> Iterator[str]:
    """What a test writes where nothing answered a request."""
    unmatched = [one for one in exchanges if one.unmatched]
    calls = [f'kvfake.respond("{one.method}", "{one.path.partition("?")[0]}", ...){_asker(one.owner)}' for one in unmatched]
    lines = [world_of(double).redact(call) for call in dict.fromkeys(calls)]
    yield from listed("nothing answers these; to answer one, write:", lines)


def _asker(owner: str | None) -> str:
    return "" if owner is None else "  # asked with the bot's token" if owner == BOT else f"  # asked with the token of {owner}"


def _proxy_advice(url: str) -> Iterator[str]:
    """Where requests may have gone that did not come. Only the name of the variable is shown: its value may hold a password."""
    from urllib.parse import urlsplit
    from urllib.request import proxy_bypass

    names = [name for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy") if os.environ.get(name)]
    if names and not proxy_bypass(urlsplit(url).hostname or ""):
        yield f"{names[0]} is set: requests may have gone there; the fixture kvfake_env sets NO_PROXY, or unset {names[0]}"


def _path_of(double: Double) -> str:
    return "/" + double.url.split("/", 3)[3]


def _shown(double: Double, text: str) -> str:
    """The text, short and without the tokens of the double."""
    return short(world_of(double).redact(text))


def short(text: str) -> str:
    """The text in one line that a terminal can show, cut at `MAX_CHARACTERS`."""
    line = printable(text[: MAX_CHARACTERS + 1])
    return line if len(line) <= MAX_CHARACTERS else line[:MAX_CHARACTERS] + "..."


# -------------------------------------------------------------------------------------------------------------- the doubles

_SHARED_WORLD = {"strict": True, "token": (), "seed": None, "fallback": None}
"""The server's own world belongs to no test: it accepts no token."""

_DEFAULTS = {"strict": True, "port": 0}
"""Every token of a test was issued or named here, so another one is a mistake of the app's."""


class LiveService(Protocol):
    """A real server that a session runs against. ``unsupported`` says what the current test used that it cannot do; each use raised
    ``error``.
    """

    unsupported: list[str]
    error: type[Exception]

    def check_settings(self, settings: Mapping[str, Any]) -> None: ...

    def make_world(self, id: str, serial: int, url: str, settings: Mapping[str, Any], issuer: TokenIssuer) -> World: ...


class DoubleFactory:
    """Makes doubles on one server, which the first double starts.

    It knows its doubles, and how many exchanges each journal had when the current test began: the later ones are that test's.
    """

    def __init__(
        self, settings: dict[str, Any], live: LiveService | None = None, on_kinder: Callable[[str], None] = lambda text: None
    ) -> None:
        """With a ``live`` service the doubles stand before a real server. ``on_kinder`` is called with a text, on any thread,
        before an answer goes out that is kinder than the service's: once a row and test.
        """
        self._settings, self._live, self._on_kinder = settings, live, on_kinder
        self._kinder: dict[str, str] = {}  # row: the text, in the current test
        self._server: DoubleServer | None = None
        self._seen: dict[Double, int] = {}
        self._made: set[Double] = set()  # in the current test
        self._after_end_seen = 0

    def __call__(self, **settings: Unpack[WorldSettings]) -> Double:
        """A double with its own world; the keywords are settings of a world. It ends with the session, or when it is closed.

        Raises ``TypeError`` and ``ValueError`` for wrong settings, ``RuntimeError`` if the server cannot listen.
        """
        checked = from_keywords(settings, WORLD)
        if self._live is not None:
            self._live.check_settings(checked)
        if self._server is None:
            self._server = self._start()
        double = self._server.open(checked)
        self._seen[double] = 0
        self._made.add(double)
        return double

    def _start(self) -> DoubleServer:
        values = resolve(_SHARED_WORLD, self._settings, _DEFAULTS, scopes=(SERVER, WORLD))
        defaults = resolve(self._settings, _DEFAULTS, scopes=(WORLD,))
        try:
            server = DoubleServer(values, defaults, local_world if self._live is None else self._live.make_world)
        except BIND_ERRORS as failed:
            raise RuntimeError(cannot_listen(values, failed, "without a port each worker takes a free one")) from None
        server.backend.listen(self._note_kinder, only_kinder=True)
        server.server.start()
        return server

    def _note_kinder(self, world: World, exchange: Exchange) -> None:
        for row in exchange.rows:
            text = kinder_text(world.redact(f"{exchange.method} {exchange.path}"), row, exchange.service)
            if self._kinder.setdefault(row, text) is text:
                self._on_kinder(text)

    @property
    def requests_after_end(self) -> list[str]:
        """The requests to doubles that had ended, as far as they are remembered."""
        return self._server.backend.requests_after_end() if self._server is not None else []

    def unsupported_in(self, failed: Exception) -> list[str]:
        """What the current test asked for and the real service cannot do. A fixture of a wider scope failed in an earlier test, and
        raises the same exception again.
        """
        if self._live is None:
            return []
        return self._live.unsupported or ([str(failed)] if isinstance(failed, self._live.error) else [])

    def begin_test(self) -> None:
        """Forget the doubles that have ended. Requests from now on belong to another test."""
        if self._server is not None:
            open_doubles = [double for double in self._seen if not double.is_closed]
            self._seen = {double: double.journal.seen for double in open_doubles}
            self._made.clear()
            self._kinder.clear()
            self._server.backend.found_by_token.clear()
            self._server.own.journal.clear()
            self._after_end_seen = self._server.backend.after_end_count
        if self._live is not None:
            self._live.unsupported.clear()

    def exchanges(self) -> dict[Double, list[Exchange]]:
        """What this test asked of each double that it made or sent a request to."""
        found = {double: double.journal.since(seen) for double, seen in self._seen.items()}
        return {double: exchanges for double, exchanges in found.items() if exchanges or double in self._made}

    def failure_report(self) -> Iterator[str]:
        """Lines for the report of a test that failed; none where it used no double."""
        by_double = self.exchanges()
        if self._server is None or not by_double:
            return
        for double, exchanges in by_double.items():
            refused = list(filter(_is_refused, exchanges))
            yield from _exchange_lines(double, "refused or unmatched:", refused)
            yield from _advice(refused)
            yield from _ways_to_answer(double, refused)
        without_path = {world.url for world in self._server.backend.found_by_token}
        for double in by_double:
            if double.url in without_path:
                path = _path_of(double)
                yield f"requests came without {path}, the path of the site URL: a real Mattermost below a path refuses them"
        paths = ", ".join(sorted(map(_path_of, by_double)))
        title = f"these requests missed this test: they lack the path of its site URL ({paths}), and its tokens:"
        missed = list(self._server.own.journal)
        yield from _exchange_lines(self._server.own, title, missed)
        yield from _advice(missed)
        after_end = self._server.backend.requests_after_end(self._after_end_seen)
        yield from listed("asked of doubles that had ended, and refused:", after_end)
        for double, exchanges in by_double.items():
            if len(by_double) > 1:
                yield f"{shown_url(double.url)}:"
            yield from exchanges_of(double, exchanges)
        if not any(by_double.values()):
            yield from _proxy_advice(self._server.own.url)

    def close(self) -> None:
        """End every double, and then the server."""
        for double in self._seen:
            double.close()
        if self._server is not None:
            self._server.close()
