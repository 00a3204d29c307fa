"""``/_kvfake/``: control over HTTP, for any language. JSON in and out, errors too.

Law: a table of paths and verbs, each a short function on the world of the address. It meets no fault, and never sends CORS
headers. On werkzeug, and so imported when it is first asked for, and never before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from werkzeug.exceptions import BadRequest, Conflict, Forbidden, Gone, HTTPException, NotFound, TooManyRequests
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from kvfake import __version__
from kvfake.control.hosts import Hosts
from kvfake.services import mattermost, persist
from kvfake.settings import WORLD, from_keywords
from kvfake.world.fake import Ended, Fake
from kvfake.world.world import APP, BOT, PROJECT, World

MAX_WORLDS = 100_000  # at a few kilobytes each

Answer = tuple[int, Mapping[str, Any]]


class Control:
    """The WSGI application of one server."""

    def __init__(self, fake: Fake, hosts: Hosts) -> None:
        self._fake, self._hosts = fake, hosts

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(environ)
        try:
            status, payload = self._answer(request, environ)
            response = _json(status, payload)
        except HTTPException as refusal:
            response = _json(refusal.code or 500, {"error": refusal.description})
            if allowed := getattr(refusal, "valid_methods", None):
                response.headers["Allow"] = ", ".join(sorted(allowed))
        return response(environ, start_response)

    def _answer(self, request: Request, environ: dict[str, Any]) -> Answer:
        reason = self._hosts.refusal(request.headers.get("Host", ""), request.headers.get("Origin", ""))
        if reason is not None:
            raise Forbidden(reason)
        try:
            endpoint, values = _ROUTES.bind_to_environ(environ).match()
        except NotFound:
            paths = ", ".join(dict.fromkeys(rule.rule for rule in _RULES))
            raise NotFound(f"control has no {request.path}; there are: {paths}") from None
        handler: Callable[..., Answer] = endpoint
        return handler(self, environ["kvfake.world"], request, **values)

    def health(self, world: World, request: Request) -> Answer:
        return 200, {"status": "ok", "kvfake": __version__, "url": world.url, "profile": world.settings["profile"]}

    def env(self, world: World, request: Request) -> Answer:
        return 200, world.env

    def reset(self, world: World, request: Request) -> Answer:
        world.reset()
        return 200, {"reset": world.id}

    def list_worlds(self, world: World, request: Request) -> Answer:
        worlds = [self._fake.own, *list(self._fake.worlds.values())]
        return 200, {"worlds": [{"id": one.id, "address": one.url} for one in worlds]}

    def open_world(self, world: World, request: Request) -> Answer:
        if len(self._fake.worlds) >= MAX_WORLDS:
            raise TooManyRequests(f"there are {MAX_WORLDS} worlds: end some with DELETE /_kvfake/worlds/ID")
        try:
            settings = from_keywords(_object(request), WORLD)
        except (TypeError, ValueError) as wrong:
            raise BadRequest(str(wrong)) from None
        return 201, _described(self._fake.open(settings))

    def show_world(self, world: World, request: Request, id: str) -> Answer:
        return 200, _described(self._found(id))

    def end_world(self, world: World, request: Request, id: str) -> Answer:
        found = self._found(id)
        if found is self._fake.own:
            raise Conflict("the server's own world ends with the server; POST /_kvfake/reset empties it")
        self._fake.end(found)
        return 200, {"ended": id}

    def _found(self, id: str) -> World:
        try:
            found = self._fake.find(id)
        except Ended:
            raise Gone(f"the world {id} has ended") from None
        if found is None:
            raise NotFound(f"there is no world {id!r}; GET /_kvfake/worlds lists them")
        return found


_RULES = (
    Rule("/health", methods=["GET"], endpoint=Control.health),
    Rule("/env", methods=["GET"], endpoint=Control.env),
    Rule("/reset", methods=["POST"], endpoint=Control.reset),
    Rule("/worlds", methods=["GET"], endpoint=Control.list_worlds),
    Rule("/worlds", methods=["POST"], endpoint=Control.open_world),
    Rule("/worlds/<id>", methods=["GET"], endpoint=Control.show_world),
    Rule("/worlds/<id>", methods=["DELETE"], endpoint=Control.end_world),
)
_ROUTES = Map(_RULES, strict_slashes=False, merge_slashes=False, redirect_defaults=False)


def _json(status: int, payload: Mapping[str, Any]) -> Response:
    return Response(json.dumps(payload, ensure_ascii=False) + "\n", status, content_type="application/json")


def _object(request: Request) -> dict[str, Any]:
    """The body: nothing, or a JSON object."""
    body = request.get_data()
    if not body:
        return {}
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError) as wrong:
        raise BadRequest(f"the body is not JSON ({wrong}): expected an object of settings") from None
    if not isinstance(payload, dict):
        raise BadRequest(f"the body is {type(payload).__name__}: expected an object of settings")
    return payload


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
