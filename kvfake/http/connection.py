"""One connection, without its socket: bytes in, actions out.

Law: it speaks HTTP/1.1 as Go's ``net/http`` does (M28) and holds no rule of a service. It never waits and never blocks: it reads
the bytes that it gets, one request at a time, and returns actions, which `kvfake.http.server` carries out. Once they are carried
out, `Connection.advance` returns those for the next request, if it was received already.
"""

from __future__ import annotations

import re
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
from kvfake.services.messages import FIDELITY_HEADER, Headers, Job, RedactedHeaders, Request, Response, Sever, Wire, WireFault
from kvfake.world.redaction import BY_NAME

Handler = Callable[[Request], Response | Job]
"""Answers a request: with a response, or, where that may block, with a job that makes one."""

Log = Callable[[str, bytes, int, int], None]
"""Called with method, target, status and bytes of the body; both numbers are 0 if a fault kept the response from the client."""

WITHOUT_LENGTH = (204, 304)  # RFC 9110, 8.6: no Content-Length, and no body
MAX_HANG_SECONDS = 300.0
_MAX_PIECES = 200  # of a response that a fault spreads over time
_PIECE_SECONDS = 0.01
_PROMISED_BYTES = 16  # the Content-Length of an empty body that a fault truncates
_MIN_BYTES_OF_A_NEXT_HEAD = 4  # net/http waits for this many bytes before it reads another request
_MAX_BLANK_BYTES_AFTER_POST = 4  # net/http: RFC 7230 section 3 tolerance for old buggy clients
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_EXPECTATION_FAILED = Response(417, close=True)
_REASON_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_END_OF_HEAD = re.compile(rb"\n\r?\n")  # a line may end without a carriage return


# ------------------------------------------------------------------------------------------------------------------ actions


class Wait(NamedTuple):
    """Do nothing for so long, then go on with the next action."""

    seconds: float


class Hang(NamedTuple):
    """Send nothing until the client gives up, at most for so long; then end the connection."""

    seconds: float


class Reset(NamedTuple):
    """End the connection with RST."""


class Close(NamedTuple):
    """End the connection. ``linger``: first read until the client has ended its side. Closing with unread input would send RST, and
    the client could lose the response.
    """

    linger: bool


class Yield(NamedTuple):
    """Let other connections go first, then go on."""


Action = bytes | Job | Wait | Yield | Hang | Reset | Close
"""``bytes`` are to be sent. A job is to be run, and its response passed to `Connection.job_done`; it is the last action."""

_NOTHING: tuple[Action, ...] = ()
_LINGER = Close(linger=True)

SO_LINGER_RESET = struct.pack("ii", 1, 0)
"""The value of the socket option SO_LINGER with which closing sends RST; what was not sent yet is lost."""


def apply_wire_fault(wire_fault: WireFault, message: bytes, body: bytes, garbage: bytes) -> tuple[Action, ...]:
    """The actions in place of sending ``message``, which ends with ``body``. ``garbage`` is what `Wire.GARBAGE` sends. If the last
    action is not bytes, it ends the connection.
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
    """The message in pieces, with waits between them that last ``seconds`` together at most."""
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
        self._searched = 0  # how many bytes were searched for the end of the head, in vain
        self._has_checked_line = False
        self._method, self._target = "", b""  # of the last request
        self._head: Head | None = None  # of the request whose body is being read, or whose job is running
        self._body: Body | None = None  # the body that is being read
        self._headers: dict[bytes, bytes] | None = None  # of the last request
        self._redacted_headers = RedactedHeaders()  # the same, redacted
        self._has_served = self._follows_post = False
        self._is_half_closed = False  # the client will send no more
        self._is_cut_short = False  # the request is answered before its end
        self._has_ended = False

    def receive(self, data: bytes) -> tuple[Action, ...]:
        """The actions for these bytes from the client."""
        if not self._input:
            self._input = data
        else:
            if isinstance(self._input, bytes):
                self._input = bytearray(self._input)
            self._input += data
        return self.advance()

    def eof(self) -> tuple[Action, ...]:
        """The actions once the client will send no more. A request without its end is answered as far as it came."""
        self._is_half_closed = True
        return self.advance()

    def advance(self) -> tuple[Action, ...]:
        """The actions for what was received before, once the last ones are carried out."""
        if self._body is not None:
            return self._read_body(self._body)
        if self._head is not None or self._has_ended:
            return _NOTHING
        if self._input and not (self._has_served and len(self._input) < _MIN_BYTES_OF_A_NEXT_HEAD):
            return self._read_head()
        return self._end(linger=False) if self._is_half_closed else _NOTHING

    def job_done(self, response: Response) -> tuple[Action, ...]:
        """The actions for the response of the job."""
        head = self._head
        assert head is not None
        self._head = None
        return self._reply(head, response)

    @property
    def held_bytes(self) -> int:
        """What is kept of a request that has not come whole, in bytes."""
        return len(self._input) + (0 if self._body is None else self._body.held_bytes)

    def overloaded(self) -> tuple[Action, ...]:
        """The actions where the server can keep no more of a request that has not come whole: refuse it, and end."""
        return self._refuse(BadRequest("503 Service Unavailable"))

    # ----------------------------------------------------------------------------------------------------------- requests

    def _read_head(self) -> tuple[Action, ...]:
        received = self._input
        if self._follows_post:
            blank = len(received) - len(received.lstrip(b"\r\n"))
            self._input = received = received[min(blank, _MAX_BLANK_BYTES_AFTER_POST) :]
            self._follows_post = not received
        end = self._parser.end_of_same(received)
        if not end:
            blank_line = _END_OF_HEAD.search(received, self._searched)
            end = blank_line.end() if blank_line is not None else -1
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
        if head.expects is None:
            return self._reply(head, _EXPECTATION_FAILED)
        length = head.length
        if length is not None and length <= len(self._input) and not head.expects:
            body = b""
            if length:
                body, self._input = bytes(self._input[:length]), self._input[length:]
            return self._answer(head, body)
        self._head, self._body = head, (ChunkedBody() if length is None else Body(length))
        actions = self._read_body(self._body) if self._input else _NOTHING
        return (_CONTINUE, *actions) if head.expects and not head.is_old else actions

    def _wait_for_head(self, received: bytes | bytearray) -> tuple[Action, ...]:
        """Wait for the end of the head. Raises `BadRequest` if no more will come, or if the first line is refused already."""
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
        if not (body.is_done or body.error or body.is_too_long):
            return _NOTHING
        self._is_cut_short = not body.is_done
        self._head = self._body = None
        return self._answer(head, body.bytes, body.error)

    # ---------------------------------------------------------------------------------------------------------- responses

    def _answer(self, head: Head, body: bytes, body_error: str = "") -> tuple[Action, ...]:
        if head.headers is not self._headers:
            self._headers, self._redacted_headers = head.headers, BY_NAME.headers(head.headers)
        answer = self._handle(Request(self._method, self._target, head.headers, body, body_error, self._redacted_headers))
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


def message_of(response: Response, body: bytes, keep_alive: bool, is_old: bool = False) -> bytes:
    """The bytes of the response, with that body. ``is_old``: to an HTTP/1.0 request."""
    start = _start(response.status, response.headers, response.rows, keep_alive, is_old)
    if response.status in WITHOUT_LENGTH:
        return start + b"\r\n"
    length = len(response.body)
    if response.wire_fault is not None and response.wire_fault.sever is Sever.TRUNCATE and not length:
        length = _PROMISED_BYTES
    return b"%b%d\r\n\r\n%b" % (start, length, body)


@lru_cache(maxsize=512)
def _start(status: int, headers: Headers, rows: tuple[str, ...], keep_alive: bool, is_old: bool) -> bytes:
    """The status line and the headers, up to the value of Content-Length, or to the blank line if there is no body."""
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
    """The text after the status in the status line."""
    return _REASON_PHRASES.get(status, "Unknown")
