"""``/_kvfake/``: what the real services never let you do, for one world: faults, journal, clock, checkpoints, neighbours.

Law: short functions on the world of the address, for the table of `kvfake.control.app`. They translate JSON; the powers are the
world's, and so are the words of what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from werkzeug.exceptions import BadRequest, NotFound
from werkzeug.wrappers import Request

from kvfake.control.payload import Answer, no_query, number_of, object_of, query_of, refusing, whole
from kvfake.services.persist import updated
from kvfake.world.backend import Backend
from kvfake.world.faults import FAULT_DEFAULTS, Fault
from kvfake.world.matching import FIELDS, from_json, to_json
from kvfake.world.routes import Route
from kvfake.world.world import World

_PATTERNS = ("method", "key", "owner")  # may be {"matches": "..."}
_COUNTS = ("status", "times", "after", "every", "seed")
_FAULT = tuple(name for name in FAULT_DEFAULTS if name not in ("when", "before"))  # functions are for Python alone
_ROUTE = ("method", "path", "status", "json", "body", "headers")
_MOVES = ("resume", "freeze", "move_to", "shift")  # in this order, where several are asked for: what stands still is moved
_SWITCHES = ("resume", "freeze")
_WRONG = (TypeError, ValueError, Warning)  # a suite may have made errors of warnings, such as one of `re`


# -------------------------------------------------------------------------------------------------------------------- faults


def add_fault(backend: Backend, world: World, request: Request) -> Answer:
    asked = object_of(request, *_FAULT)
    with refusing(*_WRONG):
        given = {name: _read(name, value) for name, value in asked.items()}
        return 201, _fault(world.faults.add(**given), True)


def _read(name: str, value: Any) -> Any:
    return from_json(name, value) if name in _PATTERNS else whole(value) if name in _COUNTS else value


def list_faults(backend: Backend, world: World, request: Request) -> Answer:
    active = world.faults.active
    return 200, {"faults": [_fault(fault, fault in active) for fault in world.faults.known]}


def show_fault(backend: Backend, world: World, request: Request, number: int) -> Answer:
    fault = _found(world, number)
    return 200, _fault(fault, fault in world.faults.active)


def remove_fault(backend: Backend, world: World, request: Request, number: int) -> Answer:
    fault = _found(world, number)
    fault.remove()
    return 200, _fault(fault, False)


def clear_faults(backend: Backend, world: World, request: Request) -> Answer:
    no_query(request)
    count = len(world.faults)
    world.faults.clear()
    return 200, {"removed": count}


def _found(world: World, number: int) -> Fault:
    found = next((fault for fault in world.faults.known if fault.number == number), None)
    if found is None:
        raise NotFound(f"there is no fault {number}; GET /_kvfake/faults lists them")
    return found


def _fault(fault: Fault, is_active: bool) -> dict[str, Any]:
    given = fault.arguments.given
    return {"id": fault.number, "hits": fault.hits, "active": is_active, **{name: _shown(given[name]) for name in given}}


def _shown(value: Any) -> Any:
    """Also what was given in Python, where there are functions, bytes and mappings of every kind."""
    if callable(value) or isinstance(value, bytes | bytearray):
        return str(value)
    return dict(value) if isinstance(value, Mapping) else to_json(value)


# ------------------------------------------------------------------------------------------------------------------- journal


def show_journal(backend: Backend, world: World, request: Request) -> Answer:
    query = query_of(request, *FIELDS, "since")
    since, status = number_of(query, "since") or 0, number_of(query, "status")
    wanted = {name: value for name, value in query.items() if name not in ("since", "status")}
    with world.lock:
        found = [exchange for exchange in world.journal.filter(status=status, **wanted) if exchange.number > since]
        dropped, seen = world.journal.dropped, world.journal.seen
    hide = world.tokens.redact
    return 200, {"exchanges": [exchange.to_dict(hide) for exchange in found], "dropped": dropped, "seen": seen}


def clear_journal(backend: Backend, world: World, request: Request) -> Answer:
    no_query(request)
    with world.lock:
        count = len(world.journal)
        world.journal.clear()
    return 200, {"forgotten": count}


# --------------------------------------------------------------------------------------------------------------------- clock


def show_clock(backend: Backend, world: World, request: Request) -> Answer:
    return 200, {"time": updated(world.clock.now()), "frozen": world.clock.is_frozen}


def set_clock(backend: Backend, world: World, request: Request) -> Answer:
    asked = object_of(request, *_MOVES)
    if not asked:
        raise BadRequest(f"expected at least one of {', '.join(_MOVES)}")
    for name in _SWITCHES:
        if asked.get(name, True) is not True:
            raise BadRequest(f"{name}: expected true, got {asked[name]!r}")
    with refusing(*_WRONG), world.lock:
        before = world.clock.state()
        try:
            for name in _MOVES:
                if name in asked:
                    arguments = [] if name in _SWITCHES else [asked[name]]
                    getattr(world.clock, name)(*arguments)
        except (TypeError, ValueError):
            world.clock.restore(before)
            raise
    return show_clock(backend, world, request)


# --------------------------------------------------------------------------------------------------------------- checkpoints


def make_checkpoint(backend: Backend, world: World, request: Request) -> Answer:
    return 201, {"checkpoint": world.checkpoint()}


def list_checkpoints(backend: Backend, world: World, request: Request) -> Answer:
    return 200, {"checkpoints": world.checkpoints}


def roll_back(backend: Backend, world: World, request: Request, mark: int) -> Answer:
    try:
        world.rollback(mark)
    except ValueError as gone:
        raise NotFound(str(gone)) from None
    return 200, {"checkpoint": mark}


# ---------------------------------------------------------------------------------------------------------------- neighbours


def add_route(backend: Backend, world: World, request: Request) -> Answer:
    asked = {"method": None, "status": 200, "json": None, "body": None, "headers": None, **object_of(request, *_ROUTE)}
    if not isinstance(asked.get("path"), str | dict):
        raise BadRequest('path: expected a path, or {"matches": "<regular expression>"}')
    with refusing(*_WRONG):
        asked["path"], asked["status"] = from_json("path", asked["path"]), whole(asked["status"])
        made = world.routes.respond(**asked)
    return 201, _route(made)


def list_routes(backend: Backend, world: World, request: Request) -> Answer:
    return 200, {"routes": [_route(one) for one in world.routes.routes], "mounts": list(world.routes.mounts)}


def clear_routes(backend: Backend, world: World, request: Request) -> Answer:
    no_query(request)
    count = len(world.routes.routes)
    world.routes.clear()
    return 200, {"removed": count}


def _route(one: Route) -> dict[str, Any]:
    return {"method": one.method, "path": to_json(one.path), "status": one.response.status}
