"""Whether there is a store at all to be asked, and which profile is meant.

Law: a question or two before the checks; what it hears decides whether they make sense, not whether a row holds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from urllib.parse import urljoin

from kvfake.contract import UNREACHABLE
from kvfake.contract.call import Answer, Call
from kvfake.contract.caller import TOKENS, Caller
from kvfake.contract.live.hiding import shortened
from kvfake.contract.live.judging import probe
from kvfake.contract.live.line import HttpLine
from kvfake.errors import CommandError
from kvfake.services import mattermost
from kvfake.settings import PROFILES

_OF_A_REAL_SERVER = "plugin-1.2"
_NOTHING_BEHIND = (502, 503, 504)
_MAX_SHOWN_CHARACTERS = 200
_HINTS = {True: "is the Apps plugin enabled there, and is this the site URL?", False: "is this the URL of Persist?"}


def check_answers(line: HttpLine, caller: Caller, service: str, who: Iterable[str], hide: Callable[[str], str]) -> None:
    """`Failed` where what answers is no store, or does not know one of them; `Unreachable` where nothing answers."""
    for one in who:
        answer = probe(caller, service, one)
        why = _why_not(line, answer, service, TOKENS[one], hide)
        if not why and answer.status >= 400 and not _takes_a_value(caller, service, one):
            why = f"answers {answer.status}, and takes no value: {_words(answer, hide)} ({_HINTS[service == mattermost.NAME]})"
        if why:
            raise CommandError(f"{line.url} {why}", UNREACHABLE)


def _takes_a_value(caller: Caller, service: str, who: str) -> bool:
    """Whether a key can be set, which is removed again: a store that is wrong may have no other sign."""
    if service == mattermost.NAME:
        answer = caller.kv("PUT", caller.key(), "1", who)
    else:
        answer = caller.persist("PUT", f"/kv/{caller.key()}", {"value": "v"}, who)
    caller.clean()
    return answer.status < 300


def _why_not(line: HttpLine, answer: Answer, service: str, option: str, hide: Callable[[str], str]) -> str:
    if answer.status in _NOTHING_BEHIND:
        return f"answers {answer.status}, and nothing behind it does: {_words(answer, hide)}"
    why = why_no_store(line, answer, _HINTS[service == mattermost.NAME], hide)
    if not why and answer.status == 401:
        return f"does not know the token of {option}: {_words(answer, hide)}"
    return why


def _words(answer: Answer, hide: Callable[[str], str]) -> str:
    return shortened(hide(answer.text.strip()), _MAX_SHOWN_CHARACTERS)


def why_no_store(line: HttpLine, answer: Answer, hint: str, hide: Callable[[str], str]) -> str:
    """Why that is the answer of no store at all, if so: it leads elsewhere, or is a page. Else nothing."""
    if 300 <= answer.status < 400:
        location = shortened(hide(_whereto(line, answer)), _MAX_SHOWN_CHARACTERS)
        where = f"to {location}: give that URL" if location else f"(status {answer.status}), and does not say where"
        return f"redirects {where}"
    if answer.text.lstrip("\ufeff").lstrip().startswith("<"):
        return f"answers HTML (status {answer.status}), not the store: {hint}"
    return ""


def _whereto(line: HttpLine, answer: Answer) -> str:
    """The URL that would have been redirected to, less what was asked below it; as it stands where it is none."""
    location = answer.headers.get("location", "")
    below = answer.call.target.removeprefix(line.base)
    try:
        return urljoin(line.url + below, location).removesuffix(below) if location else ""
    except ValueError:
        return location


def profile_of(line: HttpLine) -> str:
    """The profile of a kvfake, where one answers; else that of the plugin."""
    try:
        health = json.loads(line.send(Call("GET", f"{line.base}/_kvfake/health", {})).body)
        return health["profile"] if "kvfake" in health and health["profile"] in PROFILES else _OF_A_REAL_SERVER
    except (ValueError, TypeError, LookupError, RecursionError):  # it is something else
        return _OF_A_REAL_SERVER
