"""What the doubles of a test were asked, for whoever reads why it failed: refusals first.

Law: journals and stores in, lines out. Every line can be shown on a terminal, every number of lines has a bound, and no token is
shown whole.

=====

The doubles of one session of tests: on one server, and what each test asked of them.

Law: it knows doubles, their journals, and where one test ends and the next begins; nothing of a test runner.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kvfake.double import Double, Started
from kvfake.errors import BIND_ERRORS, cannot_listen
from kvfake.settings import SERVER, WORLD, from_keywords, resolve
from kvfake.world.backend import SERVICES, Backend
from kvfake.world.journal import Exchange

if TYPE_CHECKING:
    from kvfake.contract.real.worlds import RealService


MAX_EXCHANGES = 30
MAX_SIGNS = 200  # of a body, a path, a key
MAX_KEYS = 20
MAX_STORES = 20
MAX_LATE_REQUESTS = 20
MAX_FAULTS = 20


def refusals_of(double: Double, exchanges: list[Exchange]) -> Iterator[str]:
    """What was refused or unmatched."""
    refused = [exchange for exchange in exchanges if exchange.unmatched or (exchange.service in SERVICES and exchange.verb is None)]
    yield from _listed(double, "refused or unmatched:", refused)


def course_of(double: Double, exchanges: list[Exchange]) -> Iterator[str]:
    """Every exchange in its order, and what the stores hold at the end."""
    yield from _listed(double, f"{len(exchanges)} exchanges:", exchanges)
    if not exchanges:
        yield "no request came"
    holdings = double.holdings()
    for name, owner, keys in holdings[:MAX_STORES]:
        more = ", ..." if len(keys) > MAX_KEYS else ""
        yield f"{name} of {short(owner)} holds {len(keys)}: {', '.join(map(short, keys[:MAX_KEYS]))}{more}"
    if len(holdings) > MAX_STORES:
        yield f"({len(holdings) - MAX_STORES} more stores)"


def idle_faults_of(double: Double) -> Iterator[str]:
    """Faults that no request met."""
    faults = double.faults.unused
    if faults:
        yield "faults that never struck:"
        yield from (f"  {short(str(fault))}" for fault in faults[:MAX_FAULTS])
        if len(faults) > MAX_FAULTS:
            yield f"  (and {len(faults) - MAX_FAULTS} more)"


def strays_of(server: Double, exchanges: list[Exchange]) -> Iterator[str]:
    """What came to a server that several doubles share, and to none of them."""
    yield from _listed(server, "asked of no double (an address without /~ID, no token of a double):", exchanges)


def late_ones(title: str, late: list[str]) -> Iterator[str]:
    """What was asked of doubles that had ended."""
    if late:
        yield title
        yield from (f"  {short(line)}" for line in late[:MAX_LATE_REQUESTS])
        if len(late) > MAX_LATE_REQUESTS:
            yield f"  (and {len(late) - MAX_LATE_REQUESTS} more)"


def _listed(double: Double, title: str, exchanges: list[Exchange]) -> Iterator[str]:
    if exchanges:
        yield title
    if len(exchanges) > MAX_EXCHANGES:
        yield f"  ({len(exchanges) - MAX_EXCHANGES} earlier ones)"
    for exchange in exchanges[-MAX_EXCHANGES:]:
        who = exchange.owner or ("a token that is not known" if "authorization" in exchange.request.headers else "no token")
        rows = f" [kinder than the plugin: {', '.join(exchange.rows)}]" if exchange.rows else ""
        fault = f" [fault: {short(str(exchange.fault))}]" if exchange.fault is not None else ""
        yield f"  {exchange.method} {short(exchange.path)} by {short(who)}: {exchange.status or 'no answer'}{rows}{fault}"
        for arrow, body in ((">", exchange.request.body), ("<", exchange.response.body)):
            if body:
                yield f"    {arrow} {short(double.without_tokens(body.decode('utf-8', 'backslashreplace')).rstrip())}"


def short(text: str) -> str:
    """One line that a terminal can show, and not a long one."""
    line = "".join([sign if sign.isprintable() else repr(sign)[1:-1] for sign in text[: MAX_SIGNS + 1]])
    return line if len(line) <= MAX_SIGNS else line[:MAX_SIGNS] + "..."


_NOBODY = {"strict": True, "token": (), "seed": None, "fallback": None}


class DoubleFactory:
    """Makes doubles on one server, which the first of them starts. The server's own world is nobody's: it welcomes no token.

    It knows its doubles and how far each journal had come when the current test began, and so what that test asked.
    """

    def __init__(self, settings: dict[str, Any], real: RealService | None = None) -> None:
        """With a ``real`` service the doubles stand before it."""
        self._settings, self._real = settings, real
        self._started: Started | None = None
        self._seen: dict[Double, int] = {}
        self._late_seen = 0

    def __call__(self, **settings: Any) -> Double:
        """A double with a world of its own; world settings are keywords. It ends with the session, or when it is closed.

        Raises ``TypeError`` and ``ValueError`` for wrong settings, ``RuntimeError`` where the server cannot listen.
        """
        checked = from_keywords(settings, WORLD)
        if self._started is None:
            self._started = self._start()
        double = self._started.beside(checked)
        self._seen[double] = 0
        return double

    def _start(self) -> Started:
        values = resolve(_NOBODY, self._settings, {"port": 0}, scopes=(SERVER, WORLD))
        try:
            started = Started(values, resolve(self._settings, scopes=(WORLD,)), self._real.worlds if self._real else Backend)
        except BIND_ERRORS as failed:
            raise RuntimeError(f"{cannot_listen(values, failed)} (without a port each worker takes a free one)") from None
        started.server.start()
        return started

    @property
    def late(self) -> list[str]:
        """What was asked of doubles that had ended, as far as it is remembered."""
        return self._started.late_since(0) if self._started is not None else []

    def begin_test(self) -> None:
        """Forget the doubles that have ended; what comes from now on belongs to another test."""
        if self._started is not None:
            kept = [double for double in self._seen if not double.is_closed]
            self._seen = {double: double.journal.seen for double in kept}
            self._started.journal.clear()
            self._late_seen = self._started.late_count
        self.lacking.clear()

    @property
    def lacking(self) -> list[str]:
        """What the current test asked for, and the real service does not have."""
        return self._real.lacking if self._real is not None else []

    def exchanges(self) -> dict[Double, list[Exchange]]:
        """What this test asked of each double that it made or used."""
        found = {double: double.journal.since(seen) for double, seen in self._seen.items()}
        return {double: exchanges for double, exchanges in found.items() if exchanges or not self._seen[double]}

    def failure_report(self) -> Iterator[str]:
        """Lines for the report of a test that failed; none where it asked for no double."""
        asked = self.exchanges()
        if self._started is None or not asked:
            return
        for double, exchanges in asked.items():
            yield from refusals_of(double, exchanges)
        yield from strays_of(self._started, list(self._started.journal))
        yield from late_ones("asked of doubles that had ended, and refused:", self._started.late_since(self._late_seen))
        for double, exchanges in asked.items():
            if len(asked) > 1:
                yield f"{double.url}:"
            yield from course_of(double, exchanges)
            yield from idle_faults_of(double)

    def close(self) -> None:
        """End every double, and then the server."""
        for double in self._seen:
            double.close()
        if self._started is not None:
            self._started.close()
