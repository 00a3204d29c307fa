"""Routes and mounts: what an app requests of the same site beside the stores, answered singly or by an application."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.validate import validator

import pytest
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.routing import Map, Rule
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

import kvfake
from kvfake.double import world_of
from kvfake.http.parser import MAX_BODY_BYTES
from kvfake.services.mattermost import KV
from tests.support.doors import DOORS, Door, SocketDoor, WsgiDoor, opened
from tests.support.wire import Wire, request_bytes

POSTS = "/api/v4/posts"
SUBSCRIBE = "/plugins/com.mattermost.apps/api/v1/subscribe"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# ------------------------------------------------------------------------------------------------------------ single answers


@pytest.mark.parametrize("door", DOORS)
def test_a_request_beside_the_stores_is_answered(door: str) -> None:
    """An app that also posts a message is tested with one site URL; the journal shows what it sent."""
    with opened(door) as one:
        one.double.respond("POST", POSTS, 201, json={"id": "p1"})
        reply = one.send("POST", f"{POSTS}?x=1", one.double.mattermost.headers, b'{"message":"hello"}')
        assert (reply.status, reply.json(), reply.headers["Content-Type"]) == (201, {"id": "p1"}, "application/json")
        assert one.send("PUT", f"{KV}/k", one.double.mattermost.headers, b"1").status == 200
        posted = one.double.journal[0]
        assert (posted.service, posted.path, posted.verb, posted.key, posted.owner) == (
            "respond",
            f"{POSTS}?x=1",
            None,
            None,
            "app/bot",
        )
        assert (posted.request.json(), posted.response.json()) == ({"message": "hello"}, {"id": "p1"})
        assert not posted.unmatched
        one.double.journal.assert_requested("POST", path=POSTS, status=201, times=1)


@pytest.mark.parametrize("door", DOORS)
def test_a_path_without_a_route_is_a_404(door: str) -> None:
    """And is in the journal as unmatched; a path alone does not make an answer, nor does a method."""
    with opened(door) as one:
        one.double.respond("POST", POSTS)
        asked = [("GET", POSTS), ("POST", POSTS + "/"), ("POST", "/api/v4/users"), ("POST", POSTS)]
        assert [one.send(method, path).status for method, path in asked] == [404, 404, 404, 200]
        assert [(exchange.method, exchange.path) for exchange in one.double.journal.unmatched] == asked[:3]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("answer", "status", "body", "kind"),
    [
        ({}, 200, b"", None),
        ({"status": 500, "body": b"\xff\0"}, 500, b"\xff\0", None),
        ({"body": "gr\u00fc\u00df dich"}, 200, "gr\u00fc\u00df dich".encode(), "text/plain; charset=utf-8"),
        ({"body": bytearray(b"x")}, 200, b"x", None),
        ({"json": [1, None]}, 200, b"[1, null]", "application/json"),
        ({"json": 0}, 200, b"0", "application/json"),
        ({"json": {}, "headers": {"content-type": "application/x"}}, 200, b"{}", "application/x"),
        ({"status": 302, "headers": {"Location": "/there", "X": "\u00e9"}}, 302, b"", None),
        ({"status": 204}, 204, b"", None),
    ],
)
def test_a_response_is_what_the_test_gave(door: str, answer: dict[str, Any], status: int, body: bytes, kind: str | None) -> None:
    """Status, body and headers; what kind of body it is need not be said."""
    with opened(door) as one:
        one.double.respond("GET", "/x", **answer)
        reply = one.send("GET", "/x")
        headers = {name.lower(): value for name, value in reply.headers.items()}
        assert (reply.status, reply.body, headers.get("content-type")) == (status, body, kind)
        assert [headers[name.lower()] for name in answer.get("headers", {})] == list(answer.get("headers", {}).values())
        assert one.send("GET", "/x").status == status


@pytest.mark.parametrize("door", DOORS)
def test_any_method_and_any_path(door: str) -> None:
    """No method is any of them; a pattern must match the whole path, which is decoded."""
    with opened(door) as one:
        one.double.respond(None, re.compile("/api/v4/users/[a-z \u00e9]+"), body="a user")
        one.double.respond("get", "/a b", body="small")
        for method in ("GET", "PUT", "PATCH", "OPTIONS"):
            assert one.send(method, "/api/v4/users/ada").text == "a user"
        assert one.send("GET", "/api/v4/users/ada%20%C3%A9?x=/y").text == "a user"
        assert one.send("GET", "/%61%20b").text == "small"
        assert one.send("HEAD", "/api/v4/users/ada").status == 200
        for path in ("/api/v4/users/", "/api/v4/users/ada/x", "/x/api/v4/users/ada"):
            assert one.send("GET", path).status == 404


def test_of_two_routes_the_later_counts() -> None:
    """Whether its path is exact or a pattern; an equal one stands in the place of the first."""
    with opened("site") as one:
        one.double.respond("GET", POSTS, body="first")
        one.double.respond("GET", re.compile("/api/.*"), body="second")
        assert one.send("GET", POSTS).text == "second"
        one.double.respond("GET", POSTS, body="third")
        assert [one.send("GET", path).text for path in (POSTS, "/api/x")] == ["third", "second"]
        assert len(one.double._world.routes.routes) == 2


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("path", [SUBSCRIBE, "/plugins/playbooks/api", "/api/v1/other", "/persistence", "/_kvfakes", "/plugins"])
def test_any_path_outside_the_stores_can_have_a_route(door: str, path: str) -> None:
    """Also what lies beside them below ``/plugins/`` or the Persist API."""
    with opened(door) as one:
        one.double.respond(None, path, body="here")
        assert one.send("POST", path, one.double.mattermost.headers, b"{}").text == "here"


@pytest.mark.parametrize("door", DOORS)
def test_a_pattern_for_everything_leaves_the_stores_alone(door: str) -> None:
    """And control, and unclean paths of the stores, however their names are written."""
    with opened(door, allow_host=["double.example"]) as one:
        one.double.respond(None, re.compile(".*"), body="anything")
        one.double.mount("/", echo)
        one.double.mattermost["k"] = 1
        for path in (f"{KV}/k", "/plugins/com.mattermost.apps/api/v1/%6Bv/k"):
            assert one.send("GET", path, one.double.mattermost.headers).text == "1"
        for path in ("/persist/kv", "/%70ersist/kv", "/api/v1/persist%2Fkv"):
            assert one.send("GET", path, one.double.persist.headers).text == "[]"
        assert one.send("GET", f"/plugins//{KV[9:]}/k").headers["Location"] == f"{KV}/k"
        assert one.send("GET", "/_kvfake/health").json()["status"] == "ok"
        assert one.send("GET", "/%2F").text == "anything"


STORES = "belongs to kvfake; faults.add(body=...) changes what a store answers"


@pytest.mark.parametrize("door", DOORS)
def test_an_answer_to_head_may_say_a_length(door: str) -> None:
    """That of the body that a GET would bring. Of a mounted application likewise."""

    def application(environ: dict[str, Any], start: Any) -> list[bytes]:
        start("200 OK", [("Content-Length", "77")])
        return [b""]

    with opened(door) as one:
        one.double.respond("HEAD", "/file", headers={"content-length": "1000"})
        one.double.mount("/app", application)
        for path, length in (("/file", "1000"), ("/app/x", "77")):
            reply = one.send("HEAD", path)
            assert (reply.status, reply.body) == (200, b"")
            assert [value for name, value in reply.headers.items() if name.lower() == "content-length"] == [length]
        assert one.send("GET", "/app/x").headers.get("Content-Length", "0") == "0"


HEADERS = "headers: expected a name, and a value of Latin-1 on one line, got"
PATHS = "path: expected one that begins with / and has no query, got"


def test_a_json_that_is_nested_too_deep_is_refused() -> None:
    """In words, not with the error of a stack that is full."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match=r"^body: expected bytes, a text, or what JSON can hold: .*recursion"):
        kvfake.Double().respond("GET", "/a", json=deep)


def test_a_body_may_have_half_a_character() -> None:
    """It is sent as the bytes that stand for it: a test may want an answer that is no UTF-8."""
    with opened("site") as door:
        door.double.respond("GET", "/a", body="a\ud800")
        assert door.send("GET", "/a").body == b"a\xed\xa0\x80"


@pytest.mark.parametrize(
    ("method", "path", "answer", "words"),
    [
        ("GET", f"{KV}/k", {}, f"path: {KV}/k {STORES}"),
        ("GET", KV, {}, f"path: {KV} {STORES}"),
        ("GET", "/api/v1/persist/kv/k", {}, f"path: /api/v1/persist/kv/k {STORES}"),
        ("GET", "/persist/x", {}, f"path: /persist/x {STORES}"),
        ("GET", "/_kvfake/health", {}, f"path: /_kvfake/health {STORES}"),
        ("GET", "/~anything", {}, f"path: /~anything {STORES}"),
        ("GET", "api", {}, f"{PATHS} 'api'"),
        ("GET", "/a?b=c", {}, f"{PATHS} '/a?b=c'"),
        ("GET", "/a#b", {}, f"{PATHS} '/a#b'"),
        ("GET", None, {}, "path: expected a text or a compiled pattern of text, got None"),
        ("GET", re.compile(b"/a"), {}, "path: expected a text or a compiled pattern of text, got re.compile(b'/a')"),
        ("", "/a", {}, "method: expected such as GET, or None for any, got ''"),
        ("GE T", "/a", {}, "method: expected such as GET, or None for any, got 'GE T'"),
        (5, "/a", {}, "method: expected such as GET, or None for any, got 5"),
        ("GET", "/a", {"status": 199}, "status: expected a whole number from 200 to 599, got 199"),
        ("GET", "/a", {"status": 600}, "status: expected a whole number from 200 to 599, got 600"),
        ("GET", "/a", {"status": "200"}, "status: expected a whole number from 200 to 599, got '200'"),
        ("GET", "/a", {"status": True}, "status: expected a whole number from 200 to 599, got True"),
        ("GET", "/a", {"json": 1, "body": "x"}, "json, body: expected one of them, got both"),
        ("GET", "/a", {"body": {"a": 1}}, "body: expected bytes or a text, got {'a': 1}; json= takes what JSON can hold"),
        ("GET", "/a", {"json": {1, 2}}, "what JSON can hold: Object of type set is not JSON serializable"),
        ("GET", "/a", {"json": float("nan")}, "what JSON can hold: Out of range float values are not JSON compliant"),
        ("GET", "/a", {"headers": ["X"]}, "headers: expected names and values, got ['X']"),
        ("GET", "/a", {"headers": {"X Y": "z"}}, f"{HEADERS} 'X Y': 'z'"),
        ("GET", "/a", {"headers": {"X": "y\r\nZ: z"}}, f"{HEADERS} 'X': 'y\\r\\nZ: z'"),
        ("GET", "/a", {"headers": {"X": "\u20ac"}}, f"{HEADERS} 'X': '\u20ac'"),
        ("GET", "/a", {"headers": {"X": 1}}, f"{HEADERS} 'X': 1"),
        ("HEAD", "/a", {"headers": {"Content-Length": "-1"}}, "headers: Content-Length says how a message ends"),
        ("HEAD", "/a", {"headers": {"Content-Length": "1"}, "body": "x"}, "headers: Content-Length says how a message ends"),
        ("HEAD", "/a", {"headers": {"Connection": "close"}}, "headers: Connection says how a message ends"),
        ("GET", "/a", {"headers": {5: "x"}}, f"{HEADERS} 5: 'x'"),
        (
            "GET",
            "/a",
            {"headers": {"content-length": "1"}},
            "headers: content-length says how a message ends, which is not for a user to say",
        ),
        ("GET", "/a", {"status": 204, "body": "x"}, "status: an answer of 204 has no body"),
    ],
)
def test_a_response_that_is_not_possible_is_refused(method: Any, path: Any, answer: dict[str, Any], words: str) -> None:
    """When it is said, with what was expected; nothing is kept of it."""
    double = kvfake.Double()
    with pytest.raises(ValueError, match=re.escape(words)):
        double.respond(method, path, **answer)
    assert double._world.routes.routes == ()


def test_the_number_of_routes_is_bounded() -> None:
    """A thousand of them; one that stands already can be said anew."""
    double = kvfake.Double()
    for number in range(1000):
        double.respond("GET", f"/{number}")
    with pytest.raises(ValueError, match="there are 1000 routes: mount a WSGI application instead"):
        double.respond("GET", "/more")
    double.respond("GET", "/999", body="anew")
    assert Client(double.wsgi_app).get("/999").text == "anew"


# --------------------------------------------------------------------------------------------------------------- applications


def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers with what it was asked."""
    start_response("200 OK", [("Content-Type", "application/json")])
    body = environ["wsgi.input"].read()
    names = ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "HTTP_X_MORE", "CONTENT_TYPE", "CONTENT_LENGTH")
    return [json.dumps({"length": len(body), "digest": digest(body), **{name: environ.get(name) for name in names}}).encode()]


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def saying(text: str) -> Callable[..., Iterable[bytes]]:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [text.encode()]

    return application


def where(door: Door, target: str) -> tuple[str, str]:
    """Where a mounted application is told that it lies, and what is asked of it."""
    seen = door.send("GET", target).json()
    return seen["SCRIPT_NAME"], seen["PATH_INFO"]


@pytest.mark.parametrize("door", DOORS)
def test_an_application_gets_the_requests_below_its_path(door: str) -> None:
    """With everything that it was asked; the journal shows it."""
    with opened(door) as one:
        one.double.mount("/api/v4", echo)
        seen = one.send("PATCH", "/api/v4/a%20b?x=%20y", {"X-More": "m", "Content-Type": "text/x"}, b"body").json()
        assert seen == {
            "REQUEST_METHOD": "PATCH",
            "SCRIPT_NAME": "/api/v4",
            "PATH_INFO": "/a b",
            "QUERY_STRING": "x=%20y",
            "HTTP_X_MORE": "m",
            "CONTENT_TYPE": "text/x",
            "CONTENT_LENGTH": "4",
            "length": 4,
            "digest": digest(b"body"),
        }
        assert where(one, "/api/v4") == ("/api/v4", "")
        assert where(one, "/api/v4/") == ("/api/v4", "/")
        assert one.send("GET", "/api/v42").status == 404
        first = one.double.journal[0]
        assert (first.service, first.method, first.path, first.status) == ("mount", "PATCH", "/api/v4/a%20b?x=%20y", 200)
        assert (first.request.body, first.response.json()["length"]) == (b"body", 4)


@pytest.mark.parametrize("door", DOORS)
def test_an_application_knows_where_it_lies(door: str) -> None:
    """Below the site's path, and below the address of a world, however that is written."""
    with opened(door, site_path="/mm") as one:
        world = one.double._backend.open({})
        one.double.mount("/hooks/", echo)
        world.routes.mount("/\u00e9", echo)
        assert where(one, "/mm/hooks/x") == ("/mm/hooks", "/x")
        assert where(one, f"/mm/~{world.id}/%C3%A9/x%2Fy") == (f"/mm/~{world.id}/\u00c3\u00a9", "/x/y")
        assert where(one, f"/mm/%7E{world.id}/%C3%A9") == (f"/mm/~{world.id}/\u00c3\u00a9", "")


def test_an_application_knows_where_it_lies_for_a_proxys_client_too() -> None:
    """Who sends whole URLs as targets."""
    with opened("socket") as one:
        one.double.mount("/hooks", echo)
        assert where(one, "http://double.example/hooks/x?y") == ("/hooks", "/x")


def test_an_application_below_an_application() -> None:
    """Behind a server that has put the double somewhere itself."""
    double = kvfake.Double()
    double.mount("/hooks", echo)
    client = Client(DispatcherMiddleware(lambda *_: [], {"/chat": double.wsgi_app}))
    seen: Any = client.get("/chat/hooks/x").json
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("/chat/hooks", "/x")


@pytest.mark.parametrize("door", DOORS)
def test_a_real_application(door: str) -> None:
    """With routes, redirects and cookies of its own, as Flask has them."""
    routes = Map([Rule("/users/<name>", endpoint="user"), Rule("/posts/", endpoint="posts", methods=["POST"])])

    @Request.application
    def mattermost(request: Request) -> Response:
        adapter = routes.bind_to_environ(request)
        try:
            endpoint, values = adapter.match()
        except Exception as refusal:
            return refusal.get_response(request.environ)  # type: ignore[attr-defined,no-any-return]
        response = Response(f"{endpoint} {values} {request.get_data(as_text=True)}", 201)
        response.set_cookie("a", "b")
        response.set_cookie("c", "d")
        return response

    with opened(door) as one:
        one.double.mount("/api/v4", mattermost)
        reply = one.send("GET", "/api/v4/users/ada")
        assert (reply.status, reply.text) == (201, "user {'name': 'ada'} ")
        assert one.send("POST", "/api/v4/posts/", {}, b"hello").text == "posts {} hello"
        assert (
            one.send("POST", "/api/v4/posts", {"Host": "h"} if door != "socket" else {})
            .headers["Location"]
            .endswith("/api/v4/posts/")
        )
        assert one.send("PUT", "/api/v4/posts/").headers["Allow"] == "POST"
        assert [name for name, _ in one.double.journal[0]._response.headers].count("Set-Cookie") == 2


@pytest.mark.parametrize("door", DOORS)
def test_the_longest_path_wins(door: str) -> None:
    """And a single answer wins over an application; the root is a path too; the later of two at one path counts."""
    with opened(door) as one:
        for path in ("/api", "/", "/api/v4/users", "/api/v4"):
            one.double.mount(path, saying(path))
        one.double.respond("GET", "/api/v4/users/me", body="me")
        paths = ["/", "/apis", "/api", "/api/v5", "/api/v4/usersx", "/api/v4/users/x", "/api/v4/users/me"]
        assert [one.send("GET", path).text for path in paths] == ["/", "/", "/api", "/api", "/api/v4", "/api/v4/users", "me"]
        one.double.mount("/api/", saying("anew"))
        assert one.send("GET", "/api/v5").text == "anew"


@pytest.mark.parametrize(
    ("path", "app", "words"),
    [
        (f"{KV}/x", echo, f"path: {KV}/x {STORES}"),
        ("/persist", echo, f"path: /persist {STORES}"),
        ("/~x", echo, f"path: /~x {STORES}"),
        ("", echo, f"{PATHS} ''"),
        ("api", echo, f"{PATHS} 'api'"),
        (None, echo, f"{PATHS} None"),
        ("/api", "app", "expected a WSGI application, got 'app'"),
    ],
)
def test_a_mount_that_is_not_possible_is_refused(path: Any, app: Any, words: str) -> None:
    """When it is said."""
    double = kvfake.Double()
    with pytest.raises(ValueError, match=re.escape(words)):
        double.mount(path, app)
    assert double._world.routes.mounts == {}


@pytest.mark.parametrize("door", DOORS)
def test_an_application_gets_what_wsgi_promises(door: str) -> None:
    """PEP 3333, as the standard library checks it, and no more of a server than there is."""
    seen: dict[str, Any] = {}

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        seen.update(environ)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["wsgi.input"].read(5)]

    with opened(door) as one:
        one.double.mount("/api", validator(application))
        assert one.send("POST", "/api/x?y", {"X-Two": "2"}, b"hello").text == "hello"
    told = {
        name: value for name, value in seen.items() if name not in ("wsgi.input", "wsgi.errors") and not name.startswith("HTTP_")
    }
    assert told == {
        "REQUEST_METHOD": "POST", "SCRIPT_NAME": "/api", "PATH_INFO": "/x", "QUERY_STRING": "y", "CONTENT_LENGTH": "5",
        "CONTENT_TYPE": seen["CONTENT_TYPE"], "SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.multithread": True, "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }  # fmt: skip
    assert seen["HTTP_X_TWO"] == "2"


def raising(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    raise RuntimeError("the application's own")


def late_raising(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [])
    yield b"half"
    raise RuntimeError("the application's own")


def endless(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [])
    while True:
        yield b"x" * 1_000_000


def answering(status: str, *headers: tuple[Any, Any]) -> Callable[..., Iterable[bytes]]:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response(status, list(headers))
        return []

    return application


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("app", "words"),
    [
        (raising, "RuntimeError: the application's own"),
        (late_raising, "RuntimeError: the application's own"),
        (endless, "ValueError: the answer has more than 67108864 bytes"),
        (lambda environ, start_response: [], "ValueError"),
        (answering("fine"), "ValueError"),
        (answering("99 Odd"), "ValueError: status: expected a whole number from 200 to 599, got 99"),
        (answering("200 OK", ("X", "\u20ac")), f"ValueError: {HEADERS} 'X': '\u20ac'"),
        (answering("200 OK", ("X", "y\r\nSet-Cookie: z")), f"ValueError: {HEADERS}"),
        (answering("200 OK", ("X", 1)), f"ValueError: {HEADERS} 'X': 1"),
    ],
)
def test_an_application_that_fails(door: str, app: Any, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Is a 500 that names it; the traceback is on stderr, the journal knows, and the next request is served."""
    with opened(door) as one:
        one.double.mount("/api", app)
        reply = one.send("GET", "/api/x")
        assert (reply.status, reply.headers["Content-Type"]) == (500, "application/json")
        assert reply.json() == {"error": "unexpected error in the application at /api: its traceback is on stderr"}
        assert words in capsys.readouterr().err
        assert one.double.journal[-1].status == 500
        assert one.send("GET", "/persist/kv", one.double.persist.headers).text == "[]"


def test_a_slow_application_does_not_hold_up_the_stores() -> None:
    """It is asked on a thread of its own."""
    begun, may_end = threading.Event(), threading.Event()

    def slow(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        begun.set()
        assert may_end.wait(10)
        return saying("late")(environ, start_response)

    with opened("socket") as one:
        assert isinstance(one, SocketDoor)
        one.double.mount("/slow", slow)
        with Wire(one.port) as waiting:
            waiting.send(request_bytes("GET", "/slow"))
            assert begun.wait(10)
            assert one.send("PUT", f"{KV}/k", one.double.mattermost.headers, b"1").status == 200
            assert one.send("GET", "/persist/kv", one.double.persist.headers).text == "[]"
            may_end.set()
            assert waiting.reply().text == "late"


@pytest.mark.parametrize("door", DOORS)
def test_an_application_may_use_the_double(door: str) -> None:
    """Its values, its journal, and the stores over the wire."""
    with opened(door) as one:

        def counting(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            one.double.mattermost["count"] = one.double.mattermost.get("count", 0) + 1
            return saying(str(len(one.double.journal)))(environ, start_response)

        one.double.mount("/count", counting)
        assert [one.send("GET", "/count").text for _ in range(3)] == ["0", "1", "2"]
        assert one.double.mattermost == {"count": 3}


# -------------------------------------------------------------------------------------------------------------------- uploads

LARGE = bytes(range(256)) * (5 * 4096)  # 5 MiB


@pytest.mark.parametrize("door", DOORS)
def test_a_large_upload_arrives_whole(door: str) -> None:
    """Larger than what any service takes."""
    with opened(door) as one:
        one.double.mount("/files", echo)
        seen = one.send("POST", "/files", {}, LARGE).json()
        assert (seen["length"], seen["digest"]) == (len(LARGE), digest(LARGE))


def test_a_large_upload_in_chunks_arrives_whole() -> None:
    """Without a length before it."""
    with opened("socket") as one:
        one.double.mount("/files", echo)
        assert one.send("POST", "/files", {}, LARGE, chunked=True).json()["digest"] == digest(LARGE)


@pytest.mark.parametrize("door", ["socket", "wsgi", "wsgi with a raw target"])
def test_an_upload_that_is_too_large_is_refused(door: str) -> None:
    """Over 64 MiB, with the limit; nobody gets a part of it."""
    with opened(door) as one:
        one.double.mount("/files", saying("arrived"))
        upload = bytes(MAX_BODY_BYTES)
        assert one.send("POST", "/files", {}, upload).text == "arrived"
        reply = one.send("POST", "/files", {}, upload + b"x")
        assert reply.status == 413
        assert reply.json() == {"error": "the body is too large: expected at most 67108864 bytes"}
        assert [(exchange.service, exchange.status) for exchange in one.double.journal] == [("mount", 200), ("mount", 413)]


def test_an_upload_without_end_is_refused_before_it() -> None:
    """The connection ends with that."""
    with opened("socket") as one:
        assert isinstance(one, SocketDoor)
        one.double.mount("/files", saying("arrived"))
        with Wire(one.port) as wire:
            wire.send(b"POST /files HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (1 << 40))
            wire.send(bytes(MAX_BODY_BYTES), b"x")
            assert wire.reply().status == 413
            wire.end_of_sending()
            assert wire.is_closed()


def test_an_upload_that_breaks_off_reaches_no_application() -> None:
    """Half of it is not what was sent."""
    with opened("socket") as one:
        assert isinstance(one, SocketDoor)
        one.double.mount("/files", saying("arrived"))
        for body in (b"Content-Length: 100\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"):
            with Wire(one.port) as wire:
                wire.send(b"POST /files HTTP/1.1\r\nHost: x\r\n" + body)
                wire.end_of_sending()
                reply = wire.reply()
                assert (reply.status, reply.json()) == (400, {"error": "the body has no end: unexpected EOF"})


@pytest.mark.parametrize(
    ("path", "status"), [("/files", 400), (f"{KV}/k", 500), ("/persist/kv/k", 500), ("/_kvfake/reset", 400), ("/api", 200)]
)
def test_a_body_that_breaks_off_behind_a_server(path: str, status: int) -> None:
    """A WSGI server hands over what came, and the length that was promised."""
    double = kvfake.Double(token=["t=app/bot", "t=project:p"])
    double.mount("/files", saying("arrived"))
    double.respond("POST", "/api")
    method = "PUT" if "/kv/" in path else "POST"
    environ = WsgiDoor(double).environ(method, path, {"Host": "localhost", **bearer("t")}, b"1")
    started: list[str] = []
    said = b"".join(double.wsgi_app({**environ, "CONTENT_LENGTH": "3"}, lambda status, headers: started.append(status)))
    assert int(started[0].split()[0]) == status
    assert (b"unexpected EOF" in said) == (status != 200)
    assert world_of(double).holdings() == []


def test_chunks_win_over_a_length_behind_a_server_too() -> None:
    """One that marks where its input ends; for any other the length is all that there is (M28)."""
    double = kvfake.Double()
    environ = WsgiDoor(double).environ("PUT", f"{KV}/k", {"Transfer-Encoding": "chunked", **double.mattermost.headers}, b"1234")
    for more in ({"wsgi.input_terminated": True, "CONTENT_LENGTH": "99"}, {}):
        environ["wsgi.input"].seek(0)
        assert list(double.wsgi_app({**environ, **more}, lambda *_: None))
        assert double.mattermost.pop("k") == 1234


# --------------------------------------------------------------------------------------------------------------------- worlds


@pytest.mark.parametrize("door", DOORS)
def test_worlds_do_not_see_each_others_routes(door: str) -> None:
    """Not even where they have the same path."""
    with opened(door) as one:
        worlds = [one.double._backend.open({}) for _ in range(2)]
        for number, world in enumerate(worlds):
            world.routes.mount("/api", saying(f"of {number}"))
        assert [one.send("GET", f"/~{world.id}/api/x").text for world in worlds] == ["of 0", "of 1"]
        assert one.send("GET", "/api/x").status == 404
        one.double.respond("GET", "/api/x", body="own")
        assert [one.send("GET", f"{address}/api/x").text for address in ("", f"/~{worlds[0].id}")] == ["own", "of 0"]
        assert [len(world.journal) for world in worlds] == [2, 1]


@pytest.mark.parametrize("door", DOORS)
def test_a_request_by_token_finds_the_route_of_its_world(door: str) -> None:
    """So an app with a fixed site URL can be tested too; with the token of either service."""
    with opened(door) as one:
        world = one.double._backend.open({})
        world.routes.mount("/api", saying("of the world"))
        for token in (world.token("mattermost", "app/bot"), world.token("persist", "project")):
            assert one.send("GET", "/api/x", bearer(token)).text == "of the world"
        assert one.send("GET", "/other", bearer(world.token("mattermost", "app/bot"))).status == 404
        assert [exchange.path for exchange in world.journal.unmatched] == ["/other"]
        one.double._backend.end(world)
        assert one.send("GET", "/api/x", bearer(world.token("mattermost", "app/bot"))).status == 410
        assert list(one.double.journal) == []


@pytest.mark.parametrize("door", ["socket", "site"])
def test_a_path_with_bad_encoding_has_no_route(door: str) -> None:
    """As everywhere below HTTP, also with a neighbour for everything."""
    with opened(door) as one:
        one.double.mount("/", saying("anything"))
        assert one.send("GET", "/%zz").status == 400
        assert one.double.journal.unmatched[0].path == "/%zz"


def test_routes_stay_when_a_world_is_reset() -> None:
    """They can be taken away together."""
    double = kvfake.Double()
    double.respond("GET", "/x", body="x")
    double.mount("/y", saying("y"))
    client = Client(double.wsgi_app)
    double.reset()
    assert [client.get(path).text for path in ("/x", "/y")] == ["x", "y"]
    double._world.routes.clear()
    assert [client.get(path).status_code for path in ("/x", "/y")] == [404, 404]


def test_a_route_shows_its_response() -> None:
    """For whoever lists them."""
    double = kvfake.Double()
    double.respond(None, re.compile("/x/.*"))
    double.respond("get", "/y")
    assert [str(route) for route in double._world.routes.routes] == ["GET /y", "any method re.compile('/x/.*')"]
