"""The conversation, without a socket: bytes heard, actions out."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kvfake.http.connection import Action, Close, Connection
from kvfake.http.parser import MAX_BODY_BYTES
from kvfake.services.messages import Job, Request, Response
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


def test_a_client_that_waits_gets_100_continue() -> None:
    """``100 Continue`` comes before the body is read, and once."""
    connection = Connection(echo)
    head, body = WAITING[:-1], WAITING[-1:]
    assert hear(connection, head) == [b"HTTP/1.1 100 Continue\r\n\r\n"]
    assert bodies(hear(connection, body)) == [b"PUT /e f "]


def test_another_expectation_is_refused() -> None:
    """With 417, and the connection ends: nobody knows whether a body follows."""
    for version in (b"1.1", b"1.0"):
        actions = hear(Connection(echo), WAITING[:-1].replace(b"100-continue", b"a-miracle").replace(b"1.1", version))
        assert said(actions).startswith(b"HTTP/" + version + b" 417 Expectation Failed\r\n")
        assert actions[-1] == Close(linger=True)


def test_a_client_of_http_1_0_gets_no_100_continue() -> None:
    """It would take the 100 for its answer."""
    assert hear(Connection(echo), WAITING[:-1].replace(b"HTTP/1.1", b"HTTP/1.0")) == []


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
    ],
)
def test_bad_chunks_get_gos_error_texts(chunks: bytes, text: str) -> None:
    """The service decides what to make of it; then the conversation ends."""
    head = b"PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    actions = hear(Connection(echo), head + chunks)
    assert said(actions).endswith(text.encode())
    assert actions[-1] == Close(linger=True)


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
    late = Job(lambda: ECHOED.replace(body=b"late"))
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


def test_every_exchange_can_be_logged() -> None:
    """Also what was refused below the services."""
    lines: list[tuple[object, ...]] = []
    hear(Connection(echo, lambda *line: lines.append(line)), GET + b"nonsense\r\n\r\n")
    assert lines == [("GET", b"/a", 200, 8), ("-", b"-", 400, 15)]


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
