"""Recordings of a double that stands for the real server, and what ``kvfake compare`` says of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import kvfake
from kvfake.contract.record import RecordingProxy
from kvfake.contract.recording import RecordingWriter
from kvfake.http.connection import Connection, Handler
from kvfake.http.router import incomplete_body
from kvfake.http.server import Server
from kvfake.http_client import HttpClient
from kvfake.services.messages import Request, Response, finished
from tests.support.doors import TOKENS, Door, SocketDoor, serving


@contextmanager
def recorded(path: Path, wrong: Any = None, wrong_wire: Any = None, against: str = "http://real.example") -> Iterator[SocketDoor]:
    """A server whose exchanges are kept in the file; ``wrong`` and ``wrong_wire`` are as of `serving`."""
    tape = RecordingWriter(str(path), against, pytest.fail)

    def keeping(answer: Handler) -> Handler:
        real = answer if wrong is None else wrong(answer)

        def kept(request: Request) -> Response:
            response = finished(real(request))
            if incomplete_body(request) is None:  # that is not passed on
                tape.write(request, response)
            return response

        return kept

    double = kvfake.Double(profile="plugin-1.2", strict=True, token=TOKENS)
    try:
        with serving(double, keeping, wrong_wire) as door:
            yield door
    finally:
        tape.close()


KV = "/plugins/com.mattermost.apps/api/v1/kv"


def an_app(door: Door) -> None:
    """What an app does on a day: it remembers, forgets and looks up, for itself and for a user, in both services."""

    def kv(method: str, key: str, value: str = "", token: str = "bot-token") -> None:
        door.send(method, f"{KV}/{key}", {"Authorization": f"Bearer {token}"}, value.encode())

    def persist(method: str, rest: str, payload: Any = None, token: str = "project-token") -> None:
        body = b"" if payload is None else json.dumps(payload).encode()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        door.send(method, f"/api/v1/persist/{rest}", headers, body)

    kv("GET", "name")
    kv("PUT", "name", '"Ada"')
    kv("POST", "p/name", '"Bob"')
    kv("PUT", "name", '{"of": "user"}', "user-token")
    kv("PUT", "p/name", '"Eve"', "user-token")
    kv("GET", "name")
    kv("GET", "p/name")
    kv("GET", "name", token="user-token")
    kv("PUT", "pa/name", "1")
    kv("PUT", "pb/name", "2")
    kv("GET", "pa/name")
    kv("PUT", "a%2520b", "1")
    kv("PUT", "a%20b", "2")
    kv("GET", "a%2520b")
    kv("PUT", "name", "no json")
    kv("DELETE", "p/name")
    kv("GET", "p/name")
    kv("GET", "name")
    kv("GET", "name", token="plain-user-token")
    kv("GET", "name", token="no-such-token")
    for key, value in (("convo::2", '{"step":1}'), ("convo::1", ""), ("name", "Ada")):
        persist("PUT", f"kv/{key}", {"value": value})
    persist("PUT", "kv/name", {"value": "Bob"}, "other-project-token")
    persist("GET", "kv/name")
    persist("GET", "kv/name", token="other-project-token")
    persist("GET", "kv?begins=convo::")
    persist("POST", "mget", {"keys": ["name", "nothing", "convo::1"]})
    persist("PUT", "kv/convo::2", {"value": "another's"}, "other-project-token")
    persist("POST", "mget", {"keys": ["name", "convo::2"]}, "other-project-token")
    persist("DELETE", "kv/name", token="other-project-token")
    persist("GET", "kv/name", token="other-project-token")
    persist("GET", "kv/name")
    persist("PUT", "kv/name", {"no": "value"})
    persist("GET", "kv/name", token="no-such-token")
    persist("GET", "kv/a%20key")


@contextmanager
def standing_before(real_url: str, path: Path) -> Iterator[str]:
    """The URL of a pass-through to the real server, whose exchanges are kept in the file."""
    tape = RecordingWriter(str(path), real_url, pytest.fail)
    through = RecordingProxy(HttpClient(real_url, 10), tape)
    server = Server(lambda: Connection(through.answer), "127.0.0.1", 0)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stop()
        tape.close()


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The exchanges in the file, as they stand there."""
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]
