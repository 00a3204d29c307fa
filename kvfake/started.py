"""Doubles behind a server: the one that owns it, and those beside it.

Law: as `kvfake.double`; besides, it binds, begins to serve, and ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kvfake.doors.connection import Connection
from kvfake.doors.log import write_line
from kvfake.doors.server import Server
from kvfake.doors.site import Site
from kvfake.double import Double, values_of
from kvfake.world.exchange import Exchange
from kvfake.world.fake import Fake
from kvfake.world.world import World


class Started(Double):
    """A double behind a server. It is bound when it is made; ``server.start`` or ``server.serve`` begins to answer."""

    def __init__(self, values: dict[str, Any], beside: dict[str, Any] | None = None, fake: Callable[..., Fake] = Fake) -> None:
        """``values`` are the settings of its own world; ``beside`` those of worlds beside it, where they differ."""
        worlds = fake("", values, beside)
        log = write_line if values["log"] else None
        self.server = Server(lambda: Connection(self._site.answer, log), values["host"], values["port"])
        self._wire(worlds, values, values["public_url"] or address_of(values["host"], self.server.port))

    def listen(self, listener: Callable[[World, Exchange], None]) -> None:
        """Be told of every exchange of every world of this server, in its order."""
        self._fake.listen(listener)

    @property
    def late_count(self) -> int:
        """How often something was asked of worlds of this server that had ended."""
        return self._fake.late_count

    def late_since(self, count: int) -> list[str]:
        """What was asked so after so many, as far as it is remembered."""
        return self._fake.late_since(count)

    def beside(self, settings: dict[str, Any]) -> Double:
        """A double with a world of its own on this server; ``settings`` are a world's, and were checked."""
        return Beside(self._fake, self._site, settings)

    def close(self) -> None:
        self.server.stop()


class Beside(Double):
    """A double that shares a server with others."""

    def __init__(self, fake: Fake, site: Site, settings: dict[str, Any]) -> None:
        self._fake, self._world = fake, fake.open(settings)
        self._site = site.rooted_in(self._world)

    @property
    def has_ended(self) -> bool:
        return self._world.id not in self._fake.worlds

    def close(self) -> None:
        self._fake.end(self._world)


def start(**settings: Any) -> Double:
    """A double behind a real server, on a free port unless ``port`` says otherwise; a context manager.

    Raises ``OSError`` where it cannot bind, ``TypeError`` and ``ValueError`` for wrong settings.
    """
    double = Started(values_of(settings))
    double.server.start()
    return double


_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}


def address_of(host: str, port: int) -> str:
    """The URL of what listens there."""
    return f"http://{_WILDCARDS.get(host) or (f'[{host}]' if ':' in host else host)}:{port}"
