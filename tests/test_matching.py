"""Which requests are meant: what must hold of their fields, in Python and in JSON."""

from __future__ import annotations

import re
from typing import Any

import pytest

from kvfake.services.messages import Operation, Request
from kvfake.world import matching
from kvfake.world.matching import IncomingRequest, Matcher, from_json, to_json


def asked(verb: str, key: bytes = b"", keys: tuple[bytes, ...] = ()) -> IncomingRequest:
    operation = Operation(verb, "project", ("persist", "project", b""), key, keys=keys)
    return IncomingRequest("persist", operation, "project", Request("GET", b"/p?q", {b"x": b"y"}, path=b"/p", query=b"q"))


def test_a_request_that_is_not_answered_yet_has_fields_too() -> None:
    """A fault asks for them before there is a status."""
    one = asked("get", b"a\xff")
    assert Matcher(service="persist", verb="get", method="get", path="/p", key="a\udcff", owner="project").matches(one)
    assert one.request == ({"x": "y"}, b"")
    assert repr(one) == "<GET /p?q by project>"


def test_another_path_is_told_without_a_look_at_the_query(monkeypatch: pytest.MonkeyPatch) -> None:
    """To hide the secrets of a long query takes long, and many may wait for exchanges of a path."""
    monkeypatch.setattr(matching, "BY_NAME", None)
    assert Matcher(path="/p").matches(asked("get"))
    assert not any(Matcher(path=path).matches(asked("get")) for path in ("/other", "/other?q", "/p/"))
    monkeypatch.undo()
    assert Matcher(path="/p?q").matches(asked("get"))
    assert not Matcher(path="/p?other").matches(asked("get"))


@pytest.mark.parametrize(
    ("keys", "mismatches"),
    [
        ((), ["key is None, not 'x'"]),
        ((b"a",), ["key is 'a', not 'x'"]),
        ((b"a", b"b"), ["key is 'a', 'b', not 'x'"]),
        ((b"a", b"x"), []),
    ],
)
def test_every_key_of_several_counts(keys: tuple[bytes, ...], mismatches: list[str]) -> None:
    """An ``mget`` meets a key where it names it."""
    assert Matcher(key="x").mismatches(asked("mget", keys=keys)) == mismatches
    assert Matcher(key="x").matches(asked("mget", keys=keys)) == (not mismatches)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"service": "mattermst"}, "service: expected one of mattermost, persist, respond, mount, fallback, got 'mattermst'"),
        ({"verb": "put"}, "verb: expected one of get, set, delete, list, mget, got 'put'"),
    ],
)
def test_a_text_that_no_field_has_is_refused(wanted: dict[str, Any], message: str) -> None:
    """It would match nothing: a test that asserts that there was no such request would pass for ever."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Matcher(**wanted)


def test_what_is_not_there_matches_no_pattern() -> None:
    """A request without a token has no owner, and one that was refused no key: not even the empty pattern matches these."""
    nobody = IncomingRequest("persist", None, None, Request("GET", b"/p", {}, path=b"/p"))
    for name in ("owner", "key", "verb"):
        assert not Matcher(**{name: re.compile("")}).matches(nobody)
        assert Matcher(**{name: re.compile("")}).mismatches(nobody) == [f"{name} is None, not re.compile('')"]


@pytest.mark.parametrize(("value", "shown"), [("text", "'text'"), (200, "200"), (re.compile("a'b"), 're.compile("a\'b")')])
def test_expected_values_are_shown_as_python_writes_them(value: Any, shown: str) -> None:
    """A pattern by what it was made of."""
    assert str(Matcher(**{"status" if value == 200 else "key": value})).endswith(f"={shown}")


@pytest.mark.parametrize("value", ["text", None, 5, {"matches": "^a|b$"}])
def test_json_says_what_python_says(value: Any) -> None:
    """A pattern is an object with one name; anything else is itself, and checked where it is used."""
    read = from_json("key", value)
    assert isinstance(read, re.Pattern) == isinstance(value, dict)
    assert to_json(read) == value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({}, 'key: expected a text or {"matches": "<regular expression>"}, got {}'),
        ({"matches": 5}, "got {'matches': 5}"),
        ({"matches": "a", "more": 1}, "got {'matches': 'a', 'more': 1}"),
        ({"matches": "a" * 65_537}, "key: expected a regular expression of at most 65,536 characters, got 65,537"),
        ({"matches": "("}, "key: '(' is no regular expression: missing ), unterminated subpattern"),
        ({"matches": "a{99999999999999999999}"}, "is no regular expression: the repetition number is too large"),
    ],
)
def test_a_pattern_that_is_none_is_refused(value: Any, words: str) -> None:
    """With its field, and what is wrong with it."""
    with pytest.raises(ValueError, match=re.escape(words)):
        from_json("key", value)


def test_a_pattern_may_be_long() -> None:
    """As long as the bound says."""
    assert from_json("key", {"matches": "a" * 65_536}).pattern == "a" * 65_536


def test_a_pattern_that_is_too_deep_is_refused() -> None:
    """Python's compiler recurses."""
    with pytest.raises(ValueError, match="is no regular expression"):
        from_json("key", {"matches": "(" * 50_000})
