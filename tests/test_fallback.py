"""The fallback: the upstream URL for requests that kvfake does not handle."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

import kvfake
from kvfake import http_client
from kvfake.double import Double
from kvfake.http.parser import MAX_BODY_BYTES
from kvfake.services.mattermost import KV
from kvfake.world.pauses import Pauses
from tests.support.doors import DOORS, Door, SocketDoor, opened
from tests.support.served import doubles_of
from tests.support.wire import Reply, Wire, request_bytes


class QuietHandler(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        pass


@Request.application
def echo(request: Request) -> Response:
    """Answers with what it was asked."""
    asked = {
        "method": request.method,
        "target": request.environ["REQUEST_URI"],
        "headers": dict(request.headers),
        "body": request.get_data().hex(),
    }
    return Response(json.dumps(asked), 299, {"X-Answer": "a", "Content-Type": "application/json"})


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The URL of a real server."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=QuietHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module", name="url")
def _url() -> Iterator[str]:
    with serving(echo) as url:
        yield url


@contextmanager
def saying(*pieces: bytes, until: Callable[[], bool] = lambda: True) -> Iterator[str]:
    """The URL of a server that says these bytes to one client, and the last of them again until it is enough."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                client, _ = listener.accept()
                with client:
                    client.settimeout(10)
                    heard = client.recv(65_536)
                    while not heard.endswith(b"\r\n\r\n"):
                        heard += client.recv(65_536)
                    for piece in pieces:
                        client.sendall(piece)
                    while not until():
                        client.sendall(pieces[-1])

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.close()
            thread.join()


def asked(reply: Reply) -> dict[str, Any]:
    """What the echo was asked."""
    assert reply.status == 299
    return dict(reply.json())


# ------------------------------------------------------------------------------------------------------------ what is passed on


@pytest.mark.parametrize("door", DOORS)
def test_a_request_without_a_route_is_passed_on(door: str, url: str) -> None:
    """Method, path, query, headers and body there; status, headers and body back. The journal shows both."""
    with opened(door, fallback=url) as one:
        reply = one.send("PATCH", "/api/v4/a%20b/c?x=%20y&z", {"X-More": "m", "Content-Type": "text/x"}, b"\xff\0")
        seen = asked(reply)
        assert (seen["method"], seen["target"], bytes.fromhex(seen["body"])) == ("PATCH", "/api/v4/a%20b/c?x=%20y&z", b"\xff\0")
        assert seen["headers"].items() >= {"X-More": "m", "Content-Type": "text/x", "Content-Length": "2"}.items()
        assert seen["headers"]["Host"] == url.removeprefix("http://")
        assert reply.headers["X-Answer"] == "a"
        (exchange,) = one.double.journal
        assert (exchange.service, exchange.path, exchange.status) == ("fallback", "/api/v4/a%20b/c?x=%20y&z", 299)
        assert (exchange.request.body, exchange.response.body) == (b"\xff\0", reply.body)
        assert one.double.journal.unmatched == []


@pytest.mark.parametrize("door", DOORS)
def test_stores_and_routes_come_before_the_fallback(door: str, url: str) -> None:
    """Also below their unclean paths; other plugins are the fallback's."""
    with opened(door, fallback=url, allow_host=["double.example"]) as one:
        one.double.respond("GET", "/here", body="here")
        one.double.mount("/mounted", lambda environ, start: [start("200 OK", []), b"mounted"][1:])
        assert one.send("GET", f"{KV}/k", one.double.mattermost.headers).text == "{}"
        assert one.send("GET", f"{KV}//k", one.double.mattermost.headers).status == 301
        assert one.send("GET", "/%70ersist/kv", one.double.persist.headers).text == "[]"
        assert one.send("GET", "/_kvfake/health").status == 200
        assert [one.send("GET", path).text for path in ("/here", "/mounted/x")] == ["here", "mounted"]
        for path in ("/", "/persist", "/plugins/playbooks/x", "/plugins/com.mattermost.apps/api/v1/subscribe", "/plugins//x"):
            assert asked(one.send("GET", path))["target"] == path


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS", "POST", "PUT", "MKCOL"])
def test_any_method_is_passed_on(method: str, url: str) -> None:
    """With a length where a body is expected, even an empty one."""
    with opened("socket", fallback=url) as one:
        seen = asked(one.send(method, "/x"))
        assert seen["method"] == method
        assert seen["headers"].get("Content-Length") == ("0" if method in ("POST", "PUT") else None)


def test_a_head_is_passed_on(url: str) -> None:
    """And has no body."""
    with opened("socket", fallback=url) as one:
        reply = one.send("HEAD", "/x")
        assert (reply.status, reply.headers["X-Answer"], reply.body) == (299, "a", b"")
        assert one.send("GET", "/y").status == 299


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("length", [b"Content-Length: 12345\r\n", b""])
def test_head_keeps_the_length_of_what_a_get_would_bring(door: str, length: bytes) -> None:
    """Where the other server tells it; where it does not, nothing is made up."""
    with saying(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n") as url, opened(door, fallback=url) as one:
        reply = one.send("HEAD", "/x")
        assert (reply.status, reply.body) == (200, b"")
        assert reply.headers.get("Content-Length") == (length[16:-2].decode() or None)


def test_a_target_that_is_no_ascii_is_passed_on_in_ascii(url: str) -> None:
    """Clients send raw UTF-8; what is encoded already stays as it is."""
    with opened("socket", fallback=url) as one:
        assert asked(one.send("GET", "/\u00e9/%C3%A9/%2F?q=\u00e9"))["target"] == "/%C3%A9/%C3%A9/%2F?q=%C3%A9"


def test_the_fallback_may_lie_below_a_path(url: str) -> None:
    """And the double too: what is passed on is below the address of the world."""
    with opened("socket", fallback=f"{url}/b\u00e4se/", site_path="/mm") as one:
        world = one.double._backend.open({})
        assert asked(one.send("GET", "/mm/x?y"))["target"] == "/b%C3%A4se/x?y"
        assert asked(one.send("GET", f"/mm/~{world.id}/x"))["target"] == "/b%C3%A4se/x"
        assert one.send("GET", "/x").status == 404


def test_a_target_that_is_no_path_is_not_passed_on(url: str) -> None:
    """It is about the server itself."""
    with opened("socket", fallback=url) as one:
        assert [one.send("OPTIONS", "*").status, one.send("CONNECT", "host:80").status] == [404, 404]
        assert [exchange.path for exchange in one.double.journal.unmatched] == ["*", "host:80"]


@pytest.mark.parametrize("door", DOORS)
def test_headers_of_one_connection_are_not_passed_on(door: str, url: str) -> None:
    """Those that are about it by their nature, and those that it names."""
    sent = {
        "Connection": "keep-alive, X-Hop ,x-other",
        "X-Hop": "1",
        "X-Other": "2",
        "Keep-Alive": "timeout=5",
        "Proxy-Connection": "keep-alive",
        "TE": "trailers",
        "Trailer": "X",
        "X-Stays": "3",
        "Accept-Encoding": "br",
        "Via": "1.1 somebody",
    }
    with opened(door, fallback=url) as one:
        seen = asked(one.send("GET", "/x", sent))["headers"]
        assert seen.keys() == {"Host", "X-Stays", "Accept-Encoding", "Via"}
        assert re.fullmatch(r"1\.1 somebody, 1\.1 kvfake-[0-9a-f]+", seen["Via"])


def test_headers_of_the_answers_connection_are_not_passed_on_either() -> None:
    """What is left comes as it was: several of one name, a folded one on one line."""
    head = (
        b"HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nTransfer-Encoding: chunked\r\n"
        b"Set-Cookie: a=b\r\nSet-Cookie: c=d\r\nX-Long: one\r\n  two\r\n\r\n"
    )
    with saying(head, b"4\r\nbody\r\n0\r\n\r\n") as url, opened("socket", fallback=url) as one:
        assert one.send("GET", "/x").text == "body"
        assert one.double.journal[0]._response.headers == (("Set-Cookie", "a=b"), ("Set-Cookie", "c=d"), ("X-Long", "one two"))


@pytest.mark.parametrize("door", DOORS)
def test_a_redirect_is_passed_on_and_not_followed(door: str) -> None:
    """It is for the client to follow."""
    with (
        saying(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n") as url,
        opened(door, fallback=url) as one,
    ):
        reply = one.send("GET", "/x")
        assert (reply.status, reply.headers["Location"]) == (302, "/elsewhere")


@pytest.mark.parametrize("status", [204, 304, 404, 500, 599])
def test_any_status_is_passed_on(status: int) -> None:
    """Also those that have no body, and those that are errors."""
    with saying(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status) as url, opened("socket", fallback=url) as one:
        assert one.send("GET", "/x").status == status
        assert one.send("GET", "/persist/kv", one.double.persist.headers).text == "[]"


def test_an_answer_that_ends_with_its_connection() -> None:
    """As HTTP/1.0 has them."""
    with saying(b"HTTP/1.0 200 OK\r\n\r\n", b"body") as url, opened("socket", fallback=url) as one:
        assert one.send("GET", "/x").text == "body"


@pytest.mark.parametrize("door", DOORS)
def test_a_large_upload_arrives_whole(door: str, url: str) -> None:
    """Larger than what any service takes, and back again."""
    upload = bytes(range(256)) * (3 * 4096)
    with opened(door, fallback=url) as one:
        assert bytes.fromhex(asked(one.send("POST", "/x", {}, upload))["body"]) == upload


def test_an_upload_that_is_not_whole_is_not_passed_on(url: str) -> None:
    """Too large, or broken off."""
    with opened("socket", fallback=url) as one:
        assert isinstance(one, SocketDoor)
        assert one.send("POST", "/x", {}, bytes(MAX_BODY_BYTES + 1)).status == 413
        with Wire(one.port) as wire:
            wire.send(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
            wire.end_of_sending()
            assert wire.reply().status == 400


def test_another_double_may_be_the_fallback() -> None:
    """With neighbours of its own; tokens are passed on as they are."""
    with kvfake.start() as other, opened("socket", fallback=other.url) as one:
        other.respond("POST", "/api/v4/posts", json={"id": "p"})
        headers = one.double.mattermost.headers
        assert one.send("POST", "/api/v4/posts", headers, b"{}").json() == {"id": "p"}
        assert one.send("GET", "/nowhere").status == 404
        assert [exchange.service for exchange in one.double.journal] == ["fallback", "fallback"]
        assert [exchange.service for exchange in other.journal] == ["respond", None]


def test_each_world_has_its_own_fallback(url: str) -> None:
    """Or none."""
    with opened("socket") as one:
        world = one.double._backend.open({"fallback": url})
        assert asked(one.send("GET", f"/~{world.id}/x"))["target"] == "/x"
        token = world.token("mattermost", "app/bot")
        assert asked(one.send("GET", "/x", {"Authorization": f"Bearer {token}"}))["headers"]["Authorization"] == f"Bearer {token}"
        assert one.send("GET", "/x").status == 404


# ---------------------------------------------------------------------------------------------------------- when none comes back


def refusal(one: Door, status: int = 502) -> str:
    """Why there was no answer; that it is in the journal, and that the next request is served."""
    reply = one.send("GET", "/x")
    assert (reply.status, reply.headers["Content-Type"]) == (status, "application/json")
    assert (one.double.journal[-1].service, one.double.journal[-1].status) == ("fallback", status)
    assert one.send("GET", "/persist/kv", one.double.persist.headers).text == "[]"
    return str(reply.json()["error"])


@pytest.mark.parametrize("door", DOORS)
def test_a_dead_fallback_is_a_502(door: str) -> None:
    """With its address and the reason."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with opened(door, fallback=url) as one:
        assert re.fullmatch(rf"the fallback {url} did not answer: .*Connection refused", refusal(one))


OK = b"HTTP/1.1 200 OK\r\n"


def test_an_answer_that_is_not_final_is_not_passed_on() -> None:
    """The final one follows it (RFC 9110, 15.2)."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
    with saying(hints + OK + b"Content-Length: 2\r\n\r\nok") as url, opened("socket", fallback=url) as one:
        reply = one.send("GET", "/api/v4/teams")
        assert (reply.status, reply.text, "Link" in reply.headers) == (200, "ok", False)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "Remote end closed connection without response"),
        (b"nonsense\r\n\r\n", "nonsense"),
        (OK + b"Content-Length: 10\r\n\r\nhalf", "it ended 6 bytes early"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\na\r\nhalf", "IncompleteRead"),
        (OK + b"X: y\0z\r\nContent-Length: 0\r\n\r\n", "headers: expected a name, and a value of Latin-1 on one line"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", "Remote end closed connection without response"),
        (b"HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n", "status: expected a whole number from 200 to 599, got 999"),
        (OK + b"X: y\r\n" * 101 + b"\r\n", "got more than 100 headers"),
    ],
)
def test_an_answer_that_cannot_be_passed_on_is_a_502(answer: bytes, words: str) -> None:
    """With what is wrong with it; half an answer is none."""
    with saying(answer) as url, opened("socket", fallback=url) as one:
        text = refusal(one)
        assert text.startswith(f"the fallback {url} did not answer: ")
        assert words in text


def test_an_unexpected_error_while_it_is_asked_is_a_500(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of kvfake, not of the fallback; the traceback is on stderr, and the next request is served."""

    def broken(*_: object) -> None:
        raise RuntimeError("nobody thought of this")

    with opened("wsgi", fallback=url) as one:
        with monkeypatch.context() as patched:
            patched.setattr(http_client.HttpClient, "forward", broken)
            assert refusal(one, 500) == "unexpected error in kvfake: its traceback is on stderr"
        assert "RuntimeError: nobody thought of this" in capsys.readouterr().err


def test_a_silent_fallback_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After half a minute of silence."""
    assert http_client.MAX_SILENCE_SECONDS == 30
    monkeypatch.setattr(http_client, "MAX_SILENCE_SECONDS", 0.05)
    done = threading.Event()
    with saying(b"", until=lambda: done.wait(10)) as url, opened("socket", fallback=url) as one:
        assert refusal(one).endswith("timed out")
        done.set()


def test_an_endless_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many bytes, which bounds what it takes."""
    assert http_client.MAX_RESPONSE_BYTES == MAX_BODY_BYTES
    monkeypatch.setattr(http_client, "MAX_RESPONSE_BYTES", 1_000_000)
    with saying(OK + b"\r\n", b"x" * 100_000, until=lambda: False) as url, opened("socket", fallback=url) as one:
        assert refusal(one).endswith("did not answer: more than 1000000 bytes")


def test_an_answer_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After so long, though it is never silent."""
    monkeypatch.setattr(http_client, "MAX_FORWARD_SECONDS", 1.0)
    with saying(OK + b"\r\n", b"x", until=lambda: False) as url, opened("socket", fallback=url) as one:
        assert refusal(one).endswith("did not answer: not whole after 1 seconds")


def test_the_whole_time_counts_in_a_silence_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says that the whole response took too long, and not that the server was silent."""
    monkeypatch.setattr(http_client, "MAX_FORWARD_SECONDS", 0.5)
    done = threading.Event()
    with saying(b"", until=lambda: done.wait(10)) as url, opened("socket", fallback=url) as one:
        assert refusal(one).endswith("did not answer: not whole after 0.5 seconds")
        done.set()


def test_a_fallback_with_https(url: str) -> None:
    """Is asked so, and must be what it says."""
    with opened("socket", fallback=url.replace("http:", "https:")) as one:
        assert "SSL" in refusal(one)


def test_a_fallback_with_an_unknown_host() -> None:
    """Is an answer too."""
    with opened("site", fallback="http://" + "a" * 70 + ".invalid") as one:
        assert "too long" in refusal(one)


def test_a_header_with_a_line_break_is_not_passed_on(url: str) -> None:
    """It could be taken for the beginning of another one. A folded header is on one line by then."""
    with opened("wsgi", fallback=url) as one:
        assert one.send("GET", "/x", {"X-More": "a\rX-Forged: b"}).json() == {
            "error": f"the fallback {url} did not answer: a line of the request holds a line break"
        }


# ------------------------------------------------------------------------------------------------------------------ at once


def test_one_thread_at_a_time_reads_what_fallbacks_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """And others go first whenever it has gone on for a while: many answers at once leave the loop its part of the interpreter.
    That holds for all worlds of a server, over a socket and in this process.
    """
    reading: list[int] = []
    most = 0

    class Watched(Pauses):
        def __call__(self) -> None:
            nonlocal most
            reading.append(threading.get_ident())
            most = max(most, len(set(reading)))
            time.sleep(0.001)
            reading.remove(threading.get_ident())

    monkeypatch.setattr(http_client, "Pauses", Watched)
    upload = bytes(300_000)
    with serving(lambda environ, start: [start("200 OK", []), upload][1:]) as url, kvfake.start(fallback=url) as double:
        world = doubles_of(double).open({"fallback": url})
        apps = [Client(world.wsgi_app) for _ in range(4)]
        with ExitStack() as stack, ThreadPoolExecutor() as pool:
            wires = [stack.enter_context(Wire(int(double.url.rpartition(":")[2]))) for _ in range(4)]
            for wire in wires:
                wire.send(request_bytes("GET", "/x"))
            bodies = [*pool.map(lambda app: app.get("/x").data, apps), *(wire.reply().body for wire in wires)]
    assert bodies == [upload] * 8
    assert most == 1


# -------------------------------------------------------------------------------------------------------------------- circles


def lead(double: Double, url: str) -> None:
    """Let the double fall back to the URL from now on."""
    double._world.settings = {**double._world.settings, "fallback": url}


def test_a_fallback_that_leads_back_is_a_508() -> None:
    """At once, however many ask: no request waits for its own answer."""
    with kvfake.start() as double:
        lead(double, double.url)
        port = int(double.url.rpartition(":")[2])
        wires = [Wire(port) for _ in range(40)]
        for wire in wires:
            wire.send(request_bytes("GET", "/x"))
        for wire in wires:
            reply = wire.reply()
            assert (reply.status, reply.json()) == (508, {"error": f"the fallback {double.url} leads back here"})
            wire.close()
        assert {(exchange.service, exchange.status) for exchange in double.journal} == {("fallback", 508)}
        assert len(double.journal) == 80


def test_a_circle_of_servers_is_a_508_too() -> None:
    """It is found by who comes round to itself."""
    with kvfake.start() as one, kvfake.start() as two:
        lead(one, two.url)
        lead(two, f"{one.url}/below")
        with Wire(int(one.url.rpartition(":")[2])) as wire:
            assert wire.ask(request_bytes("GET", "/x")).status == 508
        assert [exchange.path for exchange in one.journal] == ["/below/x", "/x"]
        assert [exchange.path for exchange in two.journal] == ["/x"]


def test_a_chain_of_worlds_is_no_circle() -> None:
    """One world may lead to another of the same server, and that to a third."""
    with kvfake.start() as last:
        last.respond("GET", "/x", body="found")
        middle = doubles_of(last).open({"fallback": last.url})
        first = doubles_of(last).open({"fallback": middle.url})
        with Wire(int(last.url.rpartition(":")[2])) as wire:
            path = first.url.removeprefix(last.url)
            assert wire.ask(request_bytes("GET", f"{path}/x", {"Via": "1.1 proxy"})).text == "found"
        assert [len(double.journal) for double in (first, middle, last)] == [1, 1, 1]
