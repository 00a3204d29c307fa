"""What a recorded exchange asks of which service, and what its answer shows of the values there.

Law: pure functions of one exchange. The services themselves say what a request means; whether they would do it is not asked here.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

from kvfake.contract.replay.tape import Taped
from kvfake.services import go, mattermost, persist
from kvfake.services.jsontext import load_json
from kvfake.services.messages import Operation, Refusal, Request, Response

_HARMLESS = {mattermost.NAME: b"0", persist.NAME: b'{"value":""}'}  # a body that no service refuses


class Value(NamedTuple):
    """A value that an answer shows. ``updated`` is Persist's."""

    data: bytes
    updated: str | None = None


def service_of(target: bytes) -> ModuleType:
    path = unescaped(target.partition(b"?")[0])
    return persist if path.startswith(persist.PATHS) else mattermost


def unescaped(path: bytes) -> bytes:
    """The path decoded, where it can be."""
    try:
        return go.unescape(path)
    except go.BadEscape:
        return path


def token_of(request: Request) -> bytes:
    """The token that counts."""
    token: bytes = service_of(request.target).token(request, request.target.partition(b"?")[2])
    return token


def place_of(request: Request, owner: str) -> Operation | None:
    """Which verb and where, if that owner may ask at all: a body that is refused names a place all the same. None for a request
    that is refused before anyone looks at who asks.
    """
    service = service_of(request.target)
    path, _, query = request.target.partition(b"?")
    is_mget = path.endswith(b"/mget")
    harmless = request if is_mget else request.replace(body=_HARMLESS[service.NAME])
    try:
        operation: Operation = service.read(harmless, path, query, b"", owner)
    except Refusal:
        return None
    return operation


# ----------------------------------------------------------------------------------------------------------- what is shown


def is_done(response: Response) -> bool:
    return response.status < 300


def set_value(taped: Taped) -> Value | None:
    """The value that a set gave, if it was taken."""
    if not is_done(taped.response):
        return None
    if service_of(taped.request.target) is mattermost:
        return Value(taped.request.body)
    payload = json_of(taped.request.body)
    text = payload.get("value") if isinstance(payload, dict) else None
    shown = value_of_record(json_of(taped.response.body))
    return Value(bytes_of(text), shown.updated if shown else None) if isinstance(text, str) else None


def got_value(taped: Taped) -> Value | None:
    """The value that a get shows; none where it shows that there is none, or nothing of that kind."""
    return _value_of(service_of(taped.request.target).NAME, taped.response)


def _value_of(service: str, response: Response) -> Value | None:
    if response.status != 200:
        return None
    if service == persist.NAME:
        return value_of_record(json_of(response.body))
    return Value(response.body) if response.body not in mattermost.MISSING_BODIES and go.json_valid(response.body) else None


def shown_values(response: Response, place: Operation | None) -> dict[bytes, Value | None]:
    """What an answer shows to be at each key that was asked for, or that nothing is; of a list that something is."""
    if place is None or response.status not in (200, 404):
        return {}
    if place.verb == "get":
        return {place.key: _value_of(place.namespace[0], response)}
    said = json_of(response.body)
    if place.verb == "mget" and isinstance(said, list):
        return {key: value_of_record(record) for key, record in zip(place.keys, said, strict=False)}
    return {}


def listed(response: Response) -> list[str]:
    """The keys of a list; none where it is none."""
    said = json_of(response.body)
    return [key for key in said if isinstance(key, str)] if isinstance(said, list) else []


def value_of_record(record: Any) -> Value | None:
    """What a record of Persist's holds."""
    value = record.get("value") if isinstance(record, dict) else None
    updated = record.get("updated") if isinstance(record, dict) else None
    if not isinstance(value, str):
        return None
    return Value(bytes_of(value), updated if isinstance(updated, str) else None)


def json_of(body: bytes) -> Any:
    """What the body says in JSON; none where it says nothing."""
    try:
        return load_json(body)
    except (ValueError, RecursionError):
        return None


def bytes_of(text: str) -> bytes:
    """UTF-8, also of a text that JSON can say and UTF-8 cannot."""
    return text.encode("utf-8", "replace")
