"""What a user holds: a world at an address, with or without a server.

Law: it wires a world, its fake, its site and the doors together, and adds nothing to what they do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cached_property, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from kvfake.doors.site import Site
from kvfake.proxies import no_proxy
from kvfake.settings import PORT_OF_SERVE_ONLY, SERVER, WORLD, from_environment, from_keywords, resolve
from kvfake.world.clock import Clock
from kvfake.world.fake import Fake
from kvfake.world.faults import Faults
from kvfake.world.journal import Journal
from kvfake.world.routes import Application
from kvfake.world.views import Mattermost, Persist

if TYPE_CHECKING:
    from kvfake.control.app import Control
    from kvfake.doors.httpx_transport import HttpxTransport
    from kvfake.doors.requests_adapter import RequestsAdapter
    from kvfake.doors.wsgi import WsgiApp


class Double:
    """One isolated double of both services.

    ``Double(**settings)`` has no server and no socket: use `wsgi_app`, or the mappings alone. `kvfake.start` puts a server in
    front of it. Settings are keywords, else ``KVFAKE_...`` variables, else their defaults.

    Raises ``TypeError`` for a name that is no setting, ``ValueError`` for a value that is not possible.
    """

    def __init__(self, **settings: Any) -> None:
        values = values_of(settings)
        fake = Fake("", values)
        self._wire(fake, values, values["public_url"] or f"http://{fake.own.id}.kvfake.test")

    def _wire(self, fake: Fake, values: dict[str, Any], origin: str) -> None:
        self._fake, self._world = fake, fake.own
        self._world.url = origin + values["site_path"]
        control = partial(_control, fake, values, origin) if values["control"] else None
        self._site = Site(fake, control, values["site_path"])

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

    def httpx_transport(self) -> HttpxTransport:
        """For ``httpx.Client(transport=...)`` and ``httpx.AsyncClient(transport=...)``: no server, no socket, every host is this
        double, and a fault is what the client would have felt. Needs httpx.
        """
        from kvfake.doors.httpx_transport import HttpxTransport

        return HttpxTransport(self._site)

    def requests_adapter(self) -> RequestsAdapter:
        """The same for ``session.mount(double.url, ...)``. Needs requests."""
        from kvfake.doors.requests_adapter import RequestsAdapter

        return RequestsAdapter(self._site)

    def token(self, token: str, owner: str) -> None:
        """This world knows that token too: ``app/user``, ``/user`` or ``project:NAME``."""
        self._world.owners.name(token, owner)

    def reset(self) -> None:
        """Forget values, faults, journal and checkpoints; the clock is the machine's again. Tokens, neighbours, settings stay."""
        self._world.reset()

    @property
    def faults(self) -> Faults:
        """What goes wrong."""
        return self._world.faults

    @property
    def journal(self) -> Journal:
        """What was asked of this double, and what it answered."""
        return self._world.journal

    @property
    def clock(self) -> Clock:
        """What time it is, for ``updated``."""
        return self._world.clock

    def checkpoint(self) -> int:
        """A mark for everything as it is now; its cost does not grow with what is stored. The newest 1,000 are kept."""
        return self._world.checkpoint()

    def rollback(self, mark: int) -> None:
        """Values, clock, faults and journal as they were at the mark; the cost is that of what was changed since. Tokens,
        neighbours and settings stay; later marks are gone. Raises ``ValueError`` for a mark that is not there.
        """
        self._world.rollback(mark)

    def dump(self) -> dict[str, Any]:
        """Every value, in the form of a file of values."""
        from kvfake.world import datafile

        return datafile.dump(self._world)

    def load(self, source: str | os.PathLike[str] | Mapping[str, Any], replace: bool = False) -> None:
        """Set what a file of values holds, or the same as a dict; ``replace`` forgets what was there before. Raises
        ``ValueError``, with the place and the reason, and then nothing was loaded.
        """
        from kvfake.world import datafile

        datafile.load(self._world, source if isinstance(source, Mapping) else datafile.read(source), replace)

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
        """Answer that request beside the stores, such as ``/api/v4/posts``: any method where it is ``None``, a path that is
        exact, or a pattern of the whole. Of two that meet a request the later answers. Raises ``ValueError`` for a path of the
        stores.
        """
        from kvfake.world.answers import route

        self._world.routes.respond(route(method, path, status, json, body, headers))

    def mount(self, path: str, wsgi_app: Application) -> None:
        """Let a WSGI application answer whatever lies at or below the path."""
        self._world.routes.mount(path, wsgi_app)

    def holdings(self) -> list[tuple[str, str, list[str]]]:
        """What lies in the stores: service, owner (and prefix), keys."""
        return self._world.holdings()

    def without_tokens(self, text: str) -> str:
        """The text, with every token that this double knows cut short."""
        return self._world.owners.without_tokens(text)

    @property
    def has_ended(self) -> bool:
        """Whether its world refuses, because the double beside others was closed."""
        return False

    def close(self) -> None:
        """End what this double has of its own: the server of `start`, with every open connection, or a world beside others,
        which refuses from then on. Closing twice does nothing.
        """

    def __enter__(self) -> Double:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<kvfake.Double {self.url}>"


def values_of(settings: dict[str, Any]) -> dict[str, Any]:
    """Every setting of a double: from keywords, variables, defaults. Raises ``TypeError`` and ``ValueError`` for wrong ones."""
    given = from_keywords(settings, SERVER, WORLD)
    environment = from_environment(os.environ, SERVER, WORLD, without=PORT_OF_SERVE_ONLY)
    return resolve(given, environment, {"port": 0}, scopes=(SERVER, WORLD))


def _control(fake: Fake, values: Mapping[str, Any], origin: str) -> Control:
    from urllib.parse import urlsplit

    from kvfake.control.app import AllowedHosts, Control

    hosts = AllowedHosts(values["host"], [*values["allow_host"], urlsplit(origin).hostname or ""])
    return Control(fake, hosts, values["control_token"])
