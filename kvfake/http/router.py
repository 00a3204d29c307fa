"""Finds what answers a request: its world, by the address; then a service, control, or what else the world has at the path.

Law: it looks at the path, sets the location on the request, and passes the request on. It never blocks: for what may block it
returns a `Job`.
"""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from kvfake.errors import CONTROL_OFF, log_exception
from kvfake.http.parser import MAX_BODY_BYTES, split_absolute
from kvfake.services import go, mattermost, persist
from kvfake.services.messages import UNEXPECTED, Job, Lane, Request, Response, error_response
from kvfake.world.backend import WORLD_MARK, Backend, WorldEnded
from kvfake.world.journal import StillWaiting, Wait
from kvfake.world.matching import FALLBACK, MOUNT, RESPOND
from kvfake.world.pauses import SharedReading
from kvfake.world.redaction import BY_NAME
from kvfake.world.routes import Application, forwarded_response
from kvfake.world.world import World

CONTROL = b"/_kvfake"
_HEALTH = CONTROL + b"/health"
MAX_TARGET_BYTES_IN_LOOP = 64 * 1024  # decoding more, in paths and queries, would hold other clients up for milliseconds
MAX_ANSWER_BYTES = 64 * 1024 * 1024  # of a mounted application

_MATTERMOST = mattermost.KV.encode() + b"/"
_PLUGINS = mattermost.PLUGINS
_PERSIST = tuple(path + b"/" for path in persist.PATHS)
_SERVICES = (_MATTERMOST, *_PERSIST)
_WORLD_MARKS = (WORLD_MARK.encode(), b"/%7E", b"/%7e")


class Router:
    """The site at one address: a world at its root, the other worlds of its server below ``/~ID``."""

    def __init__(
        self,
        backend: Backend,
        control: Callable[[], Application] | None,
        site_path: str = "",
        root: World | None = None,
        reading: SharedReading | None = None,
    ) -> None:
        """``control`` gives the application at ``/_kvfake``, if there is one. It is called with the first request, because the
        application takes long to import. ``root`` is the world at the root, if that is not the server's own;
        ``reading`` is what answers of fallbacks share, if this router shares it with another.
        """
        self._backend, self._control, self._site_path, self._root = backend, control, site_path.encode(), root
        self._reading = reading or SharedReading()

    def with_root(self, world: World) -> Router:
        """The same site with another world at its root."""
        return Router(self._backend, self._control, self._site_path.decode(), world, self._reading)

    def answer(self, request: Request, base: bytes = b"", in_loop: bool = True) -> Response | Job:
        """The response, or a job that makes it. ``base`` is the path of the site on its host, encoded. ``in_loop``: whether other
        clients wait meanwhile.
        """
        if len(request.target) > MAX_TARGET_BYTES_IN_LOOP and in_loop:
            return Job(partial(self.answer, request, base, in_loop=False), Lane.SERVICE)
        try:
            return self._answer(request, base)
        except WorldEnded as ended:
            target = BY_NAME.shown_target(request.target).decode("utf-8", "backslashreplace")
            self._backend.note_request_after_end(f"{request.method} {target} (world {ended})")
            return error_response(410, f"the world {ended} has ended: nothing of this request was done")
        except go.BadEscape:
            request.path, _, request.query = request.target.partition(b"?")
            return self._unmatched(request, self._backend.own_world, go.BAD_REQUEST)
        except Exception:  # P11: whatever happens, the server goes on
            log_exception()
            return UNEXPECTED

    def body_bytes(self, request: Request) -> int:
        """How many bytes of the body whoever answers the request reads (`kvfake.http.connection.BodyBytes`). Sets the location."""
        try:
            world, expected = self._locate(request, b"")
            decoded = go.unescape(request.path)
            owner = world or self._backend.world_of(mattermost.token(request))
        except (WorldEnded, go.BadEscape):
            return 0
        if expected:
            return 0
        if decoded.startswith(_PERSIST):
            known = owner.tokens.owner_of(persist.NAME, persist.token(request))
            return MAX_BODY_BYTES + 1 if persist.reads_body(request.method, decoded, known) else 0
        clean = go.clean(decoded) if decoded[:1] == b"/" else decoded
        if clean.startswith(_MATTERMOST):
            return mattermost.body_bytes(request)
        is_answered = _is_control(request.path) or owner.routes.routes or owner.routes.mounts or owner.settings["fallback"]
        return MAX_BODY_BYTES + 1 if is_answered else 0

    def _answer(self, request: Request, base: bytes) -> Response | Job:
        target = request.target
        if not self._site_path and target.startswith(_SERVICES):  # as most do: `_locate` would find the same
            request.base = base
            request.path, _, request.query = target.partition(b"?")
            return self._backend.answer(mattermost if target.startswith(_MATTERMOST) else persist, request, self._root)
        world, expected = self._locate(request, base)
        path = request.path
        if expected:
            return self._not_found(request, world or self._backend.own_world, expected)
        if path.startswith(_MATTERMOST):
            return self._backend.answer(mattermost, request, world)
        if path.startswith(_PERSIST):
            return self._backend.answer(persist, request, world)
        if _is_control(path):
            if self._control is None:
                return error_response(404, CONTROL_OFF)
            lane = Lane.HEALTH if path == _HEALTH else Lane.CONTROL
            return Job(partial(_call_control, self._control, request, world or self._backend.own_world, None), lane)
        return self._answer_unusual(request, world)

    def _locate(self, request: Request, base: bytes) -> tuple[World | None, str]:
        """Set the location on the request; returns the world that the address names, and what was expected in place of the path, if
        nothing is there. Raises `WorldEnded`.
        """
        path, _, query = request.target.partition(b"?")
        world, expected = self._root, ""
        if path[:1] != b"/":
            origin, path = split_absolute(path)
            base = origin + base
        if self._site_path:
            if path.startswith(self._site_path + b"/"):
                base, path = base + self._site_path, path[len(self._site_path) :]
            elif not path.startswith(CONTROL):
                expected = f"expected a path below {self._site_path.decode()}"
        if path.startswith(_WORLD_MARKS) and not expected:
            mark, slash, rest = path[1:].partition(b"/")
            world = self._backend.find(go.unescape(mark)[1:].decode("utf-8", "replace"))
            if world is None:
                expected = "expected /~ID of an open world"
            else:
                base, path = base + b"/" + mark, slash + rest
        request.base, request.path, request.query = base, path, query
        return world, expected

    def _answer_unusual(self, request: Request, world: World | None) -> Response | Job:
        """Answer for a path that belongs to a service only after it is decoded and cleaned, or that something else answers."""
        owner = world or self._backend.world_without_address(mattermost.token(request))
        try:
            decoded = go.unescape(request.path)
        except go.BadEscape:
            return self._unmatched(request, owner, go.BAD_REQUEST)
        if decoded.startswith(_PERSIST):
            return self._backend.answer(persist, request, world)
        answer = partial(self._answer_decoded, request, world, owner, decoded)
        return Job(answer, Lane.SERVICE) if owner.routes.takes_long(len(decoded)) else answer()

    def _answer_decoded(self, request: Request, world: World | None, owner: World, decoded: bytes) -> Response | Job:
        clean = go.clean(decoded) if decoded[:1] == b"/" else decoded
        if not clean.startswith(_MATTERMOST):
            found = self._answer_without_service(request, owner, decoded)
            if found is not None:
                return found
        if decoded.startswith(_PLUGINS) or clean.startswith(_PLUGINS):
            return self._backend.answer(mattermost, request, world)
        return self._not_found(request, owner, f"expected {mattermost.KV}/..., {persist.API}/persist/... or /_kvfake/...")

    def _not_found(self, request: Request, world: World, expected: str) -> Response:
        return self._unmatched(request, world, error_response(404, f"no route for this path: {expected}"))

    def _unmatched(self, request: Request, world: World, response: Response) -> Response:
        self._backend.record_other(world, None, request, response, self._backend.seconds())
        return response

    # ------------------------------------------------------------------------------- routes, applications and the fallback

    def _answer_without_service(self, request: Request, world: World, decoded: bytes) -> Response | Job | None:
        """The response of a route, or a job for a mounted application or the fallback; ``None`` if none of them is there."""
        path = decoded.decode("utf-8", "surrogateescape")
        response = world.routes.response_for(request.method, path)
        if response is not None:
            self._backend.record_other(world, RESPOND, request, response, self._backend.seconds())
            return response
        mount = world.routes.mount_for(path)
        if mount is not None:
            at, app = mount
            mounted_at = at.encode("utf-8", "surrogateescape")
            base, path_info = _decoded_base(request) + mounted_at, decoded[len(mounted_at) :]
            call = partial(call_application, app, request, base, path_info, {})
            return Job(partial(self._run, MOUNT, f"the application at {at or '/'}", call, world, request), Lane.OTHER)
        return self._answer_from_fallback(request, world)

    def _answer_from_fallback(self, request: Request, world: World) -> Response | Job | None:
        url = world.settings["fallback"]
        if url is None or not request.path.startswith(b"/"):
            return None
        via, own_hop = request.headers.get(b"via", b"").decode("latin-1"), f"1.1 kvfake-{world.id}"
        if own_hop in [hop.strip() for hop in via.split(",")]:  # not as a job: all workers may be waiting for this answer
            looped = error_response(508, f"the fallback {url} leads back here")
            self._backend.record_other(world, FALLBACK, request, looped, self._backend.seconds())
            return looped
        target = request.path + (b"?" + request.query if request.query else b"")

        def call() -> Response:
            from kvfake.http_client import MAX_SILENCE_SECONDS, HttpClient  # it loads ssl, which takes long

            client = HttpClient(url, MAX_SILENCE_SECONDS, reading=self._reading)
            return client.forward(request, target, f"{via}, {own_hop}".lstrip(", "), "the fallback")

        return Job(partial(self._run, FALLBACK, "kvfake", call, world, request), Lane.OTHER)

    def _run(self, service: str, name: str, call: Callable[[], Response], world: World, request: Request) -> Response:
        """The response of the call, recorded. ``name`` is what an exception of the call is blamed on."""
        began = self._backend.seconds()
        try:
            response = incomplete_body(request) or call()
        except Exception:
            log_exception()
            response = error_response(500, f"unexpected error in {name}: its traceback is on stderr")
        self._backend.record_other(world, service, request, response, began)
        return response


def _is_control(path: bytes) -> bool:
    return path == CONTROL or path.startswith(CONTROL + b"/")


def _call_control(control: Callable[[], Application], request: Request, world: World, wait: Wait | None) -> Response | Job:
    """The response of control, or, where that waits for an exchange, a job that goes on waiting. Such jobs are short, so that
    whoever runs them sees after each whether the client is still there.
    """
    try:
        return incomplete_body(request) or call_application(
            control(),
            request,
            _decoded_base(request) + CONTROL,
            go.unescape(request.path[len(CONTROL) :]),
            {"kvfake.world": world, "kvfake.body": request.body, "kvfake.wait": wait},
            limit=math.inf,  # all values may be dumped
        )
    except go.BadEscape as bad:
        return error_response(400, f"bad percent-encoding in the path: {go.quoted(bad.args[0])}")
    except StillWaiting as waiting:
        return Job(partial(_call_control, control, request, world, waiting.wait), Lane.WAITING)
    except Exception:
        log_exception()
        return UNEXPECTED


def _decoded_base(request: Request) -> bytes:
    """The path of the site, decoded."""
    return go.unescape(split_absolute(request.base)[1])


def incomplete_body(request: Request) -> Response | None:
    """The refusal of a request whose body has no end or is too long; ``None`` for another."""
    if request.body_error:
        return error_response(400, f"the body has no end: {request.body_error}")
    if len(request.body) > MAX_BODY_BYTES:
        return error_response(413, f"the body is too large: expected at most {MAX_BODY_BYTES} bytes")
    return None


def call_application(
    app: Application, request: Request, base: bytes, path: bytes, extra: Mapping[str, Any], limit: float = MAX_ANSWER_BYTES
) -> Response:
    """The response of a WSGI application. ``base`` is the path of the application, ``path`` the rest of the request's path, both
    decoded. Raises what the application raises, and ``ValueError`` for a response that cannot be sent, or of more than ``limit``
    bytes.
    """
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": base.decode("latin-1"),
        "PATH_INFO": path.decode("latin-1"),
        "QUERY_STRING": request.query.decode("latin-1"),
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
        size = 0
        for chunk in chunks:
            size += len(chunk)
            if size > limit:
                raise ValueError(f"the answer has more than {limit} bytes")
            written.append(chunk)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    status, headers = started
    return forwarded_response(request.method, status, headers, b"".join(written))
