"""What Mattermost's store does not take, in which words, and what is refused first: M14 to M16, M19, M23.

Law: a check knows its row, and what a caller hears. No value is ever set under a prefix that a right server refuses.
"""

from __future__ import annotations

from kvfake.contract.call import Answer, expect
from kvfake.contract.caller import PLAIN_USER, PREFIX, UNKNOWN, Caller
from kvfake.contract.checks import row
from kvfake.contract.rows.expected import ERROR, TEXT, TOO_LONG, holds, succeeds

_LARGE = 9000 * "x"  # M14: over 8192 bytes
_LONG = "ABC"  # M15: over two
_TOO_LARGE = "size limit of 8Kb exceeded\n"


def _string(size: int) -> str:
    """A value of so many bytes."""
    return '"' + (size - 2) * "x" + '"'


@row("M14")
def a_value_may_have_8192_bytes(caller: Caller) -> None:
    own = caller.key()
    for rest, method, chunked in ((own, "PUT", False), (own, "PUT", True), (own, "POST", False), (f"{PREFIX}/{own}", "PUT", False)):
        succeeds(caller.kv(method, rest, _string(8192), chunked=chunked))
        for size in (8193, 100_000):
            caller.kv(method, rest, _string(size), chunked=chunked).expect(500, _TOO_LARGE, TEXT)
        holds(caller, rest, _string(8192))


@row("M14")
def it_is_measured_in_bytes(caller: Caller) -> None:
    key = caller.key()
    value = '"' + 4095 * "é" + '"'
    succeeds(caller.kv("PUT", key, value))
    for larger in (value.replace('"', '"x', 1), value + " ", '"' + 4096 * "é" + '"'):
        caller.kv("PUT", key, larger).expect(500, _TOO_LARGE, TEXT)
    holds(caller, key, value)


def _prefix_is_too_long(caller: Caller, method: str, prefix: str) -> None:
    answer = caller.kv(method, f"{prefix}/{caller.key()}", "1" if method in ("PUT", "POST") else "")
    if caller.is_documented:
        answer.expect(200)
    else:
        answer.expect(500, TOO_LONG.format(f'"{prefix}"'), TEXT)


def _methods(caller: Caller) -> tuple[str, ...]:
    return ("GET", "DELETE") if caller.is_documented else ("GET", "DELETE", "PUT", "POST")


@row("M15")
def a_longer_prefix_is_refused_by_the_plugin_and_taken_by_the_documentation(caller: Caller) -> None:
    for prefix in (_LONG, "a-very-long-prefix"):
        for method in _methods(caller):
            _prefix_is_too_long(caller, method, prefix)


@row("M15")
def the_refused_prefix_is_quoted_as_go_does(caller: Caller) -> None:
    for sent, quoted in (
        ("%01%7F%22%5C", r'"\x01\x7f\"\\"'),
        ("%FF%FE%FD", r'"\xff\xfe\xfd"'),
        ("%C2%A0x", r'"\u00a0x"'),
        ("%E2%82%AC", '"€"'),
    ):
        answer = caller.kv("GET", f"{sent}/{caller.key()}")
        if caller.is_documented:
            answer.expect(200)
        else:
            answer.expect(500, TOO_LONG.format(quoted))


@row("M16")
def the_documentations_own_example_works_where_it_should(caller: Caller) -> None:
    for method in _methods(caller):
        _prefix_is_too_long(caller, method, "my-app")


@row("M19")
def errors_are_plain_text(caller: Caller) -> None:
    key = caller.key()
    for answer in (
        caller.kv("GET", key, who=None),
        caller.kv("PUT", key, "x"),
        caller.kv("PUT", key, _LARGE),
        caller.kv("GET", f"{key}/b/c"),
    ):
        expect(answer.status >= 400, "an error", answer.status)
        answer.expect(answer.status, headers=ERROR)
        is_plain = answer.body.endswith(b"\n") and b"{" not in answer.body
        expect(is_plain, "a line of plain text", answer.body)


def _refused(answer: Answer, status: int, begins: str) -> None:
    answer.expect(status)
    expect(answer.text.startswith(begins), f"a text that begins with {begins!r}", answer.body)


def _place(caller: Caller) -> str:
    """A key under a prefix that is refused last of all; where it would be taken, one that need not be."""
    return f"{PREFIX if caller.is_documented else _LONG}/{caller.key()}"


@row("M23")
def a_set_is_refused_in_this_order(caller: Caller) -> None:
    place = _place(caller)
    for method in ("PUT", "POST"):
        _refused(caller.kv(method, f"{caller.key()}/b/c", _LARGE, None), 404, "404")
        _refused(caller.kv(method, place, _LARGE, None), 500, "size")
        caller.kv(method, place, "x", None, {"Authorization": f"Bearer {UNKNOWN}"}).expect(401)
        _refused(caller.kv(method, place, "x", None), 401, "user ID")
        _refused(caller.kv(method, place, "x"), 400, "payload")
        if not caller.is_documented:
            _refused(caller.kv(method, place, "1"), 500, "prefix")
    caller.kv("PATCH", place, _LARGE, None).expect(405)


@row("M23")
def a_get_and_a_delete_are_refused_in_this_order(caller: Caller) -> None:
    place = f"{_LONG}/{caller.key()}"
    for method in ("GET", "DELETE"):
        _refused(caller.kv(method, f"{caller.key()}/b/c", who=None), 404, "404")
        _refused(caller.kv(method, place, _LARGE, None), 401, "user ID")
        caller.kv(method, place).expect(200 if caller.is_documented else 500)


@row("M23")
def a_user_of_no_app_has_a_place_in_the_order(caller: Caller) -> None:
    place = _place(caller)
    _refused(caller.kv("PUT", place, _LARGE, PLAIN_USER), 500, "size")
    _refused(caller.kv("PUT", place, "x", PLAIN_USER), 401, "not an app")
    for method in ("GET", "DELETE"):
        _refused(caller.kv(method, f"{_LONG}/{caller.key()}", who=PLAIN_USER), 401, "not an app")
