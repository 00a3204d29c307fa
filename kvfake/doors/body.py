"""How a body ends: after so many bytes, or after the last chunk (``net/http/internal`` ``chunkedReader``).

Law: bytes in, bytes kept; no sockets, no services. A body is kept whole, or is too long and nobody waits for its end.
httptools reads chunks too, but does not say where a message ends, and has other words for what is wrong.
"""

from __future__ import annotations

import re
from io import BytesIO

from kvfake.services.gorules import quoted

MAX_BODY_BYTES = 64 * 1024 * 1024  # a service reads 2 MiB at most, a neighbour what it likes
UNEXPECTED_END = "unexpected EOF"

_MAX_LINE_BYTES = 4096  # maxLineLength
_MAX_TRAILER_BYTES = 4096  # what bufio.Reader holds
_MAX_EXCESS_BYTES = 16 * 1024
_TRAILER = re.compile(rb"\r?\n|.*?\n\r?\n", re.DOTALL)
_HEX = re.compile(rb"[0-9A-Fa-f]+")

_BAD_LENGTH = "invalid byte in chunk length"
_NO_LENGTH = "empty hex number for chunk length"
_LONG_LENGTH = "http chunk length too large"
_BARE_LF = "chunked line ends with bare LF"
_BAD_CR = "invalid CR in chunked line"
_LONG_LINE = "header line too long"
_NO_CRLF = "malformed chunked encoding"
_NO_DATA = "chunked encoding contains too much non-data"
_NO_COLON = "malformed MIME header: missing colon"
_NO_TRAILER = "http: unexpected EOF reading trailer"
_LONG_TRAILER = "http: suspiciously long trailer after chunked body"


def _int64(number: int) -> int:
    """What Go's arithmetic makes of a number that is too large."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


class Body:
    """A body of ``length`` bytes, read as they come. Of one that is too long a byte more than `MAX_BODY_BYTES` is kept."""

    def __init__(self, length: int) -> None:
        self._left = length
        self._kept = BytesIO()  # gives what it holds without a copy
        self.is_done = False
        self.broken = ""

    def feed(self, data: bytes) -> bytes:
        """Take what belongs to the body; what follows it is given back."""
        piece, rest = (data, b"") if len(data) <= self._left else (data[: self._left], data[self._left :])
        self._left -= len(piece)
        self._kept.write(piece[: MAX_BODY_BYTES + 1 - self._kept.tell()])
        self.is_done = not self._left
        return rest

    def end(self) -> None:
        """The client will send no more."""
        self.broken = UNEXPECTED_END

    @property
    def is_too_long(self) -> bool:
        """Whether nobody should wait for its end."""
        return self._kept.tell() > MAX_BODY_BYTES

    @property
    def bytes(self) -> bytes:
        return self._kept.getvalue()


class ChunkedBody(Body):
    """A body in chunks. ``broken`` says, in Go's words, why it has no end; nothing is read after that."""

    def __init__(self) -> None:
        super().__init__(0)
        self._line = bytearray()  # the beginning of a line, or of the two bytes after a chunk
        self._excess = 0
        self._step = self._size

    def feed(self, data: bytes) -> bytes:
        while data and not self.is_done and not self.broken:
            data = self._step(data)
        return data

    def _whole_line(self, data: bytes) -> tuple[bytes | None, bytes]:
        piece, newline, rest = data.partition(b"\n")
        self._line += piece + newline
        if not newline:
            if len(self._line) >= _MAX_LINE_BYTES:
                self.broken = _LONG_LINE
            return None, b""
        line = bytes(self._line)
        self._line.clear()
        return line, rest

    def _size(self, data: bytes) -> bytes:
        line, rest = self._whole_line(data)
        if line is None:
            return rest
        carriage = line.find(b"\r")
        if len(line) - 2 >= _MAX_LINE_BYTES:
            self.broken = _LONG_LINE
        elif carriage != len(line) - 2:
            self.broken = _BARE_LF if carriage < 0 else _BAD_CR
        else:
            self._begin(line)
        return rest

    def _begin(self, line: bytes) -> None:
        size = line[:-2].rstrip(b" \t").partition(b";")[0]
        if not _HEX.fullmatch(size):
            self.broken = _BAD_LENGTH if size else _NO_LENGTH
        elif len(size) > 16:
            self.broken = _LONG_LENGTH
        else:
            self._left = int(size, 16)
            self._excess = max(0, _int64(self._excess + len(line) - _int64(16 + 2 * self._left)))
            if self._excess > _MAX_EXCESS_BYTES:
                self.broken = _NO_DATA
            self._step = self._data if self._left else self._trailer

    def _data(self, data: bytes) -> bytes:
        rest = super().feed(data)
        if self.is_done:
            self.is_done, self._step = False, self._after_data
        return rest

    def _after_data(self, data: bytes) -> bytes:
        wanted = 2 - len(self._line)
        self._line += data[:wanted]
        if len(self._line) == 2:
            if self._line != b"\r\n":
                self.broken = _NO_CRLF
            self._line.clear()
            self._step = self._size
        return data[wanted:]

    def _trailer(self, data: bytes) -> bytes:
        """The lines after the last chunk are read and dropped, to the blank one."""
        known = len(self._line)
        self._line += data
        trailer = _TRAILER.match(self._line)
        if trailer is None:
            if len(self._line) >= _MAX_TRAILER_BYTES:
                self.broken = _LONG_TRAILER
            return b""
        for line in trailer[0].replace(b"\r\n", b"\n").split(b"\n")[:-2]:
            if b":" not in line:
                self.broken = f"{_NO_COLON}: {quoted(line)}"
                return b""
        self.is_done = True
        return data[trailer.end() - known :]

    def end(self) -> None:
        if self._step != self._trailer:
            super().end()
        else:
            self.broken = _LONG_TRAILER if self._line.strip(b"\r") else _NO_TRAILER
