"""What lies at which path: the two services of a world, worlds by address, and control.

Law: it looks at the path, and at nothing else of a request. It never blocks: what may is handed back as a `Job`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kvfake.doors.environ import Application, call
from kvfake.doors.neighbours import Neighbours, not_whole
from kvfake.doors.nethttp import split_absolute
from kvfake.doors.replies import UNEXPECTED, refusal
from kvfake.services import gorules, mattermost, persist
from kvfake.services.mattermost import without_token
from kvfake.services.message import Request, Response
from kvfake.settings import CONTROL_OFF
from kvfake.trouble import show_traceback
from kvfake.world.fake import WORLD_MARK, Ended, Fake
from kvfake.world.world import World

CONTROL = b"/_kvfake"

_MATTERMOST = mattermost.KV.encode() + b"/"
_PLUGINS = mattermost.PLUGINS
_PERSIST = tuple(path + b"/" for path in persist.PATHS)
_WORLD_MARKS = (WORLD_MARK.encode(), b"/%7E", b"/%7e")


class Site:
    """One address: a world at its root, the other worlds of its server below ``/~ID``."""

    def __init__(
        self, fake: Fake, control: Callable[[], Application] | None, site_path: str = "", root: World | None = None
    ) -> None:
        """``control`` makes the application that lies at ``/_kvfake``, if one does; ``root`` is whose the root is, if not the
        server's own.
        """
        self._fake, self._site_path, self._root = fake, site_path.encode(), root
        self._make_control = control
        self._control: Application | None = None
        self._neighbours = Neighbours(fake)

    def rooted_in(self, world: World) -> Site:
        """The same site, with another world at its root."""
        return Site(self._fake, self.control if self._make_control else None, self._site_path.decode(), world)

    def answer(self, request: Request, base: bytes = b"") -> Response | Callable[[], Response]:
        """The response, or a job that makes it. ``base`` is where the site lies, if not at the root."""
        try:
            return self._answer(request, base)
        except Ended as ended:
            what = without_token(request.target).decode("utf-8", "backslashreplace")
            self._fake.refuse_late(f"{request.method} {what} (world {ended})")
            return refusal(410, f"the world {ended} has ended: nothing of this request was done")
        except gorules.BadEscape:
            return self._unmatched(self._fake.own, request, *request.target.partition(b"?")[::2], gorules.BAD_REQUEST)
        except Exception:  # P11: whatever happens, the server goes on
            show_traceback()
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
                own = self._root or self._fake.own
                return self._not_found(request, own, path, query, f"expected a path below {self._site_path.decode()}")
        world = self._root
        if path.startswith(_WORLD_MARKS):
            mark, path, world = self._world(path)
            base += mark
            if world is None:
                own, expected = self._fake.own, "expected /~ID of a world that was opened here"
                return self._not_found(request, own, mark + path, query, expected)
        if path.startswith(_MATTERMOST):
            return self._fake.answer(mattermost, request, path, query, base, world)
        if path.startswith(_PERSIST):
            return self._fake.answer(persist, request, path, query, base, world)
        if path == CONTROL or path.startswith(CONTROL + b"/"):
            if self._make_control is None:
                return refusal(404, CONTROL_OFF)
            return partial(self._run_control, request, path[len(CONTROL) :], query, base, world or self._fake.own)
        return self._unusual(request, path, query, base, world)

    def _world(self, path: bytes) -> tuple[bytes, bytes, World | None]:
        """The address, the path below it, and whose it is."""
        mark, slash, rest = path[1:].partition(b"/")
        id = gorules.unescape(mark)[1:].decode("utf-8", "replace")
        return b"/" + mark, slash + rest, self._fake.find(id)

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
            where, below = _where(base) + CONTROL, gorules.unescape(path)
            return call(self.control(), request, where, below, query, {"kvfake.world": world})
        except gorules.BadEscape as bad:
            return refusal(400, f"bad percent-encoding in the path: {gorules.quoted(bad.args[0])}")
        except Exception:
            show_traceback()
            return UNEXPECTED

    def _unusual(
        self, request: Request, path: bytes, query: bytes, base: bytes, world: World | None
    ) -> Response | Callable[[], Response]:
        """A path that is a service's once it is decoded and cleaned, a neighbour's, or nobody's."""
        whose = world or self._fake.of_token(mattermost.token(request, query))
        try:
            decoded = gorules.unescape(path)
        except gorules.BadEscape:
            return self._unmatched(whose, request, path, query, gorules.BAD_REQUEST)
        if decoded.startswith(_PERSIST):
            return self._fake.answer(persist, request, path, query, base, world)
        clean = gorules.clean(decoded) if decoded[:1] == b"/" else decoded
        if not clean.startswith(_MATTERMOST):
            found = self._neighbours.find(whose, request, path, decoded, query, _where(base))
            if found is not None:
                return found
        if decoded.startswith(_PLUGINS) or clean.startswith(_PLUGINS):
            return self._fake.answer(mattermost, request, path, query, base, world)
        return self._not_found(
            request, whose, path, query, f"expected {mattermost.KV}/..., {persist.API}/persist/... or /_kvfake/..."
        )

    def _not_found(self, request: Request, world: World, path: bytes, query: bytes, expected: str) -> Response:
        return self._unmatched(world, request, path, query, refusal(404, f"nothing lies here: {expected}"))

    def _unmatched(self, world: World, request: Request, path: bytes, query: bytes, response: Response) -> Response:
        self._fake.beside(world, None, request, path, query, response, self._fake.seconds())
        return response


def _where(base: bytes) -> bytes:
    """The path at which a site lies, decoded."""
    return gorules.unescape(split_absolute(base)[1])
