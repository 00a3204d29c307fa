"""Files that a server writes: a line for each request, as they come; values, when it ends.

Law: requests, exchanges and texts in, lines and files out. No token is written. A file of values is whole, or as it was. What may
hold a value is its owner's alone. A file that cannot be written is reported once and stops no server.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from kvfake.lines import (
    MAX_END_SECONDS,
    LineWriter,
    descriptor_of,
    is_captured,
    open_to_write,
    printable,
    stderr_descriptor,
    tell,
    write_all,
    write_some,
)
from kvfake.machine import machine_seconds, machine_time
from kvfake.services.messages import Job, Request, Response

if TYPE_CHECKING:
    from pathlib import Path

    from kvfake.world.journal import Exchange
    from kvfake.world.redaction import Redactor
    from kvfake.world.world import World

_LOG_LINE_BYTES = 400  # beside its target
MAX_EXPORT_SECONDS = 10.0  # how long a pipe that is read may take an export, and how long the end waits for one that runs
_CANNOT_RENAME = (errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS, errno.EINVAL)
"""What renaming over a file that is mounted, or in a folder that cannot be changed, says, and what giving a file to its old owner
says; the file itself may be writable.
"""


class _LogLine(NamedTuple):
    """What is logged of a request. ``time`` is in seconds since 1970; ``status`` is ``None`` where a fault let no answer out."""

    time: float
    method: str
    target: bytes
    status: int | None
    seconds: float
    owner: str | None = None
    fault: object = None
    rows: tuple[str, ...] = ()


class RequestLog:
    """The log of requests on stderr, a line each. Nobody waits for who reads it."""

    def __init__(self, redactor: Callable[[], Redactor]) -> None:
        """``redactor`` gives the one that knows the tokens by now."""
        self._encode = partial(_log_line, redactor)
        self._lines = LineWriter(self._encode, _write_to_stderr, note=_log_note)
        self._current = threading.local()  # ``exchange``: the last that was recorded on this thread

    def listener(self, _: World, exchange: Exchange) -> None:
        """Hears of an exchange while this thread answers its request."""
        self._current.exchange = exchange

    def handler(self, answer: Callable[[Request], Response | Job]) -> Callable[[Request], Response | Job]:
        """A handler that answers as the one given, and logs each request."""
        return lambda request: self._logged(partial(answer, request), request, machine_seconds())

    def _logged(self, call: Callable[[], Response | Job], request: Request, began: float) -> Response | Job:
        self._current.exchange = None
        answer = call()
        if isinstance(answer, Job):
            return Job(partial(self._logged, answer.call, request, began), answer.lane)
        line = _LogLine(machine_time(), request.method, request.target, answer.status, machine_seconds() - began)
        exchange = self._current.exchange
        if exchange is not None:  # it is not kept itself: its bodies may be large
            line = line._replace(status=exchange.status, owner=exchange.owner, fault=exchange.fault, rows=exchange.rows)
        self._add(line)
        return answer

    def refused(self, method: str, target: bytes, status: int) -> None:
        """Log a request that the connection itself refuses."""
        self._add(_LogLine(machine_time(), method, target, status, 0.0))

    def _add(self, line: _LogLine) -> None:
        if is_captured():  # at once, so that the line stands with the test that it belongs to
            with suppress(OSError):
                _write_to_stderr(memoryview(self._encode(line)), 0)
        else:
            self._lines.add(line, len(line.target) + _LOG_LINE_BYTES)

    def close(self) -> None:
        self._lines.close()
        untold, self._lines.untold = self._lines.untold, 0
        if untold:
            tell(_dropped(untold), seconds=0)


def exchange_line(
    time: str, method: str, path: str, owner: str | None, status: int | None, seconds: float, rows: Sequence[str], fault: str | None
) -> str:
    """An exchange as one line of a log. A dash stands for a missing owner or status; without rows or a fault these are left out."""
    parts = [time, method, path, owner or "-", str(status or "-"), f"{seconds * 1000:.1f}ms"]
    parts += [",".join(rows)] if rows else []
    parts += [f"fault: {fault}"] if fault is not None else []
    return " ".join(parts)


def _log_line(redactor: Callable[[], Redactor], line: _LogLine) -> bytes:
    """The line, without secrets."""
    from datetime import datetime, timezone

    from kvfake.world.clock import shown_time

    tokens = redactor()
    time = shown_time(datetime.fromtimestamp(line.time, timezone.utc))
    target = tokens.shown_target(line.target).decode("ascii", "backslashreplace")
    owner = tokens.without_tokens(line.owner or "")
    fault = None if line.fault is None else tokens.redact_text(str(line.fault))
    return _encoded(printable(exchange_line(time, line.method, target, owner, line.status, line.seconds, line.rows, fault)) + "\n")


def _log_note(count: int) -> bytes:
    return f"kvfake: {_dropped(count)}\n".encode()


def _dropped(count: int) -> str:
    return f"{count} lines of the log were dropped: nobody read them"


def _write_to_stderr(data: memoryview, seconds: float) -> int:
    fd = stderr_descriptor()
    if fd is not None:
        return write_some(fd, data, seconds)
    with suppress(Exception):  # it is closed, or is something else's
        sys.stderr.write(bytes(data).decode())
    return len(data)


class LineFile:
    """A file of lines, which is emptied when it is opened. Raises ``OSError`` where it cannot be opened, or ``first`` not written.

    ``complain`` is called where it cannot be written any more, or nobody reads it. ``is_whole`` says whether it has every line.
    Nobody else can read it, also where the file was there before.
    """

    def __init__(self, path: str, complain: Callable[[str], None], first: str = "") -> None:
        self._path, self._complain = path, complain
        self._lock = threading.RLock()
        self._fd: int | None = open_to_write(path)
        try:
            if stat.S_ISREG(os.fstat(self._fd).st_mode):  # a terminal is not ours to change
                _set_mode(self._fd, 0o600)
            write_all(self._fd, _encoded(first), MAX_END_SECONDS)
        except OSError:
            self.close()
            raise
        self.is_whole = True

    def add(self, line: str) -> None:
        """Add a line. It is in the file when this returns."""
        self._do(lambda fd: write_all(fd, _encoded(line), MAX_END_SECONDS))

    def change(self, change: Callable[[bytes], str]) -> None:
        """Replace every line with what ``change`` makes of it; not on a terminal or a pipe, which keep what they got."""
        from pathlib import Path

        place = Path(self._path)

        def write(fd: int) -> None:
            before = place.read_bytes()
            after = b"".join([_encoded(change(line)) for line in before.splitlines(keepends=True)])
            if after != before:
                _write_over(fd, after)

        if place.is_file():
            self._do(write)

    def _do(self, write: Callable[[int], object]) -> None:
        with self._lock:
            if self._fd is None:
                return
            try:
                write(self._fd)
            except OSError as failed:
                self.is_whole = False
                self.close()
                self._complain(f"cannot write {self._path}: {failed.strerror} (exchanges from now on are not in it)")

    def close(self) -> None:
        with self._lock, suppress(OSError):  # every line was written, or is reported as missing
            fd, self._fd = self._fd, None
            if fd is not None:
                os.close(fd)


def _encoded(line: str) -> bytes:
    return line.encode("utf-8", "backslashreplace")  # a lone surrogate is its escape in JSON


class JournalFile:
    """The file of the exchanges of all worlds of a server. ``is_whole`` says whether it has every exchange."""

    def __init__(self, path: str, complain: Callable[[str], None]) -> None:
        """Raises ``OSError`` where it cannot be opened."""
        self._path, self._complain = path, complain
        self._fd: int | None = open_to_write(path)
        self._lines = LineWriter(_journal_line, partial(write_some, self._fd), failed=self._failed)
        self._has_told = False

    @property
    def is_whole(self) -> bool:
        return not self._lines.missing

    def write(self, world: World, exchange: Exchange) -> None:
        """Add a line: the exchange, and the id of its world."""
        self._lines.add((world, exchange), exchange.size)

    def close(self) -> None:
        """Write what waits, for a short time at most."""
        has_ended = self._lines.close()
        if self._fd is not None and has_ended:
            os.close(self._fd)
            self._fd = None
        if not self.is_whole and not self._has_told:
            self._has_told = True
            self._complain(f"{self._lines.missing} exchanges are missing in {self._path}: they could not be written in time")

    def _failed(self, failed: Exception) -> None:
        self._has_told = True
        reason = getattr(failed, "strerror", None) or failed
        self._complain(f"cannot write {self._path}: {reason} (exchanges from now on are not in it)")


def _journal_line(line: tuple[World, Exchange]) -> bytes:
    world, exchange = line
    record = {"world": world.id, **exchange.to_dict()}
    return _encoded(json.dumps(record, ensure_ascii=False) + "\n")


class Files:
    """The files that one server writes, if any. Raises ``OSError`` that names the file that cannot be written."""

    def __init__(self, journal: str | None, export: str | None, complain: Callable[[str], None]) -> None:
        self._export, self._complain = export, complain
        if export is not None:
            _check(export)
        self.journal_file = None if journal is None else JournalFile(journal, complain)

    def __enter__(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        if self.journal_file is not None:
            self.journal_file.close()

    def finish(self, dump: Callable[[], Mapping[str, Any]], exporting: threading.RLock) -> bool:
        """Write what is written at the end. Whether every file is complete. ``exporting`` is the lock of who writes the values: it
        is kept, since whoever got it now would be cut off by the end.
        """
        is_exported = True
        if self._export is not None:
            from kvfake.world import datafile

            exporting.acquire(timeout=MAX_EXPORT_SECONDS)
            try:
                write_whole(self._export, datafile.text_of(dump()))
            except OSError as failed:
                self._complain(f"cannot write {self._export}: {failed.strerror}")
                is_exported = False
        if self.journal_file is not None:
            self.journal_file.close()
            return is_exported and self.journal_file.is_whole
        return is_exported


def _check(path: str) -> None:
    """Raises ``OSError`` where a file of values could not be written, as far as that can be known before."""
    import tempfile
    from pathlib import Path

    place = Path(os.path.realpath(path))
    if descriptor_of(path) is not None or (place.exists() and not place.is_file() and not place.is_dir()):  # a pipe, a terminal
        return
    if place.is_dir():
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if place.exists() and os.statvfs(place).f_flag & os.ST_RDONLY:  # mounted in a folder that may be writable
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
    try:
        with tempfile.TemporaryFile(dir=place.parent):
            ...
    except OSError as failed:
        if failed.errno in _CANNOT_RENAME and os.access(place, os.W_OK):  # it can be written in place
            return
        reason = failed.strerror if place.parent.is_dir() else f"there is no folder {place.parent}"
        raise OSError(failed.errno, reason, path) from None


def is_same_file(path: str, other: str) -> bool:
    """Whether both name one file, or one that is not there yet. A pipe or a terminal may be named twice; so may what is open."""
    if descriptor_of(path) is not None and descriptor_of(other) is not None:
        return False
    try:
        return os.path.samestat(status := os.stat(path), os.stat(other)) and stat.S_ISREG(status.st_mode)  # noqa: PTH116
    except OSError:
        return os.path.realpath(path) == os.path.realpath(other)


def is_missing_or_empty(path: str) -> bool:
    """Whether there is no file, or one of no bytes."""
    try:
        return os.stat(path).st_size == 0  # noqa: PTH116 - a Path would be loaded for nothing
    except OSError as failed:
        return failed.errno == errno.ENOENT


def write_whole(
    path: str | os.PathLike[str], text: str, silence: float = MAX_END_SECONDS, seconds: float = MAX_EXPORT_SECONDS
) -> None:
    """Write the text to the file, whole or not at all: the old file stays until the new one can take its place. A new file is its
    owner's alone; an old one keeps its owner, its group and its mode.

    A file that cannot be replaced, such as one that is mounted into a container, has a second name, or has an owner whom this
    process cannot give a file, is written in place: then a crash of the machine, or a reader at that moment, may find half of it.
    What is no file gets the text as it stands; a pipe must be read, with no pause of more than ``silence`` seconds, and within
    ``seconds``.
    """
    from pathlib import Path

    content = text.encode()
    if descriptor_of(path) is not None or (Path(path).exists() and not Path(path).is_file()):  # a pipe; a folder refuses
        fd = open_to_write(path)
        try:
            write_all(fd, content, silence, seconds)
        finally:
            os.close(fd)
        return
    target = Path(os.path.realpath(path))
    with _signals_wait():
        is_writable = os.access(target, os.W_OK)
        try:
            _replace(target, content, must_keep=is_writable)
        except OSError as failed:
            if failed.errno not in _CANNOT_RENAME or not is_writable:
                raise
            _overwrite(target, content)


def _replace(target: Path, content: bytes, must_keep: bool) -> None:
    """Make a new file beside the target, and rename it. Where it ``must_keep`` the old one's owner and names, and cannot, it raises
    ``OSError``; else it keeps what it can.
    """
    import secrets

    old = target.stat() if target.exists() else None
    if must_keep and old is not None and old.st_nlink > 1:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    beside = target.with_name(f".{target.name[:50]}.{secrets.token_hex(8)}")
    try:
        with open(beside, "xb", opener=partial(os.open, mode=0o600)) as file:
            if old is not None:
                _give_to_owner_of(old, file.fileno(), must_keep)
                _set_mode(file.fileno(), stat.S_IMODE(old.st_mode))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    except BaseException:
        with suppress(OSError):  # the folder is read-only: it was never made
            beside.unlink(missing_ok=True)
        raise


def _set_mode(fd: int, mode: int) -> None:
    if hasattr(os, "fchmod"):  # Windows has no such modes
        os.fchmod(fd, mode)


def _give_to_owner_of(old: os.stat_result, fd: int, must_keep: bool) -> None:
    new = os.fstat(fd)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):  # else nothing is asked of a file system that knows no owners
        try:
            os.fchown(fd, old.st_uid, old.st_gid)
        except OSError:
            if must_keep:
                raise


def _overwrite(target: Path, content: bytes) -> None:
    """Write the file in place. Where that fails it gets back what it held: the room for that was there."""
    before = target.read_bytes()
    with target.open("r+b", buffering=0) as file:
        try:
            _write_over(file.fileno(), content)
            os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                _write_over(file.fileno(), before)
            raise


def _write_over(fd: int, content: bytes) -> None:
    os.lseek(fd, 0, os.SEEK_SET)
    write_all(fd, content, 0)
    os.ftruncate(fd, len(content))


@contextmanager
def _signals_wait() -> Iterator[None]:
    """In this block no signal ends the process, as it would leave a file behind. What comes here comes after it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows, where no signal can wait
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
