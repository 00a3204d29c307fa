"""The one place where a request is dealt with: find its world, have the service read it and answer it.

Law: it knows worlds and services, and nothing of sockets, threads or control. A request goes in, a response comes out.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping
from threading import Lock
from types import ModuleType
from typing import Any

from kvfake.services import mattermost, persist
from kvfake.services.message import Operation, Refusal, Request, Response
from kvfake.world.clock import machine_seconds
from kvfake.world.journal import Exchange
from kvfake.world.owners import Mint
from kvfake.world.world import World

WORLD_MARK = "/~"
MAX_LATE = 100


class Ended(Exception):
    """The world that a request belongs to has ended."""


class Fake:
    """All the worlds of one server: its own, at the root, and those that were opened beside it."""

    _seconds = staticmethod(machine_seconds)

    def __init__(self, url: str, settings: Mapping[str, Any]) -> None:
        self._lock = Lock()
        self._mint = Mint()
        self._mark = os.urandom(3).hex()  # tells this server's worlds from those of another one at the same address
        self._serial = 0
        self._settings = settings
        self.worlds: dict[str, World] = {}
        self._by_serial: dict[int, World] = {}
        self.late: deque[str] = deque(maxlen=MAX_LATE)  # what was refused because its world had ended
        self.own = World(self._mark, 0, url, self._mint, settings)

    @property
    def url(self) -> str:
        return self.own.url

    def open(self, settings: Mapping[str, Any]) -> World:
        """A new world beside the server's own, with these settings in place of the server's."""
        with self._lock:
            self._serial += 1
            serial = self._serial
        id = f"{self._mark}-{serial}"
        world = World(id, serial, self.url + WORLD_MARK + id, self._mint, {**self._settings, **settings})
        self.worlds[id] = self._by_serial[serial] = world
        return world

    def end(self, world: World) -> None:
        """From now on the world refuses; ending it twice does nothing."""
        self.worlds.pop(world.id, None)
        self._by_serial.pop(world.serial, None)

    def find(self, id: str) -> World | None:
        """The world of that id, or ``None`` where there never was one. Raises `Ended`."""
        world = self.own if id == self._mark else self.worlds.get(id)
        if world is None:
            mark, _, serial = id.partition("-")
            if mark == self._mark and serial.isdecimal() and 0 < int(serial) <= self._serial and id == f"{mark}-{int(serial)}":
                raise Ended(id)
        return world

    def answer(
        self, service: ModuleType, request: Request, path: bytes, query: bytes, base: bytes, world: World | None
    ) -> Response:
        """Deal with a request to a service. ``world`` is that of its address; with none, its token says which one it is."""
        began = self._seconds()
        token = service.token(request, query)
        if world is None:
            world = self._of_token(token)
        owner = world.owners.who(service.NAME, token)
        operation: Operation | None = None
        try:
            operation = service.read(request, path, query, base, owner)
        except Refusal as refusal:
            response = refusal.response
        with world.lock:
            if operation is not None:
                moment = world.clock.now() if operation.verb == "set" else 0
                response = service.answer(operation, world.store, world.profiles[service.NAME], moment)
            world.journal.add(Exchange(service.NAME, operation, owner, request, response, self._seconds() - began))
        return response

    def unmatched(self, request: Request, world: World | None, response: Response) -> Response:
        """Record what nobody answers."""
        world = world or self.own
        with world.lock:
            world.journal.add(Exchange(None, None, None, request, response, 0.0))
        return response

    def _of_token(self, token: bytes) -> World:
        """The world that issued the token, else the server's own. Raises `Ended`."""
        if self._serial == 0 or self.own.owners.knows(token):
            return self.own
        serial = self._mint.serial_of(token)
        if not serial:
            return self.own
        world = self._by_serial.get(serial)
        if world is None:
            raise Ended(f"{self._mark}-{serial}")
        return world


SERVICES: dict[str, ModuleType] = {service.NAME: service for service in (mattermost, persist)}
