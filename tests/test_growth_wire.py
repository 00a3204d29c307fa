"""What a client sends costs in proportion to its bytes, in time and in memory: a story for each thing it can send more of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import kvfake
from kvfake.http.connection import Connection
from kvfake.http.in_process import RequestBuilder
from kvfake.http.parser import LONG_HEAD_BYTES, MAX_HEAD_BYTES
from kvfake.services.mattermost import KV
from kvfake.services.messages import Request, Response
from tests.support.growth import assert_linear

ANSWER = Response(200, body=b"ok")


def answer(_: Request) -> Response:
    return ANSWER


def hear(pieces: list[bytes], connection: Connection | None = None) -> int:
    """Have a connection hear these pieces; returns how many actions it took."""
    connection, count = connection or Connection(answer), 0
    for piece in pieces:
        actions = connection.receive(piece)
        while actions:
            count += len(actions)
            actions = connection.advance()
    return count


def head(*lines: bytes, target: bytes = b"/") -> bytes:
    return b"\r\n".join([b"GET %b HTTP/1.1" % target, b"Host: x", *lines, b"", b""])


def put(frame: bytes, body: bytes) -> bytes:
    return b"PUT / HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n%b" % (frame, body)


def cut(stream: bytes, size: int = 1) -> list[bytes]:
    return [stream[start : start + size] for start in range(0, len(stream), size)]


CHUNKED = b"Transfer-Encoding: chunked"

IN_ONE_PIECE: dict[str, tuple[int, Callable[[int], bytes]]] = {
    "blanks in a header": (400_000, lambda size: head(b"X: a%bb\r\n c" % (b" " * size))),
    "blanks before a line break": (200_000, lambda size: head(b"X: a" + b" " * size + b"\r\n\t" + b" " * size + b"c")),
    "continuation lines": (60_000, lambda size: head(b"X: a" + b"\r\n b" * size)),
    "continuation lines of many headers": (40_000, lambda size: head(*[b"X: a\r\n b"] * size)),
    "empty continuation lines": (100_000, lambda size: head(b"X: a" + b"\r\n " * size)),
    "header lines": (60_000, lambda size: head(*[b"a:b"] * size)),
    "names": (40_000, lambda size: head(*[b"%x:b" % number for number in range(size)])),
    "the length of a name": (400_000, lambda size: head(b"X" * size + b": y")),
    "the length of a value": (400_000, lambda size: head(b"X: " + b"y" * size)),
    "cookie lines": (40_000, lambda size: head(*[b"Cookie: a=b"] * size)),
    "cookies of one line": (100_000, lambda size: head(b"Cookie: " + b"a=b; " * size)),
    "lines Connection": (20_000, lambda size: head(*[b"Connection: keep-alive"] * size)),
    "tokens of Connection": (200_000, lambda size: head(b"Connection: " + b"x, " * (size // 2) + b"closeclose" * (size // 10))),
    "blanks of Connection": (400_000, lambda size: head(b"Connection: x," + b" " * size + b"x")),
    "lines Trailer": (20_000, lambda size: put(b"Trailer: X\r\n" * size + CHUNKED, b"0\r\n\r\n")),
    "tokens of Expect": (400_000, lambda size: head(b"Expect: " + b"100-continue-" * (size // 13))),
    "equal lengths": (20_000, lambda size: put(b"Content-Length: 1\r\n" * size + b"X: y", b"1")),
    "digits of a length": (400_000, lambda size: put(b"Content-Length: " + b"0" * size + b"1", b"1")),
    "names with a blank": (40_000, lambda size: head(*[b"A B: c"] * size)),
    "blanks in a name": (400_000, lambda size: head(b"A" + b" " * size + b"B: c")),
    "lines without a colon": (100_000, lambda size: head(b"A B: c", *[b"xxx"] * size)),
    "the length of a target": (400_000, lambda size: head(target=b"/" + b"x" * size)),
    "the authority of a target": (400_000, lambda size: head(target=b"http://" + b"x" * size + b"/")),
    "the scheme of a target": (400_000, lambda size: head(target=b"x" * size + b"://y")),
    "a head that is too long": (MAX_HEAD_BYTES, lambda size: b"GET / HTTP/1.1\r\nX: " + b"y" * size),
    "requests of one piece": (6000, lambda size: head() * size),
    "requests of one piece, with bodies": (1000, lambda size: put(b"Content-Length: 3", b"abc") * size),
    "chunks": (40_000, lambda size: put(CHUNKED, b"1\r\na\r\n" * size + b"0\r\n\r\n")),
    "chunks with extensions": (6000, lambda size: put(CHUNKED, b"1;x\r\na\r\n" * size + b"0\r\n\r\n")),
    "the size of a chunk": (20_000_000, lambda size: put(CHUNKED, b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"x" * size))),
    "bodies with trailers": (400, lambda size: put(CHUNKED, b"0\r\nX: y\r\n z\r\nA: b\r\n\r\n") * size),
    "blank lines after a POST": (100_000, lambda size: b"POST / HTTP/1.1\r\nHost: x\r\n\r\n" + b"\r\n" * size),
}


@pytest.mark.parametrize("what", IN_ONE_PIECE)
def test_more_of_it_in_one_piece(what: str) -> None:
    """Twice as much costs at most 2.5 times as much."""
    size, make = IN_ONE_PIECE[what]
    assert_linear(lambda size: [make(size)], hear, size // 2)


BYTE_BY_BYTE: dict[str, tuple[int, Callable[[int], bytes]]] = {
    "a request line": (6000, lambda size: head(target=b"/" + b"x" * size)),
    "a header": (6000, lambda size: head(b"X: " + b"y" * size)),
    "header lines": (1500, lambda size: head(*[b"a:b"] * size)),
    "requests": (150, lambda size: head() * size),
    "a body": (4000, lambda size: put(b"Content-Length: %d" % size, b"x" * size)),
    "chunks": (1000, lambda size: put(CHUNKED, b"1\r\na\r\n" * size + b"0\r\n\r\n")),
    "trailers": (25, lambda size: put(CHUNKED, b"0\r\nX: " + b"y" * 200 + b"\r\n\r\n") * size),
    "lines before chunks": (20, lambda size: put(CHUNKED, (b"1;" + b"y" * 200 + b"\r\na\r\n") * size + b"0\r\n\r\n")),
}


@pytest.mark.parametrize("what", BYTE_BY_BYTE)
def test_more_of_it_byte_by_byte(what: str) -> None:
    """What came before is not looked at, or copied, again with each byte."""
    size, make = BYTE_BY_BYTE[what]
    assert_linear(lambda size: cut(make(size)), hear, size)


def test_a_pipeline_that_is_read_in_large_pieces() -> None:
    """Each request does not copy those that follow, also where a piece ends within a request."""
    assert_linear(lambda size: cut(head() * size, 65_537), hear, 1600)


def test_a_long_body_in_pieces() -> None:
    """As a socket gives them."""
    assert_linear(lambda size: cut(put(b"Content-Length: %d" % size, b"x" * size), 262_144), hear, 8 << 20)


TARGETS: dict[str, tuple[int, Callable[[int], bytes]]] = {
    "path parts": (20_000, lambda size: KV.encode() + b"/a" * size),
    "unclean path parts": (20_000, lambda size: KV.encode() + b"/a/.." * size),
    "slashes": (40_000, lambda size: KV.encode() + b"/" * size),
    "escapes": (20_000, lambda size: KV.encode() + b"/" + b"%41" * size),
    "pairs of a query": (20_000, lambda size: KV.encode() + b"/k?" + b"a=b&" * size),
    "parts below a world": (20_000, lambda size: b"/~" + b"x" * size + b"/a" * size),
    "parts of a path that nothing answers": (20_000, lambda size: b"/x" * size),
}


@pytest.mark.parametrize("what", TARGETS)
def test_longer_targets(what: str) -> None:
    """Through the router, to whoever answers, and whether they are answered at once or asked for the bytes that they read."""
    size, make = TARGETS[what]
    router = kvfake.Double(journal_exchanges=0)._router

    def route(target: bytes) -> None:
        router.answer(Request("GET", target, {b"host": b"x"}))
        router.body_bytes(Request("GET", target, {b"host": b"x"}))

    assert_linear(make, route, size)


def test_cookie_lines_of_a_client_in_this_process() -> None:
    """They are joined once."""
    assert_linear(lambda size: [("Cookie", "a=b")] * size, lambda lines: RequestBuilder().request("GET", b"/", lines, b""), 20_000)


# ------------------------------------------------------------------------------------------------------------------- in steps


@pytest.mark.parametrize(
    "stream",
    [
        head(*[b"a:b"] * 200_000),
        head(b"X: a" + b"\r\n b" * 200_000),
        put(CHUNKED, b"1\r\na\r\n" * 50_000 + b"0\r\n\r\n"),
        head() * 6000,
    ],
    ids=["header lines", "continuation lines", "chunks", "requests"],
)
def test_what_takes_long_is_done_in_steps(stream: bytes) -> None:
    """Between them other connections go first; each step reads a small part, and nothing is answered late."""
    steps: list[Any] = []
    connection = Connection(answer)
    actions = connection.receive(stream)
    while actions:
        steps += actions
        actions = connection.advance()
    yields = sum(1 for step in steps if isinstance(step, tuple) and type(step).__name__ == "Yield")
    assert yields >= min(12, len(stream) // LONG_HEAD_BYTES)
    assert isinstance(steps[-1], bytes)
    assert steps[-1].endswith(b"ok")


def test_a_long_head_is_not_kept() -> None:
    """A connection that has answered one, and waits for the next request, holds no more than another."""
    import tracemalloc

    connection = Connection(answer)
    long = head(*[b"%x:b" % number for number in range(40_000)])
    tracemalloc.start()
    hear([long], connection)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 100_000
