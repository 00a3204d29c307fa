"""What Go's standard library, and the router over it, do with bytes: JSON, paths, escapes, queries, cookies, quoting, errors.

Law: pure functions; they know the Go packages named beside them, and nothing of either service. Each is here because Python's
own library differs from Go's.
"""

from __future__ import annotations

import re
from functools import lru_cache
from json.decoder import JSONDecoder
from typing import NoReturn

from kvfake.services.messages import Headers, Response

# ---------------------------------------------------------------------------------------------- JSON (encoding/json.Valid)

_JSON_BLANKS = " \t\r\n"
_MAX_LEVELS_OF_PYTHON = 100  # brackets: within what the C stack of any thread bears (Python 3.13 crashes at 4,000)
_MAX_LEVELS_OF_GO = 10_000  # encoding/json: maxNestingDepth

_TOKEN = re.compile(
    rb"""[ \t\r\n]*(?:
        (?P<open>[\[{]) | (?P<close>[\]}]) | (?P<comma>,) | (?P<colon>:)
      | (?P<string>"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9A-Fa-f]{4})*")
      | (?P<scalar>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)
    )""",
    re.VERBOSE,
)
_VALUE, _FIRST_ITEM, _FIRST_KEY, _KEY, _COLON, _AFTER = range(6)  # what may come next


def refuse_constant(constant: str) -> NoReturn:
    """``NaN`` and ``Infinity``, which Python's decoder would take."""
    raise ValueError(f"{constant} is not JSON")


json_decoder = JSONDecoder(parse_constant=refuse_constant, parse_int=float)  # float: an integer may have any number of digits


def json_valid(data: bytes) -> bool:
    """Whether these bytes are JSON for ``encoding/json.Valid``.

    Latin-1 makes a character of every byte, so that bytes which are not UTF-8 pass inside a string, as they do in Go.
    Python's decoder is the quick way; what is nested too deep for it goes to the exact reader.
    """
    if data.count(b"[") + data.count(b"{") > _MAX_LEVELS_OF_PYTHON:
        return _json_valid_exactly(data)
    text = data.decode("latin-1").strip(_JSON_BLANKS)
    try:
        return json_decoder.raw_decode(text)[1] == len(text)
    except ValueError:
        return False


def _json_valid_exactly(data: bytes) -> bool:
    """The exact reader: linear time, and no recursion."""
    ends: list[bytes] = []  # of each open level, the bracket that closes it
    state, position, end = _VALUE, 0, len(data.rstrip(b" \t\r\n"))
    while position < end:
        token = _TOKEN.match(data, position, end)
        if token is None:
            return False
        position, kind = token.end(), token.lastgroup
        if kind == "open" and state in (_VALUE, _FIRST_ITEM) and len(ends) < _MAX_LEVELS_OF_GO:
            is_object = token["open"] == b"{"
            ends.append(b"}" if is_object else b"]")
            state = _FIRST_KEY if is_object else _FIRST_ITEM
        elif kind == "string" and state in (_KEY, _FIRST_KEY):
            state = _COLON
        elif kind in ("string", "scalar") and state in (_VALUE, _FIRST_ITEM):
            state = _AFTER
        elif kind == "colon" and state == _COLON:
            state = _VALUE
        elif kind == "comma" and state == _AFTER and ends:
            state = _KEY if ends[-1] == b"}" else _VALUE
        elif kind == "close" and state in (_AFTER, _FIRST_ITEM, _FIRST_KEY) and ends and ends.pop() == token["close"]:
            state = _AFTER
        else:
            return False
    return state == _AFTER and not ends


_NO_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"|[^\[\]{}"]+', re.DOTALL)


def json_levels(data: bytes) -> int:
    """How deep the arrays and objects of valid JSON are nested."""
    levels = deepest = 0
    for bracket in _NO_BRACKETS.sub(b"", data):
        levels += 1 if bracket in b"[{" else -1
        deepest = max(deepest, levels)
    return deepest


# ------------------------------------------------------------------------------------------------------- paths (net/url, path)

_HEX = "0123456789abcdefABCDEF"
_BYTE_OF = {f"{high}{low}".encode(): bytes([int(high + low, 16)]) for high in _HEX for low in _HEX}
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_KEPT_IN_A_PATH = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~$&+,/:;=@")
_ESCAPED = [bytes([number]) if number in _KEPT_IN_A_PATH else b"%%%02X" % number for number in range(256)]


class BadEscape(ValueError):
    """A ``%`` that two hexadecimal digits do not follow (``net/url.EscapeError``)."""


def unescape(path: bytes) -> bytes:
    """Decode a path once; ``+`` is itself there. Raises `BadEscape`."""
    if b"%" not in path:
        return path
    bad = _BAD_ESCAPE.search(path)
    if bad is not None:
        raise BadEscape(path[bad.start() : bad.start() + 3])
    first, *parts = path.split(b"%")
    return first + b"".join([_BYTE_OF[part[:2]] + part[2:] for part in parts])


def escape(path: bytes) -> bytes:
    """Encode a decoded path, as ``net/url.URL.EscapedPath`` does."""
    return b"".join([_ESCAPED[number] for number in path])


def clean(path: bytes) -> bytes:
    """The path without ``//``, ``.`` and ``..``, a slash at its end kept (``path.Clean`` as gorilla/mux calls it)."""
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part and part != b".":
            parts.append(part)
    cleaned = b"/" + b"/".join(parts)
    return cleaned + b"/" if path.endswith(b"/") and parts else cleaned


_UNCLEAN = re.compile(rb"//|/\.\.?(?:/|\Z)")


def is_clean(path: bytes) -> bool:
    """Whether `clean` would leave a path that begins with a slash as it is."""
    return _UNCLEAN.search(path) is None


# --------------------------------------------------------------------------------------- queries and cookies (net/url, net/http)


@lru_cache(maxsize=8)
def query_pairs(name: bytes) -> re.Pattern[bytes]:
    """Finds the pairs of that name, of letters, digits and ``_``, in ``b"&" + query``, however the name is escaped. Its groups: the
    name as it is written, ``=`` if there is one, the value. One regular expression, as a query may have 500,000 pairs.
    """
    escaped = b"".join([b"(?:%c|%%(?i:%02x))" % (byte, byte) for byte in name])
    return re.compile(b"&(" + escaped + rb")(?:(=)([^&]*)|(?=&|\Z))")


def query_value(query: bytes, name: bytes) -> bytes:
    """The first value of a name, or nothing (``net/url.ParseQuery``): a pair with ``;`` or a bad escape is not there."""
    for pair in query_pairs(name).finditer(b"&" + query):
        value = pair[3] or b""
        if b";" not in value:
            try:
                return unescape(value.replace(b"+", b" "))
            except BadEscape:
                continue
    return b""


_COOKIE_VALUE = re.compile(rb"[ !#-:<-\[\]-~]*")


@lru_cache(maxsize=8)
def _cookies(name: bytes) -> re.Pattern[bytes]:
    """Finds the cookies of that name in ``b";" + header``; the group is the value, with the blanks after it."""
    return re.compile(rb";[ \t]*" + re.escape(name) + rb"[ \t]*(?:=([^;]*)|(?=;|\Z))")


def cookie_value(header: bytes, name: bytes) -> bytes | None:
    """The value of the first cookie of that name that ``net/http.Request.Cookie`` would see, or ``None``."""
    for cookie in _cookies(name).finditer(b";" + header):
        value = (cookie[1] or b"").rstrip(b" \t")
        if len(value) > 1 and value[:1] == value[-1:] == b'"':
            value = value[1:-1]
        if _COOKIE_VALUE.fullmatch(value):
            return value
    return None


# ----------------------------------------------------------------------------------------------------------- quoting (strconv)

_SHORT_ESCAPES = dict(zip('"\\\a\b\f\n\r\t\v', '"\\abfnrtv', strict=True))  # the letter after the backslash


def quoted(text: bytes) -> str:
    """``%q`` of ``fmt``: the text in double quotes, with what cannot be printed escaped."""
    return '"' + "".join(map(_quoted_character, text.decode("utf-8", "surrogateescape"))) + '"'


def _quoted_character(character: str) -> str:
    code = ord(character)
    if character in _SHORT_ESCAPES:
        return "\\" + _SHORT_ESCAPES[character]
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if character.isprintable():
        return character
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# ----------------------------------------------------------------------------------------------------------- errors (net/http)

_TEXT: Headers = (("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff"))


def http_error(status: int, text: str) -> Response:
    """``net/http.Error``: a plain text with a newline."""
    return Response(status, _TEXT, text.encode("utf-8", "surrogateescape") + b"\n")


BAD_REQUEST = Response(400, _TEXT[:1], b"400 Bad Request", close=True)
"""M28: what the server itself answers to a target that it cannot decode."""
