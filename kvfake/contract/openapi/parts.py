"""The pieces of which an OpenAPI description is made.

Law: they build values; of what they describe they know nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from kvfake.services.facts import ROWS
from kvfake.services.messages import Response

Json = dict[str, Any]

ANYTHING: Json = {}
COUNT: Json = {"type": "integer", "minimum": 0}
NUMBER: Json = {"type": "number"}
SWITCH: Json = {"type": "boolean"}
TEXT: Json = {"type": "string"}
NOTHING: Json = {"type": "null"}

_JSON = "application/json"


def ref(name: str, kind: str = "schemas") -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


def array(items: Json, **more: Any) -> Json:
    return {"type": "array", "items": items, **more}


def one_of(*values: Any) -> Json:
    return {"enum": list(values)}


def some(*schemas: Json) -> Json:
    """One of these, or several at once."""
    return {"anyOf": list(schemas)}


def mapping(values: Json, **more: Any) -> Json:
    """Any names, with such values."""
    return {"type": "object", "additionalProperties": values, **more}


def record(properties: Mapping[str, Json], optional: Iterable[str] | None = (), **more: Any) -> Json:
    """These names and no others; ``optional`` may be missing, ``None`` is all of them."""
    required = [] if optional is None else [name for name in properties if name not in tuple(optional)]
    return {
        "type": "object",
        "properties": dict(properties),
        **({"required": required} if required else {}),
        "additionalProperties": False,
        **more,
    }


def told(schema: Json, description: str) -> Json:
    return {**schema, "description": description}


def body(schema: Json, description: str, required: bool = True) -> Json:
    """What is sent."""
    return {"description": description, "content": {_JSON: {"schema": schema}}, "required": required}


def answer(description: str, schema: Json | None = None, headers: Mapping[str, Json] | None = None) -> Json:
    """What is answered: JSON, or an empty body."""
    found: Json = {"description": description}
    if headers:
        found["headers"] = dict(headers)
    if schema is not None:
        found["content"] = {_JSON: {"schema": schema}}
    return found


def header(schema: Json, description: str, required: bool) -> Json:
    return {"description": description, "required": required, "schema": schema}


def answer_of(description: str, *responses: Response, schema: Json | None = None) -> Json:
    """One of these responses, as the service holds them; or something else in their form, as ``schema`` says."""
    headers = [dict(response.headers) for response in responses]
    kind = headers[0].pop("Content-Type").partition(";")[0]
    bodies = [json.loads(response.body) if kind == _JSON else response.body.decode() for response in responses]
    always = {name: value for name, value in headers[0].items() if all(other.get(name) == value for other in headers)}
    named = {name: header({"const": value}, "Always there.", True) for name, value in always.items()}
    content = {kind: {"schema": schema or one_of(*bodies)}}
    return {**answer(description, headers=named), "content": content}


def parameter(name: str, where: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": where, "required": where == "path", "description": description, "schema": schema}


def operation(
    id: str, tag: str, summary: str, description: str, responses: Mapping[str, Json], rows: Iterable[str] = (), **more: Any
) -> Json:
    """One thing that can be asked. The rows that it reproduces are told in their own words."""
    return {
        "operationId": id,
        "tags": [tag],
        "summary": summary,
        "description": with_rows(description, rows),
        **{name: value for name, value in more.items() if value},
        "responses": dict(sorted(responses.items())),
    }


def with_rows(description: str, rows: Iterable[str]) -> str:
    """The text, and behind it the rows."""
    facts = "\n".join(f"- {row}: {ROWS[row].sentence}" for row in rows)
    return "\n\n".join(text for text in (description, facts) if text)
