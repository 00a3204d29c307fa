"""Lines for a reader who may be slow, or gone: they wait in a queue with a bound, and a thread of its own writes them.

Law: adding a line never waits and never raises. Only the writing thread waits for a reader; what it cannot write in time is
dropped, counted and told. Nothing here uses the buffer of ``sys.stderr``: its lock would be held while nobody reads.
"""

from __future__ import annotations

import errno
import os
import re
import select
import stat
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import Condition, Thread
from typing import Any

from kvfake.machine import machine_seconds

MAX_QUEUED_LINES = 65_536
MAX_QUEUED_BYTES = 64 * 1024 * 1024
MAX_END_SECONDS = 2.0  # how long a command that ends waits for a reader; also, for the reader of a pipe that is opened
_MAX_LINES_AT_ONCE = 256
_LOOK_SECONDS = 0.1  # how often a thread that waits for a reader looks whether the command ends
_PAUSE_SECONDS = 0.01
_FILE_BYTES = 1 << 20  # of one write to a file
_PIPE_BYTES = getattr(select, "PIPE_BUF", 512)  # which a pipe that is ready takes at once; POSIX says so much at least
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)  # Windows has none
_MAX_LINKS = 40  # as Linux follows

_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/([0-9]+)")
_STANDARD_FILES = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


# ---------------------------------------------------------------------------------------------------------- file descriptors


def write_some(fd: int, data: memoryview | bytes, seconds: float) -> int:
    """Write some of the bytes; how many: 0 where there was no room within so many seconds. It does not block in the system."""
    size = _FILE_BYTES if stat.S_ISREG(os.fstat(fd).st_mode) else _PIPE_BYTES
    end = machine_seconds() + seconds
    while _has_room(fd, max(0.0, end - machine_seconds()) if seconds < float("inf") else None):
        with suppress(BlockingIOError):
            return os.write(fd, data[:size])
        time.sleep(_PAUSE_SECONDS)
    return 0


def _has_room(fd: int, seconds: float | None) -> bool:
    """Whether the descriptor takes bytes, within so many seconds."""
    if hasattr(select, "poll"):
        poller = select.poll()
        poller.register(fd, select.POLLOUT)
        return bool(poller.poll(None if seconds is None else seconds * 1000))
    try:
        return bool(select.select([], [fd], [], seconds)[1])
    except (OSError, ValueError):  # select knows only sockets on Windows, and elsewhere only small descriptors
        return True


def write_all(fd: int, data: bytes, silence: float, seconds: float = float("inf")) -> None:
    """Write the bytes. Raises ``OSError``, also where nobody reads for ``silence`` seconds, or not all within ``seconds``."""
    left, end = memoryview(data), machine_seconds() + seconds
    while left:
        written = write_some(fd, left, min(silence, end - machine_seconds()))
        if not written:
            reason = "nobody reads it" if machine_seconds() < end else f"it was not read within {seconds:g} seconds"
            raise TimeoutError(errno.ETIMEDOUT, reason)
        left = left[written:]


def open_to_write(path: str | os.PathLike[str]) -> int:
    """A file descriptor that writes to the path, emptied where that is a file; a new file is its owner's alone. ``/dev/stdout`` and
    ``/dev/fd/N`` are the descriptors that they name, with what was written there. Raises ``OSError``, also for a pipe that nobody
    reads.
    """
    named = descriptor_of(path)
    if named is not None:
        return os.dup(named)
    end = machine_seconds() + MAX_END_SECONDS
    while True:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _NONBLOCK, 0o600)
        except OSError as failed:
            if failed.errno != errno.ENXIO:
                raise
            if machine_seconds() > end:
                raise OSError(errno.ENXIO, "nobody reads it", os.fspath(path)) from None
            time.sleep(_PAUSE_SECONDS)
        else:
            if _NONBLOCK:
                os.set_blocking(fd, True)
            return fd


def descriptor_of(path: str | os.PathLike[str]) -> int | None:
    """The number of the file descriptor that the path, or a link there, names; ``None`` for any other path."""
    place = os.path.abspath(path)  # noqa: PTH100 - a Path would be loaded for nothing
    for _ in range(_MAX_LINKS):
        named = _DESCRIPTOR.fullmatch(place)
        if named:
            return int(named[1])
        if place in _STANDARD_FILES:
            return _STANDARD_FILES[place]
        try:
            place = os.path.normpath(os.path.join(os.path.dirname(place), os.readlink(place)))  # noqa: PTH115, PTH118, PTH120
        except OSError:
            break
    return None


# -------------------------------------------------------------------------------------------------------------------- stderr


def printable(text: str) -> str:
    """The text, with an escape for what a terminal would not print: it may come from a server."""
    return (
        text
        if text.isprintable()
        else "".join(character if character.isprintable() else character.encode("unicode_escape").decode() for character in text)
    )


def counted(count: int, noun: str) -> str:
    """``1 fault``, ``2 faults``."""
    return f"{count} {noun}{'s' * (count != 1)}"


def tell(text: str, seconds: float = MAX_END_SECONDS) -> None:
    """Write ``kvfake:`` and the text to stderr, on one line. It waits so many seconds for a reader at most, and raises nothing."""
    write_to_stderr(f"kvfake: {printable(text)}\n", seconds)


def write_to_stderr(text: str, seconds: float) -> None:
    """Write the text, as much of it as can be written with waits of so many seconds at most. It raises nothing."""
    with suppress(Exception):  # where stderr is gone there is nobody to tell
        fd = stderr_descriptor()
        if fd is None:
            sys.stderr.write(text)
        else:
            write_all(fd, text.encode(sys.stderr.encoding, "backslashreplace"), seconds)


def stderr_descriptor() -> int | None:
    """That of ``sys.stderr``, ``None`` where it has none: it is closed, or in memory, as tests have it."""
    try:
        return sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return None


def is_captured() -> bool:
    """Whether stderr is a test's, in memory, or a file without a name, as pytest has it; or closed. Then nobody is waited for."""
    try:
        return os.fstat(sys.stderr.fileno()).st_nlink == 0
    except (AttributeError, OSError, ValueError):
        return True


# --------------------------------------------------------------------------------------------------------------------- lines


class LineWriter:
    """Lines on their way to where they are written. ``missing`` counts those that never came there.

    ``encode`` makes the bytes of one line, on the writing thread; ``write`` writes some bytes and returns how many, as `write_some`
    does. ``note`` makes the line that says how many were dropped before it, if one can stand there. ``failed`` is called once,
    when writing fails; later lines are dropped. In a forked child, which has no such thread, nothing is written.
    """

    def __init__(
        self,
        encode: Callable[[Any], bytes],
        write: Callable[[memoryview, float], int],
        note: Callable[[int], bytes] | None = None,
        failed: Callable[[Exception], object] | None = None,
    ) -> None:
        self._encode, self._write, self._note, self._failed = encode, write, note, failed
        self._process = os.getpid()
        self._changed = Condition()
        self._queue: deque[tuple[Any, int]] = deque()  # each line with its size
        self._bytes = 0
        self._in_hand = 0  # lines that the thread has taken
        self._thread: Thread | None = None
        self._end: float | None = None  # when the last line must be written
        self._has_failed = False
        self.missing = 0
        self.untold = 0  # of those that are missing: what no note has told

    def add(self, line: Any, size: int) -> None:
        """Add a line that holds about so many bytes. It is written soon, or dropped."""
        if self._is_forked:
            return
        try:
            with self._changed:
                if self._end is not None:
                    return
                is_full = len(self._queue) >= MAX_QUEUED_LINES or self._bytes + size > MAX_QUEUED_BYTES
                if is_full or self._has_failed:
                    self._drop(1)
                    return
                if self._thread is None:
                    thread = Thread(target=self._run, name="kvfake-lines", daemon=True)
                    thread.start()
                    self._thread = thread
                self._queue.append((line, size))
                self._bytes += size
                self._changed.notify()
        except Exception:  # no memory, no thread
            self._drop(1)

    def close(self, seconds: float = MAX_END_SECONDS) -> bool:
        """Write what waits, for so many seconds at most; what was not written then is missing. Later lines are ignored. Returns
        whether the thread has ended.
        """
        if self._is_forked:
            return False
        with self._changed:
            thread, has_ended = self._thread, self._end is not None
            self._end = self._end or machine_seconds() + seconds
            self._changed.notify()
        if thread is None and not has_ended:
            self._run()
        elif thread is not None:
            thread.join(max(0.0, self._end + 2 * _LOOK_SECONDS - machine_seconds()))
        with self._changed:
            self._drop(self._in_hand + self._clear())
            self._in_hand = 0
        return thread is None or not thread.is_alive()

    @property
    def _is_forked(self) -> bool:
        """Then a thread that is not here may hold the lock."""
        return os.getpid() != self._process

    def _drop(self, count: int) -> None:
        with self._changed:
            self.missing += count
            self.untold += count

    def _clear(self) -> int:
        """Forget what waits; how many lines that were."""
        count, self._bytes = len(self._queue), 0
        self._queue.clear()
        return count

    # ------------------------------------------------------------------------------------------------ on the writing thread

    def _run(self) -> None:
        while True:
            with self._changed:
                self._in_hand = 0
                self._changed.wait_for(lambda: self._queue or self._end is not None)
                taken = [self._queue.popleft() for _ in range(min(len(self._queue), _MAX_LINES_AT_ONCE))]
                self._bytes -= sum(size for _, size in taken)
                self._in_hand = len(taken)
                untold = self.untold if self._note is not None and not self._has_failed else 0
                self.untold -= untold
            if not taken and not untold:
                return
            self._write_lines([line for line, _ in taken], untold)

    def _write_lines(self, lines: list[Any], untold: int) -> None:
        encoded = [] if self._note is None or not untold else [self._note(untold)]
        for line in lines:
            try:
                encoded.append(self._encode(line))
            except Exception:  # no memory
                self._drop(1)
        left = memoryview(b"".join(encoded))
        try:
            while left:
                if self._end is not None and machine_seconds() > self._end:
                    raise TimeoutError
                left = left[self._write(left, _LOOK_SECONDS) :]
        except Exception as failed:
            with self._changed:
                unwritten = bytes(left).count(b"\n")
                if untold and unwritten == len(encoded):  # the note, too
                    unwritten, self.untold = unwritten - 1, self.untold + untold
                self._has_failed = True
                self._drop(unwritten + self._clear())
                self._in_hand = 0
            if self._failed is not None and self._end is None:
                self._failed(failed)
