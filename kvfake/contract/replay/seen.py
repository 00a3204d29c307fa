"""A difference as the rules look at it: what was asked, what was recorded, what the double answered, and what it knows besides.

Law: questions and their answers; no rule, and no row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cached_property
from math import isfinite
from types import ModuleType
from typing import Any, NamedTuple

from kvfake.contract.replay.asked import got_value, json_of, service_of, unescaped
from kvfake.contract.replay.differing import header
from kvfake.contract.replay.tape import Taped
from kvfake.services import go, mattermost
from kvfake.services.mattermost import COOKIE
from kvfake.services.messages import Operation, Response

OWNER, PREFIX, KEY = "owner", "prefix", "key"

_NOT_THE_SERVICE = (429, 502, 503, 504)
_BEARER = re.compile(rb"Bearer [^ ]")


class Past(NamedTuple):
    """What a recording has done at one place. ``last``: the verb that last changed it; ``method``, ``target`` and ``type``: those
    of the set, and its content type; ``replaced``: what lay there before it; ``refused``: the status of a set that came after it.
    """

    last: str = ""
    method: str = ""
    target: bytes = b""
    type: bytes | None = None
    replaced: bytes | None = None
    refused: int = 0


class Seen:
    """``owner`` is the token's, ``place`` what is asked for if it may be, ``past_of`` what was done before at a key of its name
    space. ``elsewhere`` says where else what was got lies: with another owner, below another prefix (at the same key), at another
    key; or nothing. Where nothing was got, it says where that key was deleted; at another key is at one with which this begins.
    """

    def __init__(
        self,
        taped: Taped,
        want: Response,
        owner: str | None,
        place: Operation | None,
        past_of: Callable[[bytes], Past],
        elsewhere: str,
    ) -> None:
        self.request, self.got, self.want = taped.request, taped.response, want
        self.owner, self.place, self.past_of, self.elsewhere = owner, place, past_of, elsewhere
        self.path, _, self.query = self.request.target.partition(b"?")
        self.got_value = got_value(taped) if self.verb == "get" else None

    @cached_property
    def service(self) -> ModuleType:
        return service_of(self.request.target)

    @property
    def is_no_answer(self) -> bool:
        """Whether it was something on the way that answered, or a page for people."""
        is_page = (header(self.got, "content-type") or "").startswith("text/html") or self.got.body.lstrip()[:1] == b"<"
        return self.got.status != self.want.status and (is_page or self.got.status in _NOT_THE_SERVICE)

    @property
    def statuses(self) -> tuple[int, int]:
        return self.got.status, self.want.status

    def either(self, *statuses: int) -> bool:
        """Whether one of the answers has one of these."""
        return bool(set(self.statuses) & set(statuses))

    # --------------------------------------------------------------------------------------------------------- what was asked

    @property
    def method(self) -> str:
        return self.request.method

    @property
    def is_set(self) -> bool:
        return self.method.upper() in ("PUT", "POST") and self.verb != "mget"

    @property
    def verb(self) -> str:
        return self.place.verb if self.place is not None else ""

    @cached_property
    def prefix(self) -> bytes:
        """Of Mattermost's path, decoded; nothing where it has none."""
        return _prefix(self.path)

    @property
    def prefix_as_set(self) -> bytes:
        return _prefix(self.past.target.partition(b"?")[0])

    @property
    def is_below_kv(self) -> bool:
        paths = (self.path, go.clean(unescaped(self.path)))
        return any(path.startswith(mattermost.KV.encode()) for path in paths)

    @property
    def has_bad_escape(self) -> bool:
        try:
            go.unescape(self.request.target)
        except go.BadEscape:
            return True
        return False

    # ------------------------------------------------------------------------------------------------------ what was before

    @property
    def past(self) -> Past:
        """Of the one key that is asked for."""
        return self.past_of(self.place.key) if self.place is not None and self.verb in ("get", "set", "delete") else Past()

    @property
    def is_set_otherwise(self) -> bool:
        """Whether what lies there was set by another way to write the same place."""
        return self.past.target.partition(b"?")[0] not in (b"", self.path)

    @property
    def is_replaced(self) -> bool:
        """Whether it is what a set should have replaced."""
        return self.got_value is not None and self.got_value.data == self.past.replaced

    # ----------------------------------------------------------------------------------------------------------- who asked

    @property
    def cookie(self) -> bytes | None:
        return go.cookie_value(self.request.headers.get(b"cookie", b""), COOKIE)

    @property
    def has_token_in_query(self) -> bool:
        return mattermost.redact_query(self.request.target) != self.request.target

    @property
    def sources(self) -> int:
        """From how many places a token might be taken."""
        return (b"authorization" in self.request.headers) + (self.cookie is not None) + self.has_token_in_query

    @property
    def is_plain_bearer(self) -> bool:
        return self.sources == 1 and _BEARER.match(self.request.headers.get(b"authorization", b"")) is not None

    # ---------------------------------------------------------------------------------------------------------- what was sent

    @cached_property
    def payload(self) -> Any:
        return json_of(self.request.body)

    @property
    def is_json_disputed(self) -> bool:
        """Whether another reader of JSON than Go's would think otherwise of the body."""
        try:
            json.loads(self.request.body, parse_float=_finite)
            is_json = True
        except (ValueError, RecursionError):
            is_json = False
        return is_json != go.json_valid(self.request.body)

    @cached_property
    def due(self) -> list[Response]:
        """Every refusal of Mattermost's that the request deserves, in the service's order (M23)."""
        found = [self.want] if self.want.status in (404, 405) else []
        if self.is_set and len(self.request.body) > mattermost.MAX_VALUE_BYTES:
            found.append(mattermost.TOO_LARGE)
        if self.owner is None:
            found.append(mattermost.NO_TOKEN)
        elif not mattermost.belongs_to_app(self.owner):
            found.append(mattermost.NO_APP)
        if self.is_set and not go.json_valid(self.request.body):
            found.append(mattermost.NOT_JSON)
        if len(self.prefix) > mattermost.MAX_PREFIX_BYTES:
            found.append(go.http_error(500, mattermost.prefix_too_long(self.prefix)))
        return found


def changed(response: Response) -> object:
    """What a set says of it (M17)."""
    said = json_of(response.body)
    return said.get("changed") if isinstance(said, dict) else None


def _prefix(path: bytes) -> bytes:
    parts = unescaped(path).removeprefix(mattermost.KV.encode()).strip(b"/").split(b"/")
    return parts[0] if len(parts) == 2 else b""


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(text)
    return number


Rule = tuple[str, Callable[[Seen], Any]]
"""A row, and whether a difference is its business."""
