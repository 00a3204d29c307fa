"""A double behind some door, as whoever asks for a contract sees a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kvfake.contract.call import Answer, Call, Differs, Unreachable
from kvfake.contract.caller import BOT, OTHER_PROJECT, PLAIN_USER, PROJECT, USER, Caller
from tests.support.doors import Door, SocketDoor
from tests.support.wire import Reply, Wire

WHO = {
    BOT: "bot-token",
    USER: "user-token",
    PLAIN_USER: "plain-user-token",
    PROJECT: "project-token",
    OTHER_PROJECT: "other-project-token",
}
"""Of ``tests.support.doors.TOKENS``."""


class DoorLine:
    """The way through that door. ``seconds`` is how long a silent server is waited for."""

    host = "double.example"

    def __init__(self, door: Door, seconds: float = 10) -> None:
        self.door, self.seconds = door, seconds

    def send(self, call: Call) -> Answer:
        try:
            return answer_of(self.door.send(*call), call)
        except OSError as failed:
            raise Unreachable(str(failed)) from None

    @contextmanager
    def talk(self) -> Iterator[WireTalk]:
        assert isinstance(self.door, SocketDoor)
        with Wire(self.door.port, self.seconds) as wire:
            yield WireTalk(wire)


class WireTalk:
    """One connection of its own."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    def send(self, data: bytes) -> None:
        self.wire.send(data)

    def answer(self, method: str = "GET") -> Answer:
        try:
            return answer_of(self.wire.reply(method), Call(method, "", {}))
        except OSError as failed:
            raise Differs(f"expected an answer, got none: {failed}") from None

    def is_closed(self) -> bool:
        try:
            return self.wire.is_closed()
        except TimeoutError:
            return False


def answer_of(reply: Reply, call: Call) -> Answer:
    return Answer(call, reply.status, {name.lower(): value for name, value in reply.headers.items()}, reply.body)


def caller_of(door: Door, profile: str, seconds: float = 10) -> Caller:
    """Everybody of `WHO`, at that door."""
    return Caller(DoorLine(door, seconds), WHO, profile=profile)
