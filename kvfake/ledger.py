"""The exchanges of a whole server in a file, a line of JSON each, as they come.

Law: exchanges in, lines out. It shows no token.
"""

from __future__ import annotations

import json
import os

from kvfake.world.exchange import Exchange
from kvfake.world.world import World


class Ledger:
    """A file that is emptied when it is opened. Raises ``OSError`` where it cannot be written."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = open(path, "w", encoding="utf-8", errors="backslashreplace")  # noqa: PTH123, SIM115 - closed by close

    def write(self, world: World, exchange: Exchange) -> None:
        """One line: the exchange, and the world that it belongs to."""
        record = {"world": world.id, **exchange.as_json(world.owners.without_tokens)}
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def close(self) -> None:
        self._file.close()
