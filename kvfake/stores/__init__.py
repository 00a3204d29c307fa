"""What is made for each request: a few named fields, and nothing else.

Law: it knows no field. A named tuple does the same, and takes twice as long to make and thrice to read.

=====

Where values lie: namespace -> key -> entry.

Law: a store knows no HTTP, no service, no clock and no owner. It is told the moment of a set and keeps it.

Guarantees that every store gives, and that its users rely on:

* what was set is got back byte for byte, with the moment of that set, until the next set, delete or clear;
* namespaces never see each other's keys;
* keys are listed in the ascending order of their bytes;
* a call is done when it returns. A caller that reads and then writes holds a lock of its own around both;
* a checkpoint costs the same however much is stored, and rolling back to it what was changed since.

=====

A store that acknowledges changes and does not make them.

Law: what is read is read from the store behind it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from typing_extensions import Self


class Record:
    """The fields are those of ``__slots__``, which ``__init__`` takes by name; nobody changes one once it is made."""

    __slots__: tuple[str, ...] = ()

    def replace(self, **changes: Any) -> Self:
        """The same, but for these."""
        return type(self)(**{**{name: getattr(self, name) for name in self.__slots__}, **changes})

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"


Namespace = tuple[str, str, bytes]
"""Service, owner, prefix: what keeps one owner's values from another's."""


class Entry(Record):
    """A value as it was given, and when it was set: microseconds since 1970, UTC."""

    __slots__ = ("updated", "value")

    def __init__(self, value: bytes, updated: int) -> None:
        self.value, self.updated = value, updated


class StoreReader(Protocol):
    """What a service needs to answer an operation."""

    def get(self, namespace: Namespace, key: bytes) -> Entry | None:
        """The entry, or ``None`` where there is none."""

    def set(self, namespace: Namespace, key: bytes, entry: Entry) -> None:
        """Put the entry there, in place of any other."""

    def delete(self, namespace: Namespace, key: bytes) -> bool:
        """Take the entry away; whether there was one."""

    def keys(self, namespace: Namespace, prefix: bytes = b"") -> list[bytes]:
        """The keys that begin with ``begins``, ascending; the cost is that of the answer, not of all that is stored."""


class Store(StoreReader, Protocol):
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


class DiscardingStore:
    """What a service needs to answer an operation that will not have been done."""

    def __init__(self, store: StoreReader) -> None:
        self._store = store

    def get(self, namespace: Namespace, key: bytes) -> Entry | None:
        return self._store.get(namespace, key)

    def set(self, namespace: Namespace, key: bytes, entry: Entry) -> None:
        pass

    def delete(self, namespace: Namespace, key: bytes) -> bool:
        return self._store.get(namespace, key) is not None

    def keys(self, namespace: Namespace, prefix: bytes = b"") -> list[bytes]:
        return self._store.keys(namespace, prefix)
