"""``/_kvfake/data``: the values of the world of the address, as a file of values.

Law: short functions for the table of `kvfake.control.app`; what a file may hold, and its words, are `kvfake.world.datafile`'s.
"""

from __future__ import annotations

from werkzeug.exceptions import BadRequest, Conflict, InternalServerError
from werkzeug.wrappers import Request

from kvfake.control.payload import Answer, no_query, query_of, refusing
from kvfake.files import write_whole
from kvfake.services import mattermost, persist
from kvfake.world import datafile
from kvfake.world.backend import SERVICES, Backend
from kvfake.world.datafile import DataError
from kvfake.world.world import World

_ADDRESS = ("service", "owner", "prefix", "key")


def _address(request: Request) -> dict[str, str]:
    """What the query names. A prefix is Mattermost's alone, and so means no value of Persist."""
    query = query_of(request, *_ADDRESS)
    if "service" in query and query["service"] not in SERVICES:
        raise BadRequest(f"service: expected one of {', '.join(SERVICES)}, got {query['service']!r}")
    if query.get("prefix") and query.setdefault("service", mattermost.NAME) == persist.NAME:
        raise BadRequest(f"prefix: expected none with the service {persist.NAME}, got {query['prefix']!r}")
    return query


def show(backend: Backend, world: World, request: Request) -> Answer:
    with refusing(DataError):
        return 200, datafile.dump(world, **_address(request))


def add(backend: Backend, world: World, request: Request) -> Answer:
    return _load(world, request, replace=False)


def replace(backend: Backend, world: World, request: Request) -> Answer:
    return _load(world, request, replace=True)


def _load(world: World, request: Request, replace: bool) -> Answer:
    no_query(request)
    with refusing(DataError):
        return 200, {"loaded": datafile.load(world, datafile.parse(request.get_data(), "the body"), replace)}


def delete(backend: Backend, world: World, request: Request) -> Answer:
    """What the query names; with no query, everything."""
    query = _address(request)
    with world.lock, refusing(DataError):
        found = list(datafile.entries(world, *(query.get(name) for name in _ADDRESS)))
        for namespace, key, _ in found:
            world.store.delete(namespace, key)
    return 200, {"deleted": len(found)}


def export(backend: Backend, world: World, request: Request) -> Answer:
    path = backend.own.settings.get("export")
    if path is None:
        raise Conflict("there is no file to write: start the server with --export FILE")
    if world is not backend.own:
        raise Conflict(f"{path} is for the server's own world; GET /_kvfake/data shows this one")
    try:
        write_whole(path, datafile.text_of(datafile.dump(world)))
    except OSError as failed:
        raise InternalServerError(f"cannot write {path}: {failed.strerror or failed}") from None
    return 200, {"written": path}
