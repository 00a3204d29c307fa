"""Which rows explain a difference: a table of rules, the nearest first.

Law: a difference in, rows out. A rule says of one row when a difference is its business; more than one may be near. What was not
the service's own answer is explained by none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kvfake.contract.asked import json_of
from kvfake.contract.differing import has_error, header, media_type
from kvfake.contract.seen import OWNER, PREFIX, Seen, changed
from kvfake.services import mattermost, persist
from kvfake.services.message import Response

MAX_ROWS = 3
_LARGE_BYTES = 4096  # of a value of Persist's that is refused: the size may be why

Rule = tuple[str, Callable[[Seen], Any]]


def rows_of(seen: Seen) -> list[str]:
    """The rows that explain it, at most `MAX_ROWS`; none where it is not explained."""
    if seen.is_no_answer:
        return []
    rules = _OF_PERSIST if seen.service is persist else _OF_MATTERMOST
    return [row for row, is_near in rules if is_near(seen)][:MAX_ROWS]


# ------------------------------------------------------------------------------------------------------------- Mattermost


def _is_error_in_form(seen: Seen) -> bool:
    """Both refuse with one status and a text, and only one in plain text."""
    got, want = seen.got, seen.want
    is_other = media_type(header(got, "content-type")) != media_type(header(want, "content-type")) or got.body[:1] in (b"{", b"<")
    return got.status == want.status >= 400 and bool(want.body) and is_other


def _may_be_sniffed(seen: Seen) -> bool:
    """The header that goes with a plain text is another."""
    name = "x-content-type-options"
    return seen.got.status == seen.want.status >= 400 and header(seen.got, name) != header(seen.want, name)


def _is_order(seen: Seen) -> bool:
    """More than one refusal is due, and it is not the first that was recorded."""
    first, *others = seen.due or [seen.want]
    return any(seen.got.status == other.status and seen.got.body[:8] == other.body[:8] for other in others) and (
        seen.got.body != first.body
    )


def _is_type(seen: Seen) -> bool:
    """It went otherwise with a set, and its content type is one that a service might look at."""
    was_set = seen.past.type if _is_read_otherwise(seen) else None
    if not seen.is_set and was_set is None:
        return False
    is_one_refused = (seen.got.status >= 400) != (seen.want.status >= 400)
    return seen.got.status == 415 or (
        not _is_json_type(was_set or seen.request.headers.get(b"content-type")) and (is_one_refused or was_set is not None)
    )


def _is_json_type(value: bytes | None) -> bool:
    """No content type is as good as JSON's."""
    return value is None or media_type(value.decode("latin-1")) == "application/json"


def _has(seen: Seen, response: Response) -> bool:
    """Whether one of the answers is that one."""
    return response.body in (seen.got.body, seen.want.body) and bool(response.body)


def _is_read_otherwise(seen: Seen) -> bool:
    return seen.statuses == (200, 200) and seen.method == "GET" and seen.got.body != seen.want.body


def _is_missing(response: Response) -> bool:
    return response.body in (b"{}", b"null\n") or response.status == 404


def _is_odd(prefix: bytes) -> bool:
    """Whether it is measured or padded otherwise where bytes and blanks do not count."""
    return b" " in prefix or not prefix.isascii()


def _is_not_there(seen: Seen) -> bool:
    """A key that the double does not hold, and of which no other value was recorded."""
    return seen.verb == "get" and _is_missing(seen.want) and seen.got.status in (200, 404) and seen.got_value is None


def _is_written_otherwise(seen: Seen) -> bool:
    """The same value, in other bytes."""
    return _is_read_otherwise(seen) and (
        seen.got.body.strip() == seen.want.body.strip() or json_of(seen.got.body) == json_of(seen.want.body) is not None
    )


def _has_no_store(seen: Seen) -> bool:
    """Another plugin's path is the store's, or nobody has the store's own."""
    if not seen.is_below_kv:
        return True
    return seen.got.body == mattermost.NOT_FOUND.body and seen.want.status != 404 and not _is_missing(seen.want)


_OF_MATTERMOST: tuple[Rule, ...] = (
    ("M19", _is_error_in_form),
    ("M16", lambda seen: seen.prefix == b"my-app"),
    ("M01", _has_no_store),
    ("M21", lambda seen: seen.either(301, 302, 307, 308)),
    ("M22", lambda seen: seen.want.status == 405),
    ("M18", _is_type),
    ("M03", lambda seen: seen.is_set and seen.want.status == 200 and seen.got.status in (405, 501)),
    ("M23", _is_order),
    ("M14", lambda seen: seen.is_set and len(seen.request.body) >= mattermost.MAX_VALUE_BYTES),
    ("M25", lambda seen: _is_odd(seen.prefix) or _is_odd(seen.prefix_as_set)),
    ("M15", lambda seen: len(seen.prefix) > mattermost.MAX_PREFIX_BYTES),
    ("M27", lambda seen: seen.want.status == 401 and (seen.sources > 1 or b"mattermost-user-id" in seen.request.headers)),
    ("M26", lambda seen: seen.cookie is not None and seen.method != "GET" and seen.either(401)),
    ("M10", lambda seen: seen.sources and not seen.is_plain_bearer and (seen.either(401) or seen.elsewhere == OWNER)),
    ("M12", lambda seen: _has(seen, mattermost.NO_APP)),
    ("M11", lambda seen: seen.either(401, 403)),
    ("M24", lambda seen: seen.is_set and seen.either(400) and seen.is_json_disputed),
    ("M13", lambda seen: seen.is_set and _has(seen, mattermost.NOT_JSON)),
    ("M13", lambda seen: seen.past.refused == 400 and _is_read_otherwise(seen)),
    ("M17", lambda seen: seen.is_set and {changed(seen.got), changed(seen.want)} == {True, False}),
    ("M04", lambda seen: seen.is_set and seen.want.status == 200 and seen.got.status < 300),
    ("M07", _is_not_there),
    ("M05", lambda seen: seen.verb == "delete" or (seen.past.last == "delete" and seen.got_value is not None)),
    ("M09", lambda seen: seen.elsewhere == OWNER),
    ("M06", lambda seen: seen.elsewhere == PREFIX or (seen.prefix and seen.got.status == 404)),
    ("M03", lambda seen: seen.is_replaced or (seen.is_set and seen.want.status == 200 and seen.got.status == 404)),
    ("M20", lambda seen: seen.want.status == 404 or b"%" in seen.path or seen.is_set_otherwise),
    (
        "M08",
        lambda seen: (
            seen.statuses == (200, 200)
            and seen.verb == "get"
            and header(seen.got, "content-type") != header(seen.want, "content-type")
        ),
    ),
    ("M02", _is_written_otherwise),
    ("M19", _may_be_sniffed),
)


# ---------------------------------------------------------------------------------------------------------------- Persist


def _is_moment(seen: Seen) -> bool:
    """The records are the same but for their moments."""
    got, want = _records(seen.got), _records(seen.want)
    return (
        seen.got.status == seen.want.status
        and len(got) == len(want)
        and got != want
        and all(
            {**one, "updated": ""} == {**other, "updated": ""} and isinstance(one.get("updated"), str)
            for one, other in zip(got, want, strict=True)
        )
    )


def _records(response: Response) -> list[dict[str, Any]]:
    said = json_of(response.body)
    return [one for one in (said if isinstance(said, list) else [said]) if isinstance(one, dict) and "key" in one]


def _is_record(said: Any) -> bool:
    return isinstance(said, dict) and all(isinstance(said.get(name), str) for name in ("key", "value", "updated"))


def _is_no_string(seen: Seen) -> bool:
    """A value, or an error, that the official client could not take."""
    said = json_of(seen.got.body)
    has_odd_error = isinstance(said, dict) and not isinstance(said.get("error", ""), str)
    return has_odd_error or any(not isinstance(record.get("value", ""), str) for record in _records(seen.got))


def _has_no_path(seen: Seen) -> bool:
    """Nothing answers there, as it does on a path that nobody has: with no error of a key."""
    is_short = not seen.path.startswith(persist.API.encode())
    return seen.got.status == 404 != seen.want.status and (is_short or not has_error(seen.got))


def _is_bound(seen: Seen) -> bool:
    """What nobody documented: who may ask, which paths and methods there are, how much is too much."""
    keys = seen.payload.get("keys") if isinstance(seen.payload, dict) else None
    return (
        seen.either(401, 403, 405)
        or (seen.want.status == 404 and seen.place is None)
        or seen.has_bad_escape
        or len(seen.request.body) >= persist.MAX_BODY_BYTES
        or (isinstance(keys, list) and len(keys) >= persist.MAX_MGET_KEYS)
    )


def _is_size(seen: Seen) -> bool:
    value = seen.payload.get("value") if isinstance(seen.payload, dict) else None
    is_large = isinstance(value, str) and len(value.encode("utf-8", "replace")) > _LARGE_BYTES
    return is_large and seen.is_set and (seen.got.status >= 400) != (seen.want.status >= 400)


def _is_other_type(seen: Seen) -> bool:
    return media_type(header(seen.got, "content-type")) != media_type(header(seen.want, "content-type"))


def _is_no_list(seen: Seen) -> bool:
    """A list of keys that is none, or in another order, or has some that do not begin so."""
    got, want = json_of(seen.got.body), json_of(seen.want.body)
    begins = persist.shown(seen.place.key) if seen.place is not None else ""
    if seen.verb != "list" or not isinstance(got, list) or not all(isinstance(key, str) for key in got):
        return seen.verb == "list"
    return _is_other_type(seen) or sorted(got) == sorted(want) or not all(key.startswith(begins) for key in got)


def _is_no_answer_of_mget(seen: Seen) -> bool:
    """Records in another order than the keys that were asked for, or more, or fewer."""
    got, keys = json_of(seen.got.body), [persist.shown(key) for key in seen.place.keys] if seen.place is not None else []
    if seen.verb != "mget" or not isinstance(got, list) or len(got) != len(keys):
        return seen.verb == "mget"
    asked = zip(got, keys, strict=True)
    return _is_other_type(seen) or not all(one is None or (isinstance(one, dict) and one.get("key") == key) for one, key in asked)


def _is_no_record(seen: Seen) -> bool:
    """What is neither a record nor a 404 with an error; or an empty value that is not there."""
    is_well = _is_record(json_of(seen.got.body)) if seen.got.status == 200 else seen.got.status == 404 and has_error(seen.got)
    is_empty = [record["value"] for record in _records(seen.want)] == [""]
    return seen.verb == "get" and (not is_well or is_empty or _is_other_type(seen))


def _is_odd_key(seen: Seen) -> bool:
    key = seen.path.partition(b"/persist/kv/")[2]
    return bool(set(key) & set(b"%+/")) or not key.isascii() or seen.is_set_otherwise


_OF_PERSIST: tuple[Rule, ...] = (
    ("P11", lambda seen: seen.got.status == 500),
    ("P10", _is_moment),
    ("P13", _is_no_string),
    ("P01", _has_no_path),
    ("P14", _is_bound),
    ("P02", lambda seen: seen.elsewhere == OWNER),
    ("P09", _is_size),
    ("P04", lambda seen: seen.either(400)),
    ("P12", _is_odd_key),
    ("P15", lambda seen: seen.verb == "delete" and seen.statuses == (200, 200)),
    ("P06", lambda seen: seen.verb == "delete" or (seen.past.last == "delete" and seen.got_value is not None)),
    ("P07", _is_no_list),
    ("P08", _is_no_answer_of_mget),
    ("P05", _is_no_record),
    ("P03", lambda seen: seen.verb == "set" or seen.is_replaced),
)
