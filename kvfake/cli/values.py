"""The values of a running server, for the commands that show and change them.

Law: the words of a command in, bytes out. It asks ``/_kvfake/data`` for files of values and sends some, and knows no other way
to a value. What stood on the command line is bytes, which need not be UTF-8.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

from kvfake.errors import CommandError
from kvfake.files import write_whole
from kvfake.http.parser import MAX_BODY_BYTES
from kvfake.http_client import NOT_KVFAKE, NoAnswer, control_request
from kvfake.services import mattermost, persist
from kvfake.services.jsontext import dump_json
from kvfake.world.datafile import leaves, members, text_of
from kvfake.world.world import BOT, PROJECT

_DATA = "/_kvfake/data"
_PATIENCE_SECONDS = 60.0
_MAX_ANSWER_BYTES = 1 << 30
_STANDARD = "-"  # stdin, stdout

_OWNERS = {mattermost.NAME: BOT, persist.NAME: PROJECT}
_CHECKS = {mattermost.NAME: mattermost.check_value, persist.NAME: persist.check_value}

Place = tuple[bytes, bytes, bytes, bytes]
"""Service, owner, prefix, key."""


# ----------------------------------------------------------------------------------------------------------- many values


def _dump(options: Namespace, out: BinaryIO) -> None:
    data = _asked(options, {})
    if options.file == _STANDARD:
        out.write(text_of(data).encode())
        return
    try:
        write_whole(options.file, text_of(data))
    except OSError as failed:
        raise CommandError(f"cannot write {options.file}: {failed.strerror}") from None


def _load(options: Namespace, out: BinaryIO) -> None:
    try:
        data = sys.stdin.buffer.read() if options.file == _STANDARD else Path(options.file).read_bytes()
    except OSError as failed:
        raise CommandError(f"cannot read {options.file}: {failed.strerror}") from None
    if len(data) > MAX_BODY_BYTES:
        expected = f"expected at most {MAX_BODY_BYTES} (kvfake serve --seed FILE takes any number)"
        raise CommandError(f"{options.file} has {len(data)} bytes: {expected}")
    _ask(options, {}, "PUT" if options.replace else "POST", data)


def _ls(options: Namespace, out: BinaryIO) -> None:
    service = options.service or (mattermost.NAME if options.prefix is not None else None)
    named = {"service": service, "owner": options.owner, "prefix": options.prefix}
    found = _values(_asked(options, {name: _text(value) for name, value in named.items() if value is not None}))
    begins = os.fsencode(options.begins)
    for place in sorted(found):
        if place[-1].startswith(begins):
            out.write(b"\t".join(map(_shown, place)) + b"\n")


# -------------------------------------------------------------------------------------------------------------- one value


def _get(options: Namespace, out: BinaryIO) -> None:
    found = _values(_asked(options, _address(options, options.key)))
    if not found:
        raise CommandError(_nothing(options, options.key))
    out.writelines(found.values())  # a full address has one value


def _set(options: Namespace, out: BinaryIO) -> None:
    value = sys.stdin.buffer.read() if options.value == _STANDARD else os.fsencode(options.value)
    try:
        _CHECKS[options.service](value)
    except ValueError as wrong:
        raise CommandError(f"{options.key!r} is not set: {wrong}") from None
    service, owner, *below = _address(options, options.key).values()
    data: Any = value.decode() if service == persist.NAME else base64.b64encode(value).decode()
    for name in reversed((service, owner, *below)):
        data = {name: data}
    _ask(options, {}, "POST", json.dumps({"kvfake": 1, **(data if service == persist.NAME else {"raw": data})}).encode())


def _del(options: Namespace, out: BinaryIO) -> None:
    missing = [key for key in options.keys if not _ask(options, _address(options, key), "DELETE").get("deleted")]
    if missing:
        raise CommandError(_nothing(options, *missing))


COMMANDS: dict[str, Callable[[Namespace, BinaryIO], None]] = {
    "dump": _dump,
    "load": _load,
    "ls": _ls,
    "get": _get,
    "set": _set,
    "del": _del,
}


# ------------------------------------------------------------------------------------------------------------- addresses


def _address(options: Namespace, key: str) -> dict[str, str]:
    """The query that names one value."""
    address = {"service": options.service, "owner": _owner(options)}
    if options.service == mattermost.NAME:
        address["prefix"] = options.prefix or ""
    return {name: _text(part) for name, part in {**address, "key": key}.items()}


def _owner(options: Namespace) -> str:
    return _OWNERS[options.service] if options.owner is None else str(options.owner)


def _nothing(options: Namespace, *keys: str) -> str:
    below = f" below the prefix {options.prefix!r}" if options.prefix else ""
    return f"{options.service} has no {', no '.join(map(repr, keys))} of {_owner(options)}{below}"


def _text(word: str) -> str:
    """What stood on the command line, as a text in which a byte that is no UTF-8 is Python's surrogateescape."""
    return os.fsencode(word).decode("utf-8", "surrogateescape")


def _shown(part: bytes) -> bytes:
    """As it is, if it is readable and one field of one line; else as it stands inside a JSON string."""
    text = part.decode("utf-8", "surrogateescape")
    return part if text.isprintable() and "\\" not in text else json.dumps(text)[1:-1].encode()


# ---------------------------------------------------------------------------------------------------------------- asking


def _ask(options: Namespace, query: Mapping[str, str], method: str = "GET", body: bytes = b"") -> dict[str, Any]:
    path = f"{_DATA}?{urlencode(query, errors='surrogateescape', quote_via=quote)}" if query else _DATA
    how: dict[str, Any] = {"method": method, "body": body, "token": options.control_token, "limit": _MAX_ANSWER_BYTES}
    return control_request(options.url, path, _PATIENCE_SECONDS, **how)


def _asked(options: Namespace, query: Mapping[str, str]) -> dict[str, Any]:
    """What the server has there: a file of values."""
    data = _ask(options, query)
    if data.get("kvfake") != 1:
        raise NoAnswer(NOT_KVFAKE)
    return data


def _values(data: Mapping[str, Any]) -> dict[Place, bytes]:
    """The values of a file, to the byte."""
    found: dict[Place, bytes] = {}
    try:
        for place, value in leaves(data.get(mattermost.NAME, {}), _OF_MATTERMOST, mattermost.NAME):
            found[_place(*place)] = dump_json(value)
        for place, text in leaves(members(data.get("raw", {})).get(mattermost.NAME, {}), _OF_MATTERMOST, mattermost.NAME):
            found[_place(*place)] = base64.b64decode(text)
        for (service, owner, key), record in leaves(data.get(persist.NAME, {}), _OF_PERSIST, persist.NAME):
            found[_place(service, owner, "", key)] = record["value"].encode()
    except (ValueError, TypeError, LookupError, AttributeError):  # as no kvfake answers
        raise NoAnswer(NOT_KVFAKE) from None
    return found


def _place(service: str, owner: str, prefix: str, key: str) -> Place:
    names = [name.encode("utf-8", "surrogateescape") for name in (service, owner, prefix, key)]
    return names[0], names[1], names[2], names[3]


def _any(name: str) -> None: ...


_OF_MATTERMOST, _OF_PERSIST = (_any, _any, _any), (_any, _any)  # owner, prefix, key; project, key
