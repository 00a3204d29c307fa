"""``/_kvfake/data``: the values of the world of the address, as a file of values.

Law: short functions for the table of `kvfake.control.app`; what a file may hold, and its words, are `kvfake.world.datafile`'s.
"""

from __future__ import annotations

from werkzeug.exceptions import BadRequest, Conflict, InternalServerError
from werkzeug.wrappers import Request

from kvfake.control.payload import Answer, query_of
from kvfake.world import datafile
from kvfake.world.datafile import DataError
from kvfake.world.fake import Fake
from kvfake.world.world import World

_ADDRESS = ("service", "owner", "prefix", "key")


def show(fake: Fake, world: World, request: Request) -> Answer:
    try:
        return 200, datafile.dump(world, **query_of(request, *_ADDRESS))
    except DataError as wrong:
        raise BadRequest(str(wrong)) from None


def add(fake: Fake, world: World, request: Request) -> Answer:
    return _load(world, request, replace=False)


def replace(fake: Fake, world: World, request: Request) -> Answer:
    return _load(world, request, replace=True)


def _load(world: World, request: Request, replace: bool) -> Answer:
    try:
        return 200, {"loaded": datafile.load(world, datafile.parse(request.get_data(), "the body"), replace)}
    except DataError as wrong:
        raise BadRequest(str(wrong)) from None


def delete(fake: Fake, world: World, request: Request) -> Answer:
    """What the query names; with no query, everything."""
    query = query_of(request, *_ADDRESS)
    with world.lock:
        try:
            found = list(datafile.entries(world, *(query.get(name) for name in _ADDRESS)))
        except DataError as wrong:
            raise BadRequest(str(wrong)) from None
        for namespace, key, _ in found:
            world.store.delete(namespace, key)
    return 200, {"deleted": len(found)}


def export(fake: Fake, world: World, request: Request) -> Answer:
    path = fake.own.settings.get("export")
    if path is None:
        raise Conflict("there is no file to write: start the server with --export FILE")
    try:
        datafile.write(path, datafile.dump(fake.own))
    except OSError as failed:
        raise InternalServerError(f"cannot write {path}: {failed.strerror or failed}") from None
    return 200, {"written": path}
