"""The rules of Go's standard library: JSON on bytes, clean paths, escapes."""

from __future__ import annotations

import json
import posixpath
import sys
from urllib.parse import quote_from_bytes, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvfake.services import go
from kvfake.services.go import BadEscape

JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
PIECES = st.lists(
    st.sampled_from(
        [
            b'"',
            b"\\",
            b"{",
            b"}",
            b"[",
            b"]",
            b":",
            b",",
            b"1",
            b"-",
            b"0",
            b".",
            b"e",
            b"true",
            b"null",
            b" ",
            b"\n",
            b'"a"',
            b"\xff",
        ]
    )
).map(b"".join)


@given(JSON, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_json_of_python_is_valid(value: object, ascii_only: bool, indent: int | str | None) -> None:
    """Any value's JSON is JSON, also with blanks around it."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    assert go.json_valid(b" \t\r\n" + text + b"\n")
    assert go._json_valid_exactly(text)


@given(PIECES | st.binary(max_size=20) | JSON.map(lambda value: json.dumps(value).encode()[:-1]))
def test_the_fast_and_the_exact_validator_agree(data: bytes) -> None:
    """Python's decoder is asked first only where it is as strict as Go's scanner."""
    assert go.json_valid(data) == go._json_valid_exactly(data)


@pytest.mark.parametrize(
    ("data", "valid"),
    [
        (10_000 * b"[" + 10_000 * b"]", True),
        (10_001 * b"[" + 10_001 * b"]", False),
        (200 * b'{"a":[' + 200 * b"]}", True),
        (200 * b'{"a":[' + 200 * b"}]", False),
        (b"[" + 300 * b"{}," + b"{}]", True),
        (b"[" + 300 * b"{}," + b"]", False),
        (b"[" + 300 * b'{"a" 1},' + b"1]", False),
        (b"[" + 300 * b"[1 2]," + b"1]", False),
        (b"[" + 300 * b"[]," + b"1],1", False),
        (b"[" + 300 * b'{"a":},' + b"1]", False),
        (b"[" + 300 * b"{1:1}," + b"1]", False),
        (b"[" + 300 * b"[\x00]," + b"1]", False),
    ],
)
def test_deep_and_wide_documents(data: bytes, valid: bool) -> None:
    """What is nested deeper than Python bears is judged exactly; Go's own bound is 10,000 levels."""
    assert go.json_valid(data) is valid


def test_the_depth_of_a_document() -> None:
    """Brackets in strings are none."""
    assert go.json_levels(b'{"a":[1,[2,"[[[["]],"b\\"[":{}}') == 3
    assert go.json_levels(b"1") == 0


@given(st.binary())
def test_escapes_are_undone_once(path: bytes) -> None:
    """A path that was encoded is the same again, whoever encoded it."""
    assert go.unescape(go.escape(path)) == path
    assert go.unescape(quote_from_bytes(path).encode()) == path == unquote_to_bytes(go.escape(path).decode())


@pytest.mark.parametrize("path", [b"%", b"a%", b"%4", b"%zz", b"%4g", b"%%41"])
def test_a_bad_escape_is_an_error(path: bytes) -> None:
    """Two hexadecimal digits, or nothing."""
    with pytest.raises(BadEscape):
        go.unescape(path)


def test_which_characters_a_path_keeps() -> None:
    """The characters that Go leaves alone in a path, and only those."""
    assert go.escape(b"aZ0-_.~$&+,/:;=@") == b"aZ0-_.~$&+,/:;=@"
    assert go.escape(b"!'()*[]\"%?# \xc3\xa9") == b"%21%27%28%29%2A%5B%5D%22%25%3F%23%20%C3%A9"


@given(
    st.lists(st.sampled_from([b"", b".", b"..", b"a", b"...", b".a", b"a b"]), max_size=8).map(
        lambda parts: b"/" + b"/".join(parts)
    )
)
def test_clean_paths(path: bytes) -> None:
    """Cleaning is what ``path.Clean`` does, with a slash at the end kept; a clean path stays as it is."""
    cleaned = go.clean(path)
    normal = posixpath.normpath(b"/" + path.lstrip(b"/"))
    assert cleaned == (normal + b"/" if path.endswith(b"/") and normal != b"/" else normal)
    assert go.clean(cleaned) == cleaned
    assert go.is_clean(path) == (cleaned == path)


@pytest.mark.parametrize(
    ("query", "value"),
    [
        (b"", b""),
        (b"t=1", b"1"),
        (b"t=1&t=2", b"1"),
        (b"t=&t=2", b""),
        (b"a;t=1&t=2", b"2"),
        (b"t=1;a&t=2", b"2"),
        (b"t=1;a", b""),
        (b"t=%zz&t=2", b"2"),
        (b"x%74=1&a=t=1&%7", b""),
        (b"%zz=1&t=2", b"2"),
        (b"%74=a+b%2B", b"a b+"),
        (b"t", b""),
        (b"tt=1", b""),
    ],
)
def test_the_first_value_of_a_query(query: bytes, value: bytes) -> None:
    """A pair that Go's parser drops is not there."""
    assert go.query_value(query, b"t") == value


@pytest.mark.parametrize(
    ("header", "value"),
    [
        (b"t=1", b"1"),
        (b"a=b; t=1; t=2", b"1"),
        (b'a="b;c"; t="1"', b"1"),
        (b't="', None),
        (b"t=\xc3\xa9; t=2", b"2"),
        (b"t=a b,c", b"a b,c"),
        (b"T=1", None),
        (b"t=", b""),
        (b"t", b""),
        (b"", None),
        (b"\tt=1 ;", b"1"),
    ],
)
def test_the_first_cookie_of_a_name(header: bytes, value: bytes | None) -> None:
    """A cookie whose value Go does not hold valid is not there."""
    assert go.cookie_value(header, b"t") == value


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        (b"abc", '"abc"'),
        (b'"\\', r'"\"\\"'),
        (b"\a\b\f\n\r\t\v", r'"\a\b\f\n\r\t\v"'),
        (b"\x01\x7f", r'"\x01\x7f"'),
        (b"\xff\xe2\x82", r'"\xff\xe2\x82"'),
        (b"\x80\xbf\x7f", r'"\x80\xbf\x7f"'),
        ("é€😀".encode(), '"é€😀"'),
        (b"\xc2\xa0", r'"\u00a0"'),
        ("\U000e0001".encode(), r'"\U000e0001"'),
        (b"\xef\xbf\xbd", '"\ufffd"'),
    ],
)
def test_quoting(text: bytes, quoted: str) -> None:
    """``%q`` of Go's fmt."""
    assert go.quoted(text) == quoted


def test_depth_does_not_depend_on_the_stack() -> None:
    """Deep documents are judged the same on a small stack."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(200)
    try:
        assert go.json_valid(4000 * b"[" + 4000 * b"]")
    finally:
        sys.setrecursionlimit(before)
