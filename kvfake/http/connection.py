"""One connection, without its socket: bytes in, actions out.

Law: it speaks HTTP/1.1 as Go's ``net/http`` does (M28) and holds no rule of a service. It never waits and never blocks: it reads
the bytes that it gets, one request at a time, and returns actions, which `kvfake.http.server` carries out. Once they are carried
out, `Connection.advance` returns those for the next request, if it was received already. Where it has much to read, it does so in
steps, and returns `Yield` between them. The answers do not depend on how the bytes are cut.
"""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable, Generator
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple

from kvfake.http.parser import (
    BAD_REQUEST_TEXT,
    LONG_HEAD_BYTES,
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    MAX_UNREAD_BYTES,
    TOO_LARGE,
    BadRequest,
    Body,
    ChunkedBody,
    Head,
    HeadParser,
    RequestHead,
    request_line,
)
from kvfake.machine import machine_time
from kvfake.services.messages import FIDELITY_HEADER, Headers, Job, RedactedHeaders, Request, Response, Sever, Wire, WireFault
from kvfake.world.redaction import BY_NAME

Handler = Callable[[Request], Response | Job]
"""Answers a request: with a response, or, where that may block, with a job that makes one."""

BodyBytes = Callable[[Request], int]
"""How many bytes of the body whoever answers the request reads. The request has no body yet."""

Log = Callable[[str, bytes, int], None]
"""Called with method, target and status where the connection itself refuses a request."""

WITHOUT_LENGTH = (204, 304)  # RFC 9110, 8.6: no Content-Length, and no body
MAX_HANG_SECONDS = 300.0
_MAX_PIECES = 200  # of a response that a fault spreads over time
_PIECE_SECONDS = 0.01
_LARGE_BODY_BYTES = 65_536
_PROMISED_BYTES = 16  # the Content-Length of an empty body that a fault truncates
_MIN_BYTES_OF_A_NEXT_HEAD = 4  # net/http waits for this many bytes before it reads another request
_BLANK_LINES = re.compile(rb"[\r\n]*")  # net/http, after a POST: RFC 7230 section 3 tolerance for old buggy clients
_MAX_REQUESTS_AT_ONCE = 64  # of a pipeline, before others go first
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_EXPECTATION_FAILED = Response(417, close=True)
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
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
_YIELD: tuple[Action, ...] = (Yield(),)

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


def read_everything(_: Request) -> int:
    """`BodyBytes` of a body that is read to its end, or a byte beyond what is taken."""
    return MAX_BODY_BYTES + 1


class Connection:
    """The requests of one connection, one after the other."""

    def __init__(self, handle: Handler, log: Log | None = None, body_bytes: BodyBytes = read_everything) -> None:
        self._handle, self._log, self._body_bytes = handle, log, body_bytes
        self._parser = HeadParser()
        self._input: bytes | bytearray = b""  # what was received; before `_at` it was used already
        self._at = 0
        self._searched = 0  # how many bytes from there were searched for the end of the head, in vain
        self._has_checked_line = False
        self._reading: Generator[None, None, RequestHead] | None = None  # a long head that is being read
        self._method, self._target = "", b""  # of the last request
        self._head: Head | None = None  # of the request whose body is being read, or whose job is running
        self._body: Body | None = None  # the body that is being read
        self._redacted_head: Head | None = None
        self._redacted_headers = RedactedHeaders()  # those of that head
        self._has_served = self._follows_post = False  # and nothing was read of the next request
        self._served_at_once = 0  # requests since the last `Yield`
        self._is_half_closed = False  # the client will send no more
        self._is_cut_short = False  # the request is answered before its end
        self._has_ended = False

    def receive(self, data: bytes) -> tuple[Action, ...]:
        """The actions for these bytes from the client."""
        if not self._input:
            self._input = data
        else:
            if self._at or isinstance(self._input, bytes):
                self._input, self._at = bytearray(memoryview(self._input)[self._at :]), 0
            self._input += data
        return self.advance()

    def eof(self) -> tuple[Action, ...]:
        """The actions once the client will send no more. A request without its end is answered as far as it came."""
        self._is_half_closed = True
        return self.advance()

    def advance(self) -> tuple[Action, ...]:
        """The actions for what was received before, once the last ones are carried out."""
        if self._head is not None:
            return self._read_body(self._body) if self._body is not None else _NOTHING
        if self._reading is not None:
            return self._read_long_head(self._reading)
        if self._has_ended:
            return _NOTHING
        if self._input:
            if self._served_at_once >= _MAX_REQUESTS_AT_ONCE:
                self._served_at_once = 0
                return _YIELD
            return self._read_head()
        self._served_at_once = 0
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
        return len(self._input) - self._at + (0 if self._body is None else self._body.held_bytes)

    def overloaded(self) -> tuple[Action, ...]:
        """The actions where the server can keep no more of a request that has not come whole: refuse it, and end."""
        return self._refuse(BadRequest("503 Service Unavailable"))

    def _use(self, end: int) -> None:
        """What was received is used up to there."""
        if end == len(self._input):
            self._input, self._at = b"", 0
        else:
            self._at = end

    # -------------------------------------------------------------------------------------------------------------- heads

    def _read_head(self) -> tuple[Action, ...]:
        received, at = self._input, self._at
        if self._has_served:
            if len(received) - at < _MIN_BYTES_OF_A_NEXT_HEAD:
                return self._end(linger=False) if self._is_half_closed else _NOTHING
            self._has_served = False
            if self._follows_post:
                blank = _BLANK_LINES.match(received, at, at + _MIN_BYTES_OF_A_NEXT_HEAD)
                assert blank is not None
                self._use(blank.end())
                return self.advance()
        end = 0 if self._searched else self._parser.end_of_same(received, at)
        if not end:
            blank_line = _END_OF_HEAD.search(received, at + self._searched)
            end = blank_line.end() if blank_line is not None else -1
        try:
            if end < 0 or end - at > MAX_HEAD_BYTES:
                return self._wait_for_head(received, at)
            self._searched, self._has_checked_line = 0, False
            head = bytes(received[at:end])
            self._input, self._at = (b"", 0) if end == len(received) else (received, end)
            if end - at > LONG_HEAD_BYTES:
                return self._read_long_head(self._parser.read_in_steps(head))
            return self._begin(self._parser.read(head))
        except BadRequest as bad:
            return self._refuse(bad)

    def _wait_for_head(self, received: bytes | bytearray, at: int) -> tuple[Action, ...]:
        """Wait for the end of the head. Raises `BadRequest` if no more will come, if the head is too long, or if the first line is
        refused already.
        """
        if not self._has_checked_line:
            newline = received.find(b"\n", at + self._searched, at + MAX_HEAD_BYTES)
            if newline >= 0:
                request_line(bytes(received[at:newline]))
                self._has_checked_line = True
        if len(received) - at > MAX_HEAD_BYTES:
            raise BadRequest(TOO_LARGE)
        if self._is_half_closed:
            raise BadRequest(BAD_REQUEST_TEXT)
        self._searched = max(0, len(received) - at - 3)
        return _NOTHING

    def _read_long_head(self, reading: Generator[None, None, RequestHead]) -> tuple[Action, ...]:
        """Read a step of the head."""
        self._reading = reading
        try:
            next(reading)
        except StopIteration as done:
            self._reading = None
            return self._begin(done.value)
        except BadRequest as bad:
            self._reading = None
            return self._refuse(bad)
        return _YIELD

    # ------------------------------------------------------------------------------------------------------------- bodies

    def _begin(self, read: RequestHead) -> tuple[Action, ...]:
        """Answer the request, or begin to read its body."""
        self._method, self._target, head = read
        if head.expects is None:
            if self._log is not None:
                self._log(self._method, self._target, _EXPECTATION_FAILED.status)
            return self._reply(head, _EXPECTATION_FAILED)
        length = head.length
        if length == 0:
            return self._answer(head, b"")
        end = self._at + length if length is not None else 0
        if length is not None and length < MAX_UNREAD_BYTES and end <= len(self._input) and not head.expects:
            body = bytes(self._input[self._at : end])
            self._use(end)
            return self._answer(head, body)
        limit = self._body_bytes(Request(self._method, self._target, head.headers))
        self._head, self._body = head, ChunkedBody(limit) if length is None else Body(length, limit)
        actions = self._read_body(self._body)
        return (_CONTINUE, *actions) if head.expects and limit else actions

    def _read_body(self, body: Body) -> tuple[Action, ...]:
        """Read what came of the body. Answer at its end; or before it, as ``net/http`` does, where whoever answers reads no more
        and the connection will not be kept.
        """
        head = self._head
        assert head is not None
        self._use(body.feed(self._input, self._at))
        if self._is_half_closed and not (body.is_done or body.error or body.is_paused):
            body.end(len(self._input) - self._at)
        will_end = bool(body.error) or body.is_too_long or not head.keep_alive or head.expects
        if body.is_done or body.error or (will_end and body.is_read):
            is_ended = body.is_read_to_its_end if head.expects else body.is_done
            self._is_cut_short = body.is_too_long or not is_ended
            self._head = self._body = None
            came = body.read_bytes if self._is_cut_short else body.all_bytes
            return self._answer(head, came, "" if body.is_read else body.error)
        return _YIELD if body.is_paused else _NOTHING

    # ---------------------------------------------------------------------------------------------------------- responses

    def _answer(self, head: Head, body: bytes, body_error: str = "") -> tuple[Action, ...]:
        if head is self._redacted_head:
            redacted = self._redacted_headers
        else:
            redacted = BY_NAME.headers(head.headers)
            if head is self._parser.remembered:
                self._redacted_head, self._redacted_headers = head, redacted
        answer = self._handle(Request(self._method, self._target, head.headers, body, body_error, redacted))
        if isinstance(answer, Response):
            return self._reply(head, answer)
        self._head = head
        return (answer,)

    def _reply(self, head: Head, response: Response) -> tuple[Action, ...]:
        keep_alive = head.keep_alive and not response.close and not self._is_cut_short
        method, wire_fault = self._method, response.wire_fault
        body = b"" if method == "HEAD" or response.status in WITHOUT_LENGTH else response.body
        is_large = len(body) > _LARGE_BODY_BYTES and wire_fault is None  # then it is not copied
        message = message_of(response, b"" if is_large else body, keep_alive, head.is_old, method)
        actions: tuple[Action, ...] = (message, body) if is_large else (message,)
        if wire_fault is not None:
            actions = apply_wire_fault(wire_fault, message, body, response.body)
            if not isinstance(actions[-1], bytes):
                self._has_ended = True
                return actions
        if keep_alive:
            self._has_served, self._follows_post = True, method == "POST"
            self._served_at_once += 1
            return actions
        return (*actions, *self._end(linger=response.close or self._is_cut_short or bool(self._input)))

    def _refuse(self, bad: BadRequest) -> tuple[Action, ...]:
        if self._log is not None:
            self._log("-", b"-", int(bad.text[:3]))
        message = f"HTTP/1.1 {bad.text}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{bad.body}"
        return (message.encode(), *self._end(linger=True))

    def _end(self, linger: bool) -> tuple[Action, ...]:
        self._has_ended = True
        return (Close(linger),)


# ---------------------------------------------------------------------------------------------------------------- responses


def sent_body(method: str, response: Response) -> bytes:
    """The body as it is sent: none to a HEAD."""
    return b"" if method == "HEAD" or response.status in WITHOUT_LENGTH else response.body


def sent_length(method: str, response: Response) -> int | None:
    """The value of ``Content-Length``; ``None`` where kvfake adds none. What a HEAD without a body would bring as GET is known to
    nobody but another server, whose header is sent on (``net/http`` sends none either).
    """
    length = len(response.body)
    if response.status in WITHOUT_LENGTH or (not length and method == "HEAD"):
        return None
    if not length and response.wire_fault is not None and response.wire_fault.sever is Sever.TRUNCATE:
        return _PROMISED_BYTES
    return length


def message_of(response: Response, body: bytes, keep_alive: bool, is_old: bool = False, method: str = "GET") -> bytes:
    """The bytes of the response to a request with that method, with that body. ``is_old``: to an HTTP/1.0 request. Its date is the
    machine's time, and not that of a world's clock.
    """
    connection = ""
    if is_old:
        connection = "keep-alive" if keep_alive else "close" if response.close else ""
    elif not keep_alive:
        connection = "close"
    start = _start(response.status, response.headers, response.rows, connection, is_old, int(machine_time()))
    length = len(body) or sent_length(method, response)
    return start + b"\r\n" if length is None else b"%bContent-Length: %d\r\n\r\n%b" % (start, length, body)


@lru_cache(maxsize=512)
def _start(status: int, headers: Headers, rows: tuple[str, ...], connection: str, is_old: bool, second: int) -> bytes:
    """The status line and the headers, but for Content-Length."""
    lines = [f"HTTP/1.{0 if is_old else 1} {status} {reason_phrase(status)}"]
    lines += [f"{name}: {value}" for name, value in final_headers(headers, rows, date(second))]
    if connection:
        lines.append(f"Connection: {connection}")
    return "\r\n".join([*lines, ""]).encode("latin-1")


def final_headers(headers: Headers, rows: tuple[str, ...], date: str) -> Headers:
    """The headers, with the rows, and with the date unless they bring one along. An empty date is not sent."""
    if rows:
        headers = (*headers, (FIDELITY_HEADER, ", ".join(rows)))
    if date and not any(name.lower() == "date" for name, _ in headers):
        headers = (*headers, ("Date", date))
    return headers


def reason_phrase(status: int) -> str:
    """The text after the status in the status line."""
    return _REASON_PHRASES.get(status, "Unknown")


def date(second: int) -> str:
    """The value of ``Date`` (RFC 9110, 5.6.7) in that second since 1970."""
    moment = time.gmtime(second)
    day, month = _DAYS[moment.tm_wday], _MONTHS[moment.tm_mon - 1]
    return f"{day}, {moment.tm_mday:02} {month} {moment.tm_year} {time.strftime('%H:%M:%S', moment)} GMT"
