"""Where values lie: namespace -> key -> entry.

Law: a store knows no HTTP, no service, no clock and no owner. It is told the moment of a set and keeps it.

Guarantees that every store gives, and that its users rely on:

* what was set is got back byte for byte, with the moment of that set, until the next set, delete or clear;
* namespaces never see each other's keys;
* keys are listed in the ascending order of their bytes;
* a call is done when it returns. A caller that reads and then writes holds a lock of its own around both;
* a checkpoint costs the same however much is stored, and rolling back to it what was changed since.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from kvfake.plain import Plain

Namespace = tuple[str, str, bytes]
"""Service, owner, prefix: what keeps one owner's values from another's."""


class Entry(Plain):
    """A value as it was given, and when it was set: microseconds since 1970, UTC."""

    __slots__ = ("updated", "value")

    def __init__(self, value: bytes, updated: int) -> None:
        self.value, self.updated = value, updated


class KeyValues(Protocol):
    """What a service needs to answer an operation."""

    def get(self, namespace: Namespace, key: bytes) -> Entry | None:
        """The entry, or ``None`` where there is none."""

    def set(self, namespace: Namespace, key: bytes, entry: Entry) -> None:
        """Put the entry there, in place of any other."""

    def delete(self, namespace: Namespace, key: bytes) -> bool:
        """Take the entry away; whether there was one."""

    def keys(self, namespace: Namespace, begins: bytes = b"") -> list[bytes]:
        """The keys that begin with ``begins``, ascending; the cost is that of the answer, not of all that is stored."""


class Store(KeyValues, Protocol):
    """What a place for values must be able to do."""

    def count(self, namespace: Namespace) -> int:
        """How many keys there are."""

    def namespaces(self) -> Iterable[Namespace]:
        """Those that hold a key, in no order."""

    def clear(self) -> None:
        """Take everything away, checkpoints too."""

    def checkpoint(self) -> int:
        """A number for everything as it is now."""

    def rollback(self, number: int) -> None:
        """Everything as it was then; later checkpoints are gone, this one stays. ``KeyError`` for one that is not there."""
