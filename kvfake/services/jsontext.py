"""JSON in and out, the same everywhere: bodies that must be an object, stored values as Python values, texts for people.

Law: bytes or values in, values or bytes out, or ``ValueError`` with what is wrong. It knows no service's limits. What Go's
library holds valid is `kvfake.services.go`'s.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from json.encoder import JSONEncoder, encode_basestring
from typing import Any

from kvfake.errors import is_refusal
from kvfake.services.go import json_decoder, json_levels
from kvfake.services.messages import Pause, no_pause

__tracebackhide__ = is_refusal

MAX_CONTAINERS = 100  # objects and arrays in a body; none that the documentation knows needs more than two
MAX_LEVELS = 500  # of a stored value as a Python value: what json.loads bears on any thread

_TYPE_NAMES = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
_TYPE_NAMES |= dict.fromkeys((int, float), "a number")


def type_name(value: object) -> str:
    """What JSON calls the type of a value."""
    return _TYPE_NAMES.get(type(value), type(value).__name__)


def read_object(body: bytes) -> dict[str, object]:
    """The object that a body holds. Unlike ``json.loads`` this takes UTF-8 alone, no byte order mark, no ``NaN``, numbers of any
    size, and nothing that could exhaust the stack.
    """
    is_flat = b"[" not in body and body.find(b"{") == body.rfind(b"{")  # as most are, which is quick to see
    if not is_flat:
        outside = without_strings(body)
        if outside.count(b"[") + outside.count(b"{") > MAX_CONTAINERS:
            raise ValueError(f"the body holds more than {MAX_CONTAINERS} objects and arrays")
    try:
        text = body.decode().strip(" \t\r\n")
        payload, end = json_decoder.raw_decode(text)
        if end != len(text):
            raise ValueError(f"more text after the value, at character {end}")
    except ValueError as wrong:
        raise ValueError(f"the body is not JSON ({wrong})") from None
    if not isinstance(payload, dict):
        raise ValueError(f"the body is {type_name(payload)}")
    return payload


def without_strings(text: bytes) -> bytes:
    """JSON without its strings. A string that has no end goes to the end of the text."""
    return b"".join(text.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2])


_LONG_BYTES = 1024
_ESCAPED = tuple(bytes([byte]) for byte in (*b'"\\', *range(0x20)))  # what a string must escape, the likely ones first


def json_string(text: bytes) -> bytes:
    """UTF-8 as a JSON string."""
    if len(text) > _LONG_BYTES and not any(escaped in text for escaped in _ESCAPED):  # for 256 KiB a third of the time
        return b'"%b"' % text
    return encode_basestring(text.decode()).encode()


def json_string_parts(text: bytes) -> tuple[bytes, ...]:
    """The same in parts, where a text that needs no escapes is itself one."""
    if not any(escaped in text for escaped in _ESCAPED):
        return b'"', text, b'"'
    return (encode_basestring(text.decode()).encode(),)


# ------------------------------------------------------------------------------------------------------------ stored values


def load_json(data: bytes) -> Any:
    """The Python value of stored JSON. ``ValueError`` where Python has none: deeper than `MAX_LEVELS`, larger than any float."""
    if data.count(b"[") + data.count(b"{") > MAX_LEVELS and json_levels(data) > MAX_LEVELS:
        raise ValueError(f"it is nested more than {MAX_LEVELS} levels deep")
    return json.loads(data.decode(), parse_float=_finite)


def _finite(number: str) -> float:
    value = float(number)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{number} is larger than any float")
    return value


def dump_json(value: Any) -> bytes:
    """The bytes that ``JSON.stringify`` would write: no blanks, UTF-8, a lone surrogate as its escape."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError as wrong:
        raise ValueError(f"payload is not valid json: {wrong}") from None
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


# --------------------------------------------------------------------------------------------------------- texts for people

_SURROGATE = re.compile("[\ud800-\udfff]")
_CHARACTERS_OF_A_PIECE = 65_536  # a millisecond or two, if they are of many short values


def json_pieces(data: Mapping[str, Any], pause: Pause = no_pause) -> Iterator[bytes]:
    """JSON for people and programs, a piece at a time: indented, in whatever language, a lone surrogate as its escape."""
    piece: list[str] = []
    length = 0
    for token in JSONEncoder(ensure_ascii=False, allow_nan=False, indent=2).iterencode(data):
        piece.append(token)
        length += len(token)
        if length > _CHARACTERS_OF_A_PIECE:
            yield _encoded("".join(piece))
            piece, length = [], 0
            pause()
    yield _encoded("".join(piece) + "\n")


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub(lambda lone: f"\\u{ord(lone[0]):04x}", text).encode()


def json_text(data: Mapping[str, Any], pause: Pause = no_pause) -> str:
    """The same as one text."""
    return b"".join(json_pieces(data, pause)).decode()


def discard(data: dict[str, Any], pause: Pause) -> None:
    """Take nested dicts apart, name by name. A large one that is just let go holds other threads up until all its memory is given
    back.
    """
    unfinished = [data]
    while unfinished:
        if not unfinished[-1]:
            unfinished.pop()
            continue
        _, value = unfinished[-1].popitem()
        if isinstance(value, dict):
            unfinished.append(value)
        pause()
