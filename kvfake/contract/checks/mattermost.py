"""The checks of Mattermost's store above HTTP: M01 to M27.

Law: requests and expected responses. No set goes to a path that some server could read as several keys, nor under a prefix that a
right server refuses.
"""

from __future__ import annotations

from typing import Any

from kvfake.contract.checks.client import BOT, PLAIN_USER, UNKNOWN, USER, CheckResponse
from kvfake.contract.checks.expectations import LONG_PREFIX, Expectation, Run, Step, expect, expectation, status, success, table

TEXT = {"Content-Type": "text/plain; charset=utf-8"}
ERROR = {**TEXT, "X-Content-Type-Options": "nosniff"}  # as Go's http.Error sends it
JSON = {"Content-Type": "application/json"}

KEY, PREFIXED, LONG_PREFIXED = "/{key}", "/kv/{key}", "/{long_prefix}/{key}"
TOKEN_IN_QUERY = "?access_token={quoted_token}"
COOKIE = {"Cookie": "a=b; MMAUTHTOKEN={token}; c=d"}
COOKIE_OF_UNKNOWN = {"Cookie": f"a=b; MMAUTHTOKEN={UNKNOWN}; c=d"}
USER_ID = "botxxxxxxxxxxxxxxxxxxxxxxx"
SETS = ("PUT", "POST")
METHODS = ("GET", *SETS, "DELETE")

CONTENT_TYPES = (
    "application/json",
    "application/json; charset=UTF-8",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "x",
)
VALUES = (
    b' {"b": 1,\t"a": [ ] }\r\n',
    b'{"b":1,"a":2}',
    b"1.50",
    b"12345678901234567890",
    b'"\\u00e9\xc3\xa9"',
    '"e\u0301 \ufb01 \U0001f600 <&>"'.encode(),  # whoever stores text changes one of these bytes
)
KEY_ENDS = ("a", "A", "a%20", "%20a", "e%CC%81", "%C3%A9", "%F0%9F%98%80", "%F0%9F%98%81", 200 * "x" + "a", 200 * "x" + "b")

VALID_JSON = ("{}", '{"a":1}', "[]", '""', "0", "-0", "1.5e-7", "true", "false", "null", " [1] ")
INVALID_JSON = (
    *("", " ", "{", "nul", "'a'", "{a:1}", "[1,]", "01", "1.", ".5", "+1", '"a', '"\\x"', "1 2", "//", "1/**/"),
    '{"a":1,}',
)
VALID_FOR_GO = (
    *(b'"\xff\xfe"', b'{"\xc3":1}', b'"\\ud800"', b'"\\uDC00"', b'"\\/\\b\\f"', b'{"":1}', b'{"a":1,"a":2}', b'"\x7f"'),
    *(b"1E5", b"1e999", b"-1e999", b"-" + 5000 * b"9", b"0." + 5000 * b"1"),
    *(4000 * b"[" + 4000 * b"]", 1000 * b'{"a":' + b"1" + 1000 * b"}"),
)
INVALID_FOR_GO = (
    *(b"NaN", b"Infinity", b"-Infinity", b"[NaN]", b"0x1", b"1_000", b"\xd9\xa1", b"\xef\xbb\xbf1"),
    *(b'"\n"', b'"\t"', b'"\x00"', b'"\x1f"', b'"\\u00g0"'),
    *(b"\x0b1", b"\xa01", b"1\xa0", b"1\xc2\xa0", b"1\xe2\x80\xa8", b"1\x0c", b"1\0", b"1\x000\x00"),
    *(4000 * b"[" + 3999 * b"]", 4000 * b"[" + 4000 * b"}"),
)

UNCLEAN_PATHS = {
    "//{key}": "{kv}/{key}",
    "/kv//{key}": "{kv}/kv/{key}",
    "/./{key}": "{kv}/{key}",
    "/kv/../{key}": "{kv}/{key}",
    "/%2e%2E/{key}": "{kv_parent}/{key}",
    "/%2F{key}": "{kv}/{key}",
    "/{key}/.": "{kv}/{key}",
    "/{key}//": "{kv}/{key}/",
    "/{key}/%2F?x=1&access_token=t": "{kv}/{key}/?x=1&access_token=t",
    "/{key}//%C3%A9!'()*": "{kv}/{key}/%C3%A9%21%27%28%29%2A",
}

HERE = status(200, '"here"')
NOT_FOUND = status(404, "404 page not found\n", TEXT)
NO_JSON = status(400, "payload is not valid json: invalid input\n", TEXT)
NO_TOKEN = status(401, "user ID is required: unauthorized\n", ERROR)
NO_APP = status(401, "not an app session: unauthorized\n", ERROR)
TOO_LARGE = status(500, "size limit of 8Kb exceeded\n", TEXT)  # M14: over 8192 bytes
LARGE = 9000 * "x"


def kv(method: str, rest: str, expected: Expectation, *, is_plugin_only: bool = False, **options: Any) -> Step:
    """A request to Mattermost's store; ``rest`` is the target below it."""
    return Step(method, "{kv}" + rest, expected, options, is_plugin_only)


def put(rest: str, value: bytes | str, who: str = BOT, method: str = "PUT", **options: Any) -> Step:
    """Set a value; the check of M04 tests the whole response."""
    return kv(method, rest, success, body=value, who=who, **options)


def holds(rest: str, value: bytes | str, who: str = BOT) -> Step:
    """A get that must find that value."""
    return kv("GET", rest, status(200, value), who=who)


def lacks(rest: str, value: str, who: str = BOT) -> Step:
    """A get that must not find that value; the check of M07 tests the response for a missing key."""
    return kv("GET", rest, lambda response, run: expect(response.body != value.encode(), "no value there", response.body), who=who)


def anonymous(method: str, rest: str, expected: Expectation, headers: dict[str, str] | None = None) -> Step:
    """A request whose only credentials are in these headers and in the query."""
    return kv(method, rest, expected, body="1" if method in SETS else "", who=None, headers=headers or {})


def round_trip(rest: str, value: bytes | str, **options: Any) -> tuple[Step, Step]:
    """A value that is set comes back to the byte."""
    return put(rest, value, **options), holds(rest, value)


def authorization(credentials: str) -> dict[str, str]:
    return {"Authorization": credentials}


def json_string(size: int) -> str:
    """A value of so many bytes."""
    return '"' + (size - 2) * "x" + '"'


@expectation
def by_profile(response: CheckResponse, run: Run, documented: Expectation, plugin: Expectation) -> None:
    (documented if run.client.is_documented else plugin)(response, run)


def prefix_error(quoted: str, headers: dict[str, str] | None = None) -> Expectation:
    """The plugin refuses the prefix, which it quotes as Go does; the documented service takes it (M15)."""
    text = f"prefix {quoted} is longer than the limit of 2 ASCII characters\n"
    return by_profile(documented=status(200), plugin=status(500, text, headers or {}))


def prefix_errors(prefix: str) -> list[Step]:
    """A step for each method. Sets are sent only where the prefix is refused."""
    expected = prefix_error(f'"{prefix}"', TEXT)
    return [
        kv(method, f"/{prefix}/{{key}}", expected, body="1" if method in SETS else "", is_plugin_only=method in SETS)
        for method in METHODS
    ]


@expectation
def changed_is(response: CheckResponse, run: Run, documented: bool) -> None:
    """``changed`` is ``documented`` in the documented profile; the plugin always answers true (M17)."""
    is_changed = documented or not run.client.is_documented
    success(response)
    expect(response.json() == {"changed": is_changed}, f"changed to be {str(is_changed).lower()}", response.body)


@expectation
def text_error(response: CheckResponse, run: Run, code: int, begins: str) -> None:
    """That status, and a text that begins so."""
    status(code)(response, run)
    expect(response.text.startswith(begins), f"a text that begins with {begins!r}", response.body)


def plain_error(response: CheckResponse, run: Run) -> None:
    expect(response.status >= 400, "an error", response.status)
    status(response.status, headers=ERROR)(response, run)
    expect(response.body.endswith(b"\n") and b"{" not in response.body, "a line of plain text", response.body)


def any_error(response: CheckResponse, run: Run) -> None:
    expect(response.status >= 400, "no text to be taken for JSON", response.status)


# fmt: off
CHECKS = [
    table("M01-the_base_path_is_the_plugins",
          *round_trip(KEY, "1"), Step("GET", "{base}/plugins/com.mattermost.other/api/v1/kv/{key}", status(404), {})),
    table("M02-get_gives_exactly_the_stored_bytes", *(step for value in VALUES for step in round_trip(KEY, value))),
    table("M02-a_key_is_known_by_every_letter",
          *(put(KEY + end, f"{number}") for number, end in enumerate(KEY_ENDS)),
          *(holds(KEY + end, f"{number}") for number, end in enumerate(KEY_ENDS))),
    table("M03-post_and_put_both_set",
          *round_trip(KEY, '"posted"', method="POST"), *round_trip(KEY, '"put"', method="PUT"),
          *round_trip(KEY, '"posted again"', method="POST"),
          put(KEY, '{"a":1}', method="POST"), *round_trip(KEY, '{"b":2}', method="POST"),
          put(KEY, '{"a":1}', method="PUT"), *round_trip(KEY, '{"b":2}', method="PUT")),
    table("M04-a_set_answers_changed_and_a_newline",
          *(kv(method, rest, status(200, '{"changed":true}\n', JSON), body="1")
            for method, rest in (("PUT", KEY), ("PUT", PREFIXED), ("POST", "/{key}b"), ("POST", "/kv/{key}b")))),
    table("M05-delete_answers_nothing_there_or_not",
          put(KEY, '"there"'), *2 * (kv("DELETE", KEY, status(200, b"")), lacks(KEY, '"there"'))),
    table("M06-a_prefix_is_a_name_space_of_its_own",
          put(KEY, "0"), lacks(PREFIXED, "0"),
          put(PREFIXED, "1"), holds(KEY, "0"), holds(PREFIXED, "1"),
          *(lacks(f"/{prefix}/{{key}}", value) for value in ("0", "1") for prefix in ("vk", "KV", "kx", "xv", "k")),
          lacks("/kv{key}", "1"),
          kv("DELETE", PREFIXED, status(200)), lacks(PREFIXED, "1"), holds(KEY, "0")),
    table("M07-a_key_that_is_not_there_is_an_empty_object",
          holds(KEY, "{}"), holds(PREFIXED, "{}"),
          put(KEY, "1"), kv("DELETE", KEY, status(200)), holds(KEY, "{}")),
    table("M08-get_says_json",
          kv("GET", KEY, status(200, headers=JSON)),
          put(KEY, '"text"'), kv("GET", KEY, status(200, headers=JSON))),
    table("M09-the_token_decides_whose_values_they_are", *(step for rest in (KEY, PREFIXED) for step in (
        put(rest, '"the bot\'s"', BOT), lacks(rest, '"the bot\'s"', USER),
        put(rest, '"the user\'s"', USER), holds(rest, '"the bot\'s"', BOT), holds(rest, '"the user\'s"', USER),
        kv("DELETE", rest, status(200), who=BOT), holds(rest, '"the user\'s"', USER)))),
    table("M10-a_token_comes_from_four_places",
          put(KEY, '"here"'),
          *(anonymous("GET", KEY, HERE, authorization(f"{word} {{token}}"))
            for word in ("Bearer", "BEARER", "bearer", "token", "Token", "TOKEN")),
          anonymous("GET", KEY, HERE, COOKIE),
          anonymous("GET", KEY + TOKEN_IN_QUERY, HERE),
          anonymous("GET", "/{key}?a=b&access%5Ftoken={escaped_token}", HERE),
          *(anonymous(method, KEY, success, authorization("token {token}")) for method in (*SETS, "DELETE")),
          *(anonymous(method, KEY + TOKEN_IN_QUERY, success) for method in (*SETS, "DELETE"))),
    table("M10-they_are_looked_at_in_order",
          put(KEY, '"here"'),
          anonymous("GET", f"{KEY}?access_token={UNKNOWN}", HERE, authorization("Bearer {token}") | COOKIE_OF_UNKNOWN),
          anonymous("GET", KEY, HERE, authorization("token {token}") | COOKIE_OF_UNKNOWN),
          anonymous("GET", f"{KEY}?access_token={UNKNOWN}", HERE, COOKIE),
          anonymous("GET", KEY + TOKEN_IN_QUERY, HERE, authorization("Basic Ym90"))),
    table("M11-no_token_or_an_unknown_one_is_refused",
          *(anonymous(method, KEY, NO_TOKEN) for method in METHODS),
          *(anonymous(method, KEY, NO_TOKEN, authorization(credentials))
            for credentials in (f"Bearer {UNKNOWN}", "Bearer  {token}", "{token}") for method in METHODS)),
    table("M12-a_user_of_no_app_is_refused", *(kv(method, KEY, NO_APP, body="1", who=PLAIN_USER) for method in METHODS)),
    table("M13-a_body_of_any_kind_of_json_is_taken", *(step for value in VALID_JSON for step in round_trip(KEY, value))),
    table("M13-a_body_that_is_no_json_is_refused",
          put(KEY, '"kept"'),
          *(kv("PUT", KEY, NO_JSON, body=body) for body in INVALID_JSON), kv("POST", KEY, NO_JSON, body="nope"),
          holds(KEY, '"kept"')),
    table("M14-a_value_may_have_8192_bytes", *(step for rest, method, chunked in (
        (KEY, "PUT", False), (KEY, "PUT", True), (KEY, "POST", False), (PREFIXED, "PUT", False)) for step in (
        put(rest, json_string(8192), method=method, chunked=chunked),
        *(kv(method, rest, TOO_LARGE, body=json_string(size), chunked=chunked) for size in (8193, 100_000)),
        holds(rest, json_string(8192))))),
    table("M14-it_is_measured_in_bytes",
          put(KEY, '"' + 4095 * "é" + '"'),
          *(kv("PUT", KEY, TOO_LARGE, body=larger)
            for larger in ('"x' + 4095 * "é" + '"', '"' + 4095 * "é" + '" ', '"' + 4096 * "é" + '"')),
          holds(KEY, '"' + 4095 * "é" + '"')),
    table("M15-a_longer_prefix_is_refused_by_the_plugin_and_taken_by_the_documentation",
          *prefix_errors(LONG_PREFIX), *prefix_errors("a-very-long-prefix")),
    table("M15-the_refused_prefix_is_quoted_as_go_does",
          kv("GET", "/%01%7F%22%5C/{key}", prefix_error(r'"\x01\x7f\"\\"')),
          kv("GET", "/%FF%FE%FD/{key}", prefix_error(r'"\xff\xfe\xfd"')),
          kv("GET", "/%C2%A0x/{key}", prefix_error(r'"\u00a0x"')),
          kv("GET", "/%E2%82%AC/{key}", prefix_error('"€"'))),
    table("M16-the_documentations_own_example_works_where_it_should", *prefix_errors("my-app")),
    table("M17-changed_is_always_true_or_says_whether_the_bytes_differ",
          *(kv("PUT", KEY, changed_is(documented=is_another), body=value)
            for value, is_another in (("1", True), ("1", False), ("2", True), ("1", True), ("1 ", True)))),
    table("M18-the_content_type_of_a_set_is_never_looked_at",
          *(step for method in SETS for number, kind in enumerate(CONTENT_TYPES)
            for step in round_trip(KEY, f'"{method} {number}"', method=method, headers={"Content-Type": kind})),
          kv("PUT", KEY, any_error, body="none", headers={"Content-Type": "text/plain"}), kv("PUT", KEY, any_error, body="none"),
          *round_trip(KEY, '"none"')),
    table("M19-errors_are_plain_text",
          kv("GET", KEY, plain_error, who=None), kv("PUT", KEY, plain_error, body="x"),
          kv("PUT", KEY, plain_error, body=LARGE), kv("GET", "/{key}/b/c", plain_error)),
    table("M20-the_path_is_matched_decoded",
          put("/kv%2F{key}", "1"), holds(PREFIXED, "1"),
          *round_trip("/{key}%2520b", "2"), lacks("/{key}%20b", "2"),
          put("/{key}%C3%A9", "3"), holds("/{key}%c3%a9", "3"),
          put("/{key}%E9", "5"), holds("/{key}%e9", "5"),
          put("/{key}+b", "4"), holds("/{key}%2Bb", "4"), lacks("/{key}%20b", "4"),
          is_malformed=True),
    table("M20-three_parts_or_a_slash_at_the_end_or_a_newline_are_not_found",
          *(kv(method, rest, NOT_FOUND, body="" if method == "GET" else "1")
            for rest in ("/{key}/b/c", "/{key}/", "/kv/{key}/", "/{key}%0Ab", "/kv/{key}%0Ab", "/{key}%2Fb%2Fc")
            for method in ("GET", "PUT", "PATCH")),
          is_malformed=True),
    table("M20-no_part_is_not_found", kv("GET", "/", NOT_FOUND), kv("GET", "", NOT_FOUND), is_malformed=True),
    table("M21-an_unclean_path_is_sent_to_the_clean_one",
          *(kv(method, rest, status(301, b"", {"Location": clean, "Content-Type": None}), body=body, who=who)
            for rest, clean in UNCLEAN_PATHS.items()
            for method, who, body in (("GET", None, ""), ("PATCH", BOT, ""), ("PUT", UNKNOWN, LARGE))),
          is_malformed=True),
    table("M22-another_method_is_not_allowed",
          *(kv(method, KEY, status(405, b"", {"Allow": None, "Content-Type": None}), who=who)
            for method in ("HEAD", "OPTIONS", "PATCH", "TRACE", "get", "Put", "PURGE") for who in (BOT, None)),
          is_malformed=True),
    table("M23-a_set_is_refused_in_this_order",
          *(step for method in SETS for step in (
              kv(method, "/{key}/b/c", text_error(404, "404"), body=LARGE, who=None),
              kv(method, LONG_PREFIXED, text_error(500, "size"), body=LARGE, who=None),
              kv(method, LONG_PREFIXED, status(401), body="x", who=UNKNOWN),
              kv(method, LONG_PREFIXED, text_error(401, "user ID"), body="x", who=None),
              kv(method, LONG_PREFIXED, text_error(400, "payload"), body="x"),
              kv(method, LONG_PREFIXED, text_error(500, "prefix"), body="1", is_plugin_only=True))),
          kv("PATCH", LONG_PREFIXED, status(405), body=LARGE, who=None)),
    table("M23-a_get_and_a_delete_are_refused_in_this_order",
          *(step for method in ("GET", "DELETE") for step in (
              kv(method, "/{key}/b/c", text_error(404, "404"), who=None),
              kv(method, f"/{LONG_PREFIX}/{{key}}", text_error(401, "user ID"), body=LARGE, who=None),
              kv(method, f"/{LONG_PREFIX}/{{key}}", by_profile(documented=status(200), plugin=status(500)))))),
    table("M23-a_user_of_no_app_has_a_place_in_the_order",
          kv("PUT", LONG_PREFIXED, text_error(500, "size"), body=LARGE, who=PLAIN_USER),
          kv("PUT", LONG_PREFIXED, text_error(401, "not an app"), body="x", who=PLAIN_USER),
          *(kv(method, f"/{LONG_PREFIX}/{{key}}", text_error(401, "not an app"), who=PLAIN_USER) for method in ("GET", "DELETE"))),
    table("M24-what_go_holds_valid_is_taken", *(step for value in VALID_FOR_GO for step in round_trip(KEY, value))),
    table("M24-what_go_does_not_is_refused",
          put(KEY, '"kept"'), *(kv("PUT", KEY, status(400), body=body) for body in INVALID_FOR_GO), holds(KEY, '"kept"')),
    table("M25-prefixes_are_padded_with_blanks",  # no key is set below another prefix that would be padded
          put(KEY, "1"), holds("/%20/{key}", "1"), holds("/%20%20/{key}", "1")),
    table("M25-a_prefix_is_measured_in_bytes",
          kv("GET", "/%C3%A9/{key}", status(200)),
          put(PREFIXED, "1"),
          kv("GET", "/kv%20/{key}", prefix_error('"kv "')),
          kv("GET", "/%E2%82%AC/{key}", prefix_error('"€"')),
          kv("GET", "/%C3%A9x/{key}", prefix_error('"éx"')),
          lacks("/kv%20/{key}", "1")),
    table("M26-a_cookie_counts_for_a_get_alone_or_with_a_word_more",
          put(KEY, "1"), anonymous("GET", KEY, status(200, "1"), COOKIE),
          *(anonymous(method, KEY, status(code), COOKIE | more) for method in (*SETS, "DELETE") for more, code in (
              ({}, 401),
              ({"X-CSRF-Token": UNKNOWN}, 401),
              ({"X-CSRF-Token": UNKNOWN, "X-Requested-With": "XMLHttpRequest"}, 401),
              ({"X-Requested-With": "fetch"}, 401),
              ({"X-Requested-With": "xmlhttprequest"}, 401),
              ({"X-Requested-With": "XMLHttpRequest"}, 200)))),
    table("M27-only_the_first_source_of_a_token_is_looked_at",
          put(KEY, "1"),
          *(step for word in ("Bearer", "token") for step in (
              anonymous("GET", KEY, status(401), authorization(f"{word} {UNKNOWN}") | COOKIE),
              anonymous("GET", KEY + TOKEN_IN_QUERY, status(401), authorization(f"{word} {UNKNOWN}")))),
          anonymous("GET", KEY + TOKEN_IN_QUERY, status(401), COOKIE_OF_UNKNOWN),
          anonymous("GET", KEY + TOKEN_IN_QUERY, status(401), {"Cookie": "a=b; MMAUTHTOKEN=; c=d"})),
    table("M27-a_user_id_that_a_client_sends_is_dropped",
          *(anonymous(method, KEY, status(401), {"Mattermost-User-Id": USER_ID}) for method in METHODS),
          *round_trip(KEY, "1", headers={"Mattermost-User-Id": USER_ID})),
]
# fmt: on
