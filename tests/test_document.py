"""A file of values is read a piece at a time, and is the same as if it were read at once."""

from __future__ import annotations

import json
import tracemalloc
from json import JSONDecodeError

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kvfake.world import document
from kvfake.world.document import MAX_NAMES, MAX_PARTS, MAX_VALUE_BYTES, DataError, JsonText, parse

FILE = (
    '{"kvfake": 1,\n "mattermost": {"app/bot": {"": {"name": "Ada", "é": [1, {"a": 2.5}], "n": 12345678e9}, "p": {}}},\n'
    '\t"persist": {"project": {"c": {"value": "x\\u00e9", "updated": "q"}, "d": "\U0001f600"}}, "tokens": {"t": ["a", "b"]}}'
).encode()
BYTES = st.sampled_from(
    [bytes([byte]) for byte in b'{}[],:" \n\\01ae-.\xc3\xff'] + [b"\r\n", b"\xef\xbb\xbf", b"true", b"\\u00e9", b""]
)
CHANGES = st.lists(st.tuples(st.integers(0, len(FILE)), st.integers(0, 3), BYTES), max_size=3)


def at_once(data: bytes) -> object:
    """What Python's own decoder makes of it, or what it says is wrong."""
    try:
        return json.loads(data.decode("utf-8-sig"))
    except JSONDecodeError as wrong:
        return f"x: line {wrong.lineno}, column {wrong.colno}: {wrong.msg}"


def in_pieces(data: bytes) -> object:
    try:
        return parse(data, "x")
    except DataError as wrong:
        return str(wrong)


@given(changes=CHANGES, piece_bytes=st.sampled_from([4, 9, 40, 2048]))
@example(changes=[], piece_bytes=8)
def test_a_document_is_read_as_if_it_were_read_at_once(changes: list[tuple[int, int, bytes]], piece_bytes: int) -> None:
    """Also where it is wrong: the same words, the same line and column, wherever a piece ends."""
    data = FILE
    for place, removed, added in changes:
        data = data[:place] + added + data[place + removed :]
    try:
        expected = at_once(data)
    except UnicodeDecodeError:
        with pytest.raises(DataError):
            parse(data, "x")
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document, "_PIECE_BYTES", piece_bytes)
        found = in_pieces(data)
    if isinstance(found, str) and "stands twice" in found:  # which the decoder takes
        return
    assert found == expected


@pytest.mark.parametrize(
    "value", ['"' + "é\\n" * 100_000 + '"', "[" + "[1.5]," * 9000 + "0]", "7" * 4000, '{"a": "' + "\\\\" * 5000 + '"}']
)
def test_a_long_value_is_read(value: str) -> None:
    """Longer than a piece, with every kind of character at its end."""
    assert parse(f'{{"kvfake": {value} , "b": 1}}'.encode(), "x") == {"kvfake": json.loads(value), "b": 1}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (
            b'"' + b"x" * MAX_VALUE_BYTES + b'"',
            f"line 2, column 3: a value of more than {MAX_VALUE_BYTES} bytes or {MAX_PARTS} parts",
        ),
        (b'"' + b"x" * MAX_VALUE_BYTES, f"line 2, column 3: a value of more than {MAX_VALUE_BYTES} bytes"),
        (
            b"[" + b"[]," * MAX_PARTS + b"[]]",
            f"line 2, column 3: a value of more than {MAX_VALUE_BYTES} bytes or {MAX_PARTS} parts",
        ),
        (b"[" * 3000, "it is nested more than 504 levels deep"),
        (b"[" + b'"x",' * 600 + b"[" * 600, "it is nested more than 504 levels deep"),
        (b'"' + b"x" * 3000 + b"\\", "line 2, column 3: Unterminated string"),
        (b"[1," + b" " * 3000 + b"x]", "line 2, column 3006: Expecting value"),
        (b"[" + b"1, " * 1000, "line 2, column 3004: Expecting value"),
    ],
    ids=range(8),
)
def test_a_value_that_is_too_long_or_wrong_is_refused(value: bytes, words: str) -> None:
    """With its place."""
    with pytest.raises(DataError) as refused:
        parse(b"\n  " + value, "x")
    assert str(refused.value).startswith(f"x: {words}")


def test_blanks_are_passed_over_however_many() -> None:
    """Between any two parts of a document."""
    parts = [b"", b"{", b'"kvfake"', b":", b"1", b"}", b""]
    assert parse((b" \t\n\r" * 50_000).join(parts), "x") == {"kvfake": 1}


def test_a_byte_order_mark_is_no_column() -> None:
    """The place of an error is that in the text."""
    with pytest.raises(DataError, match=r"^x: line 1, column 6: Expecting ':' delimiter$"):
        parse(b'\xef\xbb\xbf{"a" 1}', "x")


def test_a_document_with_too_many_names_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would take more memory than their bytes."""
    assert MAX_NAMES == 2_000_000
    monkeypatch.setattr(document, "MAX_NAMES", 1000)
    many = json.dumps({"persist": {"project": {str(number): "" for number in range(1200)}}}).encode()
    with pytest.raises(DataError, match="it holds more than 1000 names: expected fewer, in several files"):
        parse(many, "x")


def test_a_value_takes_no_more_memory_than_its_bytes_until_it_is_wanted() -> None:
    """So brackets side by side, which take 30 times their bytes as Python values, cost nothing more."""
    value = b"[" + b"[]," * 2000 + b"[]]"
    data = b'{"mattermost":{"app/bot":{"":{%b}}}}' % b",".join(b'"%d":%b' % (number, value) for number in range(30))
    tracemalloc.start()
    try:
        found = parse(data, "x", is_compact=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * len(data)
    inner = found["mattermost"]["app/bot"][""]["7"]
    assert isinstance(inner, JsonText)
    assert inner.load() == json.loads(value)


def test_reading_pauses_between_pieces() -> None:
    """Names, values and long values alike: whoever reads may let others go first."""
    pauses: list[None] = []
    parse(
        json.dumps({"persist": {"project": {str(number): "" for number in range(1000)}}}).encode(),
        "x",
        pause=lambda: pauses.append(None),
    )
    assert len(pauses) >= 10
    pauses.clear()
    parse(b"[" + b'"",' * 4000 + b'""]', "x", pause=lambda: pauses.append(None))
    assert len(pauses) >= 4000
