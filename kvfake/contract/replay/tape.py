"""A recording: the exchanges of an app with a real server, a line of JSON each, in the order of the answers.

Law: exchanges and lines, both ways. What comes here holds no token any more; what an exchange means is not known here. A file that
is no recording is told with the line and the reason.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kvfake.contract import UNREACHABLE
from kvfake.errors import CommandError
from kvfake.services import mattermost, persist
from kvfake.services.jsontext import type_name
from kvfake.services.messages import Request, Response

MARK = "kvfake_recording"
VERSION = 1

_IN_BASE_64 = "_base64"


class Taped(NamedTuple):
    """One exchange. Of one beside the stores there is the method, the path and the status. ``is_cut`` says that the answer was
    longer than what is kept of it.
    """

    number: int
    request: Request
    response: Response
    is_beside: bool = False
    is_cut: bool = False


class Recording(NamedTuple):
    """``against`` is the URL of the site that was recorded."""

    against: str
    exchanges: list[Taped]


class _NotThat(Exception):
    """What is wrong with a line."""


# ------------------------------------------------------------------------------------------------------------------- writing


def header(against: str) -> str:
    """The first line: what this file is, and which paths of the site are the stores'."""
    paths = {mattermost.NAME: mattermost.KV, persist.NAME: [path.decode() for path in persist.PATHS]}
    return json.dumps({MARK: VERSION, "against": against, "services": paths}) + "\n"


def line_of(taped: Taped) -> str:
    request, response = taped.request, taped.response
    line: dict[str, Any] = {"number": taped.number, "method": request.method, **_data("target", request.target)}
    if taped.is_beside:
        return json.dumps({**line, "status": response.status, "beside": True}, ensure_ascii=False) + "\n"
    line["headers"] = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers.items()}
    line |= _data("body", request.body)
    answer = {"status": response.status, "headers": dict(response.headers), **_data("body", response.body)}
    line["answer"] = {**answer, "cut": True} if taped.is_cut else answer
    return json.dumps(line, ensure_ascii=False) + "\n"


def _data(name: str, data: bytes) -> dict[str, str]:
    """A text, or base64 where the bytes are none."""
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {name + _IN_BASE_64: base64.b64encode(data).decode()}


# ------------------------------------------------------------------------------------------------------------------- reading


def read(path: str) -> Recording:
    """The recording in a file. Raises `Failed`."""
    number = 0

    def counted(lines: Iterable[bytes]) -> Iterator[bytes]:
        nonlocal number
        for number, line in enumerate(lines, 1):  # noqa: B007 - it is told where a line is wrong
            yield line

    try:
        with Path(path).open("rb") as file:
            lines = counted(file)
            against = _header(next(lines, b""))
            return Recording(against, [exchange_of(line) for line in lines])
    except OSError as failed:
        raise CommandError(f"cannot read {path}: {failed.strerror}", UNREACHABLE) from None
    except _NotThat as wrong:
        raise CommandError(f"{path} is no recording of kvfake's: line {number or 1}: {wrong}", UNREACHABLE) from None


def _header(line: bytes) -> str:
    if not line:
        raise _NotThat("the file is empty")
    header = _object(line)
    if header.get(MARK) != VERSION:
        raise _NotThat(f'expected {{"{MARK}": {VERSION}, ...}}')
    return str(_member(header, "against", str))


def exchange_of(line: bytes) -> Taped:
    """The exchange of one line but the first."""
    found = _object(line)
    number, method, target = _member(found, "number", int), _member(found, "method", str), _bytes(found, "target")
    if found.get("beside") is True:
        return Taped(number, Request(method, target, {}), Response(_member(found, "status", int)), is_beside=True)
    headers = {name.encode("latin-1"): value.encode("latin-1") for name, value in _headers(found).items()}
    answer = _member(found, "answer", dict)
    response = Response(_member(answer, "status", int), tuple(_headers(answer).items()), _bytes(answer, "body"))
    request = Request(method, target, headers, _bytes(found, "body"))
    return Taped(number, request, response, is_cut=answer.get("cut") is True)


def _object(line: bytes) -> dict[str, Any]:
    if not line.endswith(b"\n"):
        raise _NotThat("it has no end")
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise _NotThat("it is not JSON") from None
    if not isinstance(found, dict):
        raise _NotThat(f"it is {type_name(found)}: expected an object")
    return found


def _member(found: Mapping[str, Any], name: str, kind: type) -> Any:
    if name not in found:
        raise _NotThat(f"{name} is missing")
    if not isinstance(found[name], kind) or isinstance(found[name], bool):
        raise _NotThat(f"{name} is {type_name(found[name])}: expected {type_name(kind())}")
    return found[name]


def _headers(found: Mapping[str, Any]) -> dict[str, str]:
    headers: dict[str, str] = _member(found, "headers", dict)
    if not all(isinstance(value, str) and max(name + value, default="") <= "\xff" for name, value in headers.items()):
        raise _NotThat("headers: expected names, and values of Latin-1")
    return headers


def _bytes(found: Mapping[str, Any], name: str) -> bytes:
    try:
        if name + _IN_BASE_64 in found:
            return base64.b64decode(_member(found, name + _IN_BASE_64, str), validate=True)
        return str(_member(found, name, str)).encode()
    except ValueError:
        raise _NotThat(f"{name}: expected a text, or {name}{_IN_BASE_64}") from None
