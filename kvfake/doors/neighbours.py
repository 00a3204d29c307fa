"""What else lies on a site beside the stores: single answers, mounted applications, and a server that is asked for the rest.

Law: it carries requests there and answers back, as jobs where that may block; who lies where is the world's table. What came in
without its end goes nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kvfake.doors.body import MAX_BODY_BYTES
from kvfake.doors.environ import call
from kvfake.doors.replies import refusal
from kvfake.services.message import Request, Response
from kvfake.trouble import show_traceback
from kvfake.world.fake import Fake
from kvfake.world.world import World

RESPOND, MOUNT, FALLBACK = "respond", "mount", "fallback"


def not_whole(request: Request) -> Response | None:
    """The refusal of a request whose body did not come to its end."""
    if request.broken:
        return refusal(400, f"the body has no end: {request.broken}")
    if len(request.body) > MAX_BODY_BYTES:
        return refusal(413, f"the body is too large: expected at most {MAX_BODY_BYTES} bytes")
    return None


class Neighbours:
    """The way to the neighbours of every world of a server."""

    def __init__(self, fake: Fake) -> None:
        self._fake = fake

    def find(
        self, world: World, request: Request, path: bytes, decoded: bytes, query: bytes, base: bytes
    ) -> Response | Callable[[], Response] | None:
        """The answer of whoever lies at the path, or a job that asks for it; ``None`` where nobody does. ``base`` is decoded."""
        text = decoded.decode("utf-8", "surrogateescape")
        response = world.routes.answer(request.method, text)
        if response is not None:
            self._fake.beside(world, RESPOND, request, path, query, response, self._fake.seconds())
            return response
        mounted = world.routes.mounted(text)
        if mounted is not None:
            at, app = mounted
            below = at.encode("utf-8", "surrogateescape")
            ask = partial(call, app, request, base + below, decoded[len(below) :], query, {})
            return partial(self._ask, MOUNT, f"the application at {at or '/'}", ask, world, request, path, query)
        return self._fallback(world, request, path, query)

    def _fallback(self, world: World, request: Request, path: bytes, query: bytes) -> Response | Callable[[], Response] | None:
        url = world.settings["fallback"]
        if url is None or not path.startswith(b"/"):
            return None
        via, mark = request.headers.get(b"via", b"").decode("latin-1"), f"1.1 kvfake-{world.id}"
        if mark in [hop.strip() for hop in via.split(",")]:  # no job: those may all be waiting for this answer
            looped = refusal(508, f"the fallback {url} leads back here")
            self._fake.beside(world, FALLBACK, request, path, query, looped, self._fake.seconds())
            return looped
        target = path + (b"?" + query if query else b"")

        def ask() -> Response:
            from kvfake.http_client import MAX_SILENCE_SECONDS, HttpClient  # loads ssl, which takes its time

            return HttpClient(url, MAX_SILENCE_SECONDS).forward(request, target, f"{via}, {mark}".lstrip(", "), "the fallback")

        return partial(self._ask, FALLBACK, "kvfake", ask, world, request, path, query)

    def _ask(
        self, who: str, where: str, ask: Callable[[], Response], world: World, request: Request, path: bytes, query: bytes
    ) -> Response:
        began = self._fake.seconds()
        try:
            response = not_whole(request) or ask()
        except Exception:
            show_traceback()
            response = refusal(500, f"unexpected error in {where}: its traceback is on stderr")
        self._fake.beside(world, who, request, path, query, response, began)
        return response
