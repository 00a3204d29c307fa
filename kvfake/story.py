"""What the doubles of a test were asked, for whoever reads why it failed: refusals first.

Law: journals and stores in, lines out. Every line can be shown on a terminal, every number of lines has a bound, and no token is
shown whole.
"""

from __future__ import annotations

from collections.abc import Iterator

from kvfake.double import Double
from kvfake.world.exchange import Exchange
from kvfake.world.fake import SERVICES

MAX_EXCHANGES = 30
MAX_SIGNS = 200  # of a body, a path, a key
MAX_KEYS = 20
MAX_STORES = 20
MAX_LATE = 20
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
    faults = double.faults.never_struck
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
        yield from (f"  {short(line)}" for line in late[:MAX_LATE])
        if len(late) > MAX_LATE:
            yield f"  (and {len(late) - MAX_LATE} more)"


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
