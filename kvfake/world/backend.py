"""The one place where a request is dealt with: find its world, have the service read it and answer it.

Law: it knows worlds and services, and nothing of sockets, threads or control. A request goes in, a response comes out.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from threading import Lock
from types import ModuleType
from typing import TYPE_CHECKING, Any

from kvfake.errors import log_exception
from kvfake.services import mattermost, persist
from kvfake.services.messages import Operation, Refusal, Request, Response
from kvfake.stores import DiscardingStore, StoreReader
from kvfake.world.clock import machine_seconds
from kvfake.world.journal import Asked, Exchange
from kvfake.world.tokens import TokenIssuer
from kvfake.world.world import World

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from kvfake.world.faults import Fault


WORLD_MARK = "/~"
MAX_LATE_REQUESTS = 100
_SERIAL = re.compile("[1-9][0-9]{0,15}")
_BROKEN_FAULT = b"a function of a fault (when= or before=) raised an exception: its traceback is on stderr\n"


class Ended(Exception):
    """The world that a request belongs to has ended."""


class BrokenFault(Exception):
    """A user's function of a fault has failed; what is answered then."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


class Backend:
    """All the worlds of one server: its own, at the root, and those that were opened beside it."""

    seconds = staticmethod(machine_seconds)

    def __init__(self, url: str, settings: Mapping[str, Any], beside: Mapping[str, Any] | None = None) -> None:
        self._lock = Lock()
        self._issuer = TokenIssuer()
        self._mark = os.urandom(3).hex()  # tells this server's worlds from those of another one at the same address
        self._serial = 0
        self._beside = settings if beside is None else beside
        self.worlds: dict[str, World] = {}
        self._by_serial: dict[int, World] = {}
        self._late: deque[str] = deque(maxlen=MAX_LATE_REQUESTS)
        self.late_count = 0  # of what was refused because its world had ended
        self._listener: Callable[[World, Exchange], None] | None = None
        self.own = self._world(self._mark, 0, url, settings)

    @property
    def url(self) -> str:
        return self.own.url

    def open(self, settings: Mapping[str, Any]) -> World:
        """A new world beside the server's own, with these settings in place of those that such worlds have."""
        with self._lock:
            self._serial += 1
            serial = self._serial
        id = f"{self._mark}-{serial}"
        world = self._world(id, serial, self.url + WORLD_MARK + id, {**self._beside, **settings} if settings else self._beside)
        self.worlds[id] = self._by_serial[serial] = world
        return world

    def _world(self, id: str, serial: int, url: str, settings: Mapping[str, Any]) -> World:
        """A world that begins with what its seed holds. Raises ``ValueError`` for a file that is not right, or not there."""
        world = self._empty_world(id, serial, url, settings)
        if settings["seed"] is not None:
            from kvfake.world import datafile

            try:
                datafile.load(world, datafile.read(settings["seed"]))
            except OSError as failed:
                raise ValueError(f"seed: cannot read {settings['seed']}: {failed.strerror}") from None
            except ValueError as wrong:
                raise ValueError(f"seed: {wrong}") from None
        if self._listener is not None:
            world.journal.listen(partial(self._listener, world))
        return world

    def _empty_world(self, id: str, serial: int, url: str, settings: Mapping[str, Any]) -> World:
        return World(id, serial, url, self._issuer, settings)

    def listen(self, listener: Callable[[World, Exchange], None]) -> None:
        """Be told of every exchange of every world from now on, in its order."""
        self._listener = listener
        for world in (self.own, *self.worlds.values()):
            world.journal.listen(partial(listener, world))

    def note_late_request(self, what: str) -> None:
        """Remember what was asked of a world that had ended."""
        self.late_count += 1
        self._late.append(what)

    def late_since(self, count: int) -> list[str]:
        """What came after so many, as far as it is remembered."""
        late = list(self._late)
        return late[max(0, len(late) - (self.late_count - count)) :]

    def end(self, world: World) -> None:
        """From now on the world refuses; ending it twice does nothing."""
        self.worlds.pop(world.id, None)
        self._by_serial.pop(world.serial, None)

    def find(self, id: str) -> World | None:
        """The world of that id, or ``None`` where there never was one. Raises `Ended`."""
        world = self.own if id == self._mark else self.worlds.get(id)
        if world is None:
            mark, _, serial = id.partition("-")
            if mark == self._mark and _SERIAL.fullmatch(serial) and int(serial) <= self._serial:
                raise Ended(id)
        return world

    def answer(
        self, service: ModuleType, request: Request, path: bytes, query: bytes, base: bytes, world: World | None
    ) -> Response | Callable[[], Response]:
        """Deal with a request to a service: the response, or a job that makes it where a user's function is called on the way.
        ``world`` is that of its address; with none, its token says which one it is.
        """
        began = self.seconds()
        token = service.token(request, query)
        if world is None:
            world = self.of_token(token) if self._serial else self.own
        owner = world.owners.who(service.NAME, token)
        operation: Operation | None = None
        try:
            operation = service.read(request, path, query, base, owner)
        except Refusal as refusal:
            response = refusal.response
        if world.is_elsewhere or world.faults.active:
            asked = Asked(service.NAME, operation, owner, request, path, query)
            job = partial(self._answer_through_faults, service, asked, None if operation else response, world, began)
            return job if world.is_elsewhere or world.faults.call_out else job()
        with world.lock:
            if operation is not None:
                moment = world.clock.now() if operation.verb == "set" else 0
                response = service.answer(operation, world.store, world.profiles[service.NAME], moment)
            if world.journal.is_on:
                seconds = self.seconds() - began
                world.journal.record(service.NAME, operation, owner, request, path, query, response, seconds)
        return response

    def _answer_through_faults(
        self, service: ModuleType, asked: Asked, refused: Response | None, world: World, began: float
    ) -> Response:
        """The same, where a fault may be due. ``refused`` is the service's answer to a request that it will not do."""
        try:
            fault = self.match_fault(asked, world, began)
        except BrokenFault as broken:
            return broken.response
        with self._in_order(world):
            if fault is None:
                response = self._done(service, asked, refused, world)
            else:
                action = fault.action
                meant: Response | None = None
                if action.is_done:
                    meant = self._done(service, asked, refused, world)
                elif action.acknowledges:
                    meant = Response(200) if refused else _done_by(service, asked, world, DiscardingStore(world.store))
                response = action.answer(meant, service.failure)
            self._record(world, asked, response, began, fault)
        return response

    def _in_order(self, world: World) -> AbstractContextManager[Any]:
        """What is done in this block is recorded in the order in which it is done."""
        return world.lock

    def _done(self, service: ModuleType, asked: Asked, refused: Response | None, world: World) -> Response:
        """The service's answer, which has done what it was asked."""
        return refused or _done_by(service, asked, world, world.store)

    def match_fault(self, asked: Asked, world: World, began: float) -> Fault | None:
        """The fault that the request meets, which has run what it runs before. Raises `BrokenFault`."""
        fault: Fault | None = None
        try:
            fault = world.faults.due(asked)
            if fault is not None:
                fault.run_before(asked)
        except BaseException as broken:  # such as pytest's own
            response = Response(500, body=_BROKEN_FAULT)
            self._record(world, asked, response, began, fault)
            if not isinstance(broken, Exception):
                raise
            log_exception()
            raise BrokenFault(response) from None
        return fault

    def _record(self, world: World, asked: Asked, response: Response, began: float, fault: Fault | None) -> None:
        if world.journal.is_on:
            delay = response.wire_fault.delay if response.wire_fault is not None else 0.0
            with world.lock:
                world.journal.record(*asked.parts, response, self.seconds() - began + delay, fault)

    def beside(
        self, world: World, who: str | None, request: Request, path: bytes, query: bytes, response: Response, began: float
    ) -> None:
        """Record what was answered beside the stores: by ``who``, or by nobody."""
        self._record(world, Asked(who, None, None, request, path, query), response, began, None)

    def of_token(self, token: bytes) -> World:
        """The world that issued the token, else the server's own. Raises `Ended`."""
        if self.own.owners.knows(token):
            return self.own
        serial = self._issuer.serial_of(token)
        if not serial:
            return self.own
        world = self._by_serial.get(serial)
        if world is None:
            raise Ended(f"{self._mark}-{serial}")
        return world


def _done_by(service: ModuleType, asked: Asked, world: World, store: StoreReader) -> Response:
    response: Response = service.answer(asked.operation, store, world.profiles[service.NAME], world.clock.now())
    return response


SERVICES: dict[str, ModuleType] = {service.NAME: service for service in (mattermost, persist)}
