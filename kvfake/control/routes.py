"""The routes of ``/_kvfake/``: each path and method, its handler, and what the OpenAPI description says about it.

Law: one table. `kvfake.control` makes its URL rules from it, and `kvfake.control.openapi` the description. The larger schemas
stand in ``kvfake/control/openapi.json`` and are referred to by name.
"""

from __future__ import annotations

from collections.abc import Mapping

from kvfake import __version__
from kvfake.control import handlers
from kvfake.control.handlers import ControlRequest, Payload
from kvfake.control.openapi import ControlRoute, Links, RequestBody, Schema, array_schema, description, object_schema, ref
from kvfake.settings import BY_NAME
from kvfake.world.backend import SERVICES
from kvfake.world.journal import MAX_WAIT_SECONDS
from kvfake.world.matching import CHOICES, FIELDS


def _index(request: ControlRequest) -> Payload:
    return {"kvfake": __version__, "paths": PATHS}


def _openapi(request: ControlRequest) -> Payload:
    return description(ROUTES)


_TEXT: Schema = {"type": "string"}
_INTEGER: Schema = {"type": "integer"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_NUMBERED: Schema = {"type": "integer", "minimum": 1}
_PATHS: Schema = {"type": "object", "additionalProperties": array_schema(_TEXT)}
_LOADED = object_schema(loaded={**_COUNT, "description": "How many values."})
_FILE = RequestBody(ref("FileOfValues"), "A file of values; it is checked whole before anything is changed.")

_VALUES_QUERY: Mapping[str, Schema] = {
    "service": {"enum": list(SERVICES), "description": "Only the values of that service."},
    "owner": {**_TEXT, "description": "app/user for Mattermost, the name of a project for Persist."},
    "prefix": {**_TEXT, "description": "Only for Mattermost."},
    "key": {**_TEXT, "description": "Only that key."},
}
_JOURNAL_QUERY: Mapping[str, Schema] = {
    **{
        name: {
            **(_INTEGER if name == "status" else _TEXT),
            **({"enum": list(CHOICES[name])} if name in CHOICES else {}),
            "description": f"Those with that {name}.",
        }
        for name in FIELDS
    },
    "since": {**_INTEGER, "description": "Exchanges with a greater number."},
    "wait": {
        "type": "number",
        "minimum": 0,
        "maximum": MAX_WAIT_SECONDS,
        "description": "Wait for such exchanges, for at most so many seconds.",
    },
    "times": {
        **_NUMBERED,
        "description": "With `wait`: wait for so many exchanges (default: 1). The journal must be able to keep them.",
    },
}
_HEALTH = object_schema(status={"const": "ok"}, kvfake=_TEXT, url=_TEXT, profile={"enum": list(BY_NAME["profile"].choices)})
_OWNER_OF_SERVICE: Schema = {"type": ["string", "null"], "description": "null if the service does not know the token."}
_OWNER = object_schema(
    world={**_TEXT, "description": "The id of the world that a request with the token belongs to."},
    path={**_TEXT, "description": "The path of that world below this address: empty, or /~ID."},
    owners=object_schema(**dict.fromkeys(SERVICES, _OWNER_OF_SERVICE)),
)
_WORLDS = object_schema(worlds=array_schema(object_schema(id=_TEXT, address=_TEXT)))
_OPENAPI: Schema = {"type": "object", "required": ["openapi", "info", "paths", "components"]}
_REMOVED = object_schema(removed=_COUNT)
_DROPPED: Schema = {**_COUNT, "description": "How many older exchanges were dropped for newer ones."}
_JOURNAL = object_schema(exchanges=array_schema(ref("Exchange")), dropped=_DROPPED, seen=_COUNT)

# fmt: off
ROUTES = (
    ControlRoute("/", "GET", _index, "index", "List the paths", object_schema(kvfake=_TEXT, paths=_PATHS)),
    ControlRoute("/openapi.json", "GET", _openapi, "openapi", "Show this description", _OPENAPI,
                 "It is what `kvfake openapi` prints."),
    ControlRoute("/health", "GET", handlers.health, "health", "Say that the server answers", _HEALTH, "It needs no token.",
                 is_open=True),
    ControlRoute("/env", "GET", handlers.environment, "environment", "Show the variables with which an app finds the world",
                 ref("Environment")),
    ControlRoute("/owner", "POST", handlers.find_owner, "findOwner", "Find the owner of a token", _OWNER,
                 "The token is in the body, because URLs are written to logs.", refusals=(410,),
                 body=RequestBody(object_schema(token={**_TEXT, "minLength": 1}), "The token.")),
    ControlRoute("/reset", "POST", handlers.reset, "reset", "Go back to the seed, or to no values",
                 object_schema(reset={**_TEXT, "description": "The world's id."}),
                 "It removes faults, journal and checkpoints, and lets the clock show the machine's time. "
                 "Tokens, neighbours and settings stay.", query={}),
    ControlRoute("/worlds", "GET", handlers.list_worlds, "listWorlds", "List the worlds", _WORLDS),
    ControlRoute("/worlds", "POST", handlers.open_world, "openWorld", "Open a world", ref("World"),
                 "It shares nothing with others, and ends when it is deleted.", refusals=(409, 429), status=201,
                 body=RequestBody(ref("WorldSettings"), "Its settings.", required=False),
                 links=Links("id", "id", ("showWorld", "endWorld"))),
    ControlRoute("/worlds/<id>", "GET", handlers.show_world, "showWorld", "Describe a world", ref("World"), refusals=(404, 410)),
    ControlRoute("/worlds/<id>", "DELETE", handlers.end_world, "endWorld", "End a world", object_schema(ended=_TEXT),
                 "It then refuses all requests. The server's own world cannot be ended.", refusals=(404, 409, 410)),
    ControlRoute("/data", "GET", handlers.show_values, "showValues", "Show values", ref("FileOfValues"), query=_VALUES_QUERY),
    ControlRoute("/data", "POST", handlers.load_values, "addValues", "Add values", _LOADED,
                 query={}, body=_FILE),
    ControlRoute("/data", "PUT", handlers.load_values, "replaceValues", "Replace all values", _LOADED,
                 query={}, body=_FILE),
    ControlRoute("/data", "DELETE", handlers.delete_values, "deleteValues", "Delete values", object_schema(deleted=_COUNT),
                 "Without a query: all values.", query=_VALUES_QUERY),
    ControlRoute("/data/export", "POST", handlers.export_values, "exportValues", "Write the values to the file of --export",
                 object_schema(written={**_TEXT, "description": "The file."}), refusals=(409, 500)),
    ControlRoute("/faults", "GET", handlers.list_faults, "listFaults", "List the faults",
                 object_schema(faults=array_schema(ref("Fault")))),
    ControlRoute("/faults", "POST", handlers.add_fault, "addFault", "Make requests to the services fail", ref("Fault"),
                 "At most one fault strikes a request: the oldest that is due. Each fault counts the requests it matches.",
                 status=201, body=RequestBody(ref("NewFault"), "What happens, to which requests, and when."),
                 links=Links("id", "number", ("showFault", "removeFault"))),
    ControlRoute("/faults", "DELETE", handlers.clear_faults, "clearFaults", "Remove all faults", _REMOVED, query={}),
    ControlRoute("/faults/<int:number>", "GET", handlers.show_fault, "showFault", "Show a fault", ref("Fault"), refusals=(404,)),
    ControlRoute("/faults/<int:number>", "DELETE", handlers.remove_fault, "removeFault", "Remove a fault", ref("Fault"),
                 "It strikes no more requests. `GET` still shows it.", refusals=(404,)),
    ControlRoute("/journal", "GET", handlers.show_journal, "showJournal", "Show requests and their answers", _JOURNAL,
                 "With `wait` it answers as soon as there are such exchanges, or 404 with the nearest misses. 64 requests may wait "
                 "at a time; one more gets 429.",
                 refusals=(404, 409, 429), query=_JOURNAL_QUERY),
    ControlRoute("/journal", "DELETE", handlers.clear_journal, "clearJournal", "Remove the exchanges",
                 object_schema(forgotten=_COUNT), query={}),
    ControlRoute("/clock", "GET", handlers.show_clock, "showClock", "Show the world's clock", ref("Clock")),
    ControlRoute("/clock", "POST", handlers.set_clock, "setClock", "Freeze, set or move the world's clock", ref("Clock"),
                 body=RequestBody(ref("ClockMove"), "The moves.")),
    ControlRoute("/checkpoints", "GET", handlers.list_checkpoints, "listCheckpoints", "List the checkpoints",
                 object_schema(checkpoints=array_schema(_COUNT))),
    ControlRoute("/checkpoints", "POST", handlers.make_checkpoint, "makeCheckpoint", "Mark the current state",
                 object_schema(checkpoint=_NUMBERED), status=201, links=Links("checkpoint", "mark", ("rollBack",))),
    ControlRoute("/checkpoints/<int:mark>/rollback", "POST", handlers.roll_back, "rollBack", "Go back to a checkpoint",
                 object_schema(checkpoint=_NUMBERED), "Later checkpoints are removed.", refusals=(404,)),
    ControlRoute("/routes", "GET", handlers.list_routes, "listRoutes", "List the neighbours",
                 object_schema(routes=array_schema(ref("Route")), mounts=array_schema(_TEXT))),
    ControlRoute("/routes", "POST", handlers.add_route, "addRoute", "Add a neighbour", ref("Route"),
                 "If two neighbours match a request, the later one answers.", status=201,
                 body=RequestBody(ref("NewRoute"), "The request, and its answer.")),
    ControlRoute("/routes", "DELETE", handlers.clear_routes, "clearRoutes", "Remove all neighbours", _REMOVED, query={}),
)
# fmt: on

PATHS: dict[str, list[str]] = {}
for _route in ROUTES:
    PATHS.setdefault(_route.path, []).append(_route.method)
