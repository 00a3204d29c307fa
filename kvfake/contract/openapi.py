"""``kvfake openapi``: both services and control, as an OpenAPI 3.1 description.

Law: ``openapi.json`` beside this file is the description without its operations. This module adds what the code knows: the
operations of control, from the table of its routes, and those of the services; the settings of a world, the arguments of a
fault, the file of values; and for each ``x-rows`` the sentences of these rows. A test compares the limits and texts of
``openapi.json`` with those of the code.
"""

from __future__ import annotations

import json
import re
import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping
from copy import deepcopy
from functools import partial
from importlib.resources import files
from typing import Any, TypeAlias

from kvfake import __version__
from kvfake.control.handlers import FAULT_FIELDS, WORLD_FIELDS
from kvfake.control.routes import PATH_PARAMETERS, ROUTES, ControlRoute, array_schema, object_schema, ref
from kvfake.services import mattermost, persist
from kvfake.services.facts import ROWS
from kvfake.services.messages import FIDELITY_HEADER
from kvfake.settings import BY_NAME, NO, YES, Setting
from kvfake.world.faults import FaultArguments

Json: TypeAlias = dict[str, Any]


def command(options: Namespace) -> int:
    """Print the description as JSON."""
    sys.stdout.write(json.dumps(description(), ensure_ascii=False, indent=2) + "\n")
    return 0


def description() -> Json:
    """The whole description, a new one at each call."""
    whole: Json = json.loads(files("kvfake.contract").joinpath("openapi.json").read_bytes())
    whole["info"]["version"] = __version__
    whole["paths"] = {**_mattermost_paths(), **_persist_paths(), **_control_paths()}
    schemas: dict[str, Json] = whole["components"]["schemas"]
    settings = schemas["WorldSettings"]["properties"]
    schemas["WorldSettings"]["properties"] = {name: _setting(BY_NAME[name], settings.get(name, {})) for name in WORLD_FIELDS}
    arguments = schemas["Fault"]["properties"]
    without_response = {"delay": {"anyOf": arguments["delay"]["anyOf"][:-1]}}  # the last takes a body and sends it slowly
    for name, narrowed in (("FaultOfAnswer", {}), ("FaultOfConnection", without_response), ("FaultOfGarbage", without_response)):
        schemas[name]["properties"] = _fault_arguments(arguments, {**narrowed, **schemas[name]["properties"]})
    whole["components"]["schemas"] = dict(sorted({**schemas, **_file_of_values()}.items()))
    _add_rows(whole)
    return deepcopy(whole)  # parts of the tables are in it


def _add_rows(node: Any) -> None:
    """Replace each ``x-rows`` by the sentences of the rows, at the end of the description beside it."""
    if isinstance(node, dict) and "x-rows" in node:
        facts = "\n".join(f"- {row}: {ROWS[row].sentence}" for row in node.pop("x-rows"))
        node["description"] = "\n\n".join(text for text in (node["description"], facts) if text)
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _add_rows(inner)


# ------------------------------------------------------------------------------------------------------- parts of an operation


def _operation(
    operation_id: str,
    tag: str,
    summary: str,
    security: list[Json],
    responses: Mapping[str, Json],
    rows: Iterable[str] = (),
    description: str = "",
    **more: Any,
) -> Json:
    """An operation. ``more`` are its parameters or its body."""
    start = {"operationId": operation_id, "tags": [tag], "summary": summary, "description": description, "x-rows": rows}
    return {**start, "security": security, **more, "responses": dict(sorted(responses.items()))}


def _parameter(name: str, place: str, schema: Mapping[str, Any]) -> Json:
    """A parameter. OpenAPI wants its description beside the schema, not in it."""
    own = {keyword: value for keyword, value in schema.items() if keyword != "description"}
    return {"name": name, "in": place, "required": place == "path", "description": schema["description"], "schema": own}


def _content(schema: Mapping[str, Any]) -> Json:
    return {"content": {"application/json": {"schema": schema}}}


def _body(description: str, schema: Mapping[str, Any], required: bool = True) -> Json:
    return {"description": description, **_content(schema), "required": required}


def _response(description: str, schema: Mapping[str, Any] | None = None, headers: Json | None = None) -> Json:
    """A response. Without a schema its body is empty."""
    return {
        "description": description,
        **({"headers": headers} if headers else {}),
        **({} if schema is None else _content(schema)),
    }


def _links(operations: Mapping[str, str], parameters: Mapping[str, str]) -> Json:
    """What a client can call next: operation ids by name, and where their parameters come from."""
    return {"links": {name: {"operationId": id, "parameters": parameters} for name, id in operations.items()}}


def _refusals(service: str, *statuses: int) -> Json:
    return {str(status): ref(f"{service}{status}", "responses") for status in statuses}


# ------------------------------------------------------------------------------------------------------------------ Mattermost

_ENDED = {"410": ref("Ended", "responses")}
_ANY_JSON = {"description": "Any JSON value."}
_KEY: Json = {"type": "string", "pattern": r"^[^/\n]+$", "not": {"enum": [".", ".."]}, "description": "One part of a path."}
_PREFIX = _KEY | {"description": f"One part of a path. The profile plugin-1.2 takes {mattermost.MAX_PREFIX_BYTES} bytes at most."}
_HEADERS: Json = {
    FIDELITY_HEADER: {
        "description": "The rows in which the profile documented was kinder than the plugin.",
        "required": False,
        "schema": {"type": "string", "pattern": "^[MP][0-9]{2}(, [MP][0-9]{2})*$"},
    }
}
_READ: list[Json] = [{"mattermostBearer": []}, {"mattermostCookie": []}, {"mattermostQuery": []}]
_WRITE: list[Json] = [{"mattermostBearer": []}, {"mattermostCookie": [], "mattermostCsrf": []}, {"mattermostQuery": []}]


def _mattermost_paths() -> Json:
    return {
        mattermost.KV + "/{key}": _mattermost_path("", {"key": _KEY}, "M20", "M21"),
        mattermost.KV + "/{prefix}/{key}": _mattermost_path(
            "Prefixed", {"prefix": _PREFIX, "key": _KEY}, "M06", "M15", "M20", "M21", "M25"
        ),
    }


def _mattermost_path(suffix: str, parameters: Mapping[str, Json], *rows: str) -> Json:
    """The four operations of one path. ``suffix`` is that of their ids, and ``rows`` are those that all of them reproduce."""
    refusals = _refusals("Mattermost", 301, 400, 401, 404, 500) | _ENDED
    set_refusals = refusals | _refusals("MattermostSet", 400, 500)
    ids = {name.lower(): f"mattermost{name}{suffix}" for name in ("Get", "Delete")}
    text = "It was set. `changed` is false only in the profile documented, where the stored bytes are the same already."
    was_set = _response(text, object_schema(changed={"type": "boolean"}), _HEADERS)
    was_set |= _links(ids, {name: f"$request.path.{name}" for name in parameters})
    value = _response("The stored bytes; `{}` where there are none.", _ANY_JSON, _HEADERS)
    gone = _response("It is not there any more; the body is empty.", headers=_HEADERS)
    body = _body(f"The value: at most {mattermost.MAX_VALUE_BYTES} bytes, kept as they are.", _ANY_JSON)

    def operation(name: str, summary: str, security: list[Json], responses: Json, *own_rows: str, **more: Any) -> Json:
        return _operation(f"mattermost{name}{suffix}", "Mattermost", summary, security, responses, (*own_rows, *rows), **more)

    def set_value(name: str, summary: str) -> Json:
        own_rows = ("M03", "M04", "M13", "M14", "M17", "M18", "M24", "M26")
        return operation(name, summary, _WRITE, {"200": was_set, **set_refusals}, *own_rows, requestBody=body)

    return {
        "parameters": [_parameter(name, "path", schema) for name, schema in parameters.items()],
        "get": operation("Get", "Get a value", _READ, {"200": value, **refusals}, "M02", "M07", "M08", "M10", "M11", "M12"),
        "post": set_value("Set", "Set a value"),
        "put": set_value("Put", "Set a value, as POST does"),
        "delete": operation("Delete", "Delete a value", _WRITE, {"200": gone, **refusals}, "M05", "M26"),
    }


# --------------------------------------------------------------------------------------------------------------------- Persist


def _json_object(**properties: Json) -> Json:
    """An object that has these names, and may have others."""
    return {"type": "object", "required": list(properties), "properties": properties}


def _persist_paths() -> Json:
    refusals = _refusals("Persist", 400, 401) | _ENDED

    def operation(id: str, summary: str, responses: Json, *rows: str, **more: Any) -> Json:
        return _operation(f"persist{id}", "Persist", summary, [{"persistBearer": []}], {**refusals, **responses}, rows, **more)

    text = {"type": "string"}
    key = text | {"minLength": 1, "description": "What follows in the path is the key, decoded once (P12)."}
    value = text | {
        "maxLength": persist.MAX_VALUE_BYTES,
        "description": f"At most {persist.MAX_VALUE_BYTES} bytes of UTF-8 (P09).",
    }
    stored = _response("The value.", ref("PersistRecord"))
    links = _links({"get": "persistGet", "delete": "persistDelete"}, {"key": "$request.path.key"})
    keys = _response("The keys, in ascending order.", array_schema(text))
    records = _response("The values, in the order of the keys.", array_schema({"anyOf": [ref("PersistRecord"), {"type": "null"}]}))
    gone = _response("It is not there any more; the body is empty.")
    begins = _parameter("begins", "query", text | {"description": "Only the keys that begin with it."})
    set_body = _body("The value; other names mean nothing.", _json_object(value=value))
    mget_keys = array_schema(text) | {"maxItems": persist.MAX_MGET_KEYS}
    mget_body = _body(f"At most {persist.MAX_MGET_KEYS} keys; other names mean nothing.", _json_object(keys=mget_keys))
    return {
        f"{persist.API}/persist/kv": {"get": operation("List", "List the keys", {"200": keys}, "P07", parameters=[begins])},
        f"{persist.API}/persist/kv/{{key}}": {
            "parameters": [_parameter("key", "path", key)],
            "get": operation("Get", "Get a value", {"200": stored, **_refusals("Persist", 404)}, "P05", "P10", "P12"),
            "put": operation("Set", "Set a value", {"200": stored | links}, "P03", "P09", "P10", "P12", requestBody=set_body),
            "delete": operation("Delete", "Delete a value", {"200": gone}, "P06", "P12", "P15"),
        },
        f"{persist.API}/persist/mget": {
            "post": operation("Mget", "Get several values", {"200": records}, "P08", requestBody=mget_body)
        },
    }


# --------------------------------------------------------------------------------------------------------------------- control


def _control_paths() -> Json:
    paths: Json = {}
    for route in ROUTES:
        path = "/_kvfake" + re.sub(r"<(?:int:)?(\w+)>", r"{\1}", route.path)
        parameters = [_parameter(name, "path", PATH_PARAMETERS[name]) for name in re.findall(r"{(\w+)}", path)]
        item = paths.setdefault(path, {"parameters": parameters} if parameters else {})
        item[route.method.lower()] = _control_operation(route)
    return paths


def _control_operation(route: ControlRoute) -> Json:
    more: Json = {}
    statuses = {403, *route.refusals} if route.is_open else {401, 403, *route.refusals}
    if route.query:
        more["parameters"] = [_parameter(name, "query", schema) for name, schema in route.query.items()]
        statuses.add(400)
    if route.body is not None:
        more["requestBody"] = _body(route.body.description, route.body.schema, route.body.required)
        statuses |= {400, 413}
    response = _response("It was made." if route.status == 201 else "It was done.", route.response)
    if route.links is not None:
        operations = {id: id for id in route.links.operations}
        response |= _links(operations, {route.links.parameter: f"$response.body#/{route.links.field}"})
    responses = {**_refusals("Control", *statuses), str(route.status): response}
    security: list[Json] = [{}] if route.is_open else [{}, {"controlToken": []}]
    return _operation(route.operation_id, "Control", route.summary, security, responses, (), route.description, **more)


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


def _fault_arguments(every: Json, narrowed: Json) -> Json:
    """The arguments of a new fault: each with its default, or with the narrower schema that this kind of fault has for it."""
    defaults = FaultArguments._field_defaults
    return {name: narrowed.get(name) or {**every[name], "default": defaults[name]} for name in FAULT_FIELDS}


def _file_of_values() -> Json:
    """The schema of the file of values, and those that it refers to, under names that begin with ``FileOfValues``."""

    def name_of(part: str) -> str:
        return f"FileOfValues{part[:1].upper()}{part[1:]}"

    text = files("kvfake").joinpath("data.schema.json").read_text("utf-8")
    schema = json.loads(re.sub(r"#/\$defs/(\w+)", lambda found: f"#/components/schemas/{name_of(found[1])}", text))
    del schema["$schema"]
    parts = schema.pop("$defs")
    return {"FileOfValues": schema, **{name_of(part): parts[part] for part in parts}}
