"""What two answers to one request differ in: the real server's, and the double's.

Law: two answers in, lines out. Mattermost's are compared to the letter. Of Persist's, whose rows speak of JSON, it is compared what
they say: an error is any with a text, and nothing hangs on blanks, or on the order of fields.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kvfake.contract.checks.client import shown
from kvfake.contract.replay.asked import json_of, service_of
from kvfake.contract.replay.redacting import KEPT_OF_ANSWERS
from kvfake.contract.replay.tape import Taped
from kvfake.services import mattermost
from kvfake.services.messages import Response


def differences(taped: Taped, want: Response) -> list[str]:
    """A line for each thing in which the double's answer is another; none where it is the same."""
    got = taped.response
    is_mattermost = service_of(taped.request.target) is mattermost
    found = [] if got.status == want.status else [f"status: recorded {got.status}, double {want.status}"]
    for name in KEPT_OF_ANSWERS if not found else ():
        one, other = header(got, name), header(want, name)
        if not (one == other if is_mattermost else _ALIKE.get(name, _any)(one, other)):
            found.append(f"{name}: recorded {_said(one)}, double {_said(other)}")
    is_same_body = got.body == want.body or (not is_mattermost and _say_the_same(got, want))
    if not is_same_body and not taped.is_cut:
        found.append(f"body: recorded {shown(got.body)}, double {shown(want.body)}")
    return found


def header(response: Response, name: str) -> str | None:
    """The value of a header whose name is in lower case."""
    return next((value for one, value in response.headers if one.lower() == name), None)


def _said(value: str | None) -> str:
    return "none" if value is None else repr(value)


def _say_the_same(got: Response, want: Response) -> bool:
    if got.status == want.status and want.status >= 400:
        return has_error(got) and has_error(want)
    one = json_of(got.body)
    return one is not None and one == json_of(want.body)


def has_error(response: Response) -> bool:
    """Whether it says in JSON what is wrong (P04)."""
    said = json_of(response.body)
    return isinstance(said, dict) and isinstance(said.get("error"), str)


def _any(got: str | None, want: str | None) -> bool:
    return True


def media_type(value: str | None) -> str:
    """A content type without its charset."""
    return (value or "").partition(";")[0].strip().lower()


def _are_allowed(got: str | None, want: str | None) -> bool:
    """Whether every method is named that must be."""
    return _names(want) <= _names(got)


def _names(value: str | None) -> set[str]:
    return {name.strip() for name in (value or "").split(",")} - {""}


_ALIKE: dict[str, Callable[[Any, Any], bool]] = {
    "content-type": lambda got, want: media_type(got) == media_type(want),
    "allow": _are_allowed,
}
