"""What a control request says: its body and its query, checked.

Law: werkzeug's request in, plain values out, or 400 with what was expected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import parse_qsl

from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Request

from kvfake.services.go import BadEscape, quoted, unescape
from kvfake.services.jsontext import type_name
from kvfake.world.datafile import DataError, parse

Answer = tuple[int, Mapping[str, Any]]


@contextmanager
def refusing(*kinds: type[Exception]) -> Iterator[None]:
    """What is raised in this block, of these kinds, is a bad request, in its own words."""
    try:
        yield
    except kinds as wrong:
        raise BadRequest(str(wrong)) from None


def object_of(request: Request, *names: str) -> dict[str, Any]:
    """The body: nothing, or a JSON object that has these names alone."""
    body = request.get_data()
    if not body:
        return {}
    try:
        payload = parse(body, "the body")
    except DataError as wrong:
        raise BadRequest(f"{wrong}: expected an object of JSON with {_listed(names)}") from None
    if not isinstance(payload, dict):
        raise BadRequest(f"the body is {type_name(payload)}: expected an object with {_listed(names)}")
    for name in payload:
        if name not in names:
            raise BadRequest(f"{name!r} is not known here: expected {_listed(names)}")
    return payload


def whole(value: Any) -> Any:
    """JSON knows one kind of number, and some languages write 503 as 503.0: where a whole one is meant it is one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def query_of(request: Request, *names: str) -> dict[str, str]:
    """The query, which has these names alone. A byte that is no UTF-8 is Python's surrogateescape, as in the mappings."""
    found: dict[str, str] = {}
    try:
        unescape(request.query_string)
    except BadEscape as bad:
        raise BadRequest(f"bad percent-encoding in the query: {quoted(bad.args[0])}") from None
    query = request.query_string.decode("latin-1")
    for name, value in parse_qsl(query, keep_blank_values=True, errors="surrogateescape"):
        if name not in names:
            raise BadRequest(f"{name!r} is not known in the query: expected {_listed(names)}")
        found[name] = value
    return found


def no_query(request: Request) -> None:
    """Refuse one where none is read: what it was to narrow would be done to everything."""
    query_of(request)


def number_of(query: Mapping[str, str], name: str) -> int | None:
    """A whole number of the query, if it is there."""
    if name not in query:
        return None
    with suppress(ValueError):
        return int(query[name])
    raise BadRequest(f"{name}: expected a whole number, got {query[name]!r}")


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "no names"
