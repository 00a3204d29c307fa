"""What checks of more than one row expect: headers, bodies, and a value that is there, or not.

Law: the rows' own words, written here a second time: none is taken from the services, which are what is looked at.
"""

from __future__ import annotations

from typing import Any

from kvfake.contract.call import Answer, Differs, expect, shown
from kvfake.contract.caller import BOT, PROJECT, Caller

TEXT = {"Content-Type": "text/plain; charset=utf-8"}
ERROR = {**TEXT, "X-Content-Type-Options": "nosniff"}  # as Go's http.Error sends it
JSON = {"Content-Type": "application/json"}
TOO_LONG = "prefix {} is longer than the limit of 2 ASCII characters\n"
"""M15; the prefix stands in it as Go quotes it."""

# ------------------------------------------------------------------------------------------------------------------ Mattermost


def put(caller: Caller, rest: str, value: bytes | str, who: str = BOT) -> None:
    """Set a value. How that is answered in full is M04's."""
    succeeds(caller.kv("PUT", rest, value, who))


def succeeds(answer: Answer) -> None:
    """With whatever status of success."""
    expect(200 <= answer.status < 300, "success", f"{answer.status} with {shown(answer.body)}")


def holds(caller: Caller, rest: str, value: bytes | str, who: str = BOT) -> None:
    """That value is there."""
    caller.kv("GET", rest, who=who).expect(200, value)


def holds_not(caller: Caller, rest: str, value: str, who: str = BOT) -> None:
    """Something else is there, or nothing. What is answered where nothing is, is M07's."""
    answer = caller.kv("GET", rest, who=who)
    expect(answer.body != value.encode(), "no value there", answer.body)


# --------------------------------------------------------------------------------------------------------------------- Persist


def fields(answer: Answer) -> dict[str, Any]:
    """The JSON object of a 200."""
    found = answer.expect(200).json()
    if not isinstance(found, dict):
        raise Differs(f"expected a JSON object, got {shown(answer.body)}")
    return found


def items(answer: Answer) -> list[Any]:
    """The JSON array of a 200."""
    found = answer.expect(200).json()
    if not isinstance(found, list):
        raise Differs(f"expected a JSON array, got {shown(answer.body)}")
    return found


def store(caller: Caller, key: str, value: str, who: str = PROJECT) -> None:
    """Set a value of Persist's. How that is answered is P03's. ``key`` stands in the target as it is."""
    succeeds(caller.persist("PUT", f"/kv/{key}", {"value": value}, who))


def stored(caller: Caller, key: str, value: str, who: str = PROJECT) -> None:
    """That value of Persist's is there."""
    got = fields(caller.persist("GET", f"/kv/{key}", who=who)).get("value")
    expect(got == value, f"the value {_short(value)}", _short(got))


def error(answer: Answer, status: int) -> str:
    """What an error says: a body of JSON, with ``error`` (P04)."""
    found = answer.expect(status).json()
    text = found.get("error") if isinstance(found, dict) else None
    if not isinstance(text, str):
        raise Differs(f"expected a JSON object with a string in error, got {shown(answer.body)}")
    return text


def is_json(answer: Answer) -> None:
    """The content type says so; it may say a charset, too."""
    kind = answer.headers.get("content-type", "none")
    expect(kind.partition(";")[0].strip().lower() == "application/json", "Content-Type: application/json", kind)


def _short(value: object) -> str:
    return shown(value.encode("utf-8", "backslashreplace")) if isinstance(value, str) else repr(value)
