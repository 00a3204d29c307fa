"""The checks of Persist above HTTP: P01 to P15.

Law: requests and expected responses. Sets and deletes name a key, never the list. A list may hold keys of other clients: a check
looks only at its own keys, and at the order.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

from kvfake.contract.checks.client import OTHER_PROJECT, PROJECT, UNKNOWN, CheckResponse, Mismatch
from kvfake.contract.checks.expectations import Expectation, Run, Step, expect, expectation, status, success, table
from kvfake.machine import machine_seconds

KEY = "/kv/{key}"
BARE_ROOT = "{base}/persist"
RECORD_FIELDS = ["key", "updated", "value"]
MAX_BODY_BYTES = 2 * 1024 * 1024  # P14
MAX_MGET_KEYS = 10_000  # P14
MAX_TICK_SECONDS = 1.0  # after this time a server's clock shows another moment
LEAST_OFFSET = timedelta(minutes=14)  # every time zone but UTC is at least 15 minutes away from it
REPLACED = "\ufffd"  # what a list shows for a byte that is not UTF-8

NODE_CLIENT_VALUES = (
    *('{"khaled":"water","life":100}', '{ "b": 1, "a": [] }', '"a string"', "null", "false", "0", "", "undefined", "not json"),
    *(" \t blanks\r\nand lines\n ", "e\u0301 \ufb01 \U0001f600 <&> \\ ' \""),
)
NOT_STRINGS = (5, 1.5, None, True, ["x"], {"a": 1})
NOT_JSON = (
    *(b"", b"nope", b"{", b'{"value":"x"', b'{"value":"x"} y', b'\xef\xbb\xbf{"value":"x"}', b'{"value":"x","n":NaN}'),
    *(b'{"value":"\xff"}', b'{"value":"a\\ud800b"}', b'{"value":"' + 200_000 * b'\\"['),
)
NOT_OBJECTS = (b"[]", b'"text"', b"5", b"null", b"true")

_LONG = 300 * "l"
UNORDERED_ENDS = (
    *("b", "B", "a%25", "a_", "a*", "a%20b", "ab", "a.", "a%3F", "a%5B", "a%5C", "a%2520b"),
    *("%C3%A9", _LONG + "2", _LONG + "1"),
)
ENDS_WITH_A = ("a b", "a%", "a%20b", "a*", "a.", "a?", "a[", "a\\", "a_", "ab")  # ordered by their bytes
# fmt: off
LISTS = {  # the end of `begins`: the ends of the keys in the list
    "": ("B", *ENDS_WITH_A, "b", _LONG + "1", _LONG + "2", "é"), "a": ENDS_WITH_A, "b": ("b",), "B": ("B",), "z": (), "%C3": ("é",),
    "a%25": ("a%", "a%20b"), "a%2520": ("a%20b",), "a*": ("a*",), "a.": ("a.",), "a%3F": ("a?",), "a%5B": ("a[",), "a%5C": ("a\\",),
    "a_": ("a_",), "a+b": ("a b",), _LONG + "1": (_LONG + "1",),
}
KEY_ENDS = {  # the end of a target: the end of the key
    ":U1": ":U1", "::42": "::42", "%20key": " key", "%20end%20": " end ", "/b/c": "/b/c", "/b": "/b", "%2Fb": "/b", "/": "/",
    "%252Fb": "%2Fb", "+b": "+b", ";a=1": ";a=1", "%3Fa%23b": "?a#b", ".json": ".json",
    "%C3%A9": "é", "e%CC%81": "e\u0301", "%F0%9F%98%80": "\U0001f600",
}
# fmt: on
BYTE_ENDS = ("%FF", "%FE", "%EF%BF%BD", "%F0%9F%98%80", "z", "%00")

_T = TypeVar("_T")


def persist(
    method: str, rest: str, expected: Expectation, payload: Any = None, who: str | None = PROJECT, root: str = "{persist}"
) -> Step:
    """A request to Persist; ``rest`` is the target below it. A payload of bytes is sent as it is, another one as JSON."""
    body = payload if isinstance(payload, bytes) else "" if payload is None else json.dumps(payload)
    return Step(method, root + rest, expected, {"body": body, "who": who, "headers": {"Content-Type": "application/json"}})


def store(key: str, value: str, who: str = PROJECT) -> Step:
    """Set a value; the check of P03 tests the whole response. ``key`` stands in the target as it is."""
    return persist("PUT", f"/kv/{key}", success, {"value": value}, who)


def has_value(key: str, value: str, **options: Any) -> Step:
    """A get that must find that value."""
    return persist("GET", f"/kv/{key}", is_value(value), **options)


def json_of(response: CheckResponse, kind: type[_T], code: int = 200) -> _T:
    """The JSON of a response with that status: a dict or a list."""
    if response.status != code:
        raise Mismatch(f"expected status {code}, got {response.status} with ", response.body)
    found = response.json()
    if not isinstance(found, kind):
        raise Mismatch(f"expected a JSON {'object' if kind is dict else 'array'}, got ", response.body)
    return found


@expectation
def is_value(response: CheckResponse, run: Run, value: str) -> None:
    """A record with that value."""
    if json_of(response, dict).get("value") != run.fill(value):
        raise Mismatch("expected the value ", run.fill(value).encode(), ", got ", response.body)


@expectation
def is_key(response: CheckResponse, run: Run, key: str) -> None:
    """A record with that key."""
    expect(json_of(response, dict).get("key") == run.fill(key), f"the key {run.fill(key)!r}", response.body)


@expectation
def array(response: CheckResponse, run: Run, *wanted: object, words: str = "the list {}") -> None:
    """That array of JSON, with status 200; ``words`` describe it. In ``wanted`` a record is a tuple of its key and its value."""
    expected = run.fill(list(wanted))
    got = [(item.get("key"), item.get("value")) if isinstance(item, dict) else item for item in json_of(response, list)]
    expect(got == expected, words.format(expected), response.body if any(isinstance(item, tuple) for item in got) else got)


@expectation
def record(response: CheckResponse, run: Run, key: str, value: str, says_json: bool = False) -> None:
    """A record of that key and value, with its three fields and status 200; ``says_json``: the content type is JSON's, too."""
    found = json_of(response, dict)
    expect(sorted(found) == RECORD_FIELDS, "key, value and updated", response.body)
    wanted = run.fill((key, value))
    expect((found["key"], found["value"]) == wanted, f"the key {wanted[0]!r} with the value {wanted[1]!r}", response.body)
    expect(isinstance(found["updated"], str), "a string in updated", response.body)
    if says_json:
        is_json(response)


@expectation
def error(response: CheckResponse, run: Run, code: int, says_json: bool = False) -> None:
    """An error: that status, and JSON with a text in ``error`` (P04); ``says_json``: the content type is JSON's, too."""
    text = json_of(response, dict, code).get("error")
    expect(isinstance(text, str), "a JSON object with a string in error", response.body)
    if says_json:
        is_json(response)


def is_json(response: CheckResponse) -> None:
    """The content type is JSON's; it may name a charset, too."""
    kind = response.headers.get("content-type", "none")
    expect(kind.partition(";")[0].strip().lower() == "application/json", "Content-Type: application/json", kind)


@expectation
def allows(response: CheckResponse, run: Run, *methods: str) -> None:
    """405, with these methods in ``Allow``."""
    error(405)(response, run)
    allowed = response.headers.get("allow", "")
    expect(set(methods) <= {name.strip() for name in allowed.split(",")}, f"Allow: {', '.join(sorted(methods))}", repr(allowed))


BAD_REQUEST = error(400, says_json=True)


def not_there(response: CheckResponse, run: Run) -> None:
    expect(response.status != 200, "no value there", response.body)


def mget(keys: list[str], expected: Expectation, **options: Any) -> Step:
    return persist("POST", "/mget", expected, {"keys": keys}, **options)


def key_list(*ends: str, begins: str = "", words: str = "the keys {}", **options: Any) -> Step:
    """The keys that begin with the key of this run and with ``begins`` have these ends."""
    return persist("GET", f"/kv?begins={{key}}{begins}", array(*("{key}" + end for end in ends), words=words), **options)


def is_the_key(target: str, key: str) -> tuple[Step, Step]:
    """A value that is set at that end of a target is found there, with that key."""
    return store(target, target), persist("GET", f"/kv/{target}", record(key, target))


def padded_body(size: int) -> bytes:
    """A body of so many bytes."""
    start, end = b'{"value":"v"', b"}"
    return start + (size - len(start) - len(end)) * b" " + end


def same_record(response: CheckResponse, run: Run) -> None:
    """The same record as in the previous response, or as the first of its list."""
    before = run.previous.json()
    wanted = before[0] if isinstance(before, list) else before
    expect(json_of(response, dict) == wanted, f"the same record as before, {wanted}", response.body)


def not_elsewhere(response: CheckResponse, run: Run) -> None:
    got = [key for key in json_of(response, list) if run.key in str(key)]
    expect(got == [], "no key that holds it elsewhere than at its beginning", got)


@expectation
def whole_list(response: CheckResponse, run: Run, *ends: str) -> None:
    """Keys with these ends, among those of others, in ascending order."""
    keys, got = {run.key + end for end in ends}, json_of(response, list)
    expect(keys <= {key for key in got if isinstance(key, str)}, f"a list with {sorted(keys)}", f"{len(got)} others")
    whole = [str(key).encode("utf-8", "surrogatepass") for key in got if REPLACED not in str(key)]
    expect(whole == sorted(whole), "the keys in ascending order", "another")


def updated_advances(run: Run) -> None:
    first, second = set_at(run), set_at(run)
    expect(first <= second, f"a moment not before {first}", second)
    end = machine_seconds() + MAX_TICK_SECONDS
    while second == first and machine_seconds() < end:
        second = set_at(run)
    expect(second > first, f"a moment after {first}", second)
    now = datetime.now(timezone.utc)
    is_now = abs(datetime.fromisoformat(f"{second[:-1]}+00:00") - now) < LEAST_OFFSET
    expect(is_now, f"this moment in UTC, about {now:%Y-%m-%dT%H:%M:%SZ} by the clock here", second)
    read = updated(persist("GET", KEY, success)(run))
    expect(read == second, f"the moment of the set, {second}", read)


def set_at(run: Run) -> str:
    """Set a value. Returns its ``updated``."""
    return updated(store("{key}", "v")(run))


def updated(response: CheckResponse) -> str:
    """The moment in a record. Raises `Mismatch` where it has not the documented form (P10)."""
    text = str(json_of(response, dict).get("updated"))
    is_moment = re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text)
    try:
        datetime.fromisoformat(text[:-1])
    except ValueError:
        is_moment = None
    expect(is_moment is not None, "updated in UTC with six decimals and Z", text)
    return text


# fmt: off
CHECKS = [
    table("P01-both_base_urls_answer",
          store("{key}b", "kept"),  # under the usual base, so that cleaning removes it
          persist("PUT", "/kv/{key}b", status(200), {"value": "v"}, root=BARE_ROOT),
          persist("DELETE", "/kv/{key}b", status(200), root=BARE_ROOT),
          store("{key}", "v"),
          *(step for root in ("{persist}", BARE_ROOT) for step in (
              has_value("{key}", "v", root=root), key_list("", root=root), mget([], array(words="an empty list"), root=root)))),
    table("P02-the_token_decides_the_project",
          store("{key}", "first"),
          key_list(words="no key of another project", who=OTHER_PROJECT),
          mget(["{key}"], array(None, words="no record of another project"), who=OTHER_PROJECT),
          store("{key}", "second", OTHER_PROJECT), has_value("{key}", "first"), has_value("{key}", "second", who=OTHER_PROJECT),
          persist("DELETE", KEY, status(200)), has_value("{key}", "second", who=OTHER_PROJECT)),
    table("P03-a_set_answers_what_a_get_does_and_replaces",
          *(step for value in ("one", "two", "[" * 1000) for step in (
              persist("PUT", KEY, record("{key}", value, says_json=True), {"value": value}),
              persist("GET", KEY, same_record), persist("GET", KEY, record("{key}", value, says_json=True))))),
    table("P04-a_malformed_set_is_a_400_with_an_error",
          store("{key}", "kept"),
          *(persist("PUT", KEY, BAD_REQUEST, body) for body in (*NOT_JSON, *NOT_OBJECTS, b"{}")),
          *(persist("PUT", KEY, BAD_REQUEST, {"value": value}) for value in NOT_STRINGS),
          has_value("{key}", "kept"), key_list("")),
    table("P04-a_malformed_mget_is_a_400_with_an_error",
          *(persist("POST", "/mget", BAD_REQUEST, body) for body in (b"", b"nope", *NOT_OBJECTS, b"{}", b'{"keys":["\\udfff"]}')),
          *(persist("POST", "/mget", BAD_REQUEST, {"keys": keys}) for keys in ("{key}", 5, None, {"a": 1})),
          *(persist("POST", "/mget", BAD_REQUEST, {"keys": ["{key}", key]}) for key in NOT_STRINGS)),
    table("P04-an_empty_key_is_malformed", persist("GET", "/kv/", BAD_REQUEST)),
    table("P05-a_get_answers_three_fields_or_404",
          store("{key}", ""), persist("GET", KEY, record("{key}", "")), persist("GET", "/kv/{key}b", error(404)),
          persist("DELETE", KEY, lambda response, run: None), persist("GET", KEY, error(404))),
    table("P06-a_delete_is_a_200_there_or_not",
          store("{key}", "v"), store("{key}b", "kept"),
          *2 * (persist("DELETE", KEY, status(200)), persist("GET", KEY, not_there), key_list("b")),
          has_value("{key}b", "kept")),
    table("P07-the_list_is_ascending_and_literal",
          *(store("{key}" + end, "v") for end in UNORDERED_ENDS),
          *(key_list(*ends, begins=begins) for begins, ends in LISTS.items()),
          persist("GET", "/kv?begins={key_tail}", not_elsewhere)),
    table("P07-the_whole_list_is_ascending",
          *(store("{key}" + end, "v") for end in ("b", "a", "c", "B")),
          *(persist("GET", f"/kv{query}", whole_list("b", "a", "c", "B")) for query in ("", "?begins=", "?other=x"))),
    table("P07-keys_are_listed_in_the_order_of_their_bytes",
          *(store("{key}" + end, end) for end in BYTE_ENDS),
          key_list("\0", "z", REPLACED, "\U0001f600", REPLACED, REPLACED),
          *(has_value("{key}" + end, end) for end in BYTE_ENDS),
          *(persist("GET", KEY + end, is_key("{key}" + REPLACED)) for end in ("%FF", "%FE", "%EF%BF%BD"))),
    table("P08-mget_answers_in_the_order_of_the_keys",
          store("{key}%2541%C3%A9", "1"), store("{key}b", ""),
          mget(["{key}b", "{key}c", "{key}%41é", "{key}b", ""],
               array(("{key}b", ""), None, ("{key}%41é", "1"), ("{key}b", ""), None,
                     words="a record for each key in their order, null where there is none")),
          persist("GET", "/kv/{key}b", same_record)),
    table("P09-a_value_holds_262144_bytes_of_utf_8",
          *(step for value in (262_144 * "x", 131_072 * "é", 262_144 * "\0")
            for step in (store("{key}", value), has_value("{key}", value))),
          *(persist("PUT", KEY, status(400), {"value": value}) for value in (262_145 * "x", 131_072 * "é" + "x")),
          has_value("{key}", 262_144 * "\0")),
    table("P10-updated_has_six_decimals_and_a_z", updated_advances),
    table("P12-everything_after_kv_is_the_key",
          *(step for target, key in KEY_ENDS.items() for step in is_the_key("{key}" + target, "{key}" + key)),
          has_value("{key}/b", "{key}%2Fb"), has_value("{key}%2Bb", "{key}+b"),
          key_list(*sorted(set(KEY_ENDS.values()), key=str.encode))),
    table("P12-a_key_is_never_cleaned",
          *(step for key in ("/{key}", "../{key}", "./{key}", "{key}/..", "{key}//b/../c") for step in is_the_key(key, key)),
          is_malformed=True),
    table("P13-what_the_node_client_stores_comes_back_as_it_was",
          *(step for value in NODE_CLIENT_VALUES for step in (
              store("{key}", value), has_value("{key}", value), mget(["{key}"], array(("{key}", value), words="the record {}")))),
          persist("GET", "/kv/{key}b", status(404)), persist("PUT", KEY, error(400), {"value": 5})),
    table("P14-no_token_or_an_unknown_one_is_a_401",
          *(persist(method, rest, error(401), who=who)
            for method, rest in (("GET", "/kv"), ("GET", KEY), ("PUT", KEY), ("DELETE", KEY), ("POST", "/mget"))
            for who in (None, UNKNOWN))),
    table("P14-it_refuses_in_this_order",
          persist("PATCH", "/{key}", status(404), b"x", None),
          persist("PATCH", KEY, status(405), b"x", None),
          persist("PUT", KEY, status(401), b"x", None), persist("PUT", KEY, status(401), b"x", UNKNOWN),
          persist("PUT", KEY, status(400), b"x")),
    table("P14-unknown_paths_and_methods_say_what_there_is",
          *(persist("GET", rest, error(404)) for rest in ("", "/", "/kvs", "/mget/", "/mget/{key}", "/kv2/{key}")),
          persist("PROPFIND", "/kv", allows("GET")), persist("POST", KEY, allows("GET", "PUT", "DELETE")),
          persist("GET", "/mget", allows("POST"))),
    table("P14-a_method_is_known_in_its_own_case_alone",
          *(persist(method, rest, status(405), {"value": "v"})
            for method, rest in (("get", "/kv"), ("Get", KEY), ("put", KEY), ("Post", "/mget"))),
          is_malformed=True),
    table("P14-a_body_may_have_2_mib",
          persist("PUT", KEY, success, padded_body(MAX_BODY_BYTES)),
          persist("PUT", KEY, error(400), padded_body(MAX_BODY_BYTES + 1)),
          persist("PUT", KEY, error(400), 3 * 1024 * 1024 * b"x"),
          has_value("{key}", "v")),
    table("P14-an_mget_may_name_10000_keys",
          store("{key}", "v"),
          mget(["{key}"] * MAX_MGET_KEYS, array(*[("{key}", "v")] * MAX_MGET_KEYS, words=f"{MAX_MGET_KEYS} records")),
          mget(["{key}"] * (MAX_MGET_KEYS + 1), error(400))),
    table("P15-a_delete_answers_with_no_body", store("{key}", "v"), *2 * (persist("DELETE", KEY, status(200, b"")),)),
]
# fmt: on
