"""Control (`/_kvfake/`), for the OpenAPI description: what can be asked at which path, and every answer.

Law: a table, which has the paths and verbs of `kvfake.control.app`; a test compares them. What goes in is
`kvfake.contract.openapi.schemas`', and what comes out `kvfake.contract.openapi.answers`'.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kvfake.contract.openapi.parts import (
    COUNT,
    TEXT,
    Json,
    answer,
    array,
    body,
    header,
    mapping,
    one_of,
    operation,
    parameter,
    record,
    ref,
    told,
)
from kvfake.contract.openapi.schemas import SERVICES
from kvfake.settings import BY_NAME
from kvfake.world.matching import FIELDS

BASE = "/_kvfake"

TAG: Json = {
    "name": "Control",
    "description": "What the real services never let you do, for the world of the address. It meets no fault and is not in the "
    "journal. Another method than these is answered with 405, `Allow`, and JSON with an `error`.",
}
SECURITY: Json = {
    "controlToken": {"type": "http", "scheme": "bearer", "description": "Where the server was started with `--control-token`."}
}
_SECURITY: list[Json] = [{}, {"controlToken": []}]

_REFUSED = {
    "400": "What was asked is not right; the text says what was expected.",
    "401": "The control token is missing, or another one.",
    "403": "`Host` is no name of this server, or `Origin` is another's.",
    "404": "There is no such thing.",
    "409": "It cannot be done here.",
    "410": "That world has ended.",
    "413": "The body is too large.",
    "429": "There are too many worlds.",
    "500": "The file cannot be written.",
}
RESPONSES: Json = {f"Control{status}": answer(what, ref("Error")) for status, what in _REFUSED.items()}
RESPONSES["Control401"]["headers"] = {"WWW-Authenticate": header({"const": "Bearer"}, "What is expected.", required=True)}

# ---------------------------------------------------------------------------------------------------------------- what is asked

_ID = parameter("id", "path", TEXT, "The world's.")
_NUMBER = parameter("number", "path", {"type": "integer", "minimum": 1}, "The fault's `id`.")
_MARK = parameter("mark", "path", {"type": "integer", "minimum": 1}, "The checkpoint's.")
_ADDRESS = [
    parameter("service", "query", one_of(*SERVICES), "The values of that service alone."),
    parameter("owner", "query", TEXT, "app/user for Mattermost, a project's name for Persist."),
    parameter("prefix", "query", TEXT, "Mattermost's alone."),
    parameter("key", "query", TEXT, "That key alone."),
]
_EXCHANGES = [
    *[parameter(name, "query", {"type": "integer"} if name == "status" else TEXT, f"Those with that {name}.") for name in FIELDS],
    parameter("since", "query", {"type": "integer"}, "Those with a greater number."),
]
_REMOVED, _LOADED = record({"removed": COUNT}), record({"loaded": told(COUNT, "How many values.")})
_CHECKPOINT = record({"checkpoint": {"type": "integer", "minimum": 1}})
_ONE_WORLD, _ONE_FAULT = ("404", "410"), ("404",)


def _to(name: str, value: str, *operations: str) -> Json:
    """Where to go from an answer."""
    return {id: {"operationId": id, "parameters": {name: f"$response.body#/{value}"}} for id in operations}


def _does(
    id: str,
    summary: str,
    shown: Json,
    refused: tuple[str, ...] = (),
    text: str = "",
    created: bool = False,
    links: Mapping[str, Any] | None = None,
    is_open: bool = False,
    **more: Any,
) -> Json:
    """One line of the table."""
    always = ("403",) if is_open else ("401", "403")
    with_body = ("400", "413") if "requestBody" in more else ("400",) if "parameters" in more else ()
    done = answer("It was made." if created else "It was done.", shown) | ({"links": dict(links)} if links else {})
    responses = {status: ref(f"Control{status}", "responses") for status in (*always, *with_body, *refused)}
    responses["201" if created else "200"] = done
    return operation(id, TAG["name"], summary, text, responses, security=[{}] if is_open else _SECURITY, **more)


_FILE = body(ref("FileOfValues"), "A file of values; it is checked whole before anything is changed.")

_TABLE: Json = {
    "/": {"get": _does("index", "List the paths", record({"kvfake": TEXT, "paths": mapping(array(TEXT))}))},
    "/health": {
        "get": _does(
            "health",
            "Say what answers here",
            record({"status": {"const": "ok"}, "kvfake": TEXT, "url": TEXT, "profile": one_of(*BY_NAME["profile"].choices)}),
            is_open=True,
            text="It needs no token.",
        )
    },
    "/env": {"get": _does("environment", "Show the variables with which an app finds the world", ref("Environment"))},
    "/reset": {
        "post": _does(
            "reset",
            "Forget values, faults, journal and checkpoints",
            record({"reset": told(TEXT, "The world's id.")}),
            ("400",),
            "The clock is the machine's again; tokens, neighbours and settings stay.",
        )
    },
    "/worlds": {
        "get": _does("listWorlds", "List the worlds", record({"worlds": array(record({"id": TEXT, "address": TEXT}))})),
        "post": _does(
            "openWorld",
            "Open a world",
            ref("World"),
            ("409", "429"),
            "It shares nothing with others, and ends when it is deleted.",
            created=True,
            links=_to("id", "id", "showWorld", "endWorld"),
            requestBody=body(ref("WorldSettings"), "Its settings.", required=False),
        ),
    },
    "/worlds/{id}": {
        "parameters": [_ID],
        "get": _does("showWorld", "Describe a world", ref("World"), _ONE_WORLD),
        "delete": _does(
            "endWorld",
            "End a world",
            record({"ended": TEXT}),
            (*_ONE_WORLD, "409"),
            "From then on it refuses. The server's own stays.",
        ),
    },
    "/data": {
        "get": _does("showValues", "Show values", ref("FileOfValues"), parameters=_ADDRESS),
        "post": _does("addValues", "Set values beside what is there", _LOADED, requestBody=_FILE),
        "put": _does("replaceValues", "Set values in place of what is there", _LOADED, requestBody=_FILE),
        "delete": _does(
            "deleteValues", "Delete values", record({"deleted": COUNT}), text="With no query: all of them.", parameters=_ADDRESS
        ),
    },
    "/data/export": {
        "post": _does(
            "exportValues",
            "Write the values to the file of --export",
            record({"written": told(TEXT, "The file.")}),
            ("409", "500"),
        )
    },
    "/faults": {
        "get": _does("listFaults", "List the faults", record({"faults": array(ref("Fault"))})),
        "post": _does(
            "addFault",
            "Let requests to the services go wrong",
            ref("Fault"),
            text="A request meets the first fault whose turn it is; each counts every request that it means.",
            created=True,
            links=_to("number", "id", "showFault", "removeFault"),
            requestBody=body(ref("NewFault"), "What happens, to which requests, and when."),
        ),
        "delete": _does("clearFaults", "Remove all faults", _REMOVED, ("400",)),
    },
    "/faults/{number}": {
        "parameters": [_NUMBER],
        "get": _does("showFault", "Show a fault", ref("Fault"), _ONE_FAULT),
        "delete": _does(
            "removeFault", "Remove a fault", ref("Fault"), _ONE_FAULT, "It strikes no more; what it did can still be shown."
        ),
    },
    "/journal": {
        "get": _does(
            "showJournal",
            "Show what was asked and answered",
            record({"exchanges": array(ref("Exchange")), "dropped": told(COUNT, "Older ones that made room."), "seen": COUNT}),
            parameters=_EXCHANGES,
        ),
        "delete": _does("clearJournal", "Forget the exchanges", record({"forgotten": COUNT}), ("400",)),
    },
    "/clock": {
        "get": _does("showClock", "Show the world's time", ref("Clock")),
        "post": _does("setClock", "Hold or move the world's time", ref("Clock"), requestBody=body(ref("ClockMove"), "The moves.")),
    },
    "/checkpoints": {
        "get": _does("listCheckpoints", "List the checkpoints", record({"checkpoints": array(COUNT)})),
        "post": _does(
            "makeCheckpoint",
            "Mark everything as it is now",
            _CHECKPOINT,
            created=True,
            links=_to("mark", "checkpoint", "rollBack"),
        ),
    },
    "/checkpoints/{mark}/rollback": {
        "parameters": [_MARK],
        "post": _does("rollBack", "Let everything be as it was", _CHECKPOINT, ("404",), "Later checkpoints are gone."),
    },
    "/routes": {
        "get": _does("listRoutes", "List the neighbours", record({"routes": array(ref("Route")), "mounts": array(TEXT)})),
        "post": _does(
            "addRoute",
            "Answer a request beside the stores",
            ref("Route"),
            text="Of two that meet a request the later answers.",
            created=True,
            requestBody=body(ref("NewRoute"), "The request, and its answer."),
        ),
        "delete": _does("clearRoutes", "Remove all neighbours", _REMOVED, ("400",)),
    },
}
PATHS: Json = {BASE + path: verbs for path, verbs in _TABLE.items()}
