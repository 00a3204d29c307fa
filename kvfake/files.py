"""Files that a server writes: exchanges, a line of JSON each, as they come; values, when it ends.

Law: exchanges and texts in, files out. No token is written. A file that cannot be written is reported once and stops no server.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from threading import RLock
from typing import Any, BinaryIO

from kvfake.world.journal import Exchange
from kvfake.world.world import World


class LineFile:
    """A file of lines, which is emptied when it is opened. Raises ``OSError`` where it cannot be opened, or ``first`` not written.

    ``complain`` is called where it cannot be written any more; ``is_whole`` says whether it has every line. Nobody else can read a
    ``private`` file.
    """

    def __init__(self, path: str, complain: Callable[[str], None], private: bool = False, first: str = "") -> None:
        self._path, self._complain = path, complain
        self._lock = RLock()
        self._file: BinaryIO | None = _opened(path, private)
        try:
            self._file.write(_encoded(first))
            self._file.flush()
        except OSError:
            self.close()
            raise
        self.is_whole = True

    def add(self, line: str) -> None:
        """Add a line. It is in the file when this returns."""
        self._do(lambda file: file.write(_encoded(line)))

    def change(self, change: Callable[[bytes], str]) -> None:
        """Replace every line with what ``change`` makes of it; not on a terminal or a pipe, which keep what they got."""
        from pathlib import Path

        place = Path(self._path)

        def write(file: BinaryIO) -> None:
            before = place.read_bytes()
            after = b"".join([_encoded(change(line)) for line in before.splitlines(keepends=True)])
            if after != before:
                file.seek(0)
                file.truncate()
                file.write(after)

        if place.is_file():
            self._do(write)

    def _do(self, write: Callable[[BinaryIO], object]) -> None:
        with self._lock:
            if self._file is None:
                return
            try:
                write(self._file)
                self._file.flush()
            except OSError as failed:
                self.is_whole = False
                self.close()
                self._complain(f"cannot write {self._path}: {failed.strerror} (exchanges from now on are not in it)")

    def close(self) -> None:
        with self._lock, suppress(OSError):  # every line was flushed, or is reported as missing
            file, self._file = self._file, None
            if file is not None:
                file.close()


def _opened(path: str, private: bool) -> BinaryIO:
    mode = 0o600 if private else 0o666
    file: BinaryIO = open(path, "wb", opener=partial(os.open, mode=mode))  # noqa: SIM115 - closed by close
    if private and stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # an older file keeps its mode; a terminal is not ours to change
        os.fchmod(file.fileno(), 0o600)
    return file


def _encoded(line: str) -> bytes:
    return line.encode("utf-8", "backslashreplace")  # a lone surrogate is its escape in JSON


class JournalFile(LineFile):
    """The file of the exchanges of all worlds of a server."""

    def write(self, world: World, exchange: Exchange) -> None:
        """Add a line: the exchange, and the id of its world."""
        record = {"world": world.id, **exchange.to_dict()}
        self.add(json.dumps(record, ensure_ascii=False) + "\n")


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

    def finish(self, dump: Callable[[], Mapping[str, Any]]) -> bool:
        """Write what is written at the end. Whether every file is complete."""
        if self._export is not None:
            from kvfake.world import datafile

            try:
                write_whole(self._export, datafile.text_of(dump()))
            except OSError as failed:
                self._complain(f"cannot write {self._export}: {failed.strerror}")
                return False
        return self.journal_file is None or self.journal_file.is_whole


def _check(path: str) -> None:
    """Raises ``OSError`` where a file of values could not be written, as far as that can be known before."""
    import tempfile
    from pathlib import Path

    place = Path(os.path.realpath(path))
    if place.is_dir():
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if place.exists() and not place.is_file():  # a pipe, a terminal
        return
    try:
        with tempfile.TemporaryFile(dir=place.parent):
            ...
    except OSError as failed:
        reason = failed.strerror if place.parent.is_dir() else f"there is no folder {place.parent}"
        raise OSError(failed.errno, reason, path) from None


def write_whole(path: str | os.PathLike[str], text: str) -> None:
    """Write the text to the file, whole or not at all: the old file stays until the new one can take its place."""
    import secrets
    from pathlib import Path

    content = text.encode()
    if Path(path).exists() and not Path(path).is_file():  # /dev/stdout, a pipe; a folder refuses
        Path(path).write_bytes(content)
        return
    target = Path(os.path.realpath(path))
    beside = target.with_name(f".{target.name[:50]}.{secrets.token_hex(8)}")
    try:
        with beside.open("xb") as file:
            if target.exists():
                os.fchmod(file.fileno(), stat.S_IMODE(target.stat().st_mode))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
