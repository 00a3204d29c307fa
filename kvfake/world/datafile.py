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
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from kvfake.errors import is_refusal
from kvfake.services import mattermost, persist
from kvfake.services.jsontext import dump_json, json_text, load_json, type_name
from kvfake.services.messages import Pause, no_pause
from kvfake.settings import parse_owner
from kvfake.stores import Entry, Namespace
from kvfake.world.clock import microseconds, moment_from_text
from kvfake.world.document import DataError, JsonText, parse
from kvfake.world.redaction import shown_token
from kvfake.world.tokens import STRANGER_MARK
from kvfake.world.world import World

__tracebackhide__ = is_refusal

VERSION = 1

_MEMBERS = ("kvfake", "mattermost", "persist", "raw", "tokens")
_WORLDS = "worlds"  # the member of a document of several worlds, which holds those of the others
_RECORD = ("value", "updated")

_KEYS_OF_A_SLICE = 500  # are set before others go first, in a millisecond or two


class _Values:
    """The values of a document for one namespace, and the moments of those that have one. Two dicts, as in a store."""

    __slots__ = ("moments", "values")

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.moments: dict[bytes, int] = {}

    def add(self, key: bytes, value: bytes, moment: int | None = None) -> None:
        if key in self.values:
            raise ValueError("it stands here twice, with its prefix or its key written in two ways")
        self.values[key] = value
        if moment is not None:
            self.moments[key] = moment


_ByNamespace = defaultdict[Namespace, _Values]


# ------------------------------------------------------------------------------------------------------------- the document


def read(path: str | os.PathLike[str]) -> object:
    """The document in a file. Raises `DataError` for what is not JSON, ``OSError`` for a file that cannot be read."""
    return parse(Path(path).read_bytes(), os.fspath(path))


def split(data: object) -> tuple[object, Mapping[str, Any]]:
    """Of a document of several worlds: that of the server's own world, and those of the others by their ids. Raises `DataError`."""
    if not isinstance(data, Mapping) or _WORLDS not in data:
        return data, {}
    return {name: value for name, value in data.items() if name != _WORLDS}, members(data[_WORLDS], _WORLDS)


def text_of(data: Mapping[str, Any], pause: Pause = no_pause) -> str:
    """The text of a document: indented, with names sorted, but inside a value they keep the order in which it was stored."""
    return json_text(_sorted_document(data), pause)


def _sorted_document(data: Mapping[str, Any]) -> dict[str, Any]:
    own = {name: _sorted(data[name], 4 if name == "raw" else 3) for name in sorted(data) if name != _WORLDS}
    worlds = {id: _sorted_document(inner) for id, inner in sorted(data.get(_WORLDS, {}).items())}
    return {**own, _WORLDS: worlds} if worlds else own


def _sorted(data: Any, levels: int) -> Any:
    if not levels or not isinstance(data, Mapping):
        return data
    return {name: _sorted(data[name], levels - 1) for name in sorted(data)}


def leaves(data: object, checks: tuple[Callable[[str], None], ...], *place: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The values that lie as many levels below the place as there are checks, each with its own place. A check takes a name."""
    for name, inner in members(data, *place).items():
        try:
            checks[0](name)
        except _ERRORS as wrong:
            raise error_at(wrong, *place, name) from None
        if len(checks) > 1:
            yield from leaves(inner, checks[1:], *place, name)
        else:
            yield (*place, name), inner


def members(data: object, *place: str, only: tuple[str, ...] = ()) -> Mapping[str, Any]:
    """The object at that place. Its names must be texts, or one of ``only``."""
    with errors_at(*place):
        data = _loaded(data)
        if not isinstance(data, Mapping):
            raise ValueError(f"it is {type_name(data)}: expected an object")
        for name in data:
            if not isinstance(name, str) or (only and name not in only):
                raise ValueError(f"{name!r} is not known here: expected {', '.join(only) or 'a text'}")
        return data


def _loaded(value: Any) -> Any:
    return value.load() if isinstance(value, JsonText) else value


_ERRORS = (ValueError, TypeError, RecursionError)


class errors_at:
    """Errors inside become a `DataError` that names the place. It is no generator, whose frame would hold the error, and with it
    the data, until the garbage collector runs.
    """

    def __init__(self, *place: str) -> None:
        self._place = place

    def __enter__(self) -> None: ...

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if isinstance(error, _ERRORS):
            raise error_at(error, *self._place) from None


def error_at(wrong: Exception, *place: str) -> DataError:
    shown = [*map(_shown, place)]
    if place[:1] == ("tokens",):
        shown[1:] = map(shown_token, place[1:])
    return DataError(f"{' / '.join(shown) or 'the data'}: {wrong}")


def _shown(name: str) -> str:
    return name if name.isprintable() and name.strip() == name != "" else json.dumps(name)


# ------------------------------------------------------------------------------------------------------------- out of a world


def dump(
    world: World,
    service: str | None = None,
    owner: str | None = None,
    prefix: str | None = None,
    key: str | None = None,
    *,
    pause: Pause = no_pause,
) -> dict[str, Any]:
    """The document of the values that match the arguments; without any, also the tokens that a user added. Only Mattermost has
    prefixes. All values are of one moment.

    Service, owner and key together address one value (without a prefix the empty one is meant), which costs as much as one value.
    Raises `DataError` for a service or a name that cannot be.
    """
    if service not in (None, mattermost.NAME, persist.NAME):
        raise DataError(f"{service!r} is no service: expected {mattermost.NAME} or {persist.NAME}")
    name = None if key is None else _bytes(key)
    with world.lock:
        selected = [(space, _entries(world, space, name)) for space in sorted(_spaces(world, service, owner, prefix, key))]
        tokens = world.tokens.added() if service is owner is prefix is key is None else {}
    data: dict[str, Any] = {"kvfake": VERSION, mattermost.NAME: {}, persist.NAME: {}}
    for (space, user, padded), entries in selected:
        for key_bytes, entry in entries:
            pause()
            if space == persist.NAME:
                _put(
                    data, {"value": entry.value.decode(), "updated": persist.updated(entry.updated)}, space, user, _text(key_bytes)
                )
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


def export(world: World, pause: Pause = no_pause) -> dict[str, Any]:
    """The document of all values and of every token that the world knows, also of those that it issued: a world that begins with it
    knows them again.
    """
    data, tokens = dump(world, pause=pause), world.tokens.added(with_issued=True)
    return {**data, "tokens": _owners_by_token(tokens)} if tokens else data


def _owners_by_token(tokens: Mapping[str, list[str]]) -> dict[str, str | list[str]]:
    return {token: owners[0] if len(owners) == 1 else owners for token, owners in tokens.items()}


def _spaces(world: World, service: str | None, owner: str | None, prefix: str | None, key: str | None) -> list[Namespace]:
    """The namespaces in which values may match the arguments, as for `dump`."""
    below = mattermost.namespace("", _bytes(prefix or ""))[2]
    if service is not None and owner is not None and key is not None:
        return [(service, owner, below if service == mattermost.NAME else b"")]
    return [
        (name, user, padded)
        for name, user, padded in world.store.namespaces()
        if service in (None, name) and owner in (None, user) and (prefix is None or name == persist.NAME or padded == below)
    ]


def _entries(world: World, space: Namespace, key: bytes | None) -> Iterable[tuple[bytes, Entry]]:
    if key is None:
        return world.store.snapshot(space)
    entry = world.store.get(space, key)
    return [] if entry is None else [(key, entry)]


def delete(
    world: World,
    service: str | None = None,
    owner: str | None = None,
    prefix: str | None = None,
    key: str | None = None,
    *,
    pause: Pause = no_pause,
) -> int:
    """Delete the values that match the arguments, as for `dump`, in one step; how many they were."""
    name = None if key is None else _bytes(key)
    with world.lock:
        spaces = _spaces(world, service, owner, prefix, key)
        if name is not None:
            return sum(world.store.delete(space, name) for space in spaces)
        dropped = [world.store.drop(space) for space in spaces]
    for one in dropped:
        for _ in one:
            pause()
    return sum(one.count for one in dropped)


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


def load_file(world: World, path: str | os.PathLike[str], replace: bool = False) -> int:
    """Set every value of a file, as `load` does; of a file of several worlds, those of the server's own. Returns how many worlds
    were left out. Raises `DataError`, which names the file, and ``OSError`` for one that cannot be read.
    """
    own, others = split(read(path))
    try:
        load(world, own, replace)
    except DataError as wrong:
        raise DataError(f"{os.fspath(path)}: {wrong}") from None
    return len(others)


def load(world: World, data: object, replace: bool = False, *, pause: Pause = no_pause) -> int:
    """Set every value of a document, with ``replace`` in place of all that the world holds. Returns how many values that are.

    Raises `DataError`, and then nothing was changed. All checks come before the first change; then the values are set in slices, so
    that others need not wait: a request meanwhile may see some of them and not yet the others. What is replaced goes in one step.
    """
    top = members(data, only=_MEMBERS)
    version = _loaded(top.get("kvfake"))
    with errors_at("kvfake"):
        if isinstance(version, bool) or version != VERSION:
            raise ValueError(f"it is {reprlib.repr(version) if 'kvfake' in top else 'missing'}: expected {VERSION}")
    loaded = {**_mattermost_values(world, top, pause), **_persist_values(top, pause)}
    tokens = list(_tokens(top))
    with world.lock:
        now = world.clock.now()
        dropped = [world.store.drop(space) for space in list(world.store.namespaces())] if replace else []
        for token, owner in tokens:
            world.tokens.add(token, owner)
    for one in dropped:
        for _ in one:
            pause()
    count = 0
    for space, found in loaded.items():
        values, moments = found.values, found.moments
        count += len(values)
        while values:
            with world.lock:
                for key in list(islice(values, _KEYS_OF_A_SLICE)):
                    world.store.set(space, key, Entry(values.pop(key), moments.pop(key, now)))
            pause()
    return count


def _mattermost_values(world: World, top: Mapping[str, Any], pause: Pause) -> _ByNamespace:
    checks: tuple[Callable[[str], None], ...] = (
        _check_owner,
        lambda prefix: mattermost.check_prefix(_bytes(prefix), world.profiles[mattermost.NAME]),
        lambda key: mattermost.check_key(_bytes(key)),
    )
    raw: _ByNamespace = defaultdict(_Values)
    raws = members(top.get("raw", {}), "raw", only=(mattermost.NAME,))
    for place, text in leaves(raws.get(mattermost.NAME, {}), checks, "raw", mattermost.NAME):
        pause()
        try:
            value = _from_base64(_loaded(text))
            mattermost.check_value(value)
            space, key = _address(*place[2:])
            raw[space].add(key, value)
        except _ERRORS as wrong:
            raise error_at(wrong, *place) from None
    found: _ByNamespace = defaultdict(_Values)
    for place, readable in leaves(top.get(mattermost.NAME, {}), checks, mattermost.NAME):
        pause()
        try:
            space, key = _address(*place[1:])
            value = dump_json(_loaded(readable))
            exact = raw[space].values.pop(key, None)
            if exact is not None and _is_same(value, exact):
                value = exact
            else:
                mattermost.check_value(value)
            found[space].add(key, value)
        except _ERRORS as wrong:
            raise error_at(wrong, *place) from None
    for space, left in raw.items():
        for key, value in left.values.items():
            found[space].add(key, value)
    return found


def _address(owner: str, prefix: str, key: str) -> tuple[Namespace, bytes]:
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


def _persist_values(top: Mapping[str, Any], pause: Pause) -> _ByNamespace:
    found: _ByNamespace = defaultdict(_Values)
    checks = (_check_project, lambda key: persist.check_key(_bytes(key)))
    for place, value in leaves(top.get(persist.NAME, {}), checks, persist.NAME):
        pause()
        try:
            value = _loaded(value)
            record = members(value, *place, only=_RECORD) if isinstance(value, Mapping) else {"value": value}
            if "value" not in record:
                raise ValueError('value is missing: expected {"value": "<string>"}')
            updated = _moment(record["updated"]) if "updated" in record else None
            found[persist.namespace(place[1])].add(_bytes(place[2]), persist.value_bytes(record["value"]), updated)
        except DataError:
            raise
        except _ERRORS as wrong:
            raise error_at(wrong, *place) from None
    return found


_UPDATED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")


def _moment(text: object) -> int:
    if isinstance(text, str) and _UPDATED.fullmatch(text):
        with suppress(ValueError):  # no such day, minute, second or year
            return microseconds(moment_from_text(text))
    raise ValueError(f"updated is {reprlib.repr(text)}: expected RFC 3339 in UTC, such as 2016-09-09T23:16:43.970809Z")


def _tokens(top: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for place, owners in leaves(top.get("tokens", {}), (_check_token,), "tokens"):
        with errors_at(*place):
            owners = _loaded(owners)
            several = owners if isinstance(owners, list) else [owners]
            for owner in several:
                if not isinstance(owner, str):
                    raise ValueError(f"it is {type_name(owner)}: expected an owner, or a list of owners")
            if len({parse_owner(owner)[0] for owner in several}) < len(several):
                raise ValueError("it has several owners of one service: expected one of each at most")
        yield from [(place[1], owner) for owner in several]


def _check_owner(owner: str) -> None:
    app, slash, _ = owner.partition("/")
    if not ((app and slash) or owner.startswith(STRANGER_MARK)):
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
