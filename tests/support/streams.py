"""Streams of requests as clients, careless clients and attackers send them, and what must hold for each of them.

`streams` makes them: requests of every form that the port knows, mostly well-formed, some damaged, cut at random places. The same
seed makes the same streams. `StreamChecker` puts one to a double, whole and cut, without a socket: the answers must be the same,
one for each request, and none of them kvfake's own 500.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from random import Random

import kvfake
from kvfake.double import Double
from kvfake.http.connection import Action, Close, Connection
from kvfake.services.mattermost import KV
from kvfake.services.messages import UNEXPECTED, Request, Response
from tests.support.wire import without_date

MAX_ACTIONS = 10_000  # of one stream: more is a loop that does not end

_METHODS = [b"GET"] * 5 + [b"PUT"] * 5 + [b"POST"] * 3 + [b"DELETE"] * 2 + [b"HEAD", b"OPTIONS", b"CONNECT", b"get", b"PATCH"]
_TARGETS = [
    *[
        path.encode()
        for path in (f"{KV}/k", f"{KV}/k", f"{KV}/p/k", f"{KV}/long%20key%2Fx", f"{KV}//k", f"{KV}/%zz", f"{KV}/a/b/c", KV)
    ],
    *[b"/api/v1/persist/kv/k", b"/persist/kv/k", b"/persist/kv?begins=k", b"/persist/mget", b"/persist/kv/%zz", b"/persist"],
    *[b"/", b"*", b"/nothing?a=b", b"/_kvfake/x", b"/~nobody/x", b"http://x" + KV.encode() + b"/k", b"x:80", b"/\xc3\xa9"],
    b"/plugins/com.mattermost.apps/api/v1/../v1/kv/k",
]
_VERSIONS = [b"HTTP/1.1"] * 12 + [b"HTTP/1.0"] * 3 + [b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.2", b"http/1.1", b"HTTP/1.1 "]
_LINES = [
    *[b"Authorization: Bearer bot"] * 4,
    *[b"Connection: close", b"Connection: keep-alive", b"Connection: x, Close", b"Connection: x close", b"Connection:"],
    *[b"Cookie: a=b", b"Cookie: MMAUTHTOKEN=bot", b"X: y", b"X:  \ty \t", b"X: a\r\n b", b"X: a \r\n\t \r\n  c", b"x: \xff"],
    *[b"Expect: 100-continue", b"Expect: x", b"Expect: x, 100-Continue", b"Expect:", b"Host: y", b"Host : x", b"Host: a b"],
    *[b"Trailer: X", b"Trailer: a, Content-Length", b"Trailer: Trailer", b"Upgrade: h2c", b"Proxy-Connection: close"],
    *[b"nonsense", b": y", b"A B: c", b"X\x00: y", b"X: \x01", b" X: y", b"X:\ry", b"X: y\r"],
]
_ENDS = [b"\r\n"] * 12 + [b"\n"]
_BODIES = [b"", b"1", b'"x"', b'{"a": 1}', b'{"value": "v"}', b'{"keys": ["k"]}', b"x" * 100, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"]
_SIZES = [0, 1, 4095, 8191, 8192, 8193, 8194, 20_000]
_SIZE_LINES = [b"%x\r\n"] * 12 + [
    b"%X ;a=b\r\n",
    b"0%x\r\n",
    b"%x\n",
    b"%x\r\r\n",
    b"%xg\r\n",
    b" %x\r\n",
    b"0x%x\r\n",
    b"%017x\r\n",
    b"\r\n",
]
_LAST_CHUNKS = [b"0\r\n"] * 8 + [b"00;x\r\n", b"0\n", b"", b"x\r\n"]
_TRAILERS = [b"\r\n"] * 8 + [
    b"X: y\r\n\r\n",
    b"X: y\n\n",
    b"X: y\r\n z\r\n\r\n",
    b"nonsense\r\n\r\n",
    b" x\r\n\r\n",
    b"\n",
    b"A\x00: b\r\n\r\n",
    b"",
]
_SPLINTERS = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b"\0",
    b"\xff",
    b"0",
    b"GET",
    b"Content-Length: 1\r\n",
    b"Host: x\r\n",
]
_BETWEEN = [b""] * 12 + [b"\r\n", b"\r\n\r\n", b"\r\n\r\n\r\n", b"\n", b"G"]


def streams(seed: int, count: int) -> Iterator[tuple[bytes, list[int]]]:
    """So many streams, each with the places where it is to be cut."""
    random = Random(seed)
    for _ in range(count):
        stream = b"".join([_request(random) + random.choice(_BETWEEN) for _ in range(random.choice((1, 1, 2, 3)))])
        if random.random() < 0.2:
            stream = _damaged(random, stream)
        cuts = range(1, len(stream)) if len(stream) < 400 and random.random() < 0.05 else _cuts(random, len(stream))
        yield stream, list(cuts)


def _request(random: Random) -> bytes:
    choice = random.choice
    end = choice(_ENDS)
    lines = [b"%b %b %b" % (choice(_METHODS), choice(_TARGETS), choice(_VERSIONS)), b"Host: x"]
    if random.random() < 0.03:
        lines.pop()
    lines += [choice(_LINES[:4] if random.random() < 0.6 else _LINES) for _ in range(random.randrange(3))]
    body = choice(_BODIES) if random.random() < 0.97 else b"x" * choice(_SIZES)
    kind = random.randrange(10)
    if kind < 4:
        wrong = random.randrange(60)
        length = len(body) + (wrong if wrong in (1, 2) else 0)
        lines.append(choice((b"Content-Length: %d", b"content-length:%d", b"Content-Length: 0%d ")) % length)
        if wrong == 3:
            lines.append(b"Content-Length: %d" % choice((length, length + 1, -1, 1 << 64, 300_000)))
    elif kind < 7:
        lines.append(
            choice((b"Transfer-Encoding: chunked",) * 12 + (b"transfer-encoding:Chunked", b"Transfer-Encoding: x, chunked"))
        )
        body = _chunks(random, body)
    else:
        body = b""
    return end.join([*lines, b"", body])


def _chunks(random: Random, body: bytes) -> bytes:
    choice = random.choice
    pieces: list[bytes] = []
    while body:
        size = random.randrange(1, len(body) + 1)
        pieces += [choice(_SIZE_LINES).replace(b"%x", b"%x" % size).replace(b"%X", b"%X" % size).replace(b"%017x", b"%017x" % size)]
        pieces += [body[:size], b"\r\n"]
        body = body[size:]
    if random.random() < 0.01:
        pieces.append(b"1;" + b"x" * random.randrange(4085, 4100) + b"\r\na\r\n")
    trailer = choice(_TRAILERS) if random.random() < 0.99 else b"X: " + b"y" * random.randrange(4080, 4100) + b"\r\n\r\n"
    return b"".join([*pieces, choice(_LAST_CHUNKS), trailer])


def _damaged(random: Random, stream: bytes) -> bytes:
    """A piece of it lost, twice, or another in its place."""
    start = random.randrange(len(stream))
    end = start + random.randrange(1, 20)
    return (
        stream[:start]
        + random.choice((b"", stream[start:end] * 2, random.choice(_SPLINTERS), bytes([random.randrange(256)])))
        + (stream[end:] if random.random() < 0.8 else stream[start:])
    )


def _cuts(random: Random, length: int) -> list[int]:
    return sorted({random.randrange(1, length) for _ in range(random.randrange(1, 7))}) if length > 1 else []


class StreamChecker:
    """Two doubles that were made alike. One hears every stream whole, the other in pieces."""

    def __init__(self) -> None:
        self._whole, self._cut = _double(), _double()

    def check(self, stream: bytes, cuts: list[int]) -> None:
        """Fail if the answers differ, or are not one for each request, or if one is a 500 of kvfake's own."""
        whole = _answers(self._whole, [stream])
        cut = _answers(self._cut, [stream[start:end] for start, end in pairwise([0, *cuts, len(stream)])])
        assert whole == cut, (stream, cuts)


def _double() -> Double:
    double = kvfake.Double(profile="plugin-1.2", public_url="http://x", token=("bot=app/bot", "bot=project:p"))
    double.clock.freeze()
    double.clock.move_to("2016-09-09T23:16:43Z")
    return double


def _answers(double: Double, pieces: list[bytes]) -> bytes:
    """What a client gets that sends these pieces, and then no more; checked to be one answer a request, and then the end."""
    methods: list[str] = []

    def handle(request: Request) -> Response:
        methods.append(request.method)
        answer = double._router.answer(request)
        return answer if isinstance(answer, Response) else answer()

    connection = Connection(handle, None, double._router.body_bytes)
    actions: list[Action] = []
    for step in [*(lambda piece=piece: connection.receive(piece) for piece in pieces), connection.eof]:
        _carry_out(connection, step, actions)
    assert [action for action in actions if isinstance(action, Close)] == [actions[-1]]
    sent = without_date(b"".join([action for action in actions if isinstance(action, bytes)]))
    _check_answers(sent, methods)
    return sent


def _carry_out(connection: Connection, step: Callable[[], tuple[Action, ...]], actions: list[Action]) -> None:
    todo = step()
    while todo:
        actions += todo
        assert len(actions) < MAX_ACTIONS
        todo = connection.advance()


def _check_answers(sent: bytes, methods: list[str]) -> None:
    """One answer for each method, each as long as it says; then at most one refusal, which goes to the end."""
    assert UNEXPECTED.body not in sent
    for method in methods:
        sent = sent.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        head, _, sent = sent.partition(b"\r\n\r\n")
        assert head.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")), head
        length = head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]
        assert length or method == "HEAD", head
        if method != "HEAD":
            assert len(sent) >= int(length)
            sent = sent[int(length) :]
    if sent:
        assert sent.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5", b"HTTP/1.0 417")), sent
        assert sent.count(b"HTTP/1.") == 1, sent
