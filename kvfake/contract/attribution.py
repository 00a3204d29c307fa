"""Attribution: how the double's answer differs from the recorded one, and which rows of the fact list explain that.

Law: two answers and the history of the keys in, lines and rows out. Mattermost's answers are compared byte for byte; Persist's by
their meaning, since its rows speak of JSON. A rule says whether one row explains a difference. No row explains the answer of a
proxy, or what another client may have done.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Any, NamedTuple

from kvfake.contract import recorded_state as state
from kvfake.contract.checks.client import shown
from kvfake.contract.recorded_state import Place, Step, Value, bytes_of, json_of, listed
from kvfake.contract.recording import KEPT_RESPONSE_HEADERS, RecordedExchange
from kvfake.services import go, mattermost, persist
from kvfake.services.jsontext import load_json
from kvfake.services.messages import Operation, Request, Response
from kvfake.stores import Namespace

MAX_ROWS = 3  # the nearest

_NOT_THE_SERVICE = (429, 502, 503, 504)  # statuses of proxies
_LARGE_VALUE_BYTES = 4096  # a larger value of Persist's may be refused for its size


class Elsewhere(Enum):
    """Where a value was found instead, or where a missing key was deleted: at the same key of another owner, at the same key below
    another prefix, or at another key.
    """

    OWNER, PREFIX, KEY = auto(), auto(), auto()


class Past(NamedTuple):
    """What happened to a key before, in the recording: the ``verb`` of the last change; if that was a set, its ``request`` and the
    value that it ``replaced``; the status of a later set that was ``refused``, else 0.
    """

    verb: str = ""
    request: Request | None = None
    replaced: bytes | None = None
    refused: int = 0


_NO_OPERATION = Operation("", "", ("", "", b""))  # for a request without an operation: no rule has this verb

Where = Callable[[Namespace, bytes, "Value | None"], "Elsewhere | None"]
"""Finds the value of a key somewhere else, or, without a value, the deletion of that key."""

# ----------------------------------------------------------------------------------------------------------- what differs


def mismatches(exchange: RecordedExchange, want: Response) -> list[str]:
    """A line for each part of the answer (status, header, body) in which the double differs from the recording."""
    got, is_persist = exchange.response, state.service_of(exchange.request.target) is persist
    found = [] if got.status == want.status else [f"status: recorded {got.status}, double {want.status}"]
    for name in () if found else ("content-type", "allow") if is_persist else KEPT_RESPONSE_HEADERS:
        one, other = header(got, name), header(want, name)
        if one != other and not (is_persist and _is_equivalent(name, one, other)):
            found.append(f"{name}: recorded {_quoted(one)}, double {_quoted(other)}")
    is_same_body = got.body == want.body or (is_persist and _is_same_json(got, want))
    if not is_same_body and not exchange.is_cut:
        found.append(f"body: recorded {shown(got.body)}, double {shown(want.body)}")
    return found


def header(response: Response, name: str) -> str | None:
    """The value of a header whose name is in lower case."""
    return next((value for one, value in response.headers if one.lower() == name), None)


def has_error(response: Response) -> bool:
    """Whether the body is JSON with a text in ``error`` (P04)."""
    answer = json_of(response.body)
    return isinstance(answer, dict) and isinstance(answer.get("error"), str)


def _is_equivalent(name: str, got: str | None, want: str | None) -> bool:
    """Whether ``got`` allows at least the methods of ``want``, or names the same type with any charset."""
    if name == "allow":
        methods = [{method.strip() for method in (value or "").split(",")} - {""} for value in (got, want)]
        return methods[0] >= methods[1]
    return _media_type(got) == _media_type(want)


def _is_same_json(got: Response, want: Response) -> bool:
    if got.status == want.status >= 400:
        return has_error(got) and has_error(want)
    answer = json_of(got.body)
    return answer is not None and answer == json_of(want.body)


def _media_type(value: str | None) -> str:
    return (value or "").partition(";")[0].strip().lower()


def _quoted(value: str | None) -> str:
    return "none" if value is None else repr(value)


# --------------------------------------------------------------------------------------------------------------- differences


class Difference:
    """An exchange that the double answers otherwise: ``got`` is the recorded answer, ``want`` the double's. ``lines`` say what
    differs, ``rows`` why, the nearest first. ``values`` are the recorded values, by key, where the double's answer shows another.
    """

    def __init__(self, step: Step, want: Response, lines: list[str], past: Mapping[Place, Past], where: Where) -> None:
        self.exchange, self.operation, self.lines, self._past = step.exchange, step.operation or _NO_OPERATION, lines, past
        self.request, self.got, self.want = step.exchange.request, step.exchange.response, want
        self.path, self.verb = self.request.target.partition(b"?")[0], self.operation.verb
        self.token_sources = state.token_sources(self.request)
        theirs, ours = (state.values_after(self.request, response, self.operation) for response in (self.got, want))
        self.values = {key: theirs[key] for key in ours if key in theirs and theirs[key] != ours[key]}
        missing = self.values | dict.fromkeys(map(bytes_of, self.lost))
        namespace = self.operation.namespace
        self.elsewhere = next(filter(None, (where(namespace, key, value) for key, value in missing.items())), None)
        self.past = self.past_of(self.operation.key)
        rules = PERSIST_RULES if state.service_of(self.request.target) is persist else MATTERMOST_RULES
        found = dict.fromkeys(row for row, applies in rules if not self._is_from_proxy and applies(self))
        self.rows = list(found)[:MAX_ROWS]

    def past_of(self, key: bytes) -> Past:
        """What happened before to a key of the operation's namespace."""
        return self._past.get((self.operation.namespace, key), Past())

    @property
    def _is_from_proxy(self) -> bool:
        """Whether a proxy answered, or a web page came."""
        is_page = self.got.body.lstrip()[:1] == b"<"
        return self.got.status != self.want.status and (is_page or self.got.status in _NOT_THE_SERVICE)

    def has_status(self, *statuses: int) -> bool:
        """Whether one of the two answers has one of these statuses."""
        return self.got.status in statuses or self.want.status in statuses

    @property
    def lost(self) -> list[str]:
        """The keys that are only in the double's list."""
        return sorted(set(listed(self.want)) - set(listed(self.got)))

    @property
    def is_other_type(self) -> bool:
        return _media_type(header(self.got, "content-type")) != _media_type(header(self.want, "content-type"))

    @property
    def is_found(self) -> bool:
        """Whether both answers to a get show a value, and the bytes differ."""
        return self.verb == "get" and self.got.status == self.want.status == 200 and self.got.body != self.want.body

    @property
    def got_value(self) -> bytes | None:
        """The value in the recorded answer to a get, if the double's answer has another or none."""
        return next((value.data for value in self.values.values() if value is not None and self.verb == "get"), None)


Rule = tuple[str, Callable[[Difference], Any]]
"""A row, and whether it explains a difference. The rules of a service are in order: the nearest row first."""

# --------------------------------------------------------------------------------------------------------------- Mattermost

_ROWS_OF_REFUSALS = {
    mattermost.NO_TOKEN.body: "M11",
    mattermost.NO_APP.body: "M12",
    mattermost.NOT_JSON.body: "M13",
    mattermost.TOO_LARGE.body: "M14",
}


def _refusal(row: str) -> Rule:
    """A rule: one of the two answers is the refusal that the row describes."""
    return row, lambda it: row in (_ROWS_OF_REFUSALS.get(it.got.body), _ROWS_OF_REFUSALS.get(it.want.body))


def _is_error_of_other_form(it: Difference) -> bool:
    may_sniff = "x-content-type-options"
    return it.got.status == it.want.status >= 400 and (it.is_other_type or header(it.got, may_sniff) != header(it.want, may_sniff))


def _is_other_base_path(it: Difference) -> bool:
    """The path of another plugin leads to the store, or the path of the store leads nowhere."""
    if not go.clean(state.unescaped(it.path)).startswith(mattermost.KV.encode()):
        return True
    is_missing = it.want.body in mattermost.MISSING_BODIES
    return it.got.body == mattermost.NOT_FOUND.body and it.want.status != 404 and not is_missing


def _prefix(it: Difference) -> bytes:
    """The prefix of the path, decoded; empty where it has none."""
    parts = state.unescaped(it.path).removeprefix(mattermost.KV.encode()).strip(b"/").split(b"/")
    return parts[0] if len(parts) == 2 else b""


def _is_other_credential(it: Difference) -> bool:
    """The request names its token in another way than by the header ``Authorization: Bearer``, or names more than one."""
    usual_sources = int(it.request.headers.get(b"authorization", b"").startswith(b"Bearer "))
    return it.token_sources > usual_sources


def _is_disputed_json(it: Difference) -> bool:
    """Go's reader of JSON and Python's disagree whether the body is JSON."""
    try:
        load_json(it.request.body.removeprefix(BOM_UTF8))
        is_json = True
    except (ValueError, RecursionError):
        is_json = False
    return is_json != go.json_valid(it.request.body)


def _is_changed_otherwise(it: Difference) -> bool:
    return it.verb == "set" and state.is_unchanged(it.got) != state.is_unchanged(it.want)


def _is_path_read_otherwise(it: Difference) -> bool:
    """The value was set at the same path in another spelling, or lies at a key to which another decoding of this path leads."""
    is_set_by_other = it.past.request is not None and it.past.request.target.partition(b"?")[0] != it.path
    return is_set_by_other or (b"%" in it.path and (it.elsewhere is Elsewhere.KEY or None in it.values.values()))


MATTERMOST_RULES: tuple[Rule, ...] = (
    ("M19", _is_error_of_other_form),
    ("M16", lambda it: _prefix(it) == b"my-app"),
    ("M01", _is_other_base_path),
    ("M21", lambda it: it.want.status == 301),
    ("M22", lambda it: it.want.status == 405),
    ("M18", lambda it: it.got.status == 415),
    ("M18", lambda it: json_of(it.got.body) == it.want.body.decode("utf-8", "replace")),
    ("M03", lambda it: it.verb == "set" and it.got.status in (405, 501)),
    ("M23", lambda it: it.got.body in _ROWS_OF_REFUSALS and it.got.body != it.want.body and it.want.status >= 400),
    _refusal("M14"),
    ("M25", lambda it: b" " in _prefix(it) or not _prefix(it).isascii()),
    ("M15", lambda it: len(_prefix(it)) > mattermost.MAX_PREFIX_BYTES),
    ("M27", lambda it: it.want.status == 401 and (it.token_sources > 1 or b"mattermost-user-id" in it.request.headers)),
    ("M26", lambda it: it.has_status(401) and it.request.method != "GET" and b"cookie" in it.request.headers),
    ("M10", lambda it: (it.has_status(401) or it.elsewhere is Elsewhere.OWNER) and _is_other_credential(it)),
    _refusal("M12"),
    ("M11", lambda it: it.has_status(401)),
    ("M24", lambda it: it.has_status(400) and _is_disputed_json(it)),
    _refusal("M13"),
    ("M13", lambda it: it.is_found and it.past.refused == 400),
    ("M17", _is_changed_otherwise),
    ("M04", lambda it: it.verb == "set" and it.want.status == 200 and it.got.status < 300 and not _is_changed_otherwise(it)),
    ("M07", lambda it: it.want.body in mattermost.MISSING_BODIES and it.got.status in (200, 404) and it.got_value is None),
    ("M05", lambda it: it.verb == "delete" or (it.past.verb == "delete" and it.got_value is not None)),
    ("M09", lambda it: it.elsewhere is Elsewhere.OWNER),
    ("M06", lambda it: it.elsewhere is Elsewhere.PREFIX or (_prefix(it) and it.got.status == 404)),
    ("M03", lambda it: it.got_value == it.past.replaced is not None),
    ("M20", lambda it: it.want.status == 404 or _is_path_read_otherwise(it)),
    ("M08", lambda it: it.verb == "get" and it.got.status == it.want.status and it.is_other_type),
    ("M03", lambda it: it.is_found and it.past.request is not None and it.past.request.method == "POST"),
    ("M02", lambda it: it.is_found and it.past.verb == "set"),
)

# ------------------------------------------------------------------------------------------------------------------- Persist

_PLAIN_KEY = re.compile(rb"[\w:.-]*")


def _records(response: Response) -> list[dict[str, Any]]:
    answer = json_of(response.body)
    several = answer if isinstance(answer, list) else [answer]
    return [one for one in several if isinstance(one, dict) and isinstance(one.get("key"), str)]


def _is_other_moment(it: Difference) -> bool:
    """The records differ only in ``updated``."""
    got, want = ([{**one, "updated": type(one.get("updated"))} for one in _records(response)] for response in (it.got, it.want))
    return got == want and _records(it.got) != _records(it.want)


def _is_unreadable_for_client(it: Difference) -> bool:
    """A value or an error is not a string, or the value is not the string that was stored: the official client cannot read it."""
    answer = json_of(it.got.body)
    if isinstance(answer, dict) and not isinstance(answer.get("error", ""), str):
        return True
    got, want = ({record["key"]: record.get("value", "") for record in _records(response)} for response in (it.got, it.want))
    return not all(isinstance(value, str) for value in got.values()) or any(
        got.get(key, "") != value and (got.get(key, "").strip() == value.strip() or (key not in got and value == "null"))
        for key, value in want.items()
    )


def _is_undocumented_bound(it: Difference) -> bool:
    """It is about tokens, methods, bad escapes in paths, or limits of size."""
    payload = json_of(it.request.body)
    keys = payload.get("keys") if isinstance(payload, dict) else None
    return (
        it.has_status(401, 405)
        or (b"%" in it.path and state.unescaped(it.path) == it.path)
        or len(it.request.body) >= persist.MAX_BODY_BYTES
        or (isinstance(keys, list) and len(keys) >= persist.MAX_MGET_KEYS)
    )


def _is_size(it: Difference) -> bool:
    value = state.value_of_record(json_of(it.request.body))
    is_refused_once = (it.got.status >= 400) != (it.want.status >= 400)
    return is_refused_once and value is not None and len(value.data) > _LARGE_VALUE_BYTES


def _is_other_key(it: Difference) -> bool:
    """The key has characters that a server may decode otherwise, and the answers show different keys."""
    is_plain = _PLAIN_KEY.fullmatch(it.path.partition(b"/persist/kv/")[2]) is not None
    got, want = ([record["key"] for record in _records(response)] for response in (it.got, it.want))
    return not is_plain and (it.elsewhere is Elsewhere.KEY or got != want)


def _is_deleted_otherwise(it: Difference) -> bool:
    """A deleted key is there, or a key is missing in a list since a key was deleted with which it begins."""
    more = set(listed(it.got)) - set(listed(it.want))
    is_there = (it.past.verb == "delete" and it.got_value is not None) or any(
        it.past_of(bytes_of(key)).verb == "delete" for key in more
    )
    return is_there or (it.verb == "list" and it.elsewhere is Elsewhere.KEY)


def _is_breach(it: Difference) -> bool:
    """The recorded answer to a read has not the documented form, or does not show what was set."""
    answer, operation = json_of(it.got.body), it.operation
    changed = list(it.values) or [bytes_of(key) for key in it.lost]
    if it.verb == "list":
        begins = persist.shown(operation.key)
        is_in_order = answer == sorted(key for key in listed(it.got) if key.startswith(begins))
        is_well = is_in_order and set(answer) != set(listed(it.want))  # the same keys are in another order
    elif it.verb == "mget":
        is_list = isinstance(answer, list) and len(answer) == len(operation.keys)
        is_well = is_list and all(one is None or _is_record(one, key) for one, key in zip(answer, operation.keys, strict=True))
    else:
        is_well = _is_record(answer, operation.key) if it.got.status == 200 else it.got.status == 404 and has_error(it.got)
    return not is_well or it.is_other_type or any(it.past_of(key).verb == "set" for key in changed)


def _is_record(record: Any, key: bytes) -> bool:
    """Whether it is the record of that key, with its three fields."""
    fields = ("key", "value", "updated")
    return (
        isinstance(record, dict)
        and all(isinstance(record.get(name), str) for name in fields)
        and record["key"] == persist.shown(key)
    )


PERSIST_RULES: tuple[Rule, ...] = (
    ("P11", lambda it: it.got.status == 500),
    ("P10", _is_other_moment),
    ("P13", _is_unreadable_for_client),
    ("P01", lambda it: it.got.status == 404 != it.want.status and not has_error(it.got)),
    ("P14", _is_undocumented_bound),
    ("P02", lambda it: it.elsewhere is Elsewhere.OWNER),
    ("P09", _is_size),
    ("P04", lambda it: it.has_status(400)),
    ("P12", _is_other_key),
    ("P15", lambda it: it.verb == "delete" and it.got.status == it.want.status),
    ("P06", lambda it: it.verb == "delete" or _is_deleted_otherwise(it)),
    ("P07", lambda it: it.verb == "list" and _is_breach(it)),
    ("P08", lambda it: it.verb == "mget" and _is_breach(it)),
    ("P05", lambda it: it.verb == "get" and _is_breach(it)),
    ("P03", lambda it: it.verb == "set" or it.got_value == it.past.replaced is not None),
)
