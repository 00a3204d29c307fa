"""What a user holds: a world at an address, with or without a server.

Law: it wires a world, its fake, its site and the doors together, and adds nothing to what they do.
"""

from __future__ import annotations

import os
from functools import cached_property, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kvfake.doors.connection import Connection
from kvfake.doors.log import write_line
from kvfake.doors.site import Site
from kvfake.proxies import no_proxy
from kvfake.settings import PORT_OF_SERVE_ONLY, SERVER, WORLD, from_environment, from_keywords, resolve
from kvfake.world.fake import Fake
from kvfake.world.views import Mattermost, Persist

if TYPE_CHECKING:
    from kvfake.control.app import Control
    from kvfake.doors.server import Server
    from kvfake.doors.wsgi import WsgiApp


class Double:
    """One isolated double of both services.

    ``Double(**settings)`` has no server and no socket: use `wsgi_app`, or the mappings alone. `kvfake.start` puts a server in
    front of it. Settings are keywords, else ``KVFAKE_...`` variables, else their defaults.

    Raises ``TypeError`` for a name that is no setting, ``ValueError`` for a value that is not possible.
    """

    def __init__(self, **settings: Any) -> None:
        values = _values(settings)
        self._server: Server | None = None
        fake = Fake("", values)
        self._wire(fake, values, values["public_url"] or f"http://{fake.own.id}.kvfake.test")

    def _wire(self, fake: Fake, values: dict[str, Any], origin: str) -> None:
        self._fake, self._world = fake, fake.own
        self._world.url = origin + values["site_path"]
        names = [*values["allow_host"], urlsplit(origin).hostname or ""]
        self._site = Site(fake, partial(_control, fake, values["host"], names), values["site_path"])

    @property
    def url(self) -> str:
        """Where both services lie; also ``KVFAKE_URL``."""
        return self._world.url

    @property
    def env(self) -> dict[str, str]:
        """The variables with which an app finds this double, as ``kvfake run`` sets them."""
        return {**self._world.env, **no_proxy(self.url, os.environ)}

    @cached_property
    def mattermost(self) -> Mattermost:
        """The bot's values."""
        return Mattermost(self._world)

    @cached_property
    def persist(self) -> Persist:
        """The project's values."""
        return Persist(self._world)

    @cached_property
    def wsgi_app(self) -> WsgiApp:
        """The double as a WSGI application. Its values are in this process: serve it with one worker, of many threads."""
        from kvfake.doors.wsgi import WsgiApp

        return WsgiApp(self._site)

    def token(self, token: str, owner: str) -> None:
        """This world knows that token too: ``app/user``, ``/user`` or ``project:NAME``."""
        self._world.owners.name(token, owner)

    def reset(self) -> None:
        """Forget every value; tokens and settings stay."""
        self._world.reset()

    def close(self) -> None:
        """End the server, if there is one, with every open connection. Closing twice does nothing."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def __enter__(self) -> Double:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<kvfake.Double {self.url}>"


class Started(Double):
    """A double behind a server. It is bound when it is made; `serve` or `start` begins to answer."""

    def __init__(self, values: dict[str, Any]) -> None:
        from kvfake.doors.server import Server

        fake = Fake("", values)
        log = write_line if values["log"] else None
        self._server = server = Server(lambda: Connection(self._site.answer, log), values["host"], values["port"])
        self._wire(fake, values, values["public_url"] or f"http://{_shown(values['host'])}:{server.port}")
        self.server = server


def start(**settings: Any) -> Double:
    """A double behind a real server, on a free port unless ``port`` says otherwise; a context manager.

    Raises ``OSError`` where it cannot bind, ``TypeError`` and ``ValueError`` for wrong settings.
    """
    double = Started(_values(settings))
    double.server.start()
    return double


def _values(settings: dict[str, Any]) -> dict[str, Any]:
    given = from_keywords(settings, SERVER, WORLD)
    environment = from_environment(os.environ, SERVER, WORLD, without=PORT_OF_SERVE_ONLY)
    return resolve(given, environment, {"port": 0}, scopes=(SERVER, WORLD))


def _control(fake: Fake, host: str, names: list[str]) -> Control:
    from kvfake.control.app import Control
    from kvfake.control.hosts import Hosts

    return Control(fake, Hosts(host, names))


_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}


def _shown(host: str) -> str:
    """The host as it stands in a URL."""
    return _WILDCARDS.get(host) or (f"[{host}]" if ":" in host else host)
