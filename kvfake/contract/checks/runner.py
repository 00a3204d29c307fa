"""Running the checks: whether a server does what a row says.

Law: checks in, verdicts out. A row for which no request was sent never holds, and a response that a check cannot read is a
mismatch.
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
"""Rows that no check can look at, and why."""

_ORDER = list(ROWS)
CHECKS = sorted((*http1.CHECKS, *mattermost.CHECKS, *persist.CHECKS), key=lambda check: _ORDER.index(check.row))
"""Every check, in the order of the rows."""


class Finding(NamedTuple):
    """What one check found: an outcome, or none where it sent no request. ``option`` is the option that it lacks, ``mismatch`` what
    differs, ``exchanges`` the exchanges up to there.
    """

    check: Check
    outcome: str | None
    option: str | None = None
    mismatch: Mismatch | None = None
    exchanges: tuple[CheckResponse, ...] = ()


class Verdict(NamedTuple):
    """What the checks of a row found. Why they did not see the row, or not all of it: ``options`` were not given, and ``reasons``
    are what no option changes.
    """

    row: Row
    outcome: str
    options: tuple[str, ...]
    reasons: tuple[str, ...]
    mismatches: tuple[Finding, ...]
    does_rest_hold: bool


def run_checks(client: ContractClient, row: Row, checks: Iterable[Check], not_verifiable: str | None = None) -> Verdict:
    """Run the row's checks. ``not_verifiable`` says why no check can see all of the row. Raises `NoAnswer`."""
    findings = [run_check(client, check) for check in checks if check.row == row.id]
    options = tuple(dict.fromkeys(finding.option for finding in findings if finding.option is not None))
    reasons = (not_verifiable,) if not_verifiable else ()
    mismatches = tuple(finding for finding in findings if finding.outcome == DIFFERS)
    does_hold = any(finding.outcome == HOLDS for finding in findings)
    if not (does_hold or mismatches or options or reasons):
        reasons = ("nothing was asked",)
    outcome = DIFFERS if mismatches else NOT_SEEN if options or reasons else HOLDS
    return Verdict(row, outcome, options, reasons, mismatches, does_hold)


def run_check(client: ContractClient, check: Check) -> Finding:
    """What this check finds. Raises `NoAnswer` where the server is gone."""
    if check.is_malformed and not client.may_be_malformed:
        return Finding(check, NOT_SEEN, RAW_OPTION)
    client.trail.clear()
    count = client.request_count
    try:
        check.run(client)
    except NotVerifiable as missing:
        return Finding(check, NOT_SEEN, str(missing))
    except Mismatch as differs:
        mismatch = differs
    except NoAnswer as silent:
        exchanges = tuple(client.trail)
        probe(client, ROWS[check.row].service)
        return Finding(check, DIFFERS, None, Mismatch(f"expected an answer, but {silent}"), exchanges)
    except Exception as failed:
        mismatch = Mismatch(f"the answer is not what can be read here: {type(failed).__name__}: {failed}")
    else:
        return Finding(check, HOLDS if client.request_count > count else None)
    return Finding(check, DIFFERS, None, mismatch, tuple(client.trail))


def probe(client: ContractClient, service: str, who: str | None = None) -> CheckResponse:
    """Ask for a key that nobody has. Raises `NoAnswer`."""
    if service == MATTERMOST:
        return client.request("GET", f"{client.kv_path}/{client.key()}", who=who or BOT)
    return client.request("GET", f"{client.persist_path}/kv/{client.key()}", who=who or PROJECT)
