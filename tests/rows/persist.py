"""The Persist rows, P01 to P15."""

from __future__ import annotations

import re

from tests.rows.app import App, row

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
NOT_STRINGS = (5, 1.5, None, True, ["x"], {"a": 1})


def refuses(app: App, method: str, path: str, payload: object, *words: str) -> None:
    """400, with an error that says what is wrong and what was expected."""
    reply = app.persist(method, path, payload)
    assert (reply.status, reply.headers["Content-Type"]) == (400, "application/json"), (payload, reply)
    error = reply.json()["error"]
    for word in (*words, "expected"):
        assert word in error, error


@row("P01")
def both_base_urls_answer(app: App) -> None:
    app.set("key", "v")
    for base in ("/api/v1", ""):
        assert app.persist("GET", "/kv/key", base=base).json()["value"] == "v"
        assert app.persist("GET", "/kv", base=base).json() == ["key"]
        assert app.persist("POST", "/mget", {"keys": []}, base=base).json() == []


@row("P02")
def the_token_decides_the_project(app: App) -> None:
    app.set("key", "first")
    app.set("key", "second", "other-project-token")
    assert app.persist("GET", "/kv/key", token="project-token-again").json()["value"] == "first"
    assert app.persist("GET", "/kv/key", token="other-project-token").json()["value"] == "second"
    app.persist("DELETE", "/kv/key")
    assert app.keys(token="other-project-token") == ["key"]


@row("P03")
def a_set_answers_what_a_get_does_and_replaces(app: App) -> None:
    for value in ("one", "two"):
        reply = app.persist("PUT", "/kv/key", {"value": value, "more": 1})
        assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
        assert list(reply.json()) == ["key", "value", "updated"]
        assert (reply.json()["key"], reply.json()["value"]) == ("key", value)
        assert app.persist("GET", "/kv/key").json() == reply.json()


@row("P04")
def a_malformed_request_is_a_400_with_an_error(app: App) -> None:
    app.set("key", "kept")
    for body in (
        b"",
        b"nope",
        b"{",
        b'{"value":"x"',
        b'{"value":"x"} y',
        b'\xef\xbb\xbf{"value":"x"}',
        b'{"value":"x","n":NaN}',
        b'{"value":"\xff"}',
    ):
        refuses(app, "PUT", "/kv/key", body, "not JSON")
    for payload in ("[]", '"text"', "5", "null", "true"):
        refuses(app, "PUT", "/kv/key", payload.encode(), "the body is")
    refuses(app, "PUT", "/kv/key", {}, "value is missing")
    refuses(app, "PUT", "/kv/key", {"value": "v", "more": [[]] * 100}, "more than 100 objects and arrays")
    refuses(app, "PUT", "/kv/key", b'{"value":"' + 200_000 * b'\\"[', "not JSON")
    for value in NOT_STRINGS:
        refuses(app, "PUT", "/kv/key", {"value": value}, "value is")
    refuses(app, "PUT", "/kv/key", b'{"value":"a\\ud800b"}', "lone surrogate")
    refuses(app, "POST", "/mget", {}, "keys is missing")
    for keys in ("key", 5, None, {"a": 1}):
        refuses(app, "POST", "/mget", {"keys": keys}, "keys is")
    for key in NOT_STRINGS:
        refuses(app, "POST", "/mget", {"keys": ["key", key]}, "keys[1]")
    refuses(app, "POST", "/mget", b'{"keys":["\\udfff"]}', "lone surrogate")
    assert app.persist("GET", "/kv/key").json()["value"] == "kept"
    assert app.keys() == ["key"]
    app.set("key", "[" * 1000)


@row("P04")
def an_empty_key_is_malformed(app: App) -> None:
    for method in ("GET", "PUT", "DELETE"):
        refuses(app, method, "/kv/", {"value": "v"}, "key is empty")
    assert app.keys() == []


@row("P05")
def a_get_answers_three_fields_or_404(app: App) -> None:
    app.set("key", "")
    reply = app.persist("GET", "/kv/key")
    assert (reply.status, reply.json()["key"], reply.json()["value"]) == (200, "key", "")
    assert STAMP.fullmatch(reply.json()["updated"])
    missing = app.persist("GET", "/kv/nothing")
    assert (missing.status, list(missing.json())) == (404, ["error"])


@row("P06")
def a_delete_is_a_200_there_or_not(app: App) -> None:
    app.set("key", "v")
    assert [app.persist("DELETE", "/kv/key").status for _ in range(2)] == [200, 200]
    assert app.persist("GET", "/kv/key").status == 404


@row("P07")
def the_list_is_ascending_and_literal(app: App) -> None:
    for key in ("b", "a%25", "a_", "a*", "a%20b", "B", "ab", "%C3%A9"):
        app.set(key, "v")
    assert app.keys() == ["B", "a b", "a%", "a*", "a_", "ab", "b", "é"]
    for begins, keys in (
        ("a", ["a b", "a%", "a*", "a_", "ab"]),
        ("a%25", ["a%"]),
        ("a*", ["a*"]),
        ("a_", ["a_"]),
        ("a+b", ["a b"]),
        ("%C3", ["é"]),
    ):
        assert app.keys(f"?begins={begins}") == keys, begins
    assert app.keys("?begins=") == app.keys() == app.keys("?other=x")
    assert app.keys("?begins=b&begins=B") == ["B"]
    assert app.keys("?begins=z") == []


@row("P07")
def keys_are_listed_in_the_order_of_their_bytes(app: App) -> None:
    for key in ("%FF", "%FE", "%EF%BF%BD", "%F0%9F%98%80", "z", "%00"):
        app.set(key, key)
    assert app.keys() == ["\0", "z", "\ufffd", "\U0001f600", "\ufffd", "\ufffd"]
    for key in ("%FF", "%FE", "%EF%BF%BD"):
        assert app.persist("GET", f"/kv/{key}").json() == {**app.persist("GET", f"/kv/{key}").json(), "key": "\ufffd", "value": key}


@row("P08")
def mget_answers_in_the_order_of_the_keys(app: App) -> None:
    app.set("a", "1")
    app.set("b", "")
    reply = app.persist("POST", "/mget", {"keys": ["b", "nothing", "a", "b", ""]})
    assert reply.status == 200
    assert [found and (found["key"], found["value"]) for found in reply.json()] == [("b", ""), None, ("a", "1"), ("b", ""), None]
    assert reply.json()[0] == app.persist("GET", "/kv/b").json()


@row("P09")
def a_value_holds_262144_bytes_of_utf_8(app: App) -> None:
    for value in (262_144 * "x", 131_072 * "é", 262_144 * "\0"):
        assert app.set("key", value).json()["value"] == value
        assert app.persist("GET", "/kv/key").json()["value"] == value
    for value in (262_145 * "x", 131_072 * "é" + "x"):
        refuses(app, "PUT", "/kv/key", {"value": value}, "262145 bytes", "262144")
    assert app.persist("GET", "/kv/key").json()["value"] == 262_144 * "\0"


@row("P10")
def updated_has_six_decimals_and_a_z(app: App) -> None:
    first = app.set("key", "v").json()["updated"]
    second = app.set("key", "v").json()["updated"]
    assert STAMP.fullmatch(first)
    assert STAMP.fullmatch(second)
    assert first <= second
    assert app.persist("GET", "/kv/key").json()["updated"] == second


@row("P11")
def an_unexpected_error_is_a_500_and_the_server_goes_on(app: App) -> None:
    world = app.door.double._world

    class Broken(type(world.store)):  # type: ignore[misc]
        def get(self, *_: object) -> None:
            raise RuntimeError("the disk is full")

    whole, world.store = world.store, Broken()
    try:
        reply = app.persist("GET", "/kv/key")
    finally:
        world.store = whole
    assert (reply.status, list(reply.json())) == (500, ["error"])
    assert app.persist("GET", "/kv/key").status == 404


@row("P12")
def everything_after_kv_is_the_key(app: App) -> None:
    for sent, key in (
        ("users:U1", "users:U1"),
        ("convo::42", "convo::42"),
        ("a%20key", "a key"),
        ("%C3%A9", "é"),
        ("a/b/c", "a/b/c"),
        ("a%2Fb", "a/b"),
        ("a%252Fb", "a%2Fb"),
        ("a+b", "a+b"),
        ("/a", "/a"),
        ("a/", "a/"),
        ("..", ".."),
    ):
        assert app.set(sent, sent).json()["key"] == key
        assert app.persist("GET", f"/kv/{sent}").json()["value"] == sent
    assert app.persist("GET", "/kv/a/b").json()["value"] == "a%2Fb"


@row("P12", socket_only=True)
def the_node_clients_raw_bytes_are_the_key(app: App) -> None:
    for raw, shown in ((b"\xe9", "\ufffd"), ("é".encode(), "é")):
        body = b'{"value":"v"}'
        message = (
            b"PUT /api/v1/persist/kv/%b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer project-token\r\nContent-Length: %d\r\n\r\n%b"
        )
        assert app.raw(message % (raw, len(body), body)).json()["key"] == shown
    assert app.persist("GET", "/kv/%E9").status == app.persist("GET", "/kv/%C3%A9").status == 200


@row("P13")
def what_the_node_client_stores_comes_back_as_it_was(app: App) -> None:
    for value in ('{"khaled":"water","life":100}', '"a string"', "null", "0", "", "not json"):
        assert app.set("key", value).json()["value"] == value
        assert app.persist("GET", "/kv/key").json()["value"] == value
    assert app.persist("GET", "/kv/nothing").status == 404
    assert isinstance(app.persist("PUT", "/kv/key", {"value": 5}).json()["error"], str)


@row("P14")
def no_token_or_an_unknown_one_is_a_401(app: App) -> None:
    for token in (None, "no-such-token", "bot-token"):
        for method, path in (("GET", "/kv"), ("GET", "/kv/key"), ("PUT", "/kv/key"), ("DELETE", "/kv/key"), ("POST", "/mget")):
            reply = app.persist(method, path, token=token)
            assert (reply.status, list(reply.json())) == (401, ["error"])


@row("P14")
def it_refuses_in_this_order(app: App) -> None:
    assert app.persist("PATCH", "/nothing", b"x", None).status == 404
    assert app.persist("PATCH", "/kv/key", b"x", None).status == 405
    assert app.persist("PUT", "/kv/key", b"x", None).status == 401
    assert app.persist("PUT", "/kv/key", b"x").status == 400


@row("P14")
def unknown_paths_and_methods_say_what_there_is(app: App) -> None:
    for path in ("", "/", "/kvs", "/mget/", "/mget/x", "/kv2/key"):
        reply = app.persist("GET", path)
        assert (reply.status, list(reply.json())) == (404, ["error"]), path
    for method, path, allowed in (
        ("PUT", "/kv", "GET"),
        ("POST", "/kv/key", "GET, PUT, DELETE"),
        ("GET", "/mget", "POST"),
    ):
        reply = app.persist(method, path)
        assert (reply.status, reply.headers["Allow"], list(reply.json())) == (405, allowed, ["error"])


@row("P14", socket_only=True)
def a_method_is_known_in_its_own_case_alone(app: App) -> None:
    assert app.persist("get", "/kv").status == 405


@row("P14")
def bodies_and_mgets_have_bounds(app: App) -> None:
    start, end = b'{"value":"v","pad":"', b'"}'
    room = 2 * 1024 * 1024 - len(start) - len(end)
    assert app.persist("PUT", "/kv/key", start + room * b"x" + end).status == 200
    refuses(app, "PUT", "/kv/key", start + (room + 1) * b"x" + end, "too large", "2097152")
    refuses(app, "PUT", "/kv/key", 3 * 1024 * 1024 * b"x", "too large")
    assert len(app.persist("POST", "/mget", {"keys": ["key"] * 10_000}).json()) == 10_000
    refuses(app, "POST", "/mget", {"keys": ["key"] * 10_001}, "10001", "10000")


@row("P15")
def a_delete_answers_with_no_body(app: App) -> None:
    app.set("key", "v")
    reply = app.persist("DELETE", "/kv/key")
    assert (reply.status, reply.body) == (200, b"")
