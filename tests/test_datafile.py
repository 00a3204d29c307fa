"""The file of values: what is dumped loads back to the byte, and what cannot be loaded changes nothing."""

from __future__ import annotations

import base64
import json
import os
import re
import stat
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kvfake
from kvfake.files import write_whole
from kvfake.services import mattermost, persist
from kvfake.settings import WORLD, resolve
from kvfake.stores import Entry, Namespace
from kvfake.stores.memory import MemoryStore
from kvfake.world.backend import local_world
from kvfake.world.datafile import DataError, dump, load, parse, read, text_of
from kvfake.world.tokens import TokenIssuer
from kvfake.world.world import World

MOMENT = "2016-09-09T23:16:43.970809Z"
MICROSECONDS = 1_473_463_003_970_809

EXAMPLE: dict[str, Any] = {
    "kvfake": 1,
    "mattermost": {"app/bot": {"": {"name": "Ada"}, "p": {"k": 1}}},
    "persist": {"project": {"convo::42": {"value": '{"step":2}', "updated": MOMENT}}},
    "raw": {"mattermost": {"app/bot": {"": {"odd": "MWU5OTk="}}}},
    "tokens": {"bot-token": "app/bot", "shared": ["app/ada", "project:other"]},
}


def a_world(**settings: Any) -> World:
    return local_world("id", 0, "http://world.test", resolve(settings, scopes=(WORLD,)), TokenIssuer())


@pytest.fixture
def world() -> World:
    return a_world()


def content(world: World) -> dict[tuple[Namespace, bytes], Entry | None]:
    """Everything that lies in the store."""
    return {(space, key): world.store.get(space, key) for space in world.store.namespaces() for key in world.store.keys(space)}


def put(world: World, value: bytes, key: bytes = b"k", prefix: bytes = b"", owner: str = "app/bot") -> None:
    world.store.set(mattermost.namespace(owner, prefix), key, Entry(value, MICROSECONDS))


def put_string(world: World, value: str, key: bytes = b"k", project: str = "project") -> None:
    world.store.set(persist.namespace(project), key, Entry(value.encode(), MICROSECONDS))


def the_value(world: World, key: bytes = b"k", prefix: bytes = b"", owner: str = "app/bot") -> bytes:
    entry = world.store.get(mattermost.namespace(owner, prefix), key)
    assert entry is not None
    return entry.value


def of_bot(value: object) -> dict[str, Any]:
    return {"app/bot": {"": {"k": value}}}


def through_a_file(data: Mapping[str, Any]) -> object:
    return parse(text_of(data).encode(), "data.json")


# ----------------------------------------------------------------------------------------------------------------- and back


def test_a_file_holds_the_values_of_a_world(world: World) -> None:
    """Loaded and dumped it is the same file."""
    assert load(world, EXAMPLE) == 4
    assert dump(world) == EXAMPLE
    assert (the_value(world, b"name"), the_value(world, prefix=b"p"), the_value(world, b"odd")) == (b'"Ada"', b"1", b"1e999")
    assert world.store.get(persist.namespace("project"), b"convo::42") == Entry(b'{"step":2}', MICROSECONDS)
    assert world.tokens.owner_of("mattermost", b"bot-token") == "app/bot"
    assert world.tokens.owner_of("mattermost", b"shared") == "app/ada"
    assert world.tokens.owner_of("persist", b"shared") == "other"


def test_an_empty_world_is_a_file_too(world: World) -> None:
    """It has a place for each service."""
    assert dump(world) == {"kvfake": 1, "mattermost": {}, "persist": {}}
    assert load(world, {"kvfake": 1}) == 0


ODD_VALUES = [
    b'{"a": 1}',
    b' "Ada"\n',
    b'{"b":1,"a":2}',
    b'{"a":1,"a":2}',
    b"1e999",
    b"-0",
    b"-0.0",
    b"1.0",
    b"1e5",
    b"12345678901234567890.123",
    b"7" * 4000,
    b"7" * 5000,
    b'"\\ud800"',
    b'"\\udc80 \\ud83d\\ud83d\\ude00"',
    b'{"\\ud800":"\xc3\xa9"}',
    b'"\\u00e9"',
    b'"\xff"',
    b'"' + 2000 * "é".encode() + b'\\ud800"',
    b'"\x7f\xe2\x80\xa8\\u0000"',
    500 * b"[" + 500 * b"]",
    501 * b"[" + 501 * b"]",
    4000 * b"[" + 4000 * b"]",
    b"[" + 600 * b"{}," + b"{}]",
]

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3))
LIKE_STRINGIFY = JSON.map(lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"))
LIKE_PYTHON = JSON.map(lambda value: json.dumps(value).encode())
ANY_BYTES = st.binary(max_size=8).map(lambda inner: b'"' + inner + b'"')


def is_taken(check: Any, *given: object) -> bool:
    try:
        check(*given)
    except ValueError:
        return False
    return True


VALUES = (LIKE_STRINGIFY | LIKE_PYTHON | ANY_BYTES | st.sampled_from(ODD_VALUES)).filter(
    lambda value: is_taken(mattermost.check_value, value)
)
KEYS = (st.binary(min_size=1, max_size=4) | st.sampled_from([b"\xc3", b"\xf0\x9f\x98\x80", b"a\xed\xa0\x80", b" k "])).filter(
    lambda key: is_taken(mattermost.check_key, key)
)
PREFIXES = (st.binary(max_size=4) | st.sampled_from([b"", b" ", b"p", b"p ", b". ", b"   ", b"abc "])).filter(
    lambda prefix: is_taken(mattermost.check_prefix, prefix, mattermost.profile("documented"))
)
OWNERS = st.sampled_from(["app/bot", "app/ada", "app/a/b", "other/é", "anonymous-0123456789ab"])
STRINGS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
MOMENTS = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)


@given(
    values=st.lists(st.tuples(OWNERS, PREFIXES, KEYS, VALUES), max_size=6),
    strings=st.lists(st.tuples(st.text(min_size=1, max_size=3), st.binary(min_size=1, max_size=4), STRINGS, MOMENTS), max_size=4),
    in_a_file=st.booleans(),
)
def test_a_world_comes_back_to_the_byte(
    values: list[tuple[str, bytes, bytes, bytes]], strings: list[tuple[str, bytes, str, int]], in_a_file: bool
) -> None:
    """Every key and value that a service takes, and when a string was set; as data and as a text."""
    before, after = a_world(), a_world()
    for owner, prefix, key, value in values:
        put(before, value, key, prefix, owner)
    for project, key, string, moment in strings:
        before.store.set(persist.namespace(project), key, Entry(string.encode(), moment))
    dumped = dump(before)
    assert load(after, through_a_file(dumped) if in_a_file else dumped) == len(content(before))
    for (space, key), entry in content(before).items():
        loaded = after.store.get(space, key)
        assert loaded is not None
        assert entry is not None
        assert loaded.value == entry.value
        assert loaded == entry or space[0] == "mattermost"
    assert content(after).keys() == content(before).keys()
    assert dump(after) == dumped


@pytest.mark.parametrize("value", ODD_VALUES, ids=range(len(ODD_VALUES)))
def test_odd_values_come_back_to_the_byte(world: World, value: bytes) -> None:
    """Through a text, too."""
    mattermost.check_value(value)
    put(world, value)
    other = a_world()
    load(other, through_a_file(dump(world)))
    assert the_value(other) == value


def test_a_deep_file_is_read_on_a_small_stack(world: World) -> None:
    """As deep as a value is shown; what is deeper is refused before it is read."""
    put(world, 500 * b"[" + 500 * b"]")
    seen: list[object] = []

    def work() -> None:
        data = through_a_file(dump(world))
        seen.append(load(a_world(), data))
        with pytest.raises(DataError, match="it is nested more than 504 levels deep"):
            parse(100_000 * b"[", "data.json")
        seen.append("refused")

    before = threading.stack_size(512 * 1024)
    try:
        thread = threading.Thread(target=work)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert seen == [1, "refused"]


# ------------------------------------------------------------------------------------------------------------- out of a world


def test_values_are_readable_where_they_can_be(world: World) -> None:
    """Its bytes stand beside it only where the value does not tell them; what Python cannot show is in bytes alone."""
    put(world, b'{"b":"\xc3\xa9","a":[1,2.5,null]}', b"plain")
    put(world, b'{"a": 1}', b"blanks")
    put(world, b"1e999", b"huge")
    assert dump(world)["mattermost"] == {"app/bot": {"": {"blanks": {"a": 1}, "plain": {"b": "é", "a": [1, 2.5, None]}}}}
    raw = dump(world)["raw"]["mattermost"]["app/bot"][""]
    assert {key: base64.b64decode(text) for key, text in raw.items()} == {"blanks": b'{"a": 1}', "huge": b"1e999"}


@pytest.mark.parametrize(
    ("stored", "shown"),
    [(b"", ""), (b"  ", ""), (b"p", "p"), (b"p ", "p"), (b" p", " p"), (b". ", ". "), (b"abc ", "abc "), (b"\xff", "\udcff")],
)
def test_a_prefix_is_shown_without_its_padding(world: World, stored: bytes, shown: str) -> None:
    """But as it is where it is longer, or nothing but a dot, which no request can name."""
    put(world, b"1", prefix=stored)
    assert dump(world)["mattermost"] == {"app/bot": {shown: {"k": 1}}}


def test_a_dump_can_be_narrowed(world: World) -> None:
    """By service, owner, prefix and key; tokens are only in a whole one."""
    load(world, EXAMPLE)
    put(world, b"2", b"name", owner="app/ada")
    put_string(world, "x", b"name")
    record = {"value": "x", "updated": MOMENT}
    nothing: dict[str, Any] = {"kvfake": 1, "mattermost": {}, "persist": {}}
    ada, bot = {"app/ada": {"": {"name": 2}}}, {"app/bot": {"": {"name": "Ada"}}}
    assert dump(world, service="persist") == {**nothing, "persist": {"project": {**EXAMPLE["persist"]["project"], "name": record}}}
    assert dump(world, service="mattermost", owner="app/ada") == {**nothing, "mattermost": ada}
    assert dump(world, key="name") == {**nothing, "mattermost": {**ada, **bot}, "persist": {"project": {"name": record}}}
    assert dump(world, owner="app/bot", prefix="p") == {**nothing, "mattermost": {"app/bot": {"p": {"k": 1}}}}
    assert dump(world, prefix="p", key="name") == {**nothing, "persist": {"project": {"name": record}}}
    assert dump(world, "mattermost", "app/bot", key="name") == {**nothing, "mattermost": bot}
    assert dump(world, "mattermost", "app/bot", "p ", "k") == {**nothing, "mattermost": {"app/bot": {"p": {"k": 1}}}}
    assert dump(world, "mattermost", "app/bot", "", "odd") == {**nothing, "raw": EXAMPLE["raw"]}
    assert dump(world, "persist", "project", key="name") == {**nothing, "persist": {"project": {"name": record}}}
    assert dump(world, "persist", "project", key="none") == nothing


class Unlisted(MemoryStore):
    """A store in which nothing may be listed."""

    def namespaces(self) -> NoReturn:
        raise AssertionError("the namespaces were listed")

    def keys(self, namespace: Namespace, begins: bytes = b"") -> NoReturn:
        raise AssertionError("keys were listed")


def test_one_value_costs_the_same_however_much_is_stored(world: World) -> None:
    """With service, owner and key nothing is listed."""
    world.store = Unlisted()
    put(world, b"1", b"\xff")
    put_string(world, "x")
    assert dump(world, "mattermost", "app/bot", key="\udcff")["mattermost"] == {"app/bot": {"": {"\udcff": 1}}}
    assert dump(world, "persist", "project", key="k")["persist"] == {"project": {"k": {"value": "x", "updated": MOMENT}}}


def test_a_dump_of_an_impossible_name_is_refused(world: World) -> None:
    """It would say that there is nothing."""
    with pytest.raises(DataError, match="'redis' is no service: expected mattermost or persist"):
        dump(world, service="redis")
    with pytest.raises(DataError, match=r"'a\\ud800' has a lone surrogate at character 1"):
        dump(world, key="a\ud800")


def test_the_tokens_of_a_file_are_those_that_a_user_named() -> None:
    """At the start or later; not those that were made here."""
    world = a_world(token=("mine=app/bot", "mine=project:other", "session=/ada"))
    world.token("mattermost", "app/bot")
    assert "tokens" in dump(world)
    issued = world.token("persist", "project")
    world.tokens.add(issued, "app/eve")
    assert dump(world)["tokens"] == {"mine": ["app/bot", "project:other"], "session": "/ada", issued: "app/eve"}


# --------------------------------------------------------------------------------------------------------------- into a world


def test_loaded_values_are_added_or_replace_all(world: World) -> None:
    """Or in its place, where that is asked for; what else a world knows stays."""
    put(world, b"1", b"old")
    put(world, b"1", b"k")
    world.tokens.add("mine", "app/bot")
    mark = world.store.checkpoint()
    assert load(world, {"kvfake": 1, "mattermost": of_bot(2)}) == 1
    assert dump(world)["mattermost"] == {"app/bot": {"": {"k": 2, "old": 1}}}
    load(world, {"kvfake": 1, "mattermost": of_bot(3)}, replace=True)
    assert dump(world) == {"kvfake": 1, "mattermost": of_bot(3), "persist": {}, "tokens": {"mine": "app/bot"}}
    world.store.rollback(mark)
    assert dump(world)["mattermost"] == {"app/bot": {"": {"k": 1, "old": 1}}}


def test_a_value_without_a_time_is_set_now(world: World) -> None:
    """By the world's clock."""
    before = world.clock.now()
    load(world, {"kvfake": 1, "mattermost": of_bot(1), "persist": {"project": {"plain": "x", "bare": {"value": "y"}}}})
    entries = [entry for entry in content(world).values() if entry is not None]
    assert {entry.value for entry in entries} == {b"1", b"x", b"y"}
    assert all(before <= entry.updated <= world.clock.now() for entry in entries)
    assert len({entry.updated for entry in entries}) == 1


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        (MOMENT, MICROSECONDS),
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.5Z", 500_000),
        ("1970-01-01T00:00:01.000001Z", 1_000_001),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
        ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
    ],
)
def test_a_time_is_kept_to_the_microsecond(world: World, text: str, moment: int) -> None:
    """With as many decimals as there are."""
    load(world, {"kvfake": 1, "persist": {"project": {"k": {"value": "x", "updated": text}}}})
    assert world.store.get(persist.namespace("project"), b"k") == Entry(b"x", moment)
    assert re.search(SCHEMA["$defs"]["updated"]["pattern"], text)


NO_TIMES = [
    "2016-09-09",
    "2016-09-09 23:16:43Z",
    "2016-09-09T23:16:43",
    "2016-09-09T23:16:43+00:00",
    "2016-09-09t23:16:43z",
    "2016-09-09T23:16:43.Z",
    "2016-09-09T23:16:43.1234567Z",
    "2016-09-09T24:00:00Z",
    "2016-09-09T23:16:60Z",
    "0000-01-01T00:00:00Z",
    "10000-01-01T00:00:00Z",
    "٢٠١٦-09-09T23:16:43Z",
]


@pytest.mark.parametrize("text", [*NO_TIMES, "2016-02-30T00:00:00Z", MOMENT + "\n", 5, None])
def test_a_time_that_is_none_is_refused(world: World, text: object) -> None:
    """The error says what was expected."""
    with pytest.raises(DataError, match=r"persist / project / k: updated is .*: expected RFC 3339 in UTC, such as 2016-09-09T23:"):
        load(world, {"kvfake": 1, "persist": {"project": {"k": {"value": "x", "updated": text}}}})
    assert text not in NO_TIMES or not re.search(SCHEMA["$defs"]["updated"]["pattern"], str(text))


@pytest.mark.parametrize(
    ("raw", "readable", "loaded"),
    [
        (b'{"a": 1}', {"a": 1}, b'{"a": 1}'),
        (b'{"b": 1, "a": 2}', {"a": 2, "b": 1}, b'{"b": 1, "a": 2}'),
        (b'{"a": 1}', {"a": 2}, b'{"a":2}'),
        (b"[1 ]", [1.0], b"[1.0]"),
        (b"[1 ]", [True], b"[true]"),
        (b"[0 ]", [False], b"[false]"),
        (b"1e999", 1, b"1"),
        (b'"' + 2000 * "é".encode() + b'\\ud800"', 2000 * "é" + "\ud800", b'"' + 2000 * "é".encode() + b'\\ud800"'),
    ],
)
def test_bytes_count_until_their_value_was_edited(world: World, raw: bytes, readable: object, loaded: bytes) -> None:
    """Values are compared as JSON's, in which ``1`` is not ``true``, and the order of names says nothing."""
    data = {"kvfake": 1, "mattermost": of_bot(readable), "raw": {"mattermost": of_bot(base64.b64encode(raw).decode())}}
    assert load(world, data) == 1
    assert the_value(world) == loaded


def bot(value: object = 1, key: str = "k", prefix: str = "", owner: str = "app/bot") -> dict[str, Any]:
    return {"mattermost": {owner: {prefix: {key: value}}}}


def project(value: object, key: str = "k", name: str = "project") -> dict[str, Any]:
    return {"persist": {name: {key: value}}}


CIRCLE: list[object] = []
CIRCLE.append(CIRCLE)

REFUSED: list[tuple[dict[Any, Any], str]] = [
    ({"kvfake": 2}, "kvfake: it is 2: expected 1"),
    ({"kvfake": "1"}, "kvfake: it is '1': expected 1"),
    ({"kvfake": True}, "kvfake: it is True: expected 1"),
    ({"kvfake": None}, "kvfake: it is None: expected 1"),
    ({"mattermst": {}}, "the data: 'mattermst' is not known here: expected kvfake, mattermost, persist, raw, tokens"),
    ({5: {}}, "the data: 5 is not known here: expected kvfake"),
    ({"mattermost": None}, "mattermost: it is null: expected an object"),
    ({"mattermost": {"app/bot": []}}, "mattermost / app/bot: it is an array: expected an object"),
    ({"mattermost": {"app/bot": {"": 5}}}, 'mattermost / app/bot / "": it is a number: expected an object'),
    ({"mattermost": {"app/bot": {"": {5: 1}}}}, 'mattermost / app/bot / "": 5 is not known here: expected a text'),
    (bot("x" * 8191, "name"), 'mattermost / app/bot / "" / name: size limit of 8Kb exceeded'),
    (bot(float("nan")), 'mattermost / app/bot / "" / k: payload is not valid json: '),
    (bot([float("inf")]), 'mattermost / app/bot / "" / k: payload is not valid json: '),
    (bot({1, 2}), 'mattermost / app/bot / "" / k: Object of type set is not JSON serializable'),
    (bot(CIRCLE), 'mattermost / app/bot / "" / k: payload is not valid json: Circular reference'),
    (bot(key="a/b"), 'mattermost / app/bot / "" / a/b: 404 page not found: no request can name the key "a/b"'),
    (bot(key=""), 'mattermost / app/bot / "" / "": 404 page not found'),
    (bot(key="\ud800"), r'mattermost / app/bot / "" / "\ud800": ' + r"'\ud800' has a lone surrogate at character 0"),
    (bot(prefix=".."), 'mattermost / app/bot / ..: 404 page not found: no request can name the prefix ".."'),
    (bot(owner="bot"), "mattermost / bot: it is no owner: expected app/user, or anonymous-..."),
    (bot(owner="/ada"), "mattermost / /ada: it is no owner: expected app/user"),
    ({"mattermost": {"": {}}}, 'mattermost / "": it is no owner'),
    ({"mattermost": {"app/bot": {"p": {"k": 1}, "p ": {"k": 2}}}}, 'mattermost / app/bot / "p " / k: it stands here twice'),
    ({"mattermost": {"app/bot": {"": {"é": 1, "\udcc3\udca9": 2}}}}, "it stands here twice, with its prefix or its key written"),
    (project(5), "persist / project / k: value is a number: expected a string"),
    (project([]), "persist / project / k: value is an array: expected a string"),
    (project("a\ud800"), "persist / project / k: value has a lone surrogate at character 1"),
    (project("x" * 262_145, " k"), 'persist / project / " k": value has 262145 bytes: expected at most 262144 bytes'),
    (project({"value": 5}), "persist / project / k: value is a number: expected a string"),
    (project({"updated": MOMENT}), 'persist / project / k: value is missing: expected {"value": "<string>"}'),
    (project({"value": "x", "set": MOMENT}), "persist / project / k: 'set' is not known here: expected value, updated"),
    (project("x", ""), 'persist / project / "": the key is empty'),
    (project("x", name=""), 'persist / "": the project\'s name is empty'),
    ({"raw": []}, "raw: it is an array: expected an object"),
    ({"raw": {"persist": {}}}, "raw: 'persist' is not known here: expected mattermost"),
    ({"raw": bot("MQ")}, 'raw / mattermost / app/bot / "" / k: it is not base64 (Incorrect padding)'),
    ({"raw": bot("é")}, 'raw / mattermost / app/bot / "" / k: it is not base64'),
    ({"raw": bot(5)}, 'raw / mattermost / app/bot / "" / k: it is not base64'),
    ({"raw": bot("bm9wZQ==")}, 'raw / mattermost / app/bot / "" / k: payload is not valid json: invalid input'),
    ({"raw": bot("MQ==", owner="bot")}, "raw / mattermost / bot: it is no owner"),
    ({"tokens": []}, "tokens: it is an array: expected an object"),
    ({"tokens": {"mine": 5}}, "tokens / ...: it is a number: expected an owner, or a list of owners"),
    ({"tokens": {"mine": ["app/bot", None]}}, "tokens / ...: it is null: expected an owner, or a list of owners"),
    ({"tokens": {"mine": "bot"}}, "tokens / ...: 'bot' is not an owner: expected app/user"),
    ({"tokens": {"mine": ["app/bot", "app/ada"]}}, "tokens / ...: it has several owners of one service"),
    ({"tokens": {"": "app/bot"}}, 'tokens / "": the token is empty'),
    ({"tokens": {"\ud800": "app/bot"}}, "tokens / ...: "),
]


@pytest.mark.parametrize(("wrong", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_an_error_names_its_place(world: World, wrong: dict[Any, Any], words: str) -> None:
    """In the service's words, and nothing changes, whatever else the data hold."""
    load(world, EXAMPLE)
    before, whole = content(world), dump(world)
    data = {**EXAMPLE, "mattermost": {"app/new": {"": {"new": 1}}}, "tokens": {"new": "app/new"}, **wrong}
    with pytest.raises(DataError, match=re.escape(words)) as refusal:
        load(world, data, replace=True)
    assert str(refusal.value).startswith(words) or "twice" in words
    assert content(world) == before
    assert dump(world) == whole


@pytest.mark.parametrize(("data", "words"), [([], "the data: it is an array"), ({}, "kvfake: it is missing: expected 1")])
def test_data_must_be_a_file_of_values(world: World, data: object, words: str) -> None:
    """Of this version."""
    with pytest.raises(DataError, match=words):
        load(world, data)


def test_a_long_prefix_is_refused_where_the_plugin_would() -> None:
    """In the plugin's words."""
    with pytest.raises(DataError, match='mattermost / app/bot / abc: prefix "abc" is longer than the limit of 2 ASCII characters'):
        load(a_world(profile="plugin-1.2"), {"kvfake": 1, **bot(prefix="abc")})


def test_data_that_is_too_deep_for_python_is_refused(world: World) -> None:
    """As data, where no text was read."""
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(DataError, match='mattermost / app/bot / "" / k: '):
        load(world, {"kvfake": 1, **bot(deep)})
    while deep:
        deep = deep.pop()  # type: ignore[assignment]


# -------------------------------------------------------------------------------------------------------------------- a text


def test_a_text_is_sorted_and_indented() -> None:
    """Down to the keys; a value keeps its order, which is that of its bytes."""
    data = {
        "persist": {"p": {"b": {"value": "é", "updated": MOMENT}, "a": "x"}},
        "kvfake": 1,
        "raw": {"mattermost": {"app/bot": {"": {"d": "", "c": ""}}}},
        "mattermost": {"app/bot": {"": {"k": {"b": 1, "a": []}}}},
    }
    text = text_of(data)
    assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
    assert re.findall('"(.+)":', text) == [
        *["kvfake", "mattermost", "app/bot", "k", "b", "a"],
        *["persist", "p", "a", "b", "updated", "value"],
        *["raw", "mattermost", "app/bot", "c", "d"],
    ]
    assert '"value": "é"' in text


@given(st.text(st.characters() | st.characters(categories=["Cs"]), max_size=6))
def test_a_text_is_always_utf_8(name: str) -> None:
    """Whatever stands in it."""
    whole = name.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")  # two halves of a character are one
    assert through_a_file({name: 1}) == {whole: 1}


def test_only_lone_surrogates_are_escaped() -> None:
    """All other characters stand as they are."""
    assert text_of({"\\\udc80é\ud800\U0001f600": 1}) == '{\n  "\\\\\\udc80é\\ud800\U0001f600": 1\n}\n'


def test_values_that_are_no_json_are_refused_in_a_text() -> None:
    """It could not be read again."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        text_of({"kvfake": float("nan")})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "line 1, column 1: Expecting value"),
        (b'{\n  "kvfake": 1,\n}', "line "),
        (b'{"kvfake": 1}\n {}', "line 2, column 2: Extra data"),
        (b'{"a": {"k": 1, "k": 1}}', "the name 'k' stands twice in one object"),
        (b"[NaN]", "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b'"\xff"', "'utf-8' codec can't decode byte 0xff"),
        (b"7" * 5000, "Exceeds the limit"),
        (505 * b"[" + 505 * b"]", "it is nested more than 504 levels deep"),
        (100_000 * b'{"a":', "it is nested more than 504 levels deep"),
        (b'{"a' + 1_000_000 * b'\\"', "line 1, column 2: Unterminated string"),
        (b'"' + 1000 * b"[" + b"\\", "line 1, column 1: Unterminated string"),
    ],
    ids=range(12),
)
def test_a_file_that_is_no_json_is_refused(data: bytes, words: str) -> None:
    """With the name of the file, and the place where there is one; in time that is linear."""
    with pytest.raises(DataError, match="^data.json: " + re.escape(words)):
        parse(data, "data.json")


def test_brackets_in_strings_and_side_by_side_do_not_count() -> None:
    """Nor does a byte order mark."""
    assert parse(b'\xef\xbb\xbf["' + 1000 * b"[" + b'\\""' + 600 * b",[{}]" + b"]", "x") == ["[" * 1000 + '"', *600 * [[{}]]]


# -------------------------------------------------------------------------------------------------------------------- a file


def test_a_file_is_written_and_read(tmp_path: Path, world: World) -> None:
    """As the text says; nothing else is left beside it."""
    load(world, EXAMPLE)
    file = tmp_path / "data.json"
    write_whole(file, text_of(dump(world)))
    assert file.read_text(encoding="utf-8") == text_of(EXAMPLE)
    assert read(str(file)) == EXAMPLE
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file is an ``OSError``; a wrong one is named."""
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.json")
    file = tmp_path / "wrong.json"
    file.write_bytes(b'{\n "kvfake" 1}')
    with pytest.raises(DataError, match=re.escape(f"{file}: line 2, column 11: Expecting ':' delimiter")):
        read(file)


def test_the_permissions_of_a_file_stay(tmp_path: Path) -> None:
    """A new one is its owner's alone."""
    kept, new = tmp_path / "kept.json", tmp_path / "new.json"
    kept.write_text("old")
    kept.chmod(0o604)
    umask = os.umask(0o022)
    try:
        write_whole(kept, text_of({"kvfake": 1}))
        write_whole(new, text_of({"kvfake": 1}))
    finally:
        os.umask(umask)
    assert [stat.S_IMODE(file.stat().st_mode) for file in (kept, new)] == [0o604, 0o600]
    assert read(kept) == read(new) == {"kvfake": 1}


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """Where it points to, the file is replaced, or made."""
    (tmp_path / "real").mkdir()
    for name in ("there.json", "not-yet.json"):
        (tmp_path / name).symlink_to(tmp_path / "real" / name)
    (tmp_path / "real" / "there.json").write_text("old")
    for name in ("there.json", "not-yet.json"):
        write_whole(tmp_path / name, text_of({"kvfake": 1}))
        assert (tmp_path / name).is_symlink()
        assert read(tmp_path / "real" / name) == {"kvfake": 1}


def test_the_old_file_stays_whole_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is left beside it."""
    file = tmp_path / "data.json"
    write_whole(file, text_of(EXAMPLE))

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(file, text_of({"kvfake": 1}))
    with pytest.raises(TypeError):
        write_whole(file, text_of({"kvfake": {1, 2}}))
    assert read(file) == EXAMPLE
    assert list(tmp_path.iterdir()) == [file]


def test_a_pipe_or_a_device_is_written_to(tmp_path: Path) -> None:
    """A pipe or a device is not replaced; a folder refuses."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    heard: list[bytes] = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_bytes()))
    reader.start()
    write_whole(pipe, text_of({"kvfake": 1}))
    reader.join()
    assert heard == [b'{\n  "kvfake": 1\n}\n']
    assert pipe.is_fifo()
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path, text_of({"kvfake": 1}))


# -------------------------------------------------------------------------------------------------------------------- schema

SCHEMA: dict[str, Any] = json.loads((Path(kvfake.__file__).parent / "data.schema.json").read_text(encoding="utf-8"))


def test_the_schema_knows_the_same_names(world: World) -> None:
    """As the loader does; and says of each what it is."""
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    with pytest.raises(DataError, match=f"expected {', '.join(SCHEMA['properties'])}$"):
        load(world, {"unknown": 1})
    record = SCHEMA["properties"]["persist"]["additionalProperties"]["additionalProperties"]["oneOf"][1]
    with pytest.raises(DataError, match=f"expected {', '.join(record['properties'])}$"):
        load(world, {"kvfake": 1, **project({"unknown": 1})})
    for part in (SCHEMA, *SCHEMA["properties"].values(), *SCHEMA["$defs"].values()):
        assert part["title"]
        assert part["description"]


@pytest.mark.parametrize(
    ("name", "where", "texts"),
    [
        ("mattermostOwner", lambda text: bot(owner=text), ["app/bot", "app/", "anonymous-0123456789ab", "/ada", "bot", ""]),
        ("mattermostPrefix", lambda text: bot(prefix=text), ["", "p", ".", "..", "...", "a/b", "a\nb", "abc"]),
        ("mattermostKey", lambda text: bot(key=text), ["", "k", ".", "..", "...", "a/b", "a\nb", "é", "\udcff"]),
        ("tokenOwner", lambda text: {"tokens": {"t": text}}, ["app/bot", "/ada", "project:p", "project:", "app/", "a/b/c", "bot"]),
    ],
)
def test_the_schema_takes_what_is_loaded(name: str, where: Any, texts: list[str]) -> None:
    """And no other names."""
    rule = SCHEMA["$defs"][name]
    for text in texts:
        is_valid = re.search(rule["pattern"], text) is not None and text not in rule.get("not", {}).get("enum", ())
        assert is_valid == is_taken(load, a_world(), {"kvfake": 1, **where(text)}), text
