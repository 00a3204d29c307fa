"""What else lies on a site beside the stores: single answers, mounted applications, and a server that is asked for the rest.

Law: it carries requests there and answers back, as jobs where that may block; who lies where is the world's table.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

from kvfake.doors.environ import call
from kvfake.services.message import Request, Response
from kvfake.world.fake import Fake
from kvfake.world.world import World

RESPOND, MOUNT, FALLBACK = "respond", "mount", "fallback"

MAX_ANSWER_BYTES = 64 * 1024 * 1024
_PATIENCE_SECONDS = 30.0
_VIA = b"via"
_OF_ONE_HOP = frozenset(  # RFC 9110, 7.6.1
    (
        b"connection",
        b"host",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",
        b"expect",
    )
)
_JSON = (("Content-Type", "application/json"),)


def error(text: str) -> bytes:
    return json.dumps({"error": text}, ensure_ascii=False).encode()


UNEXPECTED = Response(500, _JSON, error("unexpected error in kvfake: its traceback is on stderr"))


class Neighbours:
    """The way to the neighbours of every world of a server."""

    def __init__(self, fake: Fake) -> None:
        self._fake = fake

    def registered(
        self, world: World, request: Request, path: bytes, decoded: bytes, query: bytes, base: bytes
    ) -> Response | Callable[[], Response] | None:
        """What the world's table has for the path; ``None`` where it has nothing. ``base`` is decoded."""
        routes = world.routes
        if not routes.routes and not routes.mounts:
            return None
        text = decoded.decode("utf-8", "surrogateescape")
        response = routes.answer(request.method, text)
        if response is not None:
            self._fake.beside(world, RESPOND, request, path, query, response, self._fake.seconds())
            return response
        mounted = routes.mounted(text)
        if mounted is None:
            return None
        at, app = mounted
        below = at.encode("utf-8", "surrogateescape")
        ask = partial(call, app, request, base + below, decoded[len(below) :], query, {})
        return partial(self._ask, MOUNT, ask, world, request, path, query)

    def fallback(self, world: World, request: Request, path: bytes, query: bytes) -> Callable[[], Response] | None:
        """A job that asks the world's fallback; ``None`` where it has none."""
        url = world.settings["fallback"]
        if url is None:
            return None
        ask = partial(_fetch, url, request, path + (b"?" + query if query else b""), self._fake.own.id)
        return partial(self._ask, FALLBACK, ask, world, request, path, query)

    def _ask(self, who: str, ask: Callable[[], Response], world: World, request: Request, path: bytes, query: bytes) -> Response:
        began = self._fake.seconds()
        try:
            response = ask()
        except Exception:
            traceback.print_exc()
            response = UNEXPECTED
        self._fake.beside(world, who, request, path, query, response, began)
        return response


def _fetch(url: str, request: Request, target: bytes, mark: str) -> Response:
    """What the server at the URL answers; 502 where it does not, 508 where it would be this one again."""
    from http.client import HTTPConnection, HTTPException, HTTPSConnection

    via = request.headers.get(_VIA, b"")
    if mark.encode() in via:
        return Response(508, _JSON, error(f"the fallback {url} leads back here"))
    parts = urlsplit(url)
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    headers = {name.decode(): value.decode("latin-1") for name, value in request.headers.items() if name not in _OF_ONE_HOP}
    headers["via"] = f"{via.decode('latin-1')}, 1.1 kvfake-{mark}".lstrip(", ")
    connection = connect(parts.hostname or "", parts.port, timeout=_PATIENCE_SECONDS)
    try:
        connection.putrequest(request.method, parts.path + target.decode("latin-1"), skip_accept_encoding=True)
        if request.body or request.method in ("POST", "PUT", "PATCH"):
            headers["content-length"] = str(len(request.body))
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(request.body or None)
        answer = connection.getresponse()
        body = answer.read(MAX_ANSWER_BYTES + 1)
        if len(body) > MAX_ANSWER_BYTES:
            raise HTTPException(f"more than {MAX_ANSWER_BYTES} bytes")
    except (OSError, HTTPException, ValueError) as failed:
        return Response(502, _JSON, error(f"the fallback {url} did not answer: {failed or type(failed).__name__}"))
    finally:
        connection.close()
    kept = tuple((name, value) for name, value in answer.getheaders() if name.lower().encode() not in _OF_ONE_HOP)
    return Response(answer.status, kept, body)
