"""The default store: dicts in memory.

Law: as every store. What is not used costs nothing: the order of keys is made at the first listing and kept up after it; old
values are kept only from the first checkpoint on, at the first change of a key after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvfake.stores import Entry, Namespace

if TYPE_CHECKING:
    from sortedcontainers import SortedList


class _Space:
    """The keys of one namespace; ``order`` is there from the first listing on, and kept up after it."""

    __slots__ = ("entries", "order")

    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {}
        self.order: SortedList[bytes] | None = None


MAX_CHECKPOINTS = 1000  # beyond it the oldest is dropped

_OldEntries = dict[tuple[Namespace, bytes], Entry | None]


class MemoryStore:
    """A `Store` in memory. A single call is atomic under the interpreter's lock; see the guarantees in `kvfake.stores`."""

    __slots__ = ("_checkpoints", "_last_number", "_old_entries", "_spaces")

    def __init__(self) -> None:
        self._spaces: dict[Namespace, _Space] = {}
        self._checkpoints: dict[int, _OldEntries] = {}  # number, oldest first: what changed keys were, until the next checkpoint
        self._old_entries: _OldEntries | None = None  # since the newest checkpoint
        self._last_number = 0

    def get(self, namespace: Namespace, key: bytes) -> Entry | None:
        space = self._spaces.get(namespace)
        return space.entries.get(key) if space is not None else None

    def set(self, namespace: Namespace, key: bytes, entry: Entry) -> None:
        if self._old_entries is not None:
            self._old_entries.setdefault((namespace, key), self.get(namespace, key))
        space = self._spaces.get(namespace)
        if space is None:
            space = self._spaces[namespace] = _Space()
        if space.order is not None and key not in space.entries:
            space.order.add(key)
        space.entries[key] = entry

    def delete(self, namespace: Namespace, key: bytes) -> bool:
        space = self._spaces.get(namespace)
        entry = space.entries.pop(key, None) if space is not None else None
        if space is None or entry is None:
            return False
        if self._old_entries is not None:
            self._old_entries.setdefault((namespace, key), entry)
        if space.order is not None:
            space.order.remove(key)
        if not space.entries:
            del self._spaces[namespace]
        return True

    def keys(self, namespace: Namespace, prefix: bytes = b"") -> list[bytes]:
        space = self._spaces.get(namespace)
        if space is None:
            return []
        if space.order is None:
            from sortedcontainers import SortedList

            space.order = SortedList(space.entries)
        if not prefix:
            return list(space.order)
        return list(space.order.irange(prefix, _first_after(prefix), inclusive=(True, False)))

    def count(self, namespace: Namespace) -> int:
        space = self._spaces.get(namespace)
        return len(space.entries) if space is not None else 0

    def namespaces(self) -> list[Namespace]:
        return list(self._spaces)

    def clear(self) -> None:
        self._spaces.clear()
        self._checkpoints.clear()
        self._old_entries = None

    def checkpoint(self) -> int:
        self._last_number += 1
        self._old_entries = self._checkpoints[self._last_number] = {}
        if len(self._checkpoints) > MAX_CHECKPOINTS:
            del self._checkpoints[next(iter(self._checkpoints))]
        return self._last_number

    def rollback(self, number: int) -> None:
        if number not in self._checkpoints:
            raise KeyError(number)
        self._old_entries = None
        while number in self._checkpoints:
            _, before = self._checkpoints.popitem()
            for (namespace, key), entry in before.items():
                if entry is None:
                    self.delete(namespace, key)
                else:
                    self.set(namespace, key, entry)
        self._old_entries = self._checkpoints[number] = {}


def _first_after(prefix: bytes) -> bytes | None:
    """The first key after every key with this prefix; ``None`` where there is none (``FF FF``)."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None
