"""Which of Mattermost's rows a difference is the business of.

Law: a rule says so of one row, and knows of a difference what `seen` tells. More than one may be near: the nearest
stand first.
"""

from __future__ import annotations

from kvfake.contract.replay.asked import json_of
from kvfake.contract.replay.differing import header, media_type
from kvfake.contract.replay.seen import KEY, OWNER, PREFIX, Rule, Seen, changed
from kvfake.services import mattermost
from kvfake.services.messages import Response


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
    """A set is taken by one alone, and its content type is one that a service might look at."""
    is_one_refused = (seen.got.status >= 400) != (seen.want.status >= 400)
    is_other = not _is_json_type(seen.request.headers.get(b"content-type"))
    return seen.is_set and (seen.got.status == 415 or (is_other and is_one_refused))


def _is_kept_as_text(seen: Seen) -> bool:
    """A value that was set with another content type is a string of what was sent."""
    is_text = not _is_json_type(seen.past.type) and _is_read_otherwise(seen)
    return is_text and json_of(seen.got.body) == seen.want.body.decode("utf-8", "replace")


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


def _is_changed_otherwise(seen: Seen) -> bool:
    """Both were taken, and say otherwise of it."""
    return seen.is_set and {changed(seen.got), changed(seen.want)} == {True, False}


def _is_not_there(seen: Seen) -> bool:
    """A key that the double does not hold, and of which no other value was recorded."""
    return seen.verb == "get" and _is_missing(seen.want) and seen.got.status in (200, 404) and seen.got_value is None


def _is_not_what_was_set(seen: Seen) -> bool:
    """Other bytes than those of the set that came before, or the same value in others."""
    is_same_value = json_of(seen.got.body) == json_of(seen.want.body) is not None or seen.got.body.strip() == seen.want.body.strip()
    return _is_read_otherwise(seen) and (seen.past.last == "set" or is_same_value)


def _is_deleted_otherwise(seen: Seen) -> bool:
    """It is there after it was deleted, or not there after another key was, with which it begins."""
    is_there = seen.got_value is not None
    return (seen.past.last == "delete" and is_there) or (seen.elsewhere == KEY and seen.verb == "get" and not is_there)


def _is_another_key(seen: Seen) -> bool:
    """What was got lies at another key, and this one is written with escapes."""
    return b"%" in seen.path and (seen.elsewhere == KEY or seen.got_value is None)


def _is_other_type(seen: Seen) -> bool:
    is_other = header(seen.got, "content-type") != header(seen.want, "content-type")
    return is_other and seen.statuses == (200, 200) and seen.verb == "get"


def _has_no_store(seen: Seen) -> bool:
    """Another plugin's path is the store's, or nobody has the store's own."""
    if not seen.is_below_kv:
        return True
    return seen.got.body == mattermost.NOT_FOUND.body and seen.want.status != 404 and not _is_missing(seen.want)


OF_MATTERMOST: tuple[Rule, ...] = (
    ("M19", _is_error_in_form),
    ("M16", lambda seen: seen.prefix == b"my-app"),
    ("M01", _has_no_store),
    ("M21", lambda seen: seen.either(301, 302, 307, 308)),
    ("M22", lambda seen: seen.want.status == 405),
    ("M18", _is_type),
    ("M18", _is_kept_as_text),
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
    ("M17", _is_changed_otherwise),
    ("M04", lambda seen: seen.is_set and seen.want.status == 200 and seen.got.status < 300 and not _is_changed_otherwise(seen)),
    ("M07", _is_not_there),
    ("M05", lambda seen: seen.verb == "delete" or _is_deleted_otherwise(seen)),
    ("M09", lambda seen: seen.elsewhere == OWNER),
    ("M06", lambda seen: seen.elsewhere == PREFIX or (seen.prefix and seen.got.status == 404)),
    ("M03", lambda seen: seen.is_replaced or (seen.is_set and seen.want.status == 200 and seen.got.status == 404)),
    ("M20", lambda seen: seen.want.status == 404 or seen.is_set_otherwise or _is_another_key(seen)),
    ("M08", _is_other_type),
    ("M03", lambda seen: seen.past.method == "POST" and _is_read_otherwise(seen)),
    ("M02", _is_not_what_was_set),
    ("M19", _may_be_sniffed),
)
