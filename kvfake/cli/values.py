"""The commands that show and change the values of a running server.

Law: options in, bytes out. It reads and sends files of values at ``/_kvfake/data``, and has no other way to a value; it asks at
``/_kvfake/owner`` whose a token is. Words of the command line are bytes, which need not be UTF-8.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

from kvfake.cli.parser import DEFAULT_URL
from kvfake.errors import CommandError, UsageError
from kvfake.files import write_whole
from kvfake.http.parser import MAX_BODY_BYTES
from kvfake.http_client import NOT_KVFAKE, NoAnswer, control_request
from kvfake.lines import counted, tell
from kvfake.services import mattermost, persist
from kvfake.services.jsontext import dump_json
from kvfake.world.datafile import leaves, members, split, text_of
from kvfake.world.document import DataError, parse
from kvfake.world.world import BOT, PROJECT

_DATA, _OWNER = "/_kvfake/data", "/_kvfake/owner"
_TIMEOUT_SECONDS = 60.0
_MAX_RESPONSE_BYTES = 1 << 30
_STANDARD = "-"  # stdin, stdout
_WORDS = re.compile(rb"[A-Za-z][\w .,:-]{0,79}", re.ASCII)

_OWNERS = {mattermost.NAME: BOT, persist.NAME: PROJECT}
_CHECKS = {mattermost.NAME: mattermost.check_value, persist.NAME: persist.check_value}

# ----------------------------------------------------------------------------------------------------------- many values


def _dump(options: Namespace, out: BinaryIO) -> None:
    if options.all_worlds and options.world is not None:
        raise UsageError("--all-worlds: expected none with --world")
    data = _file_of_values(options, {})
    if options.all_worlds:
        others = {id: _file_of_values(options, {}, f"/~{quote(id, safe='')}") for id in _worlds(options)}
        data |= {"worlds": others} if others else {}
    if options.file == _STANDARD:
        out.write(text_of(data).encode())
        return
    try:
        write_whole(options.file, text_of(data), silence=float("inf"), seconds=float("inf"))
    except OSError as failed:
        raise CommandError(f"cannot write {options.file}: {failed.strerror}") from None


def _load(options: Namespace, out: BinaryIO) -> None:
    try:
        data = sys.stdin.buffer.read() if options.file == _STANDARD else Path(options.file).read_bytes()
    except OSError as failed:
        raise CommandError(f"cannot read {options.file}: {failed.strerror}") from None
    if options.from_world is not None or b'"worlds"' in data:
        data = _one_world(options, data)
    if len(data) > MAX_BODY_BYTES:
        expected = f"expected at most {MAX_BODY_BYTES} (kvfake serve --seed FILE takes any number)"
        raise CommandError(f"{options.file} has {len(data)} bytes: {expected}")
    _request(options, {}, "PUT" if options.replace else "POST", data)


def _worlds(options: Namespace) -> list[str]:
    """The ids of the other worlds of the server."""
    try:
        return [str(world["id"]) for world in ask(options, "/_kvfake/worlds")["worlds"][1:]]
    except (LookupError, TypeError):
        raise NoAnswer(NOT_KVFAKE) from None


def _one_world(options: Namespace, data: bytes) -> bytes:
    """Of a file of values those of one world, if it holds several: of ``--from-world``, else of ``--world`` where the file has it,
    else of the server's own.
    """
    try:
        own, others = split(parse(data, options.file))
    except DataError as wrong:
        raise CommandError(str(wrong)) from None
    chosen = options.from_world or (options.world if options.world in others else None)
    if chosen is not None and chosen not in others:
        expected = f"expected one of {', '.join(others)}" if others else "it holds one world"
        raise CommandError(f"{options.file} holds no world {chosen!r}: {expected}")
    if others and chosen is None:
        tell(f"{options.file} also holds {counted(len(others), 'other world')}, left out here (--from-world ID takes one)")
    return json.dumps(own if chosen is None else others[chosen]).encode() if others else data


def _ls(options: Namespace, out: BinaryIO) -> None:
    service = options.service or (mattermost.NAME if options.prefix is not None else None)
    owners = [(service, options.owner)]
    if options.as_token is not None:
        owners = [(name, options.owners[name]) for name in _OWNERS if name in options.owners and service in (None, name)]
        if not owners:
            raise CommandError(f"{service or 'the server'} does not know that token")
    begins = os.fsencode(options.begins)
    for name, owner in owners:
        prefix = None if name == persist.NAME else options.prefix
        named = {"service": name, "owner": owner, "prefix": prefix}
        found = _values(_file_of_values(options, {name: _text(value) for name, value in named.items() if value is not None}))
        for address in sorted(found):
            if address[-1].startswith(begins):
                out.write(b"\t".join(map(_shown, address)) + b"\n")


# -------------------------------------------------------------------------------------------------------------- one value


def _get(options: Namespace, out: BinaryIO) -> None:
    found = _values(_file_of_values(options, _address(options, options.key)))
    if not found:
        raise CommandError(_missing(options, options.key))
    out.writelines(found.values())  # there is one at a full address
    if out.isatty():  # else the shell's prompt would stand behind the value
        out.write(b"\n")


def _set(options: Namespace, out: BinaryIO) -> None:
    value = sys.stdin.buffer.read() if options.value == _STANDARD else os.fsencode(options.value)
    try:
        _CHECKS[options.service](value)
    except ValueError as wrong:
        raise CommandError(f"{options.key!r} is not set: {wrong}{_quoted(options, value)}") from None
    service, owner, *below = _address(options, options.key).values()
    data: Any = value.decode() if service == persist.NAME else base64.b64encode(value).decode()
    for name in reversed((service, owner, *below)):
        data = {name: data}
    _request(options, {}, "POST", json.dumps({"kvfake": 1, **(data if service == persist.NAME else {"raw": data})}).encode())


def _quoted(options: Namespace, value: bytes) -> str:
    """How to write the text, where it is one that lacks only the quotes of JSON; else empty."""
    if options.service != mattermost.NAME or not _WORDS.fullmatch(value):
        return ""
    return f" (a text in JSON has quotes: {shlex.quote(json.dumps(value.decode()))})"


def _del(options: Namespace, out: BinaryIO) -> None:
    missing = [key for key in options.keys if not _request(options, _address(options, key), "DELETE").get("deleted")]
    if missing:
        raise CommandError(_missing(options, *missing))


_COMMANDS: dict[str, Callable[[Namespace, BinaryIO], None]] = {
    "dump": _dump,
    "load": _load,
    "ls": _ls,
    "get": _get,
    "set": _set,
    "del": _del,
}


def run(options: Namespace, out: BinaryIO) -> None:
    """Run the command that the options name. Raises `CommandError`, and what `control_request` raises."""
    options.path, options.owners = "", _OWNERS
    if options.as_token is not None:
        _find_owner(options)
    _COMMANDS[options.command](options, out)


# ------------------------------------------------------------------------------------------------------------- addresses


def _address(options: Namespace, key: str) -> dict[str, str]:
    """The query that selects one value."""
    address = {"service": options.service, "owner": _owner(options)}
    if options.service == mattermost.NAME:
        address["prefix"] = options.prefix or ""
    return {name: _text(part) for name, part in {**address, "key": key}.items()}


def _owner(options: Namespace) -> str:
    if options.owner is not None:
        return str(options.owner)
    if options.service not in options.owners:
        raise CommandError(f"{options.service} does not know that token")
    return str(options.owners[options.service])


def _find_owner(options: Namespace) -> None:
    """Set whose ``--as-token`` is for each service that knows it, and the path of its world."""
    answer = ask(options, _OWNER, "POST", json.dumps({"token": _text(options.as_token)}).encode())
    try:
        options.path = str(answer["path"])
        options.owners = {str(service): str(owner) for service, owner in answer["owners"].items() if owner is not None}
    except (LookupError, AttributeError):
        raise NoAnswer(NOT_KVFAKE) from None


def _missing(options: Namespace, *keys: str) -> str:
    text = f"{options.service} has no {', no '.join(map(repr, keys))} of {_of_whom(_owner(options), options.prefix or '')}"
    return text + _elsewhere(options, keys[0])


def _of_whom(owner: str, prefix: str) -> str:
    return owner + (f" below the prefix {prefix!r}" if prefix else "")


def _elsewhere(options: Namespace, key: str) -> str:
    """Where else in that world a key of that name lies, and the command that takes it; empty where there is none."""
    found: list[tuple[bytes, ...]] = []
    with suppress(NoAnswer):  # the error is that the key is missing
        found = sorted(_values(_file_of_values(options, {"key": _text(key)})))
    if not found:
        return ""
    service, owner, prefix, _ = (part.decode("utf-8", "surrogateescape") for part in found[0])
    words = ["kvfake", "get"]
    url = options.url.rstrip("/") + options.path
    for flag, value, default in (
        ("--url", url, os.environ.get("KVFAKE_URL") or DEFAULT_URL),
        ("--service", service, mattermost.NAME),
        ("--owner", owner, _OWNERS[service]),
        ("--prefix", prefix, ""),
    ):
        words += [flag, value] if value != default else []
    command = shlex.join([*words, *(["--"] if key.startswith("-") else []), key])
    others = f" ({len(found) - 1} more: kvfake ls)" if len(found) > 1 else ""
    where = ("" if service == options.service else f"{service}: ") + _of_whom(owner, prefix)
    return f"; {where} has one{others}" + (f": {command}" if command.isprintable() else "")


def _text(word: str) -> str:
    """A word of the command line as text. Bytes that are not UTF-8 are surrogate escapes."""
    return os.fsencode(word).decode("utf-8", "surrogateescape")


def _shown(part: bytes) -> bytes:
    """The part as it is, if it can be printed in one field of a line; else as it stands inside a JSON string."""
    text = part.decode("utf-8", "surrogateescape")
    return part if text.isprintable() and "\\" not in text else json.dumps(text)[1:-1].encode()


# ---------------------------------------------------------------------------------------------------------------- the server


def _request(
    options: Namespace, query: Mapping[str, str], method: str = "GET", body: bytes = b"", path: str = ""
) -> dict[str, Any]:
    selection = f"?{urlencode(query, errors='surrogateescape', quote_via=quote)}" if query else ""
    return ask(options, options.path + path + _DATA + selection, method, body)


def ask(options: Namespace, path: str, method: str = "GET", body: bytes = b"") -> dict[str, Any]:
    """What the server that the options name answers. Raises what `control_request` raises."""
    token, limit = options.control_token, _MAX_RESPONSE_BYTES
    return control_request(options.url, path, _TIMEOUT_SECONDS, method=method, body=body, token=token, limit=limit)


def _file_of_values(options: Namespace, query: Mapping[str, str], world: str = "") -> dict[str, Any]:
    """The values that the query selects, as a file of values; of the world at that path below the URL."""
    data = _request(options, query, path=world)
    if data.get("kvfake") != 1:
        raise NoAnswer(NOT_KVFAKE)
    return data


def _values(data: Mapping[str, Any]) -> dict[tuple[bytes, ...], bytes]:
    """The values of a file, to the byte, by service, owner, prefix and key."""
    found: dict[tuple[bytes, ...], bytes] = {}
    try:
        for place, value in leaves(data.get(mattermost.NAME, {}), _OF_MATTERMOST, mattermost.NAME):
            found[_encoded(*place)] = dump_json(value)
        for place, text in leaves(members(data.get("raw", {})).get(mattermost.NAME, {}), _OF_MATTERMOST, mattermost.NAME):
            found[_encoded(*place)] = base64.b64decode(text)
        for (service, owner, key), record in leaves(data.get(persist.NAME, {}), _OF_PERSIST, persist.NAME):
            found[_encoded(service, owner, "", key)] = record["value"].encode()
    except (ValueError, TypeError, LookupError, AttributeError):  # no kvfake answers so
        raise NoAnswer(NOT_KVFAKE) from None
    return found


def _encoded(*names: str) -> tuple[bytes, ...]:
    return tuple(name.encode("utf-8", "surrogateescape") for name in names)


def _any_name(name: str) -> None: ...


_OF_MATTERMOST, _OF_PERSIST = (_any_name,) * 3, (_any_name,) * 2  # owner, prefix, key; project, key
