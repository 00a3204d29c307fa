"""Whether a server does what a row says.

Law: checks in, verdicts out. A row of which nothing was asked never holds, and whatever a check stumbles over is a difference.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from kvfake.contract.call import Answer, Differs, Unreachable, Unseen
from kvfake.contract.caller import BOT, PROJECT, Caller
from kvfake.contract.checks import Check
from kvfake.services import mattermost, persist
from kvfake.services.facts import Row

HOLDS, DIFFERS, UNSEEN = "holds", "differs", "not seen"
RAW = "--raw"
_NOTHING_ASKED = "nothing was asked"


class Finding(NamedTuple):
    """What one check found. ``why`` says what differs, or what is missing; there is no outcome where nothing was asked."""

    check: str
    outcome: str | None
    why: str = ""
    exchanges: tuple[Answer, ...] = ()


class Verdict(NamedTuple):
    """What was found of a row. ``missing`` says why it was not seen, or not all of it."""

    row: Row
    outcome: str
    missing: tuple[str, ...]
    differing: tuple[Finding, ...]
    does_rest_hold: bool


def judge(caller: Caller, row: Row, checks: Iterable[Check], unseeable: str | None = None) -> Verdict:
    """Run the row's checks. ``unseeable`` says why something of it cannot be seen by anybody. Raises `Unreachable`."""
    findings = [look(caller, check) for check in checks if check.row == row.id]
    missing = [finding.why for finding in findings if finding.outcome == UNSEEN] + ([unseeable] if unseeable else [])
    differing = tuple(finding for finding in findings if finding.outcome == DIFFERS)
    does_hold = any(finding.outcome == HOLDS for finding in findings)
    if not does_hold and not differing and not missing:
        missing = [_NOTHING_ASKED]
    outcome = DIFFERS if differing else UNSEEN if missing else HOLDS
    return Verdict(row, outcome, tuple(dict.fromkeys(missing)), differing, does_hold)


def look(caller: Caller, check: Check) -> Finding:
    """What this check finds. Raises `Unreachable` where the server is gone."""
    if check.is_malformed and not caller.may_be_malformed:
        return Finding(check.name, UNSEEN, RAW)
    caller.trail.clear()
    calls = caller.calls
    try:
        check.do(caller)
    except Unseen as unseen:
        return Finding(check.name, UNSEEN, str(unseen))
    except Differs as differs:
        why = str(differs)
    except Unreachable as silent:
        trail = tuple(caller.trail)
        probe(caller, mattermost.NAME if check.row.startswith("M") else persist.NAME)
        return Finding(check.name, DIFFERS, f"expected an answer, but {silent}", trail)
    except Exception as stumbled:
        why = f"the answer is not what can be read here: {type(stumbled).__name__}: {stumbled}"
    else:
        return Finding(check.name, HOLDS if caller.calls > calls else None)
    return Finding(check.name, DIFFERS, why, tuple(caller.trail))


def probe(caller: Caller, service: str, who: str | None = None) -> Answer:
    """Ask for a key that nobody has. Raises `Unreachable`."""
    if service == mattermost.NAME:
        return caller.kv("GET", caller.key(), who=who or BOT)
    return caller.persist("GET", f"/kv/{caller.key()}", who=who or PROJECT)
