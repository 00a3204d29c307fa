"""Reads the heads and bodies of requests as Go's ``net/http`` does (M28), and refuses what it refuses, with the same texts.

Law: bytes in; a `Head`, a body, or `BadRequest` out. It knows neither sockets nor services. httptools reads the header lines. What
it would judge differently from Go is read here and never reaches it: the request line (a method ``get``, raw UTF-8 in a target),
continuation lines, and the lines that frame the body (two equal lengths, a length beside chunked).
"""

from __future__ import annotations

import re
from io import BytesIO
from typing import TYPE_CHECKING

from httptools import HttpParserError, HttpRequestParser

from kvfake.services.go import quoted
from kvfake.stores import Record

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

MAX_HEAD_BYTES = (1 << 20) + 4096  # http.DefaultMaxHeaderBytes, and what bufio reads beyond it


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
    expects something else.
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


_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!-~\x80-\xff]+) HTTP/([0-9])\.([0-9])\r?")
_FOLD = re.compile(rb"[ \t]*\r?\n[ \t]+")
_FRAMES = (b"content-length:", b"transfer-encoding:", b"upgrade:", b"proxy-connection:")
_FRAMING = re.compile(rb"^(content-length|transfer-encoding|upgrade|proxy-connection):([^\n]*)\n", re.IGNORECASE | re.MULTILINE)
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_BLANK_IN_NAME = re.compile(rb"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [ !#$%&'*+\-.^_`|~0-9A-Za-z]*:[^\n]*\n", re.MULTILINE)
_HOST = re.compile(rb"[!$%&'()*+,\-.0-9:;=A-Z\[\]_a-z~]*")  # httpguts.ValidHostHeader
_AUTHORITY = rb"""(?:[^@/?]*@)?(?:\[[^\]@/?]*\]|[A-Za-z0-9\-._~!$&'()*+,;=<>"]*)(?::[0-9]*)?"""
_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+\-.]*):(//" + _AUTHORITY + rb"(?=[/?]|\Z)|(?=/(?!/)))")
_START = b"GET / HTTP/1.1\r\n"
_MAX_LENGTH = (1 << 63) - 1
_MAX_DIGITS = 19


class HeadParser:
    """Reads the heads of one connection, one after the other. After `BadRequest` it must not be used again."""

    def __init__(self) -> None:
        self._parser = self._new_parser()
        self._headers: dict[bytes, bytes] = {}
        self._has_two_hosts = False
        self._last_read: tuple[bytes, bytes, bytes] | None = None  # the header lines and the version of the last head
        self._last_head = Head({}, False, False, 0, False)

    def _new_parser(self) -> HttpRequestParser:
        parser = HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True)
        return parser

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by httptools. Of lines with the same name ``net/http`` takes the first, except for three names."""
        name, value = name.lower(), value.strip(b" \t")
        headers = self._headers
        if name not in headers:
            headers[name] = value
        elif name == b"cookie":
            headers[name] += b"; " + value
        elif name == b"connection":
            headers[name] += b", " + value
        elif name == b"host":
            self._has_two_hosts = True

    def end_of_same(self, received: bytes | bytearray) -> int:
        """Where the head ends, if its header lines are those of the last head; else 0. This saves the search for the end."""
        if self._last_read is None:
            return 0
        start, lines = received.find(b"\n") + 1, self._last_read[0]
        return start + len(lines) if received.startswith(lines, start) else 0

    def read(self, head: bytes) -> tuple[str, bytes, Head]:
        """Method, target and `Head` of a head, which ends with its blank line. Raises `BadRequest`, for the first reason that
        ``net/http`` would find.
        """
        line, _, block = head.partition(b"\n")
        method, target, major, minor = request_line(line)
        if (block, major, minor) != self._last_read:  # most clients repeat their header lines
            self._last_read = None
            self._last_head = self._read(method, major, minor, block)
            if b"host" in self._last_head.headers:  # without it, `CONNECT` is read and other methods are refused
                self._last_read = (block, major, minor)
        return method.decode(), target, self._last_head

    def _read(self, method: bytes, major: bytes, minor: bytes, block: bytes) -> Head:
        """The `Head` of the lines below the first."""
        if b"\n " in block or b"\n\t" in block:
            block = _FOLD.sub(b" ", block)
        lowered = block.lower()
        framing: list[tuple[bytes, bytes]] = []
        if _FRAMES[0] in lowered or _FRAMES[1] in lowered or _FRAMES[2] in lowered or _FRAMES[3] in lowered:
            pieces = _FRAMING.split(block)  # text between, name, value, text between, ...
            block = b"".join(pieces[::3])
            framing = [(name.lower(), value.strip(b" \t\r")) for name, value in zip(pieces[1::3], pieces[2::3], strict=True)]
            if any(_CONTROL.search(value) for _, value in framing):
                raise BadRequest(BAD_REQUEST_TEXT)
        has_bad_name = self._parse(block)
        headers = self._headers
        if self._has_two_hosts:
            raise BadRequest(BAD_REQUEST_TEXT)
        for name, value in framing:
            headers.setdefault(name, value)
        is_old = minor == b"0"
        length = _length(framing, is_old) if framing else 0
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
        keep_alive = not is_old
        if b"connection" in headers:
            tokens = _tokens(headers[b"connection"])
            keep_alive = b"keep-alive" in tokens if is_old else b"close" not in tokens
        return Head(headers, is_old, keep_alive, length, _expectation(headers.get(b"expect", b"")))

    def _parse(self, block: bytes) -> bool:
        """Read the lines into ``_headers``. Returns whether a name has a blank in it, which is refused only after other reasons."""
        self._headers = {}
        try:
            self._parser.feed_data(_START + block)
            return False
        except HttpParserError:
            block, blanks = _BLANK_IN_NAME.subn(b"", block)
        if not blanks:
            raise BadRequest(BAD_REQUEST_TEXT)
        self._parser = self._new_parser()
        self._parse(block)
        return True


def _tokens(value: bytes) -> list[bytes]:
    """The tokens of a header, as ``net/http`` ``hasToken`` finds them."""
    return value.lower().replace(b",", b" ").split()


def _expectation(value: bytes) -> bool | None:
    """`Head.expects` of an ``Expect`` header."""
    if not value:
        return False
    return True if b"100-continue" in _tokens(value) else None


def request_line(line: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Method, target, and both digits of the version. Raises `BadRequest`."""
    parts = _REQUEST_LINE.fullmatch(line)
    if parts is None:
        raise BadRequest(BAD_REQUEST_TEXT)
    method, target, major, minor = parts.groups()
    if target[:1] != b"/" and target != b"*" and method != b"CONNECT" and not _ABSOLUTE.match(target):
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
UNEXPECTED_END = "unexpected EOF"

_MAX_LINE_BYTES = 4096  # net/http/internal: maxLineLength
_MAX_TRAILER_BYTES = 4096  # the buffer of bufio.Reader
_MAX_EXCESS_BYTES = 16 * 1024  # net/http/internal: of what is not data, in all chunks
_MAX_SIZE_DIGITS = 16  # net/http/internal: parseHexUint
_TRAILER = re.compile(rb"\r?\n|.*?\n\r?\n", re.DOTALL)
_HEX = re.compile(rb"[0-9A-Fa-f]+")

_LONG_TRAILER = "http: suspiciously long trailer after chunked body"


def _int64(number: int) -> int:
    """The number as Go's int64 holds it, which overflows."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


class Body:
    """A body of ``length`` bytes. ``error`` says, in Go's words, why it has no end; nothing is read after that. Of a body that is
    too long, one byte more than `MAX_BODY_BYTES` is kept.
    """

    def __init__(self, length: int) -> None:
        self._left = length
        self._kept = BytesIO()  # gives what it holds without a copy
        self.is_done = False
        self.error = ""

    def feed(self, data: bytes) -> bytes:
        """Read what belongs to the body; returns what follows it."""
        piece, rest = (data, b"") if len(data) <= self._left else (data[: self._left], data[self._left :])
        self._left -= len(piece)
        self._kept.write(piece[: MAX_BODY_BYTES + 1 - self._kept.tell()])
        self.is_done = not self._left
        return rest

    def end(self) -> None:
        """The client will send no more."""
        self.error = UNEXPECTED_END

    @property
    def held_bytes(self) -> int:
        return self._kept.tell()

    @property
    def is_too_long(self) -> bool:
        """Whether more than `MAX_BODY_BYTES` came: then do not wait for its end."""
        return self._kept.tell() > MAX_BODY_BYTES

    @property
    def bytes(self) -> bytes:
        return self._kept.getvalue()


class ChunkedBody(Body):
    """A body in chunks (``net/http/internal`` ``chunkedReader``). httptools reads chunks too, but does not say where a message
    ends, and its errors have other texts.
    """

    def __init__(self) -> None:
        super().__init__(0)
        self._line = bytearray()  # the part that came of a line, or of the two bytes after a chunk
        self._excess = 0
        self._step: Callable[[ChunkedBody, bytes], bytes] = ChunkedBody._size  # a bound method would hold its own object alive

    def feed(self, data: bytes) -> bytes:
        while data and not self.is_done and not self.error:
            data = self._step(self, data)
        return data

    def _size(self, data: bytes) -> bytes:
        """Read the line with the size of the next chunk."""
        piece, newline, rest = data.partition(b"\n")
        self._line += piece + newline
        if len(self._line) - 2 * len(newline) >= _MAX_LINE_BYTES:
            self.error = "header line too long"
        elif newline:
            self._begin_chunk(bytes(self._line))
            self._line.clear()
        return rest

    def _begin_chunk(self, line: bytes) -> None:
        carriage, size = line.find(b"\r"), line[:-2].rstrip(b" \t").partition(b";")[0]
        if carriage != len(line) - 2:
            self.error = "chunked line ends with bare LF" if carriage < 0 else "invalid CR in chunked line"
        elif not _HEX.fullmatch(size):
            self.error = "invalid byte in chunk length" if size else "empty hex number for chunk length"
        elif len(size) > _MAX_SIZE_DIGITS:
            self.error = "http chunk length too large"
        else:
            self._left = int(size, 16)
            self._excess = max(0, _int64(self._excess + len(line) - _int64(16 + 2 * self._left)))
            if self._excess > _MAX_EXCESS_BYTES:
                self.error = "chunked encoding contains too much non-data"
            self._step = ChunkedBody._data if self._left else ChunkedBody._trailer

    def _data(self, data: bytes) -> bytes:
        rest = super().feed(data)
        if self.is_done:
            self.is_done, self._step = False, ChunkedBody._after_data
        return rest

    def _after_data(self, data: bytes) -> bytes:
        """Read the end of the line after a chunk."""
        missing = 2 - len(self._line)
        self._line += data[:missing]
        if len(self._line) == 2:
            if self._line != b"\r\n":
                self.error = "malformed chunked encoding"
            self._line.clear()
            self._step = ChunkedBody._size
        return data[missing:]

    def _trailer(self, data: bytes) -> bytes:
        """Read and drop the lines after the last chunk, up to the blank one."""
        known = len(self._line)
        self._line += data
        trailer = _TRAILER.match(self._line)
        if trailer is None:
            if len(self._line) >= _MAX_TRAILER_BYTES:
                self.error = _LONG_TRAILER
            return b""
        for line in trailer[0].replace(b"\r\n", b"\n").split(b"\n")[:-2]:
            if b":" not in line:
                self.error = f"malformed MIME header: missing colon: {quoted(line)}"
                return b""
        self.is_done = True
        return data[trailer.end() - known :]

    def end(self) -> None:
        if self._step != ChunkedBody._trailer:
            super().end()
        else:
            self.error = _LONG_TRAILER if self._line.strip(b"\r") else "http: unexpected EOF reading trailer"
