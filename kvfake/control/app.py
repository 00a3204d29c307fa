"""``/_kvfake/`` as a WSGI application: control over HTTP, for any language. JSON in and out, also for errors.

Law: it decides who may use control, finds the route, calls the handler, and writes JSON. It injects no fault, writes no journal and
never sends CORS headers. It imports werkzeug, so it is itself imported only when control is first used.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

from werkzeug.exceptions import Forbidden, HTTPException, MethodNotAllowed, NotFound, Unauthorized
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Response

from kvfake.control.handlers import ControlRequest
from kvfake.control.routes import PATHS, ROUTES, ControlRoute
from kvfake.services.jsontext import json_pieces
from kvfake.world.backend import Backend

_RULES = Map(
    [Rule(route.path, methods=[route.method], endpoint=route.operation_id) for route in ROUTES],
    strict_slashes=False,
    merge_slashes=False,
    redirect_defaults=False,
)
_BY_OPERATION_ID = {route.operation_id: route for route in ROUTES}
_OPEN_PATHS = {route.path for route in ROUTES if route.is_open}
_WILDCARDS = ("0.0.0.0", "::")  # a server that is bound to one of these can be reached at every address of the machine


class AllowedHosts:
    """The names of one server. Requests for other hosts and from pages of other origins are refused.

    A page of a foreign site can make a browser send requests here. The browser still sends the true ``Origin``, and a ``Host`` that
    names the foreign site even where that name now resolves to a loopback address (DNS rebinding).
    """

    def __init__(self, bound: str, names: Iterable[str]) -> None:
        """Allow ``bound``, the address that the server is bound to, ``names``, and every loopback address."""
        self._is_everywhere = bound in _WILDCARDS
        self._names = {name.lower() for name in (*names, bound, "localhost")}

    def refusal(self, host: str, origin: str) -> str | None:
        """Why a request with these headers may not use control; ``None`` where it may."""
        if not self._includes(_split(f"//{host}").hostname or ""):
            return (
                f"Host is {host!r}: expected a name of this server ({', '.join(sorted(self._names))}, a loopback address); "
                "--allow-host NAME adds one"
            )
        if origin and _split(origin).netloc.lower() != host.lower():
            return f"Origin is {origin!r}: expected none, or this server's own ({host})"
        return None

    def _includes(self, name: str) -> bool:
        if name in self._names:
            return True
        try:
            address = ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or self._is_everywhere


def _split(url: str) -> SplitResult:
    """Split the URL; all its parts are empty where it cannot be parsed."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


class Control:
    """The WSGI application of one server. With a ``token`` every request must bring it, except for open paths."""

    def __init__(self, backend: Backend, hosts: AllowedHosts, token: str | None) -> None:
        self._backend, self._hosts, self._token = backend, hosts, token

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
        reason = self._hosts.refusal(request.headers.get("Host", ""), request.headers.get("Origin", ""))
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
        return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode("latin-1"), self._token.encode())


def _match(request: ControlRequest) -> tuple[ControlRoute, Mapping[str, Any]]:
    try:
        operation_id, path_values = _RULES.bind_to_environ(request.environ).match()
    except (NotFound, ValueError):  # ValueError: the path has a number with more digits than Python converts
        raise NotFound(f"control has no {request.path}; there are: {', '.join(PATHS)}") from None
    except MethodNotAllowed as error:
        methods = error.valid_methods or ()
        raise MethodNotAllowed(methods, f"{request.method} does nothing here: expected {', '.join(sorted(methods))}") from None
    return _BY_OPERATION_ID[operation_id], path_values


def _json(status: int, payload: Mapping[str, Any] | list[bytes]) -> Response:
    pieces = payload if isinstance(payload, list) else list(json_pieces(payload))
    return Response(pieces, status, content_type="application/json")
