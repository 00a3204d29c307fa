"""What each route of ``/_kvfake/`` does: the handlers, and the request that they take.

Law: a handler takes a `ControlRequest` and returns the JSON object of the response, or raises an exception of werkzeug's to refuse.
Handlers translate between JSON and the world; the world does the work and words what is wrong. Which path and method has which
handler, and which status its response has, stands in `kvfake.control.routes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from werkzeug.exceptions import BadRequest, Conflict, Gone, InternalServerError, NotFound, TooManyRequests
from werkzeug.wrappers import Request

from kvfake import __version__
from kvfake.files import write_whole
from kvfake.services import mattermost, persist
from kvfake.services.go import BadEscape, quoted, unescape
from kvfake.services.jsontext import discard, json_pieces, type_name
from kvfake.settings import WORLD, from_keywords, of
from kvfake.world import datafile
from kvfake.world.backend import SERVICES, WORLD_MARK, Backend, WorldEnded
from kvfake.world.document import DataError, parse
from kvfake.world.faults import FUNCTIONS, Fault, FaultArguments
from kvfake.world.matching import Matcher, from_json, to_json
from kvfake.world.pauses import Pauses
from kvfake.world.routes import Route
from kvfake.world.world import APP, BOT, PROJECT, World

MAX_WORLDS = 100_000  # a world takes a few kilobytes of memory

# The names that the JSON object of a request may have.
WORLD_FIELDS = tuple(setting.name for setting in of(WORLD) if setting.name != "seed")  # seed names a file of this machine
FAULT_FIELDS = tuple(name for name in FaultArguments._fields if name not in FUNCTIONS)
ROUTE_FIELDS = ("method", "path", "status", "json", "body", "headers")
OWNER_FIELDS = ("token",)
CLOCK_FIELDS = ("resume", "freeze", "move_to", "shift")  # carried out in this order, so that a frozen clock is what is moved

_FLAGS = ("resume", "freeze")
_PATTERNS = ("method", "key", "owner")  # a fault's fields that may be {"matches": "..."}
_NUMBERS = ("status", "times", "after", "every", "seed")
_INVALID = (TypeError, ValueError, Warning)  # Warning: a test suite may turn warnings into errors, such as one from `re`

Payload: TypeAlias = Mapping[str, Any]


class ControlRequest(Request):
    """A request to control: werkzeug's request, with the backend of the server and the world that the request addresses."""

    def __init__(self, environ: dict[str, Any], backend: Backend) -> None:
        super().__init__(environ, populate_request=False)  # else environ and request hold each other, and a body of 60 MiB
        self.backend = backend
        self.world: World = environ["kvfake.world"]
        self.body: bytes = environ["kvfake.body"]  # werkzeug's `get_data` would copy it: 60 MiB hold other clients up
        self.path_values: Mapping[str, Any] = {}  # the variable parts of the path
        self.query: dict[str, str] = {}  # the parameters of the query; filled by `read_query`
        self.pause = Pauses()

    def read_object(self, *names: str) -> dict[str, Any]:
        """The body: nothing, or a JSON object with no other names than these. Raises ``BadRequest``."""
        body = self.body
        if not body:
            return {}
        try:
            payload = parse(body, "the body")
        except DataError as error:
            raise BadRequest(f"{error}: expected an object of JSON with {_listed(names)}") from None
        if not isinstance(payload, dict):
            raise BadRequest(f"the body is {type_name(payload)}: expected an object with {_listed(names)}")
        for name in payload:
            if name not in names:
                raise BadRequest(f"{name!r} is not known here: expected {_listed(names)}")
        return payload

    def read_query(self, names: tuple[str, ...]) -> None:
        """Set ``query``, which may have no other names than these. Raises ``BadRequest``.

        Bytes that are not UTF-8 are decoded with ``surrogateescape``, as keys are in Python.
        """
        try:
            unescape(self.query_string)
        except BadEscape as error:
            raise BadRequest(f"bad percent-encoding in the query: {quoted(error.args[0])}") from None
        text = self.query_string.decode("latin-1")
        for name, value in parse_qsl(text, keep_blank_values=True, errors="surrogateescape"):
            if name not in names:
                raise BadRequest(f"{name!r} is not known in the query: expected {_listed(names)}")
            self.query[name] = value


Handler: TypeAlias = Callable[[ControlRequest], "Payload | list[bytes]"]
"""Returns the object of the response, or, where that may be large, its JSON in pieces."""


@contextmanager
def bad_request_on(*kinds: type[Exception]) -> Iterator[None]:
    """Turn an exception of these kinds into 400 with its text."""
    try:
        yield
    except kinds as error:
        raise BadRequest(str(error)) from None


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "no names"


def _integer(value: Any) -> Any:
    """The value as an int where it is a whole float: JSON has one type of number, and some languages write 503 as 503.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


# ---------------------------------------------------------------------------------------------------------------- the worlds


def health(request: ControlRequest) -> Payload:
    world = request.world
    return {"status": "ok", "kvfake": __version__, "url": world.url, "profile": world.settings["profile"]}


def environment(request: ControlRequest) -> Payload:
    return request.world.env


def find_owner(request: ControlRequest) -> Payload:
    """Whose a token is, in the world that a request with it belongs to."""
    token = request.read_object(*OWNER_FIELDS).get("token")
    data = token.encode("utf-8", "ignore") if isinstance(token, str) else b""  # a lone surrogate stands in no header
    if not data:
        raise BadRequest(f"token: expected a text that is not empty, got {type_name(token)}")
    world, path = request.world, ""
    if world is request.backend.own_world:
        try:
            world = request.backend.world_of(data)
        except WorldEnded as ended:
            raise Gone(f"the token is of the world {ended}, which has ended") from None
        if world is not request.world:
            path = WORLD_MARK + world.id
    return {"world": world.id, "path": path, "owners": {service: world.tokens.owner_of(service, data) for service in SERVICES}}


def reset(request: ControlRequest) -> Payload:
    request.world.reset(request.pause)
    return {"reset": request.world.id}


def list_worlds(request: ControlRequest) -> Payload:
    worlds = [request.backend.own_world, *list(request.backend.worlds.values())]
    return {"worlds": [{"id": world.id, "address": world.url} for world in worlds]}


def open_world(request: ControlRequest) -> Payload:
    if len(request.backend.worlds) >= MAX_WORLDS:
        raise TooManyRequests(f"there are {MAX_WORLDS} worlds: end some with DELETE /_kvfake/worlds/ID")
    with bad_request_on(ValueError):
        fields = request.read_object(*WORLD_FIELDS)
        settings = from_keywords({name: _integer(value) for name, value in fields.items()}, WORLD)
    try:
        world = request.backend.open(settings)
    except ValueError as error:  # the server's --seed file, which may have changed since the server started
        raise Conflict(str(error)) from None
    return _world_payload(world)


def show_world(request: ControlRequest) -> Payload:
    return _world_payload(_world_of_path(request))


def end_world(request: ControlRequest) -> Payload:
    world = _world_of_path(request)
    if world is request.backend.own_world:
        raise Conflict("the server's own world ends with the server; POST /_kvfake/reset takes it back to its beginning")
    request.backend.end(world)
    return {"ended": request.path_values["id"]}


def _world_of_path(request: ControlRequest) -> World:
    id = request.path_values["id"]
    try:
        world = request.backend.find(id)
    except WorldEnded:
        raise Gone(f"the world {id} has ended") from None
    if world is None:
        raise NotFound(f"there is no world {id!r}; GET /_kvfake/worlds lists them")
    return world


def _world_payload(world: World) -> Payload:
    return {
        "id": world.id,
        "address": world.url,
        "tokens": {service: world.token(service, owner) for service, owner in ((mattermost.NAME, BOT), (persist.NAME, PROJECT))},
        "env": world.env,
        "context": world.context(APP, "ada", {}),
    }


# ---------------------------------------------------------------------------------------------------------------- the values


def _selection(request: ControlRequest) -> tuple[str | None, ...]:
    """The service, owner, prefix and key that the query selects. Only Mattermost has prefixes, so a prefix selects no value of
    Persist.
    """
    query = request.query
    if "service" in query and query["service"] not in SERVICES:
        raise BadRequest(f"service: expected one of {', '.join(SERVICES)}, got {query['service']!r}")
    if query.get("prefix") and query.setdefault("service", mattermost.NAME) == persist.NAME:
        raise BadRequest(f"prefix: expected none with the service {persist.NAME}, got {query['prefix']!r}")
    return tuple(query.get(name) for name in ("service", "owner", "prefix", "key"))


def show_values(request: ControlRequest) -> list[bytes]:
    with bad_request_on(DataError):
        data = datafile.dump(request.world, *_selection(request), pause=request.pause)
    pieces = list(json_pieces(data, request.pause))
    discard(data, request.pause)
    return pieces


def load_values(request: ControlRequest) -> Payload:
    """Add the values of the body to those of the world; PUT replaces them."""
    with bad_request_on(DataError):
        data = parse(request.body, "the body", is_compact=True, pause=request.pause)
        count = datafile.load(request.world, data, request.method == "PUT", pause=request.pause)
    discard(data, request.pause)
    return {"loaded": count}


def delete_values(request: ControlRequest) -> Payload:
    """Delete the values that the query selects; without a query, all."""
    with bad_request_on(DataError):
        return {"deleted": datafile.delete(request.world, *_selection(request), pause=request.pause)}


def export_values(request: ControlRequest) -> Payload:
    own = request.backend.own_world
    path = own.settings.get("export")
    if path is None:
        raise Conflict("there is no file to write: start the server with --export FILE")
    if request.world is not own:
        raise Conflict(f"{path} is for the server's own world; GET /_kvfake/data shows this one")
    try:
        with request.backend.exporting:
            data = request.backend.documents(partial(datafile.export, pause=request.pause))
            write_whole(path, datafile.text_of(data, request.pause))
    except OSError as error:
        raise InternalServerError(f"cannot write {path}: {error.strerror or error}") from None
    return {"written": path}


# -------------------------------------------------------------------------------------------------------------------- faults


def list_faults(request: ControlRequest) -> Payload:
    return {"faults": [_fault_payload(request, fault) for fault in request.world.faults.known]}


def add_fault(request: ControlRequest) -> Payload:
    fields = request.read_object(*FAULT_FIELDS)
    with bad_request_on(*_INVALID):
        given = {name: _fault_argument(name, value) for name, value in fields.items()}
        return _fault_payload(request, request.world.faults.add(**given))


def _fault_argument(name: str, value: Any) -> Any:
    return from_json(name, value) if name in _PATTERNS else _integer(value) if name in _NUMBERS else value


def show_fault(request: ControlRequest) -> Payload:
    return _fault_payload(request, _fault_of_path(request))


def remove_fault(request: ControlRequest) -> Payload:
    fault = _fault_of_path(request)
    fault.remove()
    return _fault_payload(request, fault)


def clear_faults(request: ControlRequest) -> Payload:
    count = len(request.world.faults)
    request.world.faults.clear()
    return {"removed": count}


def _fault_of_path(request: ControlRequest) -> Fault:
    number = request.path_values["number"]
    found = next((fault for fault in request.world.faults.known if fault.number == number), None)
    if found is None:
        raise NotFound(f"there is no fault {number}; GET /_kvfake/faults lists them")
    return found


def _fault_payload(request: ControlRequest, fault: Fault) -> Payload:
    given = {name: _json_value(value) for name, value in fault.arguments.given.items()}
    return {"id": fault.number, "hits": fault.hits, "active": fault in request.world.faults.active, **given}


def _json_value(value: Any) -> Any:
    """A fault's argument as JSON. A fault that was added in Python may have functions, bytes and mappings of any class."""
    if callable(value) or isinstance(value, bytes | bytearray):
        return str(value)
    return dict(value) if isinstance(value, Mapping) else to_json(value)


# ------------------------------------------------------------------------------------------------------------------- journal


def show_journal(request: ControlRequest) -> Payload:
    world, query = request.world, dict[str, Any](request.query)
    for name in [name for name in ("since", "status") if name in query]:
        try:
            query[name] = int(query[name])
        except ValueError:
            raise BadRequest(f"{name}: expected a whole number, got {query[name]!r}") from None
    since = query.pop("since", 0)
    matcher = Matcher(**query)
    exchanges, dropped, seen, _ = world.journal.snapshot()
    found = [exchange for exchange in exchanges if exchange.number > since and matcher.matches(exchange)]
    return {"exchanges": [exchange.to_dict() for exchange in found], "dropped": dropped, "seen": seen}


def clear_journal(request: ControlRequest) -> Payload:
    return {"forgotten": request.world.journal.clear()}


# --------------------------------------------------------------------------------------------------------------------- clock


def show_clock(request: ControlRequest) -> Payload:
    clock = request.world.clock
    return {"time": persist.updated(clock.now()), "frozen": clock.is_frozen}


def set_clock(request: ControlRequest) -> Payload:
    """Carry out all the moves, or none of them if one is refused."""
    moves, world = request.read_object(*CLOCK_FIELDS), request.world
    if not moves:
        raise BadRequest(f"expected at least one of {', '.join(CLOCK_FIELDS)}")
    for name in _FLAGS:
        if moves.get(name, True) is not True:
            raise BadRequest(f"{name}: expected true, got {moves[name]!r}")
    with bad_request_on(*_INVALID), world.lock:
        state = world.clock.state()
        try:
            for name in CLOCK_FIELDS:
                if name in moves:
                    arguments = [] if name in _FLAGS else [moves[name]]
                    getattr(world.clock, name)(*arguments)
        except (TypeError, ValueError):
            world.clock.restore(state)
            raise
    return show_clock(request)


# --------------------------------------------------------------------------------------------------------------- checkpoints


def list_checkpoints(request: ControlRequest) -> Payload:
    return {"checkpoints": request.world.checkpoints}


def make_checkpoint(request: ControlRequest) -> Payload:
    return {"checkpoint": request.world.checkpoint()}


def roll_back(request: ControlRequest) -> Payload:
    mark = request.path_values["mark"]
    try:
        request.world.rollback(mark, request.pause)
    except ValueError as error:
        raise NotFound(str(error)) from None
    return {"checkpoint": mark}


# -------------------------------------------------------------------------------------------------------------------- routes


def list_routes(request: ControlRequest) -> Payload:
    routes = request.world.routes
    return {"routes": [_route_payload(route) for route in routes.routes], "mounts": list(routes.mounts)}


def add_route(request: ControlRequest) -> Payload:
    fields = {"method": None, "status": 200, "json": None, "body": None, "headers": None, **request.read_object(*ROUTE_FIELDS)}
    if not isinstance(fields.get("path"), str | dict):
        raise BadRequest('path: expected a path, or {"matches": "<regular expression>"}')
    with bad_request_on(*_INVALID):
        fields["path"], fields["status"] = from_json("path", fields["path"]), _integer(fields["status"])
        added = request.world.routes.respond(**fields)
    return _route_payload(added)


def clear_routes(request: ControlRequest) -> Payload:
    count = len(request.world.routes.routes)
    request.world.routes.clear()
    return {"removed": count}


def _route_payload(route: Route) -> Payload:
    return {"method": route.method, "path": to_json(route.path), "status": route.response.status}
