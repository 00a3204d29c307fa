"""One connection, without its socket: bytes in, actions out.

Law: it speaks HTTP/1.1 as Go's ``net/http`` does (M28) and holds no rule of a service. It never waits and never blocks: it works
off the bytes that it gets, one request at a time, and says what is to be done as actions, which `kvfake.http.server` carries out.
After the actions were carried out, `Connection.advance` gives those for the next request that is there already, if there is one.
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
    BadRequest,
    Body,
    ChunkedBody,
    Head,
    HeadParser,
    request_line,
)
from kvfake.services.messages import FIDELITY_HEADER, Headers, Job, Request, Response, Sever, Wire, WireFault
from kvfake.world.journal import redact_headers

Handler = Callable[[Request], Response | Job]
"""Answers a request: with a response, or with a job that makes one where that may block."""

Log = Callable[[str, bytes, int, int], None]
"""Called with method, target, status and the bytes of the body; zeros where a fault let no answer out."""

WITHOUT_LENGTH = (204, 304)  # RFC 9110, 8.6: no Content-Length, and no body
MAX_HANG_SECONDS = 300.0
_MAX_PIECES = 200  # of a response that is spread over time
_PIECE_SECONDS = 0.01
_PROMISED_BYTES = 16  # the Content-Length of an empty body that is truncated
_MIN_BYTES_OF_A_NEXT_HEAD = 4  # net/http waits for so many before it looks at them
_MAX_BLANK_BYTES_AFTER_POST = 4  # net/http: RFC 7230 section 3 tolerance for old buggy clients
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_EXPECTATION_FAILED = Response(417, close=True)


# ------------------------------------------------------------------------------------------------------------------ actions


class Wait(NamedTuple):
    """Do nothing for so long; what follows waits."""

    seconds: float


class Hang(NamedTuple):
    """Send nothing until the client gives up, or for so long; then end the connection."""

    seconds: float


class Reset(NamedTuple):
    """End the connection with RST, as if this machine were gone."""


class Close(NamedTuple):
    """End the connection. ``linger`` says to read on until the client is done: closing with unread input would send RST, and the
    client could lose the answer.
    """

    linger: bool


Action = bytes | Job | Wait | Hang | Reset | Close
"""Of these ``bytes`` are to be sent, and a job is to be run, its response handed to `Connection.job_done`."""

_NOTHING: tuple[Action, ...] = ()
_LINGER = Close(linger=True)

SO_LINGER_RESET = struct.pack("ii", 1, 0)
"""For SO_LINGER: closing sends RST, and what was not sent yet is lost."""


def apply_wire_fault(wire_fault: WireFault, message: bytes, body: bytes, garbage: bytes) -> tuple[Action, ...]:
    """What is done in place of sending ``message``, which ends with ``body``; ``garbage`` is sent where the fault sends bytes that
    are no answer. If the last action is not bytes, it ends the connection.
    """
    waiting: tuple[Action, ...] = (Wait(wire_fault.delay),) if wire_fault.delay else ()
    wire = wire_fault.sever.wire if wire_fault.sever is not None else None
    if wire is Wire.RESET:
        return (*waiting, Reset())
    if wire is Wire.HANG:
        return (*waiting, Hang(MAX_HANG_SECONDS))
    if wire is Wire.CLOSE:
        return (*waiting, _LINGER)
    if wire is Wire.GARBAGE:
        return (*waiting, garbage, _LINGER)
    if wire is Wire.TRUNCATE:
        message = message[: len(message) - (len(body) + 1) // 2]
    pieces = (*waiting, *in_pieces(message, wire_fault.over))
    return pieces if wire is None else (*pieces, _LINGER)


def in_pieces(message: bytes, seconds: float) -> list[bytes | Wait]:
    """The message, spread over that time."""
    count = max(1, min(_MAX_PIECES, len(message), int(seconds / _PIECE_SECONDS)))
    size = max(1, -(-len(message) // count))
    pieces: list[bytes | Wait] = [message[:size]]
    for start in range(size, len(message), size):
        pieces += [Wait(seconds * size / len(message)), message[start : start + size]]
    return pieces


# --------------------------------------------------------------------------------------------------------------- connection


class Connection:
    """The requests of one connection, one after the other."""

    def __init__(self, handle: Handler, log: Log | None = None) -> None:
        self._handle, self._log = handle, log
        self._parser = HeadParser()
        self._input: bytes | bytearray = b""  # what was received and not used yet
        self._searched = 0  # so many bytes of it are known not to end a head
        self._has_checked_line = False
        self._method, self._target = "", b""  # of the request that was read last
        self._head: Head | None = None  # of the request whose body is being read, or whose job is running
        self._body: Body | None = None
        self._headers: dict[bytes, bytes] | None = None  # of the last request
        self._redacted_headers: dict[bytes, bytes] = {}  # the same, redacted
        self._has_served = self._follows_post = False
        self._is_half_closed = False  # the client will send no more
        self._is_cut_short = False  # the request is answered before its end
        self._has_ended = False

    def receive(self, data: bytes) -> tuple[Action, ...]:
        """Take these bytes."""
        if not self._input:
            self._input = data
        else:
            if isinstance(self._input, bytes):
                self._input = bytearray(self._input)
            self._input += data
        return self.advance()

    def eof(self) -> tuple[Action, ...]:
        """The client will send no more. A request that was begun is answered as far as it came."""
        self._is_half_closed = True
        return self.advance()

    def advance(self) -> tuple[Action, ...]:
        """Go on with what was received."""
        if self._body is not None:
            return self._read_body(self._body)
        if self._head is not None or self._has_ended:
            return _NOTHING
        if self._input and not (self._has_served and len(self._input) < _MIN_BYTES_OF_A_NEXT_HEAD):
            return self._read_head()
        return self._end(linger=False) if self._is_half_closed else _NOTHING

    def job_done(self, response: Response) -> tuple[Action, ...]:
        """Go on with the response of the job."""
        head = self._head
        assert head is not None
        self._head = None
        return self._reply(head, response)

    # ----------------------------------------------------------------------------------------------------------- requests

    def _read_head(self) -> tuple[Action, ...]:
        received = self._input
        if self._follows_post:
            blank = len(received) - len(received.lstrip(b"\r\n"))
            self._input = received = received[min(blank, _MAX_BLANK_BYTES_AFTER_POST) :]
            self._follows_post = not received
        end = self._parser.end_of_same(received) or _end_of_head(received, self._searched)
        if end > MAX_HEAD_BYTES or (end < 0 and len(received) > MAX_HEAD_BYTES):
            return self._refuse(BadRequest(TOO_LARGE))
        try:
            if end < 0:
                return self._wait_for_head(received)
            self._searched, self._has_checked_line = 0, False
            self._input = received[end:]
            self._method, self._target, head = self._parser.read(bytes(received[:end]))
        except BadRequest as bad:
            return self._refuse(bad)
        length = head.length
        if length is not None and length <= len(self._input) and not head.expects:
            body = b""
            if length:
                body, self._input = bytes(self._input[:length]), self._input[length:]
            return self._answer(head, body)
        self._head, self._body = head, (incoming := ChunkedBody() if length is None else Body(length))
        if head.expects is None:
            return self._answer_early(head, incoming)
        actions = self._read_body(incoming) if self._input else _NOTHING
        return (_CONTINUE, *actions) if head.expects and not head.is_old else actions

    def _wait_for_head(self, received: bytes | bytearray) -> tuple[Action, ...]:
        """Wait for more, unless these bytes cannot begin a request, or no more will come."""
        if self._is_half_closed and received:
            raise BadRequest(BAD_REQUEST_TEXT)
        if not self._has_checked_line and b"\n" in received:
            request_line(bytes(received.partition(b"\n")[0]))
            self._has_checked_line = True
        self._searched = max(0, len(received) - 3)
        return _NOTHING

    def _read_body(self, body: Body) -> tuple[Action, ...]:
        head = self._head
        assert head is not None
        self._input = body.feed(bytes(self._input))
        if self._is_half_closed and not body.is_done and not body.error:
            body.end()
        if body.is_done:
            self._head = self._body = None
            return self._answer(head, body.bytes)
        return self._answer_early(head, body) if body.error or body.is_too_long else _NOTHING

    # ---------------------------------------------------------------------------------------------------------- responses

    def _answer_early(self, head: Head, body: Body) -> tuple[Action, ...]:
        """Answer a request whose body has not come to its end, or never will."""
        self._is_cut_short = True
        self._head = self._body = None
        return self._answer(head, body.bytes, body.error)

    def _answer(self, head: Head, body: bytes, body_error: str = "") -> tuple[Action, ...]:
        if head.expects is None:
            answer: Response | Job = _EXPECTATION_FAILED
        else:
            if head.headers is not self._headers:
                self._headers, self._redacted_headers = head.headers, redact_headers(head.headers)
            request = Request(self._method, self._target, head.headers, body, body_error, self._redacted_headers)
            answer = self._handle(request)
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
        return (*actions, *self._end(linger=response.close or self._is_cut_short or bool(self._input)))

    def _refuse(self, bad: BadRequest) -> tuple[Action, ...]:
        if self._log is not None:
            self._log("-", b"-", int(bad.text[:3]), len(bad.body))
        message = f"HTTP/1.1 {bad.text}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{bad.body}"
        return (message.encode(), *self._end(linger=True))

    def _end(self, linger: bool) -> tuple[Action, ...]:
        self._has_ended = True
        return (Close(linger),)


def _end_of_head(received: bytes | bytearray, start: int) -> int:
    """Behind the first blank line; negative where there is none yet. A line may end without a carriage return."""
    end = received.find(b"\n\r\n", start)
    bare = received.find(b"\n\n", start, end + 1 if end >= 0 else len(received))
    if bare >= 0:
        return bare + 2
    return end + 3 if end >= 0 else -1


def message_of(response: Response, body: bytes, keep_alive: bool, is_old: bool = False) -> bytes:
    """The response as it is sent, with that body."""
    start = _start(response.status, response.headers, response.rows, keep_alive, is_old)
    if response.status in WITHOUT_LENGTH:
        return start + b"\r\n"
    length = len(response.body)
    if response.wire_fault is not None and response.wire_fault.sever is Sever.TRUNCATE and not length:
        length = _PROMISED_BYTES
    return b"%b%d\r\n\r\n%b" % (start, length, body)


@lru_cache(maxsize=512)
def _start(status: int, headers: Headers, rows: tuple[str, ...], keep_alive: bool, is_old: bool) -> bytes:
    """The status line and the headers, up to the length that follows where there is a body."""
    lines = [f"HTTP/1.{0 if is_old else 1} {status} {reason_phrase(status)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if rows:
        lines.append(f"{FIDELITY_HEADER}: {', '.join(rows)}")
    if not keep_alive:
        lines.append("Connection: close")
    elif is_old:
        lines.append("Connection: keep-alive")
    lines.append("" if status in WITHOUT_LENGTH else "Content-Length: ")
    return "\r\n".join(lines).encode("latin-1")


def reason_phrase(status: int) -> str:
    """The words beside the status; ``Unknown`` for a status that has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
