"""``/_kvfake/``: the server's health, its worlds, and what an app's environment needs.

Law: short functions on a server and on the world of the address, for the table of `kvfake.control.app`.
"""

from __future__ import annotations

from typing import Any

from werkzeug.exceptions import BadRequest, Conflict, Gone, NotFound, TooManyRequests
from werkzeug.wrappers import Request

from kvfake import __version__
from kvfake.control.payload import Answer, no_query, object_of, whole
from kvfake.services import mattermost, persist
from kvfake.settings import WORLD, from_keywords, of
from kvfake.world.backend import Backend, WorldEnded
from kvfake.world.world import APP, BOT, PROJECT, World

MAX_WORLDS = 100_000  # at a few kilobytes each

_SETTINGS = tuple(setting.name for setting in of(WORLD) if setting.name != "seed")  # what is a path here is none elsewhere


def health(backend: Backend, world: World, request: Request) -> Answer:
    return 200, {"status": "ok", "kvfake": __version__, "url": world.url, "profile": world.settings["profile"]}


def env(backend: Backend, world: World, request: Request) -> Answer:
    return 200, world.env


def reset(backend: Backend, world: World, request: Request) -> Answer:
    no_query(request)
    world.reset()
    return 200, {"reset": world.id}


def list_all(backend: Backend, world: World, request: Request) -> Answer:
    worlds = [backend.own, *list(backend.worlds.values())]
    return 200, {"worlds": [{"id": one.id, "address": one.url} for one in worlds]}


def open_one(backend: Backend, world: World, request: Request) -> Answer:
    if len(backend.worlds) >= MAX_WORLDS:
        raise TooManyRequests(f"there are {MAX_WORLDS} worlds: end some with DELETE /_kvfake/worlds/ID")
    try:
        asked = object_of(request, *_SETTINGS)
        settings = from_keywords({name: whole(value) for name, value in asked.items()}, WORLD)
    except ValueError as wrong:
        raise BadRequest(str(wrong)) from None
    try:
        opened = backend.open(settings)
    except ValueError as wrong:  # the server's seed, as it is by now
        raise Conflict(str(wrong)) from None
    return 201, _described(opened)


def show(backend: Backend, world: World, request: Request, id: str) -> Answer:
    return 200, _described(_found(backend, id))


def end(backend: Backend, world: World, request: Request, id: str) -> Answer:
    found = _found(backend, id)
    if found is backend.own:
        raise Conflict("the server's own world ends with the server; POST /_kvfake/reset empties it")
    backend.end(found)
    return 200, {"ended": id}


def _found(backend: Backend, id: str) -> World:
    try:
        found = backend.find(id)
    except WorldEnded:
        raise Gone(f"the world {id} has ended") from None
    if found is None:
        raise NotFound(f"there is no world {id!r}; GET /_kvfake/worlds lists them")
    return found


def _described(world: World) -> dict[str, Any]:
    return {
        "id": world.id,
        "address": world.url,
        "tokens": {
            mattermost.NAME: world.token(mattermost.NAME, BOT),
            persist.NAME: world.token(persist.NAME, PROJECT),
        },
        "env": world.env,
        "context": world.context(APP, "ada", {}),
    }
