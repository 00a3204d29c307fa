"""What a server leaves in files: its exchanges, a line of JSON each, as they come; its values, when it ends.

Law: exchanges and values in, files out. It shows no token, and holds no server up: what cannot be written is told, once.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

from kvfake.world import datafile
from kvfake.world.exchange import Exchange
from kvfake.world.world import World


class Ledger:
    """A file of exchanges, which is emptied when it is opened. Raises ``OSError`` where it cannot be opened.

    ``complain`` is told where it cannot be written any more; ``is_whole`` says whether it has every line.
    """

    def __init__(self, path: str, complain: Callable[[str], None]) -> None:
        self._path, self._complain = path, complain
        self._lock = Lock()  # of all worlds together, whose exchanges come from many threads
        self._file: BinaryIO | None = Path(path).open("wb")  # noqa: SIM115 - it is closed by close
        self.is_whole = True

    def write(self, world: World, exchange: Exchange) -> None:
        """One line: the exchange, and the world that it belongs to. It is in the file when this returns."""
        record = {"world": world.id, **exchange.as_json(world.owners.without_tokens)}
        line = json.dumps(record, ensure_ascii=False) + "\n"
        with self._lock:
            if self._file is None:
                return
            try:
                self._file.write(line.encode("utf-8", "backslashreplace"))  # a lone surrogate is its escape in JSON
                self._file.flush()
            except OSError as failed:
                self.is_whole = False
                self._close()
                self._complain(f"cannot write {self._path}: {failed.strerror} (exchanges from now on are not in it)")

    def close(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # every line was flushed, or is known to be missing
                file.close()


class Files:
    """The files that one server writes, if any. Raises ``OSError`` that names the one which cannot be written."""

    def __init__(self, journal: str | None, export: str | None, complain: Callable[[str], None]) -> None:
        self._export, self._complain = export, complain
        if export is not None:
            _check(export)
        self.ledger = None if journal is None else Ledger(journal, complain)

    def __enter__(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        if self.ledger is not None:
            self.ledger.close()

    def finish(self, dump: Callable[[], Mapping[str, Any]]) -> bool:
        """Write what is written at the end; whether every file is as it should be."""
        if self._export is not None:
            try:
                datafile.write(self._export, dump())
            except OSError as failed:
                self._complain(f"cannot write {self._export}: {failed.strerror}")
                return False
        return self.ledger is None or self.ledger.is_whole


def _check(path: str) -> None:
    """``OSError`` where a file of values could not be written, as far as that can be known before."""
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
