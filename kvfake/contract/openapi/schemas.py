"""What `/_kvfake/` takes, for the OpenAPI description.

Law: schemas, made of what the settings, the faults and the file of values say of themselves. Paths are
`kvfake.contract.openapi.control`'s.
"""

from __future__ import annotations

import json
from functools import cache, partial
from importlib.resources import files
from typing import Any

from kvfake.contract.openapi.parts import (
    ANYTHING,
    COUNT,
    NOTHING,
    NUMBER,
    Json,
    array,
    mapping,
    one_of,
    record,
    ref,
    some,
    told,
)
from kvfake.services import mattermost, persist
from kvfake.services.messages import Sever, Wire
from kvfake.settings import NO, PROJECT_MARK, WORLD, YES, Setting, of
from kvfake.world.clock import FIRST, LAST
from kvfake.world.faults import FAULT_DEFAULTS, MAX_DELAY_SECONDS
from kvfake.world.routes import FRAMING_HEADERS, RESERVED_PATHS, WITHOUT_BODY

SERVICES = (mattermost.NAME, persist.NAME)
FUNCTIONS = ("when", "before")  # of a fault: for Python alone


# ----------------------------------------------------------------------------------------------------------- settings of a world


def settings() -> Json:
    """Every setting of a world that can be given over HTTP."""
    return {setting.name: told(_setting(setting), setting.meaning) for setting in of(WORLD) if not setting.is_file}


def _setting(setting: Setting) -> Json:
    if setting.choices:
        return one_of(None, *setting.choices)
    if setting.is_switch:
        return one_of(None, True, False, 1, 0, *YES, *NO)
    if isinstance(setting.read, partial):  # a number; as a text, too, as in a variable
        least, most, *_ = setting.read.args
        number = {"type": ["integer", "null"], "minimum": least, "maximum": most}
        return some(number, {"type": "string", "pattern": f"^[0-9]{{1,{len(str(most)) - 1}}}$"})
    return _TOKENS if setting.is_list else _URL


_OWNER = rf"(?:{PROJECT_MARK}[^=]+|[^/=]*/[^/=]+)"
_BLANK = r"\s\x1c-\x1f\x85"  # where Python splits a text
_OWNER_WITHOUT_BLANKS = _OWNER.replace("=]", f"={_BLANK}]")
_TOKENS = some(
    NOTHING,
    array({"type": "string", "pattern": rf"^[\s\S]+={_OWNER}$"}),
    {"type": "string", "pattern": rf"^(?:[^{_BLANK}]+={_OWNER_WITHOUT_BLANKS}(?:[{_BLANK}]+|$))*$"},
    mapping({"type": "string", "pattern": rf"^{_OWNER}$"}, propertyNames={"minLength": 1}),
)
_URL: Json = {
    "type": ["string", "null"],
    "pattern": r"^https?://[A-Za-z0-9.\-_~!$&'()*+,;=]+(?::[1-9][0-9]{0,3})?(?:/[!$-;=@-~]*)?$",
}

# --------------------------------------------------------------------------------------------------------------------- answers


def _in_any_case(word: str) -> str:
    return "".join(f"[{letter}{letter.upper()}]" if letter.isalpha() else letter for letter in word)


_NAME = r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$"
_HEADERS = told(
    mapping(
        {"type": "string", "pattern": r"^[\t\x20-\x7e\x80-\xff]*$"},
        propertyNames={"pattern": _NAME, "not": {"pattern": f"^(?:{'|'.join(map(_in_any_case, FRAMING_HEADERS))})$"}},
    ),
    f"Names and values in Latin-1; not {', '.join(FRAMING_HEADERS)}.",
)
STATUS: Json = {"type": "integer", "minimum": 200, "maximum": 599}
_HAS_NO_BODY = {"required": ["status"], "properties": {"status": one_of(*WITHOUT_BODY)}}
_WANTED = some({"type": ["string", "null"]}, ref("Matches"))


def _below(path: str) -> str:
    """The paths that are this one or lie below it."""
    return path if path.endswith("~") else f"{path.replace('.', chr(92) + '.')}(?:/|$)"


def _is(name: str, schema: Json) -> Json:
    """That name is there, with such a value."""
    return {"required": [name], "properties": {name: schema}}


def _but(*values: Any) -> Json:
    return {"not": one_of(*values)}


# ---------------------------------------------------------------------------------------------------------------------- faults

_SECONDS: Json = {"type": "number", "minimum": 0, "maximum": MAX_DELAY_SECONDS}
_HELD_BACK = some(
    _SECONDS,
    told(array(_SECONDS, minItems=2, maxItems=2), "Least and most, evenly drawn."),
    record({"median": _SECONDS, "sigma": {"type": "number", "minimum": 0, "maximum": 10}}),
)
_DRIBBLED = told(record({"over": _SECONDS}), "Its bytes come over that time.")
FAULT: dict[str, Json] = {
    "status": told({**STATUS, "type": ["integer", "null"]}, "The service answers so, and nothing is done; a 2xx only seems done."),
    "delay": told(some(*_HELD_BACK["anyOf"], _DRIBBLED), "How long the answer is held back, in seconds."),
    "sever": told(
        one_of(None, *[sever.value for sever in Sever]),
        "How it is cut: " + "; ".join(f"{name}: {what}" for name, what in [(sever.value, sever.meaning) for sever in Sever]) + ".",
    ),
    "times": told({"type": ["integer", "null"], "minimum": 1}, "How often it strikes; null is until it is removed."),
    "after": told(COUNT, "How many requests pass before."),
    "every": told({"type": "integer", "minimum": 1}, "It strikes each so many of them."),
    "rate": told({"type": "number", "minimum": 0, "maximum": 1}, "How probably it strikes."),
    "seed": told({"type": "integer"}, "What is drawn repeats with it."),
    "service": one_of(None, *SERVICES),
    "method": _WANTED,
    "key": _WANTED,
    "owner": _WANTED,
    "body": told(ANYTHING, "Stands in place of what would be sent: a text, or what becomes JSON."),
    "headers": told(some(NOTHING, _HEADERS), "Stand in place of those that would be sent."),
}


def _fault(**instead: Json) -> Json:
    """The fields of a fault, each with its default."""
    fields = {name: instead.get(name, FAULT[name]) for name in FAULT_DEFAULTS if name not in FUNCTIONS}
    return {name: {**field, "default": FAULT_DEFAULTS[name]} if name not in instead else field for name, field in fields.items()}


_NOT_SEEN = {"status": NOTHING, "headers": {"type": ["object", "null"], "maxProperties": 0}, "delay": _HELD_BACK}
_FAULTS: Json = {
    "FaultOfAnswer": record(
        _fault(sever=one_of(None, Sever.TRUNCATE.value)),
        None,
        description="An answer goes out, late or another than the service's.",
        anyOf=[
            _is("status", _but(None)),
            _is("delay", _but(0)),
            _is("sever", _but(None)),
            _is("body", _but(None)),
            _is("headers", {"type": "object", "minProperties": 1}),
        ],
        **{"not": {**_HAS_NO_BODY, "anyOf": [_is("body", _but(None, "")), _is("sever", one_of(Sever.TRUNCATE.value))]}},
    ),
    "FaultOfConnection": record(
        _fault(
            sever=one_of(*[sever.value for sever in Sever if sever.wire not in (Wire.TRUNCATE, Wire.GARBAGE)]),
            body=NOTHING,
            **_NOT_SEEN,
        ),
        None,
        description="No answer goes out.",
        required=["sever"],
    ),
    "FaultOfGarbage": record(
        _fault(sever=one_of(Sever.GARBAGE.value), **_NOT_SEEN),
        None,
        description="What comes back is not HTTP; `body` says what.",
        required=["sever"],
    ),
    "NewFault": some(ref("FaultOfAnswer"), ref("FaultOfConnection"), ref("FaultOfGarbage")),
}

# ------------------------------------------------------------------------------------------------------------------ neighbours

_PATH = {"type": "string", "pattern": r"^/[^?#]*$", "not": {"pattern": f"^(?:{'|'.join(_below(path) for path in RESERVED_PATHS)})"}}
_ROUTES: Json = {
    "NewRoute": record(
        {
            "method": told({"type": ["string", "null"], "pattern": _NAME, "default": None}, "null is any."),
            "path": told(some(_PATH, ref("Matches")), "Exact, or a pattern of the whole; not one of the stores."),
            "status": {**STATUS, "default": 200},
            "json": told(ANYTHING, "The body, as JSON."),
            "body": told({"type": ["string", "null"]}, "The body, as a text."),
            "headers": some(NOTHING, _HEADERS),
        },
        None,
        required=["path"],
        **{
            "not": some(
                {"allOf": [_is("json", _but(None)), _is("body", _but(None))]},
                {**_HAS_NO_BODY, "anyOf": [_is("json", _but(None)), _is("body", _but(None, ""))]},
            )
        },
    ),
}

# ---------------------------------------------------------------------------------------------------------- the file of values


@cache
def file_of_values() -> Json:
    """The schema of the file of values, and those that it refers to, by their names here."""
    schema = _moved(json.loads(files("kvfake").joinpath("data.schema.json").read_text("utf-8")))
    parts = {_part(name): part for name, part in schema.pop("$defs").items()}
    del schema["$schema"]
    return {"FileOfValues": schema, **parts}


def _part(name: str) -> str:
    return "FileOfValues" + name[:1].upper() + name[1:]


def _moved(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_moved(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: f"#/components/schemas/{_part(inner.rpartition('/')[2])}" if name == "$ref" else _moved(inner)
        for name, inner in schema.items()
    }


SCHEMAS: Json = {
    "Matches": record(
        {"matches": told({"type": "string", "format": "regex"}, "A regular expression, as Python's `re` reads it.")},
        description="Instead of an exact text: a part of it must match.",
    ),
    "WorldSettings": record(settings(), None, description="What is not said, or null, is as in the server's own world."),
    "ClockMove": record(
        {
            "resume": told({"const": True}, "The machine's time again. What follows is done in this order."),
            "freeze": told({"const": True}, "It stands still."),
            "move_to": told(
                some(
                    {"type": "string", "format": "date-time", "pattern": r"^(?!0000).*:[0-5][0-9](\.[0-9]+)?([Zz]|[+-][0-9:]+)$"},
                    {"type": "string", "format": "date", "pattern": "^(?!0000)"},
                    {"type": "number", "minimum": int(FIRST.timestamp()), "exclusiveMaximum": int(LAST.timestamp()) + 1},
                ),
                "ISO 8601, or seconds since 1970; within the years 1 to 9999.",
            ),
            "shift": told(NUMBER, "Seconds; it stays within the years 1 to 9999."),
        },
        None,
        minProperties=1,
    ),
    **_FAULTS,
    **_ROUTES,
}
