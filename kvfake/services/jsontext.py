"""JSON on the wire: a body that must be an object, read strictly; a text written as a string.

Law: bytes in, a dict or bytes out, or ``ValueError`` with what is wrong. Unlike ``json.loads`` the reader takes UTF-8 alone, no
byte order mark, no ``NaN``, numbers of any size, and nothing that could exhaust the stack.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from json.decoder import JSONDecoder
from json.encoder import encode_basestring
from typing import Any, NoReturn

MAX_CONTAINERS = 100  # objects and arrays in a body; none that the documentation knows needs more than two

_KINDS = {
    dict: "an object",
    list: "an array",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}


def type_name(value: object) -> str:
    """What JSON calls it."""
    return _KINDS.get(type(value), type(value).__name__)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_decoder = JSONDecoder(parse_constant=_refuse, parse_int=float)


def read_object(body: bytes) -> dict[str, object]:
    """The object that the body is."""
    is_flat = b"[" not in body and body.find(b"{") == body.rfind(b"{")  # as most are, which is quick to see
    if not is_flat:
        bare = without_strings(body)
        if bare.count(b"[") + bare.count(b"{") > MAX_CONTAINERS:
            raise ValueError(f"the body holds more than {MAX_CONTAINERS} objects and arrays")
    try:
        text = body.decode().strip(" \t\r\n")
        payload, end = _decoder.raw_decode(text)
        if end != len(text):
            raise ValueError(f"more text after the value, at character {end}")
    except ValueError as wrong:
        raise ValueError(f"the body is not JSON ({wrong})") from None
    if not isinstance(payload, dict):
        raise ValueError(f"the body is {type_name(payload)}")
    return payload


def without_strings(text: bytes) -> bytes:
    """JSON without its strings, of which one that has no end goes to the end."""
    return b"".join(text.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2])


_LONG_BYTES = 1024
_ESCAPED = tuple(bytes([byte]) for byte in (*b'"\\', *range(0x20)))  # what a string must escape; those first that are likely


def json_string(text: bytes) -> bytes:
    """UTF-8 as a string of JSON."""
    if len(text) > _LONG_BYTES and not any(escaped in text for escaped in _ESCAPED):  # for 256 KiB a third of the time
        return b'"%b"' % text
    return encode_basestring(text.decode()).encode()


_SURROGATE = re.compile("[\ud800-\udfff]")


def json_text(data: Mapping[str, Any]) -> str:
    """JSON for people and machines: indented, in whatever language, a lone surrogate as its escape."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, indent=2)
    return _SURROGATE.sub(lambda lone: f"\\u{ord(lone[0]):04x}", text) + "\n"
