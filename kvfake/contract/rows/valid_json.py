"""What Mattermost's store takes for JSON: M13, M24.

Law: a check knows its row, and what a caller hears.
"""

from __future__ import annotations

from collections.abc import Iterable

from kvfake.contract.caller import Caller
from kvfake.contract.checks import row
from kvfake.contract.rows.expected import TEXT, holds, put

_REFUSED = "payload is not valid json: invalid input\n"

_JSON = ("{}", '{"a":1}', "[]", '""', "0", "-0", "1.5e-7", "true", "false", "null", " [1] ")
_NO_JSON = ("", " ", "{", "nul", "'a'", "{a:1}", "[1,]", "01", "1.", ".5", "+1", '"a', '"\\x"', "1 2", "//", "1/**/", '{"a":1,}')

_GOS_JSON = (
    b'"\xff\xfe"',
    b'{"\xc3":1}',
    b'"\\ud800"',
    b'"\\uDC00"',
    b'"\\/\\b\\f"',
    b'{"":1}',
    b"1E5",
    b"1e999",
    b"-1e999",
    b"-" + 5000 * b"9",
    b"0." + 5000 * b"1",
    4000 * b"[" + 4000 * b"]",
    1000 * b'{"a":' + b"1" + 1000 * b"}",
    b'{"a":1,"a":2}',
    b'"\x7f"',
)
_NO_JSON_OF_GOS = (
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"[NaN]",
    b"\xef\xbb\xbf1",
    b'"\n"',
    b'"\t"',
    b'"\x00"',
    b'"\x1f"',
    b"\x0b1",
    b"\xa01",
    b"1\xa0",
    b"1\xc2\xa0",
    b"1\xe2\x80\xa8",
    b"1\x0c",
    b"1\0",
    b"1\x000\x00",
    b'"\\u00g0"',
    4000 * b"[" + 3999 * b"]",
    4000 * b"[" + 4000 * b"}",
    b"0x1",
    b"1_000",
    b"\xd9\xa1",
)


def _are_taken(caller: Caller, key: str, values: Iterable[bytes | str]) -> None:
    """Each is stored, and comes back to the byte."""
    for value in values:
        put(caller, key, value)
        holds(caller, key, value)


@row("M13")
def a_body_of_any_kind_of_json_is_taken(caller: Caller) -> None:
    _are_taken(caller, caller.key(), _JSON)


@row("M13")
def a_body_that_is_no_json_is_refused(caller: Caller) -> None:
    key = caller.key()
    put(caller, key, '"kept"')
    for body in _NO_JSON:
        caller.kv("PUT", key, body).expect(400, _REFUSED, TEXT)
    caller.kv("POST", key, "nope").expect(400, _REFUSED, TEXT)
    holds(caller, key, '"kept"')


@row("M24")
def what_go_holds_valid_is_taken(caller: Caller) -> None:
    _are_taken(caller, caller.key(), _GOS_JSON)


@row("M24")
def what_go_does_not_is_refused(caller: Caller) -> None:
    key = caller.key()
    put(caller, key, '"kept"')
    for body in _NO_JSON_OF_GOS:
        caller.kv("PUT", key, body).expect(400)
    holds(caller, key, '"kept"')
