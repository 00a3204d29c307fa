"""Persist's values as they are set, read, listed and taken away: P01 to P03, P05, P06, P08, P10, P13, P15.

Law: a check knows its row, and what a caller hears.
"""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, timezone

from kvfake.contract.call import Answer, expect
from kvfake.contract.caller import OTHER_PROJECT, PROJECT, Caller
from kvfake.contract.checks import row
from kvfake.contract.rows.expected import error, fields, is_json, items, store, stored

_MAX_TICK_SECONDS = 1.0  # of a server's clock
_LEAST_OFFSET = timedelta(minutes=14)  # no time zone is nearer to UTC than 15
_FIELDS = ["key", "updated", "value"]
_OF_THE_NODE_CLIENT = (
    '{"khaled":"water","life":100}',
    '{ "b": 1, "a": [] }',
    '"a string"',
    "null",
    "false",
    "0",
    "",
    "undefined",
    "not json",
    " \t blanks\r\nand lines\n ",
    "e\u0301 \ufb01 \U0001f600 <&> \\ ' \"",
)
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@row("P01")
def both_base_urls_answer(caller: Caller) -> None:
    key = caller.key()
    caller.will_persist(f"/kv/{key}b")  # it is removed by either base
    caller.persist("PUT", f"/kv/{key}b", {"value": "v"}, api="").expect(200)
    caller.persist("DELETE", f"/kv/{key}b", api="").expect(200)
    store(caller, key, "v")
    for api in ("/api/v1", ""):
        found = fields(caller.persist("GET", f"/kv/{key}", api=api))
        expect(found.get("value") == "v", "the value 'v'", found)
        listed = items(caller.persist("GET", f"/kv?begins={key}", api=api))
        expect(listed == [key], f"the list {[key]}", listed)
        none = items(caller.persist("POST", "/mget", {"keys": []}, api=api))
        expect(none == [], "an empty list", none)


@row("P02")
def the_token_decides_the_project(caller: Caller) -> None:
    key = caller.key()
    store(caller, key, "first", PROJECT)
    listed = items(caller.persist("GET", f"/kv?begins={key}", who=OTHER_PROJECT))
    expect(listed == [], "no key of another project", listed)
    found = items(caller.persist("POST", "/mget", {"keys": [key]}, OTHER_PROJECT))
    expect(found == [None], "no record of another project", found)
    store(caller, key, "second", OTHER_PROJECT)
    stored(caller, key, "first", PROJECT)
    stored(caller, key, "second", OTHER_PROJECT)
    caller.persist("DELETE", f"/kv/{key}").expect(200)
    stored(caller, key, "second", OTHER_PROJECT)


@row("P03")
def a_set_answers_what_a_get_does_and_replaces(caller: Caller) -> None:
    key = caller.key()
    for value in ("one", "two", "[" * 1000):
        answer = caller.persist("PUT", f"/kv/{key}", {"value": value})
        found = fields(answer)
        is_json(answer)
        expect(sorted(found) == _FIELDS, "key, value and updated", answer.body)
        expect((found["key"], found["value"]) == (key, value), "the key and the value that were set", answer.body)
        read = caller.persist("GET", f"/kv/{key}")
        expect(fields(read) == found, f"what the set answered, {found}", read.body)
        is_json(read)


@row("P05")
def a_get_answers_three_fields_or_404(caller: Caller) -> None:
    key = caller.key()
    store(caller, key, "")
    answer = caller.persist("GET", f"/kv/{key}")
    found = fields(answer)
    expect(sorted(found) == _FIELDS, "key, value and updated", answer.body)
    expect((found["key"], found["value"]) == (key, ""), "the key, and an empty value", answer.body)
    expect(isinstance(found["updated"], str), "a string in updated", answer.body)
    error(caller.persist("GET", f"/kv/{key}b"), 404)
    caller.persist("DELETE", f"/kv/{key}")
    error(caller.persist("GET", f"/kv/{key}"), 404)


@row("P06")
def a_delete_is_a_200_there_or_not(caller: Caller) -> None:
    key = caller.key()
    store(caller, key, "v")
    store(caller, f"{key}b", "kept")
    for _ in range(2):
        caller.persist("DELETE", f"/kv/{key}").expect(200)
        gone = caller.persist("GET", f"/kv/{key}")
        expect(gone.status != 200, "no value there", gone.body)
        listed = items(caller.persist("GET", f"/kv?begins={key}"))
        expect(listed == [f"{key}b"], f"the list {[f'{key}b']}", listed)
    stored(caller, f"{key}b", "kept")


@row("P08")
def mget_answers_in_the_order_of_the_keys(caller: Caller) -> None:
    key = caller.key()
    one, other = f"{key}%41é", f"{key}b"
    store(caller, f"{key}%2541%C3%A9", "1")
    store(caller, other, "")
    answer = caller.persist("POST", "/mget", {"keys": [other, f"{key}c", one, other, ""]})
    found = items(answer)
    got = [_key_and_value(record) for record in found]
    wanted = [(other, ""), None, (one, "1"), (other, ""), None]
    expect(got == wanted, "a record for each key in their order, null where there is none", answer.body)
    single = caller.persist("GET", f"/kv/{other}")
    expect(fields(single) == found[0], f"the same record as of mget, {found[0]}", single.body)


def _key_and_value(record: object) -> object:
    return (record.get("key"), record.get("value")) if isinstance(record, dict) else record


@row("P10")
def updated_has_six_decimals_and_a_z(caller: Caller) -> None:
    key = caller.key()
    first, second = (_set_at(caller, key) for _ in range(2))
    expect(first <= second, f"a moment not before {first}", second)
    end = time.monotonic() + _MAX_TICK_SECONDS
    while second == first and time.monotonic() < end:
        second = _set_at(caller, key)
    expect(second > first, f"a moment after {first}", second)
    now = datetime.now(timezone.utc)
    is_now = abs(datetime.fromisoformat(f"{second[:-1]}+00:00") - now) < _LEAST_OFFSET
    expect(is_now, f"this moment in UTC, about {now:%Y-%m-%dT%H:%M:%SZ} by the clock here", second)
    read = _updated(caller.persist("GET", f"/kv/{key}"))
    expect(read == second, f"the moment of the set, {second}", read)


def _set_at(caller: Caller, key: str) -> str:
    return _updated(caller.persist("PUT", f"/kv/{key}", {"value": "v"}))


def _updated(answer: Answer) -> str:
    text = fields(answer).get("updated")
    is_moment = isinstance(text, str) and _STAMP.fullmatch(text) is not None and _is_moment(text)
    expect(is_moment, "updated in UTC with six decimals and Z", text)
    return str(text)


def _is_moment(text: str) -> bool:
    try:
        datetime.fromisoformat(text[:-1])
    except ValueError:
        return False
    return True


@row("P13")
def what_the_node_client_stores_comes_back_as_it_was(caller: Caller) -> None:
    key = caller.key()
    for value in _OF_THE_NODE_CLIENT:
        store(caller, key, value)
        stored(caller, key, value)
        found = items(caller.persist("POST", "/mget", {"keys": [key]}))
        expect([_key_and_value(record) for record in found] == [(key, value)], f"the value {value!r}", found)
    caller.persist("GET", f"/kv/{key}b").expect(404)
    error(caller.persist("PUT", f"/kv/{key}", {"value": 5}), 400)


@row("P15")
def a_delete_answers_with_no_body(caller: Caller) -> None:
    key = caller.key()
    store(caller, key, "v")
    for _ in range(2):
        caller.persist("DELETE", f"/kv/{key}").expect(200, b"")
