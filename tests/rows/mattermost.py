"""The Mattermost rows, M01 to M27. The tokens are those of ``tests.support.doors.TOKENS``."""

from __future__ import annotations

from tests.rows.app import JSON, KV, TEXT, App, row
from tests.support.wire import Reply

NOBODY = "user ID is required: unauthorized\n"
CHANGED = b'{"changed":true}\n'


def stores(app: App, body: bytes | str, key: str = "value") -> bool:
    """Whether the service takes this body for a value; it must give it back to the byte, or say why not."""
    data = body.encode() if isinstance(body, str) else body
    reply = app.kv("PUT", key, data)
    if reply.status == 200:
        assert app.kv("GET", key).body == data
        return True
    assert (reply.status, reply.text) == (400, "payload is not valid json: invalid input\n")
    return False


@row("M01")
def the_base_path_is_the_plugins(app: App) -> None:
    assert app.kv("PUT", "key", "1").status == 200
    assert app.door.send("GET", f"{KV}/key", {"Authorization": "Bearer bot-token"}).body == b"1"
    assert app.door.send("GET", "/plugins/com.mattermost.other/api/v1/kv/key", {"Authorization": "Bearer bot-token"}).status == 404


@row("M02")
def get_gives_exactly_the_stored_bytes(app: App) -> None:
    body = b' {"b": 1,\t"a": [ ] }\r\n'
    app.kv("PUT", "key", body)
    reply = app.kv("GET", "key")
    assert (reply.status, reply.body) == (200, body)


@row("M03")
def post_and_put_both_set(app: App) -> None:
    assert app.kv("POST", "key", '"posted"').body == CHANGED
    assert app.kv("GET", "key").text == '"posted"'
    assert app.kv("PUT", "key", '"put"').body == CHANGED
    assert app.kv("GET", "key").text == '"put"'


@row("M04")
def a_set_answers_changed_and_a_newline(app: App) -> None:
    reply = app.kv("PUT", "key", "1")
    assert (reply.status, reply.kept, reply.body) == (200, JSON, CHANGED)


@row("M05")
def delete_answers_nothing_there_or_not(app: App) -> None:
    app.kv("PUT", "key", "1")
    for _ in range(2):
        reply = app.kv("DELETE", "key")
        assert (reply.status, reply.kept, reply.body) == (200, {}, b"")
    assert app.kv("GET", "key").body == b"{}"


@row("M06")
def a_prefix_is_a_name_space_of_its_own(app: App) -> None:
    app.kv("PUT", "key", "0")
    app.kv("PUT", "p/key", "1")
    app.kv("PUT", "q/key", "2")
    assert [app.kv("GET", where).text for where in ("key", "p/key", "q/key")] == ["0", "1", "2"]
    app.kv("DELETE", "p/key")
    assert [app.kv("GET", where).text for where in ("key", "p/key", "q/key")] == ["0", "{}", "2"]


@row("M07")
def a_key_that_is_not_there_is_an_empty_object(app: App) -> None:
    reply = app.kv("GET", "nothing")
    assert (reply.status, reply.kept, reply.body) == (200, JSON, b"{}")


@row("M08")
def get_says_json(app: App) -> None:
    app.kv("PUT", "key", '"text"', headers={"Content-Type": "text/plain"})
    assert app.kv("GET", "key").kept == JSON


@row("M09")
def the_token_decides_whose_values_they_are(app: App) -> None:
    for token in ("bot-token", "user-token", "other-app-token"):
        app.kv("PUT", "key", f'"{token}"', token)
    for token in ("bot-token", "user-token", "other-app-token"):
        assert app.kv("GET", "key", token=token).text == f'"{token}"'
    assert app.kv("GET", "key", token="user-token-again").text == '"user-token"'


def with_headers(app: App, **headers: str) -> Reply:
    return app.kv("GET", "key", token=None, headers={name.replace("_", "-"): value for name, value in headers.items()})


@row("M10")
def a_token_comes_from_four_places(app: App) -> None:
    app.kv("PUT", "key", '"bot"')
    for word in ("Bearer", "BEARER", "bearer", "token", "Token", "TOKEN"):
        assert with_headers(app, Authorization=f"{word} bot-token").text == '"bot"', word
    assert with_headers(app, Cookie="a=b; MMAUTHTOKEN=bot-token; c=d").text == '"bot"'
    assert app.kv("GET", "key?access_token=bot-token", token=None).text == '"bot"'
    assert app.kv("GET", "key?a=b&access%5Ftoken=bot%2Dtoken", token=None).text == '"bot"'


@row("M10")
def they_are_looked_at_in_order(app: App) -> None:
    for token in ("bot-token", "user-token", "other-app-token"):
        app.kv("PUT", "key", f'"{token}"', token)
    cookie, query = "MMAUTHTOKEN=user-token", "key?access_token=other-app-token"
    assert app.kv("GET", query, token="bot-token", headers={"Cookie": cookie}).text == '"bot-token"'
    assert app.kv("GET", query, token=None, headers={"Cookie": cookie}).text == '"user-token"'
    assert app.kv("GET", query, token=None, headers={"Authorization": "Basic Ym90"}).text == '"other-app-token"'


@row("M11")
def no_token_or_an_unknown_one_is_refused(app: App) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer no-such-token"},
        {"Authorization": "Bearer  bot-token"},
        {"Authorization": "bot-token"},
    ):
        for method in ("GET", "PUT", "DELETE"):
            reply = app.kv(method, "key", "1", None, headers)
            assert (reply.status, reply.kept, reply.text) == (401, TEXT, NOBODY)


@row("M12")
def a_user_of_no_app_is_refused(app: App) -> None:
    for method in ("GET", "PUT", "DELETE"):
        reply = app.kv(method, "key", "1", "plain-user-token")
        assert (reply.status, reply.kept, reply.text) == (401, TEXT, "not an app session: unauthorized\n")


@row("M13")
def a_body_must_be_json_of_any_kind(app: App) -> None:
    for body in ('{"a":1}', "[]", '""', "0", "-0", "1.5e-7", "true", "false", "null", " [1] "):
        assert stores(app, body), body
    for body in ("", " ", "{", "nul", "'a'", "{a:1}", "[1,]", "01", "1.", ".5", "+1", '"a', '"\\x"', "1 2", "//"):
        assert not stores(app, body), body
    assert app.kv("PUT", "key", "nope").kept == TEXT


@row("M14")
def a_value_may_have_8192_bytes(app: App) -> None:
    assert app.kv("PUT", "key", '"' + 8190 * "x" + '"').status == 200
    for size in (8191, 100_000):
        for chunked in (False, True):
            reply = app.kv("PUT", "key", '"' + size * "x" + '"', chunked=chunked)
            assert (reply.status, reply.kept, reply.text) == (500, TEXT, "size limit of 8Kb exceeded\n")
    assert len(app.kv("GET", "key").body) == 8192


@row("M15", "M16")
def a_longer_prefix_is_refused_by_the_plugin_and_taken_by_the_documentation(app: App) -> None:
    for prefix in ("ABC", "my-app", "a-very-long-prefix"):
        for method in ("PUT", "GET", "DELETE"):
            reply = app.kv(method, f"{prefix}/key", "1")
            if app.is_documented:
                assert reply.status == 200
            else:
                text = f'prefix "{prefix}" is longer than the limit of 2 ASCII characters\n'
                assert (reply.status, reply.kept, reply.text) == (500, TEXT, text)


@row("M16")
def the_documentations_own_example_works_where_it_should(app: App) -> None:
    reply = app.kv("POST", "my-app/my-key", '"my-value"')
    if app.is_documented:
        assert (reply.status, reply.body) == (200, CHANGED)
        assert app.kv("GET", "my-app/my-key").text == '"my-value"'
        assert app.kv("GET", "my/my-key").text == "{}"
        assert app.kv("GET", "my-ap/my-key").text == "{}"
    else:
        assert reply.status == 500


@row("M15")
def the_refused_prefix_is_quoted_as_go_does(app: App) -> None:
    if not app.is_documented:
        for sent, shown in (
            ("%01%7F%22%5C", r'"\x01\x7f\"\\"'),
            ("%FF%FE%FD", r'"\xff\xfe\xfd"'),
            ("%C2%A0x", r'"\u00a0x"'),
            ("%E2%82%AC", '"€"'),
        ):
            assert app.kv("GET", f"{sent}/key").text == f"prefix {shown} is longer than the limit of 2 ASCII characters\n"


@row("M17")
def changed_is_always_true_or_says_whether_the_bytes_differ(app: App) -> None:
    unchanged = b'{"changed":false}\n' if app.is_documented else CHANGED
    assert [app.kv("PUT", "key", body).body for body in ("1", "1", "2", "1", "1 ")] == [
        CHANGED,
        unchanged,
        CHANGED,
        CHANGED,
        CHANGED,
    ]


@row("M18")
def the_content_type_of_a_set_is_never_looked_at(app: App) -> None:
    for number, kind in enumerate(
        ("application/json", "application/json; charset=UTF-8", "text/plain", "application/x-www-form-urlencoded", "x")
    ):
        assert app.kv("PUT", "key", f"{number}", headers={"Content-Type": kind}).body == CHANGED
        assert app.kv("GET", "key").text == f"{number}"
    assert app.kv("PUT", "key", "none").status == 400
    assert app.kv("PUT", "key", '"none"').body == CHANGED


@row("M19")
def errors_are_plain_text(app: App) -> None:
    for reply in (
        app.kv("GET", "key", token=None),
        app.kv("PUT", "key", "x"),
        app.kv("PUT", "key", 9000 * "1"),
        app.kv("GET", "a/b/c"),
    ):
        assert reply.status >= 400
        assert reply.kept == TEXT
        assert reply.text.endswith("\n")
        assert "{" not in reply.text


@row("M20")
def the_path_is_matched_decoded(app: App) -> None:
    app.kv("PUT", "a%2Fb", "1")
    assert app.kv("GET", "a/b").text == "1"
    app.kv("PUT", "a%2520b", "2")
    assert app.kv("GET", "a%2520b").text == "2"
    assert app.kv("GET", "a%20b").text == "{}"
    app.kv("PUT", "caf%C3%A9", "3")
    assert app.kv("GET", "caf%c3%a9").text == "3"
    app.kv("PUT", "a+b", "4")
    assert app.kv("GET", "a%2Bb").text == "4"


@row("M20")
def no_part_or_three_or_a_slash_at_the_end_is_not_found(app: App) -> None:
    for rest in ("", "a/b/c", "a/", "a/b/", "a%0Ab", "p/a%0Ab", "a%2Fb%2Fc"):
        for method in ("GET", "PUT", "PATCH"):
            reply = app.kv(method, rest, "1")
            assert (reply.status, reply.kept, reply.text) == (404, TEXT, "404 page not found\n"), rest
    assert app.door.send("GET", KV, {"Authorization": "Bearer bot-token"}).status == 404


@row("M21")
def an_unclean_path_is_sent_to_the_clean_one(app: App) -> None:
    for rest, clean in (
        ("/a", "/a"),
        ("a//b", "/a/b"),
        ("./a", "/a"),
        ("p/../a", "/a"),
        ("%2e%2E/a", "/../a"),
        ("%2Fa", "/a"),
        ("a/.", "/a"),
        ("p//", "/p/"),
        ("a/%2F?x=1&access_token=t", "/a/?x=1&access_token=t"),
        ("x//%C3%A9!'()*", "/x/%C3%A9%21%27%28%29%2A"),
    ):
        for method, token in (("GET", None), ("PATCH", "bot-token"), ("PUT", "no-such-token")):
            reply = app.kv(method, rest, 9000 * "x" if method == "PUT" else "", token)
            location = f"{KV}{clean}".replace("/kv/..", "")
            assert (reply.status, reply.kept, reply.body) == (301, {"Location": location}, b""), rest


@row("M21")
def a_persist_path_is_never_cleaned(app: App) -> None:
    app.set("a//b/../c", "v")
    assert app.persist("GET", "/kv/a//b/../c").json()["key"] == "a//b/../c"


@row("M22")
def another_method_is_not_allowed(app: App) -> None:
    for method in ("HEAD", "OPTIONS", "PATCH", "TRACE", "get", "Put", "PURGE"):
        for token in ("bot-token", None):
            reply = app.kv(method, "key", token=token)
            assert (reply.status, reply.kept, reply.body) == (405, {}, b""), method


@row("M23")
def a_set_is_refused_in_this_order(app: App) -> None:
    large, bad = 9000 * "x", "x"
    not_found = app.kv("PUT", "a/b/c", large, None)
    size = app.kv("PUT", "ABC/k", large, None)
    nobody = app.kv("PUT", "ABC/k", bad, None)
    no_app = app.kv("PUT", "ABC/k", bad, "plain-user-token")
    not_json = app.kv("PUT", "ABC/k", bad)
    prefix = app.kv("PUT", "ABC/k", "1")
    assert [reply.status for reply in (not_found, size, nobody, no_app, not_json)] == [404, 500, 401, 401, 400]
    assert [size.text[:4], nobody.text[:4], no_app.text[:4], not_json.text[:4]] == ["size", "user", "not ", "payl"]
    assert prefix.status == (200 if app.is_documented else 500)


@row("M23")
def a_get_and_a_delete_are_refused_in_this_order(app: App) -> None:
    for method in ("GET", "DELETE"):
        replies = [
            app.kv(method, "a/b/c", token=None),
            app.kv(method, "ABC/k", 9000 * "x", None),
            app.kv(method, "ABC/k", token="plain-user-token"),
            app.kv(method, "ABC/k"),
        ]
        assert [reply.status for reply in replies] == [404, 401, 401, 200 if app.is_documented else 500]


@row("M24")
def json_is_what_go_holds_valid(app: App) -> None:
    for body in (
        b'"\xff\xfe"',
        b'{"\xc3":1}',
        b'"\\ud800"',
        b"1e999",
        b"-" + 5000 * b"9",
        b"0." + 5000 * b"1",
        4000 * b"[" + 4000 * b"]",
        1000 * b'{"a":' + b"1" + 1000 * b"}",
        b'{"a":1,"a":2}',
        b'"\x7f"',
    ):
        assert stores(app, body), body[:20]
    for body in (
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"[NaN]",
        b"\xef\xbb\xbf1",
        b'"\n"',
        b'"\x00"',
        b'"\x1f"',
        b"\x0b1",
        b"\xa01",
        b"1\xa0",
        b"1\x0c",
        b"1\0",
        b"1\x000\x00",
        b'"\\u00g0"',
        4000 * b"[" + 3999 * b"]",
        4000 * b"[" + 4000 * b"}",
        b"0x1",
        b"1_000",
        b"\xd9\xa1",
    ):
        assert not stores(app, body), body[:20]


@row("M25")
def prefixes_are_padded_with_blanks(app: App) -> None:
    app.kv("PUT", "p/key", "1")
    assert app.kv("GET", "p%20/key").text == "1"
    app.kv("PUT", "key", "2")
    assert [app.kv("GET", f"{prefix}/key").text for prefix in ("%20", "%20%20")] == ["2", "2"]
    assert app.kv("GET", "%20p/key").text == "{}"
    app.kv("PUT", "%C3%A9/key", "3")
    assert app.kv("GET", "%C3%A9/key").text == "3"
    assert app.kv("PUT", "%E2%82%AC/key", "4").status == (200 if app.is_documented else 500)


@row("M26")
def a_cookie_counts_for_a_get_alone_or_with_a_csrf_token(app: App) -> None:
    cookie = {"Cookie": "MMAUTHTOKEN=bot-token"}
    app.kv("PUT", "key", "1")
    assert app.kv("GET", "key", token=None, headers=cookie).text == "1"
    for extra, status in (
        ({}, 401),
        ({"X-CSRF-Token": "csrf-bot-token"}, 200),
        ({"X-CSRF-Token": "csrf-user-token"}, 401),
        ({"X-CSRF-Token": "nonsense", "X-Requested-With": "XMLHttpRequest"}, 401),
        ({"X-Requested-With": "XMLHttpRequest"}, 200),
        ({"X-Requested-With": "fetch"}, 401),
    ):
        for method in ("PUT", "POST", "DELETE"):
            assert app.kv(method, "key", "1", None, {**cookie, **extra}).status == status, extra


@row("M27")
def only_the_first_source_of_a_token_is_looked_at(app: App) -> None:
    app.kv("PUT", "key", "1")
    good = {"Cookie": "MMAUTHTOKEN=bot-token"}
    assert app.kv("GET", "key", token="no-such-token", headers=good).text == NOBODY
    assert app.kv("GET", "key?access_token=bot-token", token=None, headers={"Cookie": "MMAUTHTOKEN=no-such-token"}).text == NOBODY
    assert app.kv("GET", "key?access_token=bot-token", token=None, headers={"Cookie": "MMAUTHTOKEN="}).text == NOBODY


@row("M27")
def a_user_id_that_a_client_sends_is_dropped(app: App) -> None:
    spoofed = {"Mattermost-User-Id": "botxxxxxxxxxxxxxxxxxxxxxxx"}
    assert app.kv("GET", "key", token=None, headers=spoofed).text == NOBODY
    app.kv("PUT", "key", "1", headers=spoofed)
    assert app.kv("GET", "key").text == "1"
