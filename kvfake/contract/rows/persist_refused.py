"""What Persist does not take, and what is refused first: P04, P09, P14.

Law: a check knows its row, and what a caller hears. It sets and deletes at keys alone, never at the list of them.
"""

from __future__ import annotations

from kvfake.contract.call import Answer, Call, expect
from kvfake.contract.caller import UNKNOWN, Caller
from kvfake.contract.checks import row
from kvfake.contract.rows.expected import error, is_json, items, store, stored, succeeds

_NOT_STRINGS = (5, 1.5, None, True, ["x"], {"a": 1})
_NO_JSON = (
    b"",
    b"nope",
    b"{",
    b'{"value":"x"',
    b'{"value":"x"} y',
    b'\xef\xbb\xbf{"value":"x"}',
    b'{"value":"x","n":NaN}',
    b'{"value":"\xff"}',
    b'{"value":"a\\ud800b"}',
    b'{"value":"' + 200_000 * b'\\"[',
)
_NO_OBJECTS = (b"[]", b'"text"', b"5", b"null", b"true")
_MAX_BODY_BYTES = 2 * 1024 * 1024  # P14
_MAX_MGET_KEYS = 10_000  # P14


def _refuses(caller: Caller, method: str, rest: str, payload: object) -> None:
    """400, with an error."""
    answer = caller.persist(method, rest, payload)
    error(answer, 400)
    is_json(answer)


@row("P04")
def a_malformed_set_is_a_400_with_an_error(caller: Caller) -> None:
    key = caller.key()
    store(caller, key, "kept")
    for body in (*_NO_JSON, *_NO_OBJECTS, b"{}"):
        _refuses(caller, "PUT", f"/kv/{key}", body)
    for value in _NOT_STRINGS:
        _refuses(caller, "PUT", f"/kv/{key}", {"value": value})
    stored(caller, key, "kept")
    listed = items(caller.persist("GET", f"/kv?begins={key}"))
    expect(listed == [key], f"the list {[key]}", listed)


@row("P04")
def a_malformed_mget_is_a_400_with_an_error(caller: Caller) -> None:
    key = caller.key()
    for body in (b"", b"nope", *_NO_OBJECTS, b"{}", b'{"keys":["\\udfff"]}'):
        _refuses(caller, "POST", "/mget", body)
    for keys in (key, 5, None, {"a": 1}):
        _refuses(caller, "POST", "/mget", {"keys": keys})
    for no_key in _NOT_STRINGS:
        _refuses(caller, "POST", "/mget", {"keys": [key, no_key]})


@row("P04")
def an_empty_key_is_malformed(caller: Caller) -> None:
    _refuses(caller, "GET", "/kv/", None)


@row("P09")
def a_value_holds_262144_bytes_of_utf_8(caller: Caller) -> None:
    key = caller.key()
    for value in (262_144 * "x", 131_072 * "é", 262_144 * "\0"):
        store(caller, key, value)
        stored(caller, key, value)
    for value in (262_145 * "x", 131_072 * "é" + "x"):
        caller.persist("PUT", f"/kv/{key}", {"value": value}).expect(400)
    stored(caller, key, 262_144 * "\0")


def _unknown(caller: Caller, method: str, rest: str, body: bytes = b"") -> Answer:
    """Ask with a token that nobody has."""
    headers = {"Authorization": f"Bearer {UNKNOWN}", "Content-Type": "application/json"}
    return caller.send(Call(method, f"{caller.persist_path}{rest}", headers, body))


@row("P14")
def no_token_or_an_unknown_one_is_a_401(caller: Caller) -> None:
    own = f"/kv/{caller.key()}"
    for method, rest in (("GET", "/kv"), ("GET", own), ("PUT", own), ("DELETE", own), ("POST", "/mget")):
        error(caller.persist(method, rest, who=None), 401)
        error(_unknown(caller, method, rest), 401)


@row("P14")
def it_refuses_in_this_order(caller: Caller) -> None:
    key = caller.key()
    caller.persist("PATCH", f"/{key}", b"x", None).expect(404)
    caller.persist("PATCH", f"/kv/{key}", b"x", None).expect(405)
    caller.persist("PUT", f"/kv/{key}", b"x", None).expect(401)
    _unknown(caller, "PUT", f"/kv/{key}", b"x").expect(401)
    caller.persist("PUT", f"/kv/{key}", b"x").expect(400)


@row("P14")
def unknown_paths_and_methods_say_what_there_is(caller: Caller) -> None:
    key = caller.key()
    for rest in ("", "/", "/kvs", "/mget/", f"/mget/{key}", f"/kv2/{key}"):
        error(caller.persist("GET", rest), 404)
    for method, rest, methods in (
        ("PROPFIND", "/kv", {"GET"}),
        ("POST", f"/kv/{key}", {"GET", "PUT", "DELETE"}),
        ("GET", "/mget", {"POST"}),
    ):
        answer = caller.persist(method, rest)
        error(answer, 405)
        allowed = answer.headers.get("allow", "")
        expect(methods <= {name.strip() for name in allowed.split(",")}, f"Allow: {', '.join(sorted(methods))}", repr(allowed))


@row("P14", is_malformed=True)
def a_method_is_known_in_its_own_case_alone(caller: Caller) -> None:
    own = f"/kv/{caller.key()}"
    for method, rest in (("get", "/kv"), ("Get", own), ("put", own), ("Post", "/mget")):
        caller.persist(method, rest, {"value": "v"}).expect(405)


@row("P14")
def a_body_may_have_2_mib(caller: Caller) -> None:
    key = caller.key()
    start, end = b'{"value":"v"', b"}"
    room = _MAX_BODY_BYTES - len(start) - len(end)
    succeeds(caller.persist("PUT", f"/kv/{key}", start + room * b" " + end))
    for body in (start + (room + 1) * b" " + end, 3 * 1024 * 1024 * b"x"):
        error(caller.persist("PUT", f"/kv/{key}", body), 400)
    stored(caller, key, "v")


@row("P14")
def an_mget_may_name_10000_keys(caller: Caller) -> None:
    key = caller.key()
    store(caller, key, "v")
    found = items(caller.persist("POST", "/mget", {"keys": [key] * _MAX_MGET_KEYS}))
    expect(len(found) == _MAX_MGET_KEYS, f"{_MAX_MGET_KEYS} records", len(found))
    error(caller.persist("POST", "/mget", {"keys": [key] * (_MAX_MGET_KEYS + 1)}), 400)
