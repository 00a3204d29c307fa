"""Which of Persist's rows a difference is the business of.

Law: as `kvfake.contract.replay.reasons_mattermost`.
"""

from __future__ import annotations

from typing import Any

from kvfake.contract.replay.asked import bytes_of, json_of, listed, shown_values
from kvfake.contract.replay.differing import has_error, header, media_type
from kvfake.contract.replay.seen import KEY, OWNER, Rule, Seen
from kvfake.services import persist
from kvfake.services.messages import Response

_LARGE_BYTES = 4096  # of a value that is refused: its size may be why


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
    several = said if isinstance(said, list) else [said]
    return [one for one in several if isinstance(one, dict) and isinstance(one.get("key"), str)]


def _is_record(said: Any) -> bool:
    return isinstance(said, dict) and all(isinstance(said.get(name), str) for name in ("key", "value", "updated"))


def _is_no_string(seen: Seen) -> bool:
    """A value, or an error, that the official client could not take, or not for what was stored."""
    said = json_of(seen.got.body)
    if isinstance(said, dict) and not isinstance(said.get("error", ""), str):
        return True
    if any(not isinstance(record.get("value", ""), str) for record in _records(seen.got)):
        return True
    got, want = [{record["key"]: str(record.get("value")) for record in _records(response)} for response in (seen.got, seen.want)]
    return any(_mean_the_same(got.get(key, ""), want[key]) for key in want if got.get(key, "") != want[key])


def _mean_the_same(got: str, want: str) -> bool:
    """Two strings that are not the same, though they are to whoever reads JSON: null may be nothing."""
    is_same = json_of(bytes_of(got)) == json_of(bytes_of(want)) and (
        json_of(bytes_of(want)) is not None or (want == "null" and not got)
    )
    return is_same or got.strip() == want.strip()


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
    is_large = isinstance(value, str) and len(bytes_of(value)) > _LARGE_BYTES
    return is_large and seen.is_set and (seen.got.status >= 400) != (seen.want.status >= 400)


def _is_other_type(seen: Seen) -> bool:
    return media_type(header(seen.got, "content-type")) != media_type(header(seen.want, "content-type"))


def _is_no_list(seen: Seen) -> bool:
    """A list of keys that is none, or in another order, or has some that do not begin so, or not one that was set."""
    if seen.place is None or seen.verb != "list":
        return False
    got, want = listed(seen.got), listed(seen.want)
    is_whole = isinstance(json_of(seen.got.body), list) and len(json_of(seen.got.body)) == len(got)
    begins = persist.shown(seen.place.key)
    is_odd = sorted(got) == sorted(want) or not all(key.startswith(begins) for key in got)
    return not is_whole or is_odd or any(seen.past_of(bytes_of(key)).last == "set" for key in want if key not in got)


def _is_no_answer_of_mget(seen: Seen) -> bool:
    """No record, or another, of a key that was set; or not one for each key that was asked for, in their order."""
    if seen.place is None or seen.verb != "mget":
        return False
    got, keys = json_of(seen.got.body), [persist.shown(key) for key in seen.place.keys]
    if not isinstance(got, list) or len(got) != len(keys) or _is_other_type(seen):
        return True
    asked = zip(got, keys, strict=True)
    is_mixed = not all(one is None or (isinstance(one, dict) and one.get("key") == key) for one, key in asked)
    return is_mixed or any(seen.past_of(key).last == "set" for key in _differing(seen))


def _differing(seen: Seen) -> list[bytes]:
    """The keys of which something else is shown."""
    got, want = shown_values(seen.got, seen.place), shown_values(seen.want, seen.place)
    return [key for key in want if key in got and got[key] != want[key]]


def _is_no_record(seen: Seen) -> bool:
    """What is neither a record nor a 404 with an error; or another record than that of the set before, or none."""
    is_well = _is_record(json_of(seen.got.body)) if seen.got.status == 200 else seen.got.status == 404 and has_error(seen.got)
    return seen.verb == "get" and (not is_well or _is_other_type(seen) or seen.past.last == "set")


def _is_another_key(seen: Seen) -> bool:
    """Something is done at another key, or with one that is written so that it might be read otherwise."""
    key = seen.path.partition(b"/persist/kv/")[2]
    is_odd = bool(set(key) & set(b"%+/;")) or not key.isascii()
    keys = [[record["key"] for record in _records(response)] for response in (seen.got, seen.want)]
    is_other = seen.verb in ("get", "set") and len(keys[0]) == len(keys[1]) == 1 and keys[0] != keys[1]
    return is_other or seen.is_set_otherwise or (is_odd and seen.verb == "get" and (seen.elsewhere == KEY or keys[0] != keys[1]))


def _is_deleted_otherwise(seen: Seen) -> bool:
    """It is there after it was deleted, or not there after another key was, with which it begins."""
    if seen.verb == "list":
        more = set(listed(seen.got)) - set(listed(seen.want))
        return seen.elsewhere == KEY or any(seen.past_of(bytes_of(key)).last == "delete" for key in more)
    is_there = seen.got_value is not None
    return (seen.past.last == "delete" and is_there) or (seen.elsewhere == KEY and seen.verb == "get" and not is_there)


OF_PERSIST: tuple[Rule, ...] = (
    ("P11", lambda seen: seen.got.status == 500),
    ("P10", _is_moment),
    ("P13", _is_no_string),
    ("P01", _has_no_path),
    ("P14", _is_bound),
    ("P02", lambda seen: seen.elsewhere == OWNER),
    ("P09", _is_size),
    ("P04", lambda seen: seen.either(400)),
    ("P12", _is_another_key),
    ("P15", lambda seen: seen.verb == "delete" and seen.statuses == (200, 200)),
    ("P06", lambda seen: seen.verb == "delete" or _is_deleted_otherwise(seen)),
    ("P07", _is_no_list),
    ("P08", _is_no_answer_of_mget),
    ("P05", _is_no_record),
    ("P03", lambda seen: seen.verb == "set" or seen.is_replaced),
)
