"""``/_kvfake/``: control over HTTP, for any language. JSON in and out, errors too.

Law: one table of verbs and paths, each a short function on the world of the address. It meets no fault, is in no journal, and
never sends CORS headers. On werkzeug, and so imported when it is first asked for, and never before.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from werkzeug.exceptions import Forbidden, HTTPException, MethodNotAllowed, NotFound, Unauthorized
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from kvfake import __version__
from kvfake.control import data, powers, worlds
from kvfake.control.hosts import Hosts
from kvfake.control.payload import Answer
from kvfake.services.jsontext import json_text
from kvfake.world.backend import Backend
from kvfake.world.world import World

_OPEN = "/health"  # what a container's probe may ask without a token


def index(backend: Backend, world: World, request: Request) -> Answer:
    return 200, {"kvfake": __version__, "paths": {path: list(verbs) for path, verbs in _TABLE.items()}}


_TABLE: dict[str, dict[str, Callable[..., Answer]]] = {
    "/": {"GET": index},
    "/health": {"GET": worlds.health},
    "/env": {"GET": worlds.env},
    "/reset": {"POST": worlds.reset},
    "/worlds": {"GET": worlds.list_all, "POST": worlds.open_one},
    "/worlds/<id>": {"GET": worlds.show, "DELETE": worlds.end},
    "/data": {"GET": data.show, "POST": data.add, "PUT": data.replace, "DELETE": data.delete},
    "/data/export": {"POST": data.export},
    "/faults": {"GET": powers.list_faults, "POST": powers.add_fault, "DELETE": powers.clear_faults},
    "/faults/<int:number>": {"GET": powers.show_fault, "DELETE": powers.remove_fault},
    "/journal": {"GET": powers.show_journal, "DELETE": powers.clear_journal},
    "/clock": {"GET": powers.show_clock, "POST": powers.set_clock},
    "/checkpoints": {"GET": powers.list_checkpoints, "POST": powers.make_checkpoint},
    "/checkpoints/<int:mark>/rollback": {"POST": powers.roll_back},
    "/routes": {"GET": powers.list_routes, "POST": powers.add_route, "DELETE": powers.clear_routes},
}
_RULES = [Rule(path, methods=[verb], endpoint=do) for path, verbs in _TABLE.items() for verb, do in verbs.items()]
_ROUTES = Map(_RULES, strict_slashes=False, merge_slashes=False, redirect_defaults=False)


class Control:
    """The WSGI application of one server. With a ``token`` it answers those alone that bring it, but for ``/health``."""

    def __init__(self, backend: Backend, hosts: Hosts, token: str | None) -> None:
        self._backend, self._hosts, self._token = backend, hosts, token

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(environ)
        try:
            status, payload = self._answer(request, environ)
            response = _json(status, payload)
        except HTTPException as refusal:
            response = _json(refusal.code or 500, {"error": refusal.description})
            if isinstance(refusal, MethodNotAllowed):
                response.headers["Allow"] = ", ".join(sorted(refusal.valid_methods or ()))
            if isinstance(refusal, Unauthorized):
                response.headers["WWW-Authenticate"] = "Bearer"
        return response(environ, start_response)

    def _answer(self, request: Request, environ: dict[str, Any]) -> Answer:
        reason = self._hosts.refusal(request.headers.get("Host", ""), request.headers.get("Origin", ""))
        if reason is not None:
            raise Forbidden(reason)
        if request.path.rstrip("/") != _OPEN and not self._may_ask(request.headers.get("Authorization", "")):
            raise Unauthorized("expected the control token: Authorization: Bearer <token>, as --control-token says")
        try:
            endpoint, values = _ROUTES.bind_to_environ(environ).match()
        except (NotFound, ValueError):  # the latter of a number that Python finds too long
            raise NotFound(f"control has no {request.path}; there are: {', '.join(_TABLE)}") from None
        except MethodNotAllowed as wrong:
            allowed = wrong.valid_methods or ()
            raise MethodNotAllowed(allowed, f"{request.method} does nothing here: expected {', '.join(sorted(allowed))}") from None
        handler: Callable[..., Answer] = endpoint
        return handler(self._backend, environ["kvfake.world"], request, **values)

    def _may_ask(self, authorization: str) -> bool:
        if self._token is None:
            return True
        scheme, _, token = authorization.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode("latin-1"), self._token.encode())


def _json(status: int, payload: Mapping[str, Any]) -> Response:
    return Response(json_text(payload), status, content_type="application/json")
