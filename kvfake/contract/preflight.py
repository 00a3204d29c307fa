"""Whether there is a store at all to be asked, and which profile is meant.

Law: a question or two before the checks; what it hears decides whether they make sense, not whether a row holds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from urllib.parse import urljoin

from kvfake.contract import UNREACHABLE, Failed
from kvfake.contract.call import Answer, Call
from kvfake.contract.caller import TOKENS, Caller
from kvfake.contract.hiding import shortened
from kvfake.contract.judging import probe
from kvfake.contract.line import HttpLine
from kvfake.services import mattermost
from kvfake.settings import PROFILES

_OF_A_REAL_SERVER = "plugin-1.2"
_NOTHING_BEHIND = (502, 503, 504)
_MAX_SHOWN_CHARACTERS = 200
_HINTS = {True: "is the Apps plugin enabled there, and is this the site URL?", False: "is this the URL of Persist?"}


def check_answers(line: HttpLine, caller: Caller, service: str, who: Iterable[str], hide: Callable[[str], str]) -> None:
    """`Failed` where what answers is no store, or does not know one of them; `Unreachable` where nothing answers."""
    for one in who:
        why = _why_not(line, probe(caller, service, one), service, TOKENS[one], hide)
        if why:
            raise Failed(f"{line.url} {why}", UNREACHABLE)


def _why_not(line: HttpLine, answer: Answer, service: str, option: str, hide: Callable[[str], str]) -> str:
    words = shortened(hide(answer.text.strip()), _MAX_SHOWN_CHARACTERS)
    if 300 <= answer.status < 400:
        below = answer.call.target.removeprefix(line.base)
        location = urljoin(line.url + below, answer.headers.get("location", "")).removesuffix(below)
        return f"redirects to {shortened(hide(location), _MAX_SHOWN_CHARACTERS)}: give that URL"
    if answer.status in _NOTHING_BEHIND:
        return f"answers {answer.status}, and nothing behind it does: {words}"
    if words.startswith("<"):
        return f"answers HTML (status {answer.status}), not the store: {_HINTS[service == mattermost.NAME]}"
    if answer.status == 401:
        return f"does not know the token of {option}: {words}"
    return ""


def profile_of(line: HttpLine) -> str:
    """The profile of a kvfake, where one answers; else that of the plugin."""
    try:
        health = json.loads(line.send(Call("GET", f"{line.base}/_kvfake/health", {})).body)
        return health["profile"] if "kvfake" in health and health["profile"] in PROFILES else _OF_A_REAL_SERVER
    except (ValueError, TypeError, LookupError, RecursionError):  # it is something else
        return _OF_A_REAL_SERVER
