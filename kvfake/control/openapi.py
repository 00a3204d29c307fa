"""What a route of control says about itself, and the OpenAPI 3.1 description of both services and control that is made of it.

Law: ``openapi.json`` beside this file describes the two services, and holds the larger schemas of control. This module adds what
the code knows: the operations of control, from its routes; the settings of a world; the arguments of a fault; the
schema of the file of values; and for each ``x-rows`` the sentences of these rows. A test compares the paths, limits and texts of
``openapi.json`` with those of the code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import partial
from importlib.resources import files
from typing import Any, NamedTuple, TypeAlias

from kvfake import __version__
from kvfake.control.handlers import FAULT_ACTIONS, FAULT_FIELDS, SENTENCE_FIELDS, WORLD_FIELDS, Handler
from kvfake.services.facts import ROWS
from kvfake.settings import BY_NAME, NO, YES, Setting
from kvfake.world.faults import FaultArguments

Json: TypeAlias = dict[str, Any]
Schema: TypeAlias = dict[str, Any]  # a JSON Schema

PATH_PARAMETERS: Mapping[str, Schema] = {
    "id": {"type": "string", "description": "The world's."},
    "number": {"type": "integer", "minimum": 1, "description": "The fault's `id`."},
    "mark": {"type": "integer", "minimum": 1, "description": "The checkpoint's."},
}


def ref(name: str, kind: str = "schemas") -> Schema:
    return {"$ref": f"#/components/{kind}/{name}"}


def array_schema(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def object_schema(**properties: Schema) -> Schema:
    """An object that has exactly these names."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


class RequestBody(NamedTuple):
    schema: Schema
    description: str
    required: bool = True


class Links(NamedTuple):
    """Where a client can go from a response: ``field`` of the response is ``parameter`` in the path of the operations."""

    field: str
    parameter: str
    operations: tuple[str, ...]


class ControlRoute(NamedTuple):
    """One method of one path.

    ``refusals`` are the statuses of refusals beside those that follow from the other fields: 403 always, 401 unless ``is_open``,
    400 with a ``query`` or a body, 413 with a body. A method that deletes or replaces has a ``query``, at least ``{}``, which takes
    no parameter: if it ignored a filter, it would delete everything.
    """

    path: str  # below /_kvfake; variable parts in werkzeug's notation
    method: str
    handler: Handler
    operation_id: str
    summary: str
    response: Schema  # the body of a response with ``status``
    description: str = ""
    refusals: tuple[int, ...] = ()
    query: Mapping[str, Schema] | None = None  # the optional parameters that it may have; with ``None`` it is ignored
    body: RequestBody | None = None
    status: int = 200
    links: Links | None = None
    is_open: bool = False  # needs no control token, so that the health check of a container can use it


# ------------------------------------------------------------------------------------------------------------- the description


def description(routes: Iterable[ControlRoute]) -> Json:
    """The whole description, with these routes of control; a new one at each call."""
    whole: Json = json.loads(files("kvfake.control").joinpath("openapi.json").read_bytes())
    whole["info"]["version"] = __version__
    for route in routes:
        path = "/_kvfake" + re.sub(r"<(?:int:)?(\w+)>", r"{\1}", route.path)
        parameters = [_parameter(name, "path", PATH_PARAMETERS[name]) for name in re.findall(r"{(\w+)}", path)]
        item = whole["paths"].setdefault(path, {"parameters": parameters} if parameters else {})
        item[route.method.lower()] = _control_operation(route)
    schemas: dict[str, Json] = whole["components"]["schemas"]
    settings = schemas["WorldSettings"]["properties"]
    schemas["WorldSettings"]["properties"] = {name: _setting(BY_NAME[name], settings.get(name, {})) for name in WORLD_FIELDS}
    arguments = schemas["Fault"]["properties"]
    without_response = {"delay": {"anyOf": arguments["delay"]["anyOf"][:-1]}}  # the last sends a body slowly
    defaults = {name: {**arguments[name], "default": FaultArguments._field_defaults[name]} for name in FAULT_FIELDS}
    for name, narrowed in (("FaultOfAnswer", {}), ("FaultOfConnection", without_response), ("FaultOfGarbage", without_response)):
        schemas[name]["properties"] = {**defaults, **narrowed, **schemas[name]["properties"]}
    sentence = {**arguments, **schemas["FaultSentence"]["properties"]}
    schemas["FaultSentence"]["properties"] = {name: sentence[name] for name in SENTENCE_FIELDS}
    schemas["FaultSentence"]["anyOf"] = [_one_action(action) for action in FAULT_ACTIONS]
    whole["components"]["schemas"] = dict(sorted({**schemas, **_file_of_values()}.items()))
    described: Json = _with_rows(whole)
    return described


def _one_action(action: str) -> Json:
    """A sentence with that action and no other."""
    others: Json = {name: False for name in (*FAULT_ACTIONS, "per") if name != action}
    if action != "limit":
        return {"required": [action], "properties": others}
    return {"required": ["limit", "per"], "properties": {**others, "per": True, "times": {"enum": [None, 1]}}}


def _with_rows(node: Any) -> Any:
    """A copy of the node in which the sentences of the rows, at the end of the description, stand in place of each ``x-rows``."""
    if isinstance(node, list | tuple):
        return [_with_rows(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    copy: Json = {}
    for name, inner in node.items():
        if name == "x-rows":
            sentences = "\n".join(f"- {row}: {ROWS[row].sentence}" for row in inner)
            copy["description"] = f"{copy['description']}\n\n{sentences}" if "description" in copy else sentences
        else:
            copy[name] = _with_rows(inner)
    return copy


# --------------------------------------------------------------------------------------------------------------------- control


def _control_operation(route: ControlRoute) -> Json:
    statuses = {403, *route.refusals} if route.is_open else {401, 403, *route.refusals}
    if route.query is not None:
        statuses.add(400)
    request: Json = {}
    if route.query:
        request["parameters"] = [_parameter(name, "query", schema) for name, schema in route.query.items()]
    if route.body is not None:
        description, required = route.body.description, route.body.required
        request["requestBody"] = {"description": description, **_content(route.body.schema), "required": required}
        statuses |= {400, 413}
    response = {"description": "It was made." if route.status == 201 else "It was done.", **_content(route.response)}
    if route.links is not None:
        parameters = {route.links.parameter: f"$response.body#/{route.links.field}"}
        response["links"] = {id: {"operationId": id, "parameters": parameters} for id in route.links.operations}
    responses = {str(status): ref(f"Control{status}", "responses") for status in statuses} | {str(route.status): response}
    return {
        "operationId": route.operation_id,
        "tags": ["Control"],
        "summary": route.summary,
        "description": route.description,
        "security": [{}] if route.is_open else [{}, {"controlToken": []}],
        **request,
        "responses": dict(sorted(responses.items())),
    }


def _parameter(name: str, place: str, schema: Mapping[str, Any]) -> Json:
    """A parameter. OpenAPI wants its description beside the schema, not in it."""
    own = {keyword: value for keyword, value in schema.items() if keyword != "description"}
    return {"name": name, "in": place, "required": place == "path", "description": schema["description"], "schema": own}


def _content(schema: Mapping[str, Any]) -> Json:
    return {"content": {"application/json": {"schema": schema}}}


# ------------------------------------------------------------------------------------------- schemas that follow from the code


def _setting(setting: Setting, schema: Json) -> Json:
    """A setting of a world. ``schema`` is that of ``openapi.json``, for a setting whose values do not follow from its type."""
    if setting.choices:
        schema = {"enum": [None, *setting.choices]}
    elif setting.is_switch:
        schema = {"enum": [None, True, False, 1, 0, *YES, *NO]}
    elif isinstance(setting.read, partial):  # a number, or a text of digits as in an environment variable
        least, most, *_ = setting.read.args
        digits = {"type": "string", "pattern": f"^[0-9]{{1,{len(str(most)) - 1}}}$"}
        schema = {"anyOf": [{"type": ["integer", "null"], "minimum": least, "maximum": most}, digits]}
    return {**schema, "description": setting.meaning}


def _file_of_values() -> Json:
    """The schema of the file of values, and those that it refers to, under names that begin with ``FileOfValues``."""

    def name_of(part: str) -> str:
        return f"FileOfValues{part[:1].upper()}{part[1:]}"

    text = files("kvfake").joinpath("data.schema.json").read_text("utf-8")
    schema = json.loads(re.sub(r"#/\$defs/(\w+)", lambda found: f"#/components/schemas/{name_of(found[1])}", text))
    del schema["$schema"]
    parts = schema.pop("$defs")
    return {"FileOfValues": schema, **{name_of(part): parts[part] for part in parts}}
