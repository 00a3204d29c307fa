"""Beep Boop Persist, as pure functions over a store: read a request, answer the operation.

Law: the service's routes, limits, texts and order of refusals; nothing of sockets, worlds, clocks or settings. Rows (P01...) are
those of `kvfake.services.facts`. The service was never published: where its documentation is silent the choice is ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from functools import lru_cache, partial
from json.encoder import encode_basestring
from math import inf
from typing import NoReturn

from kvfake.errors import is_refusal
from kvfake.services import go
from kvfake.services.jsontext import json_string, json_string_parts, read_object, type_name
from kvfake.services.messages import JSON, Operation, Pause, Refusal, Request, Response, Write
from kvfake.stores import Entry, Namespace, StoreReader

__tracebackhide__ = is_refusal

NAME = "persist"
API = "/api/v1"  # P01
_API, _PERSIST = API.encode(), b"/persist"
PATHS = (_API + _PERSIST, _PERSIST)  # P01: the official client's tests use a base with no path

UNKNOWN_TOKEN_ROW = "P14"  # named by an answer to a token that is accepted though it is not known
MAX_VALUE_BYTES = 262_144  # P09: 256 Kb of UTF-8
MAX_BODY_BYTES = 2 * 1024 * 1024  # P14
MAX_MGET_KEYS = 10_000  # P14
MAX_MGET_ANSWER_BYTES = 64 * 1024 * 1024  # P14: a thousand values of 64 KiB

_ITEMS_OF_A_PIECE, _BYTES_OF_A_PIECE = 500, 256 * 1024  # of an array that is written: about a millisecond

_ROUTES = {  # path below /persist: method: verb
    b"/kv": {"GET": "list"},  # P07
    b"/mget": {"POST": "mget"},  # P08
    b"/kv/": {"GET": "get", "PUT": "set", "DELETE": "delete"},  # P03, P05, P06; the rest of the path is the key
}


def _error(status: int, text: str, *more: tuple[str, str]) -> Response:
    return Response(status, JSON + more, b'{"error":' + encode_basestring(text).encode() + b"}")  # P04


NOT_FOUND = _error(404, "key not found")  # P05
NO_TOKEN = _error(401, "no token: expected the header Authorization: Bearer <token>")  # P14
UNKNOWN_TOKEN = _error(401, "the token is not known to this project or its service")
_NO_PATH = "no such path: expected /persist/kv, /persist/kv/<key> or /persist/mget below the API's base URL"
_DELETED = Response(200, JSON)  # P06, P15
_VALUE_EXPECTED = 'expected {"value": "<string>"}'
_KEYS_EXPECTED = 'expected {"keys": ["<string>", ...]}'
_MGET_TOO_LARGE = _error(400, f"the answer is too large: expected at most {MAX_MGET_ANSWER_BYTES} bytes; ask for fewer keys")


def _refuse(text: str) -> NoReturn:
    raise Refusal(_error(400, text))


# ------------------------------------------------------------------------------------------------------------------- reading


def token(request: Request) -> bytes:
    """The bearer token, or nothing (P02)."""
    authorization = request.headers.get(b"authorization", b"")
    return authorization[7:].strip(b" \t") if authorization[:7].lower() == b"bearer " else b""


def read(request: Request, owner: str | None) -> Operation:
    """The operation that the request asks for. Raises `Refusal`, for the first reason in this order: 404, 405, 401, 400 (P14)."""
    path, bad = request.path, None
    try:
        path = go.unescape(path)
    except go.BadEscape as wrong:
        bad = wrong
    path = path.removeprefix(_API)[len(_PERSIST) :]
    verb = _verb(request.method, path)
    if owner is None:
        raise Refusal(UNKNOWN_TOKEN if token(request) else NO_TOKEN)
    if bad is not None:
        _refuse(f"bad percent-encoding in the path: {go.quoted(bad.args[0])}; expected % and two hexadecimal digits")
    where = namespace(owner)
    if verb == "list":
        return Operation(verb, owner, where, key=_prefix(request.query))
    if verb == "mget":
        return Operation(verb, owner, where, keys=_keys(request))
    key = path[len(b"/kv/") :]
    if not key:
        _refuse("the key is empty: expected /persist/kv/<key>")
    return Operation(verb, owner, where, key, _value(request) if verb == "set" else b"")


def _verb(method: str, path: bytes) -> str:
    """What a method does at a path below /persist."""
    verbs = _ROUTES.get(b"/kv/" if path.startswith(b"/kv/") else path)
    if verbs is None:
        raise Refusal(_error(404, _NO_PATH))
    verb = verbs.get(method)
    if verb is None:
        allowed = ", ".join(verbs)
        raise Refusal(_error(405, f"method not allowed: expected {allowed}", ("Allow", allowed)))
    return verb


def reads_body(method: str, path: bytes, owner: str | None) -> bool:
    """Whether `read` looks at the body of such a request: where nothing that comes before it is refused. ``path`` is decoded."""
    try:
        verb = _verb(method, path.removeprefix(_API)[len(_PERSIST) :])
    except Refusal:
        return False
    return owner is not None and verb in ("set", "mget")


def _prefix(query: bytes) -> bytes:
    """P07: the value of ``begins``, literal; given twice the last counts; empty means all."""
    prefix = b""
    for pair in query.split(b"&") if query else ():
        name, _, text = pair.replace(b"+", b" ").partition(b"=")
        try:
            if go.unescape(name) == b"begins":
                prefix = go.unescape(text)
        except go.BadEscape as bad:
            _refuse(f"bad percent-encoding in the query: {go.quoted(bad.args[0])}; expected % and two hexadecimal digits")
    return prefix


def _member(request: Request, name: str, expected: str) -> object:
    """The member of that name of the object in the body. Refuses with the text ``expected`` where there is none."""
    if request.body_error:
        raise Refusal(go.http_error(500, request.body_error))  # M28 holds for the whole port
    if len(request.body) > MAX_BODY_BYTES:
        _refuse(f"the body is too large: expected at most {MAX_BODY_BYTES} bytes")
    try:
        payload = read_object(request.body)
    except ValueError as wrong:
        _refuse(f"{wrong}: {expected}")
    if name not in payload:
        _refuse(f"{name} is missing: {expected}")
    return payload[name]


def _value(request: Request) -> bytes:
    try:
        return value_bytes(_member(request, "value", _VALUE_EXPECTED))
    except ValueError as wrong:
        _refuse(str(wrong))


def value_bytes(value: object) -> bytes:
    """The bytes to store for a value; ``ValueError``, in the service's words, for what is no value (P09)."""
    if not isinstance(value, str):
        raise ValueError(f"value is {type_name(value)}: expected a string")
    try:
        data = value.encode()
    except UnicodeEncodeError as lone:
        raise ValueError(f"value has a lone surrogate at character {lone.start}: expected a string of whole characters") from None
    if len(data) > MAX_VALUE_BYTES:
        raise ValueError(f"value has {len(data)} bytes: expected at most {MAX_VALUE_BYTES} bytes of UTF-8")
    return data


def _keys(request: Request) -> tuple[bytes, ...]:
    keys = _member(request, "keys", _KEYS_EXPECTED)
    if not isinstance(keys, list):
        _refuse(f"keys is {type_name(keys)}: {_KEYS_EXPECTED}")
    if len(keys) > MAX_MGET_KEYS:
        _refuse(f"keys holds {len(keys)} keys: expected at most {MAX_MGET_KEYS}")
    found = []
    for place, key in enumerate(keys):
        if not isinstance(key, str):
            _refuse(f"keys[{place}] is {type_name(key)}: {_KEYS_EXPECTED}")
        try:
            found.append(key.encode())
        except UnicodeEncodeError:
            _refuse(f"keys[{place}] has a lone surrogate: expected a string of whole characters")
    return tuple(found)


def namespace(owner: str) -> Namespace:
    """The namespace of that project's values (P02)."""
    return NAME, owner, b""


# ----------------------------------------------------------------------------------------------------------------- answering


def answer(operation: Operation, store: StoreReader, profile: object, moment: int) -> Response | Write:
    """Do the operation. ``moment`` becomes the ``updated`` of what is set. Profiles do not differ in this service. A large list or
    mget is read at once, and written later.
    """
    verb, where, key = operation.verb, operation.namespace, operation.key
    if verb == "get":
        entry = store.get(where, key)
        return NOT_FOUND if entry is None else _ok(_record(key, entry))
    if verb == "set":
        entry = Entry(operation.value, moment)
        store.set(where, key, entry)
        return _ok(_record(key, entry))
    if verb == "delete":
        store.delete(where, key)
        return _DELETED
    if verb == "list":
        keys = store.keys(where, key)
        if len(keys) <= _ITEMS_OF_A_PIECE:
            return _ok(b"[%b]" % b",".join([_key(key) for key in keys]))
        return partial(_write_array, _pieces_of_keys(keys), inf)
    entries = [(key, store.get(where, key)) for key in operation.keys]
    size = sum([len(entry.value) for _, entry in entries if entry is not None])
    if size > MAX_MGET_ANSWER_BYTES:  # no value is shorter in JSON
        return _MGET_TOO_LARGE
    if len(entries) <= _ITEMS_OF_A_PIECE and size <= _BYTES_OF_A_PIECE:
        return _ok(b"[%b]" % b",".join([_found(key, entry) for key, entry in entries]))
    return partial(_write_array, _pieces_of_records(entries, size), MAX_MGET_ANSWER_BYTES)


def _write_array(pieces: Iterator[Sequence[bytes]], most_bytes: float, pause: Pause) -> Response:
    """The array of the items in these pieces, each after a comma; `_MGET_TOO_LARGE` where it would have more bytes than allowed."""
    parts: list[bytes] = [b"["]
    length = 1
    for piece in pieces:
        length += sum(map(len, piece))
        if length > most_bytes:
            return _MGET_TOO_LARGE
        parts += piece
        pause()
    parts[1] = parts[1][1:]
    parts.append(b"]")
    return _ok(b"".join(parts))


def _pieces_of_keys(keys: list[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(keys), _ITEMS_OF_A_PIECE):
        yield (b"," + b",".join([_key(key) for key in keys[start : start + _ITEMS_OF_A_PIECE]]),)


def _pieces_of_records(entries: list[tuple[bytes, Entry | None]], size: int) -> Iterator[Sequence[bytes]]:
    """``size`` is that of all values. Where they are large they are not copied: the whole answer does that once."""
    count = max(1, min(_ITEMS_OF_A_PIECE, len(entries) * _BYTES_OF_A_PIECE // (size or 1)))
    for start in range(0, len(entries), count):
        some = entries[start : start + count]
        if count == _ITEMS_OF_A_PIECE:
            yield (b"," + b",".join([_found(key, entry) for key, entry in some]),)
            continue
        parts: list[bytes] = []
        for key, entry in some:
            parts.append(b",")
            parts += (b"null",) if entry is None else _record_in_parts(key, entry)
        yield parts


def _found(key: bytes, entry: Entry | None) -> bytes:
    return b"null" if entry is None else _record(key, entry)


def _ok(body: bytes) -> Response:
    return Response(200, JSON, body)


def _record(key: bytes, entry: Entry) -> bytes:
    parts = (b'{"key":', _key(key), b',"value":', json_string(entry.value), b',"updated":"', updated(entry.updated).encode(), b'"}')
    return b"".join(parts)  # formatting copies a large value twice


def _record_in_parts(key: bytes, entry: Entry) -> tuple[bytes, ...]:
    """The same, and the value is not copied where it need not be."""
    value = json_string_parts(entry.value)
    return b'{"key":', _key(key), b',"value":', *value, b',"updated":"', updated(entry.updated).encode(), b'"}'


def _key(key: bytes) -> bytes:
    return json_string(key if key.isascii() else shown(key).encode())


_NO_UTF8 = re.compile("[\udc80-\udcff]")


def shown(key: bytes) -> str:
    """A key as the wire shows it: a byte that is no UTF-8 is U+FFFD."""
    try:
        return key.decode()
    except UnicodeDecodeError:
        return _NO_UTF8.sub("\ufffd", key.decode("utf-8", "surrogateescape"))


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def updated(moment: int) -> str:
    """P10: RFC 3339, UTC, always six decimals. ``moment`` is in microseconds since 1970."""
    return f"{_second(moment // 1_000_000)}.{moment % 1_000_000:06d}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]


_ERRORS = {401: UNKNOWN_TOKEN, 404: NOT_FOUND}


def error_for(status: int, reason: str) -> Response:
    """The service's error of that status; with the text ``reason`` where the service has none of its own."""
    return _ERRORS.get(status) or _error(status, reason)


# ---------------------------------------------------------------------------------- checks of values that are set without a request


def check_key(key: bytes) -> None:
    """``ValueError`` for a key that no request can name."""
    if not key:
        raise ValueError("the key is empty: expected a key of at least one character")


def check_value(value: bytes) -> None:
    """``ValueError`` for bytes that are no value, in the service's words."""
    try:
        value_bytes(value.decode())
    except UnicodeDecodeError as wrong:
        raise ValueError(f"value is not UTF-8 at byte {wrong.start}: expected a string") from None
