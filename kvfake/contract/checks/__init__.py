"""The rows as checks, which any server can be asked, and what runs them: those of a row, on a server.

Law: checks in, verdicts out. A row never holds where no request was sent. A response that a check cannot read is a mismatch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from kvfake.contract.checks import http1, mattermost, persist
from kvfake.contract.checks.client import BOT, PROJECT, CheckResponse, ContractClient, Mismatch, NotVerifiable
from kvfake.contract.checks.expectations import Check
from kvfake.http_client import NoAnswer
from kvfake.services.facts import ROWS, Row
from kvfake.settings import MATTERMOST

HOLDS, DIFFERS, NOT_SEEN = "holds", "differs", "not seen"
RAW_OPTION = "--raw"
NOT_VERIFIABLE = {"P11": "nothing that is asked from outside makes an unexpected error"}
"""Rows that no check can test, and why."""

_ORDER = list(ROWS)
CHECKS = sorted((*http1.CHECKS, *mattermost.CHECKS, *persist.CHECKS), key=lambda check: _ORDER.index(check.row))
"""Every check, in the order of the rows."""


class Finding(NamedTuple):
    """A mismatch that a check found, and the exchanges of that check up to it."""

    check: Check
    mismatch: Mismatch
    exchanges: tuple[CheckResponse, ...]


class Verdict(NamedTuple):
    """What the checks of a row found. Where they could not test all of it, ``options`` are the options that would have to be
    given, and ``reasons`` why no option would help; ``does_rest_hold`` says whether at least one check held.
    """

    row: Row
    outcome: str
    options: tuple[str, ...]
    reasons: tuple[str, ...]
    mismatches: tuple[Finding, ...]
    does_rest_hold: bool


def run_checks(client: ContractClient, row: Row, checks: Iterable[Check], not_verifiable: str | None = None) -> Verdict:
    """Run the row's checks. ``not_verifiable`` says why no check can see all of the row. Raises `NoAnswer` where the server is
    gone.
    """
    options: dict[str, None] = {}  # a set in order
    findings: list[Finding] = []
    does_hold = False
    for check in checks:
        if check.row != row.id:
            continue
        if check.is_malformed and not client.may_be_malformed:
            options[RAW_OPTION] = None
            continue
        client.exchanges.clear()
        try:
            check.run(client)
            does_hold |= bool(client.exchanges)
        except NotVerifiable as missing:
            options[str(missing)] = None
        except Mismatch as mismatch:
            findings.append(Finding(check, mismatch, tuple(client.exchanges)))
        except NoAnswer as silent:
            findings.append(Finding(check, Mismatch(f"expected an answer, but {silent}"), tuple(client.exchanges)))
            probe(client, row.service)
        except Exception as failed:
            why = f"the answer is not what can be read here: {type(failed).__name__}: {failed}"
            findings.append(Finding(check, Mismatch(why), tuple(client.exchanges)))
    reasons = (not_verifiable,) if not_verifiable else ()
    if not (does_hold or findings or options or reasons):
        reasons = ("nothing was asked",)
    outcome = DIFFERS if findings else NOT_SEEN if options or reasons else HOLDS
    return Verdict(row, outcome, tuple(options), reasons, tuple(findings), does_hold)


def probe(client: ContractClient, service: str, who: str | None = None) -> CheckResponse:
    """The response to a get of a key that is not there. Raises `NoAnswer`."""
    return client.request("GET", client.new_target(service), who=who or (BOT if service == MATTERMOST else PROJECT))
