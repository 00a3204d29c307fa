"""The double as a WSGI application, under servers that people use."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedReader, BytesIO, RawIOBase
from pathlib import Path
from typing import Any, cast

import pytest
import requests
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

import kvfake
from kvfake.contract.checks import CHECKS as EVERY_CHECK
from kvfake.contract.checks.expectations import Check
from kvfake.double import Double
from kvfake.http import connection as connection_module
from kvfake.http.parser import MAX_BODY_BYTES
from kvfake.http.router import call_application
from kvfake.http.wsgi import request_of
from kvfake.services.mattermost import KV
from kvfake.services.messages import Request, Response
from tests.support.doors import TOKENS, SocketDoor, WsgiDoor
from tests.support.lines import client_of
from tests.support.process import gunicorn
from tests.support.wire import Reply, Wire, request_bytes
from tests.support.wsgi import werkzeug_server

NOT_UNDER_A_SERVER = {
    "another_method_is_not_allowed",  # servers have an opinion on methods
    "a_method_is_known_in_its_own_case_alone",
}


class FreshDoor(SocketDoor):
    """A connection for each request: werkzeug's server keeps none."""

    def send(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"", chunked: bool = False
    ) -> Reply:
        with Wire(self.port) as wire:
            return wire.ask(request_bytes(method, target, {**(headers or {}), "Connection": "close"}, body, chunked))


@contextmanager
def gunicorn_server(profile: str) -> Iterator[int]:
    """``gunicorn kvfake:wsgi_app``, set up by the environment."""
    environ = {"KVFAKE_PROFILE": profile, "KVFAKE_STRICT": "1", "KVFAKE_TOKEN": " ".join(TOKENS)}
    with gunicorn("kvfake:wsgi_app", "--threads", "4", "--keep-alive", "30", **environ) as (port, _):
        yield port


CHECKS = [check for check in EVERY_CHECK if not check.needs_socket and check.title not in NOT_UNDER_A_SERVER]


@pytest.fixture(scope="module", params=["werkzeug", "gunicorn"])
def served(request: pytest.FixtureRequest) -> Iterator[tuple[Double, int]]:
    if request.param == "werkzeug":
        double = kvfake.Double(profile="plugin-1.2", strict=True, token=TOKENS)
        with werkzeug_server(double.wsgi_app) as port:
            yield double, port
    else:
        with gunicorn_server("plugin-1.2") as port:
            yield kvfake.Double(), port


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_the_row_holds_under_a_server(served: tuple[Double, int], check: Check) -> None:
    """What the rows say holds behind somebody else's server too."""
    double, port = served
    with Wire(port) as wire:
        assert (
            wire.ask(
                request_bytes("POST", "/_kvfake/reset", {"Host": "localhost"}).replace(b"Host: double.example\r\n", b"")
            ).status
            == 200
        )
    door = FreshDoor(double, port)
    door.wire.close()
    check.run(client_of(door, "plugin-1.2"))


def test_werkzeugs_test_client() -> None:
    """No server at all."""
    double = kvfake.Double()
    client = Client(double.wsgi_app)
    assert client.put(f"{KV}/a b", data=b"1", headers=double.mattermost.headers).data == b'{"changed":true}\n'
    assert double.mattermost["a b"] == 1
    assert client.get("/persist/kv?begins=é", headers=double.persist.headers).json == []
    assert client.get(f"{KV}/key", headers=double.mattermost.headers).headers["Content-Type"] == "application/json"
    assert client.head("/nothing").data == b""
    assert client.get("/_kvfake/health").json["status"] == "ok"  # type: ignore[index]


def test_a_reply_names_the_rows_in_which_it_was_kinder() -> None:
    """As over a socket."""
    double = kvfake.Double()
    reply = Client(double.wsgi_app).put(f"{KV}/my-app/key", data=b"1", headers=double.mattermost.headers)
    assert reply.headers["Kvfake-Rows"] == "M15"


def test_below_another_application() -> None:
    """Where it lies is part of the site URL, and of the address that an unclean path is sent to."""
    double = kvfake.Double()
    client = Client(DispatcherMiddleware(lambda *_: [], {"/chat": double.wsgi_app}))
    assert client.put(f"/chat{KV}/p/k", data=b"1", headers=double.mattermost.headers).status_code == 200
    assert double.mattermost.with_prefix("p")["k"] == 1
    assert client.get(f"/chat{KV}//k?x=1").headers["Location"] == f"/chat{KV}/k?x=1"


def test_a_large_body_is_read_to_its_end() -> None:
    """And the next request is fine."""
    double = kvfake.Double()
    with werkzeug_server(double.wsgi_app) as port, requests.Session() as session:
        url = f"http://127.0.0.1:{port}{KV}/key"
        for _ in range(2):
            assert session.put(url, data=b"x" * 5_000_000, headers=double.mattermost.headers).text == "size limit of 8Kb exceeded\n"
            assert session.put(url, data=(b"1" for _ in range(3)), headers=double.mattermost.headers).status_code == 200
        assert double.mattermost["key"] == 111


def test_the_modules_own_application() -> None:
    """``kvfake.wsgi_app`` is one application, made when it is first asked for, with the environment's settings."""
    script = "import kvfake, werkzeug.test as t; print(t.Client(kvfake.wsgi_app).get('/_kvfake/health').text)"
    script += "; print(kvfake.wsgi_app is kvfake.wsgi_app)"
    environment = {**os.environ, "KVFAKE_PROFILE": "plugin-1.2", "KVFAKE_PUBLIC_URL": "http://kv.example:8000/"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment, cwd=Path.cwd()
    )
    assert '"url": "http://kv.example:8000"' in done.stdout
    assert '"profile": "plugin-1.2"' in done.stdout
    assert done.stdout.endswith("True\n")


@pytest.mark.parametrize(("raw", "status"), [("/persist/kv/%zz", 400), ("/elsewhere", 200), ("http://x/elsewhere", 200), ("", 200)])
def test_a_raw_target_counts_where_it_means_the_path(raw: str, status: int) -> None:
    """Where a middleware has led the request elsewhere, the path counts."""
    double = kvfake.Double()
    environ = WsgiDoor(double).environ("GET", "/persist/kv?begins=a", {"Authorization": f"Bearer {double.persist.token}"}, b"")
    started: list[str] = []
    list(double.wsgi_app({**environ, "REQUEST_URI": raw}, lambda status, headers: started.append(status)))
    assert int(started[0].split()[0]) == status


def test_an_application_gets_the_parts_of_a_request() -> None:
    """Any WSGI application: what it writes, returns and closes."""
    closed: list[bool] = []

    class Body(list[bytes]):
        def close(self) -> None:
            closed.append(True)

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("299 Fine", [("X", "y"), ("Content-Length", "99")])
        write(environ["wsgi.input"].read())
        return (Body if environ["QUERY_STRING"] else list)([environ["SCRIPT_NAME"].encode(), environ["PATH_INFO"].encode()])

    request = Request("PUT", b"", {b"host": b"x", b"content-type": b"text/plain", b"content-length": b"4"}, b"body")
    for query in (b"a", b""):
        assert call_application(application, request.replace(query=query), b"/a b", b"/c/d", {}) == Response(
            299, (("X", "y"),), b"body/a b/c/d"
        )
    assert closed == [True]


# ------------------------------------------------------------------------------------------- bodies, and where they come to an end


class Endless:
    """The input of a server that reads no chunks: whoever reads beyond the body waits for ever."""

    def read(self, size: int = -1) -> bytes:
        raise AssertionError("nobody knows where this body ends")


CHUNKED = {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}


def answered(double: Double, **environ: Any) -> Reply:
    """The answer to a set of 1 to the key k, called by a server that passes this."""
    started: list[Any] = []
    called = {**WsgiDoor(double).environ("PUT", f"{KV}/k", double.mattermost.headers, b"1"), **environ}
    body = b"".join(double.wsgi_app(called, lambda status, headers: started.extend([status, headers])))
    return Reply(int(started[0][:3]), dict(started[1]), body, started[0][4:])


@pytest.mark.parametrize(
    "server",
    [
        {"wsgi.input_terminated": True},  # gunicorn, waitress, werkzeug, gevent, cheroot
        {},  # uvicorn, hypercorn: the body, whole
        {"asgi.scope": {}, "wsgi.input": BufferedReader(cast(RawIOBase, BytesIO(b"1")))},  # a2wsgi
    ],
    ids=["terminated", "whole", "asgi"],
)
def test_a_chunked_body_whose_end_is_known(server: dict[str, Any]) -> None:
    """Whether the server says so, passes the whole of it, or is a server of ASGI."""
    double = kvfake.Double()
    assert answered(double, **CHUNKED, **server).status == 200
    assert double.mattermost["k"] == 1


@pytest.mark.parametrize("length", ["", "1"])
def test_a_chunked_body_whose_end_is_not_known(length: str) -> None:
    """As with wsgiref: refused, with the reason; not a byte is read, and nothing is taken for the body."""
    double = kvfake.Double()
    refused = answered(double, **{**CHUNKED, "CONTENT_LENGTH": length}, **{"wsgi.input": Endless()})
    assert refused.status == 411
    assert "chunked" in refused.json()["error"]
    assert refused.headers["Content-Length"] == str(len(refused.body))
    assert "k" not in double.mattermost


@pytest.mark.parametrize("length", ["x", "-1", "+1", "1_0", "²"])
def test_a_length_that_is_no_number(length: str) -> None:
    """Some servers pass it as it came."""
    refused = answered(kvfake.Double(), CONTENT_LENGTH=length)
    assert (refused.status, "Content-Length" in refused.json()["error"]) == (400, True)


def test_a_body_that_is_too_long_is_not_kept() -> None:
    """It is read to its end, for the connection's sake; a byte more than 64 MiB is kept, by which it is seen."""

    class Upload:
        left = MAX_BODY_BYTES + (5 << 20)

        def read(self, size: int) -> bytes:
            size = min(size, self.left)
            self.left -= size
            return bytes(size)

    upload = Upload()
    environ = {**WsgiDoor(kvfake.Double()).environ("PUT", "/x", {}, b""), "wsgi.input": upload, "CONTENT_LENGTH": str(upload.left)}
    request = request_of(environ)
    assert (upload.left, len(request.body), request.body_error) == (0, MAX_BODY_BYTES + 1, "")


def test_cheroot_leaves_an_encoded_slash() -> None:
    """In PATH_INFO; it parts prefix and key, as behind every other server, and a name with a percent sign stays one."""
    double = kvfake.Double()
    assert answered(double, PATH_INFO=f"{KV}/p%2Fb", REQUEST_URI=f"{KV}/p%2Fb").status == 200
    assert answered(double, PATH_INFO=f"{KV}/p%2Fb", REQUEST_URI=f"{KV}/p%252Fb", CONTENT_LENGTH="0").status == 400
    assert dict(double.mattermost) == {}
    assert dict(double.mattermost.with_prefix("p")) == {"b": 1}


def test_below_another_application_a_raw_target_says_nothing() -> None:
    """It begins with the place of the application: the path counts, whatever it looks like."""
    double = kvfake.Double()
    environ = WsgiDoor(double).environ("GET", "/persist/kv", double.persist.headers, b"")
    for raw in ("/chat/persist/kv/%zz", "/persist/kv/%zz"):
        request = request_of({**environ, "SCRIPT_NAME": "/chat", "RAW_URI": raw})
        assert request.target == b"/persist/kv"


def test_the_server_adds_the_date() -> None:
    """Every WSGI server does, so the application sends none."""
    assert "Date" not in answered(kvfake.Double()).headers


def test_a_slow_answer_takes_its_time_behind_any_server() -> None:
    """One that lends no socket gets the body in pieces, over that time."""
    double = kvfake.Double()
    double.faults.add(delay={"over": 0.2})
    environ = WsgiDoor(double).environ("PUT", f"{KV}/k", double.mattermost.headers, b"1")
    began = time.monotonic()
    pieces = list(double.wsgi_app(environ, lambda status, headers: None))
    assert time.monotonic() - began >= 0.18
    assert len(pieces) > 1
    assert b"".join(pieces) == b'{"changed":true}\n'


@pytest.mark.parametrize("client", ["silent", "dripping", "flooding", "gone"])
def test_a_silence_on_a_lent_socket_has_a_bound(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a whole: a client that goes on sending does not prolong it, and one that ends its side ends it."""
    monkeypatch.setattr(connection_module, "MAX_HANG_SECONDS", 0.2 if client != "gone" else 60)
    double = kvfake.Double()
    double.faults.add(sever="silence")
    ours, theirs = socket.socketpair()
    stop = threading.Event()
    sending = threading.Thread(target=drip if client == "dripping" else flood, args=(theirs, stop))
    with ours, theirs:
        if client in ("dripping", "flooding"):
            sending.start()
        elif client == "gone":
            theirs.shutdown(socket.SHUT_WR)
        began = time.monotonic()
        with pytest.raises(ConnectionResetError):
            answered(double, **{"werkzeug.socket": ours})
        assert (0.15 if client != "gone" else 0) <= time.monotonic() - began < 10
        stop.set()
        if sending.ident is not None:
            sending.join()


def flood(sock: socket.socket, stop: threading.Event) -> None:
    sock.setblocking(False)
    while not stop.is_set():
        with suppress(BlockingIOError):
            sock.send(b"x" * 65_536)


def drip(sock: socket.socket, stop: threading.Event) -> None:
    for _ in range(1000):
        if stop.wait(0.01):
            return
        sock.send(b"x")
