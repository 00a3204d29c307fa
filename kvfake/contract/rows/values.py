"""Mattermost's values as they are set, read and taken away: M01 to M08, M17, M18.

Law: a check knows its row, and what a caller hears.
"""

from __future__ import annotations

from kvfake.contract.call import Call, expect
from kvfake.contract.caller import BOT, PREFIX, Caller
from kvfake.contract.checks import row
from kvfake.contract.rows.expected import JSON, holds, holds_not, put, succeeds

_KINDS = (
    "application/json",
    "application/json; charset=UTF-8",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "x",
)
_VALUES = (
    b' {"b": 1,\t"a": [ ] }\r\n',
    b'{"b":1,"a":2}',
    b"1.50",
    b"12345678901234567890",
    b'"\\u00e9\xc3\xa9"',
    '"e\u0301 \ufb01 \U0001f600 <&>"'.encode(),  # each is rewritten by something that stores text
)


@row("M01")
def the_base_path_is_the_plugins(caller: Caller) -> None:
    key = caller.key()
    put(caller, key, "1")
    holds(caller, key, "1")
    other = caller.kv_path.replace("com.mattermost.apps", "com.mattermost.other")
    caller.send(Call("GET", f"{other}/{key}", caller.headers(BOT))).expect(404)


@row("M02")
def get_gives_exactly_the_stored_bytes(caller: Caller) -> None:
    key = caller.key()
    for value in _VALUES:
        put(caller, key, value)
        holds(caller, key, value)


@row("M02")
def a_key_is_known_by_every_letter(caller: Caller) -> None:
    own = caller.key()
    ends = ("a", "A", "a%20", "%20a", "e%CC%81", "%C3%A9", "%F0%9F%98%80", "%F0%9F%98%81", 200 * "x" + "a", 200 * "x" + "b")
    for number, end in enumerate(ends):
        put(caller, own + end, f"{number}")
    for number, end in enumerate(ends):
        holds(caller, own + end, f"{number}")


@row("M03")
def post_and_put_both_set(caller: Caller) -> None:
    key = caller.key()
    for method, value in (("POST", '"posted"'), ("PUT", '"put"'), ("POST", '"posted again"')):
        succeeds(caller.kv(method, key, value))
        holds(caller, key, value)
    for method in ("POST", "PUT"):
        for value in ('{"a":1}', '{"b":2}'):
            succeeds(caller.kv(method, key, value))
        holds(caller, key, '{"b":2}')


@row("M04")
def a_set_answers_changed_and_a_newline(caller: Caller) -> None:
    for method in ("PUT", "POST"):
        for rest in (caller.key(), f"{PREFIX}/{caller.key()}"):
            caller.kv(method, rest, "1").expect(200, '{"changed":true}\n', JSON)


@row("M05")
def delete_answers_nothing_there_or_not(caller: Caller) -> None:
    key = caller.key()
    put(caller, key, '"there"')
    for _ in range(2):
        caller.kv("DELETE", key).expect(200, b"")
        holds_not(caller, key, '"there"')


@row("M06")
def a_prefix_is_a_name_space_of_its_own(caller: Caller) -> None:
    key = caller.key()
    put(caller, key, "0")
    holds_not(caller, f"{PREFIX}/{key}", "0")
    put(caller, f"{PREFIX}/{key}", "1")
    holds(caller, key, "0")
    holds(caller, f"{PREFIX}/{key}", "1")
    for value in ("0", "1"):
        for prefix in (PREFIX[::-1], PREFIX.upper(), f"{PREFIX[0]}x", f"x{PREFIX[1]}", PREFIX[0]):
            holds_not(caller, f"{prefix}/{key}", value)
    holds_not(caller, f"{PREFIX}{key}", "1")
    caller.kv("DELETE", f"{PREFIX}/{key}").expect(200)
    holds_not(caller, f"{PREFIX}/{key}", "1")
    holds(caller, key, "0")


@row("M07")
def a_key_that_is_not_there_is_an_empty_object(caller: Caller) -> None:
    key = caller.key()
    for rest in (key, f"{PREFIX}/{key}"):
        caller.kv("GET", rest).expect(200, "{}")
    put(caller, key, "1")
    caller.kv("DELETE", key).expect(200)
    caller.kv("GET", key).expect(200, "{}")


@row("M08")
def get_says_json(caller: Caller) -> None:
    key = caller.key()
    caller.kv("GET", key).expect(200, headers=JSON)
    put(caller, key, '"text"')
    caller.kv("GET", key).expect(200, headers=JSON)


@row("M17")
def changed_is_always_true_or_says_whether_the_bytes_differ(caller: Caller) -> None:
    key = caller.key()
    for value, is_changed in (("1", True), ("1", not caller.is_documented), ("2", True), ("1", True), ("1 ", True)):
        answer = caller.kv("PUT", key, value)
        succeeds(answer)
        expect(answer.json() == {"changed": is_changed}, f"changed to be {str(is_changed).lower()}", answer.body)


@row("M18")
def the_content_type_of_a_set_is_never_looked_at(caller: Caller) -> None:
    key = caller.key()
    for method in ("PUT", "POST"):
        for number, kind in enumerate(_KINDS):
            value = f'"{method} {number}"'
            succeeds(caller.kv(method, key, value, headers={"Content-Type": kind}))
            holds(caller, key, value)
    for headers in ({"Content-Type": "text/plain"}, {}):
        refused = caller.kv("PUT", key, "none", headers=headers)
        expect(refused.status >= 400, "no text to be taken for JSON", refused.status)
    put(caller, key, '"none"')
    holds(caller, key, '"none"')
