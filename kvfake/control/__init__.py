"""``/_kvfake/`` as a WSGI application: control over HTTP, for any language. JSON in and out, also for errors.

Law: it decides who may use control, finds the route, calls the handler, and writes JSON. It injects no fault, writes no journal and
never sends CORS headers. It imports werkzeug, so it is itself imported only when control is first used.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from werkzeug.exceptions import Forbidden, HTTPException, MethodNotAllowed, NotFound, Unauthorized
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Response

from kvfake.control.handlers import ControlRequest
from kvfake.control.openapi import ControlRoute
from kvfake.control.routes import PATHS, ROUTES
from kvfake.services.jsontext import json_pieces
from kvfake.services.messages import NOSNIFF
from kvfake.world.backend import Backend

_RULES = Map(
    [Rule(route.path, methods=[route.method], endpoint=route.operation_id) for route in ROUTES],
    strict_slashes=False,
    merge_slashes=False,
    redirect_defaults=False,
)
_BY_OPERATION_ID = {route.operation_id: route for route in ROUTES}
_OPEN_PATHS = {route.path for route in ROUTES if route.is_open}
_FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")  # what a page may send anywhere, unasked


class Control:
    """The WSGI application of one server. With a ``token`` every request must bring it, except for open paths."""

    def __init__(self, backend: Backend, token: str | None) -> None:
        self._backend, self._token = backend, token

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = ControlRequest(environ, self._backend)
        try:
            response = self._respond(request)
        except HTTPException as refusal:
            response = _json(refusal.code or 500, {"error": refusal.description})
            if isinstance(refusal, MethodNotAllowed):
                response.headers["Allow"] = ", ".join(sorted(refusal.valid_methods or ()))
            if isinstance(refusal, Unauthorized):
                response.headers["WWW-Authenticate"] = "Bearer"
        return response(environ, start_response)

    def _respond(self, request: ControlRequest) -> Response:
        host, origin, site = (request.headers.get(name, "") for name in ("Host", "Origin", "Sec-Fetch-Site"))
        reason = self._backend.hosts.refusal(host, origin, site)
        if reason is None and origin and request.mimetype in _FORM_TYPES:
            reason = f"a page sent a body of the type {request.mimetype}, as a form does: expected application/json"
        if reason is not None:
            raise Forbidden(reason)
        if request.path.rstrip("/") not in _OPEN_PATHS and not self._has_token(request):
            raise Unauthorized("expected the control token: Authorization: Bearer <token>, as --control-token says")
        route, request.path_values = _match(request)
        if route.query is not None:
            request.read_query(tuple(route.query))
        return _json(route.status, route.handler(request))

    def _has_token(self, request: ControlRequest) -> bool:
        if self._token is None:
            return True
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        given, expected = (text.strip(b" \t") for text in (token.encode("latin-1"), self._token.encode()))  # as a header's ends are
        return scheme.lower() == "bearer" and given != b"" and hmac.compare_digest(given, expected)


def _match(request: ControlRequest) -> tuple[ControlRoute, Mapping[str, Any]]:
    try:
        operation_id, path_values = _RULES.bind_to_environ(request.environ).match()
    except (NotFound, ValueError):  # ValueError: the path has a number with more digits than Python converts
        raise NotFound(f"control has no {request.path}; there are: {', '.join(PATHS)}") from None
    except MethodNotAllowed as error:
        methods = error.valid_methods or ()
        raise MethodNotAllowed(methods, f"method {request.method} not allowed: expected {', '.join(sorted(methods))}") from None
    return _BY_OPERATION_ID[operation_id], path_values


def _json(status: int, payload: Mapping[str, Any] | list[bytes]) -> Response:
    pieces = payload if isinstance(payload, list) else list(json_pieces(payload))
    return Response(pieces, status, [NOSNIFF], content_type="application/json")
