"""A double behind some door, as the client of the checks sees a server."""

from __future__ import annotations

from kvfake.contract.checks.client import BOT, OTHER_PROJECT, PLAIN_USER, PROJECT, USER, ContractClient, Mismatch
from kvfake.http_client import ClientRequest, HttpClient, NoAnswer, RawConnection
from kvfake.services.messages import Response
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


class DoorClient(HttpClient):
    """A client that goes through that door. ``seconds`` is how long a silent server is waited for."""

    def __init__(self, door: Door, seconds: float = 10) -> None:
        super().__init__("http://double.example", seconds)
        self.door = door

    def send(self, request: ClientRequest) -> Response:
        try:
            return response_of(self.door.send(*request))
        except OSError as failed:
            raise NoAnswer(str(failed)) from None

    def connection(self) -> WireConnection:
        assert isinstance(self.door, SocketDoor)
        return WireConnection(Wire(self.door.port, self.seconds))


class WireConnection(RawConnection):
    """One connection of its own."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    def send(self, data: bytes, *_: object) -> None:
        self.wire.send(data)

    def receive(self, method: str = "GET", *_: object, **__: object) -> Response:
        try:
            return response_of(self.wire.reply(method))
        except OSError as failed:
            raise Mismatch(f"expected an answer, got none: {failed}") from None

    def is_closed(self) -> bool:
        try:
            return self.wire.is_closed()
        except TimeoutError:
            return False

    def close(self) -> None:
        self.wire.close()


def response_of(reply: Reply) -> Response:
    return Response(reply.status, tuple(reply.headers.items()), reply.body)


def client_of(door: Door, profile: str, seconds: float = 10) -> ContractClient:
    """Everybody of `WHO`, at that door."""
    return ContractClient(DoorClient(door, seconds), WHO, profile=profile)
