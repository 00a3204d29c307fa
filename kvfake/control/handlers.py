"""What each route of ``/_kvfake/`` does: the handlers, and the request that they take.

Law: a handler takes a `ControlRequest` and returns the JSON object of the response, or raises an exception of werkzeug's to refuse,
or `StillWaiting`, to be called again.
Handlers translate between JSON and the world; the world does the work and words what is wrong. Which path and method has which
handler, and which status its response has, stands in `kvfake.control.routes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from werkzeug.exceptions import BadRequest, Conflict, Gone, InternalServerError, NotFound, TooManyRequests
from werkzeug.wrappers import Request

from kvfake import __version__
from kvfake.files import write_whole
from kvfake.machine import machine_seconds
from kvfake.services import mattermost, persist
from kvfake.services.go import BadEscape, quoted, unescape
from kvfake.services.jsontext import discard, json_pieces, type_name
from kvfake.settings import WORLD, from_keywords, of
from kvfake.world import datafile
from kvfake.world.backend import SERVICES, WORLD_MARK, Backend, WorldEnded
from kvfake.world.document import DataError, parse
from kvfake.world.faults import FUNCTIONS, Fault, FaultArguments, FaultBuilder, Faults
from kvfake.world.journal import MAX_WAIT_SECONDS, Exchange, StillWaiting, Wait
from kvfake.world.matching import Matcher, checked_number, checked_value, from_json, to_json
from kvfake.world.pauses import Pauses
from kvfake.world.routes import Route
from kvfake.world.world import APP, BOT, PROJECT, World

MAX_WORLDS = 100_000  # a world takes a few kilobytes of memory

# The names that the JSON object of a request may have.
WORLD_FIELDS = tuple(setting.name for setting in of(WORLD) if setting.name != "seed")  # seed names a file of this machine
FAULT_FIELDS = tuple(name for name in FaultArguments._fields if name not in FUNCTIONS)
FAULT_ACTIONS = (
    "answer", "lose_acknowledgement", "pretend", "cut", "reset", "hang", "truncate", "garble", "stale", "delay", "limit",
)  # fmt: skip
SENTENCE_FIELDS = (
    "on", "service", "key", "owner", "nth", "every", "after", "rate", "seed", "times", "start", "end", *FAULT_ACTIONS, "per",
)  # fmt: skip
ANSWER_FIELDS = ("status", "body", "headers")
ROUTE_FIELDS = ("method", "path", "status", "json", "body", "headers")
OWNER_FIELDS = ("token",)
CLOCK_FIELDS = ("resume", "freeze", "move_to", "shift")  # carried out in this order, so that a frozen clock is what is moved

_PATTERNS = ("method", "on", "key", "owner")  # a fault's fields that may be {"matches": "..."}
_JOURNAL_NUMBERS: dict[str, type] = {"since": int, "status": int, "times": int, "wait": float}
_NUMBERS = ("status", "times", "after", "every", "seed", "limit", "nth", "answer")
_LOOK_SECONDS = 1.0  # so long a wait goes on before it is seen whether the client has gone
_IN_A_SENTENCE = {  # of the names that `Faults.add` alone has: what to write in a sentence
    "method": '"on"', "status": '"answer"', "sever": f'one of {", ".join(FAULT_ACTIONS[1:8])}',
    **dict.fromkeys(("body", "headers"), '"answer": {"status": 503, "body": ..., "headers": ...}'),
}  # fmt: skip
_SENTENCE_WORDS = frozenset(SENTENCE_FIELDS).difference(FAULT_FIELDS)  # with one of these a fault is a sentence
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
        self.wait: Wait | None = environ["kvfake.wait"]  # for exchanges; ``None`` at the first look

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


class bad_request_on:
    """Turn an exception of these kinds into 400 with its text. It is no generator, whose frame would hold the exception, and
    with it the body, until the garbage collector runs.
    """

    def __init__(self, *kinds: type[Exception]) -> None:
        self._kinds = kinds

    def __enter__(self) -> None: ...

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if isinstance(error, self._kinds):
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
    """The arguments of `Faults.add`, or a sentence in the words of `FaultBuilder`."""
    fields, faults = request.read_object(*dict.fromkeys(FAULT_FIELDS + SENTENCE_FIELDS)), request.world.faults
    with bad_request_on(*_INVALID):
        given = {name: _fault_argument(name, value) for name, value in fields.items()}
        fault = faults.add(**given) if _SENTENCE_WORDS.isdisjoint(given) else _add_sentence(faults, given)
    return _fault_payload(request, fault)


def _add_sentence(faults: Faults, given: Mapping[str, Any]) -> Fault:
    """``{"on": "PUT", "key": "k", "answer": 503, "times": 2}``. Raises ``ValueError``."""
    for name in given:
        if name not in SENTENCE_FIELDS:
            beside = _listed(tuple(sorted(_SENTENCE_WORDS & given.keys())))
            raise ValueError(f"{name}: expected no such name beside {beside}; write {_IN_A_SENTENCE[name]}")
    actions = [name for name in FAULT_ACTIONS if name in given]
    if len(actions) != 1:
        raise ValueError(f"expected exactly one of {_listed(FAULT_ACTIONS)}; got {' and '.join(actions) or 'none'}")
    (action,) = actions
    if action != "limit" and "per" in given:
        raise ValueError(f"per: expected it beside limit, not beside {action}")
    builder, value = _builder_of(faults, given), given[action]
    if action == "answer":
        return builder.answer(**_answer_of(value))
    if action == "delay":
        return builder.delay(value)
    if action == "limit":
        return builder.limit(value, per=given.get("per"))  # type: ignore[arg-type]  # it refuses what is no number
    if value is not True:
        raise ValueError(f"{action}: expected true, got {value!r}")
    fault: Fault = getattr(builder, action)()
    return fault


def _builder_of(faults: Faults, given: Mapping[str, Any]) -> FaultBuilder:
    """The sentence without its action."""
    if given.get("on") is not None:
        checked_value("on", given["on"])
    builder = faults.on(given.get("on"), **{name: given[name] for name in ("key", "service", "owner") if name in given})
    if "nth" in given and ("after" in given or "every" in given):
        raise ValueError("nth: expected neither after nor every beside it")
    for name in ("nth", "every", "after", "times"):
        if name in given:
            builder = getattr(builder, name)(given[name])
    if "seed" in given and "rate" not in given:
        raise ValueError("seed: expected it beside rate")
    if "rate" in given:
        builder = builder.rate(given["rate"], given.get("seed", 0))
    if "start" in given or "end" in given:
        builder = builder.between(given.get("start"), given.get("end"))
    return builder


def _answer_of(value: Any) -> dict[str, Any]:
    """The arguments of `FaultBuilder.answer`."""
    answer = value if isinstance(value, dict) else {"status": value}
    if "status" not in answer or not answer.keys() <= {*ANSWER_FIELDS}:
        raise ValueError(f"answer: expected a status, or an object with {_listed(ANSWER_FIELDS)}, got {value!r}")
    return {**answer, "status": checked_number("answer", _integer(answer["status"]), int, 200, 599)}


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
    is_active = fault in request.world.faults.active
    return {"id": fault.number, "hits": fault.hits, "active": is_active, "text": request.world.redact(str(fault)), **given}


def _json_value(value: Any) -> Any:
    """A fault's argument as JSON. One that was added in Python may have functions, bytes, moments and mappings of any class."""
    if callable(value) or isinstance(value, bytes | bytearray | datetime):
        return str(value)
    return dict(value) if isinstance(value, Mapping) else to_json(value)


# ------------------------------------------------------------------------------------------------------------------- journal


def show_journal(request: ControlRequest) -> Payload:
    """Those that the query selects; with ``wait`` or ``times`` as soon as there are so many of them."""
    world, query = request.world, dict[str, Any](request.query)
    for name in [name for name in _JOURNAL_NUMBERS if name in query]:
        try:
            query[name] = _JOURNAL_NUMBERS[name](query[name])
        except ValueError:
            expected = f"seconds from 0 to {MAX_WAIT_SECONDS:g}" if name == "wait" else "a whole number"
            raise BadRequest(f"{name}: expected {expected}, got {query[name]!r}") from None
    waits = not query.keys().isdisjoint(("wait", "times"))
    since, seconds, times = query.pop("since", 0), query.pop("wait", 0.0), query.pop("times", 1)
    with bad_request_on(ValueError):
        matcher = Matcher(**query)
    found = _wait(request, matcher, times, seconds, since) if waits else None
    exchanges, dropped, seen, _ = world.journal.snapshot()
    if found is None:
        found = [exchange for exchange in exchanges if exchange.number > since and matcher.matches(exchange)]
    return {"exchanges": [exchange.to_dict() for exchange in found], "dropped": dropped, "seen": seen}


def _wait(request: ControlRequest, matcher: Matcher, times: int, seconds: float, since: int) -> list[Exchange]:
    """The exchanges that match, when there are so many. Refuse when the time is over; before, raise `StillWaiting`."""
    with bad_request_on(ValueError):
        checked_number("wait", seconds, float, 0, MAX_WAIT_SECONDS)
        checked_number("times", times, int, 1)
    world, wait = request.world, request.wait or Wait(matcher, times, since)
    left = max(0.0, wait.began + seconds - machine_seconds())
    look = 0.0 if request.wait is None else min(left, _LOOK_SECONDS)
    try:
        are_enough = world.journal.wait_for_matches(wait, look)
    except ValueError as error:  # the journal can never hold so many
        raise Conflict(str(error)) from None
    if not are_enough:
        if not request.backend.is_open(world):
            raise Gone(f"the world {world.id} has ended")
        if look < left:
            raise StillWaiting(wait)
        raise NotFound(world.journal.missing(matcher, times, seconds))
    return world.journal.found_by(wait)


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
    if moves.get("resume", True) is not True:
        raise BadRequest(f"resume: expected true, got {moves['resume']!r}")
    if "freeze" in moves and (moves["freeze"] is None or moves["freeze"] is False):
        raise BadRequest(f"freeze: expected true, or a time as for move_to, got {moves['freeze']!r}")
    with bad_request_on(*_INVALID), world.lock:
        state = world.clock.state()
        try:
            for name in CLOCK_FIELDS:
                if name in moves:
                    arguments = [] if moves[name] is True and name in ("resume", "freeze") else [moves[name]]
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
