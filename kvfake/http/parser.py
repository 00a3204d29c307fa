"""Reads the heads and bodies of requests as Go's ``net/http`` does (M28), and refuses what it refuses, with the same texts.

Law: bytes in; a `Head`, a body, or `BadRequest` out. It knows neither sockets nor services. What it does takes time and memory in
proportion to the bytes, and no step of it is long. httptools reads the header lines. What it would judge differently from Go is
read here and never reaches it: the request line (a method ``get``, raw UTF-8 in a target), continuation lines, and the lines that
frame the body (two equal lengths, a length beside chunked).
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from io import BytesIO
from typing import TYPE_CHECKING

from httptools import HttpParserError, HttpRequestParser

from kvfake.services.go import quoted
from kvfake.stores import Record

if TYPE_CHECKING:
    from typing import Final

MAX_HEAD_BYTES = (1 << 20) + 4096  # http.DefaultMaxHeaderBytes, and what bufio reads beyond it
LONG_HEAD_BYTES = 32_768  # a longer head is read in steps of so many bytes
_MAX_REMEMBERED_BYTES = 16_384  # of header lines; longer ones are read anew each time


class BadRequest(Exception):
    """A head that is refused; the connection must end. ``text`` is the status line after the version, ``body`` the body of the
    response, which is the same text if not given.
    """

    def __init__(self, text: str, body: str | None = None) -> None:
        super().__init__(text)
        self.text, self.body = text, text if body is None else body


BAD_REQUEST_TEXT = "400 Bad Request"
TOO_LARGE = "431 Request Header Fields Too Large"


class Head(Record):
    """The headers of a request and what they mean. Requests with the same header lines share one. ``is_old``: HTTP/1.0; ``length``:
    bytes of the body, ``None`` for a chunked one; ``expects``: whether the client waits for ``100 Continue``, ``None`` if it
    expects something else; to HTTP/1.0 there is no ``100 Continue``.
    """

    __slots__ = ("expects", "headers", "is_old", "keep_alive", "length")
    headers: Final[dict[bytes, bytes]]
    is_old: Final[bool]
    keep_alive: Final[bool]
    length: Final[int | None]
    expects: Final[bool | None]

    def __init__(
        self, headers: dict[bytes, bytes], is_old: bool, keep_alive: bool, length: int | None, expects: bool | None
    ) -> None:
        self.headers, self.is_old, self.keep_alive = headers, is_old, keep_alive
        self.length, self.expects = length, expects


RequestHead = tuple[str, bytes, Head]
"""Method, target and `Head`."""

_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!-~\x80-\xff]*) HTTP/([0-9])\.([0-9])\r?")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_FOLD_WITHOUT_COLON = re.compile(rb"^[^: \t\n][^:\n]*\n[ \t]", re.MULTILINE)
_BLANKS = re.compile(rb"[ \t]+")
_FRAMES = (b"content-length:", b"transfer-encoding:", b"upgrade:", b"proxy-connection:")
_FRAMING = re.compile(rb"^(content-length|transfer-encoding|upgrade|proxy-connection):([^\n]*)\n", re.IGNORECASE | re.MULTILINE)
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_BLANK_IN_NAME = re.compile(
    rb"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [ !#$%&'*+\-.^_`|~0-9A-Za-z]*:[\t\x20-\x7e\x80-\xff]*\r?\n", re.MULTILINE
)
_HOST = re.compile(rb"[!$%&'()*+,\-.0-9:;=A-Z\[\]_a-z~]*")  # httpguts.ValidHostHeader
_AUTHORITY = rb"""(?:[^@/?]*@)?(?:\[[^\]@/?]*\]|[A-Za-z0-9\-._~!$&'()*+,;=<>"\x80-\xff]*)(?::[0-9]*)?"""
_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+\-.]*):(//" + _AUTHORITY + rb"(?=[/?]|\Z)|(?=/(?!/)))")
_OPAQUE = re.compile(rb"[A-Za-z][A-Za-z0-9+\-.]*:(?!/)")  # net/url: a scheme, and no path
_START = b"GET / HTTP/1.1\r\n"
_MAX_LENGTH = (1 << 63) - 1
_MAX_DIGITS = 19


def _token(name: bytes) -> re.Pattern[bytes]:
    """Finds the token in the value of a header, between blanks and commas (``net/http`` ``hasToken``)."""
    return re.compile(rb"(?<![^ \t,])" + name + rb"(?![^ \t,])", re.IGNORECASE)


def _element(names: bytes) -> re.Pattern[bytes]:
    """Finds an element of a list with commas, which is one of the names (``httpguts.HeaderValuesContainsToken``)."""
    return re.compile(rb"(?:\A|,)[ \t]*(?:" + names + rb")[ \t]*(?:\Z|,)", re.IGNORECASE)


_CLOSE, _KEEP_ALIVE, _CONTINUE = _token(b"close"), _token(b"keep-alive"), _token(b"100-continue")
_CLOSE_ELEMENT = _element(b"close")
_NO_TRAILER = _element(b"content-length|transfer-encoding|trailer")  # net/http: fixTrailer


class HeadParser:
    """Reads the heads of one connection, one after the other. After `BadRequest` it must not be used again. ``remembered`` is the
    last `Head`, if it is one that the next request can share.
    """

    def __init__(self) -> None:
        self._parser = self._new_parser()
        self._headers: dict[bytes, bytes] = {}
        self._lines: dict[bytes, list[bytes]] = {}  # the values of headers of which each line counts, and which came twice
        self._has_two_hosts = False
        self._last_read: tuple[bytes, bytes, bytes] | None = None  # the header lines and the version of the last head
        self.remembered: Head | None = None
        self._last_head = b""  # the last that was read from what is remembered, and what was read
        self._last_result: RequestHead = "", b"", Head({}, False, False, 0, False)

    def _new_parser(self) -> HttpRequestParser:
        parser = HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True)
        return parser

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by httptools. Of lines with the same name ``net/http`` takes the first, except for four names."""
        name, value = name.lower(), value.strip(b" \t")
        headers = self._headers
        if name not in headers:
            headers[name] = value
        elif name in (b"cookie", b"connection", b"trailer"):
            self._lines.setdefault(name, [headers[name]]).append(value)
        elif name == b"host":
            self._has_two_hosts = True

    def end_of_same(self, received: bytes | bytearray, at: int = 0) -> int:
        """Where the head that begins at ``at`` ends, if its header lines are those of the last head; else 0. This saves the search
        for the end.
        """
        if self._last_read is None:
            return 0
        start, lines = received.find(b"\n", at) + 1, self._last_read[0]
        return start + len(lines) if start and received.startswith(lines, start) else 0

    def read(self, head: bytes) -> RequestHead:
        """Method, target and `Head` of a head, which ends with its blank line. Raises `BadRequest`, for the first reason that
        ``net/http`` would find.
        """
        if head == self._last_head:  # many clients ask for the same again
            return self._last_result
        line, _, block = head.partition(b"\n")
        method, target, major, minor = request_line(line)
        remembered = self.remembered
        if remembered is not None and (block, major, minor) == self._last_read:  # most clients repeat their header lines
            self._last_head, self._last_result = head, (method.decode(), target, remembered)
            return self._last_result
        steps = self.read_in_steps(head)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                result: RequestHead = done.value
                return result

    def read_in_steps(self, head: bytes) -> Generator[None, None, RequestHead]:
        """As `read`, in steps of about `LONG_HEAD_BYTES`."""
        line, _, block = head.partition(b"\n")
        method, target, major, minor = request_line(line)
        self._last_read, self.remembered, self._last_head = None, None, b""
        result = yield from self._read(method, major, minor, block)
        self._headers, self._lines = {}, {}  # they may be long
        if b"host" in result.headers and len(block) <= _MAX_REMEMBERED_BYTES:  # without it, only `CONNECT` is not refused
            self._last_read, self.remembered = (block, major, minor), result
        return method.decode(), target, result

    def _read(self, method: bytes, major: bytes, minor: bytes, block: bytes) -> Generator[None, None, Head]:
        """The `Head` of the lines below the first."""
        is_old = major + minor < b"11"
        has_bad_name = False
        try:
            framing = yield from self._parse(block, has_bad_name)
        except HttpParserError:  # a name with a blank in it is refused only after other reasons
            has_bad_name = True
            if _FOLD_WITHOUT_COLON.search(block):
                raise BadRequest(BAD_REQUEST_TEXT) from None
            self._parser = self._new_parser()
            try:
                framing = yield from self._parse(block, has_bad_name)
            except HttpParserError:
                raise BadRequest(BAD_REQUEST_TEXT) from None
        return self._judge(method, major, is_old, framing, has_bad_name)

    def _judge(self, method: bytes, major: bytes, is_old: bool, framing: list[tuple[bytes, bytes]], has_bad_name: bool) -> Head:
        """The `Head` of what was read. Raises `BadRequest`."""
        headers = self._headers
        if self._has_two_hosts:
            raise BadRequest(BAD_REQUEST_TEXT)
        connection = headers.get(b"connection", b"")  # the first line
        for name, values in self._lines.items():
            headers[name] = (b"; " if name == b"cookie" else b", ").join(values)
        for name, value in framing:
            headers.setdefault(name, value)
        length = _length(framing, is_old) if framing else 0
        if length is None and _NO_TRAILER.search(headers.get(b"trailer", b"")):
            raise BadRequest(BAD_REQUEST_TEXT)
        if major != b"1":
            raise BadRequest("505 HTTP Version Not Supported: unsupported protocol version")
        host = headers.get(b"host")
        if host is None:
            if not is_old and method != b"CONNECT":
                raise BadRequest("400 Bad Request: missing required Host header")
        elif not _HOST.fullmatch(host):
            raise BadRequest("400 Bad Request: malformed Host header")
        if has_bad_name:
            raise BadRequest("400 Bad Request: invalid header name")
        keep_alive = _keep_alive(connection, headers.get(b"connection", b""), is_old)
        return Head(headers, is_old, keep_alive, length, _expectation(headers.get(b"expect", b""), is_old))

    def _parse(self, block: bytes, without_bad_names: bool) -> Generator[None, None, list[tuple[bytes, bytes]]]:
        """Read the lines into ``_headers``; returns those that frame the body. ``without_bad_names``: leave out the lines whose
        name has a blank in it.
        """
        self._headers, self._lines, self._has_two_hosts = {}, {}, False
        framing: list[tuple[bytes, bytes]] = []
        start = _START
        for lines in _whole_lines(block):
            if without_bad_names:
                lines = _BLANK_IN_NAME.sub(b"", lines)
            lowered = lines.lower()
            if _FRAMES[0] in lowered or _FRAMES[1] in lowered or _FRAMES[2] in lowered or _FRAMES[3] in lowered:
                pieces = _FRAMING.split(lines)  # text between, name, value, text between, ...
                lines = b"".join(pieces[::3])
                found = [
                    (name.lower(), value.removesuffix(b"\r").strip(b" \t"))
                    for name, value in zip(pieces[1::3], pieces[2::3], strict=True)
                ]
                if any(_CONTROL.search(value) for _, value in found):
                    raise BadRequest(BAD_REQUEST_TEXT)
                framing += found
            self._parser.feed_data(start + lines)
            start = b""
            if len(block) > LONG_HEAD_BYTES:
                yield
        return framing


def _whole_lines(block: bytes) -> Iterator[bytes]:
    """The header lines without continuation lines, some at a time. Of one header with many of these, nothing comes at first."""
    if len(block) <= LONG_HEAD_BYTES:
        yield _unfolded(block)
        return
    position, begun = 0, b""
    pieces: list[bytes] = []
    while position < len(block):
        end = block.find(b"\n", position + LONG_HEAD_BYTES) + 1 or len(block)
        piece = begun + _unfolded(block[position:end])
        fold = _BLANKS.match(block, end)
        if fold is None:
            position, begun = end, b""
            yield b"".join([*pieces, piece])
            pieces.clear()
        else:
            position = fold.end()
            pieces.append(piece[:-1].removesuffix(b"\r").rstrip(b" \t") + b" ")
            yield b""


def _unfolded(lines: bytes) -> bytes:
    """The lines, with each continuation line joined to the line before it by one blank (``net/textproto``)."""
    if b"\n " not in lines and b"\n\t" not in lines:
        return lines
    *folded, last = _FOLD.split(lines)
    return b" ".join([*(part.rstrip(b" \t") for part in folded), last])


def _keep_alive(first: bytes, value: bytes, is_old: bool) -> bool:
    """`Head.keep_alive` of the first line ``Connection``, and of all together (``net/http`` ``wantsClose``, ``shouldClose``)."""
    if is_old:
        return _KEEP_ALIVE.search(first) is not None
    return not value or not (_CLOSE.search(first) or _CLOSE_ELEMENT.search(value))


def _expectation(value: bytes, is_old: bool) -> bool | None:
    """`Head.expects` of an ``Expect`` header."""
    if not value:
        return False
    return not is_old if _CONTINUE.search(value) else None


def request_line(line: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Method, target, and both digits of the version. Raises `BadRequest`."""
    parts = _REQUEST_LINE.fullmatch(line)
    if parts is None:
        raise BadRequest(BAD_REQUEST_TEXT)
    method, target, major, minor = parts.groups()
    if target[:1] != b"/" and target != b"*" and method != b"CONNECT" and not (_ABSOLUTE.match(target) or _OPAQUE.match(target)):
        raise BadRequest(BAD_REQUEST_TEXT)
    return method, target, major, minor


def split_absolute(target: bytes) -> tuple[bytes, bytes]:
    """Scheme and authority of an absolute target, and the rest; for another target (``*``, ``host:port``) ``b""`` and all of it."""
    absolute = _ABSOLUTE.match(target)
    if absolute is None:
        return b"", target
    return absolute[1].lower() + b":" + absolute[2], target[absolute.end() :]


def _length(framing: list[tuple[bytes, bytes]], is_old: bool) -> int | None:
    """The length of the body, or ``None`` for a chunked one (``net/http`` ``readTransfer``)."""
    codings = [] if is_old else [value for name, value in framing if name == b"transfer-encoding"]
    if codings and (len(codings) > 1 or codings[0].lower() != b"chunked"):
        raise BadRequest("501 Not Implemented", "Unsupported transfer encoding")
    lengths = {value for name, value in framing if name == b"content-length"} or {b"0"}
    length = lengths.pop()
    digits = length.lstrip(b"0") or b"0"
    if lengths or not length.isdigit() or len(digits) > _MAX_DIGITS or int(digits) > _MAX_LENGTH:
        raise BadRequest(BAD_REQUEST_TEXT)
    return None if codings else int(digits)


MAX_BODY_BYTES = 64 * 1024 * 1024  # a service reads at most 2 MiB, a mounted application or a fallback any number
MAX_UNREAD_BYTES = 256 * 1024  # net/http: maxPostHandlerReadBytes, of a body beyond what whoever answers reads
UNEXPECTED_END = "unexpected EOF"

_MAX_LINE_BYTES = 4096  # of a chunk: the buffer of bufio.Reader, with the line's end
_MAX_TRAILER_BYTES = 4096  # the same buffer
_MAX_QUOTED_BYTES = 80  # net/textproto: errorLimit
_MAX_EXCESS_BYTES = 16 * 1024  # net/http/internal: of what is not data, in all chunks
_MAX_SIZE_DIGITS = 16  # net/http/internal: parseHexUint
_MAX_CHUNKS_AT_ONCE = 4096  # some milliseconds
_PLAIN_SIZE = re.compile(rb"([0-9A-Fa-f]{1,14})\r\n")  # with no more excess than each chunk may have
_HEX = re.compile(rb"[0-9A-Fa-f]+")
_BLANK_LINE = re.compile(rb"^\r?\n", re.MULTILINE)
_FIELD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z ]+:[\t\x20-\x7e\x80-\xff]*")  # net/textproto: readMIMEHeader

_LONG_TRAILER = "http: suspiciously long trailer after chunked body"


def _int64(number: int) -> int:
    """The number as Go's int64 holds it, which overflows."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


class Body:
    """A body of ``length`` bytes, of which whoever answers reads at most ``limit``. ``error`` says, in Go's words, why it has no
    end; nothing is read after that.
    """

    def __init__(self, length: int, limit: int) -> None:
        self._left, self._limit = length, limit
        self._is_too_long = length - limit >= MAX_UNREAD_BYTES
        self._kept = BytesIO()  # gives what it holds without a copy
        self.is_done = self.is_paused = False
        self.error = ""

    def feed(self, data: bytes | bytearray, at: int) -> int:
        """Read what belongs to the body, from that position on; returns the position behind it, or behind what could be read so
        far. If ``is_paused``, there is more to read, and others should go first.
        """
        end = min(len(data), at + self._left)
        self._left -= end - at
        self._kept.write(memoryview(data)[at:end])
        self.is_done = not self._left
        return end

    def end(self, unread: int) -> None:
        """The client will send no more than so many bytes, which could not be read."""
        self.error = UNEXPECTED_END

    @property
    def held_bytes(self) -> int:
        return self._kept.tell()

    @property
    def is_read(self) -> bool:
        """Whether whoever answers will read no more of it."""
        return self.is_done or self._kept.tell() >= self._limit

    @property
    def is_read_to_its_end(self) -> bool:
        """Whether whoever answers has seen that the body ends."""
        return self.is_done and self._kept.tell() <= self._limit

    @property
    def is_too_long(self) -> bool:
        """Whether whoever answers will read no more of it, and so much follows that ``net/http`` does not wait for its end."""
        return self._is_too_long and self._kept.tell() >= self._limit

    @property
    def all_bytes(self) -> bytes:
        """All that came of the body."""
        return self._kept.getvalue()

    @property
    def read_bytes(self) -> bytes:
        """What whoever answers reads of it."""
        return self._kept.getvalue()[: self._limit]


class ChunkedBody(Body):
    """A body in chunks (``net/http/internal`` ``chunkedReader``). httptools reads chunks too, but does not say where a message
    ends, and its errors have other texts.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(0, limit)
        self._excess = 0
        self._is_after_data = self._is_after_chunks = False

    def feed(self, data: bytes | bytearray, at: int) -> int:
        self.is_paused = False
        for _ in range(_MAX_CHUNKS_AT_ONCE):
            if self._left:
                at = super().feed(data, at)
                if self._left:
                    return at
                self.is_done, self._is_after_data = False, True
            if self._is_after_data:
                if len(data) - at < 2:
                    return at
                if data[at : at + 2] != b"\r\n":
                    self.error = "malformed chunked encoding"
                    return at
                at, self._is_after_data = at + 2, False
            if self._is_after_chunks:
                return self._read_trailer(data, at)
            at = self._read_size(data, at)
            if not self._left and not self._is_after_chunks:
                return at
        self.is_paused = True
        return at

    def _read_size(self, data: bytes | bytearray, at: int) -> int:
        """Read the line before a chunk, if it has come whole."""
        if not self._excess:
            size = _PLAIN_SIZE.match(data, at)
            if size is not None:
                self._left = int(size[1], 16)
                self._is_after_chunks = not self._left
                return size.end()
        end = data.find(b"\n", at, at + _MAX_LINE_BYTES) + 1
        if end:
            self._begin_chunk(bytes(data[at:end]))
            return end
        if len(data) - at >= _MAX_LINE_BYTES:
            self.error = "header line too long"
        return at

    def _begin_chunk(self, line: bytes) -> None:
        carriage, size = line.find(b"\r"), line[:-2].rstrip(b" \t").partition(b";")[0]
        if carriage < 0:
            self.error = "chunked line ends with bare LF"
        elif carriage != len(line) - 2:
            self.error = "invalid CR in chunked line"
        elif not _HEX.fullmatch(size[: _MAX_SIZE_DIGITS + 1]):
            self.error = "invalid byte in chunk length" if size else "empty hex number for chunk length"
        elif len(size) > _MAX_SIZE_DIGITS:
            self.error = "http chunk length too large"
        else:
            left = int(size, 16)
            self._excess = max(0, _int64(self._excess + len(line) - _int64(16 + 2 * left)))
            if left and self._excess > _MAX_EXCESS_BYTES:
                self.error = "chunked encoding contains too much non-data"
            else:
                self._left, self._is_after_chunks = left, not left

    def _read_trailer(self, data: bytes | bytearray, at: int) -> int:
        """Read and drop the lines after the last chunk, up to the blank one (``net/http`` ``readTrailer``)."""
        if len(data) - at < 2:
            return at
        if data[at : at + 2] == b"\r\n":
            self.is_done = True
            return at + 2
        end = data.find(b"\r\n\r\n", at, at + _MAX_TRAILER_BYTES) + 4  # only then are the lines read, up to any blank line
        if end < 4:
            if len(data) - at >= _MAX_TRAILER_BYTES:
                self.error = _LONG_TRAILER
            return at
        lines = bytes(data[at:end])
        blank = _BLANK_LINE.search(lines)
        assert blank is not None
        self.error = _trailer_error(lines[: blank.start()])
        self.is_done = not self.error
        return at + blank.end()

    def end(self, unread: int) -> None:
        if not self._is_after_chunks:
            self.error = UNEXPECTED_END
        else:
            self.error = _LONG_TRAILER if unread > 1 else "http: unexpected EOF reading trailer"

    @property
    def is_read_to_its_end(self) -> bool:
        return self.is_done and self._kept.tell() < self._limit  # the end is a chunk of its own

    @property
    def is_too_long(self) -> bool:
        return self._kept.tell() - self._limit > MAX_UNREAD_BYTES


def _trailer_error(lines: bytes) -> str:
    """What is wrong with the lines of a trailer, in Go's words; ``""`` if nothing is (``net/textproto`` ``readMIMEHeader``)."""
    fields: list[list[bytes]] = []
    for line in lines.split(b"\n")[:-1]:
        line = line.removesuffix(b"\r")
        if line[:1] not in (b" ", b"\t"):
            fields.append([line])
        elif fields:
            fields[-1].append(line)
        elif len(line) > _MAX_QUOTED_BYTES:
            return "message too large"
        else:
            return f"malformed MIME header initial line: {quoted(line)}"
    for field in fields:
        if b":" not in field[0]:
            return f"malformed MIME header: missing colon: {quoted(field[0])}"
        line = b" ".join([part.strip(b" \t") for part in field])
        if not _FIELD.fullmatch(line):
            return f"malformed MIME header line: {quoted(line)}"
    return ""
