"""Where values are kept: namespace -> key -> entry. The interface of every store, what it promises, and views of a store that lose
a change, remember what was there before, or show that.

Law: a store knows no HTTP, no service, no clock and no owner. The caller passes the moment of a set; the store keeps it.

Guarantees that every store gives, and that its users rely on:

* what was set is read back byte for byte, with the moment of that set, until the next set, delete or clear;
* namespaces never see each other's keys;
* keys are listed in the ascending order of their bytes;
* a call is done when it returns. A caller that reads and then writes holds a lock of its own around both;
* a checkpoint costs the same however much is stored; rolling back to it costs what was changed since;
* what was prepared takes a moment, however much there is to copy or to undo;
* dropping a namespace or everything, and what a snapshot does before it returns, takes a moment, however much is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from typing import Final

    from typing_extensions import Self


class Record:
    """A value with named fields, of which several are made for each request. The fields are those of ``__slots__``, which
    ``__init__`` takes by name.

    Fields are declared ``Final``: type checkers refuse to change one, and nothing is paid for it while the program runs. A named
    tuple takes twice as long to make and six times as long to read; a frozen dataclass takes four times as long to make.
    """

    __slots__: tuple[str, ...] = ()
    may_be_secret: ClassVar[tuple[str, ...]] = ()
    """The fields of which `repr` shows no more than their length."""

    def replace(self, **changes: Any) -> Self:
        """A copy with these fields changed."""
        return type(self)(**{**{name: getattr(self, name) for name in self.__slots__}, **changes})

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={self._shown(name)}' for name in self.__slots__)})"

    def _shown(self, name: str) -> str:
        value = getattr(self, name)
        return f"<{len(value)}>" if value and name in self.may_be_secret else repr(value)


Namespace = tuple[str, str, bytes]
"""Service, owner, prefix: what keeps one owner's values from another's."""


class Entry(Record):
    """A value as it was given, and when it was set: microseconds since 1970, UTC."""

    __slots__ = ("updated", "value")
    value: Final[bytes]
    updated: Final[int]

    def __init__(self, value: bytes, updated: int) -> None:
        self.value, self.updated = value, updated


class Dropped:
    """What was taken out of a store in one step, and how many values that are. Each step of iterating gives the memory of a few
    back. Who lets it go instead gives all back at once, for which other threads wait: 0.2 s for a million values.
    """

    __slots__ = ("_steps", "count")

    def __init__(self, count: int, steps: Iterable[None] = ()) -> None:
        self.count, self._steps = count, steps

    def __iter__(self) -> Iterator[None]:
        return iter(self._steps)


class StoreReader(Protocol):
    """What a service needs to answer an operation."""

    def get(self, namespace: Namespace, key: bytes) -> Entry | None:
        """The entry, or ``None`` where there is none."""

    def set(self, namespace: Namespace, key: bytes, entry: Entry) -> None:
        """Put the entry there, in place of any other."""

    def delete(self, namespace: Namespace, key: bytes) -> bool:
        """Take the entry away; whether there was one."""

    def keys(self, namespace: Namespace, prefix: bytes = b"") -> list[bytes]:
        """The keys that begin with ``prefix``, ascending. The cost grows with the answer, not with all that is stored."""


class Store(StoreReader, Protocol):
    """A place for values."""

    def count(self, namespace: Namespace) -> int:
        """How many keys there are."""

    def namespaces(self) -> Iterable[Namespace]:
        """Those that hold a key, in no order."""

    def snapshot(self, namespace: Namespace) -> Iterator[tuple[bytes, Entry]]:
        """The keys, ascending, with their entries, as they are now: later changes do not show."""

    def drop(self, namespace: Namespace) -> Dropped:
        """Take a whole namespace away, in one step."""

    def keep_seed(self) -> None:
        """What is here now is what `clear` brings back. Once, before the first `prepare_clear`."""

    def prepare_clear(self) -> Iterator[None]:
        """Each step of iterating is short, and does a part of what makes the next `clear` take a moment. Between two steps others
        may use the store.
        """

    def clear(self) -> Dropped:
        """Everything as the seed has it, or nothing; checkpoints are gone. In one step."""

    def checkpoint(self) -> int:
        """A number for everything as it is now."""

    def prepare_rollback(self, number: int) -> Iterator[None]:
        """As `prepare_clear`, for a `rollback` to this number, which undoes also what is changed meanwhile. Nothing for a number
        that is not known.
        """

    def rollback(self, number: int) -> Dropped:
        """Everything as it was then. Later checkpoints are gone, this one stays. ``KeyError`` for a number that is not known."""


class DiscardingStore:
    """Reads from the store behind it and discards changes: for an operation that is acknowledged and not done."""

    def __init__(self, store: StoreReader) -> None:
        self.get, self.keys = store.get, store.keys

    def set(self, namespace: Namespace, key: bytes, entry: Entry) -> None:
        pass

    def delete(self, namespace: Namespace, key: bytes) -> bool:
        return self.get(namespace, key) is not None


MAX_PREVIOUS_BYTES = 64 << 20  # of entries that a store no longer holds, kept for reads that are behind
_ENTRY_BYTES = 300  # about what an entry and its key take beside their own bytes


class PreviousEntries:
    """What keys held before the last change of their value; ``None`` where they were not there. Beyond `MAX_PREVIOUS_BYTES` those
    that changed first are forgotten: they are read as they are.
    """

    def __init__(self) -> None:
        self.entries: dict[Namespace, dict[bytes, Entry | None]] = {}
        self._order: dict[tuple[Namespace, bytes], int] = {}  # oldest change first, and its size
        self._bytes = 0

    def keep(self, namespace: Namespace, key: bytes, entry: Entry | None) -> None:
        self._bytes -= self._order.pop((namespace, key), 0)
        self.entries.setdefault(namespace, {})[key] = entry
        size = _ENTRY_BYTES + len(key) + (len(entry.value) if entry is not None else 0)
        self._order[namespace, key] = size
        self._bytes += size
        while self._bytes > MAX_PREVIOUS_BYTES:
            first, changed = next(iter(self._order))
            self._bytes -= self._order.pop((first, changed))
            del self.entries[first][changed]
            if not self.entries[first]:
                del self.entries[first]


class RememberingStore:
    """Passes everything on to the store behind it, and keeps what a key held before its value is changed."""

    def __init__(self, store: StoreReader, previous: PreviousEntries) -> None:
        self._store, self._previous = store, previous
        self.get, self.keys = store.get, store.keys

    def set(self, namespace: Namespace, key: bytes, entry: Entry) -> None:
        before = self.get(namespace, key)
        if before is None or before.value != entry.value:
            self._previous.keep(namespace, key, before)
        self._store.set(namespace, key, entry)

    def delete(self, namespace: Namespace, key: bytes) -> bool:
        before = self.get(namespace, key)
        if before is not None:
            self._previous.keep(namespace, key, before)
        return self._store.delete(namespace, key)


class StaleStore(DiscardingStore):
    """Reads, of each key, what it held before its last change; what is not kept is read from the store behind it."""

    def __init__(self, store: StoreReader, previous: PreviousEntries) -> None:
        self._store, self._previous = store, previous.entries

    def get(self, namespace: Namespace, key: bytes) -> Entry | None:
        previous = self._previous.get(namespace, {})
        return previous[key] if key in previous else self._store.get(namespace, key)

    def keys(self, namespace: Namespace, prefix: bytes = b"") -> list[bytes]:
        previous = {key: entry for key, entry in self._previous.get(namespace, {}).items() if key.startswith(prefix)}
        unchanged = [key for key in self._store.keys(namespace, prefix) if key not in previous]
        return sorted([*unchanged, *(key for key, entry in previous.items() if entry is not None)])
