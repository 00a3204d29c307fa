"""The file of values: what a world holds as one JSON document that can be read, edited and compared, and back.

Law: what is dumped loads back to the byte. What a service would refuse is refused, in its words and with the place in the document.
A document is checked whole before anything is changed.
"""

from __future__ import annotations

import base64
import json
import os
import re
import reprlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kvfake.services import go, jsontext, mattermost, persist
from kvfake.services.go import refuse_constant
from kvfake.services.jsontext import dump_json, json_text, load_json, type_name, without_strings
from kvfake.settings import parse_owner
from kvfake.stores import Entry, Namespace
from kvfake.world.clock import microseconds, moment_from_text
from kvfake.world.redaction import beginning
from kvfake.world.world import World

VERSION = 1
MAX_LEVELS = jsontext.MAX_LEVELS + 4  # of the document: four levels are above a value: file, service, owner, prefix

_MEMBERS = ("kvfake", "mattermost", "persist", "raw", "tokens")
_RECORD = ("value", "updated")

Address = tuple[Namespace, bytes]
Entries = dict[Address, tuple[bytes, int | None]]
"""Value and moment by address. Without a moment it is that of the load."""


class DataError(ValueError):
    """What is wrong with a document, and where."""


# ------------------------------------------------------------------------------------------------------------- the document


def read(path: str | os.PathLike[str]) -> object:
    """The document in a file. Raises `DataError` for what is not JSON, ``OSError`` for a file that cannot be read."""
    return parse(Path(path).read_bytes(), os.fspath(path))


def parse(data: bytes, name: str) -> object:
    """The document, read strictly; ``name`` is that of its file, for errors. Raises `DataError`."""
    if data.count(b"[") + data.count(b"{") > MAX_LEVELS and go.json_levels(without_strings(data)) > MAX_LEVELS:
        raise DataError(f"{name}: it is nested more than {MAX_LEVELS} levels deep")
    try:
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=_without_duplicates, parse_constant=refuse_constant)
    except json.JSONDecodeError as wrong:
        raise DataError(f"{name}: line {wrong.lineno}, column {wrong.colno}: {wrong.msg}") from None
    except (ValueError, RecursionError) as wrong:
        raise DataError(f"{name}: {wrong}") from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            shown = _shown_token(name) if _is_owner(value) else repr(name)
            raise ValueError(f"the name {shown} stands twice in one object")
        found[name] = value
    return found


def _is_owner(value: object) -> bool:
    """Whether the name of this value may be a token."""
    with suppress(ValueError):
        return isinstance(value, str) and bool(parse_owner(value))
    return False


def text_of(data: Mapping[str, Any]) -> str:
    """The text of a document: indented, with names sorted, but inside a value they keep the order in which it was stored."""
    return json_text({name: _sorted(data[name], 4 if name == "raw" else 3) for name in sorted(data)})


def _sorted(data: Any, levels: int) -> Any:
    if not levels or not isinstance(data, Mapping):
        return data
    return {name: _sorted(data[name], levels - 1) for name in sorted(data)}


def leaves(data: object, checks: tuple[Callable[[str], None], ...], *place: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The values that lie as many levels below the place as there are checks, each with its own place. A check takes a name."""
    for name, inner in members(data, *place).items():
        with errors_at(*place, name):
            checks[0](name)
        if len(checks) > 1:
            yield from leaves(inner, checks[1:], *place, name)
        else:
            yield (*place, name), inner


def members(data: object, *place: str, only: tuple[str, ...] = ()) -> Mapping[str, Any]:
    """The object at that place. Its names must be texts, or one of ``only``."""
    with errors_at(*place):
        if not isinstance(data, Mapping):
            raise ValueError(f"it is {type_name(data)}: expected an object")
        for name in data:
            if not isinstance(name, str) or (only and name not in only):
                raise ValueError(f"{name!r} is not known here: expected {', '.join(only) or 'a text'}")
        return data


@contextmanager
def errors_at(*place: str) -> Iterator[None]:
    """Errors inside become a `DataError` that names the place."""
    try:
        yield
    except (ValueError, TypeError, RecursionError) as wrong:
        shown = [*map(_shown, place)]
        if place[:1] == ("tokens",):
            shown[1:] = map(_shown_token, place[1:])
        raise DataError(f"{' / '.join(shown) or 'the data'}: {wrong}") from None


def _shown_token(token: str) -> str:
    return beginning(token.encode("utf-8", "replace")).decode("utf-8", "replace") if token else '""'


def _shown(name: str) -> str:
    return name if name.isprintable() and name.strip() == name != "" else json.dumps(name)


# ------------------------------------------------------------------------------------------------------------- out of a world


def dump(
    world: World, service: str | None = None, owner: str | None = None, prefix: str | None = None, key: str | None = None
) -> dict[str, Any]:
    """The document of the values that match the arguments; without any, also the tokens that a user added. Only Mattermost has
    prefixes.

    Service, owner and key together address one value (without a prefix the empty one is meant), which costs as much as one value.
    Raises `DataError` for a service or a name that cannot be.
    """
    if service not in (None, mattermost.NAME, persist.NAME):
        raise DataError(f"{service!r} is no service: expected {mattermost.NAME} or {persist.NAME}")
    with world.lock:
        selected = list(entries(world, service, owner, prefix, key))
        tokens = world.tokens.added() if service is owner is prefix is key is None else {}
    data: dict[str, Any] = {"kvfake": VERSION, mattermost.NAME: {}, persist.NAME: {}}
    for (space, user, padded), key_bytes, entry in selected:
        if space == persist.NAME:
            _put(data, {"value": entry.value.decode(), "updated": persist.updated(entry.updated)}, space, user, _text(key_bytes))
            continue
        place, is_exact = (space, user, _text(_unpadded(padded)), _text(key_bytes)), False
        with suppress(ValueError):  # Python has no such value, as for a number that is larger than any float
            value = load_json(entry.value)
            is_exact = dump_json(value) == entry.value
            _put(data, value, *place)
        if not is_exact:
            _put(data, base64.b64encode(entry.value).decode(), "raw", *place)
    if tokens:
        data["tokens"] = _owners_by_token(tokens)
    return data


def export(world: World) -> dict[str, Any]:
    """The document of all values and of every token that the world knows, also of those that it issued: a world that begins with it
    knows them again.
    """
    with world.lock:
        data, tokens = dump(world), world.tokens.added(with_issued=True)
    return {**data, "tokens": _owners_by_token(tokens)} if tokens else data


def _owners_by_token(tokens: Mapping[str, list[str]]) -> dict[str, str | list[str]]:
    return {token: owners[0] if len(owners) == 1 else owners for token, owners in tokens.items()}


def entries(
    world: World, service: str | None, owner: str | None, prefix: str | None, key: str | None
) -> Iterator[tuple[Namespace, bytes, Entry]]:
    """The entries that match the arguments, as for `dump`. The caller holds the world's lock."""
    wanted = None if key is None else _bytes(key)
    below = mattermost.namespace("", _bytes(prefix or ""))[2]
    if service is not None and owner is not None and key is not None:
        spaces = [(service, owner, below if service == mattermost.NAME else b"")]
    else:
        spaces = [
            (name, user, padded)
            for name, user, padded in sorted(world.store.namespaces())
            if service in (None, name) and owner in (None, user) and (prefix is None or name == persist.NAME or padded == below)
        ]
    for space in spaces:
        for name in world.store.keys(space) if wanted is None else [wanted]:
            entry = world.store.get(space, name)
            if entry is not None:
                yield space, name, entry


def _put(data: dict[str, Any], value: object, *place: str) -> None:
    for name in place[:-1]:
        data = data.setdefault(name, {})
    data[place[-1]] = value


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _unpadded(prefix: bytes) -> bytes:
    """The shortest prefix that is padded to this one (M25), but not a dot, which no request can name."""
    short = prefix.rstrip(b" ")
    return short if len(prefix) == mattermost.MAX_PREFIX_BYTES and short != b"." else prefix


# --------------------------------------------------------------------------------------------------------------- into a world


def load(world: World, data: object, replace: bool = False) -> int:
    """Set every value of a document, with ``replace`` in place of all that the world holds. Returns how many values that are.

    Raises `DataError`, and then nothing was changed.
    """
    top = members(data, only=_MEMBERS)
    version = top.get("kvfake")
    with errors_at("kvfake"):
        if isinstance(version, bool) or version != VERSION:
            raise ValueError(f"it is {reprlib.repr(version) if 'kvfake' in top else 'missing'}: expected {VERSION}")
    entries = {**_mattermost_entries(world, top), **_persist_entries(top)}
    tokens = list(_tokens(top))
    with world.lock:
        now = world.clock.now()
        for space in list(world.store.namespaces()) if replace else ():
            for key in world.store.keys(space):  # one by one: clear() would forget the checkpoints
                world.store.delete(space, key)
        for (space, key), (value, updated) in entries.items():
            world.store.set(space, key, Entry(value, now if updated is None else updated))
        for token, owner in tokens:
            world.tokens.add(token, owner)
    return len(entries)


def _mattermost_entries(world: World, top: Mapping[str, Any]) -> Entries:
    checks: tuple[Callable[[str], None], ...] = (
        _check_owner,
        lambda prefix: mattermost.check_prefix(_bytes(prefix), world.profiles[mattermost.NAME]),
        lambda key: mattermost.check_key(_bytes(key)),
    )
    raw: Entries = {}
    raws = members(top.get("raw", {}), "raw", only=(mattermost.NAME,))
    for place, text in leaves(raws.get(mattermost.NAME, {}), checks, "raw", mattermost.NAME):
        with errors_at(*place):
            value = _from_base64(text)
            mattermost.check_value(value)
            _add(raw, _address(*place[1:]), value)
    found: Entries = {}
    for place, readable in leaves(top.get(mattermost.NAME, {}), checks, mattermost.NAME):
        with errors_at(*place):
            address, value = _address(*place), dump_json(readable)
            if address in raw and _is_same(value, raw[address][0]):
                value = raw[address][0]
            else:
                mattermost.check_value(value)
            _add(found, address, value)
    return {**raw, **found}


def _address(service: str, owner: str, prefix: str, key: str) -> Address:
    return mattermost.namespace(owner, _bytes(prefix)), _bytes(key)


def _is_same(one: bytes, other: bytes) -> bool:
    """Whether both are the same JSON value. ``1`` is not ``1.0``; the order of names does not matter."""
    try:
        return json.dumps(load_json(one), sort_keys=True) == json.dumps(load_json(other), sort_keys=True)
    except ValueError:
        return False


def _from_base64(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError) as wrong:
        raise ValueError(f"it is not base64 ({wrong})") from None


def _persist_entries(top: Mapping[str, Any]) -> Entries:
    found: Entries = {}
    checks = (_check_project, lambda key: persist.check_key(_bytes(key)))
    for place, value in leaves(top.get(persist.NAME, {}), checks, persist.NAME):
        record = members(value, *place, only=_RECORD) if isinstance(value, Mapping) else {"value": value}
        with errors_at(*place):
            if "value" not in record:
                raise ValueError('value is missing: expected {"value": "<string>"}')
            updated = _moment(record["updated"]) if "updated" in record else None
            _add(found, (persist.namespace(place[1]), _bytes(place[2])), persist.value_bytes(record["value"]), updated)
    return found


_UPDATED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")


def _moment(text: object) -> int:
    if isinstance(text, str) and _UPDATED.fullmatch(text):
        with suppress(ValueError):  # no such day, minute, second or year
            return microseconds(moment_from_text(text))
    raise ValueError(f"updated is {reprlib.repr(text)}: expected RFC 3339 in UTC, such as 2016-09-09T23:16:43.970809Z")


def _tokens(top: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for place, owners in leaves(top.get("tokens", {}), (_check_token,), "tokens"):
        several = owners if isinstance(owners, list) else [owners]
        with errors_at(*place):
            for owner in several:
                if not isinstance(owner, str):
                    raise ValueError(f"it is {type_name(owner)}: expected an owner, or a list of owners")
            if len({parse_owner(owner)[0] for owner in several}) < len(several):
                raise ValueError("it has several owners of one service: expected one of each at most")
        yield from [(place[1], owner) for owner in several]


def _check_owner(owner: str) -> None:
    app, slash, _ = owner.partition("/")
    if not ((app and slash) or owner.startswith("anonymous-")):
        raise ValueError("it is no owner: expected app/user, or anonymous-... as a dump has it")


def _check_project(project: str) -> None:
    if not project:
        raise ValueError("the project's name is empty: expected at least one character")


def _check_token(token: str) -> None:
    if not token.encode():
        raise ValueError("the token is empty: expected at least one character")


def _bytes(name: str) -> bytes:
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as lone:
        raise DataError(f"{name!r} has a lone surrogate at character {lone.start}: expected whole characters") from None


def _add(found: Entries, address: Address, value: bytes, updated: int | None = None) -> None:
    if address in found:
        raise ValueError("it stands here twice, with its prefix or its key written in two ways")
    found[address] = value, updated
