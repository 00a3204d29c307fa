"""Row M28: what holds below both services, for the whole port. It needs a real socket."""

from __future__ import annotations

from tests.rows.app import KV, App, row
from tests.support.wire import request_bytes

HEAD = f"GET {KV}/key HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer bot-token\r\n".encode()
PUT = f"PUT {KV}/key HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer bot-token\r\n".encode()


def refused(app: App, message: bytes, status: int, text: str) -> None:
    """The answer says so, and the connection ends."""
    with app.wire() as wire:
        wire.send(message)
        reply = wire.reply()
        assert (reply.status, reply.text) == (status, text), message
        assert reply.kept["Content-Type"] == "text/plain; charset=utf-8"
        assert reply.headers["Connection"] == "close"
        assert wire.is_closed()


@row("M28", socket_only=True)
def what_is_not_http_is_a_bad_request(app: App) -> None:
    for head in (
        f"GET {KV}/%zz HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET {KV}/% HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET {KV}/a b HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET {KV}/a\x01b HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET {KV}/a\x7f HTTP/1.1\r\nHost: x\r\n\r\n",
        f"PUT {KV}/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n1",
        f"PUT {KV}/a HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        f"PUT {KV}/a HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n1",
        "\r\n\r\n",
        "GET\r\n\r\n",
        f"GET {KV}/a HTTP/one\r\nHost: x\r\n\r\n",
        f"GET {KV}/a HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
    ):
        refused(app, head.encode(), 400, "400 Bad Request")


@row("M28", socket_only=True)
def a_host_is_required(app: App) -> None:
    refused(app, f"GET {KV}/a HTTP/1.1\r\n\r\n".encode(), 400, "400 Bad Request: missing required Host header")


@row("M28", socket_only=True)
def an_unknown_transfer_coding_is_not_supported(app: App) -> None:
    refused(app, PUT + b"Transfer-Encoding: gzip\r\n\r\n", 501, "Unsupported transfer encoding")


@row("M28", socket_only=True)
def a_bad_chunk_is_an_error(app: App) -> None:
    with app.wire() as wire:
        wire.send(PUT + b"Transfer-Encoding: chunked\r\n\r\nx\r\n1\r\n0\r\n\r\n")
        reply = wire.reply()
        assert (reply.status, reply.text) == (500, "invalid byte in chunk length\n")
        assert wire.is_closed()


@row("M28", socket_only=True)
def a_bad_chunk_is_an_error_for_persist_too(app: App) -> None:
    head = b"PUT /persist/kv/key HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer project-token\r\nTransfer-Encoding: chunked\r\n\r\n"
    reply = app.raw(head + b"x\r\n")
    assert (reply.status, reply.text) == (500, "invalid byte in chunk length\n")
    assert app.keys() == []


@row("M28", socket_only=True)
def chunked_wins_over_a_length(app: App) -> None:
    with app.wire() as wire:
        wire.send(PUT + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n7\r\n0\r\n\r\n" + HEAD + b"\r\n")
        assert wire.reply().status == 200
        assert wire.reply().text == "7"


@row("M28", socket_only=True)
def two_equal_lengths_are_one(app: App) -> None:
    with app.wire() as wire:
        wire.send(PUT + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n8" + HEAD + b"\r\n")
        assert wire.reply().status == 200
        assert wire.reply().text == "8"


@row("M28", socket_only=True)
def requests_may_be_sent_all_at_once(app: App) -> None:
    sets = [request_bytes("PUT", f"{KV}/{number}", {"Authorization": "Bearer bot-token"}, b"%d" % number) for number in range(20)]
    gets = [request_bytes("GET", f"{KV}/{number}", {"Authorization": "Bearer bot-token"}) for number in range(20)]
    with app.wire() as wire:
        wire.send(b"".join(sets + gets))
        assert [wire.reply().status for _ in sets] == [200] * 20
        assert [wire.reply().text for _ in gets] == [f"{number}" for number in range(20)]


@row("M28", socket_only=True)
def http_1_0_works(app: App) -> None:
    with app.wire() as wire:
        wire.send(HEAD.replace(b"HTTP/1.1\r\nHost: x", b"HTTP/1.0") + b"\r\n")
        assert wire.reply().status == 200
        assert wire.is_closed()
    with app.wire() as wire:
        for _ in range(2):
            reply = wire.ask(HEAD.replace(b"HTTP/1.1\r\nHost: x", b"HTTP/1.0") + b"Connection: keep-alive\r\n\r\n")
            assert (reply.status, reply.headers["Connection"]) == (200, "keep-alive")


@row("M28", socket_only=True)
def an_absolute_target_works(app: App) -> None:
    app.kv("PUT", "absolute", "1")
    message = request_bytes("GET", f"http://mattermost.example{KV}/absolute", {"Authorization": "Bearer bot-token"})
    assert app.raw(message).text == "1"


@row("M28", socket_only=True)
def raw_utf_8_in_a_target_works(app: App) -> None:
    app.kv("PUT", "caf%C3%A9", "1")
    assert app.raw(request_bytes("GET", f"{KV}/café", {"Authorization": "Bearer bot-token"})).text == "1"


@row("M28", socket_only=True)
def a_header_block_has_a_bound(app: App) -> None:
    assert app.raw(HEAD + b"X: " + 1_000_000 * b"x" + b"\r\n\r\n").status == 200
    with app.wire() as wire:
        wire.send(HEAD + b"X: " + 1_100_000 * b"x" + b"\r\n\r\n")
        reply = wire.reply()
        assert (reply.status, reply.text) == (431, "431 Request Header Fields Too Large")
        assert wire.is_closed()


@row("M28", "P14", socket_only=True)
def below_persist_bad_encoding_is_the_services_own_error(app: App) -> None:
    for target in ("/api/v1/persist/kv/%zz", "/persist/kv/%", "/api/v1/persist/kv?begins=%zz"):
        with app.wire() as wire:
            reply = wire.ask(request_bytes("GET", target, {"Authorization": "Bearer project-token"}))
            assert reply.status == 400
            assert "percent-encoding" in reply.json()["error"]
            assert wire.ask(request_bytes("GET", "/persist/kv", {"Authorization": "Bearer project-token"})).json() == []
