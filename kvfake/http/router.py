"""What else lies on a site beside the stores: single answers, mounted applications, and a server that is asked for the rest.

Law: it carries requests there and answers back, as jobs where that may block; who lies where is the world's table. What came in
without its end goes nowhere.

=====

What lies at which path: the two services of a world, worlds by address, and control.

Law: it looks at the path, and at nothing else of a request. It never blocks: what may is handed back as a `Job`.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from kvfake.errors import log_exception
from kvfake.http.parser import MAX_BODY_BYTES, split_absolute
from kvfake.services import go, mattermost, persist
from kvfake.services.mattermost import redact_query
from kvfake.services.messages import UNEXPECTED, Request, Response, error_response
from kvfake.world.backend import WORLD_MARK, Backend, Ended
from kvfake.world.routes import passed_on
from kvfake.world.world import World

StartResponse = Callable[..., Any]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

RESPOND, MOUNT, FALLBACK = "respond", "mount", "fallback"


def not_whole(request: Request) -> Response | None:
    """The refusal of a request whose body did not come to its end."""
    if request.broken:
        return error_response(400, f"the body has no end: {request.broken}")
    if len(request.body) > MAX_BODY_BYTES:
        return error_response(413, f"the body is too large: expected at most {MAX_BODY_BYTES} bytes")
    return None


class Neighbours:
    """The way to the neighbours of every world of a server."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def find(
        self, world: World, request: Request, path: bytes, decoded: bytes, query: bytes, base: bytes
    ) -> Response | Callable[[], Response] | None:
        """The answer of whoever lies at the path, or a job that asks for it; ``None`` where nobody does. ``base`` is decoded."""
        text = decoded.decode("utf-8", "surrogateescape")
        response = world.routes.answer(request.method, text)
        if response is not None:
            self._backend.beside(world, RESPOND, request, path, query, response, self._backend.seconds())
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
        from kvfake.http.fallback import VIA, fetch

        via, mark = request.headers.get(VIA, b"").decode("latin-1"), f"1.1 kvfake-{world.id}"
        if mark in [hop.strip() for hop in via.split(",")]:  # no job: those may all be waiting for this answer
            looped = error_response(508, f"the fallback {url} leads back here")
            self._backend.beside(world, FALLBACK, request, path, query, looped, self._backend.seconds())
            return looped
        target = path + (b"?" + query if query else b"")
        ask = partial(fetch, url, request, target, f"{via}, {mark}".lstrip(", "), self._backend.seconds)
        return partial(self._ask, FALLBACK, "kvfake", ask, world, request, path, query)

    def _ask(
        self, who: str, where: str, ask: Callable[[], Response], world: World, request: Request, path: bytes, query: bytes
    ) -> Response:
        began = self._backend.seconds()
        try:
            response = not_whole(request) or ask()
        except Exception:
            log_exception()
            response = error_response(500, f"unexpected error in {where}: its traceback is on stderr")
        self._backend.beside(world, who, request, path, query, response, began)
        return response


CONTROL = b"/_kvfake"

_MATTERMOST = mattermost.KV.encode() + b"/"
_PLUGINS = mattermost.PLUGINS
_PERSIST = tuple(path + b"/" for path in persist.PATHS)
_WORLD_MARKS = (WORLD_MARK.encode(), b"/%7E", b"/%7e")


class Router:
    """One address: a world at its root, the other worlds of its server below ``/~ID``."""

    def __init__(
        self, backend: Backend, control: Callable[[], Application] | None, site_path: str = "", root: World | None = None
    ) -> None:
        """``control`` makes the application that lies at ``/_kvfake``, if one does; ``root`` is whose the root is, if not the
        server's own.
        """
        self._backend, self._site_path, self._root = backend, site_path.encode(), root
        self._make_control = control
        self._control: Application | None = None
        self._neighbours = Neighbours(backend)

    def rooted_in(self, world: World) -> Router:
        """The same site, with another world at its root."""
        return Router(self._backend, self.control if self._make_control else None, self._site_path.decode(), world)

    def answer(self, request: Request, base: bytes = b"") -> Response | Callable[[], Response]:
        """The response, or a job that makes it. ``base`` is where the site lies, if not at the root."""
        try:
            return self._answer(request, base)
        except Ended as ended:
            what = redact_query(request.target).decode("utf-8", "backslashreplace")
            self._backend.note_late_request(f"{request.method} {what} (world {ended})")
            return error_response(410, f"the world {ended} has ended: nothing of this request was done")
        except go.BadEscape:
            return self._unmatched(self._backend.own, request, *request.target.partition(b"?")[::2], go.BAD_REQUEST)
        except Exception:  # P11: whatever happens, the server goes on
            log_exception()
            return UNEXPECTED

    def _answer(self, request: Request, base: bytes) -> Response | Callable[[], Response]:
        path, _, query = request.target.partition(b"?")
        if path[:1] != b"/":
            origin, path = split_absolute(path)
            base = origin + base
        if self._site_path:
            if path.startswith(self._site_path + b"/"):
                base, path = base + self._site_path, path[len(self._site_path) :]
            elif not path.startswith(CONTROL):
                own = self._root or self._backend.own
                return self._not_found(request, own, path, query, f"expected a path below {self._site_path.decode()}")
        world = self._root
        if path.startswith(_WORLD_MARKS):
            mark, path, world = self._world(path)
            base += mark
            if world is None:
                own, expected = self._backend.own, "expected /~ID of a world that was opened here"
                return self._not_found(request, own, mark + path, query, expected)
        if path.startswith(_MATTERMOST):
            return self._backend.answer(mattermost, request, path, query, base, world)
        if path.startswith(_PERSIST):
            return self._backend.answer(persist, request, path, query, base, world)
        if path == CONTROL or path.startswith(CONTROL + b"/"):
            if self._make_control is None:
                return error_response(404, "control is switched off (--no-control)")
            return partial(self._run_control, request, path[len(CONTROL) :], query, base, world or self._backend.own)
        return self._unusual(request, path, query, base, world)

    def _world(self, path: bytes) -> tuple[bytes, bytes, World | None]:
        """The address, the path below it, and whose it is."""
        mark, slash, rest = path[1:].partition(b"/")
        id = go.unescape(mark)[1:].decode("utf-8", "replace")
        return b"/" + mark, slash + rest, self._backend.find(id)

    def control(self) -> Application:
        """The application at ``/_kvfake``, made when it is first asked for: it takes long to import."""
        assert self._make_control is not None
        if self._control is None:
            self._control = self._make_control()
        return self._control

    def _run_control(self, request: Request, path: bytes, query: bytes, base: bytes, world: World) -> Response:
        refused = not_whole(request)
        if refused is not None:
            return refused
        try:
            where, below = _where(base) + CONTROL, go.unescape(path)
            return call(self.control(), request, where, below, query, {"kvfake.world": world})
        except go.BadEscape as bad:
            return error_response(400, f"bad percent-encoding in the path: {go.quoted(bad.args[0])}")
        except Exception:
            log_exception()
            return UNEXPECTED

    def _unusual(
        self, request: Request, path: bytes, query: bytes, base: bytes, world: World | None
    ) -> Response | Callable[[], Response]:
        """A path that is a service's once it is decoded and cleaned, a neighbour's, or nobody's."""
        whose = world or self._backend.of_token(mattermost.token(request, query))
        try:
            decoded = go.unescape(path)
        except go.BadEscape:
            return self._unmatched(whose, request, path, query, go.BAD_REQUEST)
        if decoded.startswith(_PERSIST):
            return self._backend.answer(persist, request, path, query, base, world)
        clean = go.clean(decoded) if decoded[:1] == b"/" else decoded
        if not clean.startswith(_MATTERMOST):
            found = self._neighbours.find(whose, request, path, decoded, query, _where(base))
            if found is not None:
                return found
        if decoded.startswith(_PLUGINS) or clean.startswith(_PLUGINS):
            return self._backend.answer(mattermost, request, path, query, base, world)
        return self._not_found(
            request, whose, path, query, f"expected {mattermost.KV}/..., {persist.API}/persist/... or /_kvfake/..."
        )

    def _not_found(self, request: Request, world: World, path: bytes, query: bytes, expected: str) -> Response:
        return self._unmatched(world, request, path, query, error_response(404, f"nothing lies here: {expected}"))

    def _unmatched(self, world: World, request: Request, path: bytes, query: bytes, response: Response) -> Response:
        self._backend.beside(world, None, request, path, query, response, self._backend.seconds())
        return response


def _where(base: bytes) -> bytes:
    """The path at which a site lies, decoded."""
    return go.unescape(split_absolute(base)[1])


def call(app: Application, request: Request, base: bytes, path: bytes, query: bytes, extra: Mapping[str, Any]) -> Response:
    """Have an application answer a request; ``base`` is where it lies, ``path`` what is below, both decoded. Raises what it
    raises, and ``ValueError`` for an answer that cannot be sent.
    """
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": base.decode("latin-1"),
        "PATH_INFO": path.decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": str(len(request.body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **{
            f"HTTP_{name.decode('latin-1').upper().replace('-', '_')}": value.decode("latin-1")
            for name, value in request.headers.items()
        },
        **extra,
    }
    environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE", "")
    for framing in ("HTTP_CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING"):  # the body is whole here
        environ.pop(framing, None)
    started: list[Any] = []
    written: list[bytes] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Callable[[bytes], None]:
        started[:] = [int(status.split(" ", 1)[0]), headers]
        return written.append

    chunks = app(environ, start_response)
    try:
        written.extend(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    status, headers = started
    return passed_on(status, headers, b"".join(written))
