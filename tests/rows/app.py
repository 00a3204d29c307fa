"""What a check holds: a double behind some door, asked as an app would ask it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tests.support.doors import Door, SocketDoor
from tests.support.wire import Reply, Wire

KV = "/plugins/com.mattermost.apps/api/v1/kv"
API = "/api/v1"
TEXT = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}
JSON = {"Content-Type": "application/json"}


class App:
    def __init__(self, door: Door, profile: str) -> None:
        self.door, self.profile = door, profile

    @property
    def is_documented(self) -> bool:
        return self.profile == "documented"

    def kv(
        self,
        method: str,
        key: str,
        body: bytes | str = b"",
        token: str | None = "bot-token",
        headers: Mapping[str, str] | None = None,
        chunked: bool = False,
    ) -> Reply:
        """Ask the Mattermost service; ``key`` is the rest of the target as it stands."""
        sent = {"Authorization": f"Bearer {token}"} if token is not None else {}
        data = body.encode() if isinstance(body, str) else body
        return self.door.send(method, f"{KV}/{key}", {**sent, **(headers or {})}, data, chunked)

    def persist(self, method: str, path: str, payload: Any = None, token: str | None = "project-token", base: str = API) -> Reply:
        """Ask Persist; ``path`` is the rest of the target below ``/persist``."""
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token is not None else {})}
        body = payload if isinstance(payload, bytes) else b"" if payload is None else json.dumps(payload).encode()
        return self.door.send(method, f"{base}/persist{path}", headers, body)

    def set(self, key: str, value: str, token: str = "project-token") -> Reply:
        reply = self.persist("PUT", f"/kv/{key}", {"value": value}, token)
        assert reply.status == 200, reply
        return reply

    def keys(self, query: str = "", token: str = "project-token") -> Any:
        reply = self.persist("GET", f"/kv{query}", token=token)
        assert reply.status == 200, reply
        return reply.json()

    def raw(self, message: bytes) -> Reply:
        assert isinstance(self.door, SocketDoor)
        return self.door.raw(message)

    def wire(self) -> Wire:
        assert isinstance(self.door, SocketDoor)
        return Wire(self.door.port)


class Check(NamedTuple):
    row: str
    check: Callable[[App], None]
    socket_only: bool = False

    @property
    def name(self) -> str:
        return f"{self.row}-{self.check.__name__}"


CHECKS: list[Check] = []


def row(*ids: str, socket_only: bool = False) -> Callable[[Callable[[App], None]], Callable[[App], None]]:
    """Say which rows of the fact list a check is for."""

    def register(check: Callable[[App], None]) -> Callable[[App], None]:
        CHECKS.extend(Check(id, check, socket_only) for id in ids)
        return check

    return register
