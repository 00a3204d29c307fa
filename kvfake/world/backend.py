"""The one place where a request to a service is answered: find its world, have the service read it, look for a fault, have the
service answer it, write the journal.

Law: it knows worlds and services; nothing of sockets, threads or control. A request goes in, a response comes out.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from kvfake.errors import log_exception
from kvfake.fork import new_lock
from kvfake.lines import counted, tell
from kvfake.machine import machine_seconds
from kvfake.services import mattermost, persist
from kvfake.services.messages import Job, Lane, Operation, Refusal, Request, Response, Write
from kvfake.stores import DiscardingStore, StoreReader
from kvfake.world.hosts import AllowedHosts
from kvfake.world.journal import Exchange, JournalTotal
from kvfake.world.matching import IncomingRequest
from kvfake.world.pauses import Pauses
from kvfake.world.tokens import OWN_SERIAL, Stranger, TokenIssuer, TokenTable
from kvfake.world.world import World

if TYPE_CHECKING:
    from kvfake.world.faults import Fault

SERVICES: dict[str, ModuleType] = {service.NAME: service for service in (mattermost, persist)}

WORLD_MARK = "/~"
"""An address of a world is the server's, this mark, and the world's id."""

MAX_BODY_BYTES_IN_LOOP = 128 * 1024  # reading more JSON would hold other clients up for milliseconds
MAX_REQUESTS_AFTER_END = 100  # of which the texts are kept; all are counted
_SERIAL = re.compile("[1-9][0-9]{0,15}")
_BROKEN_FAULT = b"a function of a fault (when= or before=) raised an exception: its traceback is on stderr\n"

MakeWorld = Callable[[str, int, str, Mapping[str, Any], TokenIssuer], World]
"""Makes a world of an id, a serial number, an address and settings."""

Listener = Callable[[World, Exchange], None]
"""Hears of an exchange of a world. It must not block."""


class WorldEnded(Exception):
    """The world that a request belongs to has ended. The text is its id."""


def local_world(id: str, serial: int, url: str, settings: Mapping[str, Any], issuer: TokenIssuer) -> World:
    """A world in this process's memory."""
    return World(id, serial, url, settings, TokenTable(issuer, serial, settings["token"], settings["strict"]))


class Backend:
    """All the worlds of one server: its own, at the root, and those that were opened later, each at another address."""

    seconds = staticmethod(machine_seconds)

    def __init__(
        self,
        url: str,
        settings: Mapping[str, Any],
        defaults: Mapping[str, Any] | None = None,
        make_world: MakeWorld = local_world,
    ) -> None:
        """``settings`` are those of the server's own world; ``defaults`` those of the worlds that are opened, if they differ, and
        ``make_world`` makes these.
        """
        self._lock = new_lock()
        self._issuer = TokenIssuer()
        self._id = os.urandom(3).hex()  # tells this server's worlds from those of another server at the same address
        self._serial = OWN_SERIAL
        self._defaults = settings if defaults is None else defaults
        self._make_world = make_world
        self.worlds: dict[str, World] = {}
        self._by_serial: dict[int, World] = {}
        self.found_by_token: set[World] = set()
        """The worlds that a request belonged to by its token alone: it had no ``/~ID`` in its address."""
        self._after_end: deque[str] = deque(maxlen=MAX_REQUESTS_AFTER_END)
        self.after_end_count = 0  # of requests that were refused because their world had ended
        self._listeners: list[tuple[Listener, bool]] = []  # and whether it hears only of answers that were kinder
        self._journals = JournalTotal()
        self.exports_all_worlds = False
        self.exporting = new_lock()
        """Held by who writes the file of values: what was taken earlier never replaces what was taken later."""
        self.hosts = AllowedHosts("")
        """The names of the server."""
        self.own_world = self._seeded(local_world(self._id, OWN_SERIAL, url, settings, self._issuer))

    @property
    def url(self) -> str:
        return self.own_world.url

    # ---------------------------------------------------------------------------------------------------------- worlds

    def documents(self, document_of: Callable[[World], dict[str, Any]]) -> dict[str, Any]:
        """The file of values of the server's own world, and with ``exports_all_worlds`` of each other world, below ``worlds``."""
        data = document_of(self.own_world)
        if self.exports_all_worlds and self.worlds:
            data["worlds"] = {world.id: document_of(world) for world in list(self.worlds.values())}
        return data

    def open(self, settings: Mapping[str, Any]) -> World:
        """A new world with these settings, and defaults for the others. Raises ``ValueError`` for a seed that cannot be read."""
        with self._lock:
            self._serial += 1
            serial = self._serial
        id = f"{self._id}-{serial}"
        settings = {**self._defaults, **settings} if settings else self._defaults
        world = self._seeded(self._make_world(id, serial, self.url + WORLD_MARK + id, settings, self._issuer))
        self.worlds[id] = self._by_serial[serial] = world
        return world

    def _seeded(self, world: World) -> World:
        """The world, with the values of its seed, and with the listener on its journal."""
        seed = world.settings["seed"]
        if seed is not None:
            from kvfake.world import datafile

            try:
                left_out = datafile.load_file(world, seed)
                world.keep_seed()
            except OSError as failed:
                raise ValueError(f"seed: cannot read {seed}: {failed.strerror}") from None
            except ValueError as wrong:
                raise ValueError(f"seed: {wrong}") from None
            if left_out and world.serial == OWN_SERIAL:
                tell(f"{seed} also holds {counted(left_out, 'other world')}, left out here (kvfake load --from-world ID takes one)")
        for listener, only_kinder in self._listeners:
            world.journal.listen(partial(listener, world), only_kinder)
        self._journals.add(world.journal)
        return world

    def end(self, world: World) -> None:
        """End the world: a later request to it raises `WorldEnded`. Ending it twice does nothing."""
        self.worlds.pop(world.id, None)
        self._by_serial.pop(world.serial, None)
        self.found_by_token.discard(world)
        self._journals.remove(world.journal)
        if world.executor is not None:
            world.executor.close()

    def is_open(self, world: World) -> bool:
        """Whether the world has not ended."""
        return world is self.own_world or world.id in self.worlds

    def find(self, id: str) -> World | None:
        """The world of that id, or ``None`` where there never was one. Raises `WorldEnded`."""
        world = self.own_world if id == self._id else self.worlds.get(id)
        if world is None:
            own_id, _, serial = id.partition("-")
            if own_id == self._id and _SERIAL.fullmatch(serial) and int(serial) <= self._serial:
                raise WorldEnded(id)
        return world

    def world_of(self, token: bytes) -> World:
        """The world that issued the token, else the server's own. Raises `WorldEnded`."""
        if self.own_world.tokens.knows(token):
            return self.own_world
        serial = self._issuer.serial_of(token)
        if not serial:
            return self.own_world
        world = self._by_serial.get(serial)
        if world is None:
            raise WorldEnded(f"{self._id}-{serial}")
        return world

    def world_without_address(self, token: bytes) -> World:
        """`world_of`, for a request whose address names no world: it is remembered for reports."""
        world = self.world_of(token)
        if world.serial:
            self.found_by_token.add(world)
        return world

    # ------------------------------------------------------------------------------------------------------- listening

    def listen(self, listener: Listener, only_kinder: bool = False) -> None:
        """Call the listener, after those that listen already, with every exchange of every world from now on, in the order of each
        world; with ``only_kinder`` with those whose answer was kinder than the service's.
        """
        self._listeners.append((listener, only_kinder))
        for world in (self.own_world, *self.worlds.values()):
            world.journal.listen(partial(listener, world), only_kinder)

    def note_request_after_end(self, text: str) -> None:
        """Remember a request that was refused because its world had ended."""
        self.after_end_count += 1
        self._after_end.append(text)

    def requests_after_end(self, skip: int = 0) -> list[str]:
        """Those of the refused requests that are still remembered, without the first ``skip`` of all."""
        remembered = list(self._after_end)
        return remembered[max(0, len(remembered) - (self.after_end_count - skip)) :]

    # ------------------------------------------------------------------------------------------------------- answering

    def answer(self, service: ModuleType, request: Request, world: World | None, in_loop: bool = True) -> Response | Job:
        """The response to a request to a service, or, where making it may block or take long, a job that makes it. ``world`` is the
        one that the address names; where it names none, the token decides. ``in_loop``: whether other clients wait meanwhile.
        """
        began = self.seconds()
        token = service.token(request)
        if world is None:
            world = self.world_without_address(token) if self._serial else self.own_world
        if len(request.body) > MAX_BODY_BYTES_IN_LOOP and in_loop:
            call = partial(self.answer, service, request, world, in_loop=False)
            may_wait = world.executor is not None or any(fault.calls_functions for fault in world.faults.active)
            return Job(call, Lane.OTHER if may_wait else Lane.SERVICE)
        owner = world.tokens.owner_of(service.NAME, token)
        is_stranger = type(owner) is Stranger
        if is_stranger and self._is_of_foreign_page(request):
            owner, is_stranger = None, False
        operation: Operation | None = None
        try:
            operation = service.read(request, owner)
        except Refusal as refusal:
            response = refusal.response
        if world.executor is not None or world.faults.active:
            incoming = IncomingRequest(service.NAME, operation, owner, request)
            job = partial(self._answer_with_faults, service, incoming, None if operation else response, world, began)
            lane = Lane.OTHER if world.executor is not None else world.faults.lane(incoming)
            return job() if lane is None else Job(job, lane)
        with world.lock:
            if operation is not None:
                moment = world.clock.now() if operation.verb == "set" else 0
                response = service.answer(operation, world.store, world.profiles[service.NAME], moment)
                if not isinstance(response, Response):
                    incoming = IncomingRequest(service.NAME, operation, owner, request)
                    return Job(partial(self._write, response, service, incoming, world, began, None), Lane.SERVICE)
                if is_stranger:
                    response = _marked(response, service)
            if world.journal.is_on:
                world.journal.record(service.NAME, operation, owner, request, response, self.seconds() - began, None, began)
        return response

    def _is_of_foreign_page(self, request: Request) -> bool:
        """Whether a browser sent it for a page of another site, which must not write here with a token of its own making."""
        headers = request.headers
        if b"origin" not in headers and b"sec-fetch-site" not in headers:
            return False
        host, origin, site = (headers.get(name, b"").decode("latin-1") for name in (b"host", b"origin", b"sec-fetch-site"))
        return self.hosts.refusal(host, origin, site) is not None

    def _answer_with_faults(
        self, service: ModuleType, request: IncomingRequest, refusal: Response | None, world: World, began: float
    ) -> Response | Job:
        """The response where a fault may strike, or an executor does the operation. ``refusal`` is the service's, if it refuses."""
        fault: Fault | None = None
        try:
            fault = world.faults.match(request, world.clock.now)
            if fault is not None:
                fault.call_before(request)
        except BaseException as broken:  # BaseException: pytest's own exceptions are raised again, and end the test
            response = Response(500, body=_BROKEN_FAULT)
            self._record(world, request, response, began, fault)
            if not isinstance(broken, Exception):
                raise
            log_exception()
            return response
        with world.operation_lock:
            answer: Response | Write | None = None
            if fault is None or fault.action.is_done:
                if world.executor is not None:
                    answer = world.executor.execute(service, request)
                else:
                    answer = refusal or _answer(service, request, world, world.faults.view(world.store, fault))
            elif fault.action.answers_as_if_done:
                answer = Response(200) if refusal else _answer(service, request, world, DiscardingStore(world.store))
            if answer is not None and not isinstance(answer, Response):
                return Job(partial(self._write, answer, service, request, world, began, fault), Lane.SERVICE)
            return self._strike(answer, service, request, world, began, fault)

    def _write(
        self, write: Write, service: ModuleType, request: IncomingRequest, world: World, began: float, fault: Fault | None
    ) -> Response:
        """Write a large response, without a lock, and record it. So what is done meanwhile may stand in the journal before it."""
        response = write(Pauses())
        if type(request.owner) is Stranger:
            response = _marked(response, service)
        return self._strike(response, service, request, world, began, fault)

    def _strike(
        self,
        response: Response | None,
        service: ModuleType,
        request: IncomingRequest,
        world: World,
        began: float,
        fault: Fault | None,
    ) -> Response:
        """What goes out in place of the service's response where a fault strikes it. Recorded."""
        if fault is not None:
            response = fault.action.response(response, service, fault.turns.seconds_until_room(world.clock.now))
        assert response is not None
        self._record(world, request, response, began, fault)
        return response

    def _record(self, world: World, request: IncomingRequest, response: Response, began: float, fault: Fault | None) -> None:
        if world.journal.is_on:
            delay = response.wire_fault.delay if response.wire_fault is not None else 0.0
            duration = self.seconds() - began + delay
            with world.lock:
                world.journal.record(
                    request.service, request.operation, request.owner, request.message, response, duration, fault, began
                )

    def record_other(self, world: World, service: str | None, request: Request, response: Response, began: float) -> None:
        """Record an exchange that neither service answered. ``service`` is ``respond``, ``mount``, ``fallback``, or ``None``. Its
        owner is that of its token, if the world knows it.
        """
        tokens = [(one.NAME, one.token(request)) for one in SERVICES.values()]
        owners = (world.tokens.owner_of(name, token) for name, token in tokens if world.tokens.knows(token))
        owner = next((owner for owner in owners if owner is not None), None)
        self._record(world, IncomingRequest(service, None, owner, request), response, began, None)


def _answer(service: ModuleType, request: IncomingRequest, world: World, store: StoreReader) -> Response | Write:
    answer: Response | Write = service.answer(request.operation, store, world.profiles[service.NAME], world.clock.now())
    return _marked(answer, service) if type(request.owner) is Stranger and isinstance(answer, Response) else answer


def _marked(response: Response, service: ModuleType) -> Response:
    """The answer to a stranger, whom the real service does not know: it names the row."""
    rows = (service.UNKNOWN_TOKEN_ROW, *response.rows)
    return Response(response.status, response.headers, response.body, response.close, rows)  # a third of what `replace` takes
