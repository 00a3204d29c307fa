"""What a conversation asks of whoever drives its socket.

Law: values and nothing else.

=====

What befalls an answer on its way, as actions of a conversation.

Law: a message in, actions out; it chooses nothing and waits for nothing. Whoever drives the sockets carries them out.

=====

One conversation, without sockets: bytes heard in, actions out.

Law: it speaks HTTP/1.1 as Go's ``net/http`` does (M28) and holds no rule of a service. It never waits and never blocks: what
it is handed it works off as far as it can, one request at a time, and says what is to be done:
see `kvfake.http.connection`. The response of a job is handed to `answered`.

After its actions were carried out, `advance` gives those for the next request that was heard already, if there is one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple

from kvfake.http.parser import (
    BAD_REQUEST_TEXT,
    MAX_HEAD_BYTES,
    TOO_LARGE,
    BadRequestHead,
    Body,
    ChunkedBody,
    Head,
    HeadParser,
    request_line,
)
from kvfake.services.messages import GARBAGE, RESET, ROWS, SILENCE, TRUNCATE, Headers, Request, Response, WireFault
from kvfake.world.journal import redact_headers

Job = Callable[[], Response]
"""Run this where it may block."""


class Wait(NamedTuple):
    """Do nothing for so long; what follows waits."""

    seconds: float


class Hang(NamedTuple):
    """Say nothing until the client gives up, or for so long; then end the connection."""

    seconds: float


class Reset(NamedTuple):
    """End the connection with RST, as if this machine were gone."""


class Close(NamedTuple):
    """End the connection. Where the client may still be speaking, ``linger`` says to let it finish."""

    linger: bool


Action = bytes | Job | Wait | Hang | Reset | Close
"""``bytes``: send these."""


MAX_SILENCE_SECONDS = 300.0

_MAX_PIECES = 200
_PIECE_SECONDS = 0.01
_CLOSE = Close(linger=True)  # closed at once, what the client still says would make a reset of it

RESET_AT_ONCE = struct.pack("ii", 1, 0)
"""For SO_LINGER: closing sends RST, and what was not sent yet is lost."""


def apply_wire_fault(wire_fault: WireFault, message: bytes, body: bytes, garbage: bytes) -> tuple[Action, ...]:
    """What is done in place of sending ``message``, which ends with ``body``; ``garbage`` is what comes where no answer does. The
    connection ends where the last of them is no bytes.
    """
    waiting: tuple[Action, ...] = (Wait(wire_fault.delay),) if wire_fault.delay else ()
    if wire_fault.sever.startswith(RESET):
        return (*waiting, Reset())
    if wire_fault.sever.startswith(SILENCE):
        return (*waiting, Hang(MAX_SILENCE_SECONDS))
    if wire_fault.is_unanswered:
        return (*waiting, garbage, _CLOSE) if wire_fault.sever == GARBAGE else (*waiting, _CLOSE)
    if wire_fault.sever == TRUNCATE:
        message = message[: len(message) - (len(body) + 1) // 2]
    pieces = (*waiting, *in_pieces(message, wire_fault.over))
    return (*pieces, _CLOSE) if wire_fault.sever else pieces


def in_pieces(message: bytes, over: float) -> list[bytes | Wait]:
    """The message, spread over that time."""
    count = max(1, min(_MAX_PIECES, len(message), int(over / _PIECE_SECONDS)))
    size = max(1, -(-len(message) // count))
    pieces: list[bytes | Wait] = [message[:size]]
    for start in range(size, len(message), size):
        pieces += [Wait(over * size / len(message)), message[start : start + size]]
    return pieces


Handler = Callable[[Request], Response | Job]
Log = Callable[[str, bytes, int, int], None]
"""Method, target, status, bytes of the body; zeros where a fault let no answer out."""


_NOTHING: tuple[Action, ...] = ()
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_EXPECTATION_FAILED = Response(417, close=True)
WITHOUT_LENGTH = (204, 304)  # RFC 9110, 8.6: nor a body
_PROMISED_BYTES = 16  # of an empty body that ends before its length
_MIN_BYTES_OF_A_NEXT_HEAD = 4  # net/http waits for so many before it looks at them
_MAX_BLANK_BYTES_AFTER_POST = 4  # net/http: RFC 7230 section 3 tolerance for old buggy clients


class Connection:
    """What was heard on one connection and not yet answered."""

    def __init__(self, answer: Handler, log: Log | None = None) -> None:
        self._handle, self._log = answer, log
        self._reader = HeadParser()
        self._heard: bytes | bytearray = b""
        self._searched = 0  # so much of what was heard is known not to end a head
        self._has_checked_line = False
        self._method, self._target = "", b""  # of the request that was read last
        self._head: Head | None = None  # of the request whose body is being read, or whose job is running
        self._body: Body | None = None
        self._headers: dict[bytes, bytes] | None = None  # of the last request,
        self._shown: dict[bytes, bytes] = {}  # and what can be shown of them
        self._has_served = self._follows_post = False
        self._is_half_closed = False  # the client will say no more
        self._is_cut_short = False  # a request is answered before its end
        self._has_ended = False

    def receive(self, data: bytes) -> tuple[Action, ...]:
        """Bytes came."""
        if not self._heard:
            self._heard = data
        else:
            if isinstance(self._heard, bytes):
                self._heard = bytearray(self._heard)
            self._heard += data
        return self.advance()

    def eof(self) -> tuple[Action, ...]:
        """The client will say no more. What was begun is answered as far as it goes."""
        self._is_half_closed = True
        return self.advance()

    def advance(self) -> tuple[Action, ...]:
        """Go on with what was heard."""
        if self._body is not None:
            return self._read_body(self._body)
        if self._head is not None or self._has_ended:
            return _NOTHING
        if self._heard and not (self._has_served and len(self._heard) < _MIN_BYTES_OF_A_NEXT_HEAD):
            return self._read_head()
        return self._end(linger=False) if self._is_half_closed else _NOTHING

    def answered(self, response: Response) -> tuple[Action, ...]:
        """A job is done."""
        head = self._head
        assert head is not None
        self._head = None
        return self._reply(head, response)

    # ----------------------------------------------------------------------------------------------------------- hearing

    def _read_head(self) -> tuple[Action, ...]:
        heard = self._heard
        if self._follows_post:
            blank = len(heard) - len(heard.lstrip(b"\r\n"))
            self._heard = heard = heard[min(blank, _MAX_BLANK_BYTES_AFTER_POST) :]
            self._follows_post = not heard
        end = self._reader.end_of_same(heard) or _end_of_head(heard, self._searched)
        if end > MAX_HEAD_BYTES or (end < 0 and len(heard) > MAX_HEAD_BYTES):
            return self._refuse(BadRequestHead(TOO_LARGE))
        try:
            if end < 0:
                return self._wait_for_head(heard)
            self._searched, self._has_checked_line = 0, False
            self._heard = heard[end:]
            self._method, self._target, head = self._reader.read(bytes(heard[:end]))
        except BadRequestHead as bad:
            return self._refuse(bad)
        length = head.length
        if length is not None and length <= len(self._heard) and not head.expects:
            body = b""
            if length:
                body, self._heard = bytes(self._heard[:length]), self._heard[length:]
            return self._ask(head, body)
        self._head, self._body = head, (incoming := ChunkedBody() if length is None else Body(length))
        if head.expects is None:
            return self._ask_early(head, incoming)
        actions = self._read_body(incoming) if self._heard else _NOTHING
        return (_CONTINUE, *actions) if head.expects and not head.is_old else actions

    def _wait_for_head(self, heard: bytes | bytearray) -> tuple[Action, ...]:
        """More must come, unless what is there cannot begin a request, or nothing more will."""
        if self._is_half_closed and heard:
            raise BadRequestHead(BAD_REQUEST_TEXT)
        if not self._has_checked_line and b"\n" in heard:
            request_line(bytes(heard.partition(b"\n")[0]))
            self._has_checked_line = True
        self._searched = max(0, len(heard) - 3)
        return _NOTHING

    def _read_body(self, body: Body) -> tuple[Action, ...]:
        head = self._head
        assert head is not None
        self._heard = body.feed(bytes(self._heard))
        if self._is_half_closed and not body.is_done and not body.broken:
            body.end()
        if body.is_done:
            self._head = self._body = None
            return self._ask(head, body.bytes)
        return self._ask_early(head, body) if body.broken or body.is_too_long else _NOTHING

    # ---------------------------------------------------------------------------------------------------------- answering

    def _ask_early(self, head: Head, body: Body) -> tuple[Action, ...]:
        """Answer a request whose body did not come to its end, or never will."""
        self._is_cut_short = True
        self._head = self._body = None
        return self._ask(head, body.bytes, body.broken)

    def _ask(self, head: Head, body: bytes, broken: str = "") -> tuple[Action, ...]:
        if head.expects is None:
            answer: Response | Job = _EXPECTATION_FAILED
        else:
            if head.headers is not self._headers:
                self._headers, self._shown = head.headers, redact_headers(head.headers)
            answer = self._handle(Request(self._method, self._target, head.headers, body, broken, self._shown))
        if isinstance(answer, Response):
            return self._reply(head, answer)
        self._head = head
        return (answer,)

    def _reply(self, head: Head, response: Response) -> tuple[Action, ...]:
        if self._log is not None:
            is_lost = response.wire_fault is not None and response.wire_fault.is_unanswered
            self._log(self._method, self._target, *((0, 0) if is_lost else (response.status, len(response.body))))
        keep_alive = head.keep_alive and not response.close and not self._is_cut_short
        body = b"" if self._method == "HEAD" or response.status in WITHOUT_LENGTH else response.body
        message = message_of(response, body, keep_alive, head.is_old)
        actions: tuple[Action, ...] = (message,)
        if response.wire_fault is not None:
            actions = apply_wire_fault(response.wire_fault, message, body, response.body)
            if not isinstance(actions[-1], bytes):
                self._has_ended = True
                return actions
        if keep_alive:
            self._has_served, self._follows_post = True, self._method == "POST"
            return actions
        return (*actions, *self._end(linger=response.close or self._is_cut_short or bool(self._heard)))

    def _refuse(self, bad: BadRequestHead) -> tuple[Action, ...]:
        if self._log is not None:
            self._log("-", b"-", int(bad.text[:3]), len(bad.body))
        message = f"HTTP/1.1 {bad.text}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{bad.body}"
        return (message.encode(), *self._end(linger=True))

    def _end(self, linger: bool) -> tuple[Action, ...]:
        self._has_ended = True
        return (Close(linger),)


def _end_of_head(heard: bytes | bytearray, start: int) -> int:
    """Behind the first blank line; negative where there is none yet. A line may end without a carriage return."""
    end = heard.find(b"\n\r\n", start)
    bare = heard.find(b"\n\n", start, end + 1 if end >= 0 else len(heard))
    if bare >= 0:
        return bare + 2
    return end + 3 if end >= 0 else -1


def message_of(response: Response, body: bytes, keep_alive: bool, is_old: bool = False) -> bytes:
    """The response as it is sent, with that body."""
    start = _start(response.status, response.headers, response.rows, keep_alive, is_old)
    if response.status in WITHOUT_LENGTH:
        return start + b"\r\n"
    length = len(response.body)
    if response.wire_fault is not None and response.wire_fault.sever == TRUNCATE and not length:
        length = _PROMISED_BYTES
    return b"%b%d\r\n\r\n%b" % (start, length, body)


@lru_cache(maxsize=512)
def _start(status: int, headers: Headers, rows: tuple[str, ...], keep_alive: bool, is_old: bool) -> bytes:
    """The status line and the headers, up to the length that follows where there is a body."""
    lines = [f"HTTP/1.{0 if is_old else 1} {status} {reason(status)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if rows:
        lines.append(f"{ROWS}: {', '.join(rows)}")
    if not keep_alive:
        lines.append("Connection: close")
    elif is_old:
        lines.append("Connection: keep-alive")
    lines.append("" if status in WITHOUT_LENGTH else "Content-Length: ")
    return "\r\n".join(lines).encode("latin-1")


def reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
