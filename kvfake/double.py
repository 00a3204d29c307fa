"""What a user holds: a world at an address, without a server, behind a server of its own, or on another double's server.

Law: it wires a world, its backend, its router and the ways in together, and adds nothing to what they do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cache, cached_property, lru_cache, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

import kvfake
from kvfake.errors import is_refusal
from kvfake.http.connection import Connection
from kvfake.http.router import Router
from kvfake.http.server import Server
from kvfake.lines import counted
from kvfake.settings import PORT_OF_SERVE_ONLY, SERVER, WORLD, Settings, from_environment, from_keywords, resolve
from kvfake.world.backend import Backend, MakeWorld, local_world
from kvfake.world.clock import Clock
from kvfake.world.faults import Faults
from kvfake.world.hosts import AllowedHosts
from kvfake.world.journal import Journal
from kvfake.world.mappings import Mattermost, Persist
from kvfake.world.redaction import shown_url
from kvfake.world.routes import Application

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack
    from urllib3 import Retry

    from kvfake.control import Control
    from kvfake.files import RequestLog
    from kvfake.http.httpx_transport import HttpxTransport
    from kvfake.http.requests_adapter import RequestsAdapter
    from kvfake.http.wsgi import WsgiApp
    from kvfake.world.world import World

__tracebackhide__ = is_refusal

_LOOPBACK = "127.0.0.1"
_EVERY_HOST = "*"  # counts for curl and urllib only where it stands alone
_WILDCARDS = {"0.0.0.0": _LOOPBACK, "::": "::1", "": _LOOPBACK}


class Double:
    """One isolated double of both services.

    ``Double(**settings)`` has no server and no socket: use `wsgi_app`, a transport, or only the mappings. `kvfake.start` makes one
    with a server. Settings come from keywords, else from ``KVFAKE_...`` variables, else from their defaults.

    Raises ``TypeError`` for a name that is not a setting, ``ValueError`` for a value that is not possible.
    """

    FidelityWarning = kvfake.FidelityWarning
    """The same class, for a test in which the name ``kvfake`` is the fixture and not the module."""

    def __init__(self, **settings: Unpack[Settings]) -> None:
        values = settings_of(settings)
        self._backend = Backend("", values)
        self._world = self._backend.own_world
        self._router = _router(self._backend, values, values["public_url"] or f"http://{self._world.id}.kvfake.test")

    @property
    def url(self) -> str:
        """The address of both services; also ``KVFAKE_URL``."""
        return self._world.url

    @property
    def env(self) -> dict[str, str]:
        """The variables with which an app finds this double, as ``kvfake run`` sets them."""
        return {**self._world.env, **no_proxy(self.url, os.environ)}

    @cached_property
    def mattermost(self) -> Mattermost:
        """The values of the app's bot."""
        return Mattermost(self._world)

    @cached_property
    def persist(self) -> Persist:
        """The values of the project."""
        return Persist(self._world)

    @cached_property
    def wsgi_app(self) -> WsgiApp:
        """The double as a WSGI application. Its values are in this process: serve it with one worker, with many threads."""
        from kvfake.http.wsgi import WsgiApp

        return WsgiApp(self._router)

    def httpx_transport(self) -> HttpxTransport:
        """For ``httpx.Client(transport=...)`` and ``httpx.AsyncClient(transport=...)``: no server and no socket. Requests to any
        host go to this double, and the client sees a fault as it would on a socket. Needs httpx, or httpx2, its successor.
        """
        from kvfake.http.httpx_transport import HttpxTransport

        return HttpxTransport(self._router)

    def requests_adapter(
        self, pool_connections: int = 10, pool_maxsize: int = 10, max_retries: Retry | int | None = 0, pool_block: bool = False
    ) -> RequestsAdapter:
        """The same for requests: ``session.mount(double.url, double.requests_adapter())``. It has the parameters of
        ``requests.adapters.HTTPAdapter``. Needs requests, with urllib3 2 or newer.
        """
        from kvfake.http.requests_adapter import RequestsAdapter

        return RequestsAdapter(self._router, pool_connections, pool_maxsize, max_retries, pool_block)

    def token(self, token: str, owner: str) -> None:
        """Declare a token and its owner: ``app/user``, ``/user`` or ``project:NAME``."""
        self._world.tokens.add(token, owner)

    def reset(self) -> None:
        """Go back to the values of the ``seed``, or to none; remove faults, journal and checkpoints; let the clock show the
        machine's time. Tokens, neighbours and settings stay.
        """
        self._world.reset()

    @property
    def faults(self) -> Faults:
        """The faults of this double."""
        return self._world.faults

    @property
    def journal(self) -> Journal:
        """The requests to this double, and its answers."""
        return self._world.journal

    @property
    def clock(self) -> Clock:
        """The clock that sets ``updated``; faults with a quota or a time follow it, too."""
        return self._world.clock

    def checkpoint(self) -> int:
        """Mark the current state, and return the mark. The cost does not grow with what is stored. The newest 1,000 are kept."""
        return self._world.checkpoint()

    def rollback(self, mark: int) -> None:
        """Set values, clock, faults and journal back to the mark; the cost depends on what was changed since. Tokens, neighbours
        and settings stay; later marks are removed. Raises ``ValueError`` for an unknown mark.
        """
        self._world.rollback(mark)

    def dump(self) -> dict[str, Any]:
        """Every value, as a dict in the format of a file of values."""
        from kvfake.world import datafile

        return datafile.dump(self._world)

    def load(self, source: str | os.PathLike[str] | Mapping[str, Any], replace: bool = False) -> None:
        """Set the values of a file of values, or of a dict in the same format; ``replace`` first removes all values. Raises
        ``ValueError``, with the place and the reason, if the file is invalid; then nothing was loaded.
        """
        from kvfake.world import datafile

        if isinstance(source, Mapping):
            datafile.load(self._world, source, replace)
        else:
            datafile.load_file(self._world, source, replace)

    def respond(
        self,
        method: str | None,
        path: str | re.Pattern[str],
        status: int = 200,
        *,
        json: Any = None,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Add a neighbour: an answer for a path that is not one of the stores', such as ``/api/v4/posts``. ``method`` is ``None``
        for any; ``path`` is exact, or a pattern that must match the whole path. If two neighbours match a request, the later one
        answers. Raises ``ValueError`` for a path of the stores.
        """
        self._world.routes.respond(method, path, status, json, body, headers)

    def mount(self, path: str, wsgi_app: Application) -> None:
        """Let a WSGI application answer the requests for this path and all paths below it."""
        self._world.routes.mount(path, wsgi_app)

    @property
    def is_closed(self) -> bool:
        """Whether its world has ended, so that it refuses all requests."""
        return self._world is not self._backend.own_world and self._world.id not in self._backend.worlds

    def close(self) -> None:
        """End the server that `start` started, with every open connection. If another double has the server, end only this double's
        world, which then refuses all requests. Closing twice does nothing.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        world = self._world
        counts = [f"{name} {counted(count, 'key')}" for name, count in world.counts().items()]
        counts += [counted(len(world.journal), "exchange"), counted(len(world.faults), "fault")]
        return f"<kvfake.Double {shown_url(self.url)}: {', '.join(counts)}>"


class ServedDouble(Double):
    """A double on a server: the server's own, or one beside it. It ends with its world."""

    def __init__(self, server: DoubleServer, world: World, router: Router) -> None:
        self._server, self._backend, self._world, self._router = server, server.backend, world, router

    def close(self) -> None:
        self._server.end(self._world)


class DoubleServer:
    """A server and the doubles on it, as the commands and a session of tests hold it: ``own`` is the double at its root.

    It is bound when it is made; ``server.start`` or ``server.serve`` begins to answer.
    """

    def __init__(self, values: dict[str, Any], defaults: dict[str, Any] | None = None, make_world: MakeWorld = local_world) -> None:
        """``values`` are the settings of its own world; ``defaults`` those of other worlds on it, if they differ, and
        ``make_world`` makes these.
        """
        self.backend = Backend("", values, defaults, make_world)
        self._log = _request_log(self.backend) if values["log"] else None
        self.server = Server(self._connection, values["host"], values["port"])
        self.listening_at = _origin(values["host"], self.server.port)
        """The URL where its socket listens. With ``public_url`` it is reached at another."""
        self._router = _router(self.backend, values, values["public_url"] or address_of(values["host"], self.server.port))
        self._answer = self._router.answer if self._log is None else self._log.handler(self._router.answer)
        self.own = ServedDouble(self, self.backend.own_world, self._router)

    def _connection(self) -> Connection:
        return Connection(self._answer, self._log.refused if self._log is not None else None, self._router.body_bytes)

    def open(self, settings: dict[str, Any]) -> Double:
        """A double with a world of its own on this server. ``settings`` are a world's, and were checked."""
        world = self.backend.open(settings)
        return ServedDouble(self, world, self._router.with_root(world))

    def end(self, world: World) -> None:
        """End the world; with its own world the server."""
        if world is self.backend.own_world:
            self.close()
        else:
            self.backend.end(world)

    def close(self) -> None:
        self.server.stop()
        if self._log is not None:
            self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start(**settings: Unpack[Settings]) -> Double:
    """A double with a real server, on a free port unless ``port`` is given. It is a context manager.

    Raises ``OSError`` if it cannot listen, ``TypeError`` and ``ValueError`` for wrong settings.
    """
    server = DoubleServer(settings_of(settings))
    server.server.start()
    return server.own


def world_of(double: Double) -> World:
    """What the double shows, for the library's own reports."""
    return double._world  # noqa: SLF001 - `dir(double)` is for users


def settings_of(keywords: Mapping[str, object]) -> dict[str, Any]:
    """Every setting of a double: from keywords, variables, defaults. Raises ``TypeError`` and ``ValueError`` for wrong ones."""
    given = from_keywords(keywords, SERVER, WORLD)
    environment = from_environment(os.environ, SERVER, WORLD, without=PORT_OF_SERVE_ONLY)
    return resolve(given, environment, {"port": 0}, scopes=(SERVER, WORLD))


def address_of(host: str, port: int) -> str:
    """The URL of a server that is bound there."""
    return _origin(_WILDCARDS.get(host, host), port)


def _origin(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def no_proxy(url: str, environ: Mapping[str, str]) -> dict[str, str]:
    """``NO_PROXY``, and ``no_proxy`` where that is the one that counts, with this machine and the URL's host added."""
    hosts = _hosts("/".join(url.split("/", 3)[:3]))
    variables = {"NO_PROXY": ",".join(hosts)}
    for name in ("NO_PROXY", "no_proxy"):
        known = [part for part in map(str.strip, environ.get(name, "").split(",")) if part]
        if known:
            variables[name] = _EVERY_HOST if known == [_EVERY_HOST] else ",".join(dict.fromkeys([*known, *hosts]))
    return variables


@lru_cache(maxsize=16)  # a session of tests needs it for every double of one server
def _hosts(origin: str) -> tuple[str, ...]:
    from urllib.parse import urlsplit

    return tuple(dict.fromkeys([_LOOPBACK, urlsplit(origin).hostname or _LOOPBACK]))


def _router(backend: Backend, values: dict[str, Any], origin: str) -> Router:
    """What leads to the worlds of the backend, whose own lies at the origin."""
    backend.own_world.url = origin + values["site_path"]
    backend.hosts = AllowedHosts(values["host"], values["allow_host"], origin, values["control_token"] is not None)
    control = cache(partial(_control, backend, values["control_token"])) if values["control"] else None
    return Router(backend, control, values["site_path"])


def _request_log(backend: Backend) -> RequestLog:
    from kvfake.files import RequestLog

    log = RequestLog(backend.own_world.tokens.redactor)
    backend.listen(log.listener)
    return log


def _control(backend: Backend, token: str | None) -> Control:
    from kvfake.control import Control

    return Control(backend, token)
