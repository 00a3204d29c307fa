"""A recording: a file with the exchanges of an app and a real server, a line of JSON each, without tokens.

Law: it writes and reads the file, and decides which parts of an exchange are kept. It does not know what an exchange means. Of an
exchange beside the stores, which may hold a password, only method, path and status are kept.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from kvfake.contract import UNREACHABLE
from kvfake.errors import CommandError
from kvfake.files import LineFile
from kvfake.services import go, mattermost, persist
from kvfake.services.jsontext import type_name
from kvfake.services.messages import Request, Response
from kvfake.world.redaction import Redactor, label

MARK = "kvfake_recording"
VERSION = 1
MAX_BODY_BYTES = 16 * 1024 * 1024  # a value has up to 256 KiB, a request to Persist 2 MiB; the answer to an mget may be longer

KEPT_RESPONSE_HEADERS = ("content-type", "x-content-type-options", "location", "allow")
_KEPT_CREDENTIALS = (b"authorization", b"cookie", b"x-csrf-token")
_KEPT_REQUEST_HEADERS = (b"content-type", b"x-requested-with", b"mattermost-user-id", b"user-agent")
_BASE64 = "_base64"  # the end of a member's name: its bytes are not UTF-8
_LONG_SEGMENT = re.compile(rb"[^/]{20,}")  # of a path: an id, which may be a secret, as that of a webhook is
_STORE_PATH = re.compile(
    b"(?:/plugins/[^/]+%b|%b)(?:/|\\Z)"
    % (re.escape(mattermost.KV.removeprefix(mattermost.APPS).encode()), b"|".join(map(re.escape, persist.PATHS)))
)
"""The store of any plugin matches: a server that has the store at another plugin's path breaks M01."""


class RecordedExchange(NamedTuple):
    """``is_beside``: the request is not for a store, and only method, path and status are kept. ``is_cut``: the answer was longer
    than `MAX_BODY_BYTES`.
    """

    number: int
    request: Request
    response: Response
    is_beside: bool = False
    is_cut: bool = False


class Recording(NamedTuple):
    """``against`` is the site URL of the recorded server."""

    against: str
    exchanges: list[RecordedExchange]


def is_beside(target: bytes) -> bool:
    """Whether a request is for neither store, in every spelling of its path."""
    path = target.partition(b"?")[0]
    decoded = unquote_to_bytes(path)
    return not any(map(_STORE_PATH.match, (path, decoded, go.clean(decoded))))


# ------------------------------------------------------------------------------------------------------------------- writing


class RecordingWriter(LineFile):
    """The file of a recording that is being made. Raises ``OSError`` where it cannot be opened."""

    def __init__(self, path: str, against: str, complain: Callable[[str], None]) -> None:
        paths = {mattermost.NAME: mattermost.KV, persist.NAME: [path.decode() for path in persist.PATHS]}
        self._header = json.dumps({MARK: VERSION, "against": against, "services": paths}) + "\n"
        super().__init__(path, complain, first=self._header)
        self._redactor = Redactor(replacement=label)
        self._exchange_lock = Lock()
        self._count = 0

    def write(self, request: Request, response: Response) -> None:
        """Add an exchange. A new token in it is replaced in the earlier lines, too."""
        with self._exchange_lock:
            self._count += 1
            known = len(self._redactor)
            exchange = redacted(self._count, request, response, self._redactor)
            if len(self._redactor) > known:
                self.change(partial(self._redacted_line, since=known))
            self.add(line_of(exchange))

    def _redacted_line(self, line: bytes, since: int) -> str:
        may_hold = f'{_BASE64}"'.encode() in line or self._redactor.may_hold(line, since)
        if not may_hold or line == self._header.encode():
            return line.decode()
        return line_of(_without_tokens(exchange_of(line), self._redactor, since))


_OWN_STATUSES = (301, 400, 401, 404, 405, 500)  # with which the services refuse, in words of their own (M11 to M28, P04 to P14)


def redacted(number: int, request: Request, response: Response, redactor: Redactor) -> RecordedExchange:
    """The parts of an exchange that are kept, without tokens."""
    credentials = redactor.credentials(request.headers)
    target = redactor.target(request.target)
    redactor.learn_from(response.headers)
    if is_beside(request.target):
        path = _LONG_SEGMENT.sub(b"...", redactor.redact_bytes(request.target.partition(b"?")[0]))
        return RecordedExchange(number, Request(request.method, path, {}), Response(response.status), is_beside=True)
    headers = {name: credentials[name] for name in _KEPT_CREDENTIALS if name in credentials}
    headers |= {name: request.headers[name] for name in _KEPT_REQUEST_HEADERS if name in request.headers}
    given = {name.lower(): value for name, value in reversed(response.headers)}
    if "location" in given:
        location = redactor.target(given["location"].encode("latin-1"))
        given["location"] = redactor.redact_message(location).decode("latin-1")
    kept = tuple((name, given[name]) for name in KEPT_RESPONSE_HEADERS if name in given)
    is_cut = len(response.body) > MAX_BODY_BYTES
    sent = Request(request.method, target, headers, request.body)
    body = response.body
    if not 200 <= response.status < 300 and response.status not in _OWN_STATUSES:  # another program's, such as a proxy's
        body = redactor.redact_message(redactor.redact_bytes(body))
    exchange = RecordedExchange(number, sent, Response(response.status, kept, body), is_cut=is_cut)
    return _without_tokens(exchange, redactor)


def _without_tokens(exchange: RecordedExchange, redactor: Redactor, since: int = 0) -> RecordedExchange:
    """The exchange with replacements for tokens, and with bodies that are cut afterwards."""
    redact = partial(redactor.redact_bytes, since=since)
    request, response = exchange.request, exchange.response
    sent = {name: redact(value) for name, value in request.headers.items()}
    given = tuple((name, redact(value.encode("latin-1")).decode("latin-1")) for name, value in response.headers)
    return exchange._replace(
        request=Request(request.method, redact(request.target), sent, redact(request.body)[:MAX_BODY_BYTES]),
        response=Response(response.status, given, redact(response.body)[:MAX_BODY_BYTES]),
    )


def line_of(exchange: RecordedExchange) -> str:
    request, response = exchange.request, exchange.response
    line: dict[str, Any] = {"number": exchange.number, "method": request.method, **_data("target", request.target)}
    if exchange.is_beside:
        return json.dumps({**line, "status": response.status, "beside": True}, ensure_ascii=False) + "\n"
    line["headers"] = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers.items()}
    line |= _data("body", request.body)
    answer = {"status": response.status, "headers": dict(response.headers), **_data("body", response.body)}
    line["answer"] = {**answer, "cut": True} if exchange.is_cut else answer
    return json.dumps(line, ensure_ascii=False) + "\n"


def _data(name: str, data: bytes) -> dict[str, str]:
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {name + _BASE64: base64.b64encode(data).decode()}


# ------------------------------------------------------------------------------------------------------------------- reading


class _BadLine(Exception):
    """A line is no line of a recording. The text says why."""


def read(path: str) -> Recording:
    """The recording in a file. Raises `CommandError` with the line and the reason where it is none."""
    number = 1
    try:
        with Path(path).open("rb") as file:
            against = _against(file.readline())
            exchanges = []
            for number, line in enumerate(file, 2):  # noqa: B007 - the error text uses it
                exchanges.append(exchange_of(line))
        return Recording(against, exchanges)
    except OSError as failed:
        raise CommandError(f"cannot read {path}: {failed.strerror}", UNREACHABLE) from None
    except _BadLine as wrong:
        raise CommandError(f"{path} is no recording of kvfake's: line {number}: {wrong}", UNREACHABLE) from None


def _against(line: bytes) -> str:
    if not line:
        raise _BadLine("the file is empty")
    header = _object(line)
    if header.get(MARK) != VERSION:
        raise _BadLine(f'expected {{"{MARK}": {VERSION}, ...}}')
    return str(_member(header, "against", str))


def exchange_of(line: bytes) -> RecordedExchange:
    """The exchange in a line. The first line of a file has none."""
    found = _object(line)
    number, method, target = _member(found, "number", int), _member(found, "method", str), _bytes(found, "target")
    if found.get("beside") is True:
        return RecordedExchange(number, Request(method, target, {}), Response(_member(found, "status", int)), is_beside=True)
    headers = {name.encode("latin-1"): value.encode("latin-1") for name, value in _headers(found).items()}
    answer = _member(found, "answer", dict)
    response = Response(_member(answer, "status", int), tuple(_headers(answer).items()), _bytes(answer, "body"))
    return RecordedExchange(
        number, Request(method, target, headers, _bytes(found, "body")), response, is_cut=answer.get("cut") is True
    )


def _object(line: bytes) -> dict[str, Any]:
    if not line.endswith(b"\n"):
        raise _BadLine("it has no end")
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise _BadLine("it is not JSON") from None
    if not isinstance(found, dict):
        raise _BadLine(f"it is {type_name(found)}: expected an object")
    return found


def _member(found: Mapping[str, Any], name: str, kind: type) -> Any:
    if name not in found:
        raise _BadLine(f"{name} is missing")
    if not isinstance(found[name], kind) or isinstance(found[name], bool):
        raise _BadLine(f"{name} is {type_name(found[name])}: expected {type_name(kind())}")
    return found[name]


def _headers(found: Mapping[str, Any]) -> dict[str, str]:
    headers: dict[str, str] = _member(found, "headers", dict)
    if not all(isinstance(value, str) and max(name + value, default="") <= "\xff" for name, value in headers.items()):
        raise _BadLine("headers: expected names, and values of Latin-1")
    return headers


def _bytes(found: Mapping[str, Any], name: str) -> bytes:
    try:
        if name + _BASE64 in found:
            return base64.b64decode(_member(found, name + _BASE64, str), validate=True)
        return str(_member(found, name, str)).encode()
    except ValueError:
        raise _BadLine(f"{name}: expected a text, or {name}{_BASE64}") from None
