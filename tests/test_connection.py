"""The conversation, without a socket: bytes heard, actions out."""

from __future__ import annotations

import gc
import re
import time
import tracemalloc
from email.utils import formatdate, parsedate_to_datetime
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kvfake.http.connection import Action, Close, Connection, date
from kvfake.http.parser import MAX_BODY_BYTES, MAX_HEAD_BYTES, MAX_UNREAD_BYTES, TOO_LARGE
from kvfake.services.messages import Job, Lane, Request, Response
from tests.support.wire import without_date

ECHOED = Response(200, (("Content-Type", "text/plain"),), b"")


def echo(request: Request) -> Response:
    """Answers with what was asked."""
    return ECHOED.replace(
        body=b"%s %b %b %s" % (request.method.encode(), request.target, request.body, request.body_error.encode())
    )


def hear(connection: Connection, *pieces: bytes) -> list[Action]:
    """Everything that a conversation does when it hears these."""
    done: list[Action] = []
    for piece in pieces:
        actions = connection.receive(piece)
        while actions:
            done += actions
            actions = connection.advance()
    return done


def finish(connection: Connection) -> list[Action]:
    done: list[Action] = []
    actions = connection.eof()
    while actions:
        done += actions
        actions = connection.advance()
    return done


def said(actions: list[Action]) -> bytes:
    """What was sent, without the date."""
    return without_date(b"".join(action for action in actions if isinstance(action, bytes)))


def bodies(actions: list[Action]) -> list[bytes]:
    """The bodies of the answers of `echo`, which hold no blank line."""
    return [part.partition(b"\r\n\r\n")[2] for part in said(actions).split(b"HTTP/1.")[1:]]


GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
PUT = b"PUT /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\nd\r\n2 \r\nef\r\n0\r\nX: y\r\n\r\n"
OLD = b"GET /d HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
WAITING = b"PUT /e HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nf"
BARE = b"GET /g HTTP/1.1\nHost: x\n\n"
FOLDED = b"GET /h HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\nX: c\r\nCookie: a=b\r\nCookie: c=d\r\n\r\n"
LAST = b"GET /z HTTP/1.1\r\nHost: x\r\nConnection: x, Close\r\n\r\n"
ANY = st.lists(st.sampled_from([GET, PUT, CHUNKED, OLD, WAITING, BARE, FOLDED]), max_size=5).map(b"".join)


@given(stream=ANY, ends=st.booleans(), cuts=st.lists(st.integers(0, 400)))
@example(CHUNKED + CHUNKED + GET, True, list(range(400)))
@example(PUT + OLD + BARE + FOLDED, True, list(range(400)))
def test_any_split_of_the_bytes_gives_the_same_answers(stream: bytes, ends: bool, cuts: list[int]) -> None:
    """All at once, byte by byte, or in any other pieces: the answers are the same."""
    stream += LAST if ends else b""
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[start:end] for start, end in pairwise(places)]
    whole, cut = Connection(echo), Connection(echo)
    at_once, in_pieces = hear(whole, stream), hear(cut, *pieces)
    assert said(at_once) == said(in_pieces)
    assert (at_once[-1:] == [Close(linger=False)]) == ends
    assert finish(whole) == finish(cut) == ([] if ends else [Close(linger=False)])


AGAIN = [
    b"GET /i HTTP/1.1\nHost: x\r\n\r\n",
    b"POST /j HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\ndef",
    b"GET /k HTTP/1.1\r\nHost: x\r\nX: a\r\n\r\n",
]


@given(requests=st.lists(st.sampled_from([GET, PUT, CHUNKED, OLD, WAITING, BARE, FOLDED, *AGAIN]), max_size=8))
@example([GET, GET, AGAIN[0], BARE, AGAIN[0], AGAIN[2], GET, PUT, AGAIN[1], PUT])
def test_earlier_requests_change_nothing(requests: list[bytes]) -> None:
    """Lines that are said again, or nearly, are answered as on a connection of their own."""
    alone = [said(hear(Connection(echo), request)) for request in requests]
    assert said(hear(Connection(echo), *requests)) == said(hear(Connection(echo), b"".join(requests))) == b"".join(alone)


def test_header_lines_are_not_looked_for_before_the_head() -> None:
    """Where a piece begins with the same lines, as the end of a body, and ends within the first line of a later request."""
    lines = b"Host: x\r\n\r\n"
    upload = b"PUT /l HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\nbody" % (len(lines) + 4)
    pieces = (upload, lines + GET + b"GET /m", b" HTTP/1.1\r\n" + lines)
    assert bodies(hear(Connection(echo), *pieces)) == bodies(hear(Connection(echo), b"".join(pieces)))


FRAGMENTS = st.sampled_from(
    [
        b"GET ",
        b"PUT ",
        b"/a",
        b"%zz",
        b" HTTP/1.1\r\n",
        b" HTTP/1.0\r\n",
        b"Host: x\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"Content-Length: 5\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: x\r\n",
        b"5\r\n",
        b"0\r\n\r\n",
        b"abcde",
        b"\0",
        b"\xff",
        b": ",
        b"Expect: 100-continue\r\n",
        b"Expect: x\r\n",
        b"Upgrade: h2c\r\nConnection: upgrade\r\n",
        b"ffffffffffffffff\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"Connection: close\r\n",
        b"A B: c\r\n",
    ]
)


@given(st.lists(FRAGMENTS | st.binary(max_size=8), max_size=30))
def test_no_bytes_break_it(pieces: list[bytes]) -> None:
    """Whatever comes, it is answered, waited for, or refused; after the end of a conversation nothing is said."""
    connection = Connection(echo)
    actions = hear(connection, *pieces) + finish(connection)
    ends = [place for place, action in enumerate(actions) if isinstance(action, Close)]
    assert ends == [len(actions) - 1]
    assert hear(connection, GET) == []


def test_a_good_request_before_a_bad_one_is_answered_first() -> None:
    """And the bad one ends the conversation."""
    actions = hear(Connection(echo), GET + b"nonsense\r\n\r\n" + GET)
    assert bodies(actions)[0] == b"GET /a  "
    assert said(actions).endswith(b"400 Bad Request")
    assert actions[-1] == Close(linger=True)


def test_a_bad_first_line_is_refused_at_once() -> None:
    """Nobody waits for the rest of what cannot be HTTP."""
    for line in (b"nonsense\r\n", b"GET /a\r\n", b"GET a HTTP/1.1\r\n", b"GET http://[::1/a HTTP/1.1\n", b"GET /a HTTP/1.1\r\r\n"):
        assert said(hear(Connection(echo), line)).endswith(b"400 Bad Request")


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def test_a_client_that_waits_gets_100_continue() -> None:
    """``100 Continue`` comes before the body is read, and once."""
    connection = Connection(echo)
    head, body = WAITING[:-1], WAITING[-1:]
    assert hear(connection, head) == [CONTINUE]
    assert bodies(hear(connection, body)) == [b"PUT /e f "]


def reading(size: int) -> Connection:
    """A connection to somebody who reads so many bytes of each body."""
    return Connection(echo, None, lambda _: size)


@pytest.mark.parametrize("frame", [b"Content-Length: 1", b"Transfer-Encoding: chunked"])
def test_whoever_reads_no_body_asks_for_none(frame: bytes) -> None:
    """As Go does: the final answer comes at once, and says that the connection ends; a body that comes all the same is dropped."""
    waiting = WAITING[:-1].replace(b"Content-Length: 1", frame)
    actions = hear(reading(0), waiting, b"f", GET)
    assert bodies(actions) == [b"PUT /e  "]
    assert b"\r\nConnection: close\r\n" in said(actions)
    assert actions[-1] == Close(linger=True)
    assert said(hear(reading(0), waiting + b"f" + GET)) == said(actions)


def test_a_client_that_waits_with_no_body_is_answered_at_once() -> None:
    """A length of 0 is no body; the connection goes on."""
    waiting = WAITING[:-1].replace(b"Content-Length: 1", b"Content-Length: 0")
    assert bodies(hear(Connection(echo), waiting + GET)) == [b"PUT /e  ", b"GET /a  "]
    assert bodies(hear(Connection(echo), waiting.replace(b"Content-Length: 0\r\n", b"") + GET)) == [b"PUT /e  ", b"GET /a  "]


def test_after_a_body_that_was_not_read_to_its_end_the_connection_ends() -> None:
    """Where the client waited for 100 Continue: it may still send the rest, or another request."""
    waiting = WAITING[:-1].replace(b"Content-Length: 1", b"Content-Length: 3")
    assert bodies(hear(reading(3), waiting + b"abc" + GET))[1:] == [b"PUT /e abc ", b"GET /a  "]
    for pieces in ([waiting + b"abc" + GET], [waiting, b"a", b"bc", GET]):
        actions = hear(reading(2), *pieces)
        assert said(actions).startswith(CONTINUE)
        assert len(bodies(actions)) == 2
        assert actions[-1] == Close(linger=True)


def test_another_expectation_is_refused() -> None:
    """With 417, and the connection ends: nobody knows whether a body follows."""
    for version in (b"1.1", b"1.0"):
        actions = hear(Connection(echo), WAITING[:-1].replace(b"100-continue", b"a-miracle").replace(b"1.1", version))
        assert said(actions).startswith(b"HTTP/" + version + b" 417 Expectation Failed\r\nConnection: close\r\n")
        assert actions[-1] == Close(linger=True)


def test_a_client_of_http_1_0_gets_no_100_continue() -> None:
    """It would take the 100 for its answer. With no body it is answered at once."""
    old = WAITING[:-1].replace(b"HTTP/1.1", b"HTTP/1.0")
    assert hear(Connection(echo), old) == []
    assert bodies(hear(Connection(echo), old.replace(b"Content-Length: 1\r\n", b""))) == [b"PUT /e  "]


# ------------------------------------------------------------------------------------------------------- bodies nobody reads


def sized(size: int) -> bytes:
    return b"PUT /b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size


IN_CHUNKS = b"PUT /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def lengths(actions: list[Action]) -> list[int]:
    """How much of each body was passed on, where it was not its whole, or that of the next request."""
    return [len(body) - len(b"PUT /b  ") for body in bodies(actions)]


def test_a_body_that_is_not_read_is_waited_for_up_to_256_kib() -> None:
    """Then the connection goes on. It was kept up to there, for the journal."""
    for unread in (b"x", b"x" * (MAX_UNREAD_BYTES - 1)):
        connection = reading(0)
        assert hear(connection, sized(len(unread)), unread[:-1]) == []
        assert lengths(hear(connection, unread[-1:] + GET)) == [len(unread), 0]


def test_a_longer_body_is_answered_before_it_comes() -> None:
    """As soon as whoever answers has read what it reads; the answer says that the connection ends. Whole or in pieces."""
    for size, head in ((0, sized(MAX_UNREAD_BYTES)), (10, sized(MAX_UNREAD_BYTES + 10))):
        connection = reading(size)
        early = hear(connection, head, b"x" * size)
        assert lengths(early) == [size]
        assert b"\r\nConnection: close\r\n" in said(early)
        assert early[-1] == Close(linger=True)
        assert hear(connection, b"x" * MAX_UNREAD_BYTES, GET) == []
        assert said(hear(reading(size), head + b"x" * (MAX_UNREAD_BYTES + size) + GET)) == said(early)


def test_the_same_of_a_body_in_chunks() -> None:
    """Whose length is known only once so much has come."""
    chunk = b"1000\r\n%b\r\n" % (b"x" * 4096)
    kept = IN_CHUNKS + chunk * 64 + b"0\r\n\r\n" + GET
    assert lengths(hear(reading(0), kept)) == [MAX_UNREAD_BYTES, 0]
    for pieces in (
        [IN_CHUNKS + chunk * 64 + b"1\r\nx\r\n0\r\n\r\n" + GET],
        [IN_CHUNKS, *[chunk] * 64, b"1\r\nx\r\n0\r\n\r\n", GET],
    ):
        actions = hear(reading(0), *pieces)
        assert lengths(actions) == [0]
        assert actions[-1] == Close(linger=True)


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_on_a_connection_that_ends_nothing_is_waited_for(version: bytes) -> None:
    """But for the bytes that are read."""
    head = sized(100).replace(b"HTTP/1.1", version).replace(b"Host: x", b"Host: x\r\nConnection: close")
    assert lengths(hear(reading(0), head)) == [0]
    assert lengths(hear(reading(2), head, b"a")) == []
    assert lengths(hear(reading(2), head, b"a", b"bc")) == [2]


def test_what_is_wrong_behind_the_bytes_that_are_read_is_not_told() -> None:
    """It only ends the connection."""
    broken = IN_CHUNKS + b"3\r\nabc\r\nnonsense\r\n" + GET
    assert bodies(hear(reading(3), broken)) == [b"PUT /b abc "]
    assert bodies(hear(reading(4), broken)) == [b"PUT /b abc invalid byte in chunk length"]
    assert hear(reading(3), broken)[-1] == Close(linger=True)


def test_a_body_in_chunks_is_not_kept() -> None:
    """Once it is answered, also while the connection waits for the next request, and with no garbage collector."""
    connection = Connection(lambda _: ECHOED)
    body = IN_CHUNKS + (b"10000\r\n" + b"x" * 65_536 + b"\r\n") * 16 + b"0\r\n\r\n"
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(5):
            hear(connection, body)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        gc.enable()
    assert held < 500_000


@pytest.mark.parametrize(
    ("chunks", "text"),
    [
        (b"x\r\n", "invalid byte in chunk length"),
        (b"\r\n", "empty hex number for chunk length"),
        (b"11111111111111111\r\n", "http chunk length too large"),
        (b"1\r\nabc", "malformed chunked encoding"),
        (b"1\n", "chunked line ends with bare LF"),
        (b"1\r\r\n", "invalid CR in chunked line"),
        (b"1;" + 5000 * b"x", "header line too long"),
        (b"1;" + 4095 * b"x" + b"\r\n", "header line too long"),
        (b"".join(b"1;" + 4000 * b"x" + b"\r\na\r\n" for _ in range(5)), "chunked encoding contains too much non-data"),
        (b"0\r\nnonsense\r\n\r\n", 'malformed MIME header: missing colon: "nonsense"'),
        (b"0\r\nX: " + 5000 * b"y", "http: suspiciously long trailer after chunked body"),
        (b"0\r\nX: " + 4090 * b"y" + b"\r\n\r\n", "http: suspiciously long trailer after chunked body"),
        (b"0\r\n x: y\r\n\r\n", 'malformed MIME header initial line: " x: y"'),
        (b"0\r\n " + 80 * b"y" + b"\r\n\r\n", "message too large"),
        (b"0\r\nX: a\r\n \0b\r\n\r\n", 'malformed MIME header line: "X: a \\x00b"'),
        (b"0\r\n: y\r\n\r\n", 'malformed MIME header line: ": y"'),
        (b"\n", "chunked line ends with bare LF"),
        (b"1" * 17 + b"x\r\n", "http chunk length too large"),
        (b"1;" + 4093 * b"x" + b"\r\n", "header line too long"),
    ],
)
def test_bad_chunks_get_gos_error_texts(chunks: bytes, text: str) -> None:
    """The service decides what to make of it; then the conversation ends. However they are cut."""
    actions = hear(Connection(echo), IN_CHUNKS + chunks)
    assert said(actions).endswith(text.encode())
    assert actions[-1] == Close(linger=True)
    stream = IN_CHUNKS + chunks
    assert said(hear(Connection(echo), *[stream[place : place + 1] for place in range(len(stream))])) == said(actions)


def test_the_longest_lines_that_are_taken() -> None:
    """A line before a chunk and a trailer have 4,096 bytes each, with their line breaks."""
    line = b"1;" + 4092 * b"x" + b"\r\n"
    trailer = b"X: " + 4089 * b"y" + b"\r\n\r\n"
    assert len(line) == len(trailer) == 4096
    stream = IN_CHUNKS + line + b"a\r\n0\r\n" + trailer + GET
    for size in (len(stream), 1000, 1):
        pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
        assert bodies(hear(Connection(echo), *pieces)) == [b"PUT /b a ", b"GET /a  "]


def test_a_trailer_ends_at_its_first_blank_line() -> None:
    """But only once two line breaks of two bytes have come, which may be those of the next request."""
    connection = Connection(echo)
    assert hear(connection, IN_CHUNKS + b"0\r\nX: y\n\n") == []
    assert bodies(hear(connection, GET)) == [b"PUT /b  ", b"GET /a  "]


@pytest.mark.parametrize("name", [b"content-length", b"x, Trailer", b"X\r\nTrailer: Transfer-Encoding ,y"])
def test_a_trailer_cannot_be_framing(name: bytes) -> None:
    """Such a name in ``Trailer`` is a bad request, where there can be a trailer."""
    chunked = IN_CHUNKS.replace(b"Host", b"Trailer: " + name + b"\r\nHost")
    assert said(hear(Connection(echo), chunked)).endswith(b"400 Bad Request")
    assert bodies(hear(Connection(echo), GET.replace(b"Host", b"Trailer: " + name + b"\r\nHost"))) == [b"GET /a  "]
    assert bodies(hear(Connection(echo), IN_CHUNKS.replace(b"Host", b"Trailer: X\r\nHost") + b"0\r\n\r\n")) == [b"PUT /b  "]


@pytest.mark.parametrize(
    ("stream", "text"),
    [
        (PUT[:-1], "unexpected EOF"),
        (CHUNKED[:-20], "unexpected EOF"),
        (CHUNKED[: CHUNKED.index(b"X: y")], "http: unexpected EOF reading trailer"),
        (CHUNKED[:-2], "http: suspiciously long trailer after chunked body"),
    ],
)
def test_a_body_that_is_cut_off(stream: bytes, text: str) -> None:
    """The request is answered as far as it goes: the client may still be listening."""
    connection = Connection(echo)
    assert hear(connection, stream) == []
    actions = finish(connection)
    assert said(actions).endswith(text.encode())
    assert isinstance(actions[-1], Close)


def test_a_head_that_is_cut_off_is_a_bad_request() -> None:
    """But a few bytes after an answer are not even looked at."""
    connection = Connection(echo)
    hear(connection, GET[:-3])
    assert said(finish(connection)).endswith(b"400 Bad Request")
    connection = Connection(echo)
    hear(connection, GET + b"GE")
    assert finish(connection) == [Close(linger=False)]


def test_blank_lines_after_a_post_are_forgiven() -> None:
    """Old clients send them; after anything else they begin a bad request."""
    post = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nb"
    assert bodies(hear(Connection(echo), post, b"\r\n\r\n", GET)) == [b"POST /a b ", b"GET /a  "]
    assert said(hear(Connection(echo), GET, b"\r\n\r\n", GET)).endswith(b"400 Bad Request")


def test_more_than_four_blank_bytes_after_a_post_are_not_forgiven() -> None:
    """However they are cut."""
    post = b"POST /a HTTP/1.1\r\nHost: x\r\n\r\n"
    stream = post + b"\r\n\r\n" + b"\r\n" + GET
    whole = said(hear(Connection(echo), stream))
    assert whole.endswith(b"400 Bad Request")
    for cut in range(1, len(stream)):
        assert said(hear(Connection(echo), stream[:cut], stream[cut:])) == whole


def test_every_cookie_line_counts() -> None:
    """They are one header, joined as Go joins them; of lines with another name the first counts."""
    seen: list[dict[bytes, bytes]] = []

    def answer(request: Request) -> Response:
        seen.append(request.headers)
        return ECHOED

    lines = b"Cookie: a=b\r\nX: 1\r\ncookie:  c=d \r\nX: 2\r\nCOOKIE: e=f\r\n"
    hear(Connection(answer), GET.replace(b"Host", lines + b"Host"))
    assert seen == [{b"cookie": b"a=b; c=d; e=f", b"x": b"1", b"host": b"x"}]


@pytest.mark.parametrize(
    ("line", "is_kept"),
    [(b"a close", False), (b"a\r\nConnection: b, close", False), (b"a\r\nConnection: b close", True), (b"closed", True)],
)
def test_how_close_is_said(line: bytes, is_kept: bool) -> None:
    """As a word of the first line, or as an element of any."""
    stream = GET.replace(b"Host", b"Connection: " + line + b"\r\nHost") + GET
    assert len(bodies(hear(Connection(echo), stream))) == (2 if is_kept else 1)


def test_the_date_of_an_answer() -> None:
    """Every answer has one, as RFC 9110 has it, or keeps its own; what net/http refuses below HTTP has none."""
    connection = Connection(echo)
    (sent,) = connection.receive(GET)
    assert isinstance(sent, bytes)
    date = re.search(rb"\r\nDate: ([^\r]*)\r\n", sent)
    assert date is not None
    sent_at = parsedate_to_datetime(date[1].decode())
    assert abs(sent_at.timestamp() - time.time()) < 5
    assert formatdate(sent_at.timestamp(), usegmt=True).encode() == date[1]
    assert without_date(sent) == sent.replace(date[0][2:], b"")
    assert b"Date" not in b"".join(filter_bytes(Connection(echo).receive(b"nonsense\r\n")))
    own = Connection(lambda _: Response(200, (("date", "then"),)))
    assert b"".join(filter_bytes(own.receive(GET))).lower().count(b"\r\ndate: ") == 1


def test_the_date_of_every_day() -> None:
    """Names of days and months are English, whatever the machine's language."""
    for day in range(370):
        assert date(day * 86_400 + 86_399) == formatdate(day * 86_400 + 86_399, usegmt=True)


def filter_bytes(actions: tuple[Action, ...]) -> list[bytes]:
    return [action for action in actions if isinstance(action, bytes)]


def test_http_1_0() -> None:
    """It needs no Host, knows no chunks, and ends unless the client asks otherwise; then the answer says so."""
    old = b"GET /a HTTP/1.0\r\n\r\n"
    actions = hear(Connection(echo), old + GET)
    assert said(actions).startswith(b"HTTP/1.0 200 OK\r\n")
    assert (b"Connection" in said(actions), bodies(actions)) == (False, [b"GET /a  "])
    kept = hear(Connection(echo), old.replace(b"\r\n\r\n", b"\r\nConnection: Keep-Alive, close\r\n\r\n") + GET)
    assert b"\r\nConnection: keep-alive\r\n" in said(kept)
    assert len(bodies(kept)) == 2
    chunked = old.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: x\r\nTrailer: Trailer\r\nContent-Length: 1\r\n\r\nb")
    assert bodies(hear(Connection(echo), chunked)) == [b"GET /a b "]


@pytest.mark.parametrize("target", [b"x:80", b"mailto:a@b", b"http://\xc3\xa9/a", b"http://x/a", b"x:/a"])
def test_absolute_targets(target: bytes) -> None:
    """Of every form that Go takes: a scheme, and an authority, a path, or anything else."""
    assert bodies(hear(Connection(echo), GET.replace(b"/a", target))) == [b"GET " + target + b"  "]


def test_a_connect_with_no_target_is_read() -> None:
    """As Go reads it. Another method needs one."""
    assert bodies(hear(Connection(echo), b"CONNECT  HTTP/1.1\r\n\r\n")) == [b"CONNECT   "]
    assert said(hear(Connection(echo), b"GET  HTTP/1.1\r\nHost: x\r\n\r\n")).endswith(b"400 Bad Request")


def test_a_head_of_one_mib() -> None:
    """And what Go's reader holds beyond it; a byte more is refused, whole or in pieces. A first line that is bad is told first."""
    line = b"GET /a HTTP/1.1\r\nHost: x\r\nX: "
    longest = line + b"y" * (MAX_HEAD_BYTES - len(line) - 4) + b"\r\n\r\n"
    for size in (len(longest) + 1, 100_000):
        for stream, answer in ((longest, b"GET /a  "), (longest.replace(b"X", b"XX"), TOO_LARGE.encode())):
            pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
            assert bodies(hear(Connection(echo), *pieces)) == [answer]
        bad = longest.replace(b"GET /a", b"GET a").replace(b"X", b"XXX")
        assert said(hear(Connection(echo), *[bad[start : start + size] for start in range(0, len(bad), size)])).endswith(
            b"400 Bad Request"
        )
    endless = b"GET /" + b"x" * MAX_HEAD_BYTES
    assert (
        bodies(hear(Connection(echo), endless))
        == bodies(hear(Connection(echo), endless[:99], endless[99:]))
        == [TOO_LARGE.encode()]
    )


def test_what_is_kept_of_a_request_can_be_told() -> None:
    """Of its head and of its body; a server that can keep no more of it refuses it."""
    connection = Connection(echo)
    hear(connection, GET + GET[:20])
    assert connection.held_bytes == 20
    hear(connection, GET[20:] + PUT[:-1])
    assert connection.held_bytes == 2
    refused = list(connection.overloaded())
    assert said(refused).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert refused[-1] == Close(linger=True)


MIB = b"x" * (1024 * 1024)


def test_a_long_body_is_kept_whole() -> None:
    """Up to 64 MiB, and the next request is served right."""
    connection = Connection(lambda request: ECHOED.replace(body=b"%d" % len(request.body)))
    head = b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % MAX_BODY_BYTES
    assert bodies(hear(connection, head, *[MIB] * 64, GET)) == [b"%d" % MAX_BODY_BYTES, b"0"]


@pytest.mark.parametrize(
    ("frame", "piece"), [(b"Content-Length: %d" % (1 << 62), MIB), (b"Transfer-Encoding: chunked", b"100000\r\n" + MIB + b"\r\n")]
)
def test_a_body_without_end_is_answered_before_it(frame: bytes, piece: bytes) -> None:
    """Over 64 MiB: whoever answers sees a byte more than that; then the conversation ends."""
    connection = Connection(lambda request: ECHOED.replace(body=b"%d" % len(request.body)))
    actions = hear(connection, b"PUT /a HTTP/1.1\r\nHost: x\r\n" + frame + b"\r\n\r\n", *[piece] * 65)
    assert bodies(actions) == [b"%d" % (MAX_BODY_BYTES + 1)]
    assert actions[-1] == Close(linger=True)


def test_a_blocking_function_becomes_a_job() -> None:
    """A job is an action; until its response is there nothing else is answered."""
    late = Job(lambda: ECHOED.replace(body=b"late"), Lane.OTHER)
    connection = Connection(lambda request: late if request.target == b"/slow" else echo(request))
    (job,) = hear(connection, GET.replace(b"/a", b"/slow") + GET + GET)
    assert job is late
    assert hear(connection, GET) == []
    assert connection.eof() == ()
    actions = list(connection.job_done(late()))
    while more := connection.advance():
        actions += more
    assert bodies(actions) == [b"late", b"GET /a  ", b"GET /a  ", b"GET /a  "]
    assert actions[-1] == Close(linger=False)


def test_what_is_refused_here_can_be_logged() -> None:
    """Nobody else hears of it."""
    lines: list[tuple[object, ...]] = []
    for bad in (b"nonsense\r\n\r\n", b"GET /b HTTP/1.1\r\nHost: x\r\nExpect: more\r\n\r\n"):
        hear(Connection(echo, lambda *line: lines.append(line)), GET + bad)
    assert lines == [("-", b"-", 400), ("GET", b"/b", 417)]


@pytest.mark.parametrize(
    ("head", "text"),
    [
        (b"GET /a HTTP/2.0\r\nHost: x", b"505 HTTP Version Not Supported: unsupported protocol version"),
        (b"GET /a HTTP/1.1\r\nHost: x y", b"400 Bad Request: malformed Host header"),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nHost: x", b"400 Bad Request"),
        (b"GET /a HTTP/1.1\r\nHost : x", b"400 Bad Request: missing required Host header"),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nA B : c", b"400 Bad Request: invalid header name"),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nA B : c\r\nD(: e", b"400 Bad Request"),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nA: \0", b"400 Bad Request"),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nA\r\n B: c", b"400 Bad Request"),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nA B: \r-", b"400 Bad Request"),
        (b"GET /a HTTP/1.1\r\n A: b\r\nHost: x", b"400 Bad Request"),
        (b"GET /a HTTP/2.0\r\nHost: x\r\nTransfer-Encoding: x", b"Unsupported transfer encoding"),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r", b"400 Bad Request"),
        (
            b"GET /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            b"Unsupported transfer encoding",
        ),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0bchunked", b"400 Bad Request"),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9223372036854775808", b"400 Bad Request"),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nContent-Length:", b"400 Bad Request"),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1", b"400 Bad Request"),
    ],
)
def test_heads_that_are_refused(head: bytes, text: bytes) -> None:
    """In the words of Go's server, which end the conversation."""
    actions = hear(Connection(echo), head + b"\r\n\r\n")
    assert said(actions).partition(b"\r\n\r\n")[2] == text
    assert actions[-1] == Close(linger=True)


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        (b"Connection: close", b"HTTP/1.1 200"),
        (b"Connection: x\r\nConnection: close", b"HTTP/1.1 200"),
        (b"Proxy-Connection: close", b""),
        (b"Upgrade: h2c\r\nConnection: upgrade", b""),
        (b"Content-Length: 000", b""),
    ],
)
def test_when_the_connection_is_kept(lines: bytes, answer: bytes) -> None:
    """Only what says so ends it."""
    actions = hear(Connection(echo), b"GET /a HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n\r\n" + GET)
    assert len(bodies(actions)) == (1 if answer else 2)


def test_a_status_without_a_reason_phrase() -> None:
    """The status line is well-formed all the same."""
    assert said(hear(Connection(lambda _: Response(299)), GET)).startswith(b"HTTP/1.1 299 Unknown\r\n")


def test_rows_are_named_in_a_header() -> None:
    """Where the double was kinder than the service."""
    assert b"\r\nKvfake-Rows: M15, M17\r\n" in said(hear(Connection(lambda _: Response(200, rows=("M15", "M17"))), GET))
